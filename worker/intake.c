/* The consumer thread. Everything it does is short: claiming, encoding, sending and running are the
 * executors'. */
#include "worker/intake.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/job.h"
#include "worker/thread.h"

enum {
    IDLE_WAIT_MS = 500,
    HELD_WAIT_MS = 20,
    SETTINGS_WAIT_MS = 2000,
    SWEEP_MS = 20, /* between two looks for what is to be handed back: it may be among many */
};

struct sp_intake {
    struct sp_intake_options with;
    pthread_t thread;
    bool joined;
    bool opened;        /* records are taken */
    int64_t opens_at;   /* at the latest */
    int64_t sweep_at;   /* not before, while partitions go or the worker stops */
    int done_fd;        /* readable once the thread's work is over */
    atomic_bool ended;  /* go, whatever is out */
    struct sp_job *all; /* of the intake thread, then of sp_intake_free() */
};

static void enlist(struct sp_intake *in, struct sp_job *job)
{
    job->next_all = in->all;
    if (in->all)
        in->all->prev_all = job;
    in->all = job;
}

static void forget(struct sp_intake *in, struct sp_job *job)
{
    if (job->prev_all) {
        job->prev_all->next_all = job->next_all;
    } else {
        in->all = job->next_all;
    }
    if (job->next_all)
        job->next_all->prev_all = job->prev_all;
    sp_job_free(job);
}

static bool is_stopping(const struct sp_intake *in)
{
    return atomic_load_explicit(in->with.stopping, memory_order_relaxed);
}

static bool is_cancelled(void *cancels, const struct sp_job *job)
{
    return sp_cancels_has(cancels, job->req.id);
}

/* What runs no more, since it is cancelled or answered, does not wait behind what runs. */
static void dispatch(struct sp_intake *in, struct sp_job *job)
{
    bool urgent = job->answered || is_cancelled(in->with.cancels, job);
    sp_ready_push(urgent ? in->with.urgent : in->with.ready, job);
}

static void take(struct sp_intake *in, struct sp_record *record)
{
    struct sp_job *job = NULL;
    struct sp_error err = {0};
    enum sp_code rc = sp_job_new(record, in->with.limits, in->with.topics, &job, &err);
    if (rc) { /* its offset stays open, so the record comes again after a restart */
        sp_log(SP_ERROR, "record_dropped", sp_s("error", err.msg));
        sp_queue_abandon(in->with.queue, record);
        return;
    }
    enlist(in, job);
    if (is_cancelled(in->with.cancels, job) || sp_order_enter(in->with.order, job))
        dispatch(in, job);
}

/* Lets the next one of its key go; before the record is gone, which holds the key. */
static void make_way(struct sp_intake *in, struct sp_job *job)
{
    struct sp_job *heir = sp_order_leave(in->with.order, job);
    if (heir)
        dispatch(in, heir);
}

/* Its offset is done. The claim ends when that is committed. */
static void complete(struct sp_intake *in, struct sp_job *job)
{
    make_way(in, job);
    sp_queue_complete(in->with.queue, job->record, SP_TAKE(job->claim));
    forget(in, job);
}

static void hand_back(struct sp_intake *in, struct sp_job *job)
{
    if (!is_stopping(in) &&
        sp_record_is_ours(job->record)) { /* its partition has come back meanwhile */
        dispatch(in, job);
        return;
    }
    make_way(in, job);
    sp_log(SP_DEBUG, "job_handed_back", sp_s("task_id", job->req.id));
    sp_queue_abandon(in->with.queue, job->record);
    forget(in, job);
}

static void delivered(struct sp_intake *in, struct sp_job *job)
{
    if (--job->deliveries > 0)
        return;
    const struct sp_job_answer *answer = &job->answer;
    sp_metrics_job(in->with.metrics, answer->status, answer->provider,
                   answer->ran ? answer->queue_us : -1,
                   answer->ran ? job->result.execution_us : -1);
    if (job->claim)
        sp_claims_delivered(in->with.claims, job->claim);
    complete(in, job);
}

/* Kafka finds the reply too large, whatever our own limit says. An executor writes it anew. */
static void shrink(struct sp_intake *in, struct sp_job *job)
{
    sp_log(SP_WARN, "reply_too_large", sp_s("task_id", job->req.id),
           sp_i("limit_bytes", (int64_t)job->reply_limit));
    sp_job_shrink_reply(job);
    job->fate = SP_FATE_HOLD;
    sp_hold_put(in->with.hold, job); /* its pauses keep a hopeless one from spinning */
}

/* The held ones go back to the executors, whose claim decides about each. */
static void serve_held(struct sp_intake *in)
{
    if (sp_hold_len(in->with.hold) == 0)
        return;
    struct sp_job_list due = sp_hold_take(in->with.hold, sp_ready_room(in->with.ready));
    struct sp_job *job = NULL;
    while ((job = sp_jobs_take(&due))) {
        if (job->fate == SP_FATE_HAND_BACK) {
            hand_back(in, job);
        } else if (job->fate == SP_FATE_SKIP) {
            complete(in, job);
        } else {
            dispatch(in, job);
        }
    }
}

static void push_urgent(struct sp_intake *in, struct sp_job_list jobs)
{
    struct sp_job *job = NULL;
    while ((job = sp_jobs_take(&jobs)))
        sp_ready_push(in->with.urgent, job);
}

/* The jobs of this worker that are cancelled now, wherever they are. Those that are in nobody's
 * hands at this moment meet the table at the next step of their way. */
