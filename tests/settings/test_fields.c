#include "settings/fields.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

struct sample {
    char *api_key, *region, *note, *image, *environment;
    int64_t timeout, port, wait, size;
    bool secure;
};

static const char *const regions[] = {"us", "eu", NULL};
static const struct sp_field fields[] = {
    SP_ROW_STR(struct sample, api_key, .flags = SP_REQUIRED | SP_SECRET, .label = "API Key",
               .placeholder = "e2b_sk_...", .help = "key of the team"),
    SP_ROW_STR(struct sample, region, .def_str = "us", .options = regions, .label = "Region"),
    SP_ROW_STR(struct sample, note, .flags = SP_MULTILINE, .label = "Note"),
    SP_ROW_STR(struct sample, image, .def_str = "base:latest",
               .env = "SP_TEST_IMAGE SP_TEST_PICTURE",
               .flags = SP_SCOPED | SP_DEPLOYMENT | SP_READONLY, .label = "Image"),
    SP_ROW_MAP(struct sample, environment, .help = "variables"),
    SP_ROW_INT(struct sample, timeout, .def_int = 30, SP_RANGE(1, 600), .label = "Timeout"),
    SP_ROW_INT(struct sample, port, .def_int = 22, .env = "SP_TEST_PORT"),
    SP_ROW_DURATION(struct sample, wait, .def_str = "1m30s", SP_RANGE(0, 3600000)),
    SP_ROW_SIZE(struct sample, size, .def_str = "64K", SP_RANGE(1024, 1048576)),
    SP_ROW_BOOL(struct sample, secure, .def_int = 1, .flags = SP_SCOPED, .label = "Secure"),
};

static enum sp_code read_text(const char *json, struct sample *out, struct sp_error *err)
{
    json_auto_t *obj = json_loads(json, JSON_DECODE_ANY, NULL);

    cr_assert(ne(ptr, obj, NULL), "not JSON: %s", json);
    return sp_fields_read(fields, SP_COUNT(fields), obj, out, err);
}

static void clear(struct sample *s)
{
    sp_fields_clear(fields, SP_COUNT(fields), s);
}

Test(fields, what_is_not_given_has_its_default)
{
    struct sample s = {0};

    cr_assert(eq(int, read_text("{\"api_key\":\"k\"}", &s, NULL), SP_OK));

    cr_expect(eq(str, s.api_key, "k"));
    cr_expect(eq(str, s.region, "us"));
    cr_expect(eq(str, s.note, ""));
    cr_expect(eq(str, s.image, "base:latest"));
    cr_expect(eq(str, s.environment, "{}"));
    cr_expect(eq(i64, s.timeout, 30));
    cr_expect(eq(i64, s.wait, 90000));
    cr_expect(eq(i64, s.size, 65536));
    cr_expect(s.secure);
    clear(&s);
}

Test(fields, members_of_every_type_are_read)
{
    struct sample s = {0};
    enum sp_code rc =
        read_text("{\"api_key\":\"k\",\"region\":\"eu\",\"note\":\"a\\nb\",\"port\":2222,"
                  "\"environment\":{\"A\":\"1\",\"B\":\"\"},\"timeout\":600,"
                  "\"wait\":2.5,\"size\":\"1M\",\"secure\":false}",
                  &s, NULL);

    cr_assert(eq(int, rc, SP_OK));
    cr_expect(eq(str, s.region, "eu"));
    cr_expect(eq(str, s.note, "a\nb"));
    cr_expect(eq(str, s.environment, "{\"A\":\"1\",\"B\":\"\"}"));
    cr_expect(eq(i64, s.timeout, 600));
    cr_expect(eq(i64, s.port, 2222));
    cr_expect(eq(i64, s.wait, 2500));
    cr_expect(eq(i64, s.size, 1048576));
    cr_expect(not(s.secure));
    clear(&s);
}

Test(fields, numbers_are_fine_for_durations_and_sizes)
{
    struct sample s = {0};

    cr_assert(eq(int, read_text("{\"api_key\":\"k\",\"wait\":7,\"size\":4096}", &s, NULL), SP_OK));

    cr_expect(eq(i64, s.wait, 7000));
    cr_expect(eq(i64, s.size, 4096));
    clear(&s);
}

