/*
 * The ready queue between one intake, many executors, and jobs that come back from them. Passes
 * when every job was taken as often as it was pushed and nobody sleeps through a push.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "worker/hold.h"
#include "worker/job.h"
#include "worker/ready.h"

enum { JOBS = 200000, SLOTS = 64, EXECUTORS = 16, CAPACITY = 32 };

static struct sp_ready *ready;
static struct sp_hold *hold;
static struct sp_job jobs[SLOTS];
static atomic_int idle[SLOTS]; /* 1: the intake may use the slot */
static atomic_int taken, returned;

static void *execute(void *arg)
{
    (void)arg;
    bool room = false;
    struct sp_job *job = NULL;
    while ((job = sp_ready_take(ready, &room))) {
        if (job->tries == 0 && job->arrived_wall_ms % 8 == 0) {
            job->fate = SP_FATE_HAND_BACK; /* comes round once more by way of the hold */
            job->tries = 1;
            atomic_fetch_add(&returned, 1);
            sp_hold_put(hold, job);
            continue;
        }
        atomic_fetch_add(&taken, 1);
        atomic_store(&idle[job - jobs], 1);
    }
    return NULL;
}

static void serve_held(void)
{
    struct sp_job_list due = sp_hold_take(hold, SIZE_MAX);
    struct sp_job *job = NULL;
    while ((job = sp_jobs_take(&due)))
        sp_ready_push(ready, job);
}

static void feed(void)
{
    for (int n = 0; n < JOBS;) {
        serve_held();
        int slot = n % SLOTS;
        if (sp_ready_room(ready) == 0 || !atomic_exchange(&idle[slot], 0)) {
            sched_yield();
            continue;
        }
        jobs[slot] = (struct sp_job){.arrived_wall_ms = n++};
        sp_ready_push(ready, &jobs[slot]);
    }
}

static bool all_taken(void)
{
    int64_t until = sp_deadline_in(60000);
    while (atomic_load(&taken) < JOBS && sp_deadline_left(until) > 0) {
        serve_held();
        poll(NULL, 0, 1);
    }
    return atomic_load(&taken) == JOBS;
}

int main(void)
{
    pthread_t executors[EXECUTORS];
    ready = sp_ready_new(CAPACITY, SIZE_MAX);
    hold = sp_hold_new(NULL);
    for (int i = 0; i < SLOTS; i++)
        atomic_store(&idle[i], 1);
    for (int i = 0; i < EXECUTORS; i++)
        pthread_create(&executors[i], NULL, execute, NULL);

    int64_t start = sp_mono_us();
    feed();
    bool ok = all_taken();
    int64_t took = sp_mono_us() - start;
    sp_ready_close(ready);
    for (int i = 0; i < EXECUTORS; i++)
        pthread_join(executors[i], NULL);

    printf("%d of %d jobs, %d came back, %lld jobs/s\n", atomic_load(&taken), JOBS,
           atomic_load(&returned), (long long)JOBS * 1000000 / (took ? took : 1));
    sp_hold_free(hold);
    sp_ready_free(ready);
    return ok ? 0 : 1;
}
