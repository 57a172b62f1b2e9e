/* A reply (CONTRACT.md 3) as people see it: read, completed with its attachments, shown. */
#pragma once

#include <stdio.h>

#include "base/buf.h"

struct sp_answer_artifact {
    char *name;
    struct sp_buf data;
    bool present; /* its content is here */
};

struct sp_answer_attachment {
    char *part, *ref, *sha256;
};

/* Everything is owned. Zero is empty. */
struct sp_answer {
    char *text; /* the reply as it came */
    size_t len;
    char *status, *request_id;
    int64_t exit_code, signal; /* signal 0: none */
    struct sp_buf out, err;
    bool value_present;
    struct sp_buf value; /* raw JSON */
    char *error_code, *error_message, *warning;
    struct sp_answer_artifact *artifacts;
    size_t n_artifacts;
    struct sp_answer_attachment *attachments;
    size_t n_attachments;
    struct sp_buf notes; /* lines about what was cut or refused */
};

/* Takes text (on success only), which must be malloc'ed. SP_E_INVALID: it is no reply. */
SP_MUST_CHECK enum sp_code sp_answer_read(char *text, size_t len, struct sp_answer *out,
                                          struct sp_error *err);
void sp_answer_clear(struct sp_answer *answer);
SP_AUTO_CLEAR(struct sp_answer, sp_answer_clear)

/* Where attachments come from: appends the bytes that ref names. */
struct sp_attachment_source {
    void *ctx;
    enum sp_code (*fetch)(void *ctx, const char *ref, struct sp_buf *out, struct sp_error *err);
};
/* Puts every attachment in its place, checked against its digest. Stops at the first that cannot be
 * had; err names it. */
SP_MUST_CHECK enum sp_code sp_answer_complete(struct sp_answer *answer,
                                              const struct sp_attachment_source *source,
                                              struct sp_error *err);

/* What `run` exits with: see enum sp_exit in cli/command.h. */
int sp_answer_exit_code(const struct sp_answer *answer);
/* The program's output and value to out; its error output, then ours (status, warnings, what to do)
 * to err. */
void sp_answer_show(const struct sp_answer *answer, bool show_value, FILE *out, FILE *err);
/* Writes the artifacts below dir and names each on err. */
SP_MUST_CHECK enum sp_code sp_answer_write_artifacts(const struct sp_answer *answer,
                                                     const char *dir, FILE *report,
                                                     struct sp_error *err);