Test(fields, the_first_variable_that_is_not_empty_counts)
{
    struct sample s = {0};
    struct sp_error err = {0};
    json_auto_t *obj = json_pack("{s:s}", "api_key", "k");
    setenv("SP_TEST_IMAGE", "", 1);
    setenv("SP_TEST_PICTURE", "other:1", 1);

    cr_assert(eq(int, sp_fields_read(fields, SP_COUNT(fields), obj, &s, &err), SP_OK), "%s",
              err.msg);

    cr_expect(eq(str, s.image, "other:1"));
    sp_fields_clear(fields, SP_COUNT(fields), &s);
}

Test(fields, the_environment_comes_before_the_default)
{
    struct sample s = {0};

    setenv("SP_TEST_IMAGE", "mine:1", 1);
    setenv("SP_TEST_PORT", "2200", 1);
    cr_assert(eq(int, read_text("{\"api_key\":\"k\",\"port\":23}", &s, NULL), SP_OK));

    cr_expect(eq(str, s.image, "mine:1"));
    cr_expect(eq(i64, s.port, 23));
    clear(&s);
}

Test(fields, a_bad_variable_is_named)
{
    struct sample s = {0};
    struct sp_error err = {0};

    setenv("SP_TEST_PORT", "ssh", 1);
    cr_assert(eq(int, read_text("{\"api_key\":\"k\"}", &s, &err), SP_E_INVALID));

    cr_expect(eq(str, err.msg, "environment variable SP_TEST_PORT: port: expected an integer"));
}

Test(fields, an_empty_text_in_a_field_with_options_is_its_default)
{
    struct sample s = {0};

    cr_assert(eq(int, read_text("{\"api_key\":\"k\",\"region\":\"\"}", &s, NULL), SP_OK));

    cr_expect(eq(str, s.region, "us"));
    clear(&s);
}

static const struct {
    const char *json, *message;
} bad_settings[] = {
    {"[]", "settings: expected an object"},
    {"{}", "api_key: required"},
    {"{\"api_key\":\"\"}", "api_key: required"},
    {"{\"api_key\":1}", "api_key: expected a string"},
    {"{\"api_key\":null}", "api_key: expected a string"},
    {"{\"api_key\":\"k\",\"region\":\"mars\"}", "region: must be one of us, eu"},
    {"{\"api_key\":\"k\",\"timeout\":0}", "timeout: 0 is out of range (1 to 600)"},
    {"{\"api_key\":\"k\",\"timeout\":601}", "timeout: 601 is out of range (1 to 600)"},
    {"{\"api_key\":\"k\",\"timeout\":true}", "timeout: expected an integer"},
    {"{\"api_key\":\"k\",\"timeout\":\"30\"}", "timeout: expected an integer"},
    {"{\"api_key\":\"k\",\"timeout\":30.0}", "timeout: expected an integer"},
    {"{\"api_key\":\"k\",\"secure\":1}", "secure: expected true or false"},
    {"{\"api_key\":\"k\",\"secure\":\"true\"}", "secure: expected true or false"},
    {"{\"api_key\":\"k\",\"environment\":[]}", "environment: expected an object of strings"},
    {"{\"api_key\":\"k\",\"environment\":{\"A\":1}}", "environment: A: expected a string"},
    {"{\"api_key\":\"k\",\"wait\":\"soon\"}",
     "wait: expected a duration such as 30s, 1m30s or 500ms"},
    {"{\"api_key\":\"k\",\"wait\":\"2h\"}", "wait: 2h is out of range (0s to 1h)"},
    {"{\"api_key\":\"k\",\"wait\":-1}", "wait: expected a duration such as 30s, 1m30s or 500ms"},
    {"{\"api_key\":\"k\",\"size\":\"1X\"}", "size: expected a size such as 900000, 64K or 10M"},
    {"{\"api_key\":\"k\",\"size\":1.5}", "size: expected a size such as 900000, 64K or 10M"},
    {"{\"api_key\":\"k\",\"size\":\"2M\"}", "size: 2M is out of range (1K to 1M)"},
    {"{\"api_key\":\"k\",\"colour\":1}",
     "colour: unknown setting; known are api_key, region, note, image, environment, timeout, port, "
     "wait, size, secure"},
};

