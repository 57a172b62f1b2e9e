/* When runs of `ssh` end: by themselves, at a deadline, by a cancellation, with a connection, with
 * a worker. Nothing of them stays at the far end. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "providers/ssh/errand.h"
#include "tests/providers/far_stage.h"

/* A second is promised; a busy machine adds to it. */
enum { SOON_MS = 5000 };

static struct far far;

static void enter(void)
{
    far_start(&far, NULL);
}

static void leave(void)
{
    cr_expect(far_is_clean(&far), "homes: %d, processes: %d", far_homes(&far), far_processes(&far));
    far_close(&far);
}

TestSuite(ssh_end, .init = enter, .fini = leave);

/* Forks, daemonises, clears its environment, ignores what can be ignored, and floods its output. */
static const char wild[] =
    "import os, signal, sys, time\n"
    "home = os.getcwd()\n"
    "for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):\n"
    "    signal.signal(s, signal.SIG_IGN)\n"
    "print('begun')\n"
    "for n in range(3):\n"
    "    if os.fork() == 0:\n"
    "        os.setsid()\n"
    "        if os.fork() == 0:\n"
    "            os.chdir('/')\n"
    "            os.execve('/bin/sh', ['sh', '-c', 'trap \"\" TERM HUP INT; while :; do sleep "
    "60;'\n"
    "                      ' done', home], {})\n"
    "        os._exit(0)\n"
    "while True:\n"
    "    os.write(1, b'flood ' * 1000)\n";

/* A thread that acts once the program of a run is there. */
struct actor {
    void (*act)(struct actor *a);
    pthread_t thread;
    int cancel[2];
    int64_t acted_ms;
    bool seen;
};

static void *wait_and_act(void *arg)
{
    struct actor *a = arg;

    a->seen = SP_UNTIL(20000, far_processes(&far) > 4);
    a->acted_ms = sp_mono_ms();
    a->act(a);
    return NULL;
}

static void begin(struct actor *a, void (*act)(struct actor *))
{
    *a = (struct actor){.act = act};
    cr_assert(zero(int, pipe(a->cancel)));
    cr_assert(zero(int, pthread_create(&a->thread, NULL, wait_and_act, a)));
}

static void join(struct actor *a)
{
    pthread_join(a->thread, NULL);
    cr_expect(a->seen, "the program never began");
    close(a->cancel[0]);
    close(a->cancel[1]);
}

/* RAGFlow's test_propagates_timeouts. */
Test(ssh_end, ragflow_a_time_out_is_told_and_keeps_what_was_printed)
{
    const struct sp_provider_job job = {
        .code = "import time\ndef main():\n  print('begun')\n  time.sleep(60)", .timeout_ms = 3000};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_open_on(&far, "");
    int64_t began = sp_mono_ms();
    far_run(&far, &job, &r);

    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(int, r.exit_code, -1));
    cr_expect(eq(str, r.out.text, "begun\n"));
    cr_expect(eq(i64, r.timeout_ms, 3000));
    cr_expect(lt(i64, sp_mono_ms() - began, 30000));
}

Test(ssh_end, the_settings_bound_the_time_too)
{
    const struct sp_provider_job job = {.code = "import time\ntime.sleep(60)"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_open_on(&far, "\"timeout\":1");
    far_run(&far, &job, &r);

    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_TIMEOUT));
}

Test(ssh_end, a_program_that_minds_nothing_is_gone_a_second_after_its_deadline)
{
    const struct sp_provider_job job = {.code = wild, .timeout_ms = 4000};
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_instance *instance = NULL;
    struct sp_error err = {0};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_open_on(&far, "");
    cr_assert(eq(int, sp_provider_create(far.provider, &req, &run, &instance, &err), SP_OK));
    cr_assert(eq(int, sp_provider_execute(instance, &req, &run, &r, &err), SP_OK), "%s", err.msg);
    int left = far_processes(&far);

    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(lt(i64, r.execution_us / 1000, 4000 + SOON_MS), "%lld us", (long long)r.execution_us);
    cr_expect(zero(int, strncmp(r.out.text, "begun\n", 6)));
    cr_expect(r.out.truncated && strstr(r.out.text, "bytes left out]") != NULL);
    cr_expect(lt(int, left, 3), "only the supervisor waits: %d", left);
    cr_expect(r.warning == NULL, "%s", r.warning);
    sp_provider_destroy(instance, &run);
}

Test(ssh_end, a_requests_deadline_counts_too)
{
    const struct sp_provider_job job = {.code = "import time\nprint('begun')\ntime.sleep(60)",
                                        .deadline = sp_deadline_in(6000)};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_open_on(&far, "");
    far_run(&far, &job, &r);

    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(str, r.out.text, "begun\n"));
}

