/*
 * The control thread: reads the control topic (CONTRACT.md 5, DESIGN.md 3 "Config-change events")
 * to the end and goes on reading. Settings records go to Redis by the one script, which all workers
 * and the command race; cancellations go into the table and to the jobs at hand. It also keeps an
 * emptied Redis filled, and writes the tombstones of cancellations that are over.
 */
#pragma once

#include "queue/queue.h"
#include "settings/redis.h"
#include "settings/watcher.h"
#include "worker/cancels.h"

struct sp_control;

/* All borrowed until sp_control_stop(). */
struct sp_control_options {
    const struct sp_queue_property *kafka;
    size_t n_kafka;
    const char *topic;     /* queue.control_topic */
    const char *prefix;    /* redis.prefix */
    int64_t cancel_ttl_ms; /* cancel.ttl */
    struct sp_cancels *cancels;
    struct sp_watcher *watcher;
    /*
     * A cancellation has come into force, and is in the table already; may come again for the same
     * id. Jobs that run are to end now, jobs that wait to be answered. Thread: control. Must not
     * block. NULL: nobody to tell.
     */
    void (*on_cancel)(void *ctx, const char *id);
    void *ctx;
};

/* Takes redis on SP_OK. Waits neither for Kafka nor for Redis. SP_E_INVALID: a property that
 * librdkafka refuses, named. */
SP_MUST_CHECK enum sp_code sp_control_start(const struct sp_control_options *options,
                                            struct sp_redis *redis, struct sp_control **out,
                                            struct sp_error *err);
/* Ends the thread. Blocks: 0.1 s; while Kafka or Redis do not answer, what it is in, 10 s at most.
 * NULL is fine. */
void sp_control_stop(struct sp_control *control);

/*
 * The topic has been read to the end that it had at the start, so jobs may be claimed. Also true
 * where there is no topic and we may not make one, and 30 s after the start whatever happened,
 * which is logged; status tells. Once true it stays so. Thread: any. No lock.
 */
bool sp_control_ready(const struct sp_control *control);

struct sp_control_status {
    bool ready;    /* as sp_control_ready() */
    bool complete; /* the topic has been read to its end at least once: no cancellation is missed */
    bool missing;  /* there is no such topic; looked for every 60 s */
    char problem[240];        /* why it is missing, or cannot be read now; "" for all well */
    int64_t position;         /* offset of the last settings record read; -1: none */
    int64_t invalid_position; /* of one that was not applied; -1: the last one was good */
    char invalid[240];        /* its field and what is wrong with it; "" */
    int64_t settings_records, cancel_records, invalid_records; /* counters: read since the start */
    int64_t settings_applied; /* counter: settings that this worker wrote to Redis */
    int64_t tombstones;       /* counter: written by this worker */
};
/* Thread: any. */
void sp_control_status(struct sp_control *control, struct sp_control_status *out);
