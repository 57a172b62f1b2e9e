/* Every row of the registry, so that a new provider is covered the day it is added. */
#include "providers/registry.h"

#include <string.h>

#include "tests/support.h"

static const char *const order[] = {"local", "self_managed", "ssh", "aliyun_codeinterpreter",
                                    "e2b"};

Test(registry, lists_the_providers_in_their_order)
{
    for (size_t i = 0; i < SP_COUNT(order); i++) {
        cr_assert(sp_registry_at(i) != NULL);
        cr_expect(eq(str, (char *)sp_registry_at(i)->name, (char *)order[i]));
        cr_expect(eq(ptr, (void *)(uintptr_t)sp_registry_find(order[i]),
                     (void *)(uintptr_t)sp_registry_at(i)));
    }
    cr_expect(sp_registry_at(SP_COUNT(order)) == NULL);
    cr_expect(sp_registry_find("none") == NULL);
    cr_expect(sp_registry_find("") == NULL);
    cr_expect(sp_registry_find(SP_PROVIDER_DEFAULT) != NULL);
}

Test(registry, a_wrong_name_is_told_with_those_there_are)
{
    const struct sp_provider_ops *ops = NULL;
    struct sp_error err = {0};

    cr_expect(eq(int, sp_registry_get("e2b", &ops, &err), SP_OK));
    cr_expect(eq(ptr, (void *)(uintptr_t)ops, (void *)(uintptr_t)sp_registry_find("e2b")));
    cr_expect(eq(int, sp_registry_get("docker", &ops, &err), SP_E_INVALID));
    cr_expect(eq(str, err.msg,
                 "there is no provider \"docker\"; there are local, self_managed, ssh, "
                 "aliyun_codeinterpreter, e2b"));
}

static void expect_words(const char *const *words, const char *what)
{
    cr_assert(words != NULL && words[0] != NULL, "%s", what);
    for (size_t i = 0; words[i]; i++)
        cr_expect(words[i][0] != '\0', "%s", what);
}

Test(registry, every_provider_describes_itself)
{
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++) {
        cr_expect(ops->title && ops->title[0], "%s", ops->name);
        cr_expect(ops->description && ops->description[0], "%s", ops->name);
        expect_words(ops->tags, ops->name);
        expect_words(ops->languages, ops->name);
        for (size_t j = 0; j < i; j++)
            cr_expect(strcmp(sp_registry_at(j)->name, ops->name) != 0, "%s twice", ops->name);
    }
}

Test(registry, a_provider_is_whole_or_not_built_at_all)
{
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++) {
        bool built = ops->open != NULL;
        cr_expect(eq(int, ops->create != NULL, built), "%s", ops->name);
        cr_expect(eq(int, ops->execute != NULL, built), "%s", ops->name);
        cr_expect(eq(int, ops->destroy != NULL, built), "%s", ops->name);
        cr_expect(eq(int, ops->close != NULL, built), "%s", ops->name);
    }
}

static void check_field(const struct sp_provider_ops *ops, const struct sp_field *f)
{
    cr_expect(f->help && f->help[0], "%s.%s has no help", ops->name, f->key);
    cr_expect(f->label && f->label[0], "%s.%s has no label", ops->name, f->key);
    cr_expect(f->offset < ops->settings_size, "%s.%s", ops->name, f->key);
    if (f->flags & SP_RANGED && f->type == SP_FIELD_INT && !(f->flags & SP_NO_DEFAULT))
        cr_expect(f->min <= f->def_int && f->def_int <= f->max, "%s.%s", ops->name, f->key);
    for (const struct sp_field *other = ops->fields; other < f; other++)
        cr_expect(strcmp(other->key, f->key) != 0, "%s.%s twice", ops->name, f->key);
}

Test(registry, every_field_is_whole)
{
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++) {
        cr_expect(lt(sz, 0, ops->n_fields), "%s", ops->name);
        for (size_t j = 0; j < ops->n_fields; j++)
            check_field(ops, &ops->fields[j]);
    }
}

Test(registry, every_provider_has_a_schema_and_a_table)
{
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++) {
        sp_auto(sp_buf_clear) struct sp_buf table = SP_BUF_INIT(1 << 20);
        json_auto_t *schema = sp_fields_schema(ops->fields, ops->n_fields);

        cr_assert(eq(int, sp_fields_markdown(ops->fields, ops->n_fields, &table), SP_OK));

        cr_expect(eq(sz, json_object_size(schema), ops->n_fields), "%s", ops->name);
        for (size_t j = 0; j < ops->n_fields; j++) {
            json_t *descriptor = json_object_get(schema, ops->fields[j].key);
            cr_expect(json_string_value(json_object_get(descriptor, "type")) != NULL, "%s.%s",
                      ops->name, ops->fields[j].key);
            cr_expect(strstr(sp_buf_str(&table), ops->fields[j].key) != NULL, "%s.%s", ops->name,
                      ops->fields[j].key);
        }
    }
}

Test(registry, only_aliyun_shows_the_value_in_stdout_by_itself)
{
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++)
        cr_expect(eq(int, ops->result_in_stdout, strcmp(ops->name, "aliyun_codeinterpreter") == 0));
}

/* Beyond RAGFlow's tables: CONTRACT.md 7. */
static const struct {
    const char *provider, *keys[9];
} further[] = {
    {"local", {"isolation", "environment"}},
    {"self_managed", {"max_retries", "pool_size"}},
    {"ssh", {"host_key_fingerprint", "max_sessions"}},
    {"aliyun_codeinterpreter",
     {"security_token", "control_endpoint", "data_endpoint", "pool_size"}},
    {"e2b",
     {"domain", "api_url", "sandbox_url", "template", "mode", "allow_internet", "secure",
      "pool_size"}},
};

SP_TABLE_TEST(registry, a_provider_has_the_fields_of_the_contract, further, row)
{
    const struct sp_provider_ops *ops = sp_registry_find(row->provider);
    json_auto_t *schema = sp_fields_schema(ops->fields, ops->n_fields);

    for (size_t i = 0; row->keys[i]; i++)
        cr_expect(json_object_get(schema, row->keys[i]) != NULL, "%s.%s", ops->name, row->keys[i]);
}

Test(registry, every_provider_refuses_an_unknown_key_by_name)
{
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++) {
        json_auto_t *settings = json_pack("{s:i}", "nonsense", 1);
        void *out = calloc(1, ops->settings_size);
        struct sp_error err = {0};

        enum sp_code rc = sp_fields_read(ops->fields, ops->n_fields, settings, out, &err);

        cr_expect(eq(int, rc, SP_E_INVALID), "%s", ops->name);
        cr_expect(strncmp(err.msg, "nonsense: unknown setting", 25) == 0, "%s: %s", ops->name,
                  err.msg);
        free(out);
    }
}

Test(registry, one_more_can_be_added)
{
    static const struct sp_provider_ops extra = {.name = "extra"};

    sp_registry_add(&extra);

    cr_expect(sp_registry_find("extra") == &extra);
    cr_expect(sp_registry_at(SP_COUNT(order)) == &extra);
}
