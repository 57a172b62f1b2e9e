/*
 * How a program's value comes back (reference ragflow 3, CONTRACT.md 3.2 and 3.4): the wrappers
 * that run the program and call main, the document they write on the private channel, and the
 * marker line where there is no such channel.
 *
 * The wrapper is started as `<interpreter> <flags> <wrapper file> <program file> <options>` in the
 * workspace, with the arguments (raw JSON text, empty for none) on descriptor SP_FD_JOB up to
 * end-of-file (an error there means that no job will come), and writes one result document to
 * SP_FD_RESULT. The program sees neither descriptor in its children.
 */
#pragma once

#include "base/json_slice.h"
#include "base/request.h"
#include "base/result.h"

enum { SP_FD_RESULT = 3, SP_FD_JOB = 4 };

/* A value nested deeper becomes null with a warning. */
#define SP_VALUE_DEPTH_MAX SP_ARGUMENTS_DEPTH_MAX
#define SP_MARKER "__RAGFLOW_RESULT__:"
enum { SP_MARKER_SUFFIX_MAX = 64, SP_MARKER_MAX = 96 };

/*
 * The one option is "strict": JavaScript's undefined is an error. The wrapper may lie
 * anywhere; its folder is not where the program imports from. It writes nothing where the program
 * has no main, save for a warning. exit code 13, as Node's: main's promise can never settle.
 */
struct sp_wrapper {
    const char *text; /* the wrapper's source, static */
    size_t len;
    const char *file;    /* its name: "sandpiper_run.py", "sandpiper_run.cjs" */
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
/* The same where no process of ours ends (providers/cell.h): "exit":n and "us":n are exit_code and
 * execution_us. */
SP_MUST_CHECK enum sp_code sp_protocol_read_end(const char *doc, size_t len,
                                                struct sp_result *result, struct sp_error *err);
/* The value, wherever it was found; one that is nested too deep gives way to null, with a warning.
 * SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_protocol_keep_value(struct sp_result *result,
                                                  const struct sp_json_value *value);
/* The marker with a run's random suffix: `__RAGFLOW_RESULT_<suffix>__:`. It is printed with a
 * newline before it, so that output without an end of line cannot hide it, and one behind its
 * base64. */
void sp_marker_own(char out[SP_MARKER_MAX], const char *suffix);
/*
 * Takes the marker lines out of result->out (reference ragflow 3.1): SP_MARKER and, where suffix is
 * not NULL, the marker with this run's suffix, which wins, takes the newline before it along and
 * may carry a warning, as the result document does; the last warning stands. The last one that can
 * be decoded (base64 of an object) is the value, unless result_present is set already; one that
 * cannot stays in the output. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_protocol_take_marker(struct sp_result *result, const char *suffix);
/* The option result_in_stdout: the value on a line of its own behind stdout, strings as they are,
 * everything else as compact JSON. Nothing without a value. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_protocol_echo_value(struct sp_result *result);
