/*
 * Programs that self_managed gives to an executor_manager which really runs them: values,
 * arguments, languages, ends and refusals (reference ragflow 3.3, 4.1, 7; CONTRACT.md 3.4, 3.5).
 * The peer's misbehaviour is in test_self_managed_peer.c, the way through Kafka in
 * test_self_managed_worker.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/managed.h"

static struct sp_managed m;

static void start(void)
{
    m.limits = sp_usual_limits;
    sp_managed_start(&m, NULL, "");
}

/* For programs that never end: the manager ends each after a second. */
static void start_hasty(void)
{
    m.limits = sp_usual_limits;
    sp_managed_start(&m, (const char *const[]){"SANDBOX_TIMEOUT=1s", NULL}, "");
}

static void stop(void)
{
    sp_managed_stop(&m);
}

TestSuite(self_managed, .init = start, .fini = stop);
TestSuite(self_managed_loops, .init = start_hasty, .fini = stop);

static const char *out_text(void)
{
    return m.result.out.text ? m.result.out.text : "";
}

static const char *err_text(void)
{
    return m.result.err.text ? m.result.err.text : "";
}

/* value: its text, byte for byte; NULL: there is none. */
static const struct {
    const char *name, *code, *arguments, *out, *value;
    enum sp_language language;
    bool warns;
} successes[] = {
    {.name = "two bare lines", .code = "print('a')\nprint('b')", .out = "a\nb\n"},
    {.name = "a script that is given arguments",
     .code = "print('a')",
     .arguments = "{\"x\":1}",
     .out = "a\n",
     .warns = true},
    {.name = "a bare console.log",
     .code = "console.log('a')",
     .language = SP_JAVASCRIPT,
     .out = "a\n"},
    {.name = "named arguments",
     .code = "def main(name: str, count: int) -> dict:\n    return {'text': name * count}",
     .arguments = "{\"name\":\"ab\",\"count\":2}",
     .value = "{\"text\": \"abab\"}"},
    {.name = "no arguments", .code = "def main():\n    return []", .value = "[]"},
    {.name = "null, true, false and nesting",
     .code = "def main(a, b, c, d):\n    return [a is None, b is True, c is False, d]",
     .arguments = "{\"a\":null,\"b\":true,\"c\":false,\"d\":{\"e\":[[],{}]}}",
     .value = "[true, true, true, {\"e\": [[], {}]}]"},
    {.name = "an integer beyond 64 bits, there and back",
     .code = "def main(n):\n    k = 70\n    return [n == 1 << k, n]",
     .arguments = "{\"n\":1180591620717411303424}",
     .value = "[true, 1180591620717411303424]"},
    {.name = "unicode, NUL and a lone surrogate",
     .code = "def main(s):\n    return [s, len(s)]",
     .arguments = "{\"s\":\"\u00e9\U0001F600\\u0000\\ud800\"}",
     .value = "[\"\u00e9\U0001F600\\u0000\\ud800\", 4]"},
    {.name = "names that are no identifiers",
     .code = "def main(**given):\n    return sorted(given)",
     .arguments = "{\"a b\":1,\"class\":2}",
     .value = "[\"a b\", \"class\"]"},
    {.name = "__proto__ is an ordinary name",
     .code = "function main(given) { return Object.keys(given); }",
     .arguments = "{\"__proto__\":1}",
     .language = SP_JAVASCRIPT,
     .value = "[\"__proto__\"]"},
    {.name = "JavaScript ignores a surplus argument",
     .code = "const main = ({ a }) => a;",
     .arguments = "{\"a\":[1,null,\"\u00e9\"],\"b\":2}",
     .language = SP_JAVASCRIPT,
     .value = "[1,null,\"\u00e9\"]"},
    {.name = "None is a value", .code = "def main():\n    pass", .value = "null"},
    {.name = "undefined is none", .code = "function main() {}", .language = SP_JAVASCRIPT},
    {.name = "an async main in Python",
     .code = "async def main(a):\n    return a",
     .arguments = "{\"a\":7}",
     .value = "7"},
    {.name = "an async main in JavaScript",
     .code = "async function main() { await null; return 'done'; }",
     .language = SP_JAVASCRIPT,
     .value = "\"done\""},
    {.name = "exports.main",
     .code = "exports.main = ({ a }) => a + 1;",
     .arguments = "{\"a\":1}",
     .language = SP_JAVASCRIPT,
     .value = "2"},
    {.name = "module.exports.main",
     .code = "module.exports = { main: async () => [1] };",
     .language = SP_JAVASCRIPT,
     .value = "[1]"},
    {.name = "module.exports is main",
     .code = "module.exports = () => 'x';",
     .language = SP_JAVASCRIPT,
     .value = "\"x\""},
    {.name = "NaN becomes null",
     .code = "def main():\n    return [float('nan'), 'NaN']",
     .value = "[null, \"NaN\"]",
     .warns = true},
    {.name = "NaN becomes null in JavaScript",
     .code = "const main = () => ({ a: NaN, b: [undefined] });",
     .language = SP_JAVASCRIPT,
     .value = "{\"a\":null,\"b\":[null]}",
     .warns = true},
    {.name = "a guard does not run, since the manager imports the program",
     .code = "def main():\n    print('main')\nif __name__ == '__main__':\n    main()",
     .out = "main\n",
     .value = "null"},
    {.name = "output without an end of line before the value",
     .code = "def main():\n    print('x', end='')\n    return 1",
     .out = "x",
     .value = "1"},
    {.name = "a classic marker is not the value of main",
     .code = "print('__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6NjZ9')\n"
             "def main():\n    return 1",
     .value = "1"},
    {.name = "a script that prints a classic marker gives that value",
     .code = "print('__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6NjZ9')",
     .value = "66"},
    {.name = "open timers do not hold a value back",
     .code = "function main() { setInterval(() => {}, 1000); return 1; }",
     .language = SP_JAVASCRIPT,
     .value = "1"},
    {.name = "names that a wrapper might use",
     .code = "const fs = 1, path = 2, run = 3, value = 4, given = 5, program = 6;\n"
             "function main() { return fs + path + run + value + given + program; }",
     .language = SP_JAVASCRIPT,
     .value = "21"},
    {.name = "modules that a wrapper might use",
     .code = "json = base64 = pathlib = value = 1\ndef main():\n    return json + value",
     .value = "2"},
    {.name = "the languages' own libraries",
     .code = "import statistics\ndef main(xs):\n    return statistics.mean(xs)",
     .arguments = "{\"xs\":[1,2,6]}",
     .value = "3"},
    {.name = "a module of Node",
     .code = "const { createHash } = require('node:crypto');\n"
             "function main() { return createHash('md5').update('').digest('hex'); }",
     .language = SP_JAVASCRIPT,
     .value = "\"d41d8cd98f00b204e9800998ecf8427e\""},
};

