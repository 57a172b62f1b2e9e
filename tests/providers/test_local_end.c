/* How runs end: deadlines, cancellation, survivors, and the death of whoever watches. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "tests/providers/local_stage.h"

static struct stage stage;

static void open_stage(void)
{
    stage_open(&stage, "");
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(local_end, .init = open_stage, .fini = close_stage);

/* The pids that a program printed, one a line, after the word "pid". */
static size_t pids_in(const char *text, int *pids, size_t max)
{
    size_t n = 0;

    for (const char *at = text; n < max && (at = strstr(at, "pid ")); at++)
        n += sscanf(at, "pid %d", &pids[n]) == 1;
    return n;
}

static void expect_gone(const char *text, size_t expected)
{
    int pids[16];
    size_t n = pids_in(text, pids, SP_COUNT(pids));

    cr_expect(eq(sz, n, expected), "%s", text);
    for (size_t i = 0; i < n; i++)
        cr_expect(SP_UNTIL(10000, stage_gone(pids[i])), "%d is still there", pids[i]);
}

static const struct {
    enum sp_language language;
    const char *code, *out;
} endless[] = {
    {SP_PYTHON, "print('begun')\nwhile True: pass", "begun\n"},
    {SP_PYTHON, "print('begun')\ndef main():\n    while True: pass", "begun\n"},
    {SP_PYTHON, "import time\nprint('begun')\ntime.sleep(60)", "begun\n"},
    {SP_PYTHON,
     "import signal, time\nfor s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)\n"
     "print('begun')\ntime.sleep(60)",
     "begun\n"},
    {SP_PYTHON, "import os\nprint('begun')\nos.kill(0, 19)", "begun\n"},
    {SP_PYTHON,
     "import threading, time\nprint('begun')\n"
     "threading.Thread(target=time.sleep, args=(60,)).start()",
     "begun\n"},
    {SP_PYTHON, "print('begun')\nimport itertools\nsum(itertools.count())", "begun\n"},
    {SP_PYTHON, "import os, time\nprint('begun')\nos.close(1)\nos.close(2)\ntime.sleep(60)",
     "begun\n"},
    {SP_JAVASCRIPT, "console.log('begun'); for (;;);", "begun\n"},
    {SP_JAVASCRIPT, "console.log('begun'); setInterval(() => {}, 1000);", "begun\n"},
    {SP_JAVASCRIPT,
     "console.log('begun'); process.on('SIGTERM', () => {});\n"
     "async function main() { await new Promise(() => setInterval(() => {}, 9)); }",
     "begun\n"},
};

SP_TABLE_TEST(local_end, the_deadline_ends_it_and_output_is_kept, endless, row)
{
    struct sp_result r = {0};
    int64_t began;

    began = sp_mono_ms();
    stage_run(
        &stage,
        &(struct sp_provider_job){.code = row->code, .language = row->language, .timeout_ms = 3000},
        &r);

    cr_expect(eq(int, r.outcome, SP_OUTCOME_TIMEOUT), "%s", row->code);
    cr_expect(eq(int, r.exit_code, -1));
    cr_expect(eq(int, r.signal, 0));
    cr_expect(eq(str, r.out.text, (char *)(uintptr_t)row->out), "%s", row->code);
    cr_expect(lt(i64, sp_mono_ms() - began, 20000), "%s", row->code);
    cr_expect(le(i64, 3000000, r.execution_us));
    cr_expect(eq(str, r.warning ? r.warning : "", ""), "%s", row->code);
    sp_result_clear(&r);
}

