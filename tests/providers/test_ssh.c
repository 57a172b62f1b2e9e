/* What a program can do and sees at the far end of the provider `ssh`, and what comes back. */
#include "tests/providers/far_stage.h"

static struct far far;

static void enter(void)
{
    far_open(&far, "");
}

static void leave(void)
{
    cr_expect(far_is_clean(&far), "homes: %d", far_homes(&far));
    far_close(&far);
}

TestSuite(ssh, .init = enter, .fini = leave);

/* A program and what must come of it. NULL: not looked at. */
static const struct {
    const char *name, *code, *arguments;
    enum sp_language language;
    const char *out, *err; /* all of stdout; a part of stderr, NULL: empty */
    int exit_code;
    const char *value; /* NULL: none */
} programs[] = {
    {"python main", "def main(a): print('debug'); return {'a': a}", "{\"a\":1}", SP_PYTHON,
     "debug\n", NULL, 0, "{\"a\": 1}"},
    {"plain script", "print('x')", NULL, SP_PYTHON, "x\n", NULL, 0, NULL},
    {"async main", "import asyncio\nasync def main():\n  await asyncio.sleep(0)\n  return 1", NULL,
     SP_PYTHON, "", NULL, 0, "1"},
    {"None", "def main(): pass", NULL, SP_PYTHON, "", NULL, 0, "null"},
    {"values of arguments", "def main(**a): return a",
     "{\"t\":true,\"n\":null,\"big\":1180591620717411303424,\"u\":\"\\u00e9\\ud83d\\ude00\"}",
     SP_PYTHON, "", NULL, 0,
     "{\"t\": true, \"n\": null, \"big\": 1180591620717411303424, \"u\": "
     "\"\xc3\xa9\xf0\x9f\x98\x80\"}"},
    {"not an identifier", "def main(**a): return a", "{\"a-b\":1}", SP_PYTHON, "", NULL, 0,
     "{\"a-b\": 1}"},
    {"surplus argument", "def main(): pass", "{\"a\":1}", SP_PYTHON, "", "TypeError", 1, NULL},
    {"not serialisable", "def main(): return {1,2}", NULL, SP_PYTHON, "", "TypeError", 1, NULL},
    {"exception", "raise ValueError('boom')", NULL, SP_PYTHON, "", "ValueError: boom", 1, NULL},
    {"exit in main", "import sys\ndef main(): sys.exit(3)", NULL, SP_PYTHON, "", NULL, 3, NULL},
    {"exit code above 128", "import os\nos._exit(200)", NULL, SP_PYTHON, "", NULL, 200, NULL},
    {"killed by itself", "import os,signal\nos.kill(os.getpid(), signal.SIGKILL)", NULL, SP_PYTHON,
     "", NULL, -9, NULL},
    {"aborted", "import os\nos.abort()", NULL, SP_PYTHON, "", NULL, -6, NULL},
    {"interrupted",
     "import os,signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n"
     "os.kill(os.getpid(), signal.SIGINT)",
     NULL, SP_PYTHON, "", NULL, -2, NULL},
    {"no line end before the value", "def main():\n  print('x', end='')\n  return 1", NULL,
     SP_PYTHON, "x", NULL, 0, "1"},
    {"classic marker", "print('__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6N30=')", NULL,
     SP_PYTHON, "", NULL, 0, "7"},
    {"own guard", "def main(): return 1\nif __name__ == '__main__': print('twice')", NULL,
     SP_PYTHON, "", NULL, 0, "1"},
    {"empty input", "import sys\nprint(repr(sys.stdin.read()))", NULL, SP_PYTHON, "''\n", NULL, 0,
     NULL},
    {"js main", "function main(a) { console.log('debug'); return {a: a.a} }", "{\"a\":1}",
     SP_JAVASCRIPT, "debug\n", NULL, 0, "{\"a\":1}"},
    {"js exports.main", "exports.main = async () => 5", NULL, SP_JAVASCRIPT, "", NULL, 0, "5"},
    {"js module.exports", "module.exports = () => 6", NULL, SP_JAVASCRIPT, "", NULL, 0, "6"},
    {"js ES module", "import fs from 'node:fs'; export function main() { return typeof fs }", NULL,
     SP_JAVASCRIPT, "", NULL, 0, "\"object\""},
    {"js plain", "console.log(1 + 1)", NULL, SP_JAVASCRIPT, "2\n", NULL, 0, NULL},
    {"js undefined", "function main() {}", NULL, SP_JAVASCRIPT, "", NULL, 0, NULL},
    {"js __proto__", "function main(a) { return Object.keys(a) }", "{\"__proto__\":1}",
     SP_JAVASCRIPT, "", NULL, 0, "[\"__proto__\"]"},
    {"js open timer", "function main() { setInterval(() => {}, 1000); return 1 }", NULL,
     SP_JAVASCRIPT, "", NULL, 0, "1"},
    {"js throws", "function main() { throw new Error('boom') }", NULL, SP_JAVASCRIPT, "",
     "Error: boom", 1, NULL},
};

