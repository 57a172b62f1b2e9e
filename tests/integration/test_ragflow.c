/*
 * What RAGFlow's integration test demands of a provider (reference ragflow, 3.4), asked of `local`
 * through Kafka, and asserted for real. Tests of the interface itself are in tests/providers/.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/stage.h"

#define LIMIT_MS 120000

static struct sp_stage *s;

static void open_stage(void)
{
    s = sp_stage_new(2);
    sp_stage_local(s, "\"timeout\":30");
    sp_stage_worker(s, NULL);
}

static void close_stage(void)
{
    sp_stage_free(s);
}

TestSuite(ragflow, .init = open_stage, .fini = close_stage);

static const struct {
    const char *name, *language, *code, *members, *stdout_has[3];
} successes[] = {
    {"python_code",
     "python",
     "print('Hello from Python!')\nprint('second line')",
     "\"timeout\":30",
     {"Hello from Python!\n", "second line\n", ""}},
    {"python_code_with_arguments",
     "python",
     "def main(name: str, count: int) -> dict:\n    return {'greetings': [f'Hello, {name}!'] * "
     "count}",
     "\"arguments\":{\"name\":\"World\",\"count\":3},\"options\":{\"result_in_stdout\":true}",
     {"Hello, World!", "greetings", ""}},
    {"javascript_code",
     "javascript",
     "console.log('Hello from JavaScript!');",
     "",
     {"Hello from JavaScript!\n", "", ""}},
    {"javascript_code_with_arguments",
     "javascript",
     "function main(args) { return `Hello, ${args.name}!`; }",
     "\"arguments\":{\"name\":\"World\"},\"options\":{\"result_in_stdout\":true}",
     {"Hello, World!", "", ""}},
    {"data_processing_workflow",
     "python",
     "import json\ndata = [{'name': 'Alice', 'v': 1}, {'name': 'Bob', 'v': 2}]\n"
     "print(json.dumps([d for d in data if d['v'] > 0]))",
     "",
     {"Alice", "Bob", ""}},
    {"string_manipulation",
     "python",
     "t = 'Hello World'\nprint(t.upper())\nprint(t[::-1])\nprint(len(t))",
     "",
     {"HELLO WORLD\n", "dlroW olleH\n", "11\n"}},
    {"null_arguments",
     "python",
     "def main(a, b):\n    print(a, b)",
     "\"arguments\":{\"a\":null,\"b\":true}",
     {"None True\n", "", ""}},
};

SP_TABLE_TEST(ragflow, a_program_that_ragflows_test_runs_succeeds, successes, row)
{
    sp_stage_submit(s, row->name, row->language, row->code, row->members);

    struct sp_stage_answer *a = sp_stage_reply(s, row->name, LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s: %s", row->name,
              a->value);
    cr_expect(sp_stage_answer_is(a, "exit_code", "0"));
    cr_expect(json_number_value(sp_stage_answer_get(a, "execution_time")) > 0);
    for (size_t i = 0; i < 3; i++)
        cr_expect(strstr(sp_stage_answer_text(a, "stdout"), row->stdout_has[i]) != NULL, "%s: %s",
                  row->name, a->value);
    cr_expect(strlen(sp_stage_answer_text(a, "metadata.instance_id")) > 0);
}

Test(ragflow, an_error_of_the_program_is_a_result_with_its_trace)
{
    sp_stage_submit(s, "error", "python", "raise ValueError('this is wrong')", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "error", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "failed"));
    cr_expect(sp_stage_answer_is(a, "exit_code", "1"));
    cr_expect(strstr(sp_stage_answer_text(a, "stderr"), "ValueError: this is wrong") != NULL, "%s",
              a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "metadata.status"), "error"));
}

Test(ragflow, a_timeout_over_the_providers_is_clamped_and_both_are_told)
{
    sp_stage_submit(s, "clamp", "python", "print(1)", "\"timeout\":60");

    struct sp_stage_answer *a = sp_stage_reply(s, "clamp", LIMIT_MS);

    cr_expect(json_number_value(sp_stage_answer_get(a, "metadata.timeout")) == 30, "%s", a->value);
    cr_expect(json_number_value(sp_stage_answer_get(a, "metadata.timeout_requested")) == 60);
}

Test(ragflow, nothing_is_kept_from_one_run_to_the_next)
{
    sp_stage_submit(s, "first", "python", "x = 42\nopen('left.txt', 'w').write('x')\nprint(x)", "");
    sp_stage_reply(s, "first", LIMIT_MS);

    sp_stage_submit(s, "second", "python", "import os\nprint(sorted(os.listdir()))", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "second", LIMIT_MS);
    cr_expect(strstr(sp_stage_answer_text(a, "stdout"), "left.txt") == NULL, "%s", a->value);
}

Test(ragflow, the_value_of_main_is_not_in_stdout_unless_asked_for)
{
    sp_stage_submit(s, "quiet", "python", "def main():\n    return {'a': 1}", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "quiet", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), ""));
    cr_expect(sp_stage_answer_is(a, "metadata.result_value", "{\"a\":1}"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "metadata.result_type"), "json"));
}
