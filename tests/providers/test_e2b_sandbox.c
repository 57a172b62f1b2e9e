/* What a service says of a sandbox it made, and where calls to it go (reference e2b 2.2, 3). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "providers/e2b/instance.h"
#include "providers/registry.h"
#include "tests/support.h"

static struct sp_e2b_sandbox sandbox;

static void leave(void)
{
    sp_e2b_sandbox_clear(&sandbox);
}

TestSuite(e2b_sandbox, .fini = leave);

static enum sp_code read_sandbox(const char *json, bool secure, struct sp_error *err)
{
    return sp_e2b_sandbox_read(json, strlen(json), "e2b.app", secure, &sandbox, err);
}

static const struct {
    const char *text;
    bool id, host;
} names[] = {
    {"i0a1b2c3d4e5f6g7h8i9j", true, true},
    {"abc-6532622b", true, true},
    {"", false, false},
    {"-", false, false},
    {"abc-", false, false},
    {"a-b-c", false, true},
    {"Abc", false, true},
    {"../x", false, false},
    {"a/b", false, false},
    {"a?b", false, false},
    {"a.b", false, true},
    {"e2b.app", false, true},
    {"e2b.app:443", false, false},
    {"user@e2b.app", false, false},
    {".app", false, false},
    {"e2b.", false, false},
    {"e2b..app", false, false},
    {"e2b.app/x", false, false},
    {"iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii", false, true},
};

SP_TABLE_TEST(e2b_sandbox, only_plain_names_come_into_an_address, names, row)
{
    cr_expect(eq(int, sp_e2b_is_id(row->text), row->id), "%s", row->text);
    cr_expect(eq(int, sp_e2b_is_host(row->text), row->host), "%s", row->text);
}

static const struct {
    const char *json;
    bool secure;
    enum sp_code rc;
    const char *id, *domain, *message;
} answers[] = {
    {"{\"sandboxID\":\"i1\",\"envdVersion\":\"0.6.13\",\"envdAccessToken\":\"t\"}", true, SP_OK,
     "i1", "e2b.app", ""},
    {"{\"sandboxID\":\"i1\",\"domain\":null,\"envdAccessToken\":null,\"trafficAccessToken\":null}",
     false, SP_OK, "i1", "e2b.app", ""},
    {"{\"sandboxID\":\"i1\",\"domain\":\"other.example\"}", false, SP_OK, "i1", "other.example",
     ""},
    {"{\"sandboxID\":\"i1\",\"domain\":\"evil.example/\"}", false, SP_E_INVALID, "i1", "",
     "no host name"},
    {"{\"sandboxID\":\"i1\"}", true, SP_E_INVALID, "i1", "", "secure=false"},
    {"{\"sandboxID\":\"i1\",\"envdVersion\":\"0.0.12\"}", false, SP_E_INVALID, "i1", "",
     "too old (envd 0.0.12)"},
    {"{\"sandboxID\":\"i1\",\"envdVersion\":\"0.10.0\"}", false, SP_OK, "i1", "e2b.app", ""},
    {"{\"sandboxID\":\"i1\",\"envdAccessToken\":\"a\\nb\"}", false, SP_E_INVALID, "i1", "",
     "not one line"},
    {"{\"sandboxID\":\"a/../b\"}", false, SP_E_INVALID, "", "", "names no sandbox"},
    {"{\"sandboxID\":7}", false, SP_E_INVALID, "", "", "names no sandbox"},
    {"{}", false, SP_E_INVALID, "", "", "names no sandbox"},
    {"<html>", false, SP_E_INVALID, "", "", "names no sandbox"},
};

SP_TABLE_TEST(e2b_sandbox, an_answer_is_checked_before_it_is_used, answers, row)
{
    struct sp_error err = {0};

    enum sp_code rc = read_sandbox(row->json, row->secure, &err);

    cr_expect(eq(int, rc, row->rc), "%s: %s", row->json, err.msg);
    cr_expect(eq(str, sandbox.id, (char *)row->id), "%s", row->json);
    cr_expect(eq(str, sandbox.domain, (char *)row->domain), "%s", row->json);
    cr_expect(strstr(err.msg, row->message) != NULL, "%s", err.msg);
}

static void describe(const struct sp_e2b_port *port, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", port->base);

    for (size_t i = 0; port->headers[i]; i++)
        n += (size_t)snprintf(out + n, size - n, "|%s", port->headers[i]);
}

static const struct {
    const char *url;
    int port;
    const char *want;
} ports[] = {
    {"", SP_E2B_ENVD,
     "https://49983-i1.e2b.app|Accept: application/json|E2b-Sandbox-Id: i1|E2b-Sandbox-Port: 49983"
     "|X-Access-Token: t"},
    {"", SP_E2B_INTERPRETER,
     "https://49999-i1.e2b.app|Accept: application/json|E2b-Sandbox-Id: i1|E2b-Sandbox-Port: 49999"
     "|X-Access-Token: t|E2B-Traffic-Access-Token: u"},
    {"http://127.0.0.1:3002//", SP_E2B_ENVD,
     "http://127.0.0.1:3002|Accept: application/json|E2b-Sandbox-Id: i1|E2b-Sandbox-Port: 49983"
     "|X-Access-Token: t"},
};

SP_TABLE_TEST(e2b_sandbox, each_port_has_its_address_and_headers, ports, row)
{
    struct sp_e2b_port port = {.base = NULL};
    struct sp_error err = {0};
    char text[512];

    cr_assert(eq(int,
                 read_sandbox("{\"sandboxID\":\"i1\",\"envdVersion\":\"0.6.13\","
                              "\"envdAccessToken\":\"t\",\"trafficAccessToken\":\"u\"}",
                              true, &err),
                 SP_OK));
    cr_assert(eq(int, sp_e2b_port_open(&sandbox, row->url, row->port, &port, &err), SP_OK));
    describe(&port, text, sizeof text);
    sp_e2b_port_close(&port);

    cr_expect(eq(str, text, (char *)row->want));
}

Test(e2b_sandbox, an_old_daemon_has_no_default_user)
{
    struct sp_error err = {0};

    cr_assert(eq(int, read_sandbox("{\"sandboxID\":\"i1\",\"envdVersion\":\"0.3.9\"}", false, &err),
                 SP_OK));
    cr_expect(sandbox.old);
    sp_e2b_sandbox_clear(&sandbox);
    cr_assert(eq(int, read_sandbox("{\"sandboxID\":\"i1\",\"envdVersion\":\"0.4.0\"}", false, &err),
                 SP_OK));
    cr_expect(not(sandbox.old));
}

/* ---- settings ---- */

