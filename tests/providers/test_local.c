/* What a run gives: reference ragflow 3.3, 3.4, 3.6 and its Local groups of section 7, CONTRACT.md
 * 3.2 to 3.4, through the whole provider. */
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

TestSuite(local, .init = open_stage, .fini = close_stage);

#define PY SP_PYTHON
#define JS SP_JAVASCRIPT

/* out: exact, NULL for any. err: words in it, NULL for none at all. value: NULL for not present. */
static const struct {
    enum sp_language language;
    const char *code, *arguments;
    int exit_code;
    const char *out, *err, *value, *warning;
} runs[] = {
    /* 3.4: the integration test of PR #12820 */
    {PY, "print('Hello from Python!')\nprint('twice')\n", NULL, 0, "Hello from Python!\ntwice\n",
     NULL, NULL, NULL},
    {PY,
     "def main(name: str, count: int) -> dict:\n    return {'message': f'Hello {name}! ' * "
     "count}\n",
     "{\"name\":\"World\",\"count\":2}", 0, "", NULL,
     "{\"message\": \"Hello World! Hello World! \"}", NULL},
    {PY, "raise ValueError('Test error')", NULL, 1, "", "ValueError: Test error", NULL, NULL},
    {JS, "console.log('Hello from JavaScript!');", NULL, 0, "Hello from JavaScript!\n", NULL, NULL,
     NULL},
    {JS, "function main(args) { return `Hello ${args.name}!`; }", "{\"name\":\"World\"}", 0, "",
     NULL, "\"Hello World!\"", NULL},
    {PY,
     "import json\npeople = json.loads('[{\"name\":\"Alice\"},{\"name\":\"Bob\"}]')\n"
     "for p in people: print(p['name'])\n",
     NULL, 0, "Alice\nBob\n", NULL, NULL, NULL},
    {PY, "t = 'Hello'\nprint(t.upper())\nprint(t.lower())\nprint(t[::-1])\n", NULL, 0,
     "HELLO\nhello\nolleH\n", NULL, NULL, NULL},
    /* 3.3 */
    {PY, "def main(a, b, c): return [a, b, c]", "{\"a\":true,\"b\":false,\"c\":null}", 0, "", NULL,
     "[true, false, null]", NULL},
    {PY, "def main(**k): return k", "{\"not a name\":1,\"__proto__\":2}", 0, "", NULL,
     "{\"not a name\": 1, \"__proto__\": 2}", NULL},
    {PY, "def main(a): return a", "{\"a\":1,\"b\":2}", 1, "", "TypeError", NULL, NULL},
    {JS, "function main(a) { return a; }", "{\"a\":1,\"b\":2}", 0, "", NULL, "{\"a\":1,\"b\":2}",
     NULL},
    {JS, "module.exports.main = (a) => a.n + 1", "{\"n\":1}", 0, "", NULL, "2", NULL},
    {JS, "exports.main = async () => 'x'", NULL, 0, "", NULL, "\"x\"", NULL},
    {JS, "module.exports = () => 'y'", NULL, 0, "", NULL, "\"y\"", NULL},
    {JS, "export function main() { return 'es'; }", NULL, 0, "", NULL, "\"es\"", NULL},
    {PY, "async def main(): return 'awaited'", NULL, 0, "", NULL, "\"awaited\"", NULL},
    {JS, "async function main() { return 'awaited'; }", NULL, 0, "", NULL, "\"awaited\"", NULL},
    {PY, "def main(): pass", NULL, 0, "", NULL, "null", NULL},
    {JS, "function main() {}", NULL, 0, "", NULL, NULL, NULL},
    {PY, "def main(): return {1, 2}", NULL, 1, "", "TypeError", NULL, NULL},
    {JS, "function main() { return 10n; }", NULL, 1, "", "BigInt", NULL, NULL},
    {PY, "def main(): return float('nan')", NULL, 0, "", NULL, "null", "null"},
    {PY, "def main(): return 2**70", NULL, 0, "", NULL, "1180591620717411303424", NULL},
    {PY, "def main(): return 'x'\nif __name__ == '__main__': print(main())", NULL, 0, "", NULL,
     "\"x\"", NULL},
    {PY, "def main():\n    print('no newline', end='')\n    return 1", NULL, 0, "no newline", NULL,
     "1", NULL},
    {PY, "import sys\ndef main():\n    print('before')\n    sys.exit(7)", NULL, 7, "before\n", NULL,
     NULL, NULL},
    {JS, "function main() { console.log('before'); process.exit(7); }", NULL, 7, "before\n", NULL,
     NULL, NULL},
    {JS, "function main() { setInterval(() => {}, 1000); return 1; }", NULL, 0, "", NULL, "1",
     NULL},
    {JS, "const result = 1, payload = 2, args = 3; function main() { return args; }", NULL, 0, "",
     NULL, "3", NULL},
    {PY, "print('out')\nimport sys\nprint('err', file=sys.stderr)\ndef main(): return 1", NULL, 0,
     "out\n", "err", "1", NULL},
    /* 3.6 */
    {PY, "print('plain')", "{\"a\":1}", 0, "plain\n", NULL, NULL, "main"},
    {JS, "console.log('plain')", "{\"a\":1}", 0, "plain\n", NULL, NULL, "main"},
    {PY, "def main(x): return x", "{\"x\":\"é\\u0000\\ud83d\\ude00\"}", 0, "", NULL,
     "\"é\\u0000😀\"", NULL},
    {PY, "print('a\\n__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6WzQyXX0=\\nb')", NULL, 0,
     "a\nb\n", NULL, "[42]", NULL},
    {JS,
     "console.log('__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6WzQyXX0=');\n"
     "function main() { return 'own'; }",
     NULL, 0, "", NULL, "\"own\"", NULL},
    {PY, "print('__RAGFLOW_RESULT__:!!!')", NULL, 0, "__RAGFLOW_RESULT__:!!!\n", NULL, NULL, NULL},
    /* section 7: what the security cases may do here, where nothing is scanned */
    {PY, "import os, subprocess\nprint(subprocess.check_output(['echo', 'x']).decode(), end='')",
     NULL, 0, "x\n", NULL, NULL, NULL},
    {PY, "print(eval('1' + '+1'))\ndef eval(x): return x\nprint(eval('mine'))", NULL, 0,
     "2\nmine\n", NULL, NULL, NULL},
    {JS, "console.log(eval('1+1'), require('child_process').execSync('echo x').toString().trim())",
     NULL, 0, "2 x\n", NULL, NULL, NULL},
    /* a program's changes of what the wrapper uses */
    {JS,
     "JSON.stringify = () => '{'; JSON.parse = () => 1; globalThis.Promise = null;\n"
     "process.exit = () => {}; require('fs').writeSync = () => 0;\n"
     "function main(a) { return a; }",
     "{\"a\":1}", 0, "", NULL, "{\"a\":1}", NULL},
    {PY,
     "import json, os\njson.dumps = json.loads = os.write = os.getpid = os.fstat = None\n"
     "def main(a): return a",
     "{\"a\":1}", 0, "", NULL, "1", NULL},
    {PY, "import sys\nsys.stdout = sys.stderr = sys.stdin = None\ndef main(): return 1", NULL, 0,
     "", NULL, "1", NULL},
    /* threads, atexit, os._exit */
    {PY,
     "import atexit, sys, threading\natexit.register(lambda: print('atexit'))\n"
     "threading.Thread(target=lambda: sys.exit(9)).start()\ndef main(): return 1",
     NULL, 0, "atexit\n", NULL, "1", NULL},
    {PY,
     "import os, threading, time\n"
     "threading.Thread(target=lambda: (time.sleep(0.1), os._exit(5))).start()\n"
     "def main(): return 1",
     NULL, 5, "", NULL, "1", NULL},
    {JS,
     "async function main() { setTimeout(() => process.exit(4), 20);\n"
     "await new Promise((r) => setTimeout(r, 5000)); }",
     NULL, 4, "", NULL, NULL, NULL},
    /* 3.4 of the contract; exit codes come from the kernel, not from what is printed */
    {PY, "import sys\nprint(repr(sys.stdin.read()))", NULL, 0, "''\n", NULL, NULL, NULL},
    {JS, "console.log(require('fs').readFileSync(0).length)", NULL, 0, "0\n", NULL, NULL, NULL},
    {PY, "import os\nos._exit(137)", NULL, 137, "", NULL, NULL, NULL},
    {PY, "import os\nos._exit(124)", NULL, 124, "", NULL, NULL, NULL},
    {PY, "import os\nos.kill(os.getpid(), 9)", NULL, -9, "", NULL, NULL, NULL},
    {PY, "import os\nos.kill(os.getpid(), 15)", NULL, -15, "", NULL, NULL, NULL},
    {PY, "import os\nos.abort()", NULL, -6, "", NULL, NULL, NULL},
    {JS, "process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)", NULL, -9, "", NULL,
     NULL, NULL},
    {PY, "def f(:\n", NULL, 1, "", "SyntaxError", NULL, NULL},
    {JS, "function (", NULL, 1, "", "SyntaxError", NULL, NULL},
    /* nothing of the worker's is left open, and children get neither channel */
    {PY, "import os\nprint(sorted(int(f) for f in os.listdir('/proc/self/fd'))[-1] <= 4)", NULL, 0,
     "True\n", NULL, NULL, NULL},
    {PY,
     "import subprocess\nprint(subprocess.run(['sh','-c','ls /proc/self/fd | grep -c [34]'],"
     "close_fds=False,capture_output=True,text=True).stdout.strip() in ('0','1'))",
     NULL, 0, "True\n", NULL, NULL, NULL},
    /* own session and group */
    {PY, "import os\nprint(os.getsid(0) == os.getpgid(0) == os.getpid())", NULL, 0, "True\n", NULL,
     NULL, NULL},
    /* signals are as a shell would leave them */
    {PY,
     "import signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []), "
     "[s for s in (1, 2, 15) if signal.getsignal(s) is signal.SIG_IGN])",
     NULL, 0, "set() []\n", NULL, NULL, NULL},
};

