/*
 * Programs that aliyun_codeinterpreter runs in sandboxes of the AgentRun test server, which really
 * executes them: values, ends, output and files (CONTRACT.md 3).
 */
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/aliyun_stage.h"

static struct aliyun_stage s;

static void start(void)
{
    aliyun_stage_start(&s, NULL, "");
}

static void stop(void)
{
    aliyun_stage_stop(&s);
}

TestSuite(aliyun_programs, .init = start, .fini = stop);

/* value: its text, byte for byte; NULL: there is none. err: part of stderr; NULL: it is empty. */
static const struct {
    const char *name, *code, *arguments, *out, *value, *err;
    enum sp_language language;
    int exit_code;
    bool warns, strict;
} programs[] = {
    {.name = "bare lines", .code = "print('a')\nprint('b')", .out = "a\nb\n"},
    {.name = "a script that is given arguments",
     .code = "print('a')",
     .arguments = "{\"x\":1}",
     .out = "a\n",
     .warns = true},
    {.name = "exact arguments",
     .code = "def main(n, f):\n    return [n, n == 1 << 70, f]",
     .arguments = "{\"n\":1180591620717411303424,\"f\":\"\u00e9\\u0000\"}",
     .value = "[1180591620717411303424, true, \"\u00e9\\u0000\"]"},
    {.name = "null, true, false",
     .code = "def main(a, b, c):\n    return [a is None, b is True, c is False]",
     .arguments = "{\"a\":null,\"b\":true,\"c\":false}",
     .value = "[true, true, true]"},
    {.name = "None is a value", .code = "def main():\n    pass", .value = "null"},
    {.name = "NaN becomes null",
     .code = "def main():\n    return float('nan')",
     .value = "null",
     .warns = true},
    {.name = "an async main, though a loop runs already",
     .code = "import asyncio\nasync def main(a):\n    await asyncio.sleep(0)\n    return a",
     .arguments = "{\"a\":7}",
     .value = "7"},
    {.name = "a guard does not run main twice",
     .code = "def main():\n    print('once')\nif __name__ == '__main__':\n    main()",
     .out = "once\n",
     .value = "null"},
    {.name = "a guard runs where there is no main",
     .code = "if __name__ == '__main__':\n    print('guarded')",
     .out = "guarded\n"},
    {.name = "output without an end of line before the value",
     .code = "def main():\n    print('x', end='')\n    return 1",
     .out = "x",
     .value = "1"},
    {.name = "warnings on stderr are no failure",
     .code = "import sys\nprint('careful', file=sys.stderr)\ndef main():\n    return 1",
     .value = "1",
     .err = "careful"},
    {.name = "an exit code", .code = "import sys\nsys.exit(3)", .exit_code = 3},
    {.name = "an exit code in main",
     .code = "def main():\n    print('said')\n    raise SystemExit(7)",
     .out = "said\n",
     .exit_code = 7},
    {.name = "an error in main",
     .code = "def main():\n    print('kept')\n    raise KeyError('k')",
     .out = "kept\n",
     .err = "KeyError: 'k'",
     .exit_code = 1},
    {.name = "a syntax error", .code = "def main(:\n", .err = "SyntaxError", .exit_code = 1},
    {.name = "a set is no value",
     .code = "def main():\n    return {1}",
     .err = "TypeError",
     .exit_code = 1},
    {.name = "no standard input", .code = "input()", .err = "Error", .exit_code = 1},
    {.name = "a classic marker is a value",
     .code = "print('__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6NjZ9')",
     .value = "66"},
    {.name = "a loop of its own, though one runs already",
     .code = "import asyncio\nasync def go():\n    print('went')\nasyncio.run(go())",
     .out = "went\n"},
    {.name = "a thread that prints when the program is over",
     .code = "import threading, time\ndef late():\n    time.sleep(0.2)\n    print('late')\n"
             "threading.Thread(target=late).start()\ndef main():\n    return 1",
     .out = "late\n",
     .value = "1"},
    {.name = "output that is replaced",
     .code = "import io, sys\nsys.stdout.write = None\nsys.stdout = io.StringIO()\n"
             "def main():\n    return 1",
     .value = "1"},
    {.name = "a forged end of a program that kills its kernel",
     .code = "import base64, os, sys\nframe = sys._getframe()\n"
             "while 'job' not in frame.f_locals:\n    frame = frame.f_back\n"
             "marker = frame.f_locals['job']['marker']\n"
             "document = base64.b64encode(b'{\"present\":false,\"exit\":0,\"us\":1}').decode()\n"
             "print('\\n' + marker + document, flush=True)\nos._exit(0)",
     .err = "KernelDied",
     .exit_code = 1},
    {.name = "the value of the last line is none of ours", .code = "41 + 1"},
    {.name = "JavaScript with a value",
     .code = "console.log('a'); const main = async ({ a }) => ({ b: a + 1 });",
     .arguments = "{\"a\":1}",
     .language = SP_JAVASCRIPT,
     .out = "a\n",
     .value = "{\"b\":2}"},
    {.name = "module.exports.main",
     .code = "module.exports = { main: async () => [1] };",
     .language = SP_JAVASCRIPT,
     .value = "[1]"},
    {.name = "an ES module",
     .code = "import path from 'node:path';\nexport const main = () => path.basename('/a/b');",
     .language = SP_JAVASCRIPT,
     .value = "\"b\""},
    {.name = "__proto__ is an ordinary name",
     .code = "function main(given) { return Object.keys(given); }",
     .arguments = "{\"__proto__\":1}",
     .language = SP_JAVASCRIPT,
     .value = "[\"__proto__\"]"},
    {.name = "undefined is no value", .code = "function main() {}", .language = SP_JAVASCRIPT},
    {.name = "undefined where it is an error",
     .code = "function main() {}",
     .language = SP_JAVASCRIPT,
     .strict = true,
     .err = "strict_result",
     .exit_code = 1},
    {.name = "an error in JavaScript",
     .code = "function main() { throw new RangeError('r'); }",
     .language = SP_JAVASCRIPT,
     .err = "RangeError: r",
     .exit_code = 1},
    {.name = "an error in a callback",
     .code = "setTimeout(() => { throw new RangeError('late'); }, 5);",
     .language = SP_JAVASCRIPT,
     .err = "RangeError: late",
     .exit_code = 1},
    {.name = "timers run to their end where there is no main",
     .code = "setTimeout(() => console.log('later'), 30); console.log('now');",
     .language = SP_JAVASCRIPT,
     .out = "now\nlater\n"},
    {.name = "process.exit",
     .code = "console.log('a'); process.exit(5);",
     .language = SP_JAVASCRIPT,
     .out = "a\n",
     .exit_code = 5},
    {.name = "a syntax error in JavaScript",
     .code = "let let = 1",
     .language = SP_JAVASCRIPT,
     .err = "SyntaxError",
     .exit_code = 1},
};

