#include "base/request.h"

#include <stdlib.h>

#include "base/text.h"
#include "tests/support.h"

static const struct {
    const char *text;
    enum sp_language language;
} spellings[] = {
    {"python", SP_PYTHON},     {"python3", SP_PYTHON},
    {"py", SP_PYTHON},         {"javascript", SP_JAVASCRIPT},
    {"nodejs", SP_JAVASCRIPT}, {"node", SP_JAVASCRIPT},
    {"js", SP_JAVASCRIPT},     {"  PyThOn\t\n", SP_PYTHON},
    {"\rJS ", SP_JAVASCRIPT},  {"", SP_PYTHON},
    {"   ", SP_PYTHON},
};

SP_TABLE_TEST(request, a_language_has_many_spellings, spellings, row)
{
    enum sp_language language = row->language == SP_PYTHON ? SP_JAVASCRIPT : SP_PYTHON;

    cr_assert(sp_language_parse(row->text, &language), "for '%s'", row->text);
    cr_expect(eq(int, language, row->language), "for '%s'", row->text);
}

static const char *const unknown[] = {"ruby", "python2",     "pyt", "pythonx",
                                      "p y",  "java script", "-"};

SP_TABLE_TEST(request, another_language_is_refused, unknown, row)
{
    enum sp_language language = SP_JAVASCRIPT;

    cr_expect(not(sp_language_parse(*row, &language)), "for '%s'", *row);
    cr_expect(eq(int, language, SP_JAVASCRIPT));
}

Test(request, a_language_is_shown_by_its_long_name)
{
    cr_expect(eq(str, (char *)sp_language_name(SP_PYTHON), "python"));
    cr_expect(eq(str, (char *)sp_language_name(SP_JAVASCRIPT), "javascript"));
}

Test(request, clearing_frees_everything_and_leaves_an_empty_request)
{
    struct sp_request req = {.id = sp_strdup("id"),
                             .code = sp_strdup("code"),
                             .arguments = sp_strdup("{}"),
                             .metadata = sp_strdup("1"),
                             .reply_to = sp_strdup("topic"),
                             .files = calloc(1, sizeof(struct sp_file)),
                             .n_files = 1};

    req.files[0] = (struct sp_file){.name = sp_strdup("a"), .data = sp_strdup("b"), .len = 1};
    sp_request_clear(&req);

    cr_expect(zero(ptr, req.code));
    cr_expect(zero(sz, req.n_files));
    sp_request_clear(&req);
}