SP_TABLE_TEST(local, a_program_gives_what_the_texts_promise, runs, row)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){
                  .code = row->code, .arguments = row->arguments, .language = row->language},
              &r);

    cr_expect(eq(int, r.exit_code, row->exit_code), "%s: stderr %s", row->code, r.err.text);
    cr_expect(eq(int, r.outcome, SP_OUTCOME_EXITED), "%s", row->code);
    cr_expect(eq(int, r.signal, row->exit_code < 0 ? -row->exit_code : 0), "%s", row->code);
    if (row->out)
        cr_expect(eq(str, r.out.text, (char *)(uintptr_t)row->out), "%s", row->code);
    if (row->err)
        cr_expect(strstr(r.err.text, row->err) != NULL, "%s: stderr %s", row->code, r.err.text);
    else
        cr_expect(eq(str, r.err.text, ""), "%s", row->code);
    cr_expect(eq(int, r.result_present, row->value != NULL), "%s", row->code);
    if (row->value && r.result_present)
        cr_expect(eq(str, r.result_value, (char *)(uintptr_t)row->value), "%s", row->code);
    cr_expect(eq(int, r.warning != NULL, row->warning != NULL), "%s: %s", row->code,
              r.warning ? r.warning : "no warning");
    sp_result_clear(&r);
}

