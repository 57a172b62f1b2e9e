/*
 * The worker: takes requests from Kafka, runs them, answers. worker.c starts and stops the parts in
 * order: main (signals) · consumer (intake.c) · executors (executor.c) · settings
 * (settings/watcher) · http (http.c)
 */
#pragma once

#include "settings/config.h"

/*
 * Runs until SIGTERM or SIGINT (orderly stop, then exit 0; the second one exits at once with 1).
 * SIGHUP has the settings looked at again. Returns the process's exit code. Call from main, with no
 * other thread running; ready_fd >= 0 gets one line "ready <http host:port>\n" when everything
 * runs, and is closed then.
 */
int sp_worker_run(const struct sp_config *config, int ready_fd);