static void check_program(size_t i)
{
    const struct sp_provider_job job = {.code = programs[i].code,
                                        .arguments = programs[i].arguments,
                                        .language = programs[i].language};
    sp_auto(sp_result_clear) struct sp_result r = {0};
    const char *name = programs[i].name;

    far_run(&far, &job, &r);

    cr_expect(eq(int, r.exit_code, programs[i].exit_code), "%s: %s", name, r.err.text);
    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_EXITED), "%s", name);
    cr_expect(eq(str, r.out.text, (char *)programs[i].out), "%s", name);
    if (programs[i].err)
        cr_expect(strstr(r.err.text, programs[i].err) != NULL, "%s: %s", name, r.err.text);
    else
        cr_expect(eq(str, r.err.text, ""), "%s", name);
    cr_expect(eq(int, r.result_present, programs[i].value != NULL), "%s", name);
    if (programs[i].value && r.result_value)
        cr_expect(eq(str, r.result_value, (char *)programs[i].value), "%s", name);
    cr_expect(eq(int, (int)r.started, SP_STARTED_YES), "%s", name);
    cr_expect(r.warning == NULL, "%s: %s", name, r.warning);
}

Test(ssh, programs_give_what_they_give_anywhere)
{
    for (size_t i = 0; i < SP_COUNT(programs); i++)
        check_program(i);
}

/* RAGFlow's test_executes_python_main_and_collects_artifacts. */
Test(ssh, ragflow_python_main_with_an_artifact)
{
    const struct sp_provider_job job = {.code =
                                            "def main(name):\n"
                                            "    print('debug line')\n"
                                            "    open('artifacts/chart.png', 'wb').write(b'png')\n"
                                            "    return {'hello': name}\n",
                                        .arguments = "{\"name\":\"x\"}"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(str, r.out.text, "debug line\n"));
    cr_expect(eq(str, r.result_value, "{\"hello\": \"x\"}"));
    cr_assert(eq(sz, r.n_artifacts, 1));
    cr_expect(eq(str, r.artifacts[0].name, "chart.png"));
    cr_expect(eq(str, (char *)r.artifacts[0].mime_type, "image/png"));
    cr_expect(eq(sz, r.artifacts[0].len, 3));
    cr_expect(zero(int, memcmp(r.artifacts[0].data, "png", 3)));
}

Test(ssh, metadata_says_where_and_how_it_ran)
{
    const struct sp_provider_job job = {.code = "import os, sys\n"
                                                "def main(): return [os.getcwd(), sys.argv]"};
    sp_auto(sp_result_clear) struct sp_result r = {0};
    char want[400];

    far_run(&far, &job, &r);

    snprintf(want, sizeof want, "\"remote_work_dir\":\"%s/ragflow-codeexec.%s/work\"", far.work_dir,
             r.instance_id);
    cr_expect(strstr(r.metadata, want) != NULL, "%s", r.metadata);
    snprintf(want, sizeof want, "\"script_path\":\"%s/ragflow-codeexec.%s/work/main.py\"",
             far.work_dir, r.instance_id);
    cr_expect(strstr(r.metadata, want) != NULL, "%s", r.metadata);
    snprintf(want, sizeof want,
             "\"command\":\"exec sh '%s/ragflow-codeexec.%s/sandpiper_supervise.sh' run 50 "
             "'python3' -uB ../sandpiper_run.py main.py\"",
             far.work_dir, r.instance_id);
    cr_expect(strstr(r.metadata, want) != NULL, "%s", r.metadata);
    cr_expect(strstr(r.metadata, "\"status\":\"ok\"") != NULL, "%s", r.metadata);
    snprintf(want, sizeof want, "[\"%s/ragflow-codeexec.%s/work\", [\"main.py\"]]", far.work_dir,
             r.instance_id);
    cr_expect(eq(str, r.result_value, want));
    cr_expect(eq(str, (char *)r.language, "python"));
    cr_assert(r.limits_of_provider != NULL);
    cr_expect(eq(str, (char *)r.limits_of_provider[0], "far_end_supervisor"));
}

