/* Executors: claim, run (create, execute, destroy: always paired), conclude, answer. */
#include "worker/executor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/thread.h"

enum { BUF_KEEP_BYTES = 64 * 1024 }; /* a larger reply's memory is given back after it */

struct executor {
    struct sp_executors *pool;
    pthread_t thread;
    int cancel_fd; /* readable: end what runs here */
    struct sp_buf reply;
};

struct sp_executors {
    struct sp_executors_options with;
    atomic_size_t running;
    size_t n; /* threads that run */
    struct executor executors[];
};

static enum sp_fate without_provider(const struct sp_executors *pool, struct sp_job *job,
                                     const struct sp_settings_status *status)
{
    switch (status->state) {
    case SP_SETTINGS_ABSENT:
        return sp_job_refuse(
            job, SP_SB001_NOT_CONFIGURED,
            "no sandbox provider is configured: set one with `sandpiper settings`");
    case SP_SETTINGS_INVALID:
        return sp_job_refuse(job, SP_SB002_BAD_CONFIGURATION, status->message);
    case SP_SETTINGS_UNREAD:
    case SP_SETTINGS_IN_FORCE: /* since a moment ago; the next try has it */
        break;
    }
    return sp_job_unavailable(job, SP_SB009_UNAVAILABLE,
                              "the settings have not been read from Redis yet",
                              pool->with.config->worker.hold);
}

/* The configured choice not to run what Redis cannot keep account of. */
static bool is_paused(const struct sp_config *config, const struct sp_settings_status *status)
{
    return !status->redis_up && strcmp(config->redis.outage, "pause") == 0;
}

static enum sp_code run_instance(struct sp_provider *provider, struct sp_job *job,
                                 const struct sp_run *run, struct sp_error *err)
{
    struct sp_instance *instance = NULL;
    enum sp_code rc = sp_provider_create(provider, &job->req, run, &instance, err);
    if (!rc)
        rc = sp_provider_execute(instance, &job->req, run, &job->result, err);
    sp_provider_destroy(instance, run);
    return rc;
}

static enum sp_fate run_job(struct executor *e, struct sp_job *job,
                            const struct sp_snapshot *snapshot)
{
    const struct sp_executors *pool = e->pool;
    const struct sp_config *config = pool->with.config;
    struct sp_settings_status status;
    sp_watcher_status(pool->with.watcher, &status);
    if (!snapshot)
        return without_provider(pool, job, &status);
    if (is_paused(config, &status)) {
        return sp_job_unavailable(job, SP_SB009_UNAVAILABLE,
                                  "Redis is away, and redis.outage is pause", config->worker.hold);
    }
    if (!status.provider_up) {
        return sp_job_unavailable(
            job, status.throttled ? SP_SB008_RATE_LIMITED : SP_SB009_UNAVAILABLE,
            status.message[0] ? status.message : "its last check failed", config->worker.hold);
    }
    struct sp_error err = {0};
    struct sp_run run =
        sp_job_run(job, config->worker.setup_timeout, config->limits.timeout_ms, e->cancel_fd);
    enum sp_code rc = run_instance(snapshot->value, job, &run, &err);
    if (rc == SP_E_UNAVAILABLE && job->result.started == SP_STARTED_NO)
        sp_watcher_doubt(pool->with.watcher, snapshot); /* or every job would find out by itself */
    return sp_job_conclude(job, rc, &err, &run, config->worker.hold);
}

/* The settings in force now are held for the whole run, so a reload never pulls a provider from
 * under it; the reply names them whether anything runs or not. */
static enum sp_fate claim_and_run(struct executor *e, struct sp_job *job)
{
    struct sp_executors *pool = e->pool;
    sp_auto(sp_snapshot_unref) struct sp_snapshot *snapshot = sp_watcher_get(pool->with.watcher);
    job->answer = (struct sp_job_answer){
        .provider = snapshot ? snapshot->provider : NULL,
        .settings_version = snapshot ? snapshot->version : 0,
        .defaulted = snapshot && snapshot->defaulted,
    };
    enum sp_fate fate = sp_job_claim(job, atomic_load(pool->with.stopping), sp_wall_ms());
    if (fate != SP_FATE_RUN)
        return fate;
    atomic_fetch_add_explicit(&pool->running, 1, memory_order_relaxed);
    fate = run_job(e, job, snapshot);
    atomic_fetch_sub_explicit(&pool->running, 1, memory_order_relaxed);
    return fate;
}

