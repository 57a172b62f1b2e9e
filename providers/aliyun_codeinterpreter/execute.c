/*
 * One run on an instance of aliyun_codeinterpreter (reference aliyun-agentrun 3.4, 7; CONTRACT.md
 * 3.5): the program goes out as one cell, once, and its answer comes when it is over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/log.h"
#include "providers/aliyun_codeinterpreter/aliyun.h"
#include "providers/aliyun_codeinterpreter/files.h"
#include "providers/aliyun_codeinterpreter/items.h"
#include "providers/cell.h"
#include "providers/ending.h"
#include "providers/output.h"

#define ANSWER_MS 10000 /* the call outlasts the program by it */

/* CONTRACT.md 3.5; the provider's page explains each. */
static const char *const limits_of_provider[] = {"whole_seconds", "partial_output", "exit_codes",
                                                 "signals",       "standard_input", NULL};

struct running {
    struct aliyun *a;
    struct aliyun_instance *i;
    const struct sp_request *req;
    const struct sp_run *run;
    struct sp_context *context;
    struct sp_cell cell;
    int64_t seconds; /* as the service is asked for */
    int64_t took_us; /* of the call */
    struct sp_agentrun_answer answer;
    struct sp_items items;
    bool ended; /* the program came to its end, and said how */
};

static void running_clear(struct running *r)
{
    sp_items_clear(&r->items);
    sp_agentrun_answer_clear(&r->answer);
}
SP_AUTO_CLEAR(struct running, running_clear)

/* ---- the call ---- */

static enum sp_code find_context(struct running *r, struct sp_error *err)
{
    const struct sp_agentrun_time time = {r->run->setup_deadline, r->run->cancel_fd};

    r->context = &r->i->contexts[r->req->language];
    if (r->context->id[0])
        return SP_OK;
    return sp_context_create(r->a->service, r->i->base.id, r->req->language, &time, r->context,
                             err);
}

/* Part of a second counts as a whole one; sp_cell_read() tells what the program really took. */
static int64_t seconds_of(const struct sp_run *run)
{
    int64_t seconds = (run->timeout_ms + 999) / 1000;

    if (seconds < 1)
        return 1;
    return seconds < SP_ALIYUN_TIMEOUT_S ? seconds : SP_ALIYUN_TIMEOUT_S;
}

static enum sp_code write_body(struct running *r, struct sp_buf *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(out);

    enum sp_code rc = sp_cell_write(&r->cell, r->req, &code, err);
    if (rc)
        return rc;
    sp_json_object(&j, NULL);
    sp_json_text(&j, "code", code.data, code.len);
    sp_json_int(&j, "timeout", r->seconds);
    sp_json_str(&j, "contextId", r->context->id);
    sp_json_object_end(&j);
    return j.rc ? sp_error_set(err, j.rc, "no memory for the code to send") : SP_OK;
}

static enum sp_code send_code(struct running *r, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char path[128];

    enum sp_code rc = write_body(r, &body, err);
    if (rc)
        return rc;
    int64_t since = sp_mono_us();
    const struct sp_agentrun_time time = {
        sp_deadline_min(r->run->deadline, sp_deadline_in(r->seconds * 1000 + ANSWER_MS)),
        r->run->cancel_fd};
    snprintf(path, sizeof(path), "/sandboxes/%s/contexts/execute", r->i->base.id);
    const struct sp_agentrun_call call = {.what = "run the program",
                                          .method = "POST",
                                          .path = path,
                                          .json = body.data,
                                          .json_len = body.len,
                                          .max_body = (size_t)r->a->host->limits->response_bytes,
                                          .time = &time};
    rc = sp_agentrun_do(r->a->service, &call, &r->answer, err); /* once */
    r->took_us = sp_mono_us() - since;
    return rc;
}

/* ---- its answer ---- */

static enum sp_code not_answered(const struct running *r, enum sp_code rc, struct sp_result *out)
{
    if (r->answer.timed_out) {
        out->started = SP_STARTED_YES;
        return sp_ending_unanswered(out, SP_E_TIMEOUT);
    }
    out->started = r->answer.unsure ? SP_STARTED_MAYBE : SP_STARTED_NO;
    return sp_ending_unanswered(out, rc);
}

/* Takes text. The limit of output holds for what the program printed, and not for its value. */
static enum sp_code set_stream(const struct running *r, struct sp_buf *text,
                               struct sp_stream *stream)
{
    struct sp_output output;

    sp_output_init(&output, r->a->host->limits->output_bytes);
    enum sp_code rc = text->len > 0 ? sp_output_add(&output, text->data, text->len) : SP_OK;
    if (!rc)
        rc = sp_output_finish(&output, stream);
    sp_output_clear(&output);
    return rc;
}

/* Programs that were written for RAGFlow may print a value of their own in its way. */
static enum sp_code take_classic_marker(struct sp_buf *text, struct sp_result *out)
{
    out->out.text = sp_buf_take(text, &out->out.len);
    if (!out->out.text)
        return SP_E_NOMEM;
    enum sp_code rc = sp_protocol_take_marker(out, NULL);
    *text = (struct sp_buf){.data = out->out.text,
                            .len = out->out.len,
                            .cap = out->out.len + 1,
                            .max = SP_BUF_UNBOUNDED};
    out->out = (struct sp_stream){0};
    return rc;
}

