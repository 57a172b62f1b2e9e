/*
 * What RAGFlow's own integration test demands of aliyun_codeinterpreter, all of it asserted
 * (reference ragflow 3.4), at the AgentRun test server, which really executes programs. More of
 * them are in test_aliyun_programs.c, the service's own ways and its misbehaviour in
 * test_aliyun_service.c and test_aliyun_faults.c.
 */
#include <string.h>

#include "providers/registry.h"
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

TestSuite(aliyun_demands, .init = start, .fini = stop);

static const struct sp_provider_ops *ops(void)
{
    return sp_registry_find("aliyun_codeinterpreter");
}

static void expect_out(const char *part)
{
    cr_expect(strstr(sp_provider_job_out(&s.result), part) != NULL, "%s is not in: %s", part,
              sp_provider_job_out(&s.result));
}

Test(aliyun_demands, initialize_provider)
{
    cr_expect(s.provider != NULL);
    cr_expect(eq(int, aliyun_stage_check(&s), SP_OK), "%s", s.err.msg);
}

Test(aliyun_demands, health_check)
{
    cr_expect(eq(int, aliyun_stage_check(&s), SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, aliyun_stage_calls(&s, "ListTemplates"), 1));
}

Test(aliyun_demands, get_supported_languages)
{
    cr_expect(eq(str, (char *)ops()->languages[0], (char *)"python"));
    cr_expect(eq(str, (char *)ops()->languages[1], (char *)"javascript"));
}

Test(aliyun_demands, create_python_instance)
{
    cr_assert(eq(int, aliyun_stage_create(&s, &(struct sp_provider_job){0}), SP_OK), "%s",
              s.err.msg);

    cr_expect(s.instance->id[0] != '\0');
    json_auto_t *seen = aliyun_stage_tell(&s, "{}");
    const char *alive = json_string_value(json_array_get(json_object_get(seen, "alive"), 0));
    cr_expect(eq(str, s.instance->id, (char *)(alive ? alive : "none")));
    cr_assert(eq(int, aliyun_stage_execute(&s, &(struct sp_provider_job){.code = "1"}), SP_OK));
    cr_expect(eq(str, (char *)s.result.language, (char *)"python"));
    cr_expect(eq(str, s.result.instance_id, s.instance->id));
}

Test(aliyun_demands, execute_python_code)
{
    aliyun_stage_run_well(&s, &(struct sp_provider_job){.code = "print('Hello from Aliyun!')\n"
                                                                "print(f'Sum: {2 + 2}')",
                                                        .timeout_ms = 30000});

    expect_out("Hello from Aliyun!");
    expect_out("Sum: 4");
    cr_expect(lt(i64, 0, s.result.execution_us));
}

Test(aliyun_demands, execute_python_code_with_arguments)
{
    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){.code = "def main(name: str, count: int) -> dict:\n"
                                              "    return {'message': f'Hello {name}! ' * count}",
                                      .arguments = "{\"name\":\"World\",\"count\":3}"});

    expect_out("Hello World! Hello World! Hello World!");
    cr_expect(s.result.result_present);
}

Test(aliyun_demands, execute_python_code_with_error)
{
    enum sp_code rc =
        aliyun_stage_run(&s, &(struct sp_provider_job){.code = "raise ValueError('no')"});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, s.result.exit_code, 1));
    cr_expect(strstr(sp_provider_job_err(&s.result), "ValueError: no") != NULL, "%s",
              sp_provider_job_err(&s.result));
}

Test(aliyun_demands, execute_javascript_code)
{
    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){.code = "console.log('Hello from JavaScript!');",
                                      .language = SP_JAVASCRIPT});

    expect_out("Hello from JavaScript!");
}

Test(aliyun_demands, execute_javascript_code_with_arguments)
{
    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){
                .code = "function main(args) { return `Hello, ${args.name}! x${args.count}`; }",
                .arguments = "{\"name\":\"World\",\"count\":2}",
                .language = SP_JAVASCRIPT});

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"Hello, World! x2\n"));
}