/* The demand of ragflow 3.4 that the value shows up in stdout. */
Test(local, the_value_is_in_stdout_where_that_is_asked_for)
{
    struct sp_provider_job job = {.code = "print('debug')\ndef main(name, count):\n"
                                          "    return {'message': f'Hello {name}! ' * count}",
                                  .arguments = "{\"name\":\"World\",\"count\":2}"};
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_instance *instance = NULL;
    struct sp_result r = {0};

    req.result_in_stdout = SP_YES;
    cr_assert(eq(int, sp_provider_create(stage.provider, &req, &run, &instance, NULL), SP_OK));
    cr_expect(ne(str, instance->id, ""));
    cr_expect(eq(int, sp_provider_execute(instance, &req, &run, &r, NULL), SP_OK));

    cr_expect(eq(str, r.out.text, "debug\n{\"message\":\"Hello World! Hello World! \"}\n"));
    sp_provider_destroy(instance, &run);
    sp_result_clear(&r);
}

Test(local, undefined_is_an_error_where_that_is_asked_for)
{
    struct sp_result r = {0};

    stage_run(
        &stage,
        &(struct sp_provider_job){.code = "function main() {}", .language = JS, .strict = true},
        &r);

    cr_expect(eq(int, r.exit_code, 1));
    sp_result_clear(&r);
}