static void log_done(const struct sp_job *job)
{
    const struct sp_job_answer *answer = &job->answer;
    const struct sp_result *result = &job->result;
    sp_log(SP_INFO, "execution_done", sp_s("task_id", job->req.id),
           sp_s("provider", answer->provider),
           sp_s("language", sp_language_name(job->req.language)),
           sp_s("status", sp_status_name(answer->status)),
           sp_s("code", answer->sb ? sp_sb_row(answer->sb)->code : NULL),
           sp_i("exit_code", answer->ran ? result->exit_code : -1),
           sp_i("took_ms", answer->ran ? result->execution_us / 1000 : 0),
           sp_i("queue_ms", answer->ran ? answer->queue_us / 1000 : 0),
           sp_i("stdout_bytes", result->out.bytes), sp_i("stderr_bytes", result->err.bytes));
}

static enum sp_fate send_answer(struct executor *e, struct sp_job *job)
{
    struct sp_error err = {0};
    if (!job->answered)
        log_done(job);
    job->answered = true;
    enum sp_code rc = sp_finish(&e->pool->with.finish, job, &e->reply, &err);
    if (e->reply.cap > BUF_KEEP_BYTES)
        sp_buf_clear(&e->reply);
    if (!rc)
        return SP_FATE_SENT;
    sp_log(SP_WARN, "reply_postponed", sp_s("task_id", job->req.id), sp_s("error", err.msg));
    return SP_FATE_HOLD;
}

static void process(struct executor *e, struct sp_job *job)
{
    struct sp_executors *pool = e->pool;
    enum sp_fate fate = job->answered ? SP_FATE_ANSWER : claim_and_run(e, job);
    if (fate == SP_FATE_ANSWER)
        fate = send_answer(e, job);
    if (fate == SP_FATE_SENT)
        return;
    if (!job->answered) {
        sp_result_clear(&job->result);
        if (atomic_load(pool->with.stopping))
            fate = SP_FATE_HAND_BACK;
    }
    job->fate = fate;
    sp_hold_put(pool->with.hold, job);
    sp_queue_wake(pool->with.finish.queue);
}

static void *executor_main(void *arg)
{
    struct executor *e = arg;
    const struct sp_executors_options *with = &e->pool->with;
    struct sp_job *job = NULL;
    bool room = false;
    while ((job = sp_ready_take(with->ready, &room))) {
        if (room)
            sp_queue_wake(with->finish.queue);
        process(e, job);
    }
    return NULL;
}

static enum sp_code start_one(struct sp_executors *pool, struct executor *e, struct sp_error *err)
{
    e->pool = pool;
    e->reply = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    e->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->cancel_fd < 0)
        return sp_error_set(err, SP_E_INTERNAL, "no descriptor for an executor");
    enum sp_code rc = sp_thread_start(&e->thread, "executor", executor_main, e, err);
    if (rc)
        close(e->cancel_fd);
    return rc;
}

enum sp_code sp_executors_start(const struct sp_executors_options *options,
                                struct sp_executors **out, struct sp_error *err)
{
    size_t n = (size_t)options->config->worker.concurrency;
    struct sp_executors *pool = calloc(1, sizeof *pool + n * sizeof pool->executors[0]);
    if (!pool)
        return sp_error_set(err, SP_E_NOMEM, "no memory for %zu executors", n);
    pool->with = *options;
    for (; pool->n < n; pool->n++) {
        enum sp_code rc = start_one(pool, &pool->executors[pool->n], err);
        if (rc) {
            sp_ready_close(options->ready);
            sp_executors_free(pool);
            return rc;
        }
    }
    *out = pool;
    return SP_OK;
}

void sp_executors_cancel(struct sp_executors *executors)
{
    for (size_t i = 0; i < executors->n; i++)
        (void)eventfd_write(executors->executors[i].cancel_fd, 1);
}

size_t sp_executors_running(const struct sp_executors *executors)
{
    return atomic_load_explicit(&executors->running, memory_order_relaxed);
}

void sp_executors_free(struct sp_executors *executors)
{
    if (!executors)
        return;
    for (size_t i = 0; i < executors->n; i++) {
        struct executor *e = &executors->executors[i];
        pthread_join(e->thread, NULL);
        close(e->cancel_fd);
        sp_buf_clear(&e->reply);
    }
    free(executors);
}