Test(local_end, the_providers_own_timeout_caps_the_requests)
{
    struct sp_result r = {0};

    stage_close(&stage);
    stage_open(&stage, "\"timeout\":1");
    stage_run(&stage, &(struct sp_provider_job){.code = "while True: pass", .timeout_ms = 50000},
              &r);

    cr_expect(eq(int, r.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(i64, r.timeout_ms, 1000));
    sp_result_clear(&r);
}

Test(local_end, the_requests_deadline_caps_the_run)
{
    struct sp_result r = {0};

    stage_run(
        &stage,
        &(struct sp_provider_job){.code = "while True: pass", .deadline = sp_deadline_in(3000)},
        &r);

    cr_expect(eq(int, r.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(lt(i64, r.execution_us, 15000000));
    sp_result_clear(&r);
}

/* Starts a daemon: double fork and a session of its own. %s: what it does with its streams. */
#define DAEMON                                                                                     \
    "import os, sys, time\n"                                                                       \
    "def daemon(close):\n"                                                                         \
    "    r, w = os.pipe()\n"                                                                       \
    "    if os.fork() == 0:\n"                                                                     \
    "        os.setsid()\n"                                                                        \
    "        if os.fork() == 0:\n"                                                                 \
    "            os.write(1, ('pid ' + str(os.getpid()) + '\\n').encode())\n"                      \
    "            os.write(w, b'x')\n"                                                              \
    "            if close:\n"                                                                      \
    "                for fd in range(5):\n"                                                        \
    "                    try: os.close(fd)\n"                                                      \
    "                    except OSError: pass\n"                                                   \
    "            while True: time.sleep(60)\n"                                                     \
    "        os._exit(0)\n"                                                                        \
    "    os.wait()\n"                                                                              \
    "    os.read(r, 1)\n"

static const char *const survivors[] = {
    DAEMON "daemon(True)\n",
    DAEMON "daemon(False)\n",
    DAEMON "daemon(False)\nos._exit(0)\n",
    DAEMON "import subprocess\n"
           "p = subprocess.Popen(['sleep', '60'])\nprint('pid', p.pid, flush=True)\n",
    DAEMON "import subprocess, signal\n"
           "p = subprocess.Popen(['sh', '-c', 'trap \"\" TERM HUP INT; sleep 60'],\n"
           "                     start_new_session=True)\nprint('pid', p.pid, flush=True)\n"
           "os.kill(p.pid, signal.SIGSTOP)\n",
};

SP_TABLE_TEST(local_end, what_a_program_left_running_is_killed_and_holds_nothing_up, survivors, row)
{
    struct sp_result r = {0};

    stage_run(&stage, &(struct sp_provider_job){.code = *row}, &r);

    cr_expect(eq(int, r.outcome, SP_OUTCOME_EXITED));
    cr_expect(eq(int, r.exit_code, 0), "%s", r.err.text);
    cr_expect(lt(i64, r.execution_us, 10000000));
    expect_gone(r.out.text, 1);
    sp_result_clear(&r);
}

Test(local_end, a_daemon_is_gone_after_the_deadline)
{
    struct sp_result r = {0};

    stage_run(
        &stage,
        &(struct sp_provider_job){.code = DAEMON "daemon(False)\ndaemon(True)\nwhile True: pass\n",
                                  .timeout_ms = 3000},
        &r);

    cr_expect(eq(int, r.outcome, SP_OUTCOME_TIMEOUT));
    expect_gone(r.out.text, 2);
    sp_result_clear(&r);
}

Test(local_end, a_chain_of_forks_does_not_get_away)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){.code = "import os, time\n"
                                                "print('pid', os.getpid(), flush=True)\n"
                                                "for i in range(20):\n"
                                                "    if os.fork() == 0:\n"
                                                "        while True:\n"
                                                "            if os.fork(): os._exit(0)\n"
                                                "            os.setsid()\n"
                                                "os._exit(0)\n"},
              &r);

    cr_expect(eq(int, r.outcome, SP_OUTCOME_EXITED));
    expect_gone(r.out.text, 1);
    cr_expect(eq(str, r.warning ? r.warning : "", ""));
    sp_result_clear(&r);
}

