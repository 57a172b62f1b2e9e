/* One request to run code, decoded and checked. The wire form is CONTRACT.md 2; queue/message.c
 * reads it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum sp_language { SP_PYTHON, SP_JAVASCRIPT };

/* The one table of spellings (CONTRACT.md 2): any case, surrounding blanks ignored, "" is Python.
 * False: unknown. */
bool sp_language_parse(const char *text, enum sp_language *out);
/* "python", "javascript". */
const char *sp_language_name(enum sp_language language);

enum sp_delivery { SP_AT_LEAST_ONCE, SP_AT_MOST_ONCE };

#define SP_TIMEOUT_DEFAULT_MS 30000
#define SP_FILES_MAX 64
#define SP_REQUEST_ID_MAX 128
#define SP_METADATA_MAX 8192
#define SP_ARGUMENTS_DEPTH_MAX 512

struct sp_file {
    char *name; /* relative, checked */
    char *data;
    size_t len;
};

/* Everything is owned by the struct. Zero is an empty request. Raw texts are JSON, byte for byte as
 * they came. */
struct sp_request {
    char *id;
    enum sp_language language;
    char *code;
    size_t code_len;
    char *arguments; /* raw text of an object; NULL when absent or null */
    size_t arguments_len;
    struct sp_file *files;
    size_t n_files;
    int64_t timeout_ms;   /* as asked for; 0 when not */
    int64_t deadline_ms;  /* epoch; 0: none */
    int64_t queue_ttl_ms; /* 0: none */
    enum sp_delivery delivery;
    bool strict_result;
    enum { SP_UNSET, SP_NO, SP_YES } result_in_stdout;
    char *metadata; /* raw compact text; NULL when absent or null */
    size_t metadata_len;
    char *reply_to; /* NULL when absent or "" */
};

void sp_request_clear(struct sp_request *req);
SP_AUTO_CLEAR(struct sp_request, sp_request_clear)
