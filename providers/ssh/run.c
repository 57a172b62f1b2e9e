#include "providers/ssh/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "providers/ending.h"
#include "providers/output.h"
#include "providers/ssh/sftp_artifacts.h"
#include "providers/supervisor.h"

enum {
    READ_BYTES = 32768,
    ANSWER_MS = 400,   /* for the supervisor to end its run; then another one does */
    ESCALATE_MS = 500, /* for that one, and again for the output's end */
};

enum phase { RUNNING, ENDING, ESCALATED, GIVEN_UP };

struct watch {
    const struct sp_ssh_program *program;
    struct sp_output out, err;
    enum phase phase;
    enum sp_outcome outcome;
    struct sp_ssh_wait wait; /* of the phase */
};

static struct sp_ssh_wait within(int64_t ms)
{
    return (struct sp_ssh_wait){.deadline = sp_deadline_in(ms), .cancel_fd = -1};
}

/* The supervisor takes any line for "end now". */
static void ask_to_end(struct watch *w, enum sp_outcome why)
{
    const struct sp_ssh_wait wait = within(ANSWER_MS);

    w->outcome = why;
    w->phase = ENDING;
    w->wait = wait;
    if (sp_ssh_write(w->program->link, "end\n", 4, &wait, NULL))
        w->wait = within(0);
}

/* As the program may have killed its supervisor. */
static void end_from_outside(struct watch *w)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = NULL;
    const struct sp_ssh_wait wait = within(ESCALATE_MS);
    struct sp_error err = {0};
    enum sp_code rc = sp_ssh_take(w->program->pool, &wait, &link, &err);

    if (!rc)
        rc = sp_ssh_home_call(w->program->home, link, "end", &wait, NULL, &err);
    if (rc)
        sp_log(SP_WARN, "run_not_ended", sp_s("provider", "ssh"), sp_s("error", err.msg));
    w->phase = ESCALATED;
    w->wait = within(ESCALATE_MS);
}

static void next_phase(struct watch *w, enum sp_code why)
{
    switch (w->phase) {
    case RUNNING:
        ask_to_end(w, why == SP_E_CANCELLED ? SP_OUTCOME_CANCELLED : SP_OUTCOME_TIMEOUT);
        break;
    case ENDING:
        end_from_outside(w);
        break;
    case ESCALATED:
    case GIVEN_UP:
        w->phase = GIVEN_UP;
        break;
    }
}

/* The output ends once nothing of the run is left: the supervisor sees to it. */
static enum sp_code read_output(struct watch *w, struct sp_error *err)
{
    char bytes[READ_BYTES];

    while (w->phase != GIVEN_UP) {
        struct sp_ssh_part part;
        enum sp_code rc = sp_ssh_read(w->program->link, bytes, sizeof bytes, &w->wait, &part, err);

        if (rc == SP_E_TIMEOUT || rc == SP_E_CANCELLED) {
            next_phase(w, rc);
        } else if (rc || part.stream == SP_SSH_END) {
            return rc;
        } else if (sp_output_add(part.stream == SP_SSH_STDERR ? &w->err : &w->out, bytes,
                                 part.len)) {
            return sp_error_set(err, SP_E_NOMEM, "no memory for the program's output");
        }
    }
    return SP_OK;
}

/* A program that had ended by itself before we did it is not called a time-out. */
static enum sp_code settle(const struct watch *w, const struct sp_supervisor_end *end,
                           struct sp_result *out, struct sp_error *err)
{
    bool by_us = w->outcome != SP_OUTCOME_EXITED;

    out->exit_code = -1;
    switch (end->how) {
    case SP_FAR_EXIT:
        out->exit_code = end->number;
        return SP_OK;
    case SP_FAR_SIGNAL:
        if (by_us && end->number == SIGKILL)
            break;
        out->signal = end->number;
        out->exit_code = -end->number;
        return SP_OK;
    case SP_FAR_REFUSED:
        out->started = SP_STARTED_NO;
        return SP_OK;
    case SP_FAR_UNKNOWN:
        if (!by_us) {
            return sp_error_set(err, SP_E_INVALID,
                                "the script that watched the program at the far end was killed, or "
                                "could not write to work_dir");
        }
        break;
    }
    out->outcome = w->outcome;
    return SP_OK;
}

/* What a run leaves at the far end. */
struct found {
    struct sp_buf result_path, folder_path; /* of artifacts/ */
    struct sp_buf file;                     /* the result file */
    bool over;                              /* it is longer than we take */
    struct sp_ssh_listing artifacts;
    bool listed; /* as far as it is known: all of it */
};

static void found_clear(struct found *f)
{
    sp_buf_clear(&f->result_path);
    sp_buf_clear(&f->folder_path);
    sp_buf_clear(&f->file);
    sp_ssh_listing_clear(&f->artifacts);
}
SP_AUTO_CLEAR(struct found, found_clear)

