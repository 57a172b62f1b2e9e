/* `sandpiper settings test` for self_managed: the real binary, and which step it says has failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/support.h"
#include "tests/support/manager.h"
#include "tests/support/nginx.h"
#include "tests/support/port.h"
#include "tests/support/stage.h"

static struct sp_stage *s;
static struct sp_manager manager;
static struct sp_nginx nginx;

static void open_stage(void)
{
    s = sp_stage_new(2);
}

static void close_stage(void)
{
    sp_stage_free(s);
    sp_nginx_stop(&nginx);
    sp_manager_stop(&manager);
}

TestSuite(self_managed_probe, .init = open_stage, .fini = close_stage);

static char shown[8192];

/* Its exit code; what it shows is in `shown`. */
static int settings_test(const char *url, const char *more)
{
    char command[1024];
    snprintf(command, sizeof command,
             "SANDPIPER_CONF=/dev/null SANDPIPER_REDIS_URL=redis://%s SANDPIPER_REDIS_PREFIX=%s "
             "SANDPIPER_KAFKA_BOOTSTRAP_SERVERS=%s SANDPIPER_QUEUE_CONTROL_TOPIC=%s "
             "'%s' settings test self_managed endpoint=%s %s 2>&1",
             s->redis, s->prefix, s->kafka, s->control, SP_BINARY, url, more);
    FILE *f = popen(command, "r");
    cr_assert(f != NULL);
    shown[fread(shown, 1, sizeof shown - 1, f)] = '\0';
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whether it failed at this step, for this reason. */
static bool failed_at(const char *step, const char *reason)
{
    char line[64];
    snprintf(line, sizeof line, "FAILED at %s: ", step);
    const char *verdict = strstr(shown, line);
    return verdict && strstr(verdict, reason);
}

Test(self_managed_probe, settings_test_passes_through_all_steps)
{
    sp_manager_start(&manager, NULL);

    cr_expect(eq(int, settings_test(manager.url, ""), 0), "%s", shown);

    static const char *const steps[] = {"open", "check", "create", "execute", "result"};
    for (size_t i = 0; i < SP_COUNT(steps); i++)
        cr_expect(strstr(shown, steps[i]) != NULL, "%s: %s", steps[i], shown);
    cr_expect(strstr(shown, "PASSED") && strstr(shown, "TEST_PASSED"), "%s", shown);
}

Test(self_managed_probe, settings_test_finds_a_health_that_lies)
{
    sp_manager_start(&manager,
                     (const char *const[]){"--no-containers", "--pool-wait", "0.1", NULL});

    cr_expect(eq(int, settings_test(manager.url, ""), 1), "%s", shown);

    cr_expect(failed_at("check", "cannot run"), "%s", shown);
}

Test(self_managed_probe, settings_test_names_the_step_that_fails)
{
    char url[64];
    sp_manager_start(&manager, (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_API_TOKEN=right",
                                                     "--later", NULL});
    snprintf(url, sizeof url, "http://127.0.0.1:%d", sp_free_port());

    cr_expect(eq(int, settings_test(manager.url, "api_token=wrong"), 1), "%s", shown);
    cr_expect(failed_at("check", "api_token") && !strstr(shown, "wrong"), "%s", shown);
    cr_expect(eq(int, settings_test(url, ""), 1));
    cr_expect(failed_at("check", url + 7), "%s", shown);
    cr_expect(settings_test("ftp://x", "") != 0);
    cr_expect(strstr(shown, "endpoint") != NULL, "%s", shown);
    cr_expect(eq(int, settings_test(manager.url, "api_token=right"), 0), "%s", shown);
    /* the check's own run is fine */
    json_decref(sp_manager_tell(&manager, "{\"faults\":[{\"run\":true},{\"status\":500}]}"));
    cr_expect(eq(int, settings_test(manager.url, "api_token=right"), 1));
    cr_expect(failed_at("execute", "HTTP 500"), "%s", shown);
}

Test(self_managed_probe, settings_test_names_the_host_whose_certificate_is_refused)
{
    char host[32];
    sp_manager_start(&manager, NULL);
    sp_nginx_start(&nginx, &(struct sp_nginx_options){.upstream = manager.port,
                                                      .certificate = "IP:127.0.0.1"});
    snprintf(host, sizeof host, "127.0.0.1:%d", nginx.port);

    unsetenv("SSL_CERT_FILE");
    cr_expect(eq(int, settings_test(nginx.url, ""), 1));
    cr_expect(failed_at("check", host) && failed_at("check", "certificate"), "%s", shown);
    setenv("SSL_CERT_FILE", nginx.ca, 1);
    cr_expect(eq(int, settings_test(nginx.url, ""), 0), "%s", shown);
}
