#include "providers/aliyun_codeinterpreter/template.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/log.h"
#include "base/text.h"
#include "providers/pause.h"

enum { LANGUAGES = 2, POLL_MS = 1000, WAIT_MS = 20, STATE_MAX = 32 };
#define PATH "/2025-09-10/templates"

static const char *const default_names[LANGUAGES] = {
    [SP_PYTHON] = "ragflow-python-default",
    [SP_JAVASCRIPT] = "ragflow-javascript-default",
};

struct sp_templates {
    struct sp_agentrun *service;
    const char *name;     /* "": the defaults */
    pthread_mutex_t lock; /* guards entries */
    struct entry {
        enum { UNKNOWN, ASKED, READY } state;
        int64_t failures;
        struct sp_error failure; /* the last one */
    } entries[LANGUAGES];
};

enum sp_code sp_templates_new(struct sp_agentrun *service, const char *name,
                              struct sp_templates **out, struct sp_error *err)
{
    struct sp_templates *t = calloc(1, sizeof *t);
    if (!t || pthread_mutex_init(&t->lock, NULL)) {
        free(t);
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    t->service = service;
    t->name = name;
    *out = t;
    return SP_OK;
}

void sp_templates_free(struct sp_templates *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

const char *sp_template_name(const struct sp_templates *t, enum sp_language language)
{
    return *t->name ? t->name : default_names[language];
}

/* ---- what the service says ---- */

/* A look at one template, or its making. */
struct look {
    struct sp_agentrun *service;
    const char *name;
    const struct sp_agentrun_time *time;
    char state[STATE_MAX]; /* "" while it is not there */
};

static enum sp_code write_path(const struct look *look, struct sp_buf *out, struct sp_error *err)
{
    enum sp_code rc = sp_buf_adds(out, PATH "/");
    if (!rc)
        rc = sp_url_encode(look->name, "", out);
    return rc ? sp_error_set(err, rc, "no memory for an address") : SP_OK;
}

static enum sp_code get_template(struct look *look, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf path = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};
    struct sp_json_value data;

    look->state[0] = '\0';
    enum sp_code rc = write_path(look, &path, err);
    if (rc)
        return rc;
    const struct sp_agentrun_call call = {.what = "show the template",
                                          .action = "GetTemplate",
                                          .method = "GET",
                                          .path = sp_buf_str(&path),
                                          .time = look->time};
    rc = sp_agentrun_insist(look->service, &call, &answer, err);
    if (rc)
        return answer.gone ? SP_OK : rc;
    if (sp_agentrun_data(&answer, &data) &&
        sp_agentrun_text(&data, "status", look->state, sizeof(look->state)) && look->state[0])
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID, "AgentRun does not tell the state of template %s",
                        look->name);
}

/* As RAGFlow makes it. */
static enum sp_code write_template(const struct look *look, struct sp_buf *out)
{
    struct sp_json_out j = SP_JSON_OUT(out);

    sp_json_object(&j, NULL);
    sp_json_str(&j, "templateName", look->name);
    sp_json_str(&j, "templateType", "CodeInterpreter");
    sp_json_int(&j, "cpu", 2);
    sp_json_int(&j, "memory", 4096);
    sp_json_int(&j, "diskSize", 512);
    sp_json_object(&j, "networkConfiguration");
    sp_json_str(&j, "networkMode", "PUBLIC");
    sp_json_object_end(&j);
    sp_json_array(&j, "ossConfiguration");
    sp_json_array_end(&j);
    sp_json_int(&j, "sandboxIdleTimeoutInSeconds", 1800);
    sp_json_int(&j, "sandboxTTLInSeconds", 21600);
    sp_json_object_end(&j);
    return j.rc;
}

/* Somebody else may be making it at the same time. */
static enum sp_code make_template(const struct look *look, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};

    enum sp_code rc = write_template(look, &body);
    if (rc)
        return sp_error_set(err, rc, "no memory for a template");
    const struct sp_agentrun_call call = {.what = "create the template",
                                          .action = "CreateTemplate",
                                          .method = "POST",
                                          .path = PATH,
                                          .json = body.data,
                                          .json_len = body.len,
                                          .time = look->time};
    rc = sp_agentrun_insist(look->service, &call, &answer, err);
    if (rc)
        return answer.exists ? SP_OK : rc;
    sp_log(SP_INFO, "template_created", sp_s("template", look->name),
           sp_s("request_id", answer.http.request_id));
    return SP_OK;
}

