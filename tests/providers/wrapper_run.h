/* Runs a wrapper under its real interpreter, with pipes as a provider has them. For the tests of
 * the wrappers only. */
#pragma once

#include <string.h>

#include "base/buf.h"
#include "providers/protocol.h"
#include "tests/support.h"

/* Documents that a run leaves behind. */
#define VALUE(json) "{\"present\":true,\"value\":" json "}"
#define WARNED(json)                                                                               \
    "{\"present\":true,\"value\":" json                                                            \
    ",\"warning\":\"NaN and infinite numbers in the value became null\"}"
#define NO_MAIN                                                                                    \
    "{\"present\":false,\"warning\":\"arguments were given, but the program defines no main\"}"

enum { RUN_OUT, RUN_ERR, RUN_DOC, RUN_JOB, RUN_PIPES };

struct run {
    char folder[64];       /* the program's, as the interpreter sees it */
    struct sp_buf text[3]; /* RUN_OUT, RUN_ERR, RUN_DOC */
    int exit_code;         /* negative: the signal */
};

/* One row of a table: a program and all that it must leave behind. */
struct run_case {
    const char *name, *code;
    const char *arguments; /* NULL: none */
    const char *out;       /* all of stdout */
    int exit_code;
    const char *doc;  /* the whole document; "" when there is none */
    const char *err;  /* part of stderr; NULL: stderr is empty */
    const char *file; /* a further file: its name, and in file_text its content */
    const char *file_text;
    const char *option;
};

void run_clear(struct run *r);
SP_AUTO_CLEAR(struct run, run_clear)
/* Runs a program with what it needs; the caller clears *r. Asserts that it could be run. */
void run_program(struct run *r, enum sp_language language, const struct run_case *c,
                 size_t code_len);
/* Runs it and expects all that the case says. */
void run_check(enum sp_language language, const struct run_case *c);

/* Parts of it, for other tests that run programs. The interpreter's path; writes a file; removes a
 * folder with all that is in it. */
const char *run_interpreter(enum sp_language language);
void run_write(const char *folder, const char *name, const char *text, size_t len);
void run_remove(const char *folder);
