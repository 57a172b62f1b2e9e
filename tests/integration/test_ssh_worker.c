/*
 * ssh behind a worker: what a client reads in the reply, and that no job is lost, run twice or left
 * at the far end while the server is away, is killed, or another provider takes over.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support.h"
#include "tests/support/ssh_server.h"
#include "tests/support/stage.h"

#define LIMIT_MS 120000

static struct sp_stage *s;
static struct sp_ssh_server server;
static char key[128], work_dir[128];

static void open_stage(void)
{
    s = sp_stage_new(2);
    cr_assert(sp_ssh_server_start(&server, NULL));
    cr_assert(sp_ssh_server_make_key(&server, "ed25519", "RFC4716", "", key));
    snprintf(work_dir, sizeof work_dir, "%s/work", server.dir);
}

static void close_stage(void)
{
    sp_stage_free(s);
    sp_ssh_server_stop(&server);
}

TestSuite(ssh_worker, .init = open_stage, .fini = close_stage);

/* more: further members as JSON text. */
static int64_t activate(const char *more)
{
    char settings[640];
    snprintf(settings, sizeof settings,
             "{\"host\":\"127.0.0.1\",\"port\":%d,\"username\":\"%s\",\"private_key\":\"%s\","
             "\"known_hosts\":\"%s\",\"work_dir\":\"%s\"%s%s}",
             server.port, server.user, key, server.known_hosts, work_dir, *more ? "," : "", more);
    return sp_stage_settings(s, "ssh", settings);
}

/* Folders of runs that are still there. */
static int homes(void)
{
    int n = 0;
    DIR *dir = opendir(work_dir);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static bool nothing_is_left(void *arg)
{
    (void)arg;
    return homes() == 0;
}

static const struct sp_stage_case replies[] = {
    {"value",
     "python",
     "def main(n):\n    print('out')\n    return {'n': n, 'x': 1.50}",
     "\"arguments\":{\"n\":1180591620717411303424}",
     {{"status", "\"ok\""},
      {"stdout", "\"out\\n\""},
      {"stderr", "\"\""},
      {"provider", "\"ssh\""},
      {"error", "null"},
      {"metadata.result_present", "true"},
      {"metadata.result_type", "\"json\""},
      {"metadata.language", "\"python\""},
      {"metadata.artifacts", "[]"},
      {"metadata.stdout_truncated", "false"}},
     "\"result_value\":{\"n\": 1180591620717411303424, \"x\": 1.5}"},
    {"script",
     "node",
     "import os from 'node:os';\nconsole.log(typeof os.cpus);",
     "\"timeout\":60",
     {{"status", "\"ok\""},
      {"stdout", "\"function\\n\""},
      {"attempt", "1"},
      {"metadata.result_present", "false"},
      {"metadata.language", "\"nodejs\""},
      {"metadata.timeout", "30"},
      {"metadata.timeout_requested", "60"}},
     NULL},
    {"files",
     "python",
     "from pathlib import Path\n"
     "Path('artifacts/sub').mkdir()\n"
     "Path('artifacts/sub/a.csv').write_text(Path('in/data.txt').read_text())\n"
     "Path('artifacts/b.exe').write_text('no')",
     "\"files\":[{\"name\":\"in/data.txt\",\"content_b64\":\"MSwy\"}]",
     {{"status", "\"ok\""},
      {"metadata.artifacts", "[{\"name\":\"sub/a.csv\",\"content_b64\":\"MSwy\",\"mime_type\":"
                             "\"text/csv\",\"size\":3}]"}},
     "Unsupported artifact type"},
    {"exit",
     "python",
     "import sys\nprint('before')\nsys.exit(3)",
     "",
     {{"status", "\"failed\""}, {"exit_code", "3"}, {"error", "null"}, {"stdout", "\"before\\n\""}},
     NULL},
    {"signal",
     "python",
     "import os\nos.kill(os.getpid(), 11)",
     "",
     {{"status", "\"failed\""}, {"exit_code", "-11"}, {"metadata.signal", "11"}},
     NULL},
    {"loop",
     "python",
     "print('partial', flush=True)\nwhile True:\n    pass",
     "\"timeout\":5",
     {{"status", "\"timeout\""},
      {"exit_code", "-1"},
      {"stdout", "\"partial\\n\""},
      {"error.code", "\"SB005\""},
      {"error.kind", "\"timeout\""}},
     "Execution timed out after 5 seconds"},
};

Test(ssh_worker, a_reply_says_what_came_of_its_request)
{
    activate("");
    sp_stage_worker(s, NULL);
    for (size_t i = 0; i < SP_COUNT(replies); i++)
        sp_stage_submit(s, replies[i].id, replies[i].language, replies[i].code, replies[i].members);

    for (size_t i = 0; i < SP_COUNT(replies); i++)
        sp_stage_expect(s, &replies[i], LIMIT_MS);

    sp_stage_until(nothing_is_left, NULL, LIMIT_MS, "no folder is left at the far end");
}

static const struct {
    const char *name, *more, *code, *text;
} refusals[] = {
    {"the host key",
     "\"host_key_fingerprint\":\"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "SB002",
     "host_key_fingerprint"},
    {"the credentials", "\"username\":\"nobody-here\"", "SB002", "nobody-here@127.0.0.1"},
    {"no interpreter", "\"python_bin\":\"python9\",\"node_bin\":\"node9\"", "SB002", "python_bin"},
};

SP_TABLE_TEST(ssh_worker, settings_that_are_refused_are_the_reason_in_the_reply, refusals, row)
{
    activate(row->more);
    sp_stage_worker_start(s, NULL);
    sp_stage_submit(s, "first", "python", "print(1)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "first", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "error"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), (char *)row->code), "%s: %s",
              row->name, a->value);
    cr_expect(strstr(a->value, row->text) != NULL, "%s: %s", row->name, a->value);
}

Test(ssh_worker, a_job_waits_for_a_server_that_is_away)
{
    activate("");
    sp_stage_worker(s, NULL);
    sp_stage_submit(s, "first", "python", "print(1)", "");
    sp_stage_reply(s, "first", LIMIT_MS);
    sp_ssh_server_kill(&server);
    sp_stage_submit(s, "held", "python", "print(2)", "");
    sp_stage_submit(s, "stale", "python", "print(3)", "\"queue_ttl\":\"1s\"");
    sp_stage_until_metric(s, 0, "sandpiper_jobs_held", 1, LIMIT_MS);
    struct sp_stage_answer *stale = sp_stage_reply(s, "stale", LIMIT_MS);
    cr_assert(sp_ssh_server_start(&server, NULL));

    struct sp_stage_answer *a = sp_stage_reply(s, "held", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(stale, "error.code"), "SB010"), "%s",
              stale->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), "2\n"), "%s", a->value);
    cr_expect(sp_stage_answer_is(a, "attempt", "1"), "%s", a->value);
}