static void cancel(struct actor *a)
{
    cr_assert(eq(sz, (size_t)write(a->cancel[1], "x", 1), 1));
}

Test(ssh_end, a_cancelled_run_is_gone_within_a_second)
{
    struct actor a;
    struct sp_error err = {0};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_open_on(&far, "");
    begin(&a, cancel);
    const struct sp_provider_job job = {.code = wild, .cancel_fd = a.cancel[0]};
    enum sp_code rc = sp_provider_job_run(far.provider, &job, &r, &err);
    join(&a);

    cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_CANCELLED));
    cr_expect(lt(i64, sp_mono_ms() - a.acted_ms, SOON_MS));
    cr_expect(zero(int, strncmp(r.out.text, "begun\n", 6)));
}

Test(ssh_end, a_cancelled_creation_ends_at_once)
{
    struct actor a = {0};
    struct sp_error err = {0};
    struct sp_result r = {0};

    cr_assert(zero(int, pipe(a.cancel)));
    cr_assert(sp_tcp_proxy_start(&far.proxy, 0));
    far_open_on(&far, "");
    cancel(&a);
    const struct sp_provider_job job = {.code = wild, .cancel_fd = a.cancel[0]};

    cr_expect(eq(int, sp_provider_job_run(far.provider, &job, &r, &err), SP_E_CANCELLED));
    cr_expect(eq(int, (int)r.started, SP_STARTED_NO));
}

static void cut(struct actor *a)
{
    (void)a;
    sp_tcp_proxy_cut(&far.proxy);
}

Test(ssh_end, a_connection_that_is_cut_takes_the_run_with_it)
{
    struct actor a;
    const struct sp_provider_job job = {.code = wild};
    const struct sp_provider_job small = {.code = "print(1)"};
    struct sp_error err = {0};
    sp_auto(sp_result_clear) struct sp_result r = {0}, again = {0};

    cr_assert(sp_tcp_proxy_start(&far.proxy, far.server.port));
    far_open_on(&far, "");
    begin(&a, cut);
    enum sp_code rc = sp_provider_job_run(far.provider, &job, &r, &err);
    join(&a);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(eq(int, (int)r.started, SP_STARTED_YES));
    cr_expect(strstr(err.msg, "127.0.0.1") != NULL, "%s", err.msg);
    far_run(&far, &small, &again);
    cr_expect(eq(str, again.out.text, "1\n"));
}

/* A job that surely did not start is tried again on a new connection. */
Test(ssh_end, a_connection_that_died_while_idle_is_not_noticed)
{
    const struct sp_provider_job job = {.code = "print(1)"};

    cr_assert(sp_tcp_proxy_start(&far.proxy, far.server.port));
    far_open_on(&far, "");
    for (int i = 0; i < 3; i++) {
        sp_auto(sp_result_clear) struct sp_result r = {0};

        far_run(&far, &job, &r);
        cr_expect(eq(str, r.out.text, "1\n"));
        sp_tcp_proxy_cut(&far.proxy);
    }
    cr_expect(eq(int, sp_tcp_proxy_connections(&far.proxy), 3));
}

/* Cut anywhere, a job gives its result or says truly whether it may have run. */
Test(ssh_end, a_connection_may_break_at_any_byte)
{
    const struct sp_provider_job job = {.code = "print(1)", .arguments = "{}"};
    int well = 0, rounds = 0;

    cr_assert(sp_tcp_proxy_start(&far.proxy, far.server.port));
    far_open_on(&far, "");
    for (int64_t at = 400; at < 40000; at += 1900, rounds++) {
        sp_auto(sp_result_clear) struct sp_result r = {0};
        struct sp_error err = {0};

        sp_tcp_proxy_cut(&far.proxy);
        sp_tcp_proxy_cut_after(&far.proxy, at, 0);
        enum sp_code rc = sp_provider_job_run(far.provider, &job, &r, &err);
        sp_tcp_proxy_cut_after(&far.proxy, 0, 0);

        well += rc == SP_OK;
        if (rc == SP_OK)
            cr_expect(eq(str, r.out.text, "1\n"), "%lld", (long long)at);
        else
            cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%lld: %s", (long long)at, err.msg);
        /* That nothing is started twice: with one cut, only what began is told as lost. */
        if (rc != SP_OK && at < 15000)
            cr_expect(eq(int, (int)r.started, SP_STARTED_NO), "%lld: %s", (long long)at, err.msg);
    }
    cr_expect(lt(int, rounds / 2, well), "%d of %d", well, rounds);
}

static void kill_server(struct actor *a)
{
    (void)a;
    sp_ssh_server_kill(&far.server);
}

