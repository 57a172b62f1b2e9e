#include "providers/aliyun_codeinterpreter/sandbox.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/text.h"
#include "providers/pause.h"

enum {
    PATH_MAX_BYTES = 160,
    POLL_MIN_MS = 100,
    POLL_MAX_MS = 1000,
    CANCELLED_MS = 800, /* for a deletion: a cancellation is answered within a second */
    ULID_LEN = 26,
};
#define FOLDER "/home/user"

/* Digits and letters of hex are among those of a ULID, whose first one is 7 at most. */
void sp_sandbox_new_id(char out[SP_SANDBOX_ID_MAX])
{
    char hex[ULID_LEN + 1];

    sp_random_hex(hex, ULID_LEN / 2);
    hex[0] = '0';
    for (size_t i = 0; i <= ULID_LEN; i++)
        out[i] = (char)toupper((unsigned char)hex[i]);
}

/* Ids of ours need no encoding. */
static void write_path(char out[PATH_MAX_BYTES], const char *id, const char *rest)
{
    snprintf(out, PATH_MAX_BYTES, "/sandboxes/%s%s", id, rest);
}

static enum sp_code write_order(struct sp_buf *out, const char *id, const char *template_name,
                                int64_t idle_s)
{
    struct sp_json_out j = SP_JSON_OUT(out);

    sp_json_object(&j, NULL);
    sp_json_str(&j, "templateName", template_name);
    sp_json_str(&j, "sandboxId", id);
    sp_json_int(&j, "sandboxIdleTimeoutSeconds", idle_s);
    sp_json_object_end(&j);
    return j.rc;
}

/* A service that gave it another name would leave us with a sandbox that nobody deletes. */
static enum sp_code check_id(const struct sp_agentrun_answer *answer, const char *id,
                             struct sp_error *err)
{
    struct sp_json_value data;
    char given[SP_SANDBOX_ID_MAX];

    if (!sp_agentrun_data(answer, &data) ||
        !sp_agentrun_text(&data, "sandboxId", given, sizeof(given)) || strcmp(given, id) == 0)
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID, "AgentRun made sandbox %s where %s was asked for", given,
                        id);
}

enum sp_code sp_sandbox_create(struct sp_agentrun *service, const char *id,
                               const char *template_name, int64_t idle_s,
                               const struct sp_agentrun_time *time, struct sp_sandbox_loss *loss,
                               struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};

    if (write_order(&body, id, template_name, idle_s))
        return sp_error_set(err, SP_E_NOMEM, "no memory for a sandbox");
    const struct sp_agentrun_call call = {.what = "create the sandbox",
                                          .method = "POST",
                                          .path = "/sandboxes",
                                          .json = body.data,
                                          .json_len = body.len,
                                          .time = time};
    enum sp_code rc = sp_agentrun_insist(service, &call, &answer, err);
    if (rc && answer.exists && answer.was_repeat)
        return SP_OK; /* an answer got lost */
    /* A good status with a failure's code, or about another sandbox, proves nothing. */
    bool looks_made = answer.http.status / 100 == 2;
    *loss = (struct sp_sandbox_loss){.maybe_there = answer.unsure || looks_made,
                                     .no_template = answer.gone};
    return rc ? rc : check_id(&answer, id, err);
}

/* Right after it was made, a gateway may not know it yet. */
static bool is_not_yet(enum sp_code rc, const struct sp_agentrun_answer *answer)
{
    return rc == SP_E_UNAVAILABLE || rc == SP_E_BUSY || answer->gone ||
           answer->http.status / 100 == 5;
}

static bool is_healthy(const struct sp_agentrun_answer *answer)
{
    struct sp_json_value data;
    char status[16];

    return sp_agentrun_data(answer, &data) &&
           sp_agentrun_text(&data, "status", status, sizeof(status)) && strcmp(status, "ok") == 0;
}

/* *retry_after_ms: as asked for by the service. */
static enum sp_code ask_health(struct sp_agentrun *service, const char *id,
                               const struct sp_agentrun_time *time, bool *healthy,
                               int64_t *retry_after_ms, struct sp_error *err)
{
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};
    char path[PATH_MAX_BYTES];

    write_path(path, id, "/health");
    const struct sp_agentrun_call call = {
        .what = "start the sandbox", .method = "GET", .path = path, .time = time};
    enum sp_code rc = sp_agentrun_do(service, &call, &answer, err);
    *healthy = !rc && is_healthy(&answer);
    *retry_after_ms = answer.http.retry_after_ms;
    return rc && is_not_yet(rc, &answer) ? SP_OK : rc;
}

