/*
 * Programs that e2b runs as processes in sandboxes of the test server, which really starts them:
 * values, ends, output, files, time (reference e2b 10, ragflow 3.4; CONTRACT.md 3). Kernel mode is
 * in test_e2b_kernel.c, the service's misbehaviour in test_e2b_client_faults.c.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/support.h"
#include "tests/support/e2b_stage.h"
#include "tests/support/until.h"

static struct e2b_stage s;

static void start(void)
{
    e2b_stage_start(&s, "");
}

static void stop(void)
{
    e2b_stage_stop(&s);
}

TestSuite(e2b, .init = start, .fini = stop);

/* value: its text, byte for byte; NULL: there is none. */
static const struct {
    const char *name, *code, *arguments, *out, *value;
    enum sp_language language;
    int exit_code;
    const char *err; /* part of stderr */
} runs[] = {
    {.name = "bare lines", .code = "print('a')\nprint('b')", .out = "a\nb\n"},
    {.name = "named arguments, and the value",
     .code = "def main(name: str, count: int) -> dict:\n    return {'text': name * count}",
     .arguments = "{\"name\":\"ab\",\"count\":2}",
     .value = "{\"text\": \"abab\"}"},
    {.name = "exact arguments",
     .code = "def main(n, f):\n    return [n, n == 1 << 70, f]",
     .arguments = "{\"n\":1180591620717411303424,\"f\":\"\\ud800\u00e9\"}",
     .value = "[1180591620717411303424, true, \"\\ud800\u00e9\"]"},
    {.name = "JavaScript",
     .code = "console.log('a'); async function main({ a }) { return a + 1; }",
     .arguments = "{\"a\":1}",
     .language = SP_JAVASCRIPT,
     .out = "a\n",
     .value = "2"},
    {.name = "the sandbox's environment, with what is ours",
     .code =
         "import os\nprint(os.environ['LANG'], os.environ['MPLBACKEND'], 'LC_ALL' in os.environ,\n"
         "      'E2B_SANDBOX_ID' in os.environ, os.environ['PATH'].count('/usr/bin:') < 2)",
     .out = "C.UTF-8 Agg False True True\n"},
    {.name = "an exit code", .code = "import sys\nsys.exit(3)", .exit_code = 3},
    {.name = "an exception", .code = "raise ValueError('no')", .exit_code = 1, .err = "ValueError"},
    {.name = "a signal", .code = "import os\nos.kill(os.getpid(), 9)", .exit_code = -9},
    {.name = "streams apart, without an end of line",
     .code = "import sys\nsys.stdout.write('out')\nsys.stderr.write('err')",
     .out = "out",
     .err = "err"},
    {.name = "an input that is empty",
     .code = "import sys\nprint(len(sys.stdin.read()))",
     .out = "0\n"},
    {.name = "a classic marker is a value",
     .code = "print('__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6NjZ9')",
     .value = "66"},
    {.name = "what it leaves running does not hold the result back",
     .code = "import subprocess\nsubprocess.Popen(['sleep', '100'])\nprint('done')",
     .out = "done\n"},
    {.name = "a syntax error in JavaScript",
     .code = "let let = 1",
     .language = SP_JAVASCRIPT,
     .exit_code = 1,
     .err = "SyntaxError"},
};

SP_TABLE_TEST(e2b, a_program_runs_as_everywhere, runs, row)
{
    enum sp_code rc = e2b_stage_run(&s, &(struct sp_provider_job){.code = row->code,
                                                                  .arguments = row->arguments,
                                                                  .language = row->language});

    cr_assert(eq(int, rc, SP_OK), "%s: %s", row->name, s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_EXITED), "%s", row->name);
    cr_expect(eq(int, s.result.exit_code, row->exit_code), "%s: %s", row->name,
              sp_provider_job_err(&s.result));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)(row->out ? row->out : "")),
              "%s", row->name);
    cr_expect(strstr(sp_provider_job_err(&s.result), row->err ? row->err : "") != NULL, "%s: %s",
              row->name, sp_provider_job_err(&s.result));
    cr_expect(eq(int, s.result.result_present, row->value != NULL), "%s", row->name);
    if (row->value)
        cr_expect(eq(str, s.result.result_value, (char *)row->value), "%s", row->name);
    cr_expect(s.result.warning == NULL, "%s: %s", row->name, s.result.warning);
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_YES));
    cr_expect(lt(i64, 0, s.result.execution_us));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

/* ---- output ---- */

