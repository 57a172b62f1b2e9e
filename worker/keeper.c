#include "worker/keeper.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/thread.h"

struct sp_keeper {
    struct sp_keeper_options with;
    int stop_fd;
    pthread_t thread;
};

static void sweep(struct sp_keeper *keeper)
{
    sp_auto(sp_snapshot_unref) struct sp_snapshot *snapshot = sp_watcher_get(keeper->with.watcher);

    if (snapshot && sp_leases_have_expired(keeper->with.leases, snapshot->provider))
        sp_provider_sweep(snapshot->value);
}

static void *keeper_main(void *arg)
{
    struct sp_keeper *keeper = arg;
    struct pollfd stop = {.fd = keeper->stop_fd, .events = POLLIN};
    bool was_away = false;

    while (poll(&stop, 1, (int)keeper->with.every_ms) == 0) {
        struct sp_error err = {0};
        bool away = sp_leases_keep(keeper->with.leases, &err) != SP_OK;
        if (away && !was_away)
            sp_log(SP_WARN, "leases_not_kept", sp_s("error", err.msg));
        was_away = away;
        if (!away)
            sweep(keeper);
    }
    return NULL;
}

static void release(struct sp_keeper *keeper)
{
    if (keeper->stop_fd >= 0)
        close(keeper->stop_fd);
    free(keeper);
}

enum sp_code sp_keeper_start(const struct sp_keeper_options *options, struct sp_keeper **out,
                             struct sp_error *err)
{
    struct sp_keeper *keeper = calloc(1, sizeof *keeper);

    if (!keeper)
        return sp_error_set(err, SP_E_NOMEM, "no memory for the thread that keeps leases");
    keeper->with = *options;
    keeper->stop_fd = eventfd(0, EFD_CLOEXEC);
    enum sp_code rc = keeper->stop_fd < 0
                          ? sp_error_set(err, SP_E_INTERNAL, "no descriptor for the leases")
                          : sp_thread_start(&keeper->thread, "leases", keeper_main, keeper, err);
    if (rc) {
        release(keeper);
        return rc;
    }
    *out = keeper;
    return SP_OK;
}

void sp_keeper_stop(struct sp_keeper *keeper)
{
    if (!keeper)
        return;
    (void)eventfd_write(keeper->stop_fd, 1);
    pthread_join(keeper->thread, NULL);
    release(keeper);
}