/* The keeper is the program's parent. */
static const struct {
    const char *code;
    bool error;
} attacks[] = {
    {"import os\nprint('pid', os.getpid(), flush=True)\nos.kill(os.getppid(), 19)\n"
     "while True: pass",
     false},
    {"import os\nprint('pid', os.getpid(), flush=True)\nos.kill(os.getppid(), 19)\n", false},
    {"import os, time\nprint('pid', os.getpid(), flush=True)\n"
     "if os.fork() == 0:\n"
     "    os.setsid()\n    print('pid', os.getpid(), flush=True)\n"
     "    os.kill(os.getppid(), 0)\n    time.sleep(60)\n"
     "time.sleep(0.2)\nos.kill(os.getppid(), 9)\nwhile True: pass\n",
     true},
};

SP_TABLE_TEST(local_end, a_program_that_attacks_its_keeper_is_ended_all_the_same, attacks, row)
{
    struct sp_provider_job job = {.code = row->code, .timeout_ms = 3000};
    struct sp_result r = {0};
    struct sp_error err = {0};
    int64_t began = sp_mono_ms();
    enum sp_code rc = sp_provider_job_run(stage.provider, &job, &r, &err);

    cr_expect(lt(i64, sp_mono_ms() - began, 20000));
    if (row->error) {
        cr_expect(eq(int, rc, SP_E_INTERNAL), "%s", row->code);
        cr_expect(eq(int, r.started, SP_STARTED_YES));
        expect_gone(r.out.text, 2);
    } else {
        cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
        cr_expect(eq(int, r.outcome, SP_OUTCOME_TIMEOUT));
        expect_gone(r.out.text, 1);
    }
    sp_result_clear(&r);

    stage_run(&stage, &(struct sp_provider_job){.code = "print('next')"}, &r);
    cr_expect(eq(str, r.out.text, "next\n"));
    sp_result_clear(&r);
}

/* Children of this process; only the guardian is one. */
static int guardian_pid(void)
{
    FILE *file = fopen("/proc/thread-self/children", "r");
    int pid = 0;

    cr_assert(file != NULL);
    if (fscanf(file, "%d", &pid) != 1)
        pid = 0;
    fclose(file);
    return pid;
}

Test(local_end, a_killed_guardian_is_replaced)
{
    struct sp_result r = {0};
    struct sp_error err = {0};
    int first = guardian_pid();

    for (int i = 0; i < 3; i++) {
        kill(guardian_pid(), SIGKILL);
        stage_run(&stage, &(struct sp_provider_job){.code = "print('works')"}, &r);

        cr_expect(eq(str, r.out.text, "works\n"));
        sp_result_clear(&r);
    }
    kill(guardian_pid(), SIGKILL);
    cr_expect(eq(int, sp_provider_job_check(stage.provider, &err), SP_OK), "%s", err.msg);
    cr_expect(ne(int, guardian_pid(), first));
}

Test(local_end, a_stopped_guardian_is_woken)
{
    struct sp_result r = {0};

    kill(guardian_pid(), SIGSTOP);
    stage_run(&stage, &(struct sp_provider_job){.code = "print('works')"}, &r);

    cr_expect(eq(str, r.out.text, "works\n"));
    sp_result_clear(&r);
}

Test(local_end, a_run_outlives_its_guardian)
{
    struct sp_result r = {0};
    char *whole;

    cr_assert(asprintf(&whole,
                       "import os\nos.kill(%d, 9)\n%sdaemon(False)\n"
                       "def main(): return 'still here'\n",
                       guardian_pid(), DAEMON) > 0);

    stage_run(&stage, &(struct sp_provider_job){.code = whole}, &r);

    cr_expect(eq(str, r.result_value, "\"still here\""));
    expect_gone(r.out.text, 1);
    free(whole);
    sp_result_clear(&r);
}

struct cancelling {
    struct sp_provider_job job;
    struct sp_result result;
    enum sp_code rc;
    struct sp_error err;
};

static void *run_cancelled(void *arg)
{
    struct cancelling *c = arg;

    c->rc = sp_provider_job_run(stage.provider, &c->job, &c->result, &c->err);
    return NULL;
}