Test(local, a_result_says_how_it_was_run)
{
    struct sp_result r = {0};
    char path[512];

    stage_run(&stage, &(struct sp_provider_job){.code = "print(1)", .timeout_ms = 5000}, &r);

    cr_expect(eq(int, r.started, SP_STARTED_YES));
    cr_expect(eq(str, (char *)(uintptr_t)r.language, "python"));
    cr_expect(eq(str, (char *)(uintptr_t)r.isolation, "none"));
    cr_expect(r.defences && r.defences[0] != NULL);
    cr_expect(lt(i64, 0, r.execution_us));
    cr_expect(eq(i64, r.timeout_ms, 5000));
    stage_folder(&stage, path, sizeof path);
    cr_expect(strstr(r.metadata, "\"script_path\":\"/tmp/sp-local-") != NULL, "%s", r.metadata);
    cr_expect(strstr(r.metadata, strrchr(path, '/')) != NULL, "%s", r.metadata);
    cr_expect(strstr(r.metadata, r.instance_id) != NULL, "%s", r.metadata);
    cr_expect(strstr(r.metadata, "/main.py\",\"status\":\"ok\"") != NULL, "%s", r.metadata);
    sp_result_clear(&r);

    stage_run(&stage, &(struct sp_provider_job){.code = "throw 1", .language = JS}, &r);

    cr_expect(eq(str, (char *)(uintptr_t)r.language, "nodejs"));
    cr_expect(strstr(r.metadata, "/main.js\",\"status\":\"error\"") != NULL, "%s", r.metadata);
    sp_result_clear(&r);
}

Test(local, an_artifact_comes_back_with_name_type_and_bytes)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){
                  .code = "open('artifacts/chart.png', 'wb').write(b'\\x89PNG\\r\\n')\n"
                          "import os\nos.makedirs('artifacts/a/b')\n"
                          "open('artifacts/a/b/t.csv', 'w').write('1,2')\n"
                          "def main(): return 1"},
              &r);

    cr_assert(eq(sz, r.n_artifacts, 2));
    cr_expect(eq(str, r.artifacts[0].name, "a/b/t.csv"));
    cr_expect(eq(str, r.artifacts[1].name, "chart.png"));
    cr_expect(eq(str, (char *)(uintptr_t)r.artifacts[1].mime_type, "image/png"));
    cr_expect(eq(sz, r.artifacts[1].len, 6));
    cr_expect(eq(int, memcmp(r.artifacts[1].data, "\x89PNG\r\n", 6), 0));
    cr_expect(eq(str, r.out.text, ""));
    sp_result_clear(&r);
}

Test(local, artifacts_come_back_after_a_failure_too)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){
                  .code = "open('artifacts/a.json', 'w').write('{}')\nraise SystemExit(3)"},
              &r);

    cr_expect(eq(int, r.exit_code, 3));
    cr_expect(eq(sz, r.n_artifacts, 1));
    sp_result_clear(&r);
}