Test(aliyun_demands, destroy_instance)
{
    cr_assert(eq(int, aliyun_stage_create(&s, &(struct sp_provider_job){0}), SP_OK), "%s",
              s.err.msg);
    cr_expect(eq(int, aliyun_stage_alive(&s), 1));

    aliyun_stage_destroy(&s);

    cr_expect(zero(int, aliyun_stage_alive(&s)));
    cr_expect(eq(int, aliyun_stage_calls(&s, "delete"), 1));
}

Test(aliyun_demands, config_validation)
{
    json_auto_t *good = aliyun_stage_settings(&s, "\"timeout\":30");
    json_auto_t *bad_key = aliyun_stage_settings(&s, "\"access_key_id\":\"AKIA-1\"");
    json_auto_t *empty = json_object();

    cr_expect(eq(int, sp_provider_validate(ops(), good, &s.err), SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, sp_provider_validate(ops(), bad_key, &s.err), SP_E_INVALID));
    cr_expect(strstr(s.err.msg, "AccessKey ID format") != NULL, "%s", s.err.msg);
    cr_expect(eq(int, sp_provider_validate(ops(), empty, &s.err), SP_E_INVALID));
    cr_expect(strstr(s.err.msg, "Account ID") != NULL, "%s", s.err.msg);
}

/* Settings of 60 are refused (CONTRACT.md 3.5); a request's are clamped, which is told. */
Test(aliyun_demands, timeout_limit)
{
    json_auto_t *settings = aliyun_stage_settings(&s, "\"timeout\":60");
    cr_expect(eq(int, sp_provider_validate(ops(), settings, &s.err), SP_E_INVALID));
    cr_expect(strstr(s.err.msg, "Timeout must be between 1 and 30 seconds") != NULL, "%s",
              s.err.msg);

    aliyun_stage_run_well(&s, &(struct sp_provider_job){.code = "print(1)", .timeout_ms = 60000});

    cr_expect(eq(i64, s.result.timeout_ms, 30000));
    cr_expect(eq(i64, s.provider->timeout_ms, 30000));
}

Test(aliyun_demands, data_processing_workflow)
{
    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){
                .code = "import json\n"
                        "data = [{'name': 'Alice', 'age': 30}, {'name': 'Bob', 'age': 25},\n"
                        "        {'name': 'Charlie', 'age': 35}]\n"
                        "older = [one for one in data if one['age'] > 26]\n"
                        "average = sum(one['age'] for one in data) / len(data)\n"
                        "print(json.dumps({'older': [one['name'] for one in older],\n"
                        "                  'average': average}))"});

    expect_out("Alice");
    expect_out("Charlie");
    expect_out("30.0");
}

Test(aliyun_demands, string_manipulation)
{
    aliyun_stage_run_well(
        &s, &(struct sp_provider_job){.code = "text = 'Hello, World!'\n"
                                              "print(text[::-1])\nprint(text.upper())\n"
                                              "print(len(text.split()))"});

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result),
                 (char *)"!dlroW ,olleH\nHELLO, WORLD!\n2\n"));
}

Test(aliyun_demands, context_persistence)
{
    const struct sp_provider_job first = {.code = "x = 42\nprint(f'x is set to {x}')"};
    const struct sp_provider_job second = {.code = "print(f'x is still {x}')"};

    cr_assert(eq(int, aliyun_stage_create(&s, &first), SP_OK), "%s", s.err.msg);
    cr_assert(eq(int, aliyun_stage_execute(&s, &first), SP_OK), "%s", s.err.msg);
    cr_expect(zero(int, s.result.exit_code), "%s", sp_provider_job_err(&s.result));
    cr_assert(eq(int, aliyun_stage_execute(&s, &second), SP_OK), "%s", s.err.msg);

    cr_expect(zero(int, s.result.exit_code), "%s", sp_provider_job_err(&s.result));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x is still 42\n"));
}

Test(aliyun_demands, without_credentials)
{
    struct sp_provider *provider = NULL;
    json_auto_t *settings = aliyun_stage_settings(&s, "");
    json_object_del(settings, "access_key_secret");

    enum sp_code rc = sp_provider_open(ops(), settings, &s.host, &provider, &s.err);

    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(strstr(s.err.msg, "access_key_secret") != NULL, "%s", s.err.msg);
}
