/* The input as the value of a claim: what is accepted is what would be written. */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/claims/value.h"

static void text_of(struct sp_bytes bytes, char *out, size_t size)
{
    CHECK(bytes.len < size);
    memcpy(out, bytes.data, bytes.len);
    out[bytes.len] = '\0';
}

/* All but texts with a NUL inside, which no writer makes. */
static void write_again(const struct sp_claim_value *v, const uint8_t *data)
{
    char record[4096], digest[80], owner[32], worker[4096];
    struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_stored_reply result = v->result;
    if (v->record.len >= sizeof record || v->worker.len >= sizeof worker ||
        memchr(v->stem.data, '\0', v->stem.len) ||
        (v->has_result && memchr(v->worker.data, '\0', v->worker.len)))
        return;
    text_of(v->record, record, sizeof record);
    text_of(v->digest, digest, sizeof digest);
    text_of(v->owner, owner, sizeof owner);
    CHECK(!sp_buf_addc(&text, (char)v->state));
    CHECK(!sp_claim_stem_add(&text, v->attempt, v->died, record, digest, owner));
    CHECK(text.len == v->stem.len + 1);
    if (v->has_result) {
        text_of(v->worker, worker, sizeof worker);
        result.worker = worker;
        CHECK(!sp_claim_result_add(&text, &result, v->is_blob));
        CHECK(text.len == (size_t)((const uint8_t *)v->body.data - data));
    }
    CHECK(memcmp(text.data, data, text.len) == 0);
    sp_buf_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sp_claim_value v;
    if (!sp_claim_value_read((const char *)data, size, &v))
        return 0;
    CHECK(v.attempt >= 1 && v.died >= 0 && v.died <= v.attempt && v.record.len > 0);
    CHECK(v.has_result || v.state != SP_CLAIM_FINISHED);
    CHECK((const uint8_t *)v.body.data + v.body.len == data + size);
    write_again(&v, data);
    return 0;
}