enum sp_code sp_sandbox_wait(struct sp_agentrun *service, const char *id,
                             const struct sp_agentrun_time *time, struct sp_error *err)
{
    struct sp_error last = {.msg = "it does not say that it is ok"};

    for (int64_t delay = POLL_MIN_MS;; delay = delay < POLL_MAX_MS / 2 ? 2 * delay : POLL_MAX_MS) {
        bool healthy = false;
        int64_t asked = 0;
        enum sp_code rc = ask_health(service, id, time, &healthy, &asked, &last);
        if (rc)
            return sp_error_set(err, rc, "%s", last.msg);
        if (healthy)
            return SP_OK;
        int64_t until = sp_deadline_in(delay > asked ? delay : asked);
        if (until >= time->deadline) {
            return sp_error_set(err, SP_E_TIMEOUT, "the sandbox is not ready in time: %s",
                                last.msg);
        }
        if (sp_pause_until(until, time->cancel_fd))
            return sp_error_set(err, SP_E_CANCELLED, "cancelled while the sandbox was starting");
    }
}

bool sp_sandbox_is_well(struct sp_agentrun *service, const char *id,
                        const struct sp_agentrun_time *time)
{
    bool healthy = false;
    int64_t asked = 0;

    return !ask_health(service, id, time, &healthy, &asked, NULL) && healthy;
}

static enum sp_code delete_once(struct sp_agentrun *service, const char *id,
                                const struct sp_agentrun_time *time,
                                struct sp_agentrun_answer *answer, struct sp_error *err)
{
    char path[PATH_MAX_BYTES];

    write_path(path, id, "");
    const struct sp_agentrun_call call = {.what = "delete the sandbox",
                                          .method = "DELETE",
                                          .path = path,
                                          .to_log = true,
                                          .time = time};
    return sp_agentrun_do(service, &call, answer, err);
}

/* The first attempt leaves time for a second one, where there is time. SP_E_CANCELLED. */
static enum sp_code delete_in_time(struct sp_agentrun *service, const char *id,
                                   const struct sp_agentrun_time *time, bool *found,
                                   struct sp_error *err)
{
    int64_t now = sp_mono_ms(), left = time->deadline - now;
    int64_t first = left > CANCELLED_MS ? now + left / 2 : time->deadline;
    const struct sp_agentrun_time times[] = {{first, time->cancel_fd}, *time};
    enum sp_code rc = SP_OK;

    for (size_t i = 0; i < SP_COUNT(times); i++) {
        sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};
        rc = delete_once(service, id, &times[i], &answer, err);
        *found = !rc;
        if (!rc || answer.gone)
            return SP_OK;
        int64_t asked = answer.http.retry_after_ms;
        int64_t until = sp_deadline_in(asked > POLL_MIN_MS ? asked : POLL_MIN_MS);
        if (rc == SP_E_DENIED || rc == SP_E_CANCELLED || until >= time->deadline)
            return rc;
        if (sp_pause_until(until, time->cancel_fd))
            return SP_E_CANCELLED;
    }
    return rc;
}

enum sp_code sp_sandbox_delete(struct sp_agentrun *service, const char *id,
                               const struct sp_agentrun_time *time, bool *found,
                               struct sp_error *err)
{
    bool ignored = false;
    enum sp_code rc = sp_pause_until(sp_mono_ms(), time->cancel_fd); /* or is it cancelled? */

    if (!rc)
        rc = delete_in_time(service, id, time, found ? found : &ignored, err);
    if (rc != SP_E_CANCELLED)
        return rc;
    const struct sp_agentrun_time last = {
        sp_deadline_min(time->deadline, sp_deadline_in(CANCELLED_MS)), -1};
    return delete_in_time(service, id, &last, found ? found : &ignored, err);
}

static enum sp_code read_context(const struct sp_agentrun_answer *answer, struct sp_context *out,
                                 struct sp_error *err)
{
    struct sp_json_value data;

    if (!sp_agentrun_data(answer, &data) ||
        !sp_agentrun_text(&data, "id", out->id, sizeof(out->id)) || !*out->id)
        return sp_error_set(err, SP_E_INVALID, "AgentRun made a context without an id");
    if (!sp_agentrun_text(&data, "cwd", out->cwd, sizeof(out->cwd)) || out->cwd[0] != '/')
        snprintf(out->cwd, sizeof(out->cwd), FOLDER);
    return SP_OK;
}

/* One that was made twice goes with its sandbox. */
enum sp_code sp_context_create(struct sp_agentrun *service, const char *sandbox,
                               enum sp_language language, const struct sp_agentrun_time *time,
                               struct sp_context *out, struct sp_error *err)
{
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};
    char path[PATH_MAX_BYTES], body[80];

    write_path(path, sandbox, "/contexts");
    int len = snprintf(body, sizeof(body), "{\"language\":\"%s\",\"cwd\":\"" FOLDER "\"}",
                       sp_language_name(language));
    const struct sp_agentrun_call call = {.what = "create a context",
                                          .method = "POST",
                                          .path = path,
                                          .json = body,
                                          .json_len = (size_t)len,
                                          .time = time};
    enum sp_code rc = sp_agentrun_insist(service, &call, &answer, err);
    return rc ? rc : read_context(&answer, out, err);
}
