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
    struct sp_ready *source;
    pthread_t thread;
    int cancel_fd;      /* readable: end what runs here */
    struct sp_job *job; /* that is being run; guarded by the pool's lock */
    struct sp_buf reply;
};

struct sp_executors {
    struct sp_executors_options with;
    atomic_size_t running;
    pthread_mutex_t lock; /* guards what the executors run, and: */
    bool ended;           /* every run is to end */
    size_t n;             /* threads that run */
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

static enum sp_fate run_on(struct executor *e, struct sp_job *job,
                           const struct sp_snapshot *snapshot)
{
    const struct sp_executors *pool = e->pool;
    const struct sp_config *config = pool->with.config;
    struct sp_settings_status status;
    sp_watcher_status(pool->with.watcher, &status);
    if (!snapshot)
        return without_provider(pool, job, &status);
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

/* From here on a cancellation reaches the job. False: it is cancelled already. */
static bool begin_run(struct executor *e, struct sp_job *job)
{
    struct sp_executors *pool = e->pool;
    pthread_mutex_lock(&pool->lock);
    e->job = job;
    pthread_mutex_unlock(&pool->lock);
    return !sp_cancels_has(pool->with.admission.cancels, job->req.id);
}

/* The descriptor is for the next job now, unless all are to end. */
static void end_run(struct executor *e)
{
    struct sp_executors *pool = e->pool;
    eventfd_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    if (atomic_load(&e->job->cancelled) && !pool->ended)
        (void)eventfd_read(e->cancel_fd, &seen);
    e->job = NULL;
    pthread_mutex_unlock(&pool->lock);
}

static enum sp_fate run_job(struct executor *e, struct sp_job *job,
                            const struct sp_snapshot *snapshot)
{
    enum sp_fate fate = SP_FATE_ANSWER;
    atomic_fetch_add_explicit(&e->pool->running, 1, memory_order_relaxed);
    if (begin_run(e, job)) {
        fate = run_on(e, job, snapshot);
    } else {
        fate = sp_job_admit(job, true, sp_wall_ms());
    }
    end_run(e);
    atomic_fetch_sub_explicit(&e->pool->running, 1, memory_order_relaxed);
    return fate;
}

/* The settings in force now are held for the whole run, so a reload never pulls a provider from
 * under it; the reply names them whether anything runs or not. */
static enum sp_fate admit_and_run(struct executor *e, struct sp_job *job)
{
    const struct sp_executors_options *with = &e->pool->with;
    sp_auto(sp_snapshot_unref) struct sp_snapshot *snapshot = sp_watcher_get(with->watcher);
    job->answer = (struct sp_job_answer){
        .provider = snapshot ? snapshot->provider : NULL,
        .settings_version = snapshot ? snapshot->version : 0,
        .defaulted = snapshot && snapshot->defaulted,
    };
    if (atomic_load(with->stopping))
        return SP_FATE_HAND_BACK;
    enum sp_fate fate = sp_admit(&with->admission, job);
    return fate == SP_FATE_RUN ? run_job(e, job, snapshot) : fate;
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

/* ---- the steps ---- */

/* Thread: claims. */
static void on_taken(void *ctx, struct sp_claim *claim)
{
    struct sp_job *job = ctx;
    job->claim = claim;
    job->step = SP_STEP_RUN;
    sp_ready_push_next(job->home, job);
}

/* Thread: claims. */
static void on_stored(void *ctx, bool done)
{
    struct sp_job *job = ctx;
    job->stored = done;
    job->step = SP_STEP_SEND;
    sp_ready_push_next(job->home, job);
}

/* After the reply is on its way to Redis: what is begun then comes behind it. */
static void free_slot(struct sp_ready *home, bool had_slot)
{
    if (had_slot)
        sp_ready_free_slot(home);
}

/* Without an answer the job begins anew, here or elsewhere; its claim is free for that. */
static void put_aside(struct executor *e, struct sp_job *job, enum sp_fate fate)
{
    struct sp_executors *pool = e->pool;
    bool had_slot = job->has_slot;
    if (!job->answered && fate != SP_FATE_SKIP) {
        sp_claims_release(pool->with.finish.claims, SP_TAKE(job->claim));
        sp_result_clear(&job->result);
    }
    job->has_slot = false;
    job->step = job->answered ? SP_STEP_SEND : SP_STEP_BEGIN;
    job->fate = fate;
    sp_hold_put(pool->with.hold, job);
    sp_queue_wake(pool->with.finish.queue);
    free_slot(e->source, had_slot);
}

static void send_answer(struct executor *e, struct sp_job *job)
{
    struct sp_error err = {0};
    bool had_slot = job->has_slot;
    job->has_slot = false;
    job->step = SP_STEP_SEND; /* should it come back */
    enum sp_fate fate = sp_finish(&e->pool->with.finish, job, &e->reply, &err);
    free_slot(e->source, had_slot);
    if (fate == SP_FATE_SENT)
        return;
    if (fate == SP_FATE_HOLD)
        sp_log(SP_WARN, "reply_postponed", sp_s("task_id", job->req.id), sp_s("error", err.msg));
    if (fate == SP_FATE_PARK)
        sp_job_reopen(job);
    put_aside(e, job, fate);
}

static void store_answer(struct executor *e, struct sp_job *job)
{
    bool had_slot = job->has_slot;
    if (!job->republished)
        log_done(job);
    job->answered = true;
    job->has_slot = false; /* not to be touched once it is on its way */
    bool soon = sp_finish_soon(&e->pool->with.finish, job, &e->reply, on_stored);
    if (e->reply.cap > BUF_KEEP_BYTES)
        sp_buf_clear(&e->reply);
    if (!soon) {
        job->has_slot = had_slot;
        send_answer(e, job);
        return;
    }
    free_slot(e->source, had_slot);
}

static void run(struct executor *e, struct sp_job *job)
{
    sp_ready_go_away(e->source);
    enum sp_fate fate = admit_and_run(e, job);
    sp_ready_come_back(e->source);
    if (fate == SP_FATE_ANSWER) {
        store_answer(e, job);
    } else {
        put_aside(e, job, fate);
    }
}

static void begin(struct executor *e, struct sp_job *job)
{
    bool goes_on = !atomic_load(e->pool->with.stopping) && sp_record_is_ours(job->record);
    job->home = e->source;
    if (!goes_on) {
        put_aside(e, job, SP_FATE_HAND_BACK);
    } else if (!sp_admit_soon(&e->pool->with.admission, job, on_taken)) {
        run(e, job);
    }
}

static void (*const steps[])(struct executor *e, struct sp_job *job) = {
    [SP_STEP_BEGIN] = begin,
    [SP_STEP_RUN] = run,
    [SP_STEP_SEND] = send_answer,
};

static void *executor_main(void *arg)
{
    struct executor *e = arg;
    const struct sp_executors_options *with = &e->pool->with;
    struct sp_job *job = NULL;
    bool room = false;
    sp_ready_join(e->source);
    while ((job = sp_ready_take(e->source, &room))) {
        if (room)
            sp_queue_wake(with->finish.queue);
        steps[job->step](e, job);
    }
    return NULL;
}

static enum sp_code start_one(struct sp_executors *pool, struct executor *e,
                              struct sp_ready *source, struct sp_error *err)
{
    e->pool = pool;
    e->source = source;
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
    size_t n = (size_t)options->config->worker.concurrency + 1; /* one for what does not run */
    struct sp_executors *pool = calloc(1, sizeof *pool + n * sizeof pool->executors[0]);
    if (!pool)
        return sp_error_set(err, SP_E_NOMEM, "no memory for %zu executors", n);
    pool->with = *options;
    pthread_mutex_init(&pool->lock, NULL);
    for (; pool->n < n; pool->n++) {
        struct sp_ready *source = pool->n == 0 ? options->urgent : options->ready;
        enum sp_code rc = start_one(pool, &pool->executors[pool->n], source, err);
        if (rc) {
            sp_ready_close(options->ready);
            sp_ready_close(options->urgent);
            sp_executors_free(pool);
            return rc;
        }
    }
    *out = pool;
    return SP_OK;
}

void sp_executors_cancel(struct sp_executors *executors, sp_job_wanted_fn wanted, void *ctx)
{
    pthread_mutex_lock(&executors->lock);
    for (size_t i = 0; i < executors->n; i++) {
        struct executor *e = &executors->executors[i];
        if (!e->job || !wanted(ctx, e->job))
            continue;
        atomic_store(&e->job->cancelled, true);
        (void)eventfd_write(e->cancel_fd, 1);
    }
    pthread_mutex_unlock(&executors->lock);
}

void sp_executors_end(struct sp_executors *executors)
{
    pthread_mutex_lock(&executors->lock);
    executors->ended = true;
    for (size_t i = 0; i < executors->n; i++)
        (void)eventfd_write(executors->executors[i].cancel_fd, 1);
    pthread_mutex_unlock(&executors->lock);
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
    pthread_mutex_destroy(&executors->lock);
    free(executors);
}
