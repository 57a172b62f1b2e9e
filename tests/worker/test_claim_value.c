#include "worker/claims/value.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OWNER "00112233445566aa"
#define STEM "1 2 1 t-1:0:7:99 " DIGEST " " OWNER
#define RESULT_ID "ffeeddccbbaa99887766554433221100"
#define RESULT " r timeout 3 " RESULT_ID " worker one"

static bool text_is(struct sp_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

Test(claim_value, a_finished_claim_is_read_with_its_result_and_bytes)
{
    static const char text[] = "F" STEM RESULT "\n{\"a\":\n1}\0x";
    struct sp_claim_value v;

    cr_assert(sp_claim_value_read(text, sizeof text - 1, &v));

    cr_expect(eq(int, v.state, SP_CLAIM_FINISHED));
    cr_expect(eq(i64, v.attempt, 2));
    cr_expect(eq(i64, v.died, 1));
    cr_expect(text_is(v.record, "t-1:0:7:99"));
    cr_expect(text_is(v.digest, DIGEST));
    cr_expect(text_is(v.owner, OWNER));
    cr_expect(text_is(v.stem, STEM));
    cr_expect(v.has_result && v.result.remembered && !v.is_blob);
    cr_expect(eq(int, v.result.status, SP_STATUS_TIMEOUT));
    cr_expect(eq(i64, v.result.attempt, 3));
    cr_expect(eq(str, v.result.result_id, RESULT_ID));
    cr_expect(text_is(v.worker, "worker one"));
    cr_expect(eq(sz, v.body.len, 10));
    cr_expect(eq(int, memcmp(v.body.data, "{\"a\":\n1}\0x", 10), 0));
}

static const struct {
    const char *text;
    bool good;
} values[] = {
    {"C" STEM "\n", true},
    {"R" STEM "\n", true},
    {"D" STEM "\n", true}, /* delivered without a stored reply */
    {"D" STEM RESULT "\nbytes", true},
    {"F" STEM RESULT "\n", true},
    {"F" STEM " - ok 1 " RESULT_ID " w\n", true},
    {"F" STEM " rb ok 1 " RESULT_ID " w\n" RESULT_ID, true},
    {"C1 1 0 t:0:0:0 - " OWNER "\n", true},
    {"", false},
    {"C", false},
    {"\n", false},
    {"hello", false},
    {"C" STEM, false},
    {"X" STEM "\n", false},
    {"c" STEM "\n", false},
    {"C" STEM "\nbytes", false},
    {"C" STEM RESULT "\n", false},
    {"R" STEM RESULT "\n", false},
    {"F" STEM "\n", false},
    {"C" STEM " \n", false},
    {"C2 2 1 t:0:0:0 - " OWNER "\n", false},
    {"C1 0 0 t:0:0:0 - " OWNER "\n", false},
    {"C1 1 2 t:0:0:0 - " OWNER "\n", false},
    {"C1 01 0 t:0:0:0 - " OWNER "\n", false},
    {"C1 +1 0 t:0:0:0 - " OWNER "\n", false},
    {"C1 9999999999 0 t:0:0:0 - " OWNER "\n", false},
    {"C1 1 -1 t:0:0:0 - " OWNER "\n", false},
    {"C1 1 0  - " OWNER "\n", false},
    {"C1 1 0 t:0:0:0 abc " OWNER "\n", false},
    {"C1 1 0 t:0:0:0 - 00112233445566AA\n", false},
    {"C1 1 0 t:0:0:0 - 0011\n", false},
    {"F" STEM " x ok 1 " RESULT_ID " w\n", false},
    {"F" STEM " r OK 1 " RESULT_ID " w\n", false},
    {"F" STEM " r ok -1 " RESULT_ID " w\n", false},
    {"F" STEM " r ok 1 " OWNER " w\n", false},
    {"F" STEM " r ok 1 " RESULT_ID " \n", false},
    {"F" STEM " r ok 1 " RESULT_ID "\n", false},
    {"F" STEM " b ok 1 " RESULT_ID " w\nbytes", false},
};

SP_TABLE_TEST(claim_value, what_is_malformed_is_refused, values, row)
{
    struct sp_claim_value v = {.attempt = -7};

    cr_expect(eq(int, sp_claim_value_read(row->text, strlen(row->text), &v), row->good), "%s",
              row->text);
    cr_expect(row->good || v.attempt == -7, "%s", row->text);
}

static void random_hex(char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = "0123456789abcdef"[rand() % 16];
    out[len] = '\0';
}

static void random_word(char *out, size_t max, const char *letters)
{
    size_t len = 1 + (size_t)rand() % max;
    for (size_t i = 0; i < len; i++)
        out[i] = letters[(size_t)rand() % strlen(letters)];
    out[len] = '\0';
}

Test(claim_value, what_is_written_is_read_back_whatever_it_is)
{
    srand(7);
    for (int round = 0; round < 2000; round++) {
        char digest[SP_DIGEST_SIZE] = "", owner[SP_INCARNATION_SIZE], record[300], worker[64];
        int64_t died = rand() % 5, attempt = died + 1 + rand() % 1000;
        struct sp_stored_reply r = {.status = (enum sp_status)(rand() % SP_STATUS_COUNT),
                                    .worker = worker,
                                    .attempt = rand() % 100,
                                    .remembered = rand() % 2};
        sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
        struct sp_claim_value v;
        if (rand() % 2)
            random_hex(digest, SP_DIGEST_SIZE - 1);
        random_hex(owner, SP_INCARNATION_SIZE - 1);
        random_hex(r.result_id, SP_RESULT_ID_SIZE - 1);
        random_word(record, 290, "abcXYZ019.:-_");
        random_word(worker, 60, "ab -\xc3\xa4");

        cr_assert(not(sp_buf_addc(&text, 'F')));
        cr_assert(not(sp_claim_stem_add(&text, attempt, died, record, digest, owner)));
        size_t stem = text.len - 1;
        cr_assert(not(sp_claim_result_add(&text, &r, false)));
        cr_assert(not(sp_buf_add(&text, "\0\n body", 7)));
        cr_assert(sp_claim_value_read(text.data, text.len, &v), "%s", text.data);

        cr_assert(v.attempt == attempt && v.died == died && v.stem.len == stem);
        cr_assert(text_is(v.record, record) && text_is(v.digest, *digest ? digest : "-") &&
                  text_is(v.owner, owner) && text_is(v.worker, worker));
        cr_assert(v.result.status == r.status && v.result.attempt == r.attempt &&
                  v.result.remembered == r.remembered &&
                  strcmp(v.result.result_id, r.result_id) == 0);
        cr_assert(v.body.len == 7 && memcmp(v.body.data, "\0\n body", 7) == 0);
    }
}
