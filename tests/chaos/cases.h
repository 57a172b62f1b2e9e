/*
 * The cases, one row each (cases.c); what they do is in cases_workers.c (workers come and go),
 * cases_outages.c (Kafka, Redis, the provider), cases_jobs.c (what jobs do to each other) and
 * cases_machine.c (clock, disks, descriptors).
 */
#pragma once

#include "tests/chaos/chaos.h"

extern const struct chaos_case chaos_cases[];
extern const size_t chaos_n_cases;

void case_kill_loop(struct chaos *c);
void case_stop_loop(struct chaos *c);
void case_short_drain(struct chaos *c);
void case_rebalance_storm(struct chaos *c);
void case_freeze_workers(struct chaos *c);

void case_broker_outage(struct chaos *c);
void case_redis_lost(struct chaos *c);
void case_provider_outage(struct chaos *c);
void case_hint_dropped(struct chaos *c);

void case_poison(struct chaos *c);
void case_head_of_line(struct chaos *c);
void case_cancel(struct chaos *c);
void case_key_order(struct chaos *c);

void case_clock_steps(struct chaos *c);
void case_full_log(struct chaos *c);
void case_full_work_dir(struct chaos *c);
void case_few_descriptors(struct chaos *c);
