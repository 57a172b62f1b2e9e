/* Readers take and drop snapshots while the watcher swaps them; ThreadSanitizer watches. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "settings/watcher.h"
#include "tests/support/redis_server.h"

enum { READERS = 4, CHANGES = 200, PATIENCE_MS = 60000 };

static struct sp_watcher *watcher;
static atomic_bool stop;
static atomic_int alive; /* values that are open */

/* Plain members: a value that is closed too early shows as a race or a use after free. */
struct value {
    int64_t version;
};

static enum sp_code value_open(void *ctx, const struct sp_document *doc, void **value,
                               const char **name, struct sp_error *err)
{
    struct value *v = calloc(1, sizeof *v);

    (void)ctx;
    if (!v)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    v->version = doc->version;
    *value = v;
    *name = "fake";
    alive++;
    return SP_OK;
}

static enum sp_code value_check(void *ctx, void *value, struct sp_error *err)
{
    (void)ctx;
    (void)value;
    (void)err;
    return SP_OK;
}

static void value_close(void *ctx, void *value)
{
    (void)ctx;
    ((struct value *)value)->version = -1;
    free(value);
    alive--;
}

static const struct sp_apply_ops ops = {value_open, value_check, value_close};

static void *read_snapshots(void *arg)
{
    int64_t last = 0;

    while (!stop) {
        struct sp_settings_status status;
        struct sp_snapshot *s = sp_watcher_get(watcher);
        sp_watcher_status(watcher, &status);
        if (s) {
            const struct value *v = s->value;
            if (v->version > s->version || s->version < last || status.version < s->version)
                abort();
            last = s->version;
            sp_watcher_doubt(watcher, s);
        }
        sp_snapshot_unref(s);
        sp_watcher_poke(watcher, false);
    }
    return arg;
}

static struct sp_redis *new_redis(struct sp_redis_server *server)
{
    struct sp_config config = {.redis = {.url = server->url}};
    struct sp_redis *redis = NULL;

    if (sp_redis_new(&config, &redis, NULL))
        abort();
    return redis;
}

/* Every second change leaves the content as it is, so two versions share a value. */
static bool change_all(struct sp_redis *redis)
{
    for (int i = 1; i <= CHANGES; i++) {
        json_auto_t *providers = json_pack("{s:{s:i}}", "e2b", "n", i / 2);
        struct sp_change change = {.provider_type = "e2b", .providers = providers};
        int64_t version;
        enum sp_stored stored;
        if (sp_store_change(redis, "sandpiper", &change, &version, &stored, NULL))
            return false;
    }
    return true;
}

static bool wait_for_last(void)
{
    int64_t deadline = sp_deadline_in(PATIENCE_MS);
    struct sp_settings_status status;

    do
        sp_watcher_status(watcher, &status);
    while (status.version < CHANGES && sp_deadline_left(deadline) > 0);
    return status.version == CHANGES;
}

int main(void)
{
    struct sp_redis_server server = {0};
    pthread_t readers[READERS];

    signal(SIGPIPE, SIG_IGN);
    sp_log_setup(SP_ERROR, true);
    if (!sp_redis_server_start(&server, NULL))
        return 1;
    struct sp_redis *redis = new_redis(&server);
    if (sp_watcher_start(new_redis(&server), new_redis(&server), "sandpiper", &ops, NULL, &watcher,
                         NULL))
        return 1;
    for (int i = 0; i < READERS; i++)
        if (pthread_create(&readers[i], NULL, read_snapshots, NULL))
            return 1;
    bool good = change_all(redis) && wait_for_last();
    struct sp_snapshot *held = sp_watcher_get(watcher);
    stop = true;
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    sp_watcher_stop(watcher);
    good = good && alive == 1;
    sp_snapshot_unref(held);
    good = good && alive == 0;
    sp_redis_free(redis);
    sp_redis_server_stop(&server);
    printf("%s\n", good ? "ok" : "failed");
    return good ? 0 : 1;
}
