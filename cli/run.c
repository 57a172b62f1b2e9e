/* `run`, `submit` and `wait`: the asking side. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/submission.h"
#include "settings/redis.h"

#define SLICE_MS 250
#define DEFAULT_SINCE_MS ((int64_t)3600 * 1000)
#define REQUEST_MAX ((size_t)256 << 20)

/* Waiting for one reply and showing it. */
struct waiting {
    const struct sp_call *call;
    struct sp_session *session;
    const char *id;
    const unsigned char *correlation; /* NULL: any reply to this id */
    int64_t limit_ms;                 /* 0: none */
    bool json, show_value;
    const char *artifacts;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static enum sp_code fetch_from_redis(void *ctx, const char *ref, struct sp_buf *out,
                                     struct sp_error *err)
{
    static const char scheme[] = "redis:";
    if (strncmp(ref, scheme, sizeof(scheme) - 1) != 0)
        return sp_error_set(err, SP_E_INVALID, "%.100s is no reference that we can follow", ref);
    const char *key = ref + sizeof(scheme) - 1;
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = sp_redis_new(ctx, &redis, err);
    if (!rc)
        rc = sp_redis_command(redis, &reply, err, "GET %s", key);
    if (rc)
        return rc;
    if (reply->type != REDIS_REPLY_STRING) {
        return sp_error_set(err, SP_E_INVALID,
                            "Redis %.64s has no %.80s any more (results.ttl is how long it stays)",
                            sp_redis_name(redis), key);
    }
    return sp_buf_add(out, reply->str, reply->len);
}

static void progress(const struct waiting *w, int64_t since_mono_ms)
{
    fprintf(w->call->err, "\r\033[Kwaiting for the reply to %s ... %llds", w->id,
            (long long)((sp_mono_ms() - since_mono_ms) / 1000));
    (void)fflush(w->call->err);
}

/* SP_E_CANCELLED: interrupted; SP_E_TIMEOUT: the limit passed. */
static enum sp_code await_reply(const struct waiting *w, char **text, size_t *len,
                                struct sp_error *err)
{
    bool terminal = isatty(fileno(w->call->err));
    int64_t begun = sp_mono_ms();
    int64_t deadline = w->limit_ms ? sp_deadline_in(w->limit_ms) : SP_NEVER;
    enum sp_code rc = SP_E_TIMEOUT;
    while (rc == SP_E_TIMEOUT && !interrupted && sp_mono_ms() < deadline) {
        int64_t slice = sp_deadline_min(SLICE_MS, deadline - sp_mono_ms());
        rc = sp_client_wait(w->session->client, w->id, w->correlation, slice, text, len, err);
        if (terminal && rc == SP_E_TIMEOUT && sp_mono_ms() - begun >= 1000)
            progress(w, begun);
    }
    if (terminal)
        fputs("\r\033[K", w->call->err);
    return rc == SP_E_TIMEOUT && interrupted ? SP_E_CANCELLED : rc;
}

static enum sp_code await_interruptibly(const struct waiting *w, char **text, size_t *len,
                                        struct sp_error *err)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    struct sigaction before;
    interrupted = 0;
    (void)sigaction(SIGINT, &action, &before);
    enum sp_code rc = await_reply(w, text, len, err);
    (void)sigaction(SIGINT, &before, NULL);
    return rc;
}

static int no_reply(const struct waiting *w, enum sp_code rc, const struct sp_error *error)
{
    if (rc != SP_E_TIMEOUT && rc != SP_E_CANCELLED)
        return sp_call_fail(w->call, error);
    fprintf(w->call->err,
            "%s: %s%s\nThe request stays in Kafka and goes on. 'sandpiper wait %s' waits for its "
            "reply; 'sandpiper workers' shows who could take it.\n",
            w->call->path, rc == SP_E_TIMEOUT ? error->msg : "stopped waiting",
            rc == SP_E_TIMEOUT ? " (the waiting time is over)" : "", w->id);
    return rc == SP_E_TIMEOUT ? SP_EXIT_FAILURE : SP_EXIT_SIGNAL + SIGINT;
}

static enum sp_code save_artifacts(const struct waiting *w, const struct sp_answer *answer,
                                   struct sp_error *err)
{
    if (w->artifacts)
        return sp_answer_write_artifacts(answer, w->artifacts, w->call->err, err);
    if (answer->n_artifacts > 0 && !w->json) {
        fprintf(w->call->err,
                "sandpiper: note: %zu artifact%s came along; --artifacts DIR writes "
                "them into a folder\n",
                answer->n_artifacts, answer->n_artifacts == 1 ? "" : "s");
    }
    return SP_OK;
}

