/*
 * json_slice against jansson: what the one accepts, the other accepts, save for what jansson cannot
 * carry. Then every value that was accepted is walked, and its parts are checked as texts of their
 * own.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_slice.h"
#include "tests/fuzz/fuzz.h"

/* Beyond it the walk would be quadratic, and jansson gives up a little later. */
#define DEPTH_WALKED 64

static void check_string(const struct sp_json_value *value, struct sp_bytes key)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_bytes inside = {value->raw.data + 1, value->raw.len - 2};

    CHECK(sp_json_unescape(value, &text) == SP_OK);
    CHECK(text.len <= value->raw.len * 3);
    if (!memchr(sp_buf_str(&text), '\0', text.len))
        CHECK(sp_json_key_is(inside, sp_buf_str(&text)));
    CHECK(sp_json_key_equal(inside, inside));
    CHECK(sp_json_key_equal(inside, key) == sp_json_key_equal(key, inside));
}

/* Recursion is bounded by DEPTH_WALKED. */
static void walk(const struct sp_json_value *container)
{
    struct sp_json_iter it = sp_json_iter(container);
    struct sp_json_value value;
    struct sp_bytes key;

    while (sp_json_iter_next(&it, &key, &value)) {
        struct sp_json_value again;

        CHECK(value.raw.data > container->raw.data);
        CHECK(value.raw.data + value.raw.len < container->raw.data + container->raw.len);
        CHECK(sp_json_scan(value.raw.data, value.raw.len, &again, NULL) == SP_OK);
        CHECK(again.raw.data == value.raw.data && again.raw.len == value.raw.len);
        CHECK(again.type == value.type && again.depth == value.depth);
        CHECK(value.depth < container->depth);
        if (value.type == SP_JSON_STRING)
            check_string(&value, key);
        walk(&value);
    }
}

/* Whether jansson's own limits, not the grammar, can be why it refuses. */
static bool jansson_may_refuse(const char *text, size_t size, const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_numeric_overflow:
    case json_error_stack_overflow:
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return true;
    default:
        return memmem(text, size, "\\u", 2) != NULL; /* lone surrogates */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct sp_json_value value;
    struct sp_error err = {0};
    json_error_t error;
    json_auto_t *root =
        json_loadb(size ? text : "", size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    enum sp_code rc = sp_json_scan(text, size, &value, &err);

    if (rc) {
        CHECK(rc == SP_E_INVALID && strncmp(err.msg, "byte ", 5) == 0);
        CHECK(!root || memchr(text, '\0', size)); /* jansson overlooks one behind a number */
        return 0;
    }
    CHECK(root || jansson_may_refuse(text, size, &error));
    if (value.depth <= DEPTH_WALKED)
        walk(&value);
    return 0;
}