Test(self_managed, a_program_that_succeeds_gives_its_output_and_its_exact_value)
{
    for (size_t i = 0; i < SP_COUNT(successes); i++) {
        const char *name = successes[i].name, *value = successes[i].value;

        enum sp_code rc =
            sp_managed_run(&m, &(struct sp_provider_job){.code = successes[i].code,
                                                         .arguments = successes[i].arguments,
                                                         .language = successes[i].language});

        cr_expect(eq(int, rc, SP_OK), "%s: %s", name, m.err.msg);
        cr_expect(m.result.outcome == SP_OUTCOME_EXITED && m.result.exit_code == 0,
                  "%s: exit %d, %s", name, m.result.exit_code, err_text());
        cr_expect(eq(str, (char *)out_text(), (char *)(successes[i].out ? successes[i].out : "")),
                  "%s", name);
        cr_expect(eq(str, (char *)err_text(), (char *)""), "%s", name);
        cr_expect(eq(int, m.result.result_present, value != NULL), "%s", name);
        if (value && m.result.result_value)
            cr_expect(eq(str, m.result.result_value, (char *)value), "%s", name);
        cr_expect(eq(int, m.result.warning != NULL, successes[i].warns), "%s: %s", name,
                  m.result.warning);
        cr_expect(m.result.execution_us > 0 && m.result.started == SP_STARTED_YES, "%s", name);
    }
}