/* States that pass by themselves. */
static bool is_on_its_way(const char *state)
{
    return strcmp(state, "CREATING") == 0 || strcmp(state, "UPDATING") == 0 || !*state;
}

static enum sp_code pause_look(const struct look *look, struct sp_error *err)
{
    int64_t until = sp_deadline_in(POLL_MS);

    if (until >= look->time->deadline) {
        return sp_error_set(err, SP_E_TIMEOUT, "template %s is not ready in time (%s)", look->name,
                            *look->state ? look->state : "not there yet");
    }
    if (sp_pause_until(until, look->time->cancel_fd))
        return sp_error_set(err, SP_E_CANCELLED, "cancelled while waiting for a template");
    return SP_OK;
}

static enum sp_code look_until_ready(struct look *look, struct sp_error *err)
{
    enum sp_code rc = get_template(look, err);

    if (!rc && !*look->state) {
        rc = make_template(look, err);
        if (!rc)
            rc = get_template(look, err);
    }
    while (!rc && is_on_its_way(look->state)) {
        rc = pause_look(look, err);
        if (!rc)
            rc = get_template(look, err);
    }
    if (rc || strcmp(look->state, "READY") == 0)
        return rc;
    return sp_error_set(err, SP_E_INVALID, "template %s is in state %s: mend or delete it",
                        look->name, look->state);
}

/* ---- one asks, all know ---- */

enum turn { KNOWN, MINE, WAIT, FAILED };

/* Who has waited for another's question gets its failure, too. *failures: those that were known
 * before; -1 at first. */
static enum turn take_turn(struct sp_templates *t, enum sp_language language, int64_t *failures,
                           struct sp_error *failure)
{
    struct entry *e = &t->entries[language];
    enum turn turn = WAIT;

    pthread_mutex_lock(&t->lock);
    if (e->state == READY) {
        turn = KNOWN;
    } else if (*failures >= 0 && *failures < e->failures) {
        turn = FAILED;
        *failure = e->failure;
    } else if (e->state == UNKNOWN) {
        turn = MINE;
        e->state = ASKED;
    }
    *failures = e->failures;
    pthread_mutex_unlock(&t->lock);
    return turn;
}

/* Whoever was cancelled or came late has learnt nothing about the template. */
static void note(struct sp_templates *t, enum sp_language language, enum sp_code rc,
                 const struct sp_error *why)
{
    struct entry *e = &t->entries[language];

    pthread_mutex_lock(&t->lock);
    e->state = rc ? UNKNOWN : READY;
    if (rc && rc != SP_E_CANCELLED && rc != SP_E_TIMEOUT) {
        e->failures++;
        e->failure = *why;
    }
    pthread_mutex_unlock(&t->lock);
}

void sp_template_forget(struct sp_templates *t, enum sp_language language)
{
    pthread_mutex_lock(&t->lock);
    if (t->entries[language].state == READY)
        t->entries[language].state = UNKNOWN;
    pthread_mutex_unlock(&t->lock);
}

static enum sp_code ask(struct sp_templates *t, enum sp_language language,
                        const struct sp_agentrun_time *time, struct sp_error *err)
{
    struct look look = {.service = t->service, .name = sp_template_name(t, language), .time = time};
    struct sp_error why = {0};

    enum sp_code rc = look_until_ready(&look, &why);
    note(t, language, rc, &why);
    return rc ? sp_error_set(err, rc, "%s", why.msg) : SP_OK;
}

static enum sp_code wait_for_another(const struct sp_agentrun_time *time, struct sp_error *err)
{
    if (sp_deadline_left(time->deadline) == 0)
        return sp_error_set(err, SP_E_TIMEOUT, "the template is not ready in time");
    if (sp_pause_until(sp_deadline_in(WAIT_MS), time->cancel_fd))
        return sp_error_set(err, SP_E_CANCELLED, "cancelled while waiting for a template");
    return SP_OK;
}

enum sp_code sp_template_ready(struct sp_templates *t, enum sp_language language,
                               const struct sp_agentrun_time *time, struct sp_error *err)
{
    struct sp_error shared = {0};
    int64_t failures = -1;
    enum sp_code rc = SP_OK;

    while (!rc) {
        switch (take_turn(t, language, &failures, &shared)) {
        case KNOWN:
            return SP_OK;
        case MINE:
            return ask(t, language, time, err);
        case FAILED:
            return sp_error_set(err, shared.code, "%s", shared.msg);
        case WAIT:
            rc = wait_for_another(time, err);
        }
    }
    return rc;
}