/* Nearly always this is all there is to fetch. *whole: of the result. */
static enum sp_code fetch_small(struct watch *w, const struct sp_ssh_wait *wait, struct found *f,
                                bool *whole, struct sp_error *err)
{
    struct sp_ssh_task tasks[] = {
        {SP_SSH_GET, sp_buf_str(&f->result_path), .out = &f->file},
        {SP_SSH_LIST, sp_buf_str(&f->folder_path), .listing = &f->artifacts},
    };
    enum sp_code rc = sp_ssh_batch(w->program->link, tasks, SP_COUNT(tasks), wait, err);

    *whole = tasks[0].rc != SP_E_LIMIT; /* a missing one says nothing of how the program ended */
    f->listed = tasks[1].rc == SP_OK;
    return rc;
}

static enum sp_code fetch(struct watch *w, const struct sp_ssh_wait *wait, struct found *f,
                          struct sp_error *err)
{
    const char *home = w->program->home->path;
    bool whole = true;

    f->file = SP_BUF_INIT(SP_SUPERVISOR_HEAD + (size_t)w->program->max_result);
    f->result_path = f->folder_path = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (sp_buf_addf(&f->result_path, "%s/" SP_SUPERVISOR_RESULT, home) ||
        sp_buf_addf(&f->folder_path, "%s/" SP_SUPERVISOR_WORK "/artifacts", home))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    enum sp_code rc = fetch_small(w, wait, f, &whole, err);
    if (rc || whole)
        return rc;
    sp_buf_reset(&f->file);
    rc = sp_ssh_get(w->program->link, sp_buf_str(&f->result_path), &f->file, wait, err);
    f->over = rc == SP_E_LIMIT;
    return f->over || rc == SP_E_INVALID ? SP_OK : rc;
}

static enum sp_code collect_artifacts(const struct sp_ssh_program *program, const struct found *f,
                                      const struct sp_ssh_wait *wait, struct sp_result *out,
                                      struct sp_error *err)
{
    sp_auto(sp_sftp_artifacts_clear) struct sp_sftp_artifacts source;

    sp_sftp_artifacts_init(&source, program->link, sp_buf_str(&f->folder_path), wait);
    source.known = f->listed ? &f->artifacts : NULL;
    if (sp_artifacts_collect_from(&source.base, program->artifacts, out))
        return sp_error_set(err, SP_E_NOMEM, "no memory for the artifacts");
    return SP_OK;
}

/* Where nothing can be fetched, a run that we ended still has its output. */
static enum sp_code conclude(struct watch *w, const struct sp_ssh_wait *wait, struct sp_result *out,
                             char *refused, struct sp_error *err)
{
    sp_auto(found_clear) struct found found = {0};
    struct sp_supervisor_end end;
    struct sp_bytes document;

    if (sp_output_finish(&w->out, &out->out) || sp_output_finish(&w->err, &out->err))
        return sp_error_set(err, SP_E_NOMEM, "no memory for the program's output");
    enum sp_code rc = fetch(w, wait, &found, err);
    if (rc && (rc == SP_E_NOMEM || w->outcome == SP_OUTCOME_EXITED))
        return rc;
    sp_supervisor_read(sp_buf_str(&found.file), found.file.len, &end, &document);
    rc = settle(w, &end, out, err);
    snprintf(refused, sizeof end.why, "%s", end.why);
    if (rc || out->started == SP_STARTED_NO)
        return rc;
    if (w->phase == GIVEN_UP)
        sp_result_warn(out, "a process of the run could not be ended");
    rc = sp_ending_read(out, document, found.over, err);
    return rc ? rc : collect_artifacts(w->program, &found, wait, out, err);
}

enum sp_code sp_ssh_watch(const struct sp_ssh_program *program, const struct sp_run *run,
                          struct sp_result *out, char *refused, struct sp_error *err)
{
    struct watch w = {
        .program = program,
        .wait = {.deadline = sp_deadline_min(run->deadline, sp_deadline_in(run->timeout_ms)),
                 .cancel_fd = run->cancel_fd},
    };
    int64_t started_us = sp_mono_us();

    sp_output_init(&w.out, program->max_output);
    sp_output_init(&w.err, program->max_output);
    enum sp_code rc = read_output(&w, err);
    out->execution_us = sp_mono_us() - started_us;
    if (!rc) {
        const struct sp_ssh_wait wait = {
            .deadline = sp_deadline_min(run->deadline, sp_deadline_in(run->teardown_ms)),
            .cancel_fd = -1};
        rc = conclude(&w, &wait, out, refused, err);
    }
    sp_output_clear(&w.out);
    sp_output_clear(&w.err);
    return rc;
}
