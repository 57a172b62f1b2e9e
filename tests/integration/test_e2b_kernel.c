/* Programs that e2b runs as cells of kernels (reference e2b 5, 10, 12; CONTRACT.md 3.5). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/e2b_stage.h"

static struct e2b_stage s;

static void start(void)
{
    e2b_stage_start(&s, "\"mode\":\"kernel\"");
}

static void stop(void)
{
    e2b_stage_stop(&s);
}

TestSuite(e2b_kernel, .init = start, .fini = stop);

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
    {.name = "an async main",
     .code = "async def main(a):\n    return a",
     .arguments = "{\"a\":7}",
     .value = "7"},
    {.name = "JavaScript",
     .code = "console.log('a'); async function main({ a }) { return a + 1; }",
     .arguments = "{\"a\":1}",
     .language = SP_JAVASCRIPT,
     .out = "a\n",
     .value = "2"},
    {.name = "a plain script in JavaScript",
     .code = "console.log(1 + 1)",
     .language = SP_JAVASCRIPT,
     .out = "2\n"},
    {.name = "an exit code", .code = "import sys\nsys.exit(3)", .exit_code = 3},
    {.name = "process.exit", .code = "process.exit(4)", .language = SP_JAVASCRIPT, .exit_code = 4},
    {.name = "an exception", .code = "raise ValueError('no')", .exit_code = 1, .err = "ValueError"},
    {.name = "a kernel that dies",
     .code = "import os\nos._exit(5)",
     .exit_code = 1,
     .err = "ContextRestarting"},
    {.name = "reading standard input", .code = "input()", .exit_code = 1, .err = "Error"},
    {.name = "streams apart, without an end of line",
     .code = "import sys\nsys.stdout.write('out')\nsys.stderr.write('err')",
     .out = "out",
     .err = "err"},
};

SP_TABLE_TEST(e2b_kernel, a_program_runs_as_everywhere, runs, row)
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
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(e2b_kernel, names_live_on_from_run_to_run_on_one_instance)
{
    static const char *const codes[] = {"x = 20", "print(x + 1)", "console.log(1 + 1)"};
    const struct sp_provider_job first = {.code = codes[0]};
    struct sp_run run = sp_provider_job_limits(&first);
    struct sp_instance *instance = NULL;
    struct sp_request req = sp_provider_job_request(&first);

    cr_assert(eq(int, sp_provider_create(s.provider, &req, &run, &instance, &s.err), SP_OK));
    for (size_t i = 0; i < SP_COUNT(codes); i++) {
        const struct sp_provider_job job = {.code = codes[i],
                                            .language = i == 2 ? SP_JAVASCRIPT : SP_PYTHON};
        req = sp_provider_job_request(&job);
        sp_result_clear(&s.result);
        s.result = (struct sp_result){.exit_code = 0};
        enum sp_code rc = sp_provider_execute(instance, &req, &run, &s.result, &s.err);
        cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
        cr_expect(zero(int, s.result.exit_code), "%s", sp_provider_job_err(&s.result));
        if (i > 0)
            cr_expect(
                eq(str, (char *)sp_provider_job_out(&s.result), (char *)(i == 1 ? "21\n" : "2\n")));
    }
    sp_provider_destroy(instance, &run);

    cr_expect(eq(int, e2b_stage_requests(&s, "contexts.create"), 2));
    cr_expect(zero(int, e2b_stage_alive(&s)));
}

Test(e2b_kernel, files_and_artifacts_lie_in_the_context_s_folder)
{
    struct sp_file file = {(char[]){"in.txt"}, (char[]){"given"}, 5};
    enum sp_code rc =
        e2b_stage_run(&s, &(struct sp_provider_job){
                              .code = "open('artifacts/out.csv', 'w').write(open('in.txt').read())",
                              .files = &file,
                              .n_files = 1});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_assert(eq(sz, s.result.n_artifacts, 1), "%s", sp_provider_job_err(&s.result));
    cr_expect(eq(str, s.result.artifacts[0].name, (char *)"out.csv"));
    cr_expect(eq(str, s.result.artifacts[0].data, (char *)"given"));
}

Test(e2b_kernel, what_is_shown_becomes_artifacts)
{
    e2b_stage_fault(
        &s, "{\"on\":\"execute\",\"insert\":{\"after\":\"stdout\",\"repeat\":2,\"text\":"
            "\"{\\\"type\\\":\\\"result\\\",\\\"text\\\":\\\"fig\\\",\\\"png\\\":"
            "\\\"aGkK\\\\n\\\",\\\"html\\\":\\\"<p>\\u00e9</p>\\\",\\\"is_main_result\\\":false}"
            "\\n\"}}");

    cr_assert(
        eq(int,
           e2b_stage_run_python(&s, "open('artifacts/result-2.html', 'w').write('mine')\nprint(1)"),
           SP_OK),
        "%s", s.err.msg);

    static const struct {
        const char *name, *data;
    } want[] = {{"result-1.png", "hi\n"},
                {"result-2.html", "mine"},
                {"result-3.html", "<p>\u00e9</p>"},
                {"result-4.png", "hi\n"},
                {"result-5.html", "<p>\u00e9</p>"}};
    cr_assert(eq(sz, s.result.n_artifacts, SP_COUNT(want)), "%s", sp_provider_job_err(&s.result));
    for (size_t i = 0; i < SP_COUNT(want); i++) {
        cr_expect(eq(str, s.result.artifacts[i].name, (char *)want[i].name));
        cr_expect(eq(str, s.result.artifacts[i].data, (char *)want[i].data));
    }
}

Test(e2b_kernel, a_cell_that_runs_too_long_is_ended_and_its_output_kept)
{
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "import time\nprint('before')\ntime.sleep(60)",
                                      .timeout_ms = 5000});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(int, s.result.exit_code, -1));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"before\n"));
    cr_expect(lt(i64, s.took_ms, 40000));
    cr_expect(zero(int, e2b_stage_alive(&s)));
}

Test(e2b_kernel, keep_alives_are_no_sign_of_life)
{
    json_decref(e2b_stage_tell(&s, "POST", "config", "{\"keepalive_ms\":100}"));

    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "import time\ntime.sleep(60)", .timeout_ms = 1500});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(lt(i64, s.took_ms, 40000));
}

Test(e2b_kernel, an_instance_is_not_used_again_after_a_time_out)
{
    const struct sp_provider_job job = {.code = "import time\ntime.sleep(60)", .timeout_ms = 1000};
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_instance *instance = NULL;
    struct sp_result again = {.exit_code = 0};

    cr_assert(eq(int, sp_provider_create(s.provider, &req, &run, &instance, &s.err), SP_OK));
    cr_assert(eq(int, sp_provider_execute(instance, &req, &run, &s.result, &s.err), SP_OK));
    enum sp_code rc = sp_provider_execute(instance, &req, &run, &again, &s.err);
    sp_provider_destroy(instance, &run);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(eq(int, (int)again.started, SP_STARTED_NO));
    sp_result_clear(&again);
}

Test(e2b_kernel, output_beyond_what_may_be_read_is_a_limit)
{
    s.limits.response_bytes = 100000;

    cr_assert(eq(int, e2b_stage_run_python(&s, "print('x' * 200000)"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_LIMIT));
    cr_expect(eq(str, (char *)s.result.limit, (char *)"response size"));
}

/* A program can keep the driver from saying it. */
Test(e2b_kernel, a_cell_that_does_not_say_how_it_ended_has_failed)
{
    e2b_stage_fault(&s, "{\"on\":\"execute\",\"drop\":\"stdout\"}");

    cr_assert(eq(int, e2b_stage_run_python(&s, "import sys\nsys.exit(3)"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, s.result.exit_code, -1));
    cr_assert(s.result.warning != NULL);
    cr_expect(strstr(s.result.warning, "end was not recorded") != NULL, "%s", s.result.warning);
}

Test(e2b_kernel, a_template_without_a_code_interpreter_is_named)
{
    e2b_stage_open(&s, "\"mode\":\"kernel\",\"template\":\"base\"");

    cr_expect(eq(int, e2b_stage_run_python(&s, "1"), SP_E_INVALID));

    cr_expect(strstr(s.err.msg, "the template has no code interpreter") != NULL, "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_NO));
}

/* A fault of the answer to the cell, and what becomes of the job. */
static const struct {
    const char *fault;
    enum sp_code rc;
    const char *message;
    enum sp_started started;
} faults[] = {
    {"\"cut_at\":\"end_of_execution\"", SP_E_UNAVAILABLE, "execute", SP_STARTED_YES},
    {"\"drop\":\"end_of_execution\"", SP_E_UNAVAILABLE, "ended before the cell did",
     SP_STARTED_YES},
    {"\"split\":true", SP_OK, "", SP_STARTED_YES},
    {"\"insert\":{\"after\":\"stdout\",\"text\":\"{\\\"type\\\":\\\"keepalive\\\"}\\n\\n"
     "{\\\"type\\\":\\\"new\\\",\\\"x\\\":[1]}\\n\",\"repeat\":50}",
     SP_OK, "", SP_STARTED_YES},
    {"\"insert\":{\"after\":\"stdout\",\"text\":\"<html>\\n\"}", SP_E_INVALID,
     "not as it should be", SP_STARTED_YES},
    {"\"answer\":{\"status\":500,\"body\":\"Internal Server Error: no kernel\"}", SP_E_INVALID,
     "HTTP 500", SP_STARTED_MAYBE},
    {"\"answer\":{\"status\":404,\"body\":\"Context not found\"}", SP_E_INVALID, "HTTP 404",
     SP_STARTED_NO},
    {"\"die\":true", SP_E_UNAVAILABLE, "sandbox was not found", SP_STARTED_NO},
    {"\"die_at\":\"stdout\"", SP_E_UNAVAILABLE, "execute", SP_STARTED_YES},
};

SP_TABLE_TEST(e2b_kernel, a_bad_answer_is_told_from_a_bad_program, faults, row)
{
    char json[400];

    snprintf(json, sizeof json, "{\"on\":\"execute\",%s}", row->fault);
    e2b_stage_fault(&s, json);
    enum sp_code rc = e2b_stage_run_python(&s, "print('x')");

    cr_assert(eq(int, rc, row->rc), "%s: %s", row->fault, s.err.msg);
    cr_expect(strstr(s.err.msg, row->message) != NULL, "%s: %s", row->fault, s.err.msg);
    cr_expect(eq(int, (int)s.result.started, (int)row->started), "%s: %s", row->fault, s.err.msg);
    if (!rc)
        cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"), "%s", row->fault);
    cr_expect(zero(int, e2b_stage_alive(&s)));
}