static const struct {
    const char *settings, *variable, *value; /* of the environment; NULL: none */
    const char *want; /* how the control plane is named, or part of the error */
    enum sp_code rc;
} opened[] = {
    {"\"domain\":\"\"", NULL, NULL, "https://api.e2b.app ", SP_OK},
    {"\"domain\":\"\"", "E2B_DOMAIN", "other.example", "https://api.e2b.app ", SP_OK},
    {"\"region\":\"\"", "E2B_DOMAIN", "other.example", "https://api.other.example ", SP_OK},
    {"\"domain\":\"mine.example\"", "E2B_DOMAIN", "other.example", "https://api.mine.example ",
     SP_OK},
    {"\"domain\":\"cn-wlcb.sandbox.ucloudai.com\"", NULL, NULL,
     "https://api.cn-wlcb.sandbox.ucloudai.com ", SP_OK},
    {"\"api_url\":\"http://10.0.0.1:3000/api/\"", "E2B_API_URL", "https://other.example",
     "http://10.0.0.1:3000/api ", SP_OK},
    {"\"region\":\"\"", "E2B_API_URL", "https://other.example:8443/x",
     "https://other.example:8443/x ", SP_OK},
    {"\"region\":\"\"", "E2B_DOMAIN", "evil/x", "domain: must be a plain host name", SP_E_INVALID},
    {"\"region\":\"\"", "E2B_API_URL", "ftp://x", "api_url: must be", SP_E_INVALID},
    {"\"region\":\"\"", "E2B_SANDBOX_URL", "x", "sandbox_url: must be", SP_E_INVALID},
    {"\"api_url\":\"https://me:secret@x\"", NULL, NULL, "api_url: must be", SP_E_INVALID},
    {"\"api_url\":\"https://x/?a=\"", NULL, NULL, "api_url: must be", SP_E_INVALID},
    {"\"api_url\":\"https://\"", NULL, NULL, "api_url: must be", SP_E_INVALID},
    {"\"api_key\":\"sk_e2b_0\"", NULL, NULL, "access token of a user", SP_E_INVALID},
    {"\"api_key\":\"a\\nb\"", NULL, NULL, "api_key: must be one line", SP_E_INVALID},
};

SP_TABLE_TEST(e2b_sandbox, the_service_is_where_the_settings_say, opened, row)
{
    static const struct sp_limits limits = {.timeout_ms = 1000};
    const struct sp_host host = {.worker_id = "test", .limits = &limits};
    sp_auto(sp_provider_close) struct sp_provider *provider = NULL;
    struct sp_error err = {0};
    char text[256];

    if (row->variable)
        cr_assert(zero(int, setenv(row->variable, row->value, 1)));
    snprintf(text, sizeof text, "{\"api_key\":\"k\",%s}", row->settings);
    json_auto_t *settings = json_loads(text, 0, NULL);
    enum sp_code rc = sp_provider_open(sp_registry_find("e2b"), settings, &host, &provider, &err);

    cr_expect(eq(int, rc, row->rc), "%s: %s", text, err.msg);
    const char *got = rc ? err.msg : sp_e2b_control_name(((struct sp_e2b *)provider)->control);
    cr_expect(strstr(got, row->want) != NULL, "%s: %s", text, got);
    cr_expect(strstr(got, "secret") == NULL, "%s", got);
}
