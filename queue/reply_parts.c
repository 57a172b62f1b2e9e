/* Sizes are measured as JSON carries them, so that one pass fits. */
#include "queue/reply_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum {
    FIXED = SP_PART_ARTIFACT, /* parts that every reply has */
    ATTACHMENT_BYTES = 256,   /* of an entry in attachments without a name: not worth less */
    LINE_BYTES = 128,         /* of the line about what was left out, and of what names the cut */
};

/* What a byte takes inside a JSON string. */
static size_t cost(char c)
{
    if ((unsigned char)c >= 0x20)
        return c == '"' || c == '\\' ? 2 : 1;
    return c != '\0' && strchr("\b\t\n\f\r", c) ? 2 : 6;
}

static size_t text_cost(struct sp_bytes text)
{
    size_t bytes = 0;
    for (size_t i = 0; i < text.len; i++)
        bytes += cost(text.data[i]);
    return bytes;
}

static struct sp_part stream_part(enum sp_part_kind kind, const struct sp_stream *stream)
{
    struct sp_bytes raw = {stream->text ? stream->text : "", stream->len};
    return (struct sp_part){
        .kind = kind,
        .raw = raw,
        .seen = stream->truncated ? (size_t)stream->bytes : raw.len,
        .encoded = text_cost(raw),
        .kept = {.max = SP_BUF_UNBOUNDED},
    };
}

enum sp_code sp_parts_init(struct sp_parts *parts, const struct sp_result *result,
                           const struct sp_part_store *store)
{
    *parts = (struct sp_parts){.n = FIXED + result->n_artifacts, .store = store};
    parts->items = calloc(parts->n, sizeof(*parts->items));
    if (!parts->items)
        return SP_E_NOMEM;

    parts->items[SP_PART_STDOUT] = stream_part(SP_PART_STDOUT, &result->out);
    parts->items[SP_PART_STDERR] = stream_part(SP_PART_STDERR, &result->err);
    parts->items[SP_PART_VALUE] = (struct sp_part){
        .kind = SP_PART_VALUE,
        .raw = {result->result_value, result->result_value_len},
        .encoded = result->result_value_len,
    };
    for (size_t i = 0; i < result->n_artifacts; i++) {
        const struct sp_artifact *artifact = &result->artifacts[i];
        parts->items[FIXED + i] = (struct sp_part){
            .kind = SP_PART_ARTIFACT,
            .raw = {artifact->data, artifact->len},
            .name = artifact->name,
            .encoded = (artifact->len + 2) / 3 * 4,
        };
    }
    return SP_OK;
}

void sp_parts_clear(struct sp_parts *parts)
{
    for (size_t i = 0; parts->items && i < parts->n; i++)
        sp_buf_clear(&parts->items[i].kept);
    free(parts->items);
    *parts = (struct sp_parts){0};
}

size_t sp_parts_encoded(const struct sp_parts *parts)
{
    size_t bytes = 0;
    for (size_t i = 0; i < parts->n; i++)
        bytes += parts->items[i].encoded;
    return bytes;
}

/* A stream that was cut can be cut further; what is smaller than its mention stays. */
static bool can_shrink(const struct sp_part *part)
{
    bool stream = part->kind == SP_PART_STDOUT || part->kind == SP_PART_STDERR;
    size_t mention = ATTACHMENT_BYTES + (part->name ? strlen(part->name) : 0);
    return part->encoded > mention &&
           (part->state == SP_PART_WHOLE || (stream && part->state == SP_PART_CUT));
}

static struct sp_part *find_largest(const struct sp_parts *parts)
{
    struct sp_part *largest = NULL;
    for (size_t i = 0; i < parts->n; i++) {
        struct sp_part *part = &parts->items[i];
        if (can_shrink(part) && (!largest || part->encoded > largest->encoded))
            largest = part;
    }
    return largest;
}

/* A store that failed once is left alone: each try may block. */
static bool move(struct sp_parts *parts, struct sp_part *part)
{
    if (!parts->store || part->state != SP_PART_WHOLE)
        return false;
    if (parts->store->put(parts->store->ctx, part->raw.data, part->raw.len, part->ref, NULL)) {
        parts->store = NULL;
        return false;
    }
    sp_sha256_hex(part->raw.data, part->raw.len, part->sha256);
    part->state = SP_PART_MOVED;
    part->encoded = 0;
    return true;
}

/* The longest beginning that costs at most budget and does not split a character. */
static size_t head_length(struct sp_bytes text, size_t budget)
{
    size_t n = 0, spent = 0;
    while (n < text.len && spent + cost(text.data[n]) <= budget)
        spent += cost(text.data[n++]);
    return n < text.len ? sp_utf8_floor(text.data, n) : n;
}

/* Where the longest such end begins. */
static size_t tail_start(struct sp_bytes text, size_t budget)
{
    size_t at = text.len, spent = 0;
    while (at > 0 && spent + cost(text.data[at - 1]) <= budget)
        spent += cost(text.data[--at]);
    while (at < text.len && ((unsigned char)text.data[at] & 0xC0) == 0x80)
        at++;
    return at;
}

/* Keeps the first and the last half of the budget, with a line of its own between them. The line of
 * an earlier cut lies in the middle and goes with it, so its bytes count here. */
static enum sp_code keep_ends(struct sp_part *part, size_t budget)
{
    size_t head = head_length(part->raw, budget / 2);
    size_t tail = tail_start(part->raw, budget / 2);
    size_t kept = head + part->raw.len - tail;
    size_t left_out = part->seen > kept ? part->seen - kept : tail - head;
    bool line_open = head > 0 && part->raw.data[head - 1] != '\n';

    enum sp_code rc = sp_buf_add(&part->kept, part->raw.data, head);
    if (!rc) {
        rc = sp_buf_addf(&part->kept, "%s[sandpiper: %zu bytes left out]\n", line_open ? "\n" : "",
                         left_out);
    }
    return rc ? rc : sp_buf_add(&part->kept, part->raw.data + tail, part->raw.len - tail);
}

/* Without room for more than the line, or without memory, nothing is kept. */
static void cut_stream(struct sp_part *part, size_t excess)
{
    size_t room = part->encoded > excess ? part->encoded - excess : 0;
    sp_buf_reset(&part->kept);
    if (room > (size_t)2 * LINE_BYTES && keep_ends(part, room - LINE_BYTES))
        sp_buf_clear(&part->kept);
    part->encoded = text_cost((struct sp_bytes){part->kept.data, part->kept.len});
}

bool sp_parts_shrink(struct sp_parts *parts, size_t excess)
{
    struct sp_part *part = find_largest(parts);
    if (!part)
        return false;
    if (move(parts, part))
        return true;
    part->state = SP_PART_CUT;
    if (part->kind == SP_PART_STDOUT || part->kind == SP_PART_STDERR) {
        cut_stream(part, excess);
    } else {
        part->encoded = 0;
    }
    return true;
}