SP_TABLE_TEST(fields, a_bad_setting_is_named_in_the_error, bad_settings, row)
{
    struct sample s = {0}, empty = {0};
    struct sp_error err = {0};

    enum sp_code rc = read_text(row->json, &s, &err);

    cr_assert(eq(int, rc, SP_E_INVALID), "for %s", row->json);
    cr_expect(eq(str, err.msg, (char *)row->message), "for %s", row->json);
    cr_expect(zero(memcmp(&s, &empty, sizeof s)), "left something behind for %s", row->json);
}

Test(fields, text_sets_one_field)
{
    struct sample s = {0};
    struct sp_error err = {0};

    cr_assert(eq(int, sp_fields_defaults(fields, SP_COUNT(fields), &s, NULL), SP_OK));
    cr_assert(eq(int, sp_fields_set_text(fields, SP_COUNT(fields), &s, "wait", "1m", &err), 0));
    cr_assert(eq(int, sp_fields_set_text(fields, SP_COUNT(fields), &s, "secure", "no", &err), 0));
    cr_assert(eq(int, sp_fields_set_text(fields, SP_COUNT(fields), &s, "note", "x", &err), 0));
    cr_assert(eq(
        int, sp_fields_set_text(fields, SP_COUNT(fields), &s, "environment", "{\"A\":\"b\"}", &err),
        0));

    cr_expect(eq(i64, s.wait, 60000));
    cr_expect(not(s.secure));
    cr_expect(eq(str, s.note, "x"));
    cr_expect(eq(str, s.environment, "{\"A\":\"b\"}"));
    clear(&s);
}

Test(fields, bad_text_changes_nothing)
{
    struct sample s = {0};
    struct sp_error err = {0};

    cr_assert(eq(int, sp_fields_defaults(fields, SP_COUNT(fields), &s, NULL), SP_OK));
    enum sp_code rc = sp_fields_set_text(fields, SP_COUNT(fields), &s, "timeout", "9 s", &err);

    cr_assert(eq(int, rc, SP_E_INVALID));
    cr_expect(eq(str, err.msg, "timeout: expected an integer"));
    cr_expect(eq(i64, s.timeout, 30));
    rc = sp_fields_set_text(fields, SP_COUNT(fields), &s, "time_out", "9", &err);
    cr_expect(eq(int, rc, SP_E_INVALID));
    clear(&s);
}

static void expect_json(json_t *got, const char *want)
{
    json_auto_t *expected = json_loads(want, 0, NULL);
    char *text = json_dumps(got, JSON_SORT_KEYS);

    cr_assert(ne(ptr, expected, NULL), "not JSON: %s", want);
    cr_expect(json_equal(got, expected), "got %s, want %s", text, want);
    free(text);
}

static const struct {
    const char *shown, *stored;
} masks[] = {
    {"{\"api_key\":\"********\",\"region\":\"us\"}", "{\"api_key\":\"secret\",\"region\":\"us\"}"},
    {"{\"api_key\":\"env:KEY\"}", "{\"api_key\":\"env:KEY\"}"},
    {"{\"api_key\":\"file:/run/key\"}", "{\"api_key\":\"file:/run/key\"}"},
    {"{\"api_key\":\"\"}", "{\"api_key\":\"\"}"},
    {"{\"api_key\":\"********\"}", "{\"api_key\":12}"},
    {"{\"apikey\":\"********\"}", "{\"apikey\":\"secret\"}"},
};

SP_TABLE_TEST(fields, secrets_are_shown_as_a_mask, masks, row)
{
    json_auto_t *obj = json_loads(row->stored, 0, NULL);

    sp_fields_mask(fields, SP_COUNT(fields), obj);

    expect_json(obj, row->shown);
}

Test(fields, a_mask_that_comes_back_keeps_the_stored_value)
{
    json_auto_t *stored = json_loads("{\"api_key\":\"env:KEY\",\"note\":\"old\"}", 0, NULL);
    json_auto_t *obj = json_loads("{\"api_key\":\"********\",\"note\":\"********\"}", 0, NULL);

    cr_assert(eq(int, sp_fields_unmask(fields, SP_COUNT(fields), obj, stored, NULL), SP_OK));

    expect_json(obj, "{\"api_key\":\"env:KEY\",\"note\":\"********\"}");
}

