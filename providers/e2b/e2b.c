/* Sandboxes of the E2B cloud or of a compatible one (reference e2b): settings only. */
#include <ctype.h>
#include <string.h>

#include "providers/registry.h"
#include "providers/settings_check.h"

struct e2b_settings {
    char *api_key, *region;
    int64_t timeout;
    char *domain, *api_url, *sandbox_url, *template, *mode;
    bool allow_internet, secure;
    int64_t pool_size;
};

static const char *const modes[] = {"process", "kernel", NULL};

static const struct sp_field fields[] = {
    SP_ROW_STR(struct e2b_settings, api_key, .flags = SP_REQUIRED | SP_SECRET | SP_NO_DEFAULT,
               .env = "E2B_API_KEY", .label = "API Key", .placeholder = "e2b_sk_...",
               .help = "API key of the team"),
    SP_ROW_STR(struct e2b_settings, region, .def_str = "us", .label = "Region",
               .help = "us or eu, for information: the service has no such switch, see domain"),
    SP_ROW_INT(struct e2b_settings, timeout, SP_RANGE(5, 300), .def_int = 30,
               .label = "Request Timeout (seconds)", .help = "longest run of a program, seconds"),
    SP_ROW_STR(struct e2b_settings, domain, .def_str = "e2b.app", .env = "E2B_DOMAIN",
               .label = "Domain", .help = "domain of the service, a host name"),
    SP_ROW_STR(struct e2b_settings, api_url, .env = "E2B_API_URL", .label = "API URL",
               .placeholder = "https://api.e2b.app",
               .help = "address of the control API; empty: https://api.<domain>"),
    SP_ROW_STR(struct e2b_settings, sandbox_url, .env = "E2B_SANDBOX_URL", .label = "Sandbox URL",
               .help = "one address for all sandboxes; empty: a host for each sandbox and port"),
    SP_ROW_STR(struct e2b_settings, template, .env = "E2B_TEMPLATE", .label = "Template",
               .placeholder = "base",
               .help = "template of the sandboxes; empty: base in process mode, "
                       "code-interpreter-v1 in kernel mode"),
    SP_ROW_STR(struct e2b_settings, mode, .def_str = "process", .options = modes, .label = "Mode",
               .help = "process: a program of its own for each run; kernel: the code interpreter"),
    SP_ROW_BOOL(struct e2b_settings, allow_internet, .def_int = 1, .label = "Allow Internet Access",
                .help = "whether programs may reach the internet"),
    SP_ROW_BOOL(struct e2b_settings, secure, .def_int = 1, .label = "Secure",
                .help = "whether a sandbox asks for its token"),
    SP_ROW_INT(struct e2b_settings, pool_size, SP_RANGE(0, 100), .def_int = 0, .label = "Pool Size",
               .help = "sandboxes kept ready; 0: each is made for its run"),
};

static bool is_host_name(const char *text)
{
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr(".-", *text))
            return false;
    }
    return true;
}

static enum sp_code validate(json_t *settings, struct sp_error *err)
{
    if (!is_host_name(sp_setting_text(settings, "domain")))
        return sp_error_set(err, SP_E_INVALID, "domain: must be a plain host name, as e2b.app");
    enum sp_code rc = sp_setting_check_url(settings, "api_url", err);
    return rc ? rc : sp_setting_check_url(settings, "sandbox_url", err);
}

const struct sp_provider_ops sp_provider_e2b = {
    .name = "e2b",
    .title = "E2B",
    .description = "Micro virtual machines of the E2B cloud or of a compatible service",
    .tags = (const char *const[]){"saas", "fast", "global", NULL},
    .languages = (const char *const[]){"python", "nodejs", "javascript", NULL},
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct e2b_settings),
    .validate = validate,
};
