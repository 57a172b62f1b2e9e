/*
 * The provider "fake": its settings name the step that fails, and the code of a request is what it
 * does.
 *
 *   settings  {"fails": STEP, "token": a secret that is not used}. STEP: "open", "check", "create",
 *             "execute"; "throttle" and "hang" are other ways for a check to fail, the latter by
 *             waiting until its time is up or it is cancelled; "exit", "output" and "value" spoil
 *             the result
 *   code      "ok" prints "done" and has no value; "exit 3"; "big" prints FAKE_BIG_BYTES zeros;
 *             "wait" runs until it is cancelled or its time is up, "gate" also until fake_gate is
 *             readable; "away", "busy" and "lacking" fail to be created as their names say. Any
 *             other is taken for the program of the connection test (cli/probe.c) and does what
 *             that one does
 */
#pragma once

#include <stdatomic.h>

#include "providers/provider.h"

enum { FAKE_BIG_BYTES = 1500000 };

extern const struct sp_provider_ops fake_provider;

extern int fake_gate; /* the test's; -1 at first */

/* Of this process so far. */
extern struct fake_counts {
    atomic_int tried; /* instances asked for */
    atomic_int created, destroyed, checks_begun, checks_cancelled, closed;
} fake_counts;