SP_TABLE_TEST(aliyun_programs, a_program_runs_as_everywhere, programs, row)
{
    enum sp_code rc = aliyun_stage_run(&s, &(struct sp_provider_job){.code = row->code,
                                                                     .arguments = row->arguments,
                                                                     .language = row->language,
                                                                     .strict = row->strict,
                                                                     .quiet = true});

    cr_assert(eq(int, rc, SP_OK), "%s: %s", row->name, s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_EXITED), "%s", row->name);
    cr_expect(eq(int, s.result.exit_code, row->exit_code), "%s: %s", row->name,
              sp_provider_job_err(&s.result));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)(row->out ? row->out : "")),
              "%s", row->name);
    if (row->err) {
        cr_expect(strstr(sp_provider_job_err(&s.result), row->err) != NULL, "%s: %s", row->name,
                  sp_provider_job_err(&s.result));
    } else {
        cr_expect(eq(str, (char *)sp_provider_job_err(&s.result), (char *)""), "%s", row->name);
    }
    cr_expect(eq(int, s.result.result_present, row->value != NULL), "%s", row->name);
    if (row->value && s.result.result_value)
        cr_expect(eq(str, s.result.result_value, (char *)row->value), "%s", row->name);
    cr_expect(eq(int, s.result.warning != NULL, row->warns), "%s: %s", row->name, s.result.warning);
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_YES), "%s", row->name);
    cr_expect(lt(i64, 0, s.result.execution_us), "%s", row->name);
    cr_expect(eq(int, aliyun_stage_count(&s, "executions"), 1), "%s", row->name);
}