Test(local_end, a_cancelled_run_is_gone_and_keeps_its_output)
{
    struct cancelling c = {.job = {.code = DAEMON "daemon(False)\nprint('begun', flush=True)\n"
                                                  "open(os.environ['HOME'] + '/../begun', 'w')\n"
                                                  "while True: pass\n"}};
    char folder[512], mark[600];
    pthread_t thread;
    int64_t asked;

    c.job.cancel_fd = eventfd(0, EFD_CLOEXEC);
    stage_folder(&stage, folder, sizeof folder);
    snprintf(mark, sizeof mark, "%s/begun", folder);
    pthread_create(&thread, NULL, run_cancelled, &c);
    cr_assert(SP_UNTIL(20000, access(mark, F_OK) == 0));

    asked = sp_mono_ms();
    eventfd_write(c.job.cancel_fd, 1);
    pthread_join(thread, NULL);

    cr_expect(lt(i64, sp_mono_ms() - asked, 10000));
    cr_expect(eq(str, c.result.warning ? c.result.warning : "", ""));
    cr_expect(eq(int, c.rc, SP_OK), "%s", c.err.msg);
    cr_expect(eq(int, c.result.outcome, SP_OUTCOME_CANCELLED));
    cr_expect(eq(int, c.result.exit_code, -1));
    cr_expect(strstr(c.result.out.text, "begun\n") != NULL);
    expect_gone(c.result.out.text, 1);
    sp_result_clear(&c.result);
    close(c.job.cancel_fd);
}

Test(local_end, what_is_cancelled_before_its_start_does_not_run)
{
    struct cancelling c = {.job = {.code = "print('ran')"}};

    c.job.cancel_fd = eventfd(1, EFD_CLOEXEC);
    run_cancelled(&c);

    if (c.rc) {
        cr_expect(eq(int, c.rc, SP_E_CANCELLED));
        cr_expect(eq(int, c.result.started, SP_STARTED_NO));
    } else { /* the start was quicker than the look at the descriptor */
        cr_expect(eq(int, c.result.outcome, SP_OUTCOME_CANCELLED));
    }
    sp_result_clear(&c.result);
    close(c.job.cancel_fd);
}

Test(local_end, what_is_late_before_its_start_does_not_run)
{
    struct sp_provider_job job = {.code = "open('/tmp/never', 'w')", .deadline = 1};
    struct sp_result r = {0};
    struct sp_error err = {0};
    enum sp_code rc = sp_provider_job_run(stage.provider, &job, &r, &err);

    cr_expect(rc == SP_E_TIMEOUT || (rc == SP_OK && r.outcome == SP_OUTCOME_TIMEOUT));
    sp_result_clear(&r);
}

Test(local_end, out_of_descriptors_is_told_as_unavailable)
{
    struct rlimit now, few;
    struct sp_result r = {0};
    struct sp_error err = {0};
    enum sp_code rc;
    int next = dup(0);

    close(next);
    getrlimit(RLIMIT_NOFILE, &now);
    few = (struct rlimit){(rlim_t)next + 4, now.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    rc = sp_provider_job_run(stage.provider, &(struct sp_provider_job){.code = "1"}, &r, &err);
    setrlimit(RLIMIT_NOFILE, &now);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", err.msg);
    cr_expect(eq(int, r.started, SP_STARTED_NO));
    sp_result_clear(&r);
}

Test(local_end, close_leaves_no_process)
{
    int guardian = guardian_pid();

    cr_assert(ne(int, guardian, 0));
    sp_provider_close(stage.provider);
    stage.provider = NULL;

    cr_expect(stage_gone(guardian));
    cr_expect(eq(int, guardian_pid(), 0));
}

/* A worker of its own: opens the provider, runs one endless program, and never comes back. */
static pid_t start_worker(const struct stage *s, const char *code)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct stage mine = *s;
        struct sp_result r = {0};
        json_t *settings = json_pack("{s:s,s:s}", "isolation", "none", "work_dir", s->work_dir);

        setpgid(0, 0);
        if (!sp_provider_open(sp_registry_find("local"), settings, &mine.host, &mine.provider,
                              NULL))
            (void)sp_provider_job_run(mine.provider,
                                      &(struct sp_provider_job){.code = code, .timeout_ms = 60000},
                                      &r, NULL);
        _exit(1);
    }
    return pid;
}