Test(fields, a_mask_with_nothing_behind_it_is_refused)
{
    json_auto_t *obj = json_loads("{\"api_key\":\"********\"}", 0, NULL);
    struct sp_error err = {0};

    cr_assert(eq(int, sp_fields_unmask(fields, SP_COUNT(fields), obj, NULL, &err), SP_E_INVALID));

    cr_expect(
        eq(str, err.msg,
           "api_key: the mask stands for a stored value, and none is stored; give the value"));
}

Test(fields, the_schema_has_ragflows_keys)
{
    json_auto_t *schema = sp_fields_schema(fields, SP_COUNT(fields));

    expect_json(json_object_get(schema, "api_key"),
                "{\"type\":\"string\",\"required\":true,\"label\":\"API Key\",\"placeholder\":"
                "\"e2b_sk_...\",\"description\":\"key of the team\",\"secret\":true}");
    expect_json(json_object_get(schema, "region"),
                "{\"type\":\"string\",\"required\":false,\"label\":\"Region\",\"default\":\"us\","
                "\"options\":[\"us\",\"eu\"]}");
    expect_json(json_object_get(schema, "note"),
                "{\"type\":\"string\",\"required\":false,\"label\":\"Note\",\"multiline\":true}");
    expect_json(json_object_get(schema, "timeout"),
                "{\"type\":\"integer\",\"required\":false,\"label\":\"Timeout\",\"default\":30,"
                "\"min\":1,\"max\":600}");
    expect_json(json_object_get(schema, "image"),
                "{\"type\":\"string\",\"required\":false,\"label\":\"Image\",\"default\":"
                "\"base:latest\",\"scope\":\"deployment\",\"readonly\":true}");
    expect_json(json_object_get(schema, "secure"),
                "{\"type\":\"boolean\",\"required\":false,\"label\":\"Secure\",\"default\":true,"
                "\"scope\":\"runtime\",\"readonly\":false}");
    expect_json(json_object_get(schema, "environment"),
                "{\"type\":\"object\",\"required\":false,\"description\":\"variables\"}");
    cr_expect(eq(sz, json_object_size(schema), SP_COUNT(fields)));
}

Test(fields, the_schema_shows_the_default_of_the_environment)
{
    setenv("SP_TEST_IMAGE", "mine:1", 1);
    setenv("SP_TEST_PORT", "ssh", 1);
    json_auto_t *schema = sp_fields_schema(fields, SP_COUNT(fields));
    json_t *image = json_object_get(schema, "image"), *port = json_object_get(schema, "port");

    cr_expect(eq(str, (char *)json_string_value(json_object_get(image, "default")), "mine:1"));
    cr_expect(eq(int, (int)json_integer_value(json_object_get(port, "default")), 22));
}

Test(fields, the_schema_never_shows_a_secret_of_the_environment)
{
    struct token {
        char *token;
    };
    static const struct sp_field one[] = {
        SP_ROW_STR(struct token, token, .flags = SP_SECRET, .env = "SP_TEST_TOKEN"),
    };

    setenv("SP_TEST_TOKEN", "hush", 1);
    json_auto_t *schema = sp_fields_schema(one, 1);

    expect_json(schema, "{\"token\":{\"type\":\"string\",\"required\":false,\"secret\":true}}");
}

Test(fields, the_table_of_the_docs_names_defaults_and_limits)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_fields_markdown(fields, SP_COUNT(fields), &text), SP_OK));

    static const char *const lines[] = {
        "| key | type | default | allowed | meaning |\n",
        "| `api_key` | string, required, secret |  |  | key of the team |\n",
        "| `region` | string | `us` | `us`, `eu` |  |\n",
        "| `image` | string | `$SP_TEST_IMAGE`, else `$SP_TEST_PICTURE`, else `base:latest` |  |  "
        "|\n",
        "| `environment` | object | `{}` |  | variables |\n",
        "| `wait` | duration | `1m30s` | 0s to 1h |  |\n",
        "| `secure` | boolean | `true` |  |  |\n",
    };
    for (size_t i = 0; i < SP_COUNT(lines); i++)
        cr_expect(ne(ptr, strstr(text.data, lines[i]), NULL), "%s\nmisses %s", text.data, lines[i]);
}
