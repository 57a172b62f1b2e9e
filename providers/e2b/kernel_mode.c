/* A program as a cell of a kernel (providers/cell.h): its context, kept from run to run, the marker
 * line with its value, and what it showed. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/cell.h"
#include "providers/e2b/artifact_source.h"
#include "providers/e2b/modes.h"
#include "providers/ending.h"

enum { ANSWER_BYTES = 64 << 10 };

/* ---- the context ---- */

static enum sp_code make_folder(struct sp_e2b_place *place, const struct sp_e2b_limits *limits,
                                struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf answer = SP_BUF_INIT(ANSWER_BYTES);
    char name[64], uuid[37];
    bool exists = false;
    const struct sp_envd_question make = {
        .method = "MakeDir", .path = name, .max_body = ANSWER_BYTES, .exists = &exists};
    const struct sp_envd_question look = {.method = "Stat", .path = name, .max_body = ANSWER_BYTES};
    const char *path = NULL;

    sp_random_uuid(uuid);
    snprintf(name, sizeof(name), "ragflow-codeexec.%s", uuid);
    enum sp_code rc = sp_envd_ask(&place->envd, &make, limits, &answer, err);
    if (!rc && exists) /* made by a call whose answer was lost */
        rc = sp_envd_ask(&place->envd, &look, limits, &answer, err);
    if (rc)
        return rc;
    json_auto_t *root = json_loadb(sp_buf_str(&answer), answer.len, 0, NULL);
    if (json_unpack(root, "{s:{s:s}}", "entry", "path", &path) || *path != '/')
        return sp_error_set(err, SP_E_INVALID, "MakeDir: the answer names no folder");
    place->folder = sp_strdup(path);
    return place->folder ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

enum sp_code sp_e2b_need_context(struct sp_e2b_place *place, enum sp_language language,
                                 const struct sp_run *run, struct sp_error *err)
{
    const struct sp_e2b_limits setup = {sp_deadline_min(run->setup_deadline, run->deadline),
                                        run->cancel_fd};
    enum sp_code rc = SP_OK;

    if (!place->folder)
        rc = make_folder(place, &setup, err);
    if (!rc && !place->contexts[language]) {
        rc = sp_kernels_add(&place->kernels, language, place->folder, &setup,
                            &place->contexts[language], err);
    }
    return rc;
}

/* ---- the end ---- */

/* Words of the code interpreter's own: it lost the kernel's answer. */
static bool is_lost(const char *name)
{
    return strcmp(name, "UnexpectedEndOfExecution") == 0 || strcmp(name, "WebSocketError") == 0;
}

/* What the driver does not report itself: it, or the kernel, was ended. */
static enum sp_code settle_error(struct sp_kernel_output *o, struct sp_result *out,
                                 struct sp_error *err)
{
    if (!*o->error_name) {
        out->exit_code = -1; /* the driver says it of every program, unless that one prevents it */
        sp_result_warn(out, "the program's end was not recorded");
        return SP_OK;
    }
    if (is_lost(o->error_name)) {
        return sp_error_set(err, SP_E_UNAVAILABLE, "execute: the kernel was lost: %s",
                            o->error_name);
    }
    out->exit_code = o->error_exit;
    return sp_output_add(&o->err, o->error_text.data, o->error_text.len)
               ? sp_error_set(err, SP_E_NOMEM, "no memory for the program's output")
               : SP_OK;
}

static enum sp_code settle(const struct sp_cell *cell, struct sp_kernel_output *o,
                           struct sp_result *out, struct sp_error *err)
{
    struct sp_error why = {0};
    bool ended = false;

    enum sp_code rc = sp_cell_read(cell, &o->out, out, &ended, &why);
    if (rc == SP_E_NOMEM)
        return sp_error_set(err, rc, "out of memory");
    if (rc)
        sp_result_warn(out, "the result channel was not usable: %s", why.msg);
    return ended || rc ? SP_OK : settle_error(o, out, err);
}

static enum sp_code keep_output(struct sp_e2b_place *place, struct sp_kernel_output *o,
                                struct sp_result *out, struct sp_error *err)
{
    struct sp_output bounded;

    sp_output_init(&bounded, place->limits->output_bytes);
    enum sp_code rc = o->out.len > 0 ? sp_output_add(&bounded, o->out.data, o->out.len) : SP_OK;
    if (!rc)
        rc = sp_output_finish(&bounded, &out->out);
    if (!rc)
        rc = sp_output_finish(&o->err, &out->err);
    /* Programs that were written for RAGFlow may print a value of their own in its way. */
    if (!rc)
        rc = sp_protocol_take_marker(out, NULL);
    sp_output_clear(&bounded);
    return rc ? sp_error_set(err, SP_E_NOMEM, "no memory for the program's output") : SP_OK;
}

static enum sp_code collect(struct sp_e2b_place *place, struct sp_kernel_output *o,
                            const struct sp_run *run, struct sp_result *out, struct sp_error *err)
{
    const struct sp_artifact_rules rules = sp_artifact_rules_of(place->limits);
    const struct sp_e2b_limits wait = {
        sp_deadline_min(run->deadline, sp_deadline_in(run->teardown_ms)), run->cancel_fd};
    sp_auto(sp_free_str) char *folder = NULL;

    if (asprintf(&folder, "%s/artifacts", place->folder) < 0) {
        folder = NULL;
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    return sp_e2b_artifacts(&place->envd, folder, &o->shown, &rules, &wait, out)
               ? sp_error_set(err, SP_E_NOMEM, "no memory for the artifacts")
               : SP_OK;
}

/* ---- the run ---- */

static enum sp_code run_cell(struct sp_e2b_place *place, const struct sp_request *req,
                             const struct sp_run *run, struct sp_cell *cell,
                             struct sp_kernel_output *o, struct sp_result *out,
                             struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    int64_t began = sp_mono_us();

    enum sp_code rc = sp_cell_write(cell, req, &code, err);
    if (rc)
        return rc;
    const struct sp_kernel_cell call = {
        .context = place->contexts[req->language],
        .code = sp_buf_str(&code),
        .len = code.len,
        .max_bytes = (size_t)place->limits->response_bytes,
        .limits = {sp_deadline_min(run->deadline, sp_deadline_in(run->timeout_ms)), run->cancel_fd},
    };
    rc = sp_kernels_run(&place->kernels, &call, o, &out->started, err);
    out->execution_us = sp_mono_us() - began;
    return rc;
}

enum sp_code sp_e2b_run_cell(struct sp_e2b_place *place, const struct sp_request *req,
                             const struct sp_run *run, struct sp_result *out, bool *spoilt,
                             struct sp_error *err)
{
    sp_auto(sp_kernel_output_clear) struct sp_kernel_output o = {.began = false};
    struct sp_cell cell = {.marker = ""};

    sp_kernel_output_init(&o, (size_t)place->limits->response_bytes, place->limits->output_bytes);
    enum sp_code rc = sp_e2b_need_context(place, req->language, run, err);
    if (rc)
        return rc;
    rc = run_cell(place, req, run, &cell, &o, out, err);
    *spoilt = rc;
    rc = rc ? sp_ending_unanswered(out, rc) : settle(&cell, &o, out, err);
    if (!rc)
        rc = keep_output(place, &o, out, err);
    return rc || *spoilt ? rc : collect(place, &o, run, out, err);
}

void sp_e2b_place_clear(struct sp_e2b_place *place)
{
    free(place->folder);
    free(place->contexts[SP_PYTHON]);
    free(place->contexts[SP_JAVASCRIPT]);
}
