/*
 * Members that come and go at random while jobs run, on a real broker. A table stands for the
 * claims in Redis: who has begun an offset is known to all. In the end every job ran, once, every
 * offset is committed, and every ticket came back once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/support.h"
#include "tests/support/member.h"

#define PARTITIONS 5
#define RECORDS 400 /* of each partition */
#define JOBS (PARTITIONS * RECORDS)
#define STORM_MS 25000
#define AT_ONCE 20 /* jobs that a member runs */

struct job {
    int64_t ends_at; /* 0: nobody runs it */
    const struct sp_record *record;
    const struct sp_group_member *owner;
    int runs;
    bool done;
    struct sp_ticket_seen tickets[64];
    size_t n_tickets;
};

struct storm {
    struct sp_stage *stage;
    struct sp_group_member members[SP_MEMBERS_MAX];
    struct job jobs[PARTITIONS][RECORDS];
    unsigned seed;
    size_t done;
};

static struct job *job_of(struct storm *storm, const struct sp_record *record)
{
    cr_assert(record->partition < PARTITIONS && record->offset < RECORDS);
    return &storm->jobs[record->partition][record->offset];
}

static void complete(struct sp_group_member *m, size_t i, struct job *job)
{
    cr_assert(job->n_tickets < SP_COUNT(job->tickets));
    sp_member_complete(m, i, &job->tickets[job->n_tickets++]);
}

static bool is_committed(const struct job *job)
{
    for (size_t i = 0; i < job->n_tickets; i++) {
        if (job->tickets[i].committed > 0)
            return true;
    }
    return false;
}

static size_t running(struct storm *storm, const struct sp_group_member *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_out; i++)
        n += job_of(storm, m->out[i])->record == m->out[i];
    return n;
}

/* What a worker does with a record: begins it, waits, gives it back, or ends it. */
static void work(struct storm *storm, struct sp_group_member *m)
{
    size_t free_places = AT_ONCE - running(storm, m);
    int64_t now = sp_mono_ms();
    for (size_t i = m->n_out; i-- > 0;) {
        struct sp_record *record = m->out[i];
        struct job *job = job_of(storm, record);
        if (job->record == record && job->ends_at <= now) {
            job->done = true;
            job->record = NULL;
            storm->done++;
            complete(m, i, job);
        } else if (job->record == record) {
            continue;
        } else if (!sp_record_is_ours(record)) {
            sp_queue_abandon(m->q, record);
            m->out[i] = m->out[--m->n_out];
        } else if (job->done) {
            cr_expect(not(is_committed(job)), "%d-%d came again", record->partition,
                      (int)record->offset);
            complete(m, i, job);
        } else if (!job->record && free_places > 0) {
            free_places--;
            job->runs++;
            job->record = record;
            job->owner = m;
            job->ends_at = now + (rand_r(&storm->seed) % 10 ? rand_r(&storm->seed) % 60 : 2500);
        }
    }
}

static void serve(struct storm *storm)
{
    sp_members_serve(storm->members, SP_MEMBERS_MAX, 5);
    for (size_t i = 0; i < SP_MEMBERS_MAX; i++) {
        if (storm->members[i].q)
            work(storm, &storm->members[i]);
    }
}

/* As a worker that stops: what runs ends first. */
static void leave(struct storm *storm, struct sp_group_member *m)
{
    sp_queue_stop_intake(m->q);
    int64_t until = sp_deadline_in(SP_MEMBERS_LIMIT_MS);
    while (running(storm, m) > 0) {
        cr_assert(sp_deadline_left(until) > 0);
        for (size_t i = m->n_out; i-- > 0;) {
            if (job_of(storm, m->out[i])->record != m->out[i]) {
                sp_queue_abandon(m->q, m->out[i]);
                m->out[i] = m->out[--m->n_out];
            }
        }
        serve(storm);
    }
    sp_members_close_one(storm->members, SP_MEMBERS_MAX, m);
}

static void shake(struct storm *storm)
{
    int64_t until = sp_deadline_in(STORM_MS), next = 0;
    while (sp_deadline_left(until) > 0) {
        serve(storm);
        if (sp_mono_ms() < next)
            continue;
        next = sp_deadline_in(500 + rand_r(&storm->seed) % 2000);
        struct sp_group_member *m = &storm->members[rand_r(&storm->seed) % SP_MEMBERS_MAX];
        if (!m->q) {
            sp_member_open(m, storm->stage);
        } else {
            leave(storm, m);
        }
    }
}

static void finish(struct storm *storm)
{
    int64_t until = sp_deadline_in(SP_MEMBERS_LIMIT_MS);
    if (!storm->members[0].q)
        sp_member_open(&storm->members[0], storm->stage);
    while (storm->done < JOBS) {
        cr_assert(sp_deadline_left(until) > 0, "%zu of %d done", storm->done, JOBS);
        serve(storm);
    }
    while (sp_stage_committed(storm->stage) < JOBS) {
        cr_assert(sp_deadline_left(until) > 0, "%d committed",
                  (int)sp_stage_committed(storm->stage));
        serve(storm);
    }
    for (size_t i = 0; i < SP_MEMBERS_MAX; i++)
        sp_members_close_one(storm->members, SP_MEMBERS_MAX, &storm->members[i]);
}

static void expect_all_well(const struct storm *storm)
{
    for (size_t i = 0; i < JOBS; i++) {
        const struct job *job = &storm->jobs[i / RECORDS][i % RECORDS];
        cr_expect(eq(int, job->runs, 1), "%zu-%zu", i / RECORDS, i % RECORDS);
        for (size_t t = 0; t < job->n_tickets; t++) {
            const struct sp_ticket_seen *seen = &job->tickets[t];
            cr_expect(eq(int, seen->committed + seen->forgotten, 1), "%zu-%zu", i / RECORDS,
                      i % RECORDS);
        }
    }
}

static const char *const strategies[] = {"cooperative-sticky", "roundrobin"};

SP_TABLE_TEST(rebalance_storm, every_job_runs_once_and_every_offset_is_committed, strategies, row)
{
    static struct storm storm;
    sp_log_setup(SP_WARN, true);
    storm.seed = 7;
    storm.stage = sp_stage_new(PARTITIONS);
    for (size_t i = 0; i < SP_MEMBERS_MAX; i++)
        sp_member_property(&storm.members[i], "partition.assignment.strategy", *row);
    for (int i = 0; i < JOBS; i++)
        sp_stage_send(storm.stage, i % PARTITIONS, NULL, "job", NULL, 0);
    sp_stage_flush(storm.stage);
    sp_member_open(&storm.members[0], storm.stage);

    shake(&storm);
    finish(&storm);

    expect_all_well(&storm);
    sp_stage_free(storm.stage);
}