/* stderr: text that is in it. metadata: likewise, of what the manager said. */
static const struct {
    const char *name, *code, *arguments, *stderr_has, *metadata;
    enum sp_language language;
    bool strict;
    int exit_code;
} failures[] = {
    {.name = "an error outside main",
     .code = "raise ValueError('wrong')",
     .stderr_has = "ValueError: wrong",
     .metadata = "\"status\":\"program_error\"",
     .exit_code = 1},
    {.name = "an error in main",
     .code = "def main():\n    print('lost')\n    raise KeyError('k')",
     .stderr_has = "KeyError",
     .metadata = "\"runtime_error_type\":\"nonzero_exit\"",
     .exit_code = 1},
    {.name = "an error in JavaScript",
     .code = "function main() { throw new RangeError('r'); }",
     .language = SP_JAVASCRIPT,
     .stderr_has = "RangeError: r",
     .metadata = "\"status\":\"program_error\"",
     .exit_code = 1},
    {.name = "a surplus argument in Python",
     .code = "def main(a):\n    return a",
     .arguments = "{\"a\":1,\"b\":2}",
     .stderr_has = "TypeError",
     .exit_code = 1},
    {.name = "a set",
     .code = "def main():\n    return {1}",
     .stderr_has = "TypeError",
     .exit_code = 1},
    {.name = "bytes",
     .code = "def main():\n    return b'x'",
     .stderr_has = "TypeError",
     .exit_code = 1},
    {.name = "a BigInt",
     .code = "const main = () => 1n;",
     .language = SP_JAVASCRIPT,
     .stderr_has = "TypeError",
     .exit_code = 1},
    {.name = "undefined where it is an error",
     .code = "function main() {}",
     .language = SP_JAVASCRIPT,
     .strict = true,
     .stderr_has = "strict_result",
     .exit_code = 1},
    {.name = "an exit code of its own",
     .code = "def main():\n    raise SystemExit(7)",
     .stderr_has = "",
     .exit_code = 7},
    {.name = "the same in JavaScript",
     .code = "function main() { process.exit(7); }",
     .language = SP_JAVASCRIPT,
     .stderr_has = "",
     .exit_code = 7},
    {.name = "an ES module",
     .code = "export function main() {}",
     .language = SP_JAVASCRIPT,
     .stderr_has = "Error",
     .exit_code = 1},
    {.name = "words that the manager takes for a refusal",
     .code = "raise ValueError('Permission denied')",
     .stderr_has = "Permission denied",
     .metadata = "\"unauthorized_access_type\":\"file_access\"",
     .exit_code = 1},
    {.name = "words that it takes for a system call",
     .code = "raise ValueError('Operation not permitted')",
     .stderr_has = "Operation not permitted",
     .metadata = "\"status\":\"unauthorized_access\"",
     .exit_code = 1},
};

Test(self_managed, a_program_that_fails_gives_its_exit_code_and_what_the_manager_kept)
{
    for (size_t i = 0; i < SP_COUNT(failures); i++) {
        const char *name = failures[i].name, *metadata = failures[i].metadata;

        enum sp_code rc =
            sp_managed_run(&m, &(struct sp_provider_job){.code = failures[i].code,
                                                         .arguments = failures[i].arguments,
                                                         .language = failures[i].language,
                                                         .strict = failures[i].strict});

        cr_expect(eq(int, rc, SP_OK), "%s: %s", name, m.err.msg);
        cr_expect(eq(int, m.result.outcome, SP_OUTCOME_EXITED), "%s", name);
        cr_expect(eq(int, m.result.exit_code, failures[i].exit_code), "%s: %s", name, err_text());
        cr_expect(strstr(err_text(), failures[i].stderr_has) != NULL, "%s: %s", name, err_text());
        cr_expect(eq(str, (char *)out_text(), (char *)""), "no partial output: %s", name);
        cr_expect(not(m.result.result_present), "%s", name);
        cr_expect(metadata == NULL || strstr(m.result.metadata, metadata), "%s: %s", name,
                  m.result.metadata);
    }
}

