/* W3C Trace Context in record headers: https://www.w3.org/TR/trace-context/ */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define SP_TRACEPARENT_SIZE 56 /* with the NUL */

/*
 * Writes the reply's traceparent: the trace id and flags of the request's, with a new random parent
 * id. False, with nothing written, when the request's is not valid; an invalid one counts as
 * absent.
 */
bool sp_trace_continue(const char *traceparent, size_t len, char out[SP_TRACEPARENT_SIZE]);
/* A tracestate of 1 to 32 well-formed members. */
bool sp_tracestate_valid(const char *tracestate, size_t len);
