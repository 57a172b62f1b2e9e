/* Known names are few and found one by one; the unknown ones, of which a hostile record may hold a
 * million, are sorted to find a name that is there twice. */
#include "queue/json_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct names {
    struct sp_bytes *items; /* escapes decoded; borrowed from the record or from `decoded` */
    size_t n, room;
    struct sp_buf decoded; /* never moves, since all of it is reserved at once */
};

static void names_clear(struct names *names)
{
    free(names->items);
    sp_buf_clear(&names->decoded);
}

static enum sp_code decode(struct names *names, size_t room, struct sp_bytes *name)
{
    enum sp_code rc = names->decoded.data ? SP_OK : sp_buf_reserve(&names->decoded, room);
    if (rc)
        return rc;
    const struct sp_json_value quoted = {.raw = {name->data - 1, name->len + 2},
                                         .type = SP_JSON_STRING};
    size_t from = names->decoded.len;
    rc = sp_json_unescape(&quoted, &names->decoded);
    if (rc)
        return rc;
    *name = (struct sp_bytes){names->decoded.data + from, names->decoded.len - from};
    return SP_OK;
}

/* room: of all the names together. */
static enum sp_code names_add(struct names *names, size_t room, struct sp_bytes name)
{
    if (names->n == names->room) {
        size_t more = names->room ? 2 * names->room : 16;
        struct sp_bytes *items = realloc(names->items, more * sizeof(*items));
        if (!items)
            return SP_E_NOMEM;
        names->items = items;
        names->room = more;
    }
    if (name.len > 0 && memchr(name.data, '\\', name.len)) {
        enum sp_code rc = decode(names, room, &name);
        if (rc)
            return rc;
    }
    names->items[names->n++] = name;
    return SP_OK;
}

static int compare(const void *a, const void *b)
{
    const struct sp_bytes *x = a, *y = b;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->len > 0 ? memcmp(x->data, y->data, x->len) : 0;
}

static const struct sp_bytes *find_twice(struct names *names)
{
    if (names->n > 1)
        qsort(names->items, names->n, sizeof(*names->items), compare);
    for (size_t i = 1; i < names->n; i++) {
        if (compare(&names->items[i - 1], &names->items[i]) == 0)
            return &names->items[i];
    }
    return NULL;
}

static enum sp_code given_twice(struct sp_error *err, const char *name, size_t len)
{
    size_t shown = sp_utf8_floor(name, len < 80 ? len : 80);
    return sp_error_set(err, SP_E_INVALID, "%.*s: given twice", (int)shown, name);
}

static struct sp_member *find_member(struct sp_member *members, size_t n_members,
                                     struct sp_bytes key)
{
    for (size_t i = 0; i < n_members; i++) {
        if (sp_json_key_is(key, members[i].name))
            return &members[i];
    }
    return NULL;
}

static enum sp_code sort_members(const struct sp_json_value *object, struct sp_member *members,
                                 size_t n_members, struct names *unknown, struct sp_error *err)
{
    enum sp_code result = SP_OK;
    struct sp_json_iter it = sp_json_iter(object);
    struct sp_json_value value;
    struct sp_bytes key;
    while (sp_json_iter_next(&it, &key, &value)) {
        struct sp_member *member = find_member(members, n_members, key);
        if (!member) {
            enum sp_code rc = names_add(unknown, object->raw.len, key);
            if (rc)
                return sp_error_set(err, rc, "no memory for the record's names");
        } else if (member->seen) {
            result = given_twice(err, member->name, strlen(member->name));
        } else {
            member->seen = true;
            member->value = value;
        }
    }
    return result;
}

enum sp_code sp_json_read_members(const struct sp_json_value *object, struct sp_member *members,
                                  size_t n_members, struct sp_error *err)
{
    struct names unknown = {.decoded = SP_BUF_INIT(SP_BUF_UNBOUNDED)};

    enum sp_code rc = sort_members(object, members, n_members, &unknown, err);
    const struct sp_bytes *twice = rc ? NULL : find_twice(&unknown);
    if (twice)
        rc = given_twice(err, twice->data, twice->len);
    names_clear(&unknown);
    return rc;
}

/* Whether \uXXXX stands at `at`, a surrogate whose third digit is one of `halves`. */
static bool is_surrogate(const char *at, const char *halves)
{
    return at[0] == '\\' && at[1] == 'u' && (at[2] | 0x20) == 'd' && strchr(halves, at[3]);
}

/* \ud800 without its other half: JSON allows it, UTF-8 cannot hold it. The closing quote and the
 * escape's own length keep the look ahead inside the text. */
static bool has_half_surrogate(struct sp_bytes raw)
{
    static const char high[] = "89abAB", low[] = "cdefCDEF";
    const char *at = raw.data, *end = raw.data + raw.len;

    while ((at = memchr(at, '\\', (size_t)(end - at)))) {
        if (is_surrogate(at, low))
            return true;
        bool first = is_surrogate(at, high);
        if (first && !is_surrogate(at + 6, low))
            return true;
        at += first ? 12 : 2;
    }
    return false;
}

enum sp_code sp_json_read_text(const char *field, const struct sp_json_value *value, size_t max,
                               struct sp_buf *out, struct sp_error *err)
{
    *out = SP_BUF_INIT(max);
    if (value->type != SP_JSON_STRING)
        return sp_error_set(err, SP_E_INVALID, "%s: expected a string", field);
    if (has_half_surrogate(value->raw))
        return sp_error_set(err, SP_E_INVALID, "%s: half a surrogate pair is not text", field);

    size_t most = value->raw.len - 2; /* decoding never grows */
    enum sp_code rc = sp_buf_reserve(out, most < max ? most : max);
    if (!rc)
        rc = sp_json_unescape(value, out);
    if (rc == SP_E_LIMIT)
        return sp_error_set(err, rc, "%s: longer than %zu bytes", field, max);
    return rc ? sp_error_set(err, rc, "%s: out of memory", field) : SP_OK;
}

enum sp_code sp_json_read_base64(const char *field, const struct sp_json_value *value, size_t max,
                                 struct sp_buf *out, struct sp_error *err)
{
    *out = SP_BUF_INIT(max);
    if (value->type != SP_JSON_STRING)
        return sp_error_set(err, SP_E_INVALID, "%s: expected a string", field);

    struct sp_bytes text = {value->raw.data + 1, value->raw.len - 2};
    sp_auto(sp_buf_clear) struct sp_buf plain = SP_BUF_INIT(text.len);
    enum sp_code rc = SP_OK;
    if (text.len > 0 && memchr(text.data, '\\', text.len)) { /* some writers escape the slash */
        rc = sp_json_unescape(value, &plain);
        text = (struct sp_bytes){sp_buf_str(&plain), plain.len};
    }
    if (!rc)
        rc = sp_base64_decode(text.data, text.len, out);
    if (rc == SP_E_INVALID)
        return sp_error_set(err, rc, "%s: not base64 (standard alphabet, with padding)", field);
    if (rc == SP_E_LIMIT)
        return sp_error_set(err, rc, "%s: longer than %zu bytes", field, max);
    return rc ? sp_error_set(err, rc, "%s: out of memory", field) : SP_OK;
}