static enum sp_code read_output(struct running *r, struct sp_result *out, struct sp_error *err)
{
    struct sp_error why = {0};

    enum sp_code rc = sp_cell_read(&r->cell, &r->items.out, out, &r->ended, &why);
    if (rc == SP_E_INVALID) {
        sp_result_warn(out, "the line with the value was not usable: %s", why.msg);
        r->ended = false;
        rc = SP_OK;
    }
    if (!rc)
        rc = take_classic_marker(&r->items.out, out);
    if (!rc)
        rc = set_stream(r, &r->items.out, &out->out);
    if (!rc)
        rc = set_stream(r, &r->items.err, &out->err);
    return rc ? sp_error_set(err, rc, "no memory for the program's output") : SP_OK;
}

/* A program that the service ended is one that did not say how it ended and took all its time,
 * whatever shape the service gives to that. */
static bool is_late(const struct running *r, const struct sp_result *out)
{
    if (r->items.timed_out)
        return true;
    return r->ended ? out->execution_us > r->run->timeout_ms * 1000
                    : r->took_us >= r->seconds * 1000000;
}

static void conclude(const struct running *r, struct sp_result *out)
{
    out->started = SP_STARTED_YES;
    if (is_late(r, out)) {
        out->outcome = SP_OUTCOME_TIMEOUT;
        out->limit = NULL;
        out->exit_code = -1;
    } else if (!r->ended) {
        out->exit_code = 1;
        if (!r->items.failed)
            sp_result_warn(out, "AgentRun does not say how the program ended");
    } else if (r->items.failed && out->exit_code == 0) {
        out->exit_code = 1; /* the service knows better than a line that the program can print */
    }
}

static enum sp_code collect(struct running *r, struct sp_result *out, struct sp_error *err)
{
    const struct sp_artifact_rules rules = sp_artifact_rules_of(r->a->host->limits);
    const struct sp_agentrun_time time = {
        sp_deadline_min(r->run->deadline, sp_deadline_in(r->run->teardown_ms)), r->run->cancel_fd};
    char folder[sizeof(r->context->cwd) + 16];

    snprintf(folder, sizeof(folder), "%s/artifacts", r->context->cwd);
    sp_auto(sp_sandbox_files_clear) struct sp_sandbox_files files =
        sp_sandbox_files(r->a->service, r->i->base.id, folder, &time);
    enum sp_code rc = sp_artifacts_collect_from(&files.base, &rules, out);
    if (!rc)
        rc = sp_items_take_results(&r->items, &rules, out);
    return rc ? sp_error_set(err, rc, "no memory for the artifacts") : SP_OK;
}

static enum sp_code read_answer(struct running *r, struct sp_result *out, struct sp_error *err)
{
    const struct sp_buf *body = &r->answer.http.body;

    out->started = SP_STARTED_MAYBE;
    enum sp_code rc = sp_items_read(sp_buf_str(body), body->len, &r->items, err);
    if (!rc)
        rc = read_output(r, out, err);
    if (rc)
        return rc;
    if (r->items.unknown > 0) {
        sp_log(SP_DEBUG, "agentrun_unknown_items", sp_s("instance", r->i->base.id),
               sp_i("items", (int64_t)r->items.unknown));
    }
    conclude(r, out);
    return collect(r, out, err);
}

/* RAGFlow's keys, and what helps to find the run at the service. */
static enum sp_code add_metadata(const struct running *r, struct sp_result *out)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&text);
    const char *request_id = r->answer.http.request_id;

    sp_json_str(&j, "context_id", r->context->id);
    sp_json_str(&j, "template_name", sp_template_name(r->a->templates, r->req->language));
    sp_json_str(&j, "region", r->a->settings->region);
    sp_json_str(&j, "request_id", *request_id ? request_id : NULL);
    if (j.rc)
        return j.rc;
    out->metadata = sp_buf_take(&text, NULL);
    return out->metadata ? SP_OK : SP_E_NOMEM;
}

enum sp_code sp_aliyun_execute(struct sp_instance *instance, const struct sp_request *req,
                               const struct sp_run *run, struct sp_result *out,
                               struct sp_error *err)
{
    sp_auto(running_clear) struct running r = {.a = (struct aliyun *)instance->provider,
                                               .i = (struct aliyun_instance *)instance,
                                               .req = req,
                                               .run = run,
                                               .seconds = seconds_of(run)};

    out->language = sp_language_name(req->language);
    out->limits_of_provider = limits_of_provider;
    enum sp_code rc = find_context(&r, err);
    if (rc)
        return rc;
    rc = send_code(&r, err);
    rc = rc ? not_answered(&r, rc, out) : read_answer(&r, out, err);
    if (out->execution_us == 0 && out->started != SP_STARTED_NO)
        out->execution_us = r.took_us;
    if (add_metadata(&r, out) && !rc)
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory");
    return rc;
}
