#include "providers/e2b/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/text.h"
#include "providers/e2b/process_event.h"

enum {
    /* The service's clock runs a little longer than the program's time, ours a little longer still:
     * so its verdict comes first, behind the last output. */
    FAR_GRACE_MS = 200,
    GRACE_MS = 700,
    PING_S = 20,
    SILENCE_MS = 90000, /* the path is dead: keep-alive messages come every PING_S */
    CLOSE_MS = 1000,    /* from the end of the process to that of the stream */
};

struct stream {
    const struct sp_e2b_process *process;
    struct sp_e2b_process_end *end;
    struct sp_connect frames;
    int64_t run_deadline; /* SP_NEVER before the start */
    int64_t moving;
    bool ended;   /* the `end` event came */
    bool refused; /* the stream's end says that nothing was begun */
};

static bool is_late(const struct stream *s)
{
    return sp_deadline_left(sp_deadline_min(s->run_deadline, s->process->limits.deadline)) == 0;
}

static void begin(struct stream *s)
{
    s->end->started = SP_STARTED_YES;
    s->end->started_us = sp_mono_us();
    s->run_deadline = sp_deadline_in(s->process->timeout_ms + GRACE_MS);
}

static enum sp_code take_event(struct stream *s, const struct sp_process_event *event,
                               struct sp_error *err)
{
    struct sp_e2b_process_end *end = s->end;
    enum sp_code rc = SP_OK;

    if (s->ended)
        return SP_OK; /* its end is final, and so is the time of it */
    switch (event->kind) {
    case SP_PROCESS_START:
        if (end->started != SP_STARTED_YES)
            begin(s);
        break;
    case SP_PROCESS_STDOUT:
        rc = sp_output_add(&end->out, event->data.data, event->data.len);
        break;
    case SP_PROCESS_STDERR:
        rc = sp_output_add(&end->err, event->data.data, event->data.len);
        break;
    case SP_PROCESS_END:
        s->ended = true;
        end->started = SP_STARTED_YES;
        end->ended_us = sp_mono_us();
        end->exited = event->exited;
        end->exit_code = event->exit_code;
        snprintf(end->status, sizeof(end->status), "%s", event->status);
        break;
    case SP_PROCESS_OTHER:
    case SP_PROCESS_STREAM_END:
        break;
    }
    return rc ? sp_error_set(err, rc, "no memory for the program's output") : SP_OK;
}

static enum sp_code take_frame(void *ctx, const struct sp_connect_frame *frame,
                               struct sp_error *err)
{
    sp_auto(sp_process_event_clear) struct sp_process_event event = {.kind = SP_PROCESS_OTHER};
    struct stream *s = ctx;

    enum sp_code rc = sp_process_event_read(frame, &event, err);
    s->refused = event.refused;
    return rc ? sp_error_wrap(err, rc, "process.Start") : take_event(s, &event, err);
}

static int64_t next_deadline(const struct stream *s)
{
    if (s->ended)
        return s->end->ended_us / 1000 + CLOSE_MS;
    return s->run_deadline == SP_NEVER
               ? s->process->start_deadline
               : sp_deadline_min(s->run_deadline, sp_deadline_in(SILENCE_MS));
}

static enum sp_code take_bytes(void *ctx, const char *data, size_t len, struct sp_error *err)
{
    struct stream *s = ctx;

    enum sp_code rc = sp_connect_feed(&s->frames, data, len, take_frame, s, err);
    s->moving = next_deadline(s);
    return rc;
}

/* ---- the request ---- */

static enum sp_code write_request(const struct sp_e2b_process *process, struct sp_buf *out)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out json = SP_JSON_OUT(&text);

    sp_json_object(&json, NULL);
    sp_json_object(&json, "process");
    sp_json_str(&json, "cmd", process->argv[0]);
    sp_json_array(&json, "args");
    for (const char *const *arg = process->argv + 1; *arg; arg++)
        sp_json_str(&json, NULL, *arg);
    sp_json_array_end(&json);
    sp_json_object(&json, "envs");
    sp_json_str(&json, "LANG", "C.UTF-8");
    sp_json_str(&json, "MPLBACKEND", "Agg");
    sp_json_object_end(&json);
    sp_json_str(&json, "cwd", process->cwd);
    sp_json_object_end(&json);
    sp_json_str(&json, "tag", process->tag);
    sp_json_bool(&json, "stdin", false); /* else a pipe that nobody closes */
    sp_json_object_end(&json);
    return json.rc ? json.rc : sp_connect_add(out, sp_buf_str(&text), text.len);
}