static const struct {
    const char *name, *code, *limit;
} limits[] = {
    {"memory", "def main():\n    n = 400000000\n    return len('x' * n)", "memory"},
    {"a signal that the manager takes for the memory limit",
     "import signal\ndef main():\n    signal.raise_signal(9)", "memory"},
};

Test(self_managed, a_limit_that_ends_a_program_is_named)
{
    for (size_t i = 0; i < SP_COUNT(limits); i++) {
        enum sp_code rc = sp_managed_run(&m, &(struct sp_provider_job){.code = limits[i].code});

        cr_expect(eq(int, rc, SP_OK), "%s: %s", limits[i].name, m.err.msg);
        cr_expect(eq(int, m.result.outcome, SP_OUTCOME_LIMIT), "%s", limits[i].name);
        cr_expect(eq(str, (char *)m.result.limit, (char *)limits[i].limit), "%s", limits[i].name);
        cr_expect(m.result.exit_code != -137, "%s: a code of the manager's is none",
                  limits[i].name);
    }
}

/* Loops of six shapes. */
static const struct {
    const char *code;
    enum sp_language language;
} loops[] = {
    {"while True:\n    pass", SP_PYTHON},
    {"import itertools\ndef main():\n    for _ in itertools.count():\n        print('x')",
     SP_PYTHON},
    {"def main():\n    main()\ndef f():\n    while 1:\n        try:\n            main()\n"
     "        except RecursionError:\n            continue\nf()",
     SP_PYTHON},
    {"import time\nasync def main():\n    while True:\n        time.sleep(1)", SP_PYTHON},
    {"while (true) {}", SP_JAVASCRIPT},
    {"async function main() { for (;;) await null; }", SP_JAVASCRIPT},
};

SP_TABLE_TEST(self_managed_loops, an_endless_loop_is_ended, loops, row)
{
    enum sp_code rc =
        sp_managed_run(&m, &(struct sp_provider_job){.code = row->code, .language = row->language});

    cr_expect(eq(int, rc, SP_OK), "%s", m.err.msg);
    cr_expect(eq(int, m.result.outcome, SP_OUTCOME_TIMEOUT), "%s", row->code);
    cr_expect(eq(int, m.result.exit_code, -1));
    cr_expect(m.result.execution_us > 900000 && m.result.execution_us < 20000000, "%lld us",
              (long long)m.result.execution_us);
}

/* What the manager's check finds, and what it wrongly takes for dangerous. */
static const struct {
    const char *code, *finding;
    enum sp_language language;
} unsafe[] = {
    {"import os\nprint(os.name)", "Line 1: import of os", SP_PYTHON},
    {"x = 1\nimport subprocess", "Line 2: import of subprocess", SP_PYTHON},
    {"def main():\n    return eval('1')", "Line 2: call of eval", SP_PYTHON},
    {"import shutil\nshutil.rmtree('x')", "Line 2: use of shutil.rmtree", SP_PYTHON},
    {"name = 'ev' + 'al'", "Line 1: operation between literals", SP_PYTHON},
    {"def eval(x):\n    return x", "Line 1: definition of eval", SP_PYTHON},
    {"def main():\n    return len('x' * (300 * 1024 * 1024))", "Line 2: operation", SP_PYTHON},
    {"from builtins import print", "Line 1: import of builtins", SP_PYTHON},
    {"import re\nre.compile('x')", "Line 2: call of compile", SP_PYTHON},
    {"def main(:\n", "Line -1: syntax error", SP_PYTHON},
    {"const c = require('child_process');", "Line 1: require of child_process", SP_JAVASCRIPT},
    {"\nconst c = require(`child_process`);", "Line 2: require of child_process", SP_JAVASCRIPT},
    {"require(`fs`)", "Line 1: require of fs", SP_JAVASCRIPT},
    {"eval('1')", "Line 1: call of eval", SP_JAVASCRIPT},
};

