#include "tests/support/managed.h"

#include <stdio.h>
#include <string.h>

#include "providers/registry.h"
#include "tests/support.h"

static void close_provider(struct sp_managed *m)
{
    sp_provider_close(m->provider);
    m->provider = NULL;
}

void sp_managed_open(struct sp_managed *m, const char *url, const char *more)
{
    char text[512];

    close_provider(m);
    snprintf(text, sizeof text, "{\"endpoint\":\"%s\"%s%s}", url, *more ? "," : "", more);
    json_auto_t *settings = json_loads(text, 0, NULL);
    cr_assert(settings != NULL, "%s", text);
    m->host = (struct sp_host){.worker_id = "test", .limits = &m->limits};
    enum sp_code rc = sp_provider_open(sp_registry_find("self_managed"), settings, &m->host,
                                       &m->provider, &m->err);
    cr_assert(eq(int, rc, SP_OK), "%s", m->err.msg);
}

void sp_managed_start(struct sp_managed *m, const char *const *words, const char *more)
{
    sp_manager_start(&m->manager, words);
    sp_managed_open(m, m->manager.url, more);
}

void sp_managed_start_proxy(struct sp_managed *m, const char *const *words,
                            struct sp_nginx_options options)
{
    sp_manager_start(&m->manager, words);
    options.upstream = m->manager.port;
    sp_nginx_start(&m->nginx, &options);
    sp_managed_open(m, m->nginx.url, "");
}

void sp_managed_stop(struct sp_managed *m)
{
    sp_result_clear(&m->result);
    close_provider(m);
    sp_nginx_stop(&m->nginx);
    sp_manager_stop(&m->manager);
}

enum sp_code sp_managed_check(struct sp_managed *m)
{
    m->err = (struct sp_error){0};
    return sp_provider_job_check(m->provider, &m->err);
}

enum sp_code sp_managed_run(struct sp_managed *m, const struct sp_provider_job *job)
{
    sp_result_clear(&m->result);
    m->err = (struct sp_error){0};
    return sp_provider_job_run(m->provider, job, &m->result, &m->err);
}

enum sp_code sp_managed_run_one(struct sp_managed *m)
{
    return sp_managed_run(m, &(struct sp_provider_job){.code = "def main():\n    return 1"});
}

void sp_managed_expect_one(struct sp_managed *m)
{
    cr_expect(eq(int, sp_managed_run_one(m), SP_OK), "%s", m->err.msg);
    cr_assert(m->result.result_present, "%s", m->result.err.text);
    cr_expect(eq(str, m->result.result_value, (char *)"1"));
}

void sp_managed_tell(struct sp_managed *m, const char *command)
{
    json_decref(sp_manager_tell(&m->manager, command));
}

int sp_managed_asked(struct sp_managed *m)
{
    return sp_manager_requests(&m->manager, "/run");
}

int sp_managed_executed(struct sp_managed *m)
{
    return sp_manager_count(&m->manager, "executions");
}
