#include "providers/local/environment.h"
#include "tests/providers/local_stage.h"

static const struct {
    const char *settings, *words;
} refused[] = {
    {"{}", "isolation: required"},
    {"{}", "write \"isolation\": \"none\""},
    {"{\"isolation\":null}", "isolation: required"},
    {"{\"isolation\":\"\"}", "isolation: required"},
    {"{\"isolation\":\"full\"}", "isolation: this version cannot isolate (\"full\")"},
    {"{\"isolation\":\"restricted\"}", "isolation: this version cannot isolate (\"restricted\")"},
    {"{\"isolation\":\"auto\"}", "isolation: this version cannot isolate (\"auto\")"},
    {"{\"isolation\":\"None\"}", "isolation: must be one of"},
    {"{\"isolation\":0}", "isolation: expected a string"},
    {"{\"isolation\":\"none\",\"pool\":1}", "pool: "},
    {"{\"isolation\":\"none\",\"timeout\":0}", "timeout: "},
    {"{\"isolation\":\"none\",\"timeout\":601}", "timeout: "},
    {"{\"isolation\":\"none\",\"timeout\":\"soon\"}", "timeout: "},
    {"{\"isolation\":\"none\",\"max_memory_mb\":0}", "max_memory_mb: "},
    {"{\"isolation\":\"none\",\"max_memory_mb\":65537}", "max_memory_mb: "},
    {"{\"isolation\":\"none\",\"max_output_bytes\":1023}", "max_output_bytes: "},
    {"{\"isolation\":\"none\",\"max_output_bytes\":10485761}", "max_output_bytes: "},
    {"{\"isolation\":\"none\",\"max_artifacts\":-1}", "max_artifacts: "},
    {"{\"isolation\":\"none\",\"max_artifacts\":101}", "max_artifacts: "},
    {"{\"isolation\":\"none\",\"max_artifact_bytes\":1023}", "max_artifact_bytes: "},
    {"{\"isolation\":\"none\",\"max_artifact_bytes\":104857601}", "max_artifact_bytes: "},
    {"{\"isolation\":\"none\",\"environment\":\"A=1\"}", "environment: "},
    {"{\"isolation\":\"none\",\"environment\":{\"A\":1}}", "environment: A must be a string"},
    {"{\"isolation\":\"none\",\"environment\":{\"A=B\":\"1\"}}", "environment: \"A=B\""},
    {"{\"isolation\":\"none\",\"environment\":{\"\":\"1\"}}", "environment: \"\""},
    {"{\"isolation\":\"none\",\"work_dir\":\"/proc/nowhere\"}", "work_dir: "},
    {"{\"isolation\":\"none\",\"work_dir\":\"\"}", "work_dir: empty"},
    {"{\"isolation\":\"none\",\"work_dir\":\"/dev/null/x\"}", "work_dir: cannot make"},
    {"{\"isolation\":\"none\",\"work_dir\":\"/dev/null\"}", "work_dir: /dev/null is a link"},
};

SP_TABLE_TEST(local_settings, what_cannot_be_used_is_refused_by_name, refused, row)
{
    struct stage s;
    struct sp_error err = {0};

    stage_prepare(&s);

    cr_expect(eq(int, stage_open_with(&s, row->settings, &err), SP_E_INVALID), "%s", row->settings);
    cr_expect(strstr(err.msg, row->words) != NULL, "%s: %s", row->settings, err.msg);
    stage_close(&s);
}

/* Reference ragflow 2.4. */
static const struct {
    const char *key, *label, *text;
    json_int_t number, min, max;
} known[] = {
    {"python_bin", "Python Binary", "python3", 0, 0, 0},
    {"node_bin", "Node.js Binary", "node", 0, 0, 0},
    {"work_dir", "Working Directory", "/tmp/ragflow-codeexec", 0, 0, 0},
    {"timeout", "Timeout (seconds)", NULL, 30, 1, 600},
    {"max_memory_mb", "Max Memory (MB)", NULL, 512, 1, 65536},
    {"max_output_bytes", "Max Output (bytes)", NULL, 1048576, 1024, 10485760},
    {"max_artifacts", "Max Artifacts", NULL, 20, 0, 100},
    {"max_artifact_bytes", "Max Artifact Size (bytes)", NULL, 10485760, 1024, 104857600},
};