static bool is_running(void *arg)
{
    (void)arg;
    char path[192];
    snprintf(path, sizeof path, "%s/started", server.dir);
    return access(path, F_OK) == 0;
}

Test(ssh_worker, a_run_whose_server_is_killed_is_answered_and_not_repeated)
{
    char code[320];
    activate("");
    sp_stage_worker(s, NULL);
    snprintf(code, sizeof code, "import time\nopen('%s/started', 'a').write('x')\ntime.sleep(60)",
             server.dir);
    sp_stage_submit(s, "run", "python", code, "");
    sp_stage_until(is_running, NULL, LIMIT_MS, "the program runs");
    sp_ssh_server_kill(&server);
    cr_assert(sp_ssh_server_start(&server, NULL));

    struct sp_stage_answer *a = sp_stage_reply(s, "run", LIMIT_MS);
    sp_stage_submit(s, "next", "python", "print('up')", "");
    struct sp_stage_answer *next = sp_stage_reply(s, "next", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB003"), "%s", a->value);
    cr_expect(sp_stage_answer_is(a, "error.retryable", "false"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(next, "stdout"), "up\n"), "%s", next->value);
    cr_expect(eq(sz, sp_stage_count(s, "run"), 1));
}

enum { JOBS = 500 };

/* Some end by themselves, some leave a daemon behind, some print much. */
static const char *const kinds[] = {
    "def main(i): return i",
    "import os, time\ndef main(i):\n    if os.fork() == 0:\n        os.setsid()\n"
    "        time.sleep(100)\n    return i",
    "def main(i):\n    print('x' * 100000)\n    return i",
    "def main(i):\n    raise ValueError(i)",
};

Test(ssh_worker, five_hundred_jobs_share_few_connections_and_leave_nothing)
{
    char id[16], members[64];
    int ok = 0;
    activate("");
    sp_stage_worker(s, (const char *const[]){"worker.concurrency=16", NULL});

    for (int i = 0; i < JOBS; i++) {
        snprintf(id, sizeof id, "j%d", i);
        snprintf(members, sizeof members, "\"arguments\":{\"i\":%d}", i);
        sp_stage_submit(s, id, "python", kinds[(size_t)i % SP_COUNT(kinds)], members);
    }

    for (int i = 0; i < JOBS; i++) {
        snprintf(id, sizeof id, "j%d", i);
        const struct sp_stage_answer *a = sp_stage_reply(s, id, 5 * LIMIT_MS);
        const char *status = sp_stage_answer_text(a, "status");
        bool fails = (size_t)i % SP_COUNT(kinds) == 3;
        cr_expect(strcmp(status, fails ? "failed" : "ok") == 0, "%s", a->value);
        cr_expect(sp_stage_answer_is(a, "attempt", "1"));
        ok += strcmp(status, "ok") == 0;
        snprintf(members, sizeof members, "%d", i);
        cr_expect(fails || sp_stage_answer_is(a, "metadata.result_value", members), "%s", a->value);
    }
    cr_expect(eq(int, ok, JOBS / 4 * 3));
    cr_expect(le(int, sp_ssh_server_connections(&server), 4));
    sp_stage_until(nothing_is_left, NULL, LIMIT_MS, "no folder is left at the far end");
}

Test(ssh_worker, a_switch_to_ssh_and_back_fails_no_job)
{
    char id[16];
    int by_ssh = 0;
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);

    for (int i = 0; i < 60; i++) {
        snprintf(id, sizeof id, "j%d", i);
        sp_stage_submit(s, id, "python", "def main(): return 'value'", "");
        if (i % 20 != 19)
            continue;
        if (i == 39)
            sp_stage_reply(s, id, LIMIT_MS); /* by ssh */
        int64_t version = i == 19 ? activate("") : sp_stage_local(s, "");
        sp_stage_until_metric(s, 0, "sandpiper_settings_version", (double)version, LIMIT_MS);
    }

    for (int i = 0; i < 60; i++) {
        snprintf(id, sizeof id, "j%d", i);
        const struct sp_stage_answer *a = sp_stage_reply(s, id, LIMIT_MS);
        cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
        by_ssh += strcmp(sp_stage_answer_text(a, "provider"), "ssh") == 0;
    }
    cr_expect(lt(int, 0, by_ssh));
}
