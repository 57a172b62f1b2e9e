/* Records of what is to be ended at a service: what they say, and what a sweep does with them. */
#include "providers/lease.h"

#include <string.h>

#include "tests/support.h"
#include "tests/support/leases.h"

enum { LONG_MS = 60000 };
#define HERE "https://api.example 1"

static struct test_leases leases;
static struct sp_host host = {.worker_id = "w1"};
static struct {
    int n;
    char text[256]; /* what the sweep was told to end, in turn */
} ends;

static void setup(void)
{
    test_leases_init(&leases);
    test_leases_use(&leases, &host);
}

static void teardown(void)
{
    test_leases_clear(&leases);
}

TestSuite(lease, .init = setup, .fini = teardown);

static void put(const char *id, const char *service, const char *sandbox)
{
    const struct sp_lease lease = {id, service, sandbox};
    sp_lease_put(&host, "test", &lease, LONG_MS);
}

/* Ends all but those whose sandbox is called "stuck". */
static enum sp_code end_one(void *ctx, const struct sp_lease *lease, int64_t deadline,
                            struct sp_error *err)
{
    (void)ctx;
    cr_expect(sp_deadline_left(deadline) > 0);
    size_t len = strlen(ends.text);
    ends.n++;
    (void)snprintf(ends.text + len, sizeof(ends.text) - len, "%s=%s ", lease->id, lease->sandbox);
    return strcmp(lease->sandbox, "stuck") == 0 ? sp_error_set(err, SP_E_UNAVAILABLE, "stuck")
                                                : SP_OK;
}

static void sweep(void)
{
    sp_lease_sweep(&host, "test", HERE, end_one, NULL);
}

static const struct {
    const char *sandbox, *data;
} records[] = {
    {"", "{\"worker\":\"w1\",\"service\":\"" HERE "\"}"},
    {"box", "{\"worker\":\"w1\",\"service\":\"" HERE "\",\"sandbox\":\"box\"}"},
};

SP_TABLE_TEST(lease, a_record_says_where_the_thing_is, records, row)
{
    put("a", HERE, row->sandbox);

    json_t *record = json_object_get(leases.records, "a");

    cr_expect(eq(str, (char *)json_string_value(json_object_get(record, "data")),
                 (char *)(uintptr_t)row->data));
}

Test(lease, a_sweep_ends_and_drops_what_has_run_out_here)
{
    put("a", HERE, "box");
    put("b", HERE, "");
    put("c", "https://api.example 2", "");
    test_leases_expire(&leases);
    put("d", HERE, "");

    sweep();

    cr_expect(eq(str, ends.text, "a=box b= "));
    cr_expect(eq(int, test_leases_count(&leases), 2));
}

Test(lease, what_cannot_be_ended_is_tried_again_later)
{
    put("a", HERE, "stuck");
    put("b", HERE, "box");
    test_leases_expire(&leases);

    sweep();
    sweep();
    cr_expect(eq(str, ends.text, "a=stuck b=box "), "not at once: %s", ends.text);
    test_leases_expire(&leases);
    sweep();

    cr_expect(eq(int, ends.n, 3));
    cr_expect(eq(int, test_leases_count(&leases), 1));
}

Test(lease, one_that_is_left_is_the_next_sweeps)
{
    put("a", HERE, "box");

    sp_lease_leave(&host, "test", "a");
    sweep();

    cr_expect(eq(str, ends.text, "a=box "));
}

Test(lease, records_of_a_wrong_form_are_passed_over)
{
    static const char *const wrong[] = {"", "[]", "{", "{\"service\":1}", "{}"};
    for (size_t i = 0; i < SP_COUNT(wrong); i++)
        cr_assert(eq(int, host.lease_put(host.ctx, "test", wrong[i], wrong[i], 0, NULL), SP_OK));
    put("a", HERE, "box");
    test_leases_expire(&leases);

    sweep();

    cr_expect(eq(str, ends.text, "a=box "));
}

Test(lease, leases_that_are_away_stop_nothing)
{
    leases.away = true;
    put("a", HERE, "");
    sp_lease_leave(&host, "test", "a");
    sp_lease_drop(&host, "test", "a");
    sweep();

    cr_expect(zero(int, ends.n));
}

Test(lease, a_host_may_have_none)
{
    host = (struct sp_host){.worker_id = "w1"};
    put("a", HERE, "");
    sp_lease_leave(&host, "test", "a");
    sp_lease_drop(&host, "test", "a");
    sweep();

    cr_expect(zero(int, ends.n));
}
