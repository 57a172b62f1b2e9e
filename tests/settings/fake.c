#include "tests/settings/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

atomic_int fake_opened, fake_checked, fake_closed;
void (*fake_on_close)(void);
atomic_bool fake_peer_away, fake_refuses, fake_stopping;

static enum sp_code open_fake(void *ctx, const struct sp_document *doc, void **value,
                              const char **name, struct sp_error *err)
{
    json_auto_t *settings = NULL;
    const char *key, *peer = "";
    enum sp_code rc =
        sp_document_provider(doc, doc->provider_type ? doc->provider_type : "none", &settings, err);

    (void)ctx;
    if (rc)
        return rc;
    if (json_unpack(settings, "{s:s, s?s}", "api_key", &key, "peer", &peer))
        return sp_error_set(err, SP_E_INVALID, "api_key: required");
    if (!strcmp(key, "env:SP_TEST_KEY"))
        key = getenv("SP_TEST_KEY");
    struct fake *fake = calloc(1, sizeof *fake);
    snprintf(fake->api_key, sizeof fake->api_key, "%s", key);
    snprintf(fake->peer, sizeof fake->peer, "%s", peer);
    *value = fake;
    *name = "fake";
    fake_opened++;
    return SP_OK;
}

static enum sp_code check_fake(void *ctx, void *value, struct sp_error *err)
{
    static const struct {
        const char *peer, *message;
        enum sp_code rc;
    } away[] = {
        {"down", "the peer is away", SP_E_UNAVAILABLE},
        {"denied", "the peer is away", SP_E_UNAVAILABLE},
        {"busy", "the peer throttles", SP_E_BUSY},
    };
    struct fake *fake = value;

    (void)ctx;
    fake_checked++;
    if (fake_stopping)
        return sp_error_set(err, SP_E_CANCELLED, "cancelled");
    if (fake_refuses || (!fake_peer_away && !strcmp(fake->peer, "denied")))
        return sp_error_set(err, SP_E_DENIED, "the key is refused");
    for (size_t i = 0; fake_peer_away && i < SP_COUNT(away); i++) {
        if (!strcmp(fake->peer, away[i].peer))
            return sp_error_set(err, away[i].rc, "%s", away[i].message);
    }
    return SP_OK;
}

static void close_fake(void *ctx, void *value)
{
    (void)ctx;
    free(value);
    fake_closed++;
    if (fake_on_close)
        fake_on_close();
}

const struct sp_apply_ops fake_ops = {open_fake, check_fake, close_fake};

struct want want_version(int64_t version)
{
    return (struct want){.state = SP_SETTINGS_IN_FORCE, .version = version, .message = ""};
}

struct want want_down(int64_t version, const char *message)
{
    return (struct want){.state = SP_SETTINGS_IN_FORCE,
                         .version = version,
                         .message = message,
                         .provider_down = true};
}

bool fits(const struct sp_settings_status *s, const struct want *w)
{
    return s->state == w->state && s->redis_up == !w->redis_down && s->version == w->version &&
           s->throttled == w->throttled &&
           (w->state != SP_SETTINGS_IN_FORCE || s->provider_up == !w->provider_down) &&
           (!w->message || !strcmp(s->message, w->message)) &&
           (!w->error_version || s->error_version == w->error_version) &&
           (!w->changes || s->changes == w->changes) &&
           (!w->failures || s->failures == w->failures);
}

void describe(const struct sp_settings_status *s, char *out)
{
    snprintf(
        out, 400, "state %d, redis %d, provider %d, version %lld, error %lld: \"%s\", %lld/%lld",
        (int)s->state, s->redis_up, s->provider_up, (long long)s->version,
        (long long)s->error_version, s->message, (long long)s->changes, (long long)s->failures);
}

struct sp_document fake_document(const char *json)
{
    json_auto_t *settings = json_loads(json, 0, NULL);
    json_auto_t *providers = json_pack("{s:O}", "e2b", settings);
    struct sp_position position = {5, 6};
    struct sp_change change = {.provider_type = "e2b",
                               .providers = providers,
                               .replace = true,
                               .author = "ann",
                               .position = &position};
    struct sp_document doc = {0};

    cr_assert(eq(int, sp_store_preview(&change, &doc, NULL), SP_OK));
    return doc;
}

void expect_key_of(struct sp_snapshot *snapshot, const char *key)
{
    cr_assert(ne(ptr, snapshot, NULL));
    cr_expect(eq(str, ((struct fake *)snapshot->value)->api_key, (char *)key));
    sp_snapshot_unref(snapshot);
}
