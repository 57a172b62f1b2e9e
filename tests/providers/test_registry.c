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

Test(registry, one_more_can_be_added)
{
    static const struct sp_provider_ops extra = {.name = "extra"};

    sp_registry_add(&extra);

    cr_expect(sp_registry_find("extra") == &extra);
    cr_expect(sp_registry_at(SP_COUNT(order)) == &extra);
}
