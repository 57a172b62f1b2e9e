/* The workers of a case, and what is done to them. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/text.h"
#include "tests/chaos/chaos.h"
#include "tests/support.h"

#define SETTLE_LIMIT_MS 120000

void chaos_option(struct chaos *c, const char *option)
{
    size_t n = 0;
    while (c->options[n])
        n++;
    cr_assert(n + 1 < SP_COUNT(c->options));
    c->options[n] = option;
}

static int count_text(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; at && (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

/* Every worker has partitions, and all together have each once. */
static bool has_settled(struct chaos *c, int64_t partitions)
{
    bool all_have = true;
    for (int i = 0; i < c->stage->n_workers; i++) {
        sp_auto(sp_free_str) char *metrics = NULL;
        int has = sp_stage_http(c->stage, i, "/metrics", &metrics) == 200
                      ? count_text(metrics, "sandpiper_watermark{")
                      : 0;
        all_have &= has > 0;
        partitions -= has;
    }
    return all_have && partitions == 0;
}

void chaos_workers(struct chaos *c, int n)
{
    for (int i = 0; i < n; i++)
        sp_stage_worker(c->stage, c->options);
    cr_assert(chaos_until(c, has_settled, c->partitions, SETTLE_LIMIT_MS),
              "the workers do not share the partitions");
}

bool chaos_is_up(const struct chaos *c, int worker)
{
    return worker < c->stage->n_workers && c->stage->workers[worker].pid != 0;
}

int chaos_pick(struct chaos *c)
{
    int up[SP_COUNT(c->stage->workers)], n = 0;
    for (int i = 0; i < c->stage->n_workers; i++) {
        if (chaos_is_up(c, i))
            up[n++] = i;
    }
    return n ? up[chaos_random(c, n)] : -1;
}

/* After the kernel has it done, so that nothing of the worker's in the ledger is later. */
static void note_fault(struct chaos *c, pid_t pid, const char *what)
{
    struct ledger_event event = {.kind = LEDGER_FAULT, .pid = pid};
    snprintf(event.what, sizeof event.what, "%s", what);
    cr_assert(ledger_add(c->ledger, &event), "%s: %s", c->ledger_path, strerror(errno));
    c->measured[CHECKER_IN_HAND] += CHAOS_EXECUTORS;
}

void chaos_kill(struct chaos *c, int worker)
{
    pid_t pid = c->stage->workers[worker].pid;
    sp_stage_worker_end(c->stage, worker, SIGKILL);
    note_fault(c, pid, "kill");
}

void chaos_stop(struct chaos *c, int worker)
{
    sp_stage_worker_end(c->stage, worker, SIGTERM);
}

void chaos_start(struct chaos *c, int worker)
{
    sp_stage_worker_again(c->stage, worker, c->options);
}

void chaos_freeze(struct chaos *c, int worker)
{
    pid_t pid = c->stage->workers[worker].pid;
    int status = 0;
    cr_assert(kill(pid, SIGSTOP) == 0);
    cr_assert(waitpid(pid, &status, WUNTRACED) == pid);
    note_fault(c, pid, "freeze");
}

void chaos_thaw(struct chaos *c, int worker)
{
    cr_assert(kill(c->stage->workers[worker].pid, SIGCONT) == 0);
}

void chaos_revive(struct chaos *c)
{
    for (int i = 0; c->revive && i < c->stage->n_workers; i++) {
        pid_t pid = c->stage->workers[i].pid;
        if (pid == 0 || waitpid(pid, NULL, WNOHANG) != pid)
            continue;
        c->stage->workers[i].pid = 0;
        note_fault(c, pid, "kill");
        chaos_start(c, i);
    }
}

void chaos_stop_all(struct chaos *c)
{
    c->revive = false;
    for (int i = 0; i < c->stage->n_workers; i++) {
        if (chaos_is_up(c, i))
            chaos_stop(c, i);
    }
}

void chaos_keep_logs(struct chaos *c)
{
    for (int i = 0; i < c->stage->n_workers; i++) {
        char kept[128];
        snprintf(kept, sizeof kept, "%s/worker-%d.log", c->dir, i);
        if (rename(c->stage->workers[i].log, kept) != 0)
            fprintf(stderr, "%s: %s\n", kept, strerror(errno));
    }
}
