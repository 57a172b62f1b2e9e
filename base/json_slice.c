/* JSON as in RFC 8259, read for its structure only. */
#include "base/json_slice.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Which containers are open, one bit a level: set for an object. Most texts stay within local. */
struct stack {
    unsigned char local[64];
    unsigned char *heap; /* NULL while local is enough */
    size_t depth, deepest;
};

struct scanner {
    const char *start, *at, *end;
    struct stack stack;
    struct sp_error *err;
};

static enum sp_code wrong(const struct scanner *s, const char *what)
{
    return sp_error_set(s->err, SP_E_INVALID, "byte %zu: %s", (size_t)(s->at - s->start), what);
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

static bool accept(struct scanner *s, char c)
{
    s->at = skip_blanks(s->at, s->end);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static unsigned char *stack_bits(struct stack *stack)
{
    return stack->heap ? stack->heap : stack->local;
}

/* Doubles the room when all of it is used: at 64 bytes, 128, 256, ... */
static bool stack_grow(struct stack *stack)
{
    size_t bytes = stack->depth / 8;

    if (stack->depth % 8 != 0 || bytes < sizeof(stack->local) || (bytes & (bytes - 1)) != 0)
        return true;

    unsigned char *grown = realloc(stack->heap, 2 * bytes);

    if (!grown)
        return false;
    if (!stack->heap)
        memcpy(grown, stack->local, sizeof(stack->local));
    stack->heap = grown;
    return true;
}

static bool stack_push(struct stack *stack, bool object)
{
    if (!stack_grow(stack))
        return false;

    unsigned char *byte = &stack_bits(stack)[stack->depth / 8];
    unsigned bit = 1u << (stack->depth % 8);

    *byte = (unsigned char)(object ? *byte | bit : *byte & ~bit);
    if (++stack->depth > stack->deepest)
        stack->deepest = stack->depth;
    return true;
}

static bool stack_top_is_object(struct stack *stack)
{
    size_t top = stack->depth - 1;

    return stack_bits(stack)[top / 8] >> (top % 8) & 1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* The four hex digits of a \u escape; -1 when they are not all there. */
static int read_hex4(const char *at, const char *end)
{
    int value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Behind a backslash. */
static enum sp_code scan_escape(struct scanner *s)
{
    if (s->at == s->end)
        return wrong(s, "the string does not end");
    if (*s->at == 'u') {
        if (read_hex4(s->at + 1, s->end) < 0)
            return wrong(s, "expected four hex digits behind \\u");
        s->at += 5;
        return SP_OK;
    }
    if (!*s->at || !strchr("\"\\/bfnrt", *s->at))
        return wrong(s, "unknown escape");
    s->at++;
    return SP_OK;
}

static enum sp_code scan_string(struct scanner *s)
{
    const char *from = ++s->at;

    for (;;) {
        while (s->at < s->end && (unsigned char)*s->at >= 0x20 && *s->at != '"' && *s->at != '\\')
            s->at++;
        if (s->at == s->end)
            return wrong(s, "the string does not end");
        if (*s->at == '"')
            break;
        if (*s->at != '\\')
            return wrong(s, "control character in a string");
        s->at++;

        enum sp_code rc = scan_escape(s);

        if (rc)
            return rc;
    }
    if (!sp_utf8_valid(from, (size_t)(s->at - from))) {
        s->at = from;
        return wrong(s, "the string is not valid UTF-8");
    }
    s->at++;
    return SP_OK;
}

static bool scan_digits(struct scanner *s)
{
    const char *from = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from;
}

static bool at_one_of(const struct scanner *s, char a, char b)
{
    return s->at < s->end && (*s->at == a || *s->at == b);
}

static enum sp_code scan_number(struct scanner *s)
{
    if (*s->at == '-')
        s->at++;
    if (at_one_of(s, '0', '0')) {
        s->at++;
    } else if (!scan_digits(s)) {
        return wrong(s, "expected a digit");
    }
    if (at_one_of(s, '.', '.')) {
        s->at++;
        if (!scan_digits(s))
            return wrong(s, "expected a digit");
    }
    if (at_one_of(s, 'e', 'E')) {
        s->at++;
        if (at_one_of(s, '+', '-'))
            s->at++;
        if (!scan_digits(s))
            return wrong(s, "expected a digit");
    }
    return SP_OK;
}

static enum sp_code scan_word(struct scanner *s, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return wrong(s, "expected a value");
    s->at += len;
    return SP_OK;
}

static enum sp_code scan_scalar(struct scanner *s)
{
    switch (*s->at) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        if (*s->at == '-' || (*s->at >= '0' && *s->at <= '9'))
            return scan_number(s);
        return wrong(s, "expected a value");
    }
}

static enum sp_code scan_key(struct scanner *s)
{
    s->at = skip_blanks(s->at, s->end);
    if (s->at == s->end || *s->at != '"')
        return wrong(s, "expected a member's name");

    enum sp_code rc = scan_string(s);

    if (rc)
        return rc;
    return accept(s, ':') ? SP_OK : wrong(s, "expected a colon");
}

/* Up to where the next value is due: behind the brackets that open it and the name before it. An
 * empty container is a value by itself: *value_due is then false. */
static enum sp_code scan_opening(struct scanner *s, bool *value_due)
{
    for (;;) {
        bool object = accept(s, '{');

        *value_due = true;
        if (!object && !accept(s, '['))
            return SP_OK;
        if (!stack_push(&s->stack, object))
            return sp_error_set(s->err, SP_E_NOMEM, "no memory for JSON of this depth");
        if (accept(s, object ? '}' : ']')) {
            s->stack.depth--;
            *value_due = false;
            return SP_OK;
        }

        enum sp_code rc = object ? scan_key(s) : SP_OK;

        if (rc)
            return rc;
    }
}

/* Behind a value: closes what ends here; *more when another value of the same text is due. */
static enum sp_code scan_closing(struct scanner *s, bool *more)
{
    for (; s->stack.depth > 0; s->stack.depth--) {
        bool object = stack_top_is_object(&s->stack);

        if (accept(s, ',')) {
            *more = true;
            return object ? scan_key(s) : SP_OK;
        }
        if (!accept(s, object ? '}' : ']'))
            return wrong(s, object ? "expected a comma or }" : "expected a comma or ]");
    }
    *more = false;
    return SP_OK;
}

static enum sp_code scan_value(struct scanner *s)
{
    bool more = true;

    while (more) {
        bool value_due;
        enum sp_code rc = scan_opening(s, &value_due);

        if (!rc && value_due)
            rc = s->at < s->end ? scan_scalar(s) : wrong(s, "expected a value");
        if (!rc)
            rc = scan_closing(s, &more);
        if (rc)
            return rc;
    }
    return SP_OK;
}

static enum sp_json_type type_of(char first)
{
    switch (first) {
    case '{':
        return SP_JSON_OBJECT;
    case '[':
        return SP_JSON_ARRAY;
    case '"':
        return SP_JSON_STRING;
    case 't':
    case 'f':
        return SP_JSON_BOOL;
    case 'n':
        return SP_JSON_NULL;
    default:
        return SP_JSON_NUMBER;
    }
}

enum sp_code sp_json_scan(const char *text, size_t len, struct sp_json_value *out,
                          struct sp_error *err)
{
    if (len == 0)
        return sp_error_set(err, SP_E_INVALID, "byte 0: expected a value");

    struct scanner s = {.start = text, .end = text + len, .err = err};
    const char *from = skip_blanks(text, s.end);

    s.at = from;

    enum sp_code rc = scan_value(&s);
    const char *to = s.at;

    free(s.stack.heap);
    if (rc)
        return rc;
    s.at = skip_blanks(to, s.end);
    if (s.at < s.end)
        return wrong(&s, "text behind the value");
    *out = (struct sp_json_value){
        .raw = {from, (size_t)(to - from)}, .type = type_of(*from), .depth = s.stack.deepest};
    return SP_OK;
}

/* From here on the text is known to be right, so a value is found by its brackets alone. */

/* at: the opening quote. Gives what follows the closing one. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at + 1;
}

static struct sp_json_value take_value(const char **at, const char *end)
{
    const char *from = *at, *p = from;
    size_t depth = 0, deepest = 0;

    do {
        if (*p == '"') {
            p = skip_string(p, end);
            continue;
        }
        if (*p == '{' || *p == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if (*p == '}' || *p == ']') {
            depth--;
        }
        p++;
    } while (depth > 0);
    if (deepest == 0 && *from != '"') {
        while (p < end && !strchr(",}] \t\r\n", *p))
            p++;
    }
    *at = p;
    return (struct sp_json_value){
        .raw = {from, (size_t)(p - from)}, .type = type_of(*from), .depth = deepest};
}

struct sp_json_iter sp_json_iter(const struct sp_json_value *container)
{
    if (container->type != SP_JSON_OBJECT && container->type != SP_JSON_ARRAY)
        return (struct sp_json_iter){0};

    const char *raw = container->raw.data;
    size_t len = container->raw.len;

    return (struct sp_json_iter){
        .at = raw + 1, .end = raw + len - 1, .object = container->type == SP_JSON_OBJECT};
}

bool sp_json_iter_next(struct sp_json_iter *it, struct sp_bytes *key, struct sp_json_value *value)
{
    const char *at = skip_blanks(it->at, it->end);

    if (at == it->end)
        return false;
    if (*at == ',')
        at = skip_blanks(at + 1, it->end);
    *key = (struct sp_bytes){"", 0};
    if (it->object) {
        const char *behind = skip_string(at, it->end);

        *key = (struct sp_bytes){at + 1, (size_t)(behind - at) - 2};
        at = skip_blanks(behind, it->end);
        at = skip_blanks(at + 1, it->end); /* the colon */
    }
    *value = take_value(&at, it->end);
    it->at = at;
    return true;
}

/* Decodes a string's raw text, a piece at a time. */
struct decoder {
    const char *at, *end;
    char piece[4];
    size_t len; /* of piece */
};

static size_t encode_utf8(int c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* at: behind \u. A pair of surrogates is one character, a lone one becomes U+FFFD. */
static int decode_hex4(struct decoder *d)
{
    int c = read_hex4(d->at, d->end);

    d->at += 4;
    if (c < 0xD800 || c > 0xDFFF)
        return c;
    if (c < 0xDC00 && d->end - d->at >= 6 && d->at[0] == '\\' && d->at[1] == 'u') {
        int low = read_hex4(d->at + 2, d->end);

        if (low >= 0xDC00 && low <= 0xDFFF) {
            d->at += 6;
            return 0x10000 + ((c - 0xD800) << 10 | (low - 0xDC00));
        }
    }
    return 0xFFFD;
}

static void decode_escape(struct decoder *d)
{
    static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    char c = d->at[1];

    d->at += 2;
    if (c == 'u') {
        d->len = encode_utf8(decode_hex4(d), d->piece);
        return;
    }

    const char *name = memchr(names, c, sizeof(names) - 1);

    d->piece[0] = c;
    if (name)
        d->piece[0] = bytes[name - names];
    d->len = 1;
}

/* False at the end. */
static bool decode_next(struct decoder *d)
{
    if (d->at == d->end)
        return false;
    if (*d->at == '\\') {
        decode_escape(d);
    } else {
        d->piece[0] = *d->at++;
        d->len = 1;
    }
    return true;
}

bool sp_json_key_is(struct sp_bytes raw_key, const char *name)
{
    size_t len = strlen(name), done = 0;
    struct decoder d = {.at = raw_key.data, .end = raw_key.data + raw_key.len};

    while (decode_next(&d)) {
        if (d.len > len - done || memcmp(name + done, d.piece, d.len) != 0)
            return false;
        done += d.len;
    }
    return done == len;
}

static bool has_escape(struct sp_bytes raw)
{
    return raw.len > 0 && memchr(raw.data, '\\', raw.len);
}

bool sp_json_key_equal(struct sp_bytes a, struct sp_bytes b)
{
    if (!has_escape(a) && !has_escape(b))
        return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);

    struct decoder da = {.at = a.data, .end = a.data + a.len};
    struct decoder db = {.at = b.data, .end = b.data + b.len};
    size_t ia = 0, ib = 0;

    for (;;) {
        bool more_a = ia < da.len || (ia = 0, decode_next(&da));
        bool more_b = ib < db.len || (ib = 0, decode_next(&db));

        if (!more_a || !more_b)
            return more_a == more_b;
        if (da.piece[ia++] != db.piece[ib++])
            return false;
    }
}

bool sp_json_get(const struct sp_json_value *object, const char *name, struct sp_json_value *out)
{
    struct sp_json_iter it = sp_json_iter(object);
    struct sp_json_value value;
    struct sp_bytes key;
    bool found = false;

    while (sp_json_iter_next(&it, &key, &value)) {
        if (it.object && sp_json_key_is(key, name)) {
            *out = value;
            found = true;
        }
    }
    return found;
}

enum sp_code sp_json_unescape(const struct sp_json_value *string, struct sp_buf *out)
{
    if (string->type != SP_JSON_STRING)
        return SP_E_INVALID;

    struct decoder d = {.at = string->raw.data + 1, .end = string->raw.data + string->raw.len - 1};
    enum sp_code rc = SP_OK;

    while (d.at < d.end && !rc) {
        const char *stop = memchr(d.at, '\\', (size_t)(d.end - d.at));
        size_t plain = (size_t)((stop ? stop : d.end) - d.at);

        rc = sp_buf_add(out, d.at, plain);
        d.at += plain;
        if (!rc && decode_next(&d))
            rc = sp_buf_add(out, d.piece, d.len);
    }
    return rc;
}

bool sp_json_text_is(const struct sp_json_value *value, const char *text)
{
    return value->type == SP_JSON_STRING &&
           sp_json_key_is((struct sp_bytes){value->raw.data + 1, value->raw.len - 2}, text);
}

bool sp_json_i64(const struct sp_json_value *value, int64_t min, int64_t max, int64_t *out)
{
    char text[24];

    if (value->type != SP_JSON_NUMBER || value->raw.len >= sizeof(text))
        return false;
    memcpy(text, value->raw.data, value->raw.len);
    text[value->raw.len] = '\0';
    return sp_parse_i64(text, min, max, out);
}
