#include "providers/ssh/errand.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "providers/ssh/home.h"

enum { PROBE_BYTES = 4096 };

/* What a short call at the far end needs: a home of its own with the supervisor in it. */
static enum sp_code call_once(struct sp_ssh_pool *pool, const char *work_dir, const char *verb,
                              const struct sp_ssh_wait *wait, struct sp_buf *out,
                              struct sp_error *err)
{
    sp_auto(sp_ssh_home_clear) struct sp_ssh_home home = {0};
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = NULL;
    char id[64];

    sp_random_uuid(id);
    enum sp_code rc = sp_ssh_home_init(&home, work_dir, id, err);
    if (!rc)
        rc = sp_ssh_take(pool, wait, &link, err);
    if (!rc)
        rc = sp_ssh_home_make(&home, link, NULL, wait, err);
    if (!rc)
        rc = sp_ssh_home_call(&home, link, verb, wait, out, err);
    if (rc && home.begun && sp_ssh_home_remove(&home, link, wait, NULL))
        sp_log(SP_WARN, "workspace_left", sp_s("provider", "ssh"), sp_s("folder", home.path));
    return rc;
}

static bool has_line(const char *text, const char *first, const char *second)
{
    char line[1100];

    snprintf(line, sizeof line, "%s%s\n", first, second);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at++) {
        if (at == text || at[-1] == '\n')
            return true;
    }
    return false;
}

/* The lines of the supervisor's probe that are not about interpreters. */
static enum sp_code judge_machine(const struct sp_ssh_settings *s, const char *missing,
                                  struct sp_error *err)
{
    static const char *const tools[] = {"timeout", "env", "grep", "find"};

    for (size_t i = 0; i < SP_COUNT(tools); i++) {
        if (has_line(missing, "command ", tools[i])) {
            return sp_error_set(err, SP_E_INVALID, "host %s: it has no program `%s`; install it",
                                s->host, tools[i]);
        }
    }
    if (has_line(missing, "limit", "")) {
        return sp_error_set(err, SP_E_INVALID,
                            "host %s: processes cannot be marked: it must be Linux with /proc, and "
                            "the account must have no hard limit `rss`",
                            s->host);
    }
    if (has_line(missing, "folder", "")) {
        return sp_error_set(err, SP_E_INVALID,
                            "work_dir %.100s: SFTP and the account's shell see different folders "
                            "under this name",
                            s->work_dir);
    }
    return SP_OK;
}

/* A language without an interpreter is no failure of the provider, as long as there is another. */
static enum sp_code judge_interpreters(const struct sp_ssh_settings *s, const char *missing,
                                       struct sp_error *err)
{
    bool no_python = has_line(missing, "command ", s->python_bin);
    bool no_node = has_line(missing, "command ", s->node_bin);

    if (no_python != no_node) {
        sp_log(SP_WARN, "interpreter_missing", sp_s("provider", "ssh"),
               sp_s("key", no_python ? "python_bin" : "node_bin"), sp_s("host", s->host));
    }
    if (!no_python || !no_node)
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID,
                        "python_bin, node_bin: host %s has neither; install one, or give its full "
                        "path (a bare name is looked for in /usr/local/bin:/usr/bin:/bin)",
                        s->host);
}

enum sp_code sp_ssh_probe(struct sp_ssh_pool *pool, const struct sp_ssh_settings *settings,
                          const struct sp_ssh_wait *wait, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf verb = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf missing = SP_BUF_INIT(PROBE_BYTES);
    enum sp_code rc = sp_buf_adds(&verb, "probe ");

    if (!rc)
        rc = sp_ssh_quote(&verb, settings->python_bin);
    if (!rc)
        rc = sp_buf_addc(&verb, ' ');
    if (!rc)
        rc = sp_ssh_quote(&verb, settings->node_bin);
    if (rc)
        return sp_error_set(err, rc, "out of memory");
    rc = call_once(pool, settings->work_dir, sp_buf_str(&verb), wait, &missing, err);
    if (!rc)
        rc = judge_machine(settings, sp_buf_str(&missing), err);
    return rc ? rc : judge_interpreters(settings, sp_buf_str(&missing), err);
}

enum sp_code sp_ssh_sweep(struct sp_ssh_pool *pool, const struct sp_ssh_settings *settings,
                          int minutes, const struct sp_ssh_wait *wait, struct sp_error *err)
{
    char verb[32];

    snprintf(verb, sizeof verb, "sweep %d", minutes);
    return call_once(pool, settings->work_dir, verb, wait, NULL, err);
}
