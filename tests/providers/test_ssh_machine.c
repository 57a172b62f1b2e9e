/* Machines and settings of `ssh` as they are: what check and runs say of what is missing or wrong.
 */
#include <pthread.h>

#include "tests/providers/far_stage.h"

static struct far far;

static void enter(void)
{
    far_start(&far, NULL);
}

static void leave(void)
{
    far_close(&far);
}

TestSuite(ssh_machine, .init = enter, .fini = leave);

static void expect_check(enum sp_code want, const char *part, const char *other_part)
{
    struct sp_error err = {0};

    cr_expect(eq(int, sp_provider_job_check(far.provider, &err), want), "%s", err.msg);
    cr_expect(strstr(err.msg, part) != NULL && strstr(err.msg, other_part) != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, SP_SSH_PASSWORD) == NULL);
}

static void expect_run(const char *want)
{
    const struct sp_provider_job job = {.code = "print('ran')"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(str, r.out.text, (char *)want));
}

Test(ssh_machine, a_good_one_passes_the_check_and_is_left_as_it_was)
{
    struct sp_error err = {0};

    far_open_on(&far, "");

    cr_expect(eq(int, sp_provider_job_check(far.provider, &err), SP_OK), "%s", err.msg);
    cr_expect(far_is_clean(&far));
    sp_provider_sweep(far.provider);
    cr_expect(far_is_clean(&far));
}

Test(ssh_machine, a_wrong_password_is_a_refusal_with_user_host_and_port)
{
    char port[16];

    if (geteuid() != 0) /* no account with a password then */
        return;
    far_open_on(&far, "\"password\":\"wrong\"");
    snprintf(port, sizeof port, ":%d", far.server.port);

    expect_check(SP_E_DENIED, SP_SSH_ACCOUNT "@127.0.0.1", port);
}

Test(ssh_machine, another_host_key_is_a_refusal)
{
    far_open_on(&far,
                "\"host_key_fingerprint\":\"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"");

    expect_check(SP_E_DENIED, "127.0.0.1", "host");
}

Test(ssh_machine, one_that_is_away_is_unavailable)
{
    far_open_on(&far, "");
    sp_ssh_server_kill(&far.server);

    expect_check(SP_E_UNAVAILABLE, "127.0.0.1", "refused");
}

Test(ssh_machine, no_interpreter_at_all_names_both_settings)
{
    far_open_on(&far, "\"python_bin\":\"no-python\",\"node_bin\":\"/no/node\"");

    expect_check(SP_E_INVALID, "python_bin", "node_bin");
}

Test(ssh_machine, a_missing_interpreter_is_named_when_it_is_needed)
{
    const struct sp_provider_job python = {.code = "print(1)"};
    const struct sp_provider_job javascript = {.code = "console.log(1)", .language = SP_JAVASCRIPT};
    sp_auto(sp_result_clear) struct sp_result r = {0}, good = {0};
    struct sp_error err = {0};

    far_open_on(&far, "\"python_bin\":\"no-python\"");
    cr_expect(eq(int, sp_provider_job_check(far.provider, &err), SP_OK), "%s", err.msg);

    cr_expect(eq(int, sp_provider_job_run(far.provider, &python, &r, &err), SP_E_INVALID));
    cr_expect(strncmp(err.msg, "python_bin: ", 12) == 0, "%s", err.msg);
    cr_expect(eq(int, (int)r.started, SP_STARTED_NO));
    far_run(&far, &javascript, &good);
    cr_expect(eq(str, good.out.text, "1\n"));
    cr_expect(far_is_clean(&far));
}

Test(ssh_machine, a_key_that_cannot_be_read_does_not_open)
{
    struct sp_error err = {0};

    cr_expect(eq(int, far_try_open(&far, "\"private_key\":\"/no/such/key\"", &err), SP_E_INVALID));
    cr_expect(strstr(err.msg, "private_key") != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "No such file") != NULL, "%s", err.msg);
}

Test(ssh_machine, a_work_dir_that_cannot_be_written_is_named)
{
    if (geteuid() != 0) /* its own folders can be written by a user */
        return;
    far_open_on(&far, "\"work_dir\":\"/usr\"");

    expect_check(SP_E_INVALID, "work_dir /usr", "127.0.0.1");
}

/* Each is made below work_dir, and quoted wherever a shell sees it. */
static const struct {
    const char *name; /* as JSON text */
} folders[] = {
    {"new"},
    {"new/and/deeper/"},
    {"with blanks"},
    {"it's"},
    {"$(touch made-by-shell)"},
    {"`touch made-by-shell`; touch made-by-shell & #"},
    {"-rf"},
    {"two\\nlines"},
    {"\\\"quoted\\\" \\\\ back"},
    {"ünïcode"},
};

SP_TABLE_TEST(ssh_machine, a_work_dir_of_any_name_is_made_and_used, folders, row)
{
    char settings[256];
    struct sp_error err = {0};

    snprintf(settings, sizeof settings, "\"work_dir\":\"%s/%s\"", far.work_dir, row->name);
    far_open_on(&far, settings);

    cr_expect(eq(int, sp_provider_job_check(far.provider, &err), SP_OK), "%s", err.msg);
    expect_run("ran\n");
    sp_provider_sweep(far.provider);
    cr_expect(eq(int, far_homes(&far), 1), "more than work_dir in %s", far.work_dir);
}

Test(ssh_machine, a_relative_work_dir_is_below_the_accounts_home)
{
    far_open_on(&far, "\"work_dir\":\"runs/here\"");

    expect_run("ran\n");
}

static void *run_one(void *arg)
{
    (void)arg;
    expect_run("ran\n");
    return NULL;
}

/* One session for files, one for a run: then each run at once has a connection of its own. */
Test(ssh_machine, two_sessions_are_enough)
{
    pthread_t threads[3];

    far_open_on(&far, "\"max_sessions\":2");
    for (size_t i = 0; i < SP_COUNT(threads); i++)
        cr_assert(zero(int, pthread_create(&threads[i], NULL, run_one, NULL)));
    for (size_t i = 0; i < SP_COUNT(threads); i++)
        pthread_join(threads[i], NULL);

    cr_expect(lt(int, sp_ssh_server_connections(&far.server), 4));
}

static const struct {
    const char *config, *part;
} refusing[] = {
    {"ForceCommand /bin/false", "127.0.0.1"},
    {"MaxSessions 1", "MaxSessions"},
};

SP_TABLE_TEST(ssh_machine, a_server_that_lacks_something_is_told, refusing, row)
{
    struct sp_error err = {0};

    far_close(&far);
    far_start(&far, row->config);
    far_open_on(&far, "");

    cr_expect(sp_provider_job_check(far.provider, &err) != SP_OK);
    cr_expect(strstr(err.msg, row->part) != NULL, "%s", err.msg);
}