static bool is_required(json_t *field)
{
    return json_is_true(json_object_get(field, "required"));
}

SP_TABLE_TEST(local_settings, the_fields_are_ragflows, known, row)
{
    const struct sp_provider_ops *ops = sp_registry_find("local");
    json_auto_t *schema = sp_fields_schema(ops->fields, ops->n_fields);
    json_t *field = json_object_get(schema, row->key);
    json_t *def = json_object_get(field, "default");

    cr_assert(field != NULL, "%s", row->key);
    cr_expect(eq(str, (char *)(uintptr_t)json_string_value(json_object_get(field, "label")),
                 (char *)(uintptr_t)row->label));
    cr_expect(not(is_required(field)));
    if (row->text) {
        cr_expect(eq(str, (char *)(uintptr_t)json_string_value(def), (char *)(uintptr_t)row->text));
        return;
    }
    cr_expect(eq(llong, json_integer_value(def), row->number));
    cr_expect(eq(llong, json_integer_value(json_object_get(field, "min")), row->min));
    cr_expect(eq(llong, json_integer_value(json_object_get(field, "max")), row->max));
}

Test(local_settings, isolation_is_shown_as_required)
{
    const struct sp_provider_ops *ops = sp_registry_find("local");
    json_auto_t *schema = sp_fields_schema(ops->fields, ops->n_fields);

    cr_expect(is_required(json_object_get(schema, "isolation")));
    cr_expect(eq(sz, ops->n_fields, SP_COUNT(known) + 2));
}

Test(local_settings, an_open_provider_passes_its_check)
{
    struct stage s;
    struct sp_error err = {0};

    stage_open(&s, "");

    cr_expect(eq(int, sp_provider_job_check(s.provider, &err), SP_OK), "%s", err.msg);
    stage_close(&s);
}

Test(local_settings, a_missing_interpreter_fails_the_requests_of_its_language)
{
    struct stage s;
    struct sp_result r = {0};
    struct sp_error err = {0};

    stage_open(&s, "\"node_bin\":\"no-such-node\"");

    cr_expect(eq(int, sp_provider_job_check(s.provider, &err), SP_OK), "%s", err.msg);
    cr_expect(eq(int,
                 sp_provider_job_run(
                     s.provider, &(struct sp_provider_job){.code = "1", .language = SP_JAVASCRIPT},
                     &r, &err),
                 SP_E_INVALID));
    cr_expect(strstr(err.msg, "node_bin: no program no-such-node") != NULL, "%s", err.msg);
    cr_expect(eq(int, r.started, SP_STARTED_NO));
    stage_run(&s, &(struct sp_provider_job){.code = "print(1)"}, &r);
    cr_expect(eq(str, r.out.text, "1\n"));
    sp_result_clear(&r);
    stage_close(&s);
}

Test(local_settings, a_provider_without_any_interpreter_fails_its_check)
{
    struct stage s;
    struct sp_error err = {0};

    stage_open(&s, "\"node_bin\":\"/none/node\",\"python_bin\":\"/none/python\"");

    cr_expect(eq(int, sp_provider_job_check(s.provider, &err), SP_E_INVALID));
    cr_expect(strstr(err.msg, "python_bin: no program /none/python") != NULL, "%s", err.msg);
    stage_close(&s);
}

Test(local_settings, an_interpreter_that_is_a_script_works)
{
    struct stage s;
    struct sp_result r = {0};
    char more[128], path[96];
    FILE *script;

    stage_prepare(&s);
    snprintf(path, sizeof path, "%s.sh", s.work_dir);
    script = fopen(path, "w");
    fputs("#!/bin/sh\nexec /usr/bin/env python3 \"$@\"\n", script);
    fclose(script);
    chmod(path, 0700);
    rmdir(s.work_dir);
    snprintf(more, sizeof more, "\"python_bin\":\"%s\"", path);
    stage_open(&s, more);

    stage_run(&s, &(struct sp_provider_job){.code = "print('through the script')"}, &r);

    cr_expect(eq(str, r.out.text, "through the script\n"));
    sp_result_clear(&r);
    stage_close(&s);
    unlink(path);
}