Test(self_managed, code_that_the_manager_refuses_is_refused_with_its_finding)
{
    for (size_t i = 0; i < SP_COUNT(unsafe); i++) {
        enum sp_code rc = sp_managed_run(
            &m, &(struct sp_provider_job){.code = unsafe[i].code, .language = unsafe[i].language});

        cr_expect(eq(int, rc, SP_E_UNSUPPORTED), "%s: %s", unsafe[i].code, m.err.msg);
        cr_expect(strstr(m.err.msg, unsafe[i].finding) != NULL, "%s: %s", unsafe[i].code,
                  m.err.msg);
        cr_expect(eq(int, m.result.started, SP_STARTED_NO), "%s", unsafe[i].code);
    }

    cr_expect(eq(int, sp_managed_asked(&m), (int)SP_COUNT(unsafe)));
    cr_expect(eq(int, sp_managed_executed(&m), 0));
}

Test(self_managed, artifacts_come_back_and_those_left_out_by_the_manager_do_not)
{
    const char *code = "from pathlib import Path\n"
                       "def main():\n"
                       "    here = Path('artifacts')\n"
                       "    (here / 'chart.PNG').write_bytes(bytes(range(256)))\n"
                       "    (here / 'empty.csv').touch()\n"
                       "    (here / 'run.exe').write_text('x')\n"
                       "    (here / '.hidden.csv').write_text('x')\n"
                       "    (here / 'deep').mkdir()\n"
                       "    (here / 'deep' / 'b.csv').write_text('x')\n";

    cr_assert(eq(int, sp_managed_run(&m, &(struct sp_provider_job){.code = code}), SP_OK), "%s",
              m.err.msg);

    cr_assert(eq(sz, m.result.n_artifacts, 1), "%s", err_text());
    cr_expect(eq(str, m.result.artifacts[0].name, (char *)"chart.PNG"));
    cr_expect(eq(str, (char *)m.result.artifacts[0].mime_type, (char *)"image/png"));
    cr_assert(eq(sz, m.result.artifacts[0].len, 256));
    for (int i = 0; i < 256; i++)
        cr_expect(eq(u8, (uint8_t)m.result.artifacts[0].data[i], (uint8_t)i));
}

Test(self_managed, output_that_is_no_utf8_is_an_error_of_the_manager)
{
    enum sp_code rc = sp_managed_run(
        &m, &(struct sp_provider_job){
                .code = "from pathlib import Path\nPath('/dev/stdout').write_bytes(bytes([255]))"});

    cr_expect(eq(int, rc, SP_E_INVALID), "%s", m.err.msg);
    cr_expect(m.result.started != SP_STARTED_NO);
    cr_expect(eq(int, sp_managed_executed(&m), 1));
}

Test(self_managed, files_are_refused_before_anything_is_sent)
{
    char name[] = "in.csv", data[] = "1,2";
    struct sp_file file = {.name = name, .data = data, .len = 3};

    enum sp_code rc = sp_managed_run(
        &m, &(struct sp_provider_job){.code = "print(1)", .files = &file, .n_files = 1});

    cr_expect(eq(int, rc, SP_E_UNSUPPORTED), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "files") != NULL && strstr(m.err.msg, "self_managed") != NULL, "%s",
              m.err.msg);
    cr_expect(eq(int, sp_managed_asked(&m), 0));
}

/* Neither outlives the run: the folder is new each time, and so is the process. */
Test(self_managed, nothing_is_kept_from_one_run_to_the_next)
{
    const char *code = "from pathlib import Path\n"
                       "def main():\n"
                       "    before = sorted(p.name for p in Path('.').iterdir())\n"
                       "    Path('left.txt').write_text('x')\n"
                       "    return 'left.txt' in before\n";

    for (int i = 0; i < 2; i++) {
        cr_assert(eq(int, sp_managed_run(&m, &(struct sp_provider_job){.code = code}), SP_OK), "%s",
                  m.err.msg);
        cr_expect(eq(str, m.result.result_value, (char *)"false"), "%s", err_text());
    }
}
