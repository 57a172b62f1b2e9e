#include "providers/local/run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "providers/ending.h"
#include "providers/local/fd.h"
#include "providers/output.h"

enum {
    READ_BYTES = 65536,
    ANSWER_MS = 500, /* for a keeper to end its run; then the guardian ends both */
    GIVE_UP_MS = 1500,
    DRAIN_MS = 2000, /* for reading to the end, should something that cannot be killed hold on */
};

enum phase { RUNNING, KILLING, ESCALATED, ENDED, GIVEN_UP };

enum { CH_OUT, CH_ERR, CH_RESULT, CH_JOB, CH_CONTROL, CH_CANCEL, CHANNELS };

struct running {
    struct sp_launcher *launcher;
    struct sp_slot *slot;
    struct pollfd fds[CHANNELS]; /* -1: done with */
    struct sp_output out, err;
    struct sp_buf document;
    bool document_over;
    struct sp_slot_job job; /* what is left to write */
    enum sp_outcome outcome;
    enum phase phase;
    int64_t deadline;     /* of the phase, monotonic ms */
    int64_t run_deadline; /* of the program */
    struct guardian_report end;
    bool clean; /* no process is left */
    bool lost;  /* the keeper was killed */
};

static void done_with(struct running *r, int channel)
{
    r->fds[channel].fd = -1;
}

static void enter(struct running *r, enum phase phase, int64_t ms)
{
    r->phase = phase;
    r->deadline = sp_deadline_in(ms);
}

static void end_program(struct running *r, enum sp_outcome why)
{
    if (r->phase != RUNNING)
        return;
    r->outcome = why;
    (void)send(r->slot->control, "k", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    enter(r, KILLING, ANSWER_MS);
}

static void pass_deadline(struct running *r)
{
    switch (r->phase) {
    case RUNNING:
        end_program(r, SP_OUTCOME_TIMEOUT);
        break;
    case KILLING:
        sp_launcher_kill(r->launcher, r->slot->run);
        enter(r, ESCALATED, GIVE_UP_MS);
        break;
    case ESCALATED:
    case ENDED:
    case GIVEN_UP:
        r->phase = GIVEN_UP;
        break;
    }
}

static enum sp_code take(struct running *r, int channel, const char *data, size_t len)
{
    if (channel == CH_OUT)
        return sp_output_add(&r->out, data, len);
    if (channel == CH_ERR)
        return sp_output_add(&r->err, data, len);
    if (!r->document_over) {
        enum sp_code rc = sp_buf_add(&r->document, data, len);

        r->document_over = rc == SP_E_LIMIT;
        return r->document_over ? SP_OK : rc;
    }
    return SP_OK;
}

static enum sp_code read_stream(struct running *r, int channel)
{
    char chunk[READ_BYTES];
    ssize_t n = read(r->fds[channel].fd, chunk, sizeof chunk);

    if (n > 0)
        return take(r, channel, chunk, (size_t)n);
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        done_with(r, channel);
    return SP_OK;
}

static void write_job(struct running *r)
{
    ssize_t n = send(r->slot->job, r->job.data, r->job.len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n >= 0) {
        r->job.data += n;
        r->job.len -= (size_t)n;
    } else if (errno != EAGAIN && errno != EINTR) {
        r->job.len = 0; /* the program does not want it */
    }
    if (r->job.len == 0) {
        shutdown(r->slot->job, SHUT_WR);
        done_with(r, CH_JOB);
    }
}

static void read_report(struct running *r)
{
    struct guardian_report report;
    ssize_t n = recv(r->slot->control, &report, sizeof report, MSG_DONTWAIT);

    /* A keeper that has gone without reading what we told it: first we hear of that, then its
     * reports. */
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET))
        return;
    if (n != (ssize_t)sizeof report) {
        r->lost = !r->clean;
        done_with(r, CH_CONTROL);
        enter(r, ENDED, DRAIN_MS);
    } else if (report.kind == GUARDIAN_EXITED) {
        r->end = report;
        enter(r, ENDED, DRAIN_MS);
    } else if (report.kind == GUARDIAN_CLEAN) {
        r->clean = true;
        done_with(r, CH_CONTROL);
    }
}

static enum sp_code serve(struct running *r)
{
    enum sp_code rc = SP_OK;

