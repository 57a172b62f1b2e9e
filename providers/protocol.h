/*
 * How a program's value comes back (reference ragflow 3, CONTRACT.md 3.2 and 3.4): the wrappers
 * that run the program and call main, the document they write on the private channel, and the
 * marker line where there is no such channel.
 *
 * The wrapper is started as `<interpreter> <flags> <wrapper file> <program file> <options>` in the
 * workspace, with the arguments (raw JSON text, empty for none) on descriptor SP_FD_JOB up to
 * end-of-file, and writes one result document to SP_FD_RESULT. The program sees neither descriptor
 * in its children.
 */
#pragma once

#include "base/request.h"
#include "base/result.h"

enum { SP_FD_RESULT = 3, SP_FD_JOB = 4 };

struct sp_wrapper {
    const char *text; /* the wrapper's source, static */
    size_t len;
    const char *file;    /* its name: "sandpiper_run.py", "sandpiper_run.js" */
    const char *program; /* "main.py", "main.js" */
};
const struct sp_wrapper *sp_wrapper(enum sp_language language);

/*
 * Reads the result document: {"present":bool,"value":…,"warning":text,"limit":"memory"}. Fills
 * result_present, _value, warning, and outcome/limit where the wrapper saw one. An empty document
 * is a program that ended before its main returned. SP_E_INVALID: not exactly one well-formed
 * document (the program wrote there itself): the caller warns.
 */
SP_MUST_CHECK enum sp_code sp_protocol_read(const char *doc, size_t len, struct sp_result *result,
                                            struct sp_error *err);
/*
 * Takes the marker lines out of result->out (CONTRACT.md 4, reference 3.1): `__RAGFLOW_RESULT__:`
 * and, where suffix is not NULL, the marker with this run's suffix, which wins. The last decodable
 * one is the value, unless result_present is set already. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_protocol_take_marker(struct sp_result *result, const char *suffix);
/* The option result_in_stdout: appends the value to stdout, strings as they are, everything else as
 * compact JSON. */
SP_MUST_CHECK enum sp_code sp_protocol_echo_value(struct sp_result *result);
