#include "worker/claims/value.h"

#include <string.h>

#include "base/text.h"

enum { ATTEMPTS_MAX = 1000000000 };

#define VERSION "1"
#define NO_DIGEST "-"

/* Cuts the next word off, up to the blank behind it, or all when there is none. */
static struct sp_bytes next_word(struct sp_bytes *rest)
{
    const char *blank = rest->len ? memchr(rest->data, ' ', rest->len) : NULL;
    struct sp_bytes word = {rest->data, blank ? (size_t)(blank - rest->data) : rest->len};
    size_t used = word.len + (blank ? 1 : 0);
    rest->data += used;
    rest->len -= used;
    return word;
}

/* In one spelling only, so that what is read is what would be written. */
static bool read_number(struct sp_bytes word, int64_t min, int64_t *out)
{
    char text[16] = "";
    if (word.len == 0 || word.len >= sizeof text || (word.data[0] == '0' && word.len > 1))
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
        text[i] = word.data[i];
    }
    return sp_parse_i64(text, min, ATTEMPTS_MAX, out);
}

static bool is_hex(struct sp_bytes word, size_t len)
{
    if (word.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = word.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

static bool read_stem(struct sp_bytes *line, struct sp_claim_value *v)
{
    const char *begin = line->data;
    bool ok = sp_bytes_are(next_word(line), VERSION);
    ok = ok && read_number(next_word(line), 1, &v->attempt);
    ok = ok && read_number(next_word(line), 0, &v->died) && v->died <= v->attempt;
    v->record = next_word(line);
    v->digest = next_word(line);
    v->owner = next_word(line);
    if (!ok || v->record.len == 0 || !is_hex(v->owner, SP_INCARNATION_SIZE - 1))
        return false;
    if (!is_hex(v->digest, SP_DIGEST_SIZE - 1) && !sp_bytes_are(v->digest, NO_DIGEST))
        return false;
    v->stem = (struct sp_bytes){begin, (size_t)(v->owner.data + v->owner.len - begin)};
    return true;
}

static bool read_flags(struct sp_bytes word, struct sp_claim_value *v)
{
    static const struct {
        const char *text;
        bool remembered, is_blob;
    } spellings[] = {
        {"-", false, false}, {"r", true, false}, {"b", false, true}, {"rb", true, true}};

    for (size_t i = 0; i < SP_COUNT(spellings); i++) {
        if (sp_bytes_are(word, spellings[i].text)) {
            v->result.remembered = spellings[i].remembered;
            v->is_blob = spellings[i].is_blob;
            return true;
        }
    }
    return false;
}

static bool read_status(struct sp_bytes word, enum sp_status *out)
{
    for (int i = 0; i < SP_STATUS_COUNT; i++) {
        if (sp_bytes_are(word, sp_status_name((enum sp_status)i))) {
            *out = (enum sp_status)i;
            return true;
        }
    }
    return false;
}

static bool read_result(struct sp_bytes *line, struct sp_claim_value *v)
{
    if (!read_flags(next_word(line), v) || !read_status(next_word(line), &v->result.status) ||
        !read_number(next_word(line), 0, &v->result.attempt))
        return false;
    struct sp_bytes id = next_word(line);
    if (!is_hex(id, SP_RESULT_ID_SIZE - 1))
        return false;
    memcpy(v->result.result_id, id.data, id.len);
    v->worker = *line;
    v->has_result = true;
    return line->len > 0 && (!v->is_blob || is_hex(v->body, SP_BLOB_ID_SIZE - 1));
}

static bool is_state(char c)
{
    return c == SP_CLAIM_CLAIMED || c == SP_CLAIM_RELEASED || c == SP_CLAIM_FINISHED ||
           c == SP_CLAIM_DELIVERED;
}

bool sp_claim_value_read(const char *data, size_t len, struct sp_claim_value *out)
{
    const char *end = len ? memchr(data, '\n', len) : NULL;
    if (!end || !is_state(data[0]))
        return false;
    struct sp_claim_value v = {.state = (enum sp_claim_state)data[0]};
    struct sp_bytes line = {data + 1, (size_t)(end - data) - 1};
    v.body = (struct sp_bytes){end + 1, len - (size_t)(end + 1 - data)};
    if (!read_stem(&line, &v))
        return false;
    bool bare = v.owner.data + v.owner.len == end;
    bool may_be_bare = v.state != SP_CLAIM_FINISHED;
    bool may_have_result = v.state == SP_CLAIM_FINISHED || v.state == SP_CLAIM_DELIVERED;
    if (bare ? !may_be_bare || v.body.len > 0 : !may_have_result || !read_result(&line, &v))
        return false;
    *out = v;
    return true;
}

enum sp_code sp_claim_stem_add(struct sp_buf *out, int64_t attempt, int64_t died,
                               const char *record, const char *digest, const char *owner)
{
    return sp_buf_addf(out, VERSION " %lld %lld %s %s %s", (long long)attempt, (long long)died,
                       record, *digest ? digest : NO_DIGEST, owner);
}

enum sp_code sp_claim_result_add(struct sp_buf *out, const struct sp_stored_reply *result,
                                 bool is_blob)
{
    const char *flags = is_blob              ? (result->remembered ? "rb" : "b")
                        : result->remembered ? "r"
                                             : "-";
    return sp_buf_addf(out, " %s %s %lld %s %s\n", flags, sp_status_name(result->status),
                       (long long)result->attempt, result->result_id, result->worker);
}