Test(e2b, much_output_keeps_its_first_and_its_last_half)
{
    s.limits.output_bytes = 1 << 16;

    cr_assert(eq(int,
                 e2b_stage_run_python(&s, "print('first')\nprint('x' * 5000000)\nprint('last')"),
                 SP_OK));

    cr_expect(s.result.out.truncated);
    cr_expect(eq(i64, s.result.out.bytes, 5000012));
    cr_expect(lt(sz, s.result.out.len, (size_t)(1 << 16) + 100));
    cr_expect(strncmp(sp_provider_job_out(&s.result), "first\n", 6) == 0);
    cr_expect(strcmp(sp_provider_job_out(&s.result) + s.result.out.len - 5, "last\n") == 0);
}

Test(e2b, output_is_bytes_however_they_are_cut)
{
    cr_assert(eq(int,
                 e2b_stage_run_python(&s, "import os\nfor b in '\U0001F600\\0z'.encode():\n"
                                          "    os.write(1, bytes([b]))\nos.write(2, b'\\xff')"),
                 SP_OK));

    cr_expect(eq(sz, s.result.out.len, 6));
    cr_expect(memcmp(sp_provider_job_out(&s.result), "\U0001F600\0z", 6) == 0);
    cr_expect(not(s.result.out.invalid_utf8));
    cr_expect(eq(str, (char *)sp_provider_job_err(&s.result), (char *)"\uFFFD"));
    cr_expect(s.result.err.invalid_utf8);
}

Test(e2b, code_may_be_longer_than_an_argument_of_a_process)
{
    enum { LONG = 300000 };
    char *code = malloc(LONG + 64);

    memset(code, '#', LONG);
    strcpy(code + LONG, "\nprint('through')");
    cr_assert(eq(int, e2b_stage_run_python(&s, code), SP_OK), "%s", s.err.msg);
    free(code);

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"through\n"));
}

/* ---- files ---- */

Test(e2b, files_lie_beside_the_program_whatever_their_names)
{
    static const char *const names[] = {"a b.txt", "100%.txt", "a+b&c=d.txt", "sub/\u00e9.txt",
                                        "q\"u\\",  "empty",    "x;y#z?.txt"};
    struct sp_file files[SP_COUNT(names)];
    static const char code[] =
        "import os\n"
        "for folder, _, names in sorted(os.walk('.')):\n"
        "    for name in sorted(names):\n"
        "        path = os.path.join(folder, name)[2:]\n"
        "        if path != 'main.py': print(path, open(path).read() == path * (path != 'empty'))";

    for (size_t i = 0; i < SP_COUNT(names); i++) {
        char *name = (char *)(uintptr_t)names[i];
        files[i] = (struct sp_file){name, name, strcmp(name, "empty") ? strlen(name) : 0};
    }
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = code, .files = files, .n_files = SP_COUNT(files)});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result),
                 (char *)"100%.txt True\na b.txt True\na+b&c=d.txt True\nempty True\n"
                         "q\"u\\ True\nx;y#z?.txt True\nsub/\u00e9.txt True\n"),
              "%s", sp_provider_job_err(&s.result));
}

Test(e2b, artifacts_are_taken_by_the_rules)
{
    static const char code[] =
        "import os\n"
        "def put(name, text):\n"
        "    os.makedirs(os.path.dirname('artifacts/' + name), exist_ok=True)\n"
        "    open('artifacts/' + name, 'w').write(text)\n"
        "put('b.csv', '1,2')\nput('a/deep/c.json', '{}')\nput('empty.html', '')\n"
        "put('run.exe', 'x')\nput('big.csv', 'x' * 2000)\nput('\u00e9 %2F.csv', 'y')\n"
        "os.symlink('/etc/hostname', 'artifacts/link.csv')\n"
        "os.symlink('a', 'artifacts/folder')\nos.symlink('nowhere', 'artifacts/broken.csv')\n"
        "os.mkfifo('artifacts/pipe.csv')\nraise SystemExit(2)";
    static const char *const taken[] = {"a/deep/c.json", "b.csv", "empty.html", "\u00e9 %2F.csv"};
    static const char *const refused[] = {"big.csv",  "broken.csv", "folder",
                                          "link.csv", "pipe.csv",   "run.exe"};

    s.limits.artifact_bytes = 1000;
    cr_assert(eq(int, e2b_stage_run_python(&s, code), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, s.result.exit_code, 2), "%s", sp_provider_job_err(&s.result));
    cr_assert(eq(sz, s.result.n_artifacts, SP_COUNT(taken)));
    for (size_t i = 0; i < SP_COUNT(taken); i++)
        cr_expect(eq(str, s.result.artifacts[i].name, (char *)taken[i]));
    cr_expect(eq(str, s.result.artifacts[1].data, (char *)"1,2"));
    cr_assert(eq(sz, s.result.n_refused, SP_COUNT(refused)));
    for (size_t i = 0; i < SP_COUNT(refused); i++) {
        bool named = false;
        for (size_t n = 0; n < SP_COUNT(refused); n++)
            named |= strcmp(s.result.refused[n].name, refused[i]) == 0;
        cr_expect(named, "%s", refused[i]);
    }
}

