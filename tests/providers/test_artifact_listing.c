/* What is read out of a service's listing of a folder, and remembered of it. */
#include "providers/artifact_listing.h"

#include <string.h>

#include "tests/support.h"

static const struct {
    const char *entry, *name; /* NULL: it has none that can be used */
    int64_t size;
} entries[] = {
    {"{\"name\":\"a.csv\",\"size\":5}", "a.csv", 5},
    {"{\"name\":\"a \\u00e9.csv\",\"size\":\"17\"}", "a \u00e9.csv", 17},
    {"{\"name\":\"a\",\"size\":-1}", "a", 0},
    {"{\"name\":\"a\",\"size\":\"many\"}", "a", 0},
    {"{\"name\":\"a\",\"size\":12345678901234567890123456}", "a", 0},
    {"{\"name\":\"a\",\"size\":true}", "a", 0},
    {"{\"name\":\"\"}", NULL, 0},
    {"{\"name\":\".\"}", NULL, 0},
    {"{\"name\":\"..\"}", NULL, 0},
    {"{\"name\":\"../a\"}", NULL, 0},
    {"{\"name\":\"a\\u0000.csv\"}", NULL, 0},
    {"{\"name\":\"longer than the buffer's ceiling\"}", NULL, 0},
    {"{\"name\":5}", NULL, 0},
    {"{}", NULL, 0},
    {"[]", NULL, 0},
};

SP_TABLE_TEST(artifact_listing, an_entry_has_a_name_and_a_size, entries, row)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(16);
    struct sp_json_value entry;
    bool usable = false;
    cr_assert(eq(int, sp_json_scan(row->entry, strlen(row->entry), &entry, NULL), SP_OK));

    cr_assert(eq(int, sp_listed_name(&entry, &name, &usable), SP_OK), "%s", row->entry);

    cr_assert(eq(int, usable, row->name != NULL), "%s", row->entry);
    if (row->name) {
        cr_expect(eq(str, (char *)sp_buf_str(&name), (char *)row->name), "%s", row->entry);
        cr_expect(eq(i64, sp_listed_size(&entry), row->size), "%s", row->entry);
    }
}

Test(artifact_listing, a_listed_file_is_found_by_its_path)
{
    static const char *const names[] = {"c.csv", "a.csv", "b.csv"};
    struct sp_artifact_listing listing = {.n = 0};

    cr_expect(sp_artifact_listing_find(&listing, "a.csv") == NULL);
    for (int i = 0; i < 20; i++) {
        const char *folder = i < 10 ? "" : "sub/deep";
        cr_assert(eq(int, sp_artifact_listing_add(&listing, folder, names[i % 3], i), SP_OK));
    }
    const struct sp_listed_file *found = sp_artifact_listing_find(&listing, "sub/deep/b.csv");

    cr_assert(found != NULL);
    cr_expect(eq(str, found->path, (char *)"sub/deep/b.csv"));
    cr_expect(eq(i64, found->size % 3, 2));
    cr_expect(sp_artifact_listing_find(&listing, "c.csv") != NULL);
    cr_expect(sp_artifact_listing_find(&listing, "sub/c.csv") == NULL);
    sp_artifact_listing_clear(&listing);
}
