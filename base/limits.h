/* The limits of CONTRACT.md 8, [limits], in the units of the code. */
#pragma once

#include <stdint.h>

struct sp_limits {
    int64_t code_bytes;      /* of a request's code, decoded */
    int64_t files_bytes;     /* of all input files, decoded */
    int64_t reply_bytes;     /* of one reply's value */
    int64_t output_bytes;    /* per stream, where the provider has no field of its own */
    int64_t response_bytes;  /* of one body that holds all output */
    int64_t artifacts;       /* count, where the provider has no field of its own */
    int64_t artifact_bytes;  /* each, likewise */
    int64_t artifacts_total; /* of all artifacts of one run */
    int64_t timeout_ms;      /* longest run of a program */
};