static enum sp_code send_request(const struct sp_envd *envd, struct stream *s,
                                 struct sp_http_response *response, struct sp_error *err)
{
    const struct sp_e2b_process *process = s->process;
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_free_str) char *url = NULL;
    char timeout[64], ping[64];
    const char *const more[] = {"Content-Type: application/connect+json",
                                "Connect-Protocol-Version: 1", timeout, ping, NULL};
    const char *headers[SP_ENVD_HEADERS];

    snprintf(timeout, sizeof(timeout), "Connect-Timeout-Ms: %" PRId64,
             process->timeout_ms + FAR_GRACE_MS);
    snprintf(ping, sizeof(ping), "Keepalive-Ping-Interval: %d", PING_S);
    sp_envd_headers(envd, more, headers);
    if (write_request(process, &body) ||
        asprintf(&url, "%s/process.Process/Start", envd->port->base) < 0) {
        url = NULL;
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    const struct sp_e2b_call call = {.what = "process.Start",
                                     .request = {.method = "POST",
                                                 .url = url,
                                                 .headers = headers,
                                                 .body = sp_buf_str(&body),
                                                 .body_len = body.len,
                                                 .max_body = SIZE_MAX,
                                                 .on_body = take_bytes,
                                                 .on_body_ctx = s,
                                                 .deadline = process->limits.deadline,
                                                 .moving = &s->moving,
                                                 .cancel_fd = process->limits.cancel_fd},
                                     .type = "application/connect+json",
                                     .sandbox = true};
    return sp_e2b_do(envd->http, &call, response, err);
}

/* ---- the end ---- */

static enum sp_code stopped(struct sp_e2b_process_end *end, enum sp_outcome outcome)
{
    end->outcome = outcome;
    end->exit_code = -1;
    end->ended_us = sp_mono_us();
    return SP_OK;
}

static enum sp_code broken(const struct sp_envd *envd, const struct stream *s, struct sp_error *err)
{
    static const char *const states[] = {
        [SP_ENVD_UNKNOWN] = "the sandbox's state is not known",
        [SP_ENVD_ALIVE] = "the sandbox lives, the connection was lost",
        [SP_ENVD_GONE] = "the sandbox is gone: it was ended or has expired",
    };

    return sp_error_wrap(err, SP_E_UNAVAILABLE, "%s",
                         states[sp_envd_look(envd, &s->process->limits)]);
}

/* What a time-out of the call was. The service's own verdict is the end of the stream. */
static enum sp_code timed_out(struct stream *s, struct sp_error *err)
{
    if (is_late(s) || (s->frames.ended && s->end->started == SP_STARTED_YES))
        return stopped(s->end, SP_OUTCOME_TIMEOUT);
    return sp_error_set(err, SP_E_UNAVAILABLE, "process.Start: nothing came for too long");
}

/* Without an `end` event. */
static enum sp_code judge(const struct sp_envd *envd, struct stream *s, enum sp_code rc,
                          struct sp_error *err)
{
    struct sp_e2b_process_end *end = s->end;

    if (end->started == SP_STARTED_NO)
        return rc;
    if (rc == SP_E_CANCELLED)
        return stopped(end, SP_OUTCOME_CANCELLED);
    if (!rc) {
        rc = sp_error_set(err, SP_E_UNAVAILABLE,
                          "process.Start: the stream ended without the end of the process");
    }
    if (rc == SP_E_TIMEOUT)
        rc = timed_out(s, err);
    return end->started == SP_STARTED_YES && rc == SP_E_UNAVAILABLE ? broken(envd, s, err) : rc;
}

enum sp_code sp_e2b_process_run(const struct sp_envd *envd, const struct sp_e2b_process *process,
                                struct sp_e2b_process_end *end, struct sp_error *err)
{
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct stream s = {.process = process,
                       .end = end,
                       .run_deadline = SP_NEVER,
                       .moving = process->start_deadline};

    enum sp_code rc = send_request(envd, &s, &response, err);
    if (end->started == SP_STARTED_NO && !s.refused)
        end->started = response.sent;
    rc = s.ended ? SP_OK : judge(envd, &s, rc, err); /* its end is final, whatever the stream's */
    sp_connect_clear(&s.frames);
    return rc;
}