/* The names of a program before are there, save for its main. */
Test(aliyun_programs, a_second_program_on_an_instance_has_its_own_main)
{
    const struct sp_provider_job first = {.code = "def main():\n    return 1\ny = 5",
                                          .quiet = true};
    const struct sp_provider_job second = {.code = "print(y)", .quiet = true};
    const struct sp_provider_job third = {.code = "var z = 1; function main() { return z; }",
                                          .language = SP_JAVASCRIPT,
                                          .quiet = true};

    cr_assert(eq(int, aliyun_stage_create(&s, &first), SP_OK), "%s", s.err.msg);
    cr_assert(eq(int, aliyun_stage_execute(&s, &first), SP_OK), "%s", s.err.msg);
    cr_expect(eq(str, s.result.result_value, (char *)"1"), "%s", sp_provider_job_err(&s.result));
    cr_assert(eq(int, aliyun_stage_execute(&s, &second), SP_OK), "%s", s.err.msg);
    cr_expect(not(s.result.result_present));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"5\n"), "%s",
              sp_provider_job_err(&s.result));
    for (int i = 0; i < 2; i++) {
        cr_assert(eq(int, aliyun_stage_execute(&s, &third), SP_OK), "%s", s.err.msg);
        cr_expect(s.result.result_present, "%s", sp_provider_job_err(&s.result));
    }
    cr_expect(eq(int, aliyun_stage_calls(&s, "contexts.create"), 2));
}

Test(aliyun_programs, a_long_program_of_any_letters_arrives_unchanged)
{
    enum { LETTERS = (1 << 20) / 3 };
    static const char head[] = "text = '", tail[] = "'\nprint(len(text), set(text) == {'\u20ac'})";
    char *code = malloc(sizeof head + sizeof tail + 3 * LETTERS), *at = code;

    at = stpcpy(at, head);
    for (int i = 0; i < LETTERS; i++)
        at = stpcpy(at, "\u20ac");
    strcpy(at, tail);
    aliyun_stage_run_well(&s, &(struct sp_provider_job){.code = code});
    free(code);

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"349525 True\n"));
}

Test(aliyun_programs, much_output_keeps_its_first_and_its_last_half)
{
    s.limits.output_bytes = 1 << 16;

    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){.code = "print('first')\nfor i in range(5000):\n"
                                              "    print('x' * 999)\nprint('last')"});

    cr_expect(s.result.out.truncated);
    cr_expect(eq(i64, s.result.out.bytes, 5000011));
    cr_expect(lt(sz, s.result.out.len, (size_t)(1 << 16) + 100));
    cr_expect(strncmp(sp_provider_job_out(&s.result), "first\n", 6) == 0);
    cr_expect(strcmp(sp_provider_job_out(&s.result) + s.result.out.len - 5, "last\n") == 0);
}

Test(aliyun_programs, an_answer_beyond_the_limit_is_a_failure_by_that_limit)
{
    s.limits.response_bytes = 1 << 20;

    enum sp_code rc = aliyun_stage_run(
        &s, &(struct sp_provider_job){.code = "print('x' * (2 << 20))\ndef main():\n    return 1"});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_LIMIT));
    cr_expect(eq(str, (char *)s.result.limit, (char *)"response size"));
    cr_expect(eq(int, aliyun_stage_count(&s, "executions"), 1));
}

/* ---- files ---- */

Test(aliyun_programs, files_lie_beside_the_program_whatever_their_names)
{
    static const char *const names[] = {"a b.txt", "100%.txt", "sub/\u00e9.txt", "a\"b\\'"};
    struct sp_file files[SP_COUNT(names)];

    for (size_t i = 0; i < SP_COUNT(names); i++) {
        char *name = (char *)(uintptr_t)names[i];
        files[i] = (struct sp_file){name, name, strlen(name)};
    }
    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){
                .code = "import os\nfound = []\n"
                        "for folder, _, names in os.walk('.'):\n"
                        "    paths = [os.path.join(folder, name)[2:] for name in names]\n"
                        "    found += [path for path in paths if open(path).read() == path]\n"
                        "print(sorted(found))",
                .files = files,
                .n_files = SP_COUNT(files)});

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result),
                 (char *)"['100%.txt', 'a b.txt', 'a\"b\\\\\\'', 'sub/\u00e9.txt']\n"));
}

