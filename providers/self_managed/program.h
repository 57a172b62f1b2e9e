/*
 * What is sent to the executor manager (reference ragflow 3.3, 4.1). Its runner imports the program
 * as a module and calls main; scripts without main, an async main in Python and CommonJS exports
 * are not for it, and what main returns passes through serialisers that change it. So a text of
 * ours, the epilogue, follows the program:
 *
 * - It stands behind the program, so the program's lines keep their numbers, and a program that is
 *   no valid text stays so: the first line of the epilogue can neither continue a statement nor be
 *   one's body, and no quotes or comment signs in it close what the program left open.
 * - It takes main's place for the runner and gives it back before main is called.
 * - It prints the result document of providers/protocol.h in a marker line with the suffix of this
 *   run, and ends the process before the runner prints a marker of its own. stdout is then the
 *   program's to the byte, whatever the version of the manager.
 * - It unpacks arguments that cross as text in one string, because the manager, which reads and
 * writes them anew, cannot carry what is in them: lone surrogates, numbers beyond its own. All
 * others go out as they came.
 * - It holds no word that the manager's static check forbids (reference ragflow 4.3).
 *
 * The texts are epilogue.py and epilogue.js; RUNID stands for the suffix, STRICT for the option.
 */
#pragma once

#include "base/buf.h"
#include "base/request.h"

/* The manager's name for the language. Static. */
const char *sp_program_language(enum sp_language language);
/* Appends the body of POST /run. suffix: letters and digits, see sp_marker_own(). SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_program_body(const struct sp_request *req, const char *suffix,
                                           struct sp_buf *out, struct sp_error *err);