/* Takes text. */
static int show(const struct waiting *w, char *text, size_t len)
{
    sp_auto(sp_answer_clear) struct sp_answer answer = {0};
    const struct sp_attachment_source source = {w->session->config, fetch_from_redis};
    struct sp_error err = {0};
    enum sp_code rc = sp_answer_read(text, len, &answer, &err);
    if (rc) {
        free(text);
        return sp_call_fail(w->call, &err);
    }
    if (w->json)
        fprintf(w->call->out, "%s\n", answer.text);
    if (!w->json || w->artifacts)
        rc = sp_answer_complete(&answer, &source, &err);
    if (!w->json)
        sp_answer_show(&answer, w->show_value, w->call->out, w->call->err);
    int code = sp_answer_exit_code(&answer);
    if (!rc)
        rc = save_artifacts(w, &answer, &err);
    if (rc) {
        int failed = sp_call_fail(w->call, &err);
        return code ? code : failed;
    }
    return code;
}

static int wait_and_show(const struct waiting *w)
{
    struct sp_error err = {0};
    char *text = NULL;
    size_t len = 0;
    enum sp_code rc = await_interruptibly(w, &text, &len, &err);
    return rc ? no_reply(w, rc, &err) : show(w, text, len);
}

/* A request on its way. */
struct posted {
    char id[37];
    const char *name;  /* the id in use: the caller's, or `id` */
    const char *topic; /* borrowed from the session */
    unsigned char correlation[SP_CORRELATION_BYTES];
    int32_t partition;
    int64_t offset;
};

/* misuse: the request could not even be made of the options. */
static enum sp_code post(const struct sp_call *call, struct sp_session *session, bool listen,
                         struct posted *out, bool *misuse, struct sp_error *err)
{
    const struct sp_submission_options *options = call->options;
    sp_auto(sp_buf_clear) struct sp_buf request = SP_BUF_INIT(REQUEST_MAX);
    sp_random_uuid(out->id);
    out->name = options->id ? options->id : out->id;
    if (getrandom(out->correlation, sizeof(out->correlation), 0) != sizeof(out->correlation))
        return sp_error_set(err, SP_E_INTERNAL, "no random bytes");
    enum sp_code rc = sp_submission_write(options, call->operands[0], out->name, &request, err);
    *misuse = rc == SP_E_INVALID;
    if (rc)
        return rc;
    rc = sp_session_open(call, session, err);
    if (!rc && listen)
        rc = sp_session_listen(session, options->reply_to, SP_CLIENT_END, err);
    if (rc)
        return rc;
    out->topic = session->topics.requests[0];
    const struct sp_client_request send = {
        .topic = out->topic,
        .key = options->key,
        .value = request.data,
        .len = request.len,
        .correlation = out->correlation,
    };
    return sp_client_send(session->client, &send, SP_CONNECT_MS, &out->partition, &out->offset,
                          err);
}

static int run_run(const struct sp_call *call)
{
    const struct sp_submission_options *options = call->options;
    sp_auto(sp_session_clear) struct sp_session session = {0};
    struct posted posted = {0};
    struct sp_error err = {0};
    bool misuse = false;
    enum sp_code rc = post(call, &session, true, &posted, &misuse, &err);
    if (rc)
        return misuse ? sp_call_misuse(call, &err) : sp_call_fail(call, &err);
    return wait_and_show(&(struct waiting){
        .call = call,
        .session = &session,
        .id = posted.name,
        .correlation = posted.correlation,
        .limit_ms = options->wait,
        .json = options->common.json,
        .show_value = !options->result_in_stdout,
        .artifacts = options->artifacts,
    });
}

static int print_posted(const struct sp_call *call, const struct posted *posted)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out json = SP_JSON_OUT(&buf);
    sp_json_object(&json, NULL);
    sp_json_str(&json, "request_id", posted->name);
    sp_json_str(&json, "topic", posted->topic);
    sp_json_int(&json, "partition", posted->partition);
    sp_json_int(&json, "offset", posted->offset);
    sp_json_object_end(&json);
    fprintf(call->out, "%s\n", sp_buf_str(&buf));
    return json.rc ? SP_EXIT_FAILURE : SP_EXIT_OK;
}

static int run_submit(const struct sp_call *call)
{
    const struct sp_submission_options *options = call->options;
    sp_auto(sp_session_clear) struct sp_session session = {0};
    struct posted posted = {0};
    struct sp_error err = {0};
    bool misuse = false;
    enum sp_code rc = post(call, &session, false, &posted, &misuse, &err);
    if (rc)
        return misuse ? sp_call_misuse(call, &err) : sp_call_fail(call, &err);
    if (options->common.json)
        return print_posted(call, &posted);
    fprintf(call->out, "%s\n", posted.name);
    return SP_EXIT_OK;
}