Test(local, a_refused_artifact_is_named_and_fails_nothing)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){
                  .code = "import os\n"
                          "open('artifacts/a.csv', 'w').write('x')\n"
                          "open('artifacts/b.exe', 'w').write('x')\n"
                          "os.symlink('/etc/passwd', 'artifacts/c.csv')\n"
                          "os.mkfifo('artifacts/d.csv')\n"
                          "os.truncate(os.open('artifacts/e.csv', os.O_CREAT|os.O_RDWR), 11<<20)\n"
                          "print('done')"},
              &r);

    cr_expect(eq(int, r.exit_code, 0));
    cr_expect(eq(str, r.out.text, "done\n"));
    cr_assert(eq(sz, r.n_artifacts, 1));
    cr_expect(eq(str, r.artifacts[0].name, "a.csv"));
    cr_expect(eq(sz, r.n_refused, 4));
    for (size_t i = 0; i < r.n_refused; i++)
        cr_expect(r.refused[i].reason && *r.refused[i].reason, "%s", r.refused[i].name);
    sp_result_clear(&r);
}

Test(local_limits, no_more_artifacts_than_the_setting_allows)
{
    struct sp_result r = {0};

    stage_open(&stage, "\"max_artifacts\":1,\"max_artifact_bytes\":1024");
    stage_run(&stage,
              &(struct sp_provider_job){.code = "for n in 'abc': open(f'artifacts/{n}.csv', 'w')\n"
                                                "open('artifacts/0.csv', 'w').write('x' * 1025)"},
              &r);

    cr_expect(eq(sz, r.n_artifacts, 1));
    cr_expect(eq(sz, r.n_refused, 3));
    sp_result_clear(&r);
    stage_close(&stage);
}

Test(local, input_files_are_there_nested_or_not)
{
    struct sp_file files[] = {{(char[]){"data.csv"}, (char[]){"1,2"}, 3},
                              {(char[]){"lib/deep/mod.py"}, (char[]){"x = 5\n"}, 6},
                              {(char[]){"lib/empty"}, (char[]){""}, 0}};
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){.code = "from lib.deep import mod\nimport os\n"
                                                "print(open('data.csv').read(), mod.x, "
                                                "os.path.getsize('lib/empty'))",
                                        .files = files,
                                        .n_files = SP_COUNT(files)},
              &r);

    cr_expect(eq(str, r.out.text, "1,2 5 0\n"), "%s", r.err.text);
    sp_result_clear(&r);
}

Test(local, a_second_run_of_an_instance_starts_without_artifacts)
{
    struct sp_provider_job job = {.code = "import os\nprint(os.listdir('artifacts'))\n"
                                          "open('artifacts/a.csv', 'w')\n"
                                          "os.unlink('main.py')\nos.mkfifo('main.py')"};
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_instance *i = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_provider_create(stage.provider, &req, &run, &i, &err), SP_OK));
    for (int n = 0; n < 2; n++) {
        struct sp_result r = {0};

        cr_assert(eq(int, sp_provider_execute(i, &req, &run, &r, &err), SP_OK), "%s", err.msg);
        cr_expect(eq(str, r.out.text, "[]\n"), "%s", r.err.text);
        cr_expect(eq(sz, r.n_artifacts, 1));
        sp_result_clear(&r);
    }
    sp_provider_destroy(i, &run);
}

Test(local, the_folder_of_a_run_is_removed)
{
    struct sp_result r = {0};
    char path[512];
    int before;

    stage_folder(&stage, path, sizeof path);
    before = stage_count(path);
    stage_run(&stage,
              &(struct sp_provider_job){.code = "import os\nos.makedirs('a/b/c')\n"
                                                "open('a/b/f', 'w')\nos.chmod('a', 0)\n"
                                                "os.chmod('artifacts', 0)"},
              &r);

    cr_expect(eq(int, stage_count(path), before));
    sp_result_clear(&r);
}

static const struct {
    const char *code;
    const char *what;
} floods[] = {
    {"import os\nfor i in range(1600): os.write(1, b'A' * 65536)", "stdout"},
    {"import os\nfor i in range(1600): os.write(2, b'A' * 65536)", "stderr"},
    {"import os\nfor i in range(1600): os.write(3, b' ' * 65536)", "result channel"},
};