static void serve_cancels(struct sp_intake *in)
{
    struct sp_cancels *cancels = in->with.cancels;
    if (!atomic_exchange(in->with.cancelled, false))
        return;
    sp_executors_cancel(in->with.executors, is_cancelled, cancels);
    push_urgent(in, sp_ready_withdraw(in->with.ready, is_cancelled, cancels));
    push_urgent(in, sp_order_withdraw(in->with.order, is_cancelled, cancels));
    sp_hold_cancel(in->with.hold);
}

/* One to be skipped is done, wherever its partition is. */
static bool goes_back(void *intake, const struct sp_job *job)
{
    return !job->answered && job->fate != SP_FATE_SKIP &&
           (is_stopping(intake) || !sp_record_is_ours(job->record));
}

static void hand_all_back(struct sp_intake *in, struct sp_job_list jobs)
{
    struct sp_job *job = NULL;
    while ((job = sp_jobs_take(&jobs)))
        hand_back(in, job);
}

/* What has not begun of the partitions that go, and at a stop of all. The followers first: then the
 * first ones of their keys have no heirs. */
static void serve_leaving(struct sp_intake *in)
{
    bool leaving = is_stopping(in) || sp_queue_is_leaving(in->with.queue);
    if (!leaving)
        in->sweep_at = 0;
    if (!leaving || sp_deadline_left(in->sweep_at) > 0)
        return;
    in->sweep_at = sp_deadline_in(SWEEP_MS);
    hand_all_back(in, sp_order_withdraw(in->with.order, goes_back, in));
    hand_all_back(in, sp_ready_withdraw(in->with.ready, goes_back, in));
    hand_all_back(in, sp_hold_withdraw(in->with.hold, goes_back, in));
}

/* The first records wait in Kafka for the cancellations, and for a moment for the settings: a
 * backlog that cannot run yet would be held in memory, all of it. */
static bool has_opened(struct sp_intake *in)
{
    struct sp_settings_status status;
    if (in->opened)
        return true;
    if (!sp_control_ready(in->with.control))
        return false;
    sp_watcher_status(in->with.watcher, &status);
    in->opened = status.state != SP_SETTINGS_UNREAD || sp_deadline_left(in->opens_at) == 0;
    return in->opened;
}

/* False: nothing happened. */
static bool serve_event(struct sp_intake *in, bool room, int64_t wait_ms)
{
    struct sp_record *record = NULL;
    void *ticket = NULL;
    switch (sp_queue_next(in->with.queue, room, wait_ms, &record, &ticket)) {
    case SP_QUEUE_RECORD:
        take(in, record);
        break;
    case SP_QUEUE_DELIVERED:
        delivered(in, ticket);
        break;
    case SP_QUEUE_TOO_LARGE:
        shrink(in, ticket);
        break;
    case SP_QUEUE_COMMITTED:
        sp_claims_committed(in->with.claims, ticket);
        break;
    case SP_QUEUE_FORGOTTEN:
        sp_claims_forgotten(in->with.claims, ticket);
        break;
    case SP_QUEUE_IDLE:
        return false;
    }
    return true;
}

static void serve_queue(struct sp_intake *in)
{
    bool opened = has_opened(in), stopping = is_stopping(in);
    bool room = opened && !stopping && sp_ready_room(in->with.ready) > 0;
    bool soon = !opened || stopping || sp_hold_len(in->with.hold) > 0;
    (void)serve_event(in, room, soon ? HELD_WAIT_MS : IDLE_WAIT_MS);
}

static bool is_over(const struct sp_intake *in)
{
    return atomic_load_explicit(&in->ended, memory_order_relaxed) || (is_stopping(in) && !in->all);
}

static void *intake_main(void *arg)
{
    struct sp_intake *in = arg;
    while (!is_over(in)) {
        serve_cancels(in);
        serve_leaving(in);
        serve_held(in);
        serve_queue(in);
    }
    (void)eventfd_write(in->done_fd, 1);
    return NULL;
}

enum sp_code sp_intake_start(const struct sp_intake_options *options, struct sp_intake **out,
                             struct sp_error *err)
{
    struct sp_intake *in = calloc(1, sizeof *in);
    if (!in)
        return sp_error_set(err, SP_E_NOMEM, "no memory for the intake");
    in->with = *options;
    in->opens_at = sp_deadline_in(SETTINGS_WAIT_MS);
    in->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum sp_code rc = in->done_fd < 0
                          ? sp_error_set(err, SP_E_INTERNAL, "no descriptor for the intake")
                          : sp_thread_start(&in->thread, "consumer", intake_main, in, err);
    if (rc) {
        in->joined = true;
        sp_intake_free(in);
        return rc;
    }
    *out = in;
    return SP_OK;
}

bool sp_intake_wait(struct sp_intake *intake, int64_t deadline)
{
    struct pollfd done = {.fd = intake->done_fd, .events = POLLIN};
    while (poll(&done, 1, sp_deadline_left(deadline)) <= 0) {
        if (sp_deadline_left(deadline) == 0)
            return false;
    }
    return true;
}

void sp_intake_join(struct sp_intake *intake)
{
    if (!intake || intake->joined)
        return;
    atomic_store_explicit(&intake->ended, true, memory_order_relaxed);
    sp_queue_wake(intake->with.queue);
    pthread_join(intake->thread, NULL);
    intake->joined = true;
}

void sp_intake_leave(struct sp_intake *intake, int64_t flush_ms)
{
    if (!intake)
        return;
    sp_queue_leave(intake->with.queue, flush_ms);
    while (serve_event(intake, false, 0))
        ;
}

void sp_intake_free(struct sp_intake *intake)
{
    if (!intake)
        return;
    for (struct sp_job *job = intake->all, *next = NULL; job; job = next) {
        next = job->next_all;
        sp_record_free(job->record);
        sp_job_free(job);
    }
    if (intake->done_fd >= 0)
        close(intake->done_fd);
    free(intake);
}