/* sshd dies with all that it has started, supervisors too, so that a home stays: for a sweep. */
Test(ssh_end, a_sweep_takes_what_a_dead_server_left)
{
    struct actor a;
    const struct sp_provider_job job = {.code = wild};
    struct sp_error err = {0};
    sp_auto(sp_result_clear) struct sp_result r = {0}, again = {0};
    const struct sp_provider_job small = {.code = "print(1)"};
    char fingerprint[64];

    far_open_on(&far, "");
    begin(&a, kill_server);
    enum sp_code rc = sp_provider_job_run(far.provider, &job, &r, &err);
    join(&a);
    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", err.msg);
    cr_expect(eq(int, (int)r.started, SP_STARTED_YES));
    cr_expect(eq(int, far_homes(&far), 1));

    cr_assert(sp_ssh_server_start(&far.server, NULL));
    far_run(&far, &small, &again);
    cr_expect(eq(str, again.out.text, "1\n"));
    sp_provider_sweep(far.provider);
    cr_expect(eq(int, far_homes(&far), 1), "too young");

    cr_assert(sp_ssh_server_fingerprint(&far.server, "ed25519", fingerprint));
    json_auto_t *settings = far_settings(&far, "");
    const struct sp_ssh_options options = {
        .host = "127.0.0.1",
        .port = far.server.port,
        .username = json_string_value(json_object_get(settings, "username")),
        .password = json_string_value(json_object_get(settings, "password")),
        .private_key = json_string_value(json_object_get(settings, "private_key")),
        .host_key_fingerprint = fingerprint,
        .max_sessions = 4};
    const struct sp_ssh_settings which = {.work_dir = far.work_dir};
    const struct sp_ssh_wait wait = {sp_deadline_in(20000), -1};
    sp_auto(sp_ssh_pool_free) struct sp_ssh_pool *pool = NULL;
    cr_assert(eq(int, sp_ssh_pool_new(&options, &pool, &err), SP_OK));
    cr_expect(eq(int, sp_ssh_sweep(pool, &which, -1, &wait, &err), SP_OK), "%s", err.msg);
    cr_expect(zero(int, far_homes(&far)));
}

/* As a worker of its own. */
static void work(const struct sp_provider_job *job)
{
    struct sp_error err = {0};
    struct sp_result r = {0};

    if (far_try_open(&far, "", &err) == SP_OK)
        (void)sp_provider_job_run(far.provider, job, &r, &err);
    _exit(1);
}

Test(ssh_end, a_worker_that_is_killed_leaves_nothing)
{
    const struct sp_provider_job job = {.code = wild};
    pid_t worker = fork();

    if (worker == 0)
        work(&job);
    cr_assert(SP_UNTIL(20000, far_processes(&far) > 4));
    cr_assert(zero(int, kill(worker, SIGKILL)));
    cr_assert(eq(int, waitpid(worker, NULL, 0), worker));

    cr_expect(SP_UNTIL(20000, far_processes(&far) == 0));
}