Test(e2b, a_folder_of_artifacts_that_became_a_link_is_refused)
{
    cr_assert(eq(int,
                 e2b_stage_run_python(&s, "import os\nos.rmdir('artifacts')\nos.mkdir('other')\n"
                                          "open('other/x.csv', 'w').close()\n"
                                          "os.symlink('other', 'artifacts')"),
                 SP_OK));

    cr_expect(zero(sz, s.result.n_artifacts));
    cr_assert(eq(sz, s.result.n_refused, 1), "%s", sp_provider_job_err(&s.result));
    cr_expect(eq(str, s.result.refused[0].name, (char *)"artifacts"));
    cr_expect(strstr(s.result.refused[0].reason, "symlink") != NULL);
}

/* ---- time ---- */

Test(e2b, a_program_that_runs_too_long_is_ended_and_its_output_kept)
{
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "import time\nprint('before')\ntime.sleep(60)",
                                      .timeout_ms = 4000});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(int, s.result.exit_code, -1));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"before\n"));
    cr_expect(lt(i64, 4000, s.took_ms));
    cr_expect(lt(i64, s.took_ms, 40000));
    cr_expect(zero(int, e2b_stage_alive(&s)));
}

Test(e2b, a_deadline_ends_the_run)
{
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "import time\nprint('x')\ntime.sleep(60)",
                                      .deadline = sp_deadline_in(8000)});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(lt(i64, s.took_ms, 19000)); /* its own time would be 20 s */
}

static void *cancel_later(void *arg)
{
    cr_assert(SP_UNTIL(60000, e2b_stage_count(&s, "processes_started") > 0));
    cr_assert(eq(sz, (size_t)write(*(int *)arg, &(uint64_t){1}, 8), 8));
    return NULL;
}

Test(e2b, a_cancelled_run_ends_at_once)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    pthread_t thread;

    cr_assert(zero(int, pthread_create(&thread, NULL, cancel_later, &fd)));
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "import time\ntime.sleep(60)", .cancel_fd = fd});
    pthread_join(thread, NULL);
    close(fd);

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_CANCELLED));
    cr_expect(lt(i64, s.took_ms, 19000)); /* its own time would be 20 s */
    cr_expect(zero(int, e2b_stage_alive(&s)));
}

Test(e2b, nothing_is_begun_when_it_is_cancelled_before)
{
    int fd = eventfd(1, EFD_CLOEXEC);

    enum sp_code rc = e2b_stage_run(&s, &(struct sp_provider_job){.code = "", .cancel_fd = fd});

    cr_expect(eq(int, rc, SP_E_CANCELLED));
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_NO));
    cr_expect(zero(int, e2b_stage_count(&s, "created")));
    close(fd);
}

/* ---- the supervisor ---- */

Test(e2b, a_program_that_kills_its_supervisor_has_ended_by_a_signal)
{
    static const char code[] = "import os\nwith open(f'/proc/{os.getppid()}/stat') as f:\n"
                               "    parent = int(f.read().rsplit(')')[-1].split()[1])\n"
                               "os.kill(parent, 9)\nos.kill(os.getpid(), 9)";

    cr_assert(eq(int, e2b_stage_run_python(&s, code), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, s.result.exit_code, -9), "%s", sp_provider_job_err(&s.result));
    cr_assert(s.result.warning != NULL);
    cr_expect(strstr(s.result.warning, "supervisor was killed") != NULL);
}

/* A limit that the program set itself, or the template. */
Test(e2b, a_resource_limit_that_ended_the_program_is_named)
{
    static const char code[] = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 2))\n"
                               "while True:\n    pass";

    cr_assert(eq(int, e2b_stage_run_python(&s, code), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_LIMIT));
    cr_expect(eq(str, (char *)(s.result.limit ? s.result.limit : ""), (char *)"cpu time"));
    cr_expect(eq(int, s.result.signal, SIGXCPU));
}

Test(e2b, a_result_that_was_spoilt_is_a_warning)
{
    cr_assert(eq(int, e2b_stage_run_python(&s, "import os\nos.write(3, b'no json')"), SP_OK), "%s",
              s.err.msg);

    cr_expect(zero(int, s.result.exit_code));
    cr_assert(s.result.warning != NULL);
    cr_expect(strstr(s.result.warning, "result channel") != NULL);
}
