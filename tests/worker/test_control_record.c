#include "worker/control_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

static const struct sp_position position = {7, 1700000000000};

static enum sp_code read_settings(const char *json, const struct sp_document *stored,
                                  struct sp_control_settings *out, struct sp_error *err)
{
    return sp_control_settings_read(json, strlen(json), &position, stored, out, err);
}

static const char *text_of(const struct sp_document *doc, const char *name)
{
    const char *text = json_string_value(json_object_get(doc->providers, name));
    return text ? text : "";
}

static const struct {
    const char *key;
    enum sp_control_kind kind;
    const char *id;
} keys[] = {
    {"settings", SP_CONTROL_SETTINGS, ""},
    {"cancel:a", SP_CONTROL_CANCEL, "a"},
    {"cancel:a:b c", SP_CONTROL_CANCEL, "a:b c"},
    {"cancel:", SP_CONTROL_OTHER, ""},
    {"cancel", SP_CONTROL_OTHER, ""},
    {"Settings", SP_CONTROL_OTHER, ""},
    {"settings2", SP_CONTROL_OTHER, ""},
    {"", SP_CONTROL_OTHER, ""},
};

SP_TABLE_TEST(control_record, keys_say_what_a_record_is, keys, row)
{
    struct sp_bytes id = {0};

    cr_expect(eq(int, sp_control_kind(row->key, strlen(row->key), &id), row->kind));

    cr_expect(id.len == strlen(row->id) && !memcmp(id.data ? id.data : "", row->id, id.len));
}

Test(control_record, a_record_without_a_key_is_none_of_ours)
{
    struct sp_bytes id;

    cr_expect(eq(int, sp_control_kind(NULL, 0, &id), SP_CONTROL_OTHER));
}

Test(control_record, settings_are_the_whole_document_with_their_position)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings s = {0};
    struct sp_error err = {0};

    cr_assert(
        eq(int,
           read_settings("{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":"
                         "\"none\"},\"e2b\":{}},\"author\":\"ann\",\"comment\":null}",
                         NULL, &s, &err),
           SP_OK),
        "%s", err.msg);

    cr_expect(eq(str, s.doc.provider_type, "local"));
    cr_expect(eq(str, (char *)text_of(&s.doc, "local"), "{\"isolation\":\"none\"}"));
    cr_expect(eq(str, (char *)text_of(&s.doc, "e2b"), "{}"));
    cr_expect(eq(str, s.doc.author, "ann"));
    cr_expect(eq(ptr, s.doc.comment, NULL));
    cr_expect(s.doc.present && s.doc.has_position);
    cr_expect(eq(i64, s.doc.position.offset, 7));
    cr_expect(not(s.has_made_from));
}

#define LOCAL "\"providers\":{\"local\":{\"isolation\":\"none\"}}"
static const struct {
    const char *json, *message;
} bad[] = {
    {"", "is not valid JSON at line 1"},
    {"{", "is not valid JSON"},
    {"[]", "expected a JSON object"},
    {"{\"provider_type\":\"local\",\"provider_type\":\"e2b\"," LOCAL "}", "is not valid JSON"},
    {"{" LOCAL "}", "provider_type: required"},
    {"{\"provider_type\":\"local\"}", "providers: required"},
    {"{\"provider_type\":null," LOCAL "}", "provider_type: expected text"},
    {"{\"provider_type\":\"local\",\"providers\":[]}", "providers: expected an object"},
    {"{\"provider_type\":\"nobody\"," LOCAL "}", "provider_type: there is no provider \"nobody\""},
    {"{\"provider_type\":\"local\",\"provider\":1," LOCAL "}", "provider: not known here"},
    {"{\"provider_type\":\"local\",\"author\":1," LOCAL "}", "author: expected text"},
    {"{\"provider_type\":\"local\",\"providers\":{\"nobody\":{}}}",
     "providers.nobody: there is no"},
    {"{\"provider_type\":\"local\",\"providers\":{\"local\":1}}",
     "providers.local: expected an object"},
    {"{\"provider_type\":\"local\",\"providers\":{}}", "providers.local: isolation: "},
    {"{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\",\"timeout\":0}}"
     "}",
     "providers.local: timeout: "},
    {"{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\"},\"e2b\":{"
     "\"timeout\":5}}}",
     "providers.e2b: api_key: "},
    {"{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\"},\"e2b\":{"
     "\"api_key\":\"********\"}}}",
     "providers.e2b: api_key: the mask stands for a stored value"},
    {"{\"provider_type\":\"local\",\"base\":\"soon\"," LOCAL "}", "base: expected"},
};

SP_TABLE_TEST(control_record, a_bad_document_is_named_by_its_field, bad, row)
{
    struct sp_control_settings s = {0};
    struct sp_error err = {0};

    cr_expect(eq(int, read_settings(row->json, NULL, &s, &err), SP_E_INVALID), "%s", row->json);

    cr_expect(strncmp(err.msg, row->message, strlen(row->message)) == 0, "%s", err.msg);
    cr_expect(not(s.doc.present));
}

Test(control_record, a_document_that_is_nested_too_deeply_is_refused)
{
    char json[512] = "{\"provider_type\":";
    size_t n = strlen(json);
    memset(json + n, '[', 100);
    memset(json + n + 100, ']', 100);
    strcat(json, "}");
    struct sp_control_settings s = {0};
    struct sp_error err = {0};

    cr_expect(eq(int, read_settings(json, NULL, &s, &err), SP_E_INVALID));

    cr_expect(ne(ptr, strstr(err.msg, "nested"), NULL), "%s", err.msg);
}