Test(ssh, a_program_sees_its_folder_and_a_clean_environment)
{
    struct sp_file files[] = {{(char[]){"data/deep/in.txt"}, (char[]){"one"}, 3},
                              {(char[]){"data/two.txt"}, (char[]){"two"}, 3},
                              {(char[]){"sandpiper_run.py"}, (char[]){"3"}, 1},
                              {(char[]){"a b'c.txt"}, (char[]){""}, 0}};
    const struct sp_provider_job job = {
        .code =
            "import os\n"
            "def main():\n"
            "  found = sorted(os.path.join(p, f)[2:] for p, _, fs in os.walk('.') for f in fs)\n"
            "  env = dict(os.environ)\n"
            "  home = os.getcwd()\n"
            "  assert env.pop('HOME') == home and env.pop('TMPDIR') == home\n"
            "  return [found, open('data/deep/in.txt').read(), env, os.listdir('artifacts')]\n",
        .files = files,
        .n_files = SP_COUNT(files)};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(str, r.err.text, ""));
    cr_expect(eq(str, r.result_value,
                 "[[\"a b'c.txt\", \"data/deep/in.txt\", \"data/two.txt\", \"main.py\", "
                 "\"sandpiper_run.py\"], \"one\", {\"PATH\": \"/usr/local/bin:/usr/bin:/bin\", "
                 "\"LANG\": \"C.UTF-8\"}, []]"));
}

Test(ssh, large_output_is_cut_and_bytes_that_are_no_text_are_replaced)
{
    const struct sp_provider_job job = {
        .code = "import sys\n"
                "sys.stdout.buffer.write(b'a' * 5000000 + b'\\xff' * 3)\n"
                "sys.stderr.buffer.write(b'ok\\xfe')\n"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(int, r.exit_code, 0));
    cr_expect(eq(i64, r.out.bytes, 5000003));
    cr_expect(r.out.truncated && r.out.invalid_utf8 && r.err.invalid_utf8 && !r.err.truncated);
    cr_expect(strstr(r.out.text, "[sandpiper: 3951427 bytes left out]") != NULL);
    cr_expect(eq(str, r.err.text, "ok\xef\xbf\xbd"));
}

Test(ssh, a_large_value_and_large_arguments_are_exact)
{
    static char arguments[900020];
    const struct sp_provider_job job = {.code = "def main(a): return a + a",
                                        .arguments = arguments};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    memset(arguments, 'x', sizeof arguments - 1);
    memcpy(arguments, "{\"a\":\"", 6);
    memcpy(arguments + sizeof arguments - 3, "\"}", 2);
    far_run(&far, &job, &r);

    cr_expect(eq(sz, r.result_value_len, 2 * (sizeof arguments - 9) + 2));
}

Test(ssh, a_value_beyond_the_limit_ends_as_one)
{
    const struct sp_provider_job job = {.code = "def main(): return 'x' * 9000000"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_LIMIT));
    cr_expect(eq(str, (char *)r.limit, "result size"));
}

Test(ssh, strict_result_makes_undefined_an_error)
{
    const struct sp_provider_job job = {
        .code = "function main() {}", .language = SP_JAVASCRIPT, .strict = true};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(int, r.exit_code, 1));
}

static void expect_runs(const struct sp_provider_job *job, int times, const char *value,
                        size_t n_artifacts)
{
    struct sp_run run = sp_provider_job_limits(job);
    struct sp_request req = sp_provider_job_request(job);
    struct sp_instance *instance = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_provider_create(far.provider, &req, &run, &instance, &err), SP_OK));
    for (int i = 0; i < times; i++) {
        sp_auto(sp_result_clear) struct sp_result r = {0};

        cr_assert(eq(int, sp_provider_execute(instance, &req, &run, &r, &err), SP_OK), "%s",
                  err.msg);
        cr_expect(eq(str, r.result_value, (char *)value));
        cr_expect(eq(sz, r.n_artifacts, n_artifacts));
    }
    sp_provider_destroy(instance, &run);
}

Test(ssh, an_instance_can_run_again_and_finds_nothing_of_before)
{
    const struct sp_provider_job job = {.code = "import os\n"
                                                "def main():\n"
                                                "  before = os.listdir('artifacts')\n"
                                                "  open('artifacts/a.csv', 'w').close()\n"
                                                "  return before\n"};

    expect_runs(&job, 2, "[]", 1);
}

/* The supervisor of one run is still about to clear up while the next one is made. */
Test(ssh, an_instance_that_leaves_nothing_can_run_again_at_once)
{
    const struct sp_provider_job job = {.code = "def main():\n  return 1\n"};

    expect_runs(&job, 10, "1", 0);
}