struct wait_options {
    struct sp_common_options common;
    const char *reply_to, *artifacts;
    int64_t since, timeout;
};

static int run_wait(const struct sp_call *call)
{
    const struct wait_options *options = call->options;
    sp_auto(sp_session_clear) struct sp_session session = {0};
    struct sp_error err = {0};
    int64_t since = options->since ? options->since : DEFAULT_SINCE_MS;
    enum sp_code rc = sp_session_open(call, &session, &err);
    if (!rc)
        rc = sp_session_listen(&session, options->reply_to, sp_wall_ms() - since, &err);
    if (rc)
        return sp_call_fail(call, &err);
    return wait_and_show(&(struct waiting){
        .call = call,
        .session = &session,
        .id = call->operands[0],
        .limit_ms = options->timeout,
        .json = options->common.json,
        .show_value = true,
        .artifacts = options->artifacts,
    });
}

#define EXIT_CODES                                                                                 \
    "Exit code: the program's; 128 + n when signal n ended it; 124 when its time passed;\n"        \
    "125 when the reply tells of no program that ended by itself; 1 when Kafka or Redis cannot\n"  \
    "be used or no reply came; 2 when the command was used wrongly; 130 after Ctrl-C."

static const struct sp_option run_options[] = {
    SP_SUBMISSION_OPTIONS(struct sp_submission_options),
    SP_TEXT_OPTION(struct sp_submission_options, artifacts, "artifacts", .letter = 'o',
                   .value = "DIR", .help = "write the files that the program left in artifacts/"),
    SP_DURATION_OPTION(struct sp_submission_options, wait, "wait", .letter = 'w', .value = "TIME",
                       .help = "stop waiting for the reply after this long (else never)"),
    SP_CONFIG_OPTIONS(struct sp_submission_options),
    SP_JSON_OPTION(struct sp_submission_options),
};

const struct sp_command sp_command_run = {
    .name = "run",
    .operands = "FILE",
    .summary = "Run a program through Kafka and show what it printed and returned.",
    .details = "FILE is Python or JavaScript; \"-\" reads standard input. If the program defines "
               "main, main\nis called with the arguments, and its value is printed as JSON after "
               "the output.\n\n" EXIT_CODES,
    .min_operands = 1,
    .max_operands = 1,
    .options = run_options,
    .n_options = SP_COUNT(run_options),
    .options_size = sizeof(struct sp_submission_options),
    .run = run_run,
};

static const struct sp_option submit_options[] = {
    SP_SUBMISSION_OPTIONS(struct sp_submission_options),
    SP_CONFIG_OPTIONS(struct sp_submission_options),
    SP_JSON_OPTION(struct sp_submission_options),
};

const struct sp_command sp_command_submit = {
    .name = "submit",
    .operands = "FILE",
    .summary = "Send a program and print its request id, without waiting.",
    .details = "'sandpiper wait ID' shows the reply.",
    .min_operands = 1,
    .max_operands = 1,
    .options = submit_options,
    .n_options = SP_COUNT(submit_options),
    .options_size = sizeof(struct sp_submission_options),
    .run = run_submit,
};

static const struct sp_option wait_options[] = {
    SP_DURATION_OPTION(struct wait_options, since, "since", .letter = 's', .value = "TIME",
                       .help = "look through the replies of the last TIME (1h)"),
    SP_DURATION_OPTION(struct wait_options, timeout, "timeout", .letter = 't', .value = "TIME",
                       .help = "stop waiting after this long (else never)"),
    SP_TEXT_OPTION(struct wait_options, reply_to, "reply-to", .value = "TOPIC",
                   .help = "topic of the reply, if the request named one"),
    SP_TEXT_OPTION(struct wait_options, artifacts, "artifacts", .letter = 'o', .value = "DIR",
                   .help = "write the files that the program left in artifacts/"),
    SP_CONFIG_OPTIONS(struct wait_options),
    SP_JSON_OPTION(struct wait_options),
};

const struct sp_command sp_command_wait = {
    .name = "wait",
    .operands = "ID",
    .summary = "Wait for the reply to a request and show it as 'run' does.",
    .details = EXIT_CODES,
    .min_operands = 1,
    .max_operands = 1,
    .options = wait_options,
    .n_options = SP_COUNT(wait_options),
    .options_size = sizeof(struct wait_options),
    .run = run_wait,
};