Test(local_settings, an_interpreter_that_vanished_is_named)
{
    struct stage s;
    struct sp_result r = {0};
    struct sp_error err = {0};
    char more[128], path[96];
    FILE *script;

    stage_prepare(&s);
    snprintf(path, sizeof path, "%s.sh", s.work_dir);
    script = fopen(path, "w");
    fputs("#!/bin/sh\n", script);
    fclose(script);
    chmod(path, 0700);
    rmdir(s.work_dir);
    snprintf(more, sizeof more, "\"python_bin\":\"%s\"", path);
    stage_open(&s, more);
    unlink(path);

    cr_expect(eq(int,
                 sp_provider_job_run(s.provider, &(struct sp_provider_job){.code = "1"}, &r, &err),
                 SP_E_INVALID));

    cr_expect(strstr(err.msg, path) != NULL, "%s", err.msg);
    cr_expect(eq(int, r.started, SP_STARTED_NO));
    sp_result_clear(&r);
    stage_close(&s);
}

#define PRINT_ENVIRONMENT                                                                          \
    "import os\nfor k in sorted(os.environ): print(k, os.environ[k], sep='=')\n"

Test(local_settings, the_environment_is_clean)
{
    struct stage s;
    struct sp_result r = {0};
    char expected[1024], folder[256];

    setenv("SP_SECRET", "worker's own", 1);
    stage_open(&s, "");
    stage_run(
        &s, &(struct sp_provider_job){.code = "import os\nprint(os.getcwd())\n" PRINT_ENVIRONMENT},
        &r);

    sscanf(r.out.text, "%255[^\n]", folder);
    snprintf(expected, sizeof expected,
             "%s\nHOME=%s\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\nTMPDIR=%s\n", folder,
             folder, folder);
    cr_expect(eq(str, r.out.text, expected));
    cr_expect(strstr(folder, s.work_dir) == folder);
    sp_result_clear(&r);
    stage_close(&s);
}

Test(local_settings, the_setting_environment_adds_and_overrides)
{
    struct stage s;
    struct sp_result r = {0};

    stage_open(&s, "\"environment\":{\"A\":\"ü = 1\",\"HOME\":\"/h\",\"TMPDIR\":\"/t\","
                   "\"PATH\":\"/p\",\"LANG\":\"C\"}");
    stage_run(&s,
              &(struct sp_provider_job){
                  .code = "import sys\n"
                          "sys.stdout.reconfigure(encoding='utf-8')\n" PRINT_ENVIRONMENT},
              &r);

    cr_expect(strstr(r.out.text, "A=ü = 1\nHOME=/h\nLANG=C\n") == r.out.text, "%s", r.out.text);
    cr_expect(strstr(r.out.text, "PATH=/p\nTMPDIR=/t\n") != NULL, "%s", r.out.text);
    sp_result_clear(&r);
    stage_close(&s);
}

Test(local_settings, an_environment_that_does_not_fit_is_refused)
{
    json_auto_t *map = json_object();
    struct sp_error err = {0};

    for (int i = 0; i < 1001; i++) {
        char name[16];

        snprintf(name, sizeof name, "V%d", i);
        json_object_set_new(map, name, json_string("x"));
    }

    cr_expect(eq(int, sp_environment_check(map, &err), SP_E_INVALID));
    cr_expect(strstr(err.msg, "environment: too large") != NULL, "%s", err.msg);
}

Test(local_settings, the_largest_environment_starts)
{
    struct stage s;
    struct sp_result r = {0};
    static char more[50000];
    int len = snprintf(more, sizeof more, "\"environment\":{\"BIG\":\"");

    memset(more + len, 'x', 48 * 1024 - 10);
    strcpy(more + len + 48 * 1024 - 10, "\"}");
    stage_prepare(&s);
    char *settings;
    cr_assert(asprintf(&settings, "{\"isolation\":\"none\",%s}", more) > 0);
    struct sp_error err = {0};
    cr_assert(eq(int, stage_open_with(&s, settings, &err), SP_OK), "%s", err.msg);

    stage_run(&s, &(struct sp_provider_job){.code = "import os\nprint(len(os.environ['BIG']))"},
              &r);

    cr_expect(eq(str, r.out.text, "49142\n"));
    free(settings);
    sp_result_clear(&r);
    stage_close(&s);
}