#define SECRET(text)                                                                               \
    "{\"provider_type\":\"e2b\",\"providers\":{\"e2b\":{\"api_key\":\"" text "\"}}}"

Test(control_record, a_mask_gives_way_to_what_is_stored)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings before = {0}, after = {0};

    cr_assert(eq(int, read_settings(SECRET("env:KEY"), NULL, &before, NULL), SP_OK));
    cr_assert(eq(int, read_settings(SECRET("********"), &before.doc, &after, NULL), SP_OK));

    cr_expect(eq(str, (char *)text_of(&after.doc, "e2b"), "{\"api_key\":\"env:KEY\"}"));
    cr_expect(eq(str, after.doc.digest, before.doc.digest));
    cr_expect(sp_control_settings_masked("x ********", 10));
    cr_expect(not(sp_control_settings_masked("x", 1)));
}

static const struct {
    const char *json, *field;
} secrets[] = {
    {SECRET("env:KEY"), NULL},
    {SECRET("file:/run/key"), NULL},
    {SECRET("sk-1"), "e2b.api_key"},
};

SP_TABLE_TEST(control_record, a_secret_that_is_no_reference_is_named, secrets, row)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings s = {0};
    char field[96] = "";
    cr_assert(eq(int, read_settings(row->json, NULL, &s, NULL), SP_OK));

    bool found = sp_control_settings_plain_secret(&s.doc, field, sizeof(field));

    cr_expect(eq(int, found, row->field != NULL));
    cr_expect(eq(str, field, (char *)(row->field ? row->field : "")));
}

static const struct {
    bool has_position;
    int64_t offset;
} bases[] = {{true, 41}, {false, -1}};

SP_TABLE_TEST(control_record, what_is_written_is_read_again_with_what_it_was_made_from, bases, row)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings s = {0};
    json_auto_t *providers = json_pack("{s:{s:s}}", "local", "isolation", "none");
    struct sp_change change = {
        .provider_type = "local", .providers = providers, .author = "ann", .comment = "why \"so\""};
    struct sp_document from = {.has_position = row->has_position, .position = {row->offset, 5}};

    char *text = sp_control_settings_write(&change, &from);
    struct sp_error err = {0};
    cr_assert(eq(int, read_settings(text, NULL, &s, &err), SP_OK), "%s", err.msg);

    cr_expect(s.has_made_from);
    cr_expect(eq(i64, s.made_from.offset, row->offset));
    cr_expect(eq(str, s.doc.comment, "why \"so\""));
    free(text);
}

static const struct {
    const char *json;
    enum sp_code rc;
} cancels[] = {
    {"{}", SP_OK},         {"{\"reason\":\"x\",\"by\":\"y\",\"more\":1}", SP_OK},
    {"", SP_E_INVALID},    {"null", SP_E_INVALID},
    {"[1]", SP_E_INVALID},
};

SP_TABLE_TEST(control_record, a_cancellation_is_an_object, cancels, row)
{
    cr_expect(eq(int, sp_control_cancel_check(row->json, strlen(row->json), NULL), row->rc));
}

/* ---- the schema; SYSTEM_PYTHON and SOURCE_DIR come from the build ---- */

static const struct {
    const char *json;
    bool valid;
} schema_samples[] = {
    {"{\"provider_type\":\"local\"," LOCAL "}", true},
    {"{\"provider_type\":\"local\",\"author\":null,\"base\":\"none\"," LOCAL "}", true},
    {"{\"provider_type\":\"local\",\"comment\":\"c\",\"base\":\"4:5\"," LOCAL "}", true},
    {"{\"provider_type\":\"local\",\"base\":\"4\"," LOCAL "}", false},
    {"{\"provider_type\":null," LOCAL "}", false},
    {"{" LOCAL "}", false},
    {"{\"provider_type\":\"local\"}", false},
    {"{\"provider_type\":\"local\",\"providers\":{\"local\":1}}", false},
    {"{\"provider_type\":\"local\",\"version\":1," LOCAL "}", false},
    {"{\"provider_type\":\"local\",\"author\":1," LOCAL "}", false},
    {"[]", false},
};

SP_TABLE_TEST(control_record, the_schema_agrees_with_the_reader, schema_samples, row)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings s = {0};
    char command[1024], verdict[256] = "";
    snprintf(command, sizeof(command),
             "f=$(mktemp) && echo '%s' >$f && '%s' '%s/tests/queue/validate.py' "
             "'%s/conf/schema/control.json' $f; rm -f $f",
             row->json, SYSTEM_PYTHON, SOURCE_DIR, SOURCE_DIR);

    FILE *pipe = popen(command, "r");
    cr_assert(ne(ptr, pipe, NULL));
    cr_assert(ne(ptr, fgets(verdict, sizeof(verdict), pipe), NULL));
    cr_assert(eq(int, pclose(pipe), 0));

    cr_expect(eq(int, strcmp(verdict, "valid\n") == 0, row->valid), "%s", verdict);
    cr_expect(eq(int, read_settings(row->json, NULL, &s, NULL) == SP_OK, row->valid));
}