static long peak_kb(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

SP_TABLE_TEST(local, a_flood_is_bounded_while_it_is_read, floods, row)
{
    struct sp_result r = {0};
    long before;

    stage_run(&stage, &(struct sp_provider_job){.code = "pass"}, &r); /* warms up */
    sp_result_clear(&r);
    before = peak_kb();
    stage_run(&stage, &(struct sp_provider_job){.code = row->code, .timeout_ms = 60000}, &r);

    cr_expect(lt(long, peak_kb() - before, 40000), "%s: %ld", row->what, peak_kb() - before);
    cr_expect(eq(int, r.exit_code, 0), "%s: %s", row->what, r.err.text);
    if (r.out.bytes > 0 || r.err.bytes > 0) {
        const struct sp_stream *s = r.out.bytes > 0 ? &r.out : &r.err;

        cr_expect(eq(i64, s->bytes, 1600 * 65536));
        cr_expect(s->truncated);
        cr_expect(lt(sz, s->len, (1 << 20) + 100));
        cr_expect(strstr(s->text, "[sandpiper: ") != NULL);
    } else {
        cr_expect(eq(int, r.outcome, SP_OUTCOME_LIMIT));
        cr_expect(eq(str, (char *)(uintptr_t)r.limit, "result size"));
    }
    sp_result_clear(&r);
}

Test(local, ten_megabytes_on_stderr_do_not_block_what_follows_on_stdout)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){.code = "import os\n"
                                                "for i in range(160): os.write(2, b'e' * 65536)\n"
                                                "print('after')"},
              &r);

    cr_expect(eq(str, r.out.text, "after\n"));
    cr_expect(eq(i64, r.err.bytes, 160 * 65536));
    sp_result_clear(&r);
}

Test(local, large_arguments_and_values_pass)
{
    enum { LEN = 3 << 20 };
    struct sp_result r = {0};
    char *arguments = malloc(LEN + 16);

    strcpy(arguments, "{\"x\":\"");
    memset(arguments + 6, 'y', LEN);
    strcpy(arguments + 6 + LEN, "\"}");
    stage_run(&stage,
              &(struct sp_provider_job){.code = "def main(x): return x", .arguments = arguments},
              &r);

    cr_expect(eq(int, r.exit_code, 0), "%s", r.err.text);
    cr_expect(eq(sz, r.result_value_len, LEN + 2));
    free(arguments);
    sp_result_clear(&r);
}

Test(local, arguments_that_nobody_reads_hold_nothing_up)
{
    enum { LEN = 3 << 20 };
    struct sp_result r = {0};
    char *arguments = malloc(LEN + 16);
    char more[256], path[96];

    snprintf(path, sizeof path, "%s.sh", stage.work_dir);
    FILE *script = fopen(path, "w");
    fputs("#!/bin/sh\nexec 4<&-\necho deaf\n", script);
    fclose(script);
    chmod(path, 0700);
    snprintf(more, sizeof more, "\"python_bin\":\"%s\"", path);
    stage_close(&stage);
    stage_open(&stage, more);
    strcpy(arguments, "{\"x\":\"");
    memset(arguments + 6, 'y', LEN);
    strcpy(arguments + 6 + LEN, "\"}");
    stage_run(&stage, &(struct sp_provider_job){.code = "", .arguments = arguments}, &r);

    cr_expect(eq(str, r.out.text, "deaf\n"));
    cr_expect(eq(int, r.exit_code, 0));
    free(arguments);
    unlink(path);
    sp_result_clear(&r);
}

Test(local, closed_streams_are_no_end)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){.code =
                                            "import os\nos.close(1)\n"
                                            "open('artifacts/a.csv', 'w').write('still running')\n"
                                            "os.write(2, b'err')\n"
                                            "def main(): return 1"},
              &r);

    cr_expect(eq(str, r.out.text, ""));
    cr_expect(eq(str, r.err.text, "err"));
    cr_expect(eq(str, r.result_value, "1"));
    cr_expect(eq(sz, r.n_artifacts, 1));
    sp_result_clear(&r);
}

