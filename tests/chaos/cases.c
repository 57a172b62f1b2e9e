#include "tests/chaos/cases.h"

#define ROUND_ROBIN "kafka.partition.assignment.strategy=roundrobin"

/* Of many jobs one may well be in the hand of three dying workers, without any guilt. */
#define UNLUCKY "worker.max_attempts=20"

/* Where workers die, or seem dead; elsewhere one that gets no time for a while must not. */
#define SOON_DEAD "worker.liveness=4s"

/* A worker died with jobs in hand: they run again, and a reply may come twice. */
#define AFTER_A_DEATH [CHECKER_RERUN] = CHAOS_IN_HAND, [CHECKER_DOUBLED] = CHAOS_ANY

const struct chaos_case chaos_cases[] = {
    {
        .name = "kill_loop",
        .what = "three workers, killed one after the other with SIGKILL and started again",
        .run = case_kill_loop,
        .ci = {.jobs = 5000, .faults = 10},
        .soak = {.jobs = 100000, .faults = 200},
        .options = {UNLUCKY, SOON_DEAD},
        .most = {AFTER_A_DEATH},
    },
    {
        .name = "stop_loop",
        .what = "three workers, stopped one after the other with SIGTERM and started again",
        .run = case_stop_loop,
        .ci = {.jobs = 3000, .faults = 20},
        .soak = {.jobs = 30000, .faults = 128},
    },
    {
        .name = "short_drain",
        .what = "stopped while jobs run that last longer than the drain time",
        .run = case_short_drain,
        .ci = {.jobs = 48, .faults = 4},
        .soak = {.jobs = 480, .faults = 40},
        .options = {"worker.drain=200ms"},
        .most = {[CHECKER_RERUN] = CHAOS_CUT, [CHECKER_ATTEMPTS] = 1},
    },
    {
        .name = "rebalance_storm",
        .what = "jobs of 5 s while workers and other members of the group come and go",
        .run = case_rebalance_storm,
        .ci = {.jobs = 120, .seconds = 25},
        .soak = {.jobs = 14400, .seconds = 3600},
    },
    {
        .name = "rebalance_eager",
        .what = "the same with an assignor that takes everything from everyone each time",
        .run = case_rebalance_storm,
        .ci = {.jobs = 120, .seconds = 25},
        .soak = {.jobs = 14400, .seconds = 3600},
        .options = {ROUND_ROBIN},
    },
    {
        .name = "freeze_workers",
        .what = "workers stopped with SIGSTOP until they seem dead, then continued",
        .run = case_freeze_workers,
        .ci = {.jobs = 1500, .faults = 3},
        .soak = {.jobs = 30000, .faults = 60},
        .options = {UNLUCKY, SOON_DEAD},
        .most = {AFTER_A_DEATH},
    },
    {
        .name = "broker_outage",
        .what = "the broker stopped with SIGSTOP and continued, then killed and started again",
        .run = case_broker_outage,
        .ci = {.jobs = 3000, .seconds = 10},
        .soak = {.jobs = 20000, .seconds = 60},
        .own_broker = true,
        .most = {[CHECKER_DOUBLED] = CHAOS_ANY, [CHECKER_RECOVERY_MS] = 5000},
    },
    {
        .name = "redis_lost",
        .what = "Redis killed and back empty, for less and for more than worker.liveness, where a "
                "worker is killed, too",
        .run = case_redis_lost,
        .ci = {.jobs = 4000, .seconds = 8},
        .soak = {.jobs = 40000, .seconds = 60},
        .own_redis = true,
        .options = {SOON_DEAD},
        .most = {[CHECKER_RERUN] = CHAOS_ANY,
                 [CHECKER_DOUBLED] = CHAOS_ANY,
                 [CHECKER_DIFFERENT] = CHAOS_ANY,
                 [CHECKER_DEGRADED] = CHAOS_ANY},
    },
    {
        .name = "provider_outage",
        .what = "the provider unavailable for a while; no attempt is used up",
        .run = case_provider_outage,
        .ci = {.jobs = 1500, .seconds = 30},
        .soak = {.jobs = 15000, .seconds = 30},
        .most = {[CHECKER_ATTEMPTS] = 1, [CHECKER_RECOVERY_MS] = 10000},
    },
    {
        .name = "hint_dropped",
        .what = "settings changed without the message that hints at it",
        .run = case_hint_dropped,
        .ci = {.jobs = 300, .faults = 3},
        .soak = {.jobs = 3000, .faults = 30},
        .most = {[CHECKER_SLOWEST_MS] = 6000},
    },
    {
        .name = "poison",
        .what = "one job among others that kills its worker each time",
        .run = case_poison,
        .ci = {.jobs = 50},
        .soak = {.jobs = 50},
        .options = {SOON_DEAD},
        .most = {AFTER_A_DEATH, [CHECKER_DLQ] = 1, [CHECKER_ATTEMPTS] = 3},
    },
    {
        .name = "head_of_line",
        .what = "one job of 30 s before short ones in the one partition there is",
        .run = case_head_of_line,
        .ci = {.jobs = 2000},
        .soak = {.jobs = 10000},
        .partitions = 1,
        .options = {"worker.concurrency=16"},
        .most = {[CHECKER_P99_PERCENT] = 200},
    },
    {
        .name = "cancel",
        .what = "jobs cancelled before they arrive, while they wait in a worker, while they run",
        .run = case_cancel,
        .ci = {.jobs = 60},
        .soak = {.jobs = 1000},
        .most = {[CHECKER_SLOWEST_MS] = 1000},
    },
    {
        .name = "key_order",
        .what = "jobs of twenty keys in order, while workers are stopped and started",
        .run = case_key_order,
        .ci = {.jobs = 2000, .faults = 4},
        .soak = {.jobs = 20000, .faults = 40},
        .options = {"worker.order=key"},
    },
    {
        .name = "clock_steps",
        .what = "the wall clock of the workers steps forward and back",
        .run = case_clock_steps,
        .ci = {.jobs = 1500, .faults = 6},
        .soak = {.jobs = 30000, .faults = 120},
    },
    {
        .name = "full_log",
        .what = "no line of the log can be written",
        .run = case_full_log,
        .ci = {.jobs = 300},
        .soak = {.jobs = 3000},
        .options = {"chaos.log=/dev/full", "log.level=info"},
    },
    {
        .name = "full_work_dir",
        .what = "no room for the files of a local job",
        .run = case_full_work_dir,
        .ci = {.jobs = 2},
        .soak = {.jobs = 20},
        .options = {"worker.hold=15s"}, /* a full disk is a reason to wait, and then to say so */
    },
    {
        .name = "few_descriptors",
        .what = "more local jobs at once than there are descriptors for",
        .run = case_few_descriptors,
        .ci = {.jobs = 30},
        .soak = {.jobs = 600},
        .options = {"worker.concurrency=24"},
    },
};
const size_t chaos_n_cases = SP_COUNT(chaos_cases);