static bool is_refused(const char *name)
{
    for (size_t i = 0; i < s.result.n_refused; i++) {
        if (strcmp(s.result.refused[i].name, name) == 0)
            return true;
    }
    return false;
}

Test(aliyun_programs, artifacts_are_taken_by_the_rules)
{
    static const char code[] =
        "import os\n"
        "def put(name, text):\n"
        "    os.makedirs(os.path.dirname('artifacts/' + name), exist_ok=True)\n"
        "    open('artifacts/' + name, 'w').write(text)\n"
        "put('b.csv', '1,2')\nput('a/deep/c.json', '{}')\nput('empty.html', '')\n"
        "put('run.exe', 'x')\nput('big.csv', 'x' * 2000)\nput('\u00e9 %2F+.csv', 'y')\n"
        "os.symlink('/etc/hostname', 'artifacts/link.csv')\n"
        "os.symlink('a', 'artifacts/folder')\nos.symlink('nowhere', 'artifacts/broken.csv')\n"
        "os.mkfifo('artifacts/pipe.csv')\nraise SystemExit(2)";
    static const char *const taken[] = {"a/deep/c.json", "b.csv", "empty.html", "\u00e9 %2F+.csv"};
    static const char *const refused[] = {"big.csv",  "broken.csv", "folder",
                                          "link.csv", "pipe.csv",   "run.exe"};
    s.limits.artifact_bytes = 1000;

    cr_assert(eq(int, aliyun_stage_run(&s, &(struct sp_provider_job){.code = code}), SP_OK), "%s",
              s.err.msg);

    cr_expect(eq(int, s.result.exit_code, 2), "%s", sp_provider_job_err(&s.result));
    cr_assert(eq(sz, s.result.n_artifacts, SP_COUNT(taken)));
    for (size_t i = 0; i < SP_COUNT(taken); i++)
        cr_expect(eq(str, s.result.artifacts[i].name, (char *)taken[i]));
    cr_expect(eq(str, s.result.artifacts[1].data, (char *)"1,2"));
    cr_assert(eq(sz, s.result.n_refused, SP_COUNT(refused)));
    for (size_t i = 0; i < SP_COUNT(refused); i++)
        cr_expect(is_refused(refused[i]), "%s", refused[i]);
}

/* A context's folder outlives a program, its artifacts do not. */
Test(aliyun_programs, artifacts_of_the_program_before_are_not_taken_again)
{
    const struct sp_provider_job first = {.code = "open('artifacts/a.csv', 'w').write('1')"};
    const struct sp_provider_job second = {.code = "open('artifacts/b.csv', 'w').write('2')"};

    cr_assert(eq(int, aliyun_stage_create(&s, &first), SP_OK), "%s", s.err.msg);
    cr_assert(eq(int, aliyun_stage_execute(&s, &first), SP_OK), "%s", s.err.msg);
    cr_assert(eq(int, aliyun_stage_execute(&s, &second), SP_OK), "%s", s.err.msg);

    cr_assert(eq(sz, s.result.n_artifacts, 1));
    cr_expect(eq(str, s.result.artifacts[0].name, (char *)"b.csv"));
}

Test(aliyun_programs, a_program_may_remove_the_folder_of_artifacts)
{
    aliyun_stage_run_well(&s,
                          &(struct sp_provider_job){.code = "import os\nos.rmdir('artifacts')"});

    cr_expect(s.result.warning == NULL, "%s", s.result.warning);
    cr_expect(zero(sz, s.result.n_artifacts));
}

Test(aliyun_programs, too_many_artifacts_are_named)
{
    s.limits.artifacts = 2;

    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){
                .code = "for i in range(4):\n    open(f'artifacts/{i}.csv', 'w').write('x')"});

    cr_expect(eq(sz, s.result.n_artifacts, 2));
    cr_expect(eq(sz, s.result.n_refused, 2));
}