Test(local, bytes_that_are_no_utf8_are_replaced_and_flagged)
{
    struct sp_result r = {0};

    stage_run(&stage, &(struct sp_provider_job){.code = "import os\nos.write(1, b'a\\xffb')"}, &r);

    cr_expect(eq(str, r.out.text,
                 "a\xef\xbf\xbd"
                 "b"));
    cr_expect(r.out.invalid_utf8);
    cr_expect(not(r.err.invalid_utf8));
    sp_result_clear(&r);
}

Test(local, a_document_of_the_programs_own_is_a_warning)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){.code = "import os\nos.write(3, b'{\"present\":tr')\n"
                                                "print('x')"},
              &r);

    cr_expect(eq(int, r.exit_code, 0), "%s", r.err.text);
    cr_expect(eq(str, r.out.text, "x\n"));
    cr_expect(not(r.result_present));
    cr_expect(r.warning != NULL);
    sp_result_clear(&r);
}

static const struct {
    enum sp_language language;
    const char *code, *limit;
} limits[] = {
    {PY, "x = []\nwhile True: x.append(bytearray(1 << 20))", "memory"},
    {PY, "def main():\n    x = []\n    while True: x.append(bytearray(1 << 20))", "memory"},
    {JS, "const x = []; for (;;) x.push(new Array(100000).fill(0).map((_, i) => ({i})));",
     "memory"},
    {JS,
     "process.stderr.write(\"terminate called after throwing 'std::bad_alloc'\"); process.abort()",
     "memory"},
    {PY, "import os, signal\nos.kill(os.getpid(), signal.SIGXCPU)", "cpu time"},
    {PY,
     "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
     "f = open('big', 'wb')\nf.seek((1 << 30) - 1)\nf.write(b'xy')\nf.flush()",
     "file size"},
};

SP_TABLE_TEST(local_limits, a_limit_that_ended_the_program_is_named, limits, row)
{
    struct sp_result r = {0};

    stage_open(&stage, "\"max_memory_mb\":128");
    stage_run(&stage,
              &(struct sp_provider_job){
                  .code = row->code, .language = row->language, .timeout_ms = 60000},
              &r);

    cr_expect(eq(int, r.outcome, SP_OUTCOME_LIMIT), "%s: %d %s", row->code, r.exit_code,
              r.err.text);
    cr_assert(r.limit != NULL);
    cr_expect(eq(str, (char *)(uintptr_t)r.limit, (char *)(uintptr_t)row->limit));
    cr_expect(ne(int, r.exit_code, 0));
    cr_expect(strstr(r.metadata, "\"status\":\"error\"") != NULL);
    sp_result_clear(&r);
    stage_close(&stage);
}

Test(local, the_limits_are_those_of_the_settings)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){
                  .code = "import resource as r\n"
                          "for n in ('DATA', 'FSIZE', 'NOFILE', 'CORE'):\n"
                          "    print(n, *r.getrlimit(getattr(r, 'RLIMIT_' + n)))\n"
                          "print('AS', r.getrlimit(r.RLIMIT_AS)[1] == r.RLIM_INFINITY)\n"
                          "soft, hard = r.getrlimit(r.RLIMIT_CPU)\n"
                          "import os\nprint(soft == 11 * os.cpu_count(), hard - soft)",
                  .timeout_ms = 10000},
              &r);

    cr_expect(eq(str, r.out.text,
                 "DATA 536870912 536870912\nFSIZE 1073741824 1073741824\nNOFILE 256 256\n"
                 "CORE 0 0\nAS True\nTrue 1\n"));
    sp_result_clear(&r);
}

Test(local, node_has_threads_and_wasm_under_the_default_memory)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){
                  .language = JS,
                  .code = "const { Worker } = require('worker_threads');\n"
                          "async function main() {\n"
                          "  new WebAssembly.Memory({ initial: 1 });\n"
                          "  return await new Promise((ok) => new Worker(\n"
                          "    'require(\"worker_threads\").parentPort.postMessage(42)',\n"
                          "    { eval: true }).on('message', ok));\n"
                          "}"},
              &r);

    cr_expect(eq(int, r.exit_code, 0), "%s", r.err.text);
    cr_expect(eq(str, r.result_value, "42"));
    sp_result_clear(&r);
}
