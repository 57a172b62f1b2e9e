/*
 * The worker: takes requests from Kafka, runs them, answers. worker.c starts and stops the parts in
 * order: main (signals: process.c) · consumer (intake.c) · executors (executor.c) · settings
 * (settings/watcher) · control topic (control.c) · fleet record (fleet.c) · http (endpoints.c). The
 * way of one job is in job.h.
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

/* The same without signals, for who embeds a worker. */
struct sp_worker;
/* Starts all parts; waits neither for Kafka nor for Redis. config is borrowed until
 * sp_worker_stop(). SP_E_INVALID names the key; SP_E_UNAVAILABLE: http.listen cannot be bound. */
SP_MUST_CHECK enum sp_code sp_worker_start(const struct sp_config *config, struct sp_worker **out,
                                           struct sp_error *err);
/* Looks at the settings again and resolves their references anew. Thread: any. */
void sp_worker_reload(struct sp_worker *worker);
/*
 * The orderly stop: takes nothing new, hands back what has not started, waits worker.drain for what
 * runs, ends the rest and hands it back uncommitted, commits, and frees the worker. Blocks:
 * worker.drain and 15 s at most, unless a provider breaks its limits.
 */
void sp_worker_stop(struct sp_worker *worker);
/* "host:port" of the HTTP server, "" when it is off. */
const char *sp_worker_http(const struct sp_worker *worker);