Test(ssh_end, what_a_program_left_running_does_not_hold_its_reply_back)
{
    const struct sp_provider_job job = {
        .code = "import os, subprocess\n"
                "subprocess.Popen(['sh', '-c', 'sleep 60', os.getcwd()], start_new_session=True)\n"
                "def main(): print('done'); return 1\n"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_open_on(&far, "");
    far_run(&far, &job, &r);

    cr_expect(eq(int, r.exit_code, 0));
    cr_expect(eq(str, r.out.text, "done\n"));
    cr_expect(lt(i64, r.execution_us / 1000, 20000));
}

/* Hostile: the account is the boundary, and still nothing stays. */
Test(ssh_end, a_program_that_kills_its_supervisor_is_told_and_cleaned_up)
{
    const struct sp_provider_job job = {
        .code = "import os, signal, subprocess\n"
                "subprocess.Popen(['sh', '-c', 'sleep 60', os.getcwd()], start_new_session=True)\n"
                "with open('/proc/%d/stat' % os.getppid()) as f: "
                "supervisor = int(f.read().split()[3])\n"
                "os.kill(supervisor, signal.SIGKILL)\n"
                "import time; time.sleep(60)\n",
        .timeout_ms = 5000};
    struct sp_error err = {0};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_open_on(&far, "");
    enum sp_code rc = sp_provider_job_run(far.provider, &job, &r, &err);

    cr_expect(eq(int, rc, SP_E_INVALID), "%s", err.msg);
    cr_expect(strstr(err.msg, "was killed") != NULL, "%s", err.msg);
    cr_expect(eq(int, (int)r.started, SP_STARTED_YES));
}

/* What is left of the run can then be told by its mark alone. */
Test(ssh_end, a_program_that_kills_its_supervisor_and_removes_its_home_is_gone_too)
{
    const struct sp_provider_job job = {
        .code = "import os, shutil, signal, subprocess, time\n"
                "subprocess.Popen(['sh', '-c', 'sleep 60', os.getcwd()], "
                "start_new_session=True, cwd='/')\n"
                "with open('/proc/%d/stat' % os.getppid()) as f: "
                "supervisor = int(f.read().split()[3])\n"
                "os.killpg(os.getpgid(supervisor), signal.SIGKILL)\n"
                "home = os.path.dirname(os.getcwd())\n"
                "os.chdir('/')\n"
                "shutil.rmtree(home)\n"
                "print('begun')\n"
                "time.sleep(60)\n",
        .timeout_ms = 4000};
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_error err = {0};

    far_open_on(&far, "");
    (void)sp_provider_job_run(far.provider, &job, &r, &err);
    cr_expect(eq(int, (int)r.started, SP_STARTED_YES));
    cr_expect(lt(i64, r.execution_us / 1000, 4000 + SOON_MS), "%lld us", (long long)r.execution_us);
}

/* Its own connection among them. Only where the account is not that of the test. */
Test(ssh_end, a_program_that_kills_all_that_it_may_is_gone_too)
{
    const struct sp_provider_job job = {.code = "import os, signal, time\n"
                                                "os.kill(-1, signal.SIGKILL)\n"
                                                "time.sleep(60)\n"};
    const struct sp_provider_job small = {.code = "print(1)"};
    sp_auto(sp_result_clear) struct sp_result r = {0}, again = {0};
    struct sp_error err = {0};

    if (geteuid() != 0)
        return;
    far_open_on(&far, "");
    cr_expect(eq(int, sp_provider_job_run(far.provider, &job, &r, &err), SP_E_UNAVAILABLE), "%s",
              err.msg);
    cr_expect(eq(int, (int)r.started, SP_STARTED_YES));
    cr_expect(far_is_clean(&far), "homes: %d, processes: %d", far_homes(&far), far_processes(&far));
    far_run(&far, &small, &again);
    cr_expect(eq(str, again.out.text, "1\n"));
}

/* To open a FIFO would hold the machine's sftp-server, and with it every other job, for ever. How
 * the program ended is still known. */
Test(ssh_end, a_result_that_became_something_else_is_not_opened)
{
    static const struct {
        const char *code;
        int rc;
    } rows[] = {
        {"import os\nos.remove('../result')\nos.mkfifo('../result')\n", SP_OK},
        {"import os\nos.remove('../result')\nos.symlink('/dev/zero', '../result')\n", SP_OK},
        {"import os, signal\nos.remove('../result')\nos.mkfifo('../result')\n"
         "with open('/proc/%d/stat' % os.getppid()) as f: supervisor = int(f.read().split()[3])\n"
         "os.killpg(os.getpgid(supervisor), signal.SIGKILL)\n",
         SP_E_INVALID},
    };

    far_open_on(&far, "");
    for (size_t i = 0; i < SP_COUNT(rows); i++) {
        const struct sp_provider_job job = {.code = rows[i].code};
        sp_auto(sp_result_clear) struct sp_result r = {0};
        struct sp_error err = {0};
        int64_t began = sp_mono_ms();

        cr_expect(eq(int, sp_provider_job_run(far.provider, &job, &r, &err), rows[i].rc), "%s",
                  err.msg);
        cr_expect(eq(int, (int)r.started, SP_STARTED_YES));
        cr_expect(lt(i64, sp_mono_ms() - began, 9000), "%zu", i); /* a teardown has 10 s */
    }
}

enum { JOBS = 500, IN_FLIGHT = 16 };
static atomic_int begun, well;

static void *work_off(void *arg)
{
    const struct sp_provider_job job = {.code = "def main(a): return a",
                                        .arguments = "{\"a\":[1,2]}"};

    (void)arg;
    while (atomic_fetch_add(&begun, 1) < JOBS) {
        sp_auto(sp_result_clear) struct sp_result r = {0};
        struct sp_error err = {0};

        if (sp_provider_job_run(far.provider, &job, &r, &err) == SP_OK && r.exit_code == 0 &&
            r.result_present && !strcmp(r.result_value, "[1, 2]"))
            atomic_fetch_add(&well, 1);
        else
            cr_log_warn("%s %s", err.msg, r.err.text);
    }
    return NULL;
}

Test(ssh_end, many_jobs_share_few_connections_and_leave_nothing)
{
    pthread_t threads[IN_FLIGHT];

    far_open_on(&far, "");
    for (int i = 0; i < IN_FLIGHT; i++)
        cr_assert(zero(int, pthread_create(&threads[i], NULL, work_off, NULL)));
    for (int i = 0; i < IN_FLIGHT; i++)
        pthread_join(threads[i], NULL);

    cr_expect(eq(int, atomic_load(&well), JOBS));
    cr_expect(lt(int, sp_ssh_server_connections(&far.server), 5));
    cr_expect(zero(int, far_homes(&far)));
}
