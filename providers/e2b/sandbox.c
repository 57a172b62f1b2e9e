#include "providers/e2b/sandbox.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { VERSION_SHOWN = 20 };

bool sp_e2b_is_id(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t n = strspn(text, allowed);

    if (n == 0 || strlen(text) >= sizeof(((struct sp_e2b_sandbox *)NULL)->id))
        return false;
    if (text[n] == '-' && text[n + 1])
        n += 1 + strspn(text + n + 1, allowed);
    return text[n] == '\0';
}

bool sp_e2b_is_host(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len >= sizeof(((struct sp_e2b_sandbox *)NULL)->domain) || strstr(text, "..") ||
        strchr(".-", text[0]) || strchr(".-", text[len - 1]))
        return false;
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr(".-", *text))
            return false;
    }
    return true;
}

/* Numbers with points between; what is none counts as the newest. */
static bool is_older(const char *version, long major, long minor)
{
    char *dot = NULL, *end = NULL;
    long first = strtol(version, &dot, 10);

    if (dot == version || *dot != '.')
        return false;
    long second = strtol(dot + 1, &end, 10);
    return end > dot + 1 && (first < major || (first == major && second < minor));
}

void sp_e2b_sandbox_clear(struct sp_e2b_sandbox *sandbox)
{
    sp_free_secret(sandbox->access_token);
    sp_free_secret(sandbox->traffic_token);
    *sandbox = (struct sp_e2b_sandbox){.id = ""};
}

static enum sp_code make_header(const char *name, const char *token, char **out,
                                struct sp_error *err)
{
    if (!token || !*token)
        return SP_OK;
    if (!sp_utf8_valid(token, strlen(token)) || sp_utf8_has_control(token, strlen(token)))
        return sp_error_set(err, SP_E_INVALID, "create: a token is not one line of text");
    char *line = NULL;
    if (asprintf(&line, "%s: %s", name, token) < 0)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    *out = line;
    return SP_OK;
}

/* Borrowed from the parsed answer. */
struct answer {
    const char *id, *domain, *version, *access, *traffic;
};

static enum sp_code check_answer(const struct answer *a, bool secure, struct sp_error *err)
{
    if (!sp_e2b_is_host(a->domain))
        return sp_error_set(err, SP_E_INVALID, "create: the sandbox's domain is no host name");
    if (is_older(a->version, 0, 1)) {
        return sp_error_set(
            err, SP_E_INVALID, "create: the template is too old (envd %.*s); build it anew",
            (int)sp_utf8_floor(a->version, strnlen(a->version, VERSION_SHOWN)), a->version);
    }
    if (secure && !(a->access && *a->access)) {
        return sp_error_set(err, SP_E_INVALID,
                            "create: the service gave no access token; a service without tokens "
                            "needs secure=false");
    }
    return SP_OK;
}

enum sp_code sp_e2b_sandbox_read(const char *json, size_t len, const char *domain, bool secure,
                                 struct sp_e2b_sandbox *out, struct sp_error *err)
{
    json_auto_t *root = json_loadb(json, len, 0, NULL);
    struct answer a = {.id = "", .domain = domain, .version = ""};
    json_t *given = json_object_get(root, "domain");

    if (!root || json_unpack(root, "{s:s, s?s}", "sandboxID", &a.id, "envdVersion", &a.version) ||
        !sp_e2b_is_id(a.id))
        return sp_error_set(err, SP_E_INVALID, "create: the answer names no sandbox");
    snprintf(out->id, sizeof(out->id), "%s", a.id);
    if (json_string_length(given) > 0)
        a.domain = json_string_value(given);
    a.access = json_string_value(json_object_get(root, "envdAccessToken"));
    a.traffic = json_string_value(json_object_get(root, "trafficAccessToken"));
    enum sp_code rc = check_answer(&a, secure, err);
    if (!rc)
        rc = make_header("X-Access-Token", a.access, &out->access_token, err);
    if (!rc)
        rc = make_header("E2B-Traffic-Access-Token", a.traffic, &out->traffic_token, err);
    if (rc)
        return rc;
    snprintf(out->domain, sizeof(out->domain), "%s", a.domain);
    out->old = is_older(a.version, 0, 4);
    return SP_OK;
}

void sp_e2b_port_close(struct sp_e2b_port *port)
{
    free(port->base);
    *port = (struct sp_e2b_port){.base = NULL};
}

static void add_header(struct sp_e2b_port *port, const char *line)
{
    if (line)
        port->headers[port->n_headers++] = line;
}

enum sp_code sp_e2b_port_open(const struct sp_e2b_sandbox *sandbox, const char *sandbox_url,
                              int port, struct sp_e2b_port *out, struct sp_error *err)
{
    size_t len = strlen(sandbox_url);

    while (len > 0 && sandbox_url[len - 1] == '/')
        len--;
    *out = (struct sp_e2b_port){.base = NULL};
    int n = len > 0 ? asprintf(&out->base, "%.*s", (int)len, sandbox_url)
                    : asprintf(&out->base, "https://%d-%s.%s", port, sandbox->id, sandbox->domain);
    if (n < 0) {
        out->base = NULL;
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    snprintf(out->id_line, sizeof(out->id_line), "E2b-Sandbox-Id: %s", sandbox->id);
    snprintf(out->port_line, sizeof(out->port_line), "E2b-Sandbox-Port: %d", port);
    add_header(out, "Accept: application/json");
    add_header(out, out->id_line);
    add_header(out, out->port_line);
    add_header(out, sandbox->access_token);
    add_header(out, port == SP_E2B_ENVD ? NULL : sandbox->traffic_token);
    return SP_OK;
}
