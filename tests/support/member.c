#include "tests/support/member.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support.h"

void sp_member_property(struct sp_group_member *m, const char *key, const char *value)
{
    cr_assert(m->n_properties < SP_MEMBER_PROPERTIES);
    m->properties[m->n_properties++] = (struct sp_queue_property){key, value};
}

void sp_member_open(struct sp_group_member *m, struct sp_stage *s)
{
    static char group[96], *requests[1];
    struct sp_queue_property properties[SP_MEMBER_PROPERTIES + 4] = {
        {"bootstrap.servers", s->kafka},
        {"group.id", group},
        {"session.timeout.ms", "30000"},
        {"heartbeat.interval.ms", "200"},
    };
    struct sp_error err = {0};
    (void)snprintf(group, sizeof(group), "%s.workers", s->prefix);
    requests[0] = s->requests;
    memcpy(properties + 4, m->properties, sizeof(m->properties));
    m->topics = (struct sp_topics){.requests = requests, .n_requests = 1, .reply = s->results};
    const struct sp_queue_options options = {
        .kafka = properties,
        .n_kafka = 4 + m->n_properties,
        .topics = &m->topics,
        .limits = &m->limits,
        .window = m->window ? m->window : 10000,
        .window_bytes = 64 << 20,
        .worker_id = "w",
        .version = "0",
    };
    cr_assert(sp_queue_open(&options, &m->q, &err) == SP_OK, "%s", err.msg);
}

static void keep(struct sp_group_member *m, struct sp_record *record)
{
    m->out = realloc(m->out, (m->n_out + 1) * sizeof(*m->out));
    cr_assert(m->out != NULL);
    m->out[m->n_out++] = record;
    m->given++;
}

/* False: nothing happened. */
static bool step(struct sp_group_member *m, int64_t ms)
{
    struct sp_record *record = NULL;
    void *ticket = NULL;
    struct sp_ticket_seen *seen;
    switch (sp_queue_next(m->q, true, ms, &record, &ticket)) {
    case SP_QUEUE_RECORD:
        keep(m, record);
        return true;
    case SP_QUEUE_COMMITTED:
        seen = ticket;
        seen->committed++;
        return true;
    case SP_QUEUE_FORGOTTEN:
        seen = ticket;
        seen->forgotten++;
        return true;
    case SP_QUEUE_DELIVERED:
    case SP_QUEUE_TOO_LARGE:
        cr_fatal("nothing was sent");
    case SP_QUEUE_IDLE:
        break;
    }
    return false;
}

void sp_members_serve(struct sp_group_member *members, size_t n, int64_t ms)
{
    int64_t until = sp_deadline_in(ms);
    do {
        for (size_t i = 0; i < n; i++) {
            for (int many = 0; members[i].q && step(&members[i], 3) && many < 100; many++) {
            }
        }
    } while (sp_deadline_left(until) > 0);
}

void sp_members_until(struct sp_group_member *members, size_t n, bool (*condition)(void *arg),
                      void *arg, const char *what)
{
    int64_t until = sp_deadline_in(SP_MEMBERS_LIMIT_MS);
    while (!condition(arg)) {
        cr_assert(sp_deadline_left(until) > 0, "%s", what);
        sp_members_serve(members, n, 0);
    }
}

void sp_member_complete(struct sp_group_member *m, size_t i, struct sp_ticket_seen *ticket)
{
    cr_assert(i < m->n_out);
    sp_queue_complete(m->q, m->out[i], ticket);
    m->out[i] = m->out[--m->n_out];
}

size_t sp_member_ours(const struct sp_group_member *m)
{
    size_t ours = 0;
    for (size_t i = 0; i < m->n_out; i++)
        ours += sp_record_is_ours(m->out[i]);
    return ours;
}

void sp_member_close(struct sp_group_member *m)
{
    if (!m->q)
        return;
    sp_queue_leave(m->q, 1000);
    while (step(m, 0)) {
    }
    for (size_t i = 0; i < m->n_out; i++)
        sp_record_free(m->out[i]);
    sp_queue_close(m->q, 0);
    free(m->out);
    m->q = NULL;
    m->out = NULL;
    m->n_out = 0;
}

static void *leave(void *m)
{
    sp_member_close(m);
    return NULL;
}

static bool has_ended(void *thread)
{
    (void)usleep(1000); /* there may be nobody else to serve */
    return pthread_tryjoin_np(*(pthread_t *)thread, NULL) == 0;
}

void sp_members_close_one(struct sp_group_member *members, size_t n, struct sp_group_member *m)
{
    struct sp_group_member leaver = *m;
    pthread_t thread;
    if (!m->q)
        return;
    m->q = NULL;
    m->out = NULL;
    m->n_out = 0;
    cr_assert(pthread_create(&thread, NULL, leave, &leaver) == 0);
    sp_members_until(members, n, has_ended, &thread, "a member does not end");
}

struct sp_queue_status sp_member_status(struct sp_group_member *m)
{
    struct sp_queue_status status;
    sp_queue_status(m->q, &status);
    free(status.partitions);
    status.partitions = NULL;
    return status;
}

size_t sp_member_partitions(struct sp_group_member *m)
{
    return sp_member_status(m).n_partitions;
}