static bool read_pids(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(text, 1, size - 1, file) : 0;

    if (file)
        fclose(file);
    text[n] = 0;
    return strstr(text, "end") != NULL;
}

static const struct {
    int number;
    bool group;
} deaths[] = {
    {SIGKILL, false}, {SIGSEGV, false}, {SIGTERM, true}, {SIGINT, true}, {SIGKILL, true},
};

SP_TABLE_TEST(local_end, when_the_worker_dies_its_runs_end, deaths, row)
{
    char code[2048], path[128], text[512];
    pid_t worker;

    snprintf(path, sizeof path, "%s.pids", stage.work_dir);
    snprintf(code, sizeof code,
             DAEMON "os.dup2(os.open('%s', os.O_CREAT | os.O_WRONLY | os.O_APPEND), 1)\n"
                    "daemon(True)\n"
                    "print('pid', os.getpid(), '\\npid', os.getppid(), '\\nend', flush=True)\n"
                    "while True: time.sleep(60)\n",
             path);
    worker = start_worker(&stage, code);
    cr_assert(SP_UNTIL(20000, read_pids(path, text, sizeof text)), "%s", text);
    cr_expect(eq(int, stage_count(stage.work_dir), 2));

    kill(row->group ? -worker : worker, row->number);
    waitpid(worker, NULL, 0);

    expect_gone(text, 3);
    sp_provider_sweep(stage.provider);
    cr_expect(eq(int, stage_count(stage.work_dir), 1));
    unlink(path);
}

enum { THREADS = 8, RUNS = 25 };

static void *run_many(void *arg)
{
    int *right = arg;

    for (int i = 0; i < RUNS; i++) {
        struct sp_result r = {0};

        if (!sp_provider_job_run(stage.provider,
                                 &(struct sp_provider_job){.code = i % 5 ? "def main(n): return n"
                                                                         : DAEMON
                                                                       "daemon(False)\n"
                                                                       "def main(n): return n\n",
                                                           .arguments = "{\"n\":7}",
                                                           .timeout_ms = 60000},
                                 &r, NULL) &&
            r.result_present && !strcmp(r.result_value, "7"))
            ++*right;
        sp_result_clear(&r);
    }
    return NULL;
}

/* Processes below the guardian; a keeper that has told its end may take a moment to go. */
static int below_guardian(void)
{
    char path[64];
    FILE *file;
    int pid, n = 0, guardian = guardian_pid();

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", guardian, guardian);
    file = fopen(path, "r");
    while (file && fscanf(file, "%d", &pid) == 1)
        n++;
    if (file)
        fclose(file);
    return n;
}

Test(local_end, two_hundred_runs_from_eight_threads_leave_nothing)
{
    pthread_t threads[THREADS];
    int right[THREADS] = {0}, fds, folders;
    struct sp_result r = {0};
    char folder[512];

    stage_run(&stage, &(struct sp_provider_job){.code = "1"}, &r);
    sp_result_clear(&r);
    stage_folder(&stage, folder, sizeof folder);
    fds = stage_count("/proc/self/fd");
    folders = stage_count(folder);

    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run_many, &right[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    for (int i = 0; i < THREADS; i++)
        cr_expect(eq(int, right[i], RUNS));
    cr_expect(eq(int, stage_count("/proc/self/fd"), fds));
    cr_expect(eq(int, stage_count(folder), folders));
    cr_expect(SP_UNTIL(20000, below_guardian() == 0));
}