    for (int channel = CH_OUT; channel <= CH_RESULT && !rc; channel++) {
        if (r->fds[channel].revents)
            rc = read_stream(r, channel);
    }
    if (r->fds[CH_JOB].revents)
        write_job(r);
    if (r->fds[CH_CONTROL].revents)
        read_report(r);
    if (r->fds[CH_CANCEL].revents) {
        done_with(r, CH_CANCEL);
        end_program(r, SP_OUTCOME_CANCELLED);
    }
    if (sp_mono_ms() >= r->deadline)
        pass_deadline(r);
    return rc;
}

static bool finished(const struct running *r)
{
    bool streams = r->fds[CH_OUT].fd < 0 && r->fds[CH_ERR].fd < 0 && r->fds[CH_RESULT].fd < 0;

    return r->phase == GIVEN_UP || (streams && (r->clean || r->lost));
}

static enum sp_code watch(struct running *r, struct sp_error *err)
{
    while (!finished(r)) {
        enum sp_code rc = SP_OK;
        int ready = poll(r->fds, CHANNELS, sp_deadline_left(r->deadline));

        if (ready < 0 && errno != EINTR)
            return sp_error_errno(err, SP_E_INTERNAL, errno, "poll");
        if (ready >= 0)
            rc = serve(r);
        if (rc)
            return sp_error_set(err, rc, "no memory for the program's output");
    }
    return SP_OK;
}

/* A program that had ended by itself in time is not called a time-out, even if we looked late. */
static void settle_outcome(struct running *r, struct sp_result *out)
{
    bool by_itself = r->end.by_itself && r->end.at_us / 1000 < r->run_deadline;

    out->outcome = by_itself ? SP_OUTCOME_EXITED : r->outcome;
    if (out->outcome != SP_OUTCOME_EXITED) {
        out->exit_code = -1;
    } else if (WIFSIGNALED(r->end.wait_status)) {
        out->signal = WTERMSIG(r->end.wait_status);
        out->exit_code = -out->signal;
    } else {
        out->exit_code = WEXITSTATUS(r->end.wait_status);
    }
}

static enum sp_code conclude(struct running *r, struct sp_result *out, struct sp_error *err)
{
    int64_t end_us = r->end.at_us > 0 ? r->end.at_us : sp_mono_us();

    out->execution_us = end_us - r->slot->started_us;
    if (sp_output_finish(&r->out, &out->out) || sp_output_finish(&r->err, &out->err))
        return sp_error_set(err, SP_E_NOMEM, "no memory for the program's output");
    if (r->lost && r->outcome == SP_OUTCOME_EXITED)
        return sp_error_set(err, SP_E_INTERNAL, "the process that watched the run was killed");
    settle_outcome(r, out);
    if (!r->clean && !r->lost)
        sp_result_warn(out, "a process of the run could not be ended");
    return sp_ending_read(out, (struct sp_bytes){r->document.data, r->document.len},
                          r->document_over, err);
}

enum sp_code sp_slot_run(struct sp_launcher *launcher, struct sp_slot *slot,
                         const struct sp_slot_job *job, const struct sp_run *run,
                         struct sp_result *out, struct sp_error *err)
{
    struct running r = {
        .launcher = launcher,
        .slot = slot,
        .fds = {[CH_OUT] = {.fd = slot->out, .events = POLLIN},
                [CH_ERR] = {.fd = slot->err, .events = POLLIN},
                [CH_RESULT] = {.fd = slot->result, .events = POLLIN},
                [CH_JOB] = {.fd = slot->job, .events = POLLOUT},
                [CH_CONTROL] = {.fd = slot->control, .events = POLLIN},
                [CH_CANCEL] = {.fd = run->cancel_fd, .events = POLLIN}},
        .document = SP_BUF_INIT((size_t)job->max_result),
        .job = *job,
        .run_deadline = sp_deadline_min(slot->started_us / 1000 + run->timeout_ms, run->deadline),
    };
    enum sp_code rc;

    out->started = SP_STARTED_YES;
    r.deadline = r.run_deadline;
    sp_output_init(&r.out, job->max_output);
    sp_output_init(&r.err, job->max_output);
    rc = watch(&r, err);
    if (!rc)
        rc = conclude(&r, out, err);
    sp_output_clear(&r.out);
    sp_output_clear(&r.err);
    sp_buf_clear(&r.document);
    return rc;
}
