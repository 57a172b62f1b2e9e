/*
 * Programs that e2b runs as processes in sandboxes of the test server, which really starts them:
 * values, ends, output, files, time (reference e2b 10, ragflow 3.4; CONTRACT.md 3). Kernel mode is
 * in test_e2b_kernel.c, the service's misbehaviour in test_e2b_faults.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/e2b_stage.h"

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

static const char *out_text(void)
{
    return s.result.out.text ? s.result.out.text : "";
}

static const char *err_text(void)
{
    return s.result.err.text ? s.result.err.text : "";
}

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
    enum sp_code rc = e2b_stage_run(&s, &(struct e2b_job){.code = row->code,
                                                          .arguments = row->arguments,
                                                          .language = row->language});

    cr_assert(eq(int, rc, SP_OK), "%s: %s", row->name, s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_EXITED), "%s", row->name);
    cr_expect(eq(int, s.result.exit_code, row->exit_code), "%s: %s", row->name, err_text());
    cr_expect(eq(str, (char *)out_text(), (char *)(row->out ? row->out : "")), "%s", row->name);
    cr_expect(strstr(err_text(), row->err ? row->err : "") != NULL, "%s: %s", row->name,
              err_text());
    cr_expect(eq(int, s.result.result_present, row->value != NULL), "%s", row->name);
    if (row->value)
        cr_expect(eq(str, s.result.result_value, (char *)row->value), "%s", row->name);
    cr_expect(s.result.warning == NULL, "%s: %s", row->name, s.result.warning);
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_YES));
    cr_expect(lt(i64, 0, s.result.execution_us));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}
