#include "tests/support/leases.h"

#include "base/clock.h"

void test_leases_init(struct test_leases *leases)
{
    pthread_mutex_init(&leases->lock, NULL);
    leases->records = json_object();
    leases->away = false;
}

void test_leases_clear(struct test_leases *leases)
{
    json_decref(leases->records);
    pthread_mutex_destroy(&leases->lock);
}

static enum sp_code begin(struct test_leases *leases, struct sp_error *err)
{
    pthread_mutex_lock(&leases->lock);
    if (!leases->away)
        return SP_OK;
    pthread_mutex_unlock(&leases->lock);
    return sp_error_set(err, SP_E_UNAVAILABLE, "the leases are away");
}

static enum sp_code put(void *ctx, const char *provider, const char *id, const char *data,
                        int64_t ttl_ms, struct sp_error *err)
{
    struct test_leases *leases = ctx;
    enum sp_code rc = begin(leases, err);

    (void)provider;
    if (rc)
        return rc;
    json_object_set_new(
        leases->records, id,
        json_pack("{s:s, s:I}", "data", data, "until", (json_int_t)sp_deadline_in(ttl_ms)));
    pthread_mutex_unlock(&leases->lock);
    return SP_OK;
}

static enum sp_code renew(void *ctx, const char *provider, const char *id, int64_t ttl_ms,
                          struct sp_error *err)
{
    struct test_leases *leases = ctx;
    enum sp_code rc = begin(leases, err);

    (void)provider;
    if (rc)
        return rc;
    json_t *record = json_object_get(leases->records, id);
    if (!record || json_object_set_new(record, "until", json_integer(sp_deadline_in(ttl_ms))))
        rc = sp_error_set(err, SP_E_INVALID, "there is no lease %s", id);
    pthread_mutex_unlock(&leases->lock);
    return rc;
}

static enum sp_code drop(void *ctx, const char *provider, const char *id, struct sp_error *err)
{
    struct test_leases *leases = ctx;
    enum sp_code rc = begin(leases, err);

    (void)provider;
    if (rc)
        return rc;
    json_object_del(leases->records, id);
    pthread_mutex_unlock(&leases->lock);
    return SP_OK;
}

static enum sp_code list(void *ctx, const char *provider, json_t **out, struct sp_error *err)
{
    struct test_leases *leases = ctx;
    enum sp_code rc = begin(leases, err);
    json_t *record = NULL;
    const char *id = NULL;

    (void)provider;
    if (rc)
        return rc;
    *out = json_array();
    json_object_foreach (leases->records, id, record) {
        if (json_integer_value(json_object_get(record, "until")) <= sp_mono_ms())
            json_array_append_new(
                *out, json_pack("{s:s, s:O}", "id", id, "data", json_object_get(record, "data")));
    }
    pthread_mutex_unlock(&leases->lock);
    return SP_OK;
}

void test_leases_use(struct test_leases *leases, struct sp_host *host)
{
    host->ctx = leases;
    host->lease_put = put;
    host->lease_renew = renew;
    host->lease_drop = drop;
    host->lease_list = list;
}

int test_leases_count(struct test_leases *leases)
{
    pthread_mutex_lock(&leases->lock);
    size_t n = json_object_size(leases->records);
    pthread_mutex_unlock(&leases->lock);
    return (int)n;
}

void test_leases_expire(struct test_leases *leases)
{
    json_t *record = NULL;
    const char *id = NULL;

    pthread_mutex_lock(&leases->lock);
    json_object_foreach (leases->records, id, record)
        json_object_set_new(record, "until", json_integer(0));
    pthread_mutex_unlock(&leases->lock);
}
