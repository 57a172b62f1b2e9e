#include "worker/apply.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "providers/registry.h"
#include "tests/support.h"
#include "tests/worker/fixture.h"

static struct sp_apply apply = {.cancel_fd = -1};
static void *value;
static const char *name;

static enum sp_code open_settings(const char *type, const char *settings, struct sp_error *err)
{
    struct sp_document doc = {.present = true, .provider_type = (char *)type};
    doc.providers = json_pack("{s:s}", type ? type : SP_PROVIDER_DEFAULT, settings);
    enum sp_code rc = sp_apply_ops.open(&apply, &doc, &value, &name, err);
    json_decref(doc.providers);
    return rc;
}

static void add_fake(void)
{
    sp_registry_add(&fake_provider);
}

TestSuite(apply, .init = add_fake);

Test(apply, good_settings_open_the_provider)
{
    struct sp_error err = {0};

    enum sp_code rc = open_settings("fake", "{}", &err);

    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
    cr_expect(eq(str, (char *)name, "fake"));
    cr_expect(eq(int, sp_apply_ops.check(&apply, value, &err), SP_OK));
    sp_apply_ops.close(&apply, value);
}

Test(apply, an_unavailable_peer_is_found_by_the_check)
{
    struct sp_error err = {0};
    cr_assert(not(open_settings("fake", "{\"fails\":\"check\"}", &err)));

    enum sp_code rc = sp_apply_ops.check(&apply, value, &err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(eq(str, err.msg, "fake: check broke"));
    sp_apply_ops.close(&apply, value);
}

Test(apply, a_throttling_peer_is_told_from_one_that_is_away)
{
    struct sp_error err = {0};
    cr_assert(not(open_settings("fake", "{\"fails\":\"throttle\"}", &err)));

    enum sp_code rc = sp_apply_ops.check(&apply, value, &err);

    cr_expect(eq(int, rc, SP_E_BUSY));
    cr_expect(eq(str, err.msg, "fake: too many requests"));
    sp_apply_ops.close(&apply, value);
}

Test(apply, a_check_that_is_cancelled_ends_and_says_so)
{
    struct sp_error err = {0};
    apply.cancel_fd = eventfd(1, EFD_CLOEXEC);
    cr_assert(not(open_settings("fake", "{\"fails\":\"hang\"}", &err)));

    enum sp_code rc = sp_apply_ops.check(&apply, value, &err);

    cr_expect(eq(int, rc, SP_E_CANCELLED), "not because its time was up");
    sp_apply_ops.close(&apply, value);
    close(apply.cancel_fd);
}

static const struct {
    const char *type, *settings, *message;
} bad[] = {
    {"docker", "{}", "sandbox.provider_type: there is no provider \"docker\"; there are "},
    {"fake", "{\"colour\":1}", "sandbox.fake: colour: "},
    {"fake", "{", "sandbox.fake: "},
    {"fake", "[]", "sandbox.fake: "},
};

SP_TABLE_TEST(apply, bad_settings_are_named, bad, row)
{
    struct sp_error err = {0};
    enum sp_code rc = open_settings(row->type, row->settings, &err);

    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(eq(int, strncmp(err.msg, row->message, strlen(row->message)), 0), "%s", err.msg);
}

Test(apply, an_unknown_provider_is_told_with_the_known_ones)
{
    struct sp_error err = {0};

    (void)open_settings("docker", "{}", &err);

    cr_expect(strstr(err.msg, "local") && strstr(err.msg, "fake"), "%s", err.msg);
}

Test(apply, no_provider_type_means_self_managed)
{
    struct sp_error err = {0};

    (void)open_settings(NULL, "{\"colour\":1}", &err);

    cr_expect(strstr(err.msg, "sandbox.self_managed") != NULL, "%s", err.msg);
}
