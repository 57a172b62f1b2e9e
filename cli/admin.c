/* Settings and fleet as they are in Redis (CONTRACT.md 6). */
#include "cli/admin.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define LOOK_EVERY_MS 200

enum sp_code sp_admin_read(struct sp_admin *admin, struct sp_error *err)
{
    sp_document_clear(&admin->doc);
    enum sp_code rc = sp_store_read(admin->redis, admin->config->redis.prefix, &admin->doc, err);
    if (rc == SP_E_UNAVAILABLE)
        return sp_error_wrap(err, rc, "settings are in Redis (redis.url), which cannot be used");
    return rc;
}

enum sp_code sp_admin_open(const struct sp_call *call, struct sp_admin *out, struct sp_error *err)
{
    enum sp_code rc = sp_call_config(call, &out->config, err);
    if (!rc)
        rc = sp_redis_new(out->config, &out->redis, err);
    return rc ? rc : sp_admin_read(out, err);
}

void sp_admin_clear(struct sp_admin *admin)
{
    sp_document_clear(&admin->doc);
    sp_redis_free(admin->redis);
    sp_config_free(admin->config);
    *admin = (struct sp_admin){0};
}

const char *sp_admin_active(const struct sp_admin *admin)
{
    return admin->doc.provider_type ? admin->doc.provider_type : SP_PROVIDER_DEFAULT;
}

/* Adds the record under `key`; one that has just expired is left out. */
static enum sp_code add_worker(struct sp_admin *admin, const char *key, json_t *workers,
                               struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = sp_redis_command(admin->redis, &reply, err, "GET %s", key);
    if (rc || reply->type != REDIS_REPLY_STRING)
        return rc;
    json_t *record = json_loadb(reply->str, reply->len, 0, NULL);
    if (json_is_object(record) && json_string_value(json_object_get(record, "id")))
        return json_array_append_new(workers, record) ? SP_E_NOMEM : SP_OK;
    json_decref(record);
    return SP_OK;
}

/* One step of SCAN; cursor is read and written. */
static enum sp_code scan_step(struct sp_admin *admin, char cursor[24], json_t *workers,
                              struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    char pattern[256];
    (void)snprintf(pattern, sizeof(pattern), "%s:worker:*", admin->config->redis.prefix);
    enum sp_code rc =
        sp_redis_command(admin->redis, &reply, err, "SCAN %s MATCH %s COUNT 200", cursor, pattern);
    if (rc)
        return rc;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return sp_error_set(err, SP_E_INTERNAL, "Redis answered SCAN in a way we do not know");
    (void)snprintf(cursor, 24, "%s", reply->element[0]->str);
    const redisReply *keys = reply->element[1];
    for (size_t i = 0; !rc && i < keys->elements; i++)
        rc = add_worker(admin, keys->element[i]->str, workers, err);
    return rc;
}

static const char *id_of(const json_t *worker)
{
    return json_string_value(json_object_get(worker, "id"));
}

static int by_id(const void *a, const void *b)
{
    return strcmp(id_of(*(json_t *const *)a), id_of(*(json_t *const *)b));
}

/* A sorted copy without doubles, which SCAN may give. NULL without memory. */
static json_t *sorted(json_t *workers)
{
    size_t n = json_array_size(workers);
    json_t **list = calloc(n + 1, sizeof(json_t *));
    if (!list)
        return NULL;
    json_t *copy = json_array();
    for (size_t i = 0; i < n; i++)
        list[i] = json_array_get(workers, i);
    qsort(list, n, sizeof(json_t *), by_id);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || by_id(&list[i - 1], &list[i]) != 0)
            (void)json_array_append(copy, list[i]);
    }
    free(list);
    return copy;
}

enum sp_code sp_admin_fleet(struct sp_admin *admin, json_t **workers, struct sp_error *err)
{
    json_auto_t *found = json_array();
    char cursor[24] = "0";
    enum sp_code rc = SP_OK;
    do {
        rc = scan_step(admin, cursor, found, err);
    } while (!rc && strcmp(cursor, "0") != 0);
    if (rc)
        return rc;
    *workers = sorted(found);
    return *workers ? SP_OK : sp_error_set(err, SP_E_NOMEM, "no memory");
}

/* SP_OK: it has it; SP_E_TIMEOUT: not yet; SP_E_INVALID: it refused it. */
static enum sp_code worker_has(json_t *worker, int64_t version, struct sp_error *err)
{
    json_t *error = json_object_get(worker, "settings_error");
    const char *why = json_string_value(json_object_get(error, "message"));
    int64_t refused = json_integer_value(json_object_get(error, "version"));
    bool has = json_integer_value(json_object_get(worker, "settings_version")) >= version;
    /* A later version that is refused is another administrator's. */
    if (why && (refused == version || (refused > version && !has))) {
        return sp_error_set(err, SP_E_INVALID, "worker %.60s did not apply it: %s", id_of(worker),
                            why);
    }
    if (has)
        return SP_OK;
    return sp_error_set(err, SP_E_TIMEOUT, "worker %.60s has not applied version %lld yet",
                        id_of(worker), (long long)version);
}

static enum sp_code fleet_has(struct sp_admin *admin, int64_t version, size_t *n,
                              struct sp_error *err)
{
    json_auto_t *workers = NULL;
    enum sp_code rc = sp_admin_fleet(admin, &workers, err);
    if (rc)
        return rc;
    *n = json_array_size(workers);
    /* A refusal tells more than a worker that is late, wherever it stands in the list. */
    for (size_t i = 0; i < *n && rc != SP_E_INVALID; i++) {
        enum sp_code one = worker_has(json_array_get(workers, i), version, err);
        rc = one ? one : rc;
    }
    return rc;
}

enum sp_code sp_admin_converge(struct sp_admin *admin, int64_t version, int64_t timeout_ms,
                               size_t *n, struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(timeout_ms);
    for (;;) {
        enum sp_code rc = fleet_has(admin, version, n, err);
        if (rc != SP_E_TIMEOUT || sp_deadline_left(deadline) == 0)
            return rc;
        (void)poll(NULL, 0, LOOK_EVERY_MS);
    }
}
