/*
 * What a sandbox provider is: open, check, create, execute, destroy, sweep, close. DESIGN.md 4 has
 * the rules that hold for every provider, CONTRACT.md 3.4 what a run is. providers/ knows neither
 * Redis nor Kafka.
 */
#pragma once

#include "base/clock.h"
#include "base/limits.h"
#include "base/request.h"
#include "base/result.h"
#include "settings/fields.h"

struct sp_provider;
struct sp_instance;

/*
 * What a provider may need of the outside; lives longer than the provider. Leases are records of
 * what was made at a peer and must be ended there even if this worker dies. One holds for its
 * ttl_ms while this worker lives, and not much longer than the worker; then it has run out. A
 * failure is for the log: what could not be written is written later if it still holds then. Any of
 * the functions may be NULL. Thread: any; each call blocks for 2 s at most.
 */
struct sp_host {
    const char *worker_id;
    const struct sp_limits *limits;
    void *ctx;
    /* Of the same id as an earlier one: in place of that. */
    enum sp_code (*lease_put)(void *ctx, const char *provider, const char *lease_id,
                              const char *json, int64_t ttl_ms, struct sp_error *err);
    /* Lets it hold for so long from now, also somebody else's; 0: it has run out. SP_E_INVALID:
     * there is none. */
    enum sp_code (*lease_renew)(void *ctx, const char *provider, const char *lease_id,
                                int64_t ttl_ms, struct sp_error *err);
    enum sp_code (*lease_drop)(void *ctx, const char *provider, const char *lease_id,
                               struct sp_error *err);
    /* *out: array of {id, data}, what has run out, no matter whose; new reference. */
    enum sp_code (*lease_list)(void *ctx, const char *provider, json_t **out, struct sp_error *err);
};

/* One run's limits. Borrowed for the calls that it is given to. Deadlines are monotonic
 * milliseconds. */
struct sp_run {
    int64_t setup_deadline; /* creating, uploading, waiting for the service; its passing is
                               SP_E_TIMEOUT from create */
    int64_t queue_deadline; /* the same for what waits in a service's own queue once it is sent:
                               queue_ttl does not end that; 0: setup_deadline */
    int64_t deadline;       /* the request's deadline_ms, else SP_NEVER; caps everything */
    int64_t timeout_ms;     /* of the user's program: min(request, worker, provider) */
    int64_t teardown_ms;    /* fetching and destroying */
    int cancel_fd;          /* readable once the run is to be ended; -1: never */
};

/* What the worker and the connection test give a check: an executor_manager without a free
 * container says so after 10 s only. */
#define SP_CHECK_MS 15000

/*
 * Called through the sp_provider_* functions below only. The messages of open, check and destroy
 * are logged and shown to administrators, so they hold no word of a peer's or of a program's; those
 * of create and execute go into the reply and nowhere else.
 */
struct sp_provider_ops {
    const char *name; /* value of provider_type */
    const char *title, *description;
    const char *const *tags;      /* NULL-terminated */
    const char *const *languages; /* NULL-terminated; what the provider calls them */
    const struct sp_field *fields;
    size_t n_fields, settings_size;
    bool result_in_stdout; /* the default of the request's option */

    /* Optional, made before the fields are read: RAGFlow's checks in its order, on the settings as
     * given (of any type); the first failure wins. */
    enum sp_code (*validate)(json_t *settings, struct sp_error *err);
    /* Takes *settings (malloc'ed, filled by sp_fields_read()) on success only. No network I/O, so a
     * reload cannot hang on a peer. */
    enum sp_code (*open)(void *settings, const struct sp_host *host, struct sp_provider **out,
                         struct sp_error *err);
    /* Optional. SP_OK when execute() has a chance; SP_E_INVALID and SP_E_DENIED: it never will.
     * Returns within run->setup_deadline, or soon after run->cancel_fd becomes readable
     * (SP_E_CANCELLED). */
    enum sp_code (*check)(struct sp_provider *p, const struct sp_run *run, struct sp_error *err);
    /*
     * create, execute and destroy are called from several executors at once on one provider; every
     * instance that create gave is destroyed once. Each returns within the limits of *run or soon
     * after run->cancel_fd becomes readable (create: SP_E_CANCELLED).
     */
    enum sp_code (*create)(struct sp_provider *p, const struct sp_request *req,
                           const struct sp_run *run, struct sp_instance **out,
                           struct sp_error *err);
    /*
     * The caller owns *out, also on failure; out->started says whether the program surely, maybe or
     * never began. SP_OK: *out tells how the program ended, also by time-out, cancellation or a
     * limit.
     */
    enum sp_code (*execute)(struct sp_instance *i, const struct sp_request *req,
                            const struct sp_run *run, struct sp_result *out, struct sp_error *err);
    /* Frees the instance whatever happens; returns a failure to clean up, for the log. */
    enum sp_code (*destroy)(struct sp_instance *i, const struct sp_run *run, struct sp_error *err);
    /* Optional. Ends what other workers left behind. Called once after check, and again when leases
     * have run out. Thread: settings, and that of the leases at the same time. */
    void (*sweep)(struct sp_provider *p);
    /* Frees everything. The last call, made when no other is in flight. */
    void (*close)(struct sp_provider *p);
};

/* First member of each provider's private struct; open() fills ops and the maxima. */
struct sp_provider {
    const struct sp_provider_ops *ops;
    int64_t timeout_ms; /* the provider's own longest run; caps the request's */
};

/* First member of each provider's private instance struct. */
struct sp_instance {
    struct sp_provider *provider;
    char id[64]; /* made by us, fit for a path */
};

/*
 * Validates `settings` (object, as stored; references are resolved here, see settings/secret.h) and
 * opens the provider. SP_E_INVALID: the message names the key. Thread: any.
 */
SP_MUST_CHECK enum sp_code sp_provider_open(const struct sp_provider_ops *ops, json_t *settings,
                                            const struct sp_host *host, struct sp_provider **out,
                                            struct sp_error *err);
/* The settings alone, without opening; references need not resolve. */
SP_MUST_CHECK enum sp_code sp_provider_validate(const struct sp_provider_ops *ops, json_t *settings,
                                                struct sp_error *err);
SP_MUST_CHECK enum sp_code sp_provider_check(struct sp_provider *p, const struct sp_run *run,
                                             struct sp_error *err);
SP_MUST_CHECK enum sp_code sp_provider_create(struct sp_provider *p, const struct sp_request *req,
                                              const struct sp_run *run, struct sp_instance **out,
                                              struct sp_error *err);
/* Clamps the time-out to the provider's and applies result_in_stdout. Fills out->timeout_ms and
 * instance_id, and execution_us where the provider did not measure the program itself. */
SP_MUST_CHECK enum sp_code sp_provider_execute(struct sp_instance *i, const struct sp_request *req,
                                               const struct sp_run *run, struct sp_result *out,
                                               struct sp_error *err);
/* A failure is logged. i may be NULL. */
void sp_provider_destroy(struct sp_instance *i, const struct sp_run *run);
void sp_provider_sweep(struct sp_provider *p);
void sp_provider_close(struct sp_provider *p);
SP_AUTO(struct sp_provider *, sp_provider_close)
