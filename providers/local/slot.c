#include "providers/local/slot.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "providers/local/fd.h"

enum { TRIES = 2 };

static const char *const step_name[GUARDIAN_STEPS] = {
    [GUARDIAN_STEP_REQUEST] = "request",         [GUARDIAN_STEP_CHILDREN] = "list of children",
    [GUARDIAN_STEP_FORK] = "start of a process", [GUARDIAN_STEP_DESCRIPTORS] = "descriptors",
    [GUARDIAN_STEP_LIMITS] = "limits",           [GUARDIAN_STEP_EXEC] = "interpreter",
};

void sp_slot_clear(struct sp_slot *slot)
{
    const int fds[] = {slot->out, slot->err, slot->result, slot->job, slot->control};

    for (size_t i = 0; i < SP_COUNT(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    *slot = SP_SLOT_INIT;
}

static void close_all(const int *fds)
{
    for (int i = 0; i < GUARDIAN_FDS; i++) {
        if (i != GUARDIAN_FD_WORKSPACE && fds[i] >= 0)
            close(fds[i]);
    }
}

/*
 * The channel of the job. A byte that we never read lies on our side of it: then the kernel tells
 * the wrapper of a reset, not of an end, when we close it, or die, before the job was handed over.
 * It must not take that for a job without arguments and run the program.
 */
static enum sp_code open_job(int *ours, int *theirs, struct sp_error *err)
{
    enum sp_code rc = sp_fd_sockets(SOCK_STREAM, ours, theirs, err);

    if (!rc && send(*theirs, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return sp_error_errno(err, sp_fd_code(errno), errno, "job channel");
    return rc;
}

static enum sp_code open_channels(struct sp_slot *slot, int *theirs, struct sp_error *err)
{
    enum sp_code rc = sp_fd_pipe(&slot->out, &theirs[GUARDIAN_FD_STDOUT], err);

    if (!rc)
        rc = sp_fd_pipe(&slot->err, &theirs[GUARDIAN_FD_STDERR], err);
    if (!rc)
        rc = sp_fd_pipe(&slot->result, &theirs[GUARDIAN_FD_RESULT], err);
    if (!rc) /* a socket, as a write to a program that is gone must not raise SIGPIPE */
        rc = open_job(&slot->job, &theirs[GUARDIAN_FD_JOB], err);
    if (!rc)
        rc = sp_fd_sockets(SOCK_SEQPACKET, &slot->control, &theirs[GUARDIAN_FD_CONTROL], err);
    return rc;
}

static enum sp_code refused(const struct guardian_report *report, const char *program,
                            struct sp_error *err)
{
    enum sp_code code = sp_fd_code(report->error);

    if (report->step == GUARDIAN_STEP_EXEC && code == SP_E_INTERNAL)
        return sp_error_errno(err, SP_E_INVALID, report->error, "interpreter %s", program);
    return sp_error_errno(err, code, report->error, "cannot start the program: %s",
                          report->step < GUARDIAN_STEPS ? step_name[report->step] : "?");
}

/* Waits for the keeper's first word. *lost: it, or the guardian, went away before. */
static enum sp_code await_start(struct sp_slot *slot, const char *program, const struct sp_run *run,
                                bool *lost, struct sp_error *err)
{
    int64_t deadline = sp_deadline_min(run->setup_deadline, run->deadline);

    for (;;) {
        struct pollfd fds[] = {{.fd = slot->control, .events = POLLIN},
                               {.fd = run->cancel_fd, .events = POLLIN}};
        struct guardian_report report;
        ssize_t got;

        if (poll(fds, SP_COUNT(fds), sp_deadline_left(deadline)) < 0 && errno != EINTR)
            return sp_error_errno(err, SP_E_INTERNAL, errno, "poll");
        got = recv(slot->control, &report, sizeof report, MSG_DONTWAIT);
        if (got == (ssize_t)sizeof report && report.kind == GUARDIAN_STARTED) {
            slot->started_us = report.at_us;
            return SP_OK;
        }
        if (got == (ssize_t)sizeof report)
            return refused(&report, program, err);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            *lost = true;
            return sp_error_set(err, SP_E_UNAVAILABLE, "the guardian went away");
        }
        if (fds[1].revents)
            return sp_error_set(err, SP_E_CANCELLED, "cancelled");
        if (sp_mono_ms() >= deadline)
            return sp_error_set(err, SP_E_TIMEOUT, "the program did not start in time");
    }
}

static enum sp_code start_once(struct sp_launcher *launcher, const struct sp_launch *launch,
                               int workspace_fd, const struct sp_run *run, struct sp_slot *slot,
                               bool *lost, struct sp_error *err)
{
    int theirs[GUARDIAN_FDS] = {-1, -1, -1, -1, workspace_fd, -1};
    enum sp_code rc = open_channels(slot, theirs, err);

    if (!rc)
        rc = sp_launcher_start(launcher, launch, theirs, &slot->run, err);
    close_all(theirs); /* else the streams would never end */
    return rc ? rc : await_start(slot, launch->args[0], run, lost, err);
}

enum sp_code sp_slot_start(struct sp_launcher *launcher, const struct sp_launch *launch,
                           int workspace_fd, const struct sp_run *run, struct sp_slot *out,
                           struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    bool lost = true;

    for (int i = 0; i < TRIES && lost; i++) {
        struct sp_slot slot = SP_SLOT_INIT;

        lost = false;
        rc = start_once(launcher, launch, workspace_fd, run, &slot, &lost, err);
        if (!rc) {
            *out = slot;
        } else {
            sp_slot_clear(&slot);
        }
    }
    return rc;
}
