/*
 * A chaos case under way: real servers, workers with the provider `ledger`, jobs with ids of their
 * own, and the ledger in which everything is noted. A case sends jobs, breaks things, waits for
 * replies, and returns; then its workers are stopped, the rest of the replies is read, and the
 * checker's numbers are held against the limits of its row. Everything random comes from the seed.
 * Call from the main thread; the functions assert, as those of the stage do.
 */
#pragma once

#include "tests/chaos/chaos_report.h"
#include "tests/support/stage.h"

#define CHAOS_OPTIONS_MAX 24
#define CHAOS_EXECUTORS 8 /* of a worker, where the case says nothing else */

/* How large a case is; each one says what it makes of them. */
struct chaos_size {
    int64_t jobs, faults, seconds;
};

struct chaos;
struct chaos_case {
    const char *name, *what;
    void (*run)(struct chaos *c);
    struct chaos_size ci, soak;
    int partitions;              /* 0: 6 */
    bool own_broker, own_redis;  /* the case breaks it */
    const char *options[12];     /* of every worker, NULL-terminated */
    int64_t most[CHECKER_COUNT]; /* limits, see chaos_report.h */
};

struct chaos_job {
    int64_t sent_us, replied_us; /* 0: not yet */
    int attempt;                 /* of its first reply */
};

struct chaos {
    const struct chaos_case *row;
    struct chaos_size size;
    struct sp_stage *stage;
    const char *options[CHAOS_OPTIONS_MAX]; /* of the workers started from now on */
    bool revive;                            /* a worker that dies by itself is started again */
    const char *clear; /* what the message of every error reply must hold; NULL: anything */
    char dir[64], ledger_path[96], outage_path[96], clock_path[96], broker_dir[96];
    int ledger, partitions;
    struct sp_redis_server redis; /* of its own */
    uint64_t random;
    struct chaos_job *jobs; /* by number */
    int64_t n_jobs, cap_jobs, n_replied, n_dead_letters;
    int64_t measured[CHECKER_COUNT]; /* by the case; added to the checker's numbers */
};

struct chaos_order {
    struct chaos_size size;
    uint64_t seed;
    const char *report; /* path: the outcome is added there */
    bool keep;          /* ledger and logs, though it passes */
};
/* Runs one case and prints its line. False: it failed. */
bool chaos_run(const struct chaos_case *row, const struct chaos_order *order);

/* [0, below). */
int64_t chaos_random(struct chaos *c, int64_t below);

/* Workers (chaos_workers.c): n of them, which share the partitions when it returns. */
void chaos_workers(struct chaos *c, int n);
/* One more option of the workers started from now on; the text must live as long as the case. */
void chaos_option(struct chaos *c, const char *option);
bool chaos_is_up(const struct chaos *c, int worker);
/* One that is up, by chance; -1: none is. */
int chaos_pick(struct chaos *c);
void chaos_kill(struct chaos *c, int worker);   /* SIGKILL */
void chaos_stop(struct chaos *c, int worker);   /* SIGTERM, and its end */
void chaos_start(struct chaos *c, int worker);  /* one that has ended; does not wait */
void chaos_freeze(struct chaos *c, int worker); /* SIGSTOP */
void chaos_thaw(struct chaos *c, int worker);
/* Starts again who died by itself, where the case has them revived. */
void chaos_revive(struct chaos *c);
void chaos_stop_all(struct chaos *c);
/* The same once all is committed; the end of every case, for one that has to be there earlier. */
void chaos_wind_up(struct chaos *c);
void chaos_keep_logs(struct chaos *c); /* in the folder of the case */

/* A request. Members that are NULL are left out. */
struct chaos_request {
    const char *code, *want, *members; /* want: NULL is "ok"; members: JSON text */
    const char *key;                   /* of the record; its order is checked */
};
/* Sends it under the id j<number>; the number. */
int64_t chaos_send(struct chaos *c, const struct chaos_request *request);
/* n jobs that sleep between least and most milliseconds, by chance. */
void chaos_send_sleeps(struct chaos *c, int64_t n, int64_t least_ms, int64_t most_ms);
void chaos_flush(struct chaos *c);

/* In the ledger. */
void chaos_fault(struct chaos *c, const char *what);
void chaos_healed(struct chaos *c, const char *what);

/* Reads one reply if there is one within a moment, and revives workers. False: there was none. */
bool chaos_read(struct chaos *c);
/* The same for a while. */
void chaos_pass(struct chaos *c, int64_t ms);
/* Until n jobs have a reply. False: not within the limit. */
bool chaos_until_replied(struct chaos *c, int64_t n, int64_t limit_ms);
/* Until it is so. False: not within the limit. */
bool chaos_until(struct chaos *c, bool (*cond)(struct chaos *c, int64_t arg), int64_t arg,
                 int64_t limit_ms);
/* The executions of one id (NULL: of all) that the ledger tells of by now. */
int64_t chaos_runs(struct chaos *c, const char *id);

/* The broker of its own: its process, and starting it anew on its ports with its data. */
pid_t chaos_broker(const struct chaos *c);
void chaos_broker_start(struct chaos *c);
