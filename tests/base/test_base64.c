#include <string.h>

#include "base/text.h"
#include "tests/support.h"

static const struct {
    const char *plain, *encoded;
} pairs[] = {
    {"", ""},
    {"f", "Zg=="},
    {"ab", "YWI="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xFB\xFF\xFE", "+//+"},
};

SP_TABLE_TEST(base64, text_goes_there_and_back, pairs, row)
{
    sp_auto(sp_buf_clear) struct sp_buf encoded = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf decoded = SP_BUF_INIT(strlen(row->plain));

    cr_assert(eq(int, sp_base64_encode(row->plain, strlen(row->plain), &encoded), SP_OK));
    cr_expect(eq(str, (char *)sp_buf_str(&encoded), (char *)row->encoded));

    cr_assert(eq(int, sp_base64_decode(row->encoded, strlen(row->encoded), &decoded), SP_OK));
    cr_expect(eq(str, (char *)sp_buf_str(&decoded), (char *)row->plain));
}

static const char *const bad[] = {"Z",      "Zg",   "Zg=",  "=",     "====",  "Z===",    "Zg==Zg==",
                                  "Zm9v\n", "Z m9", "Zm-_", "Zm9=v", " Zm9v", "Zm9vZ=g="};

SP_TABLE_TEST(base64, what_is_not_base64_is_refused, bad, row)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_expect(eq(int, sp_base64_decode(*row, strlen(*row), &out), SP_E_INVALID), "for %s", *row);
    cr_expect(zero(sz, out.len));
}

Test(base64, both_append_and_obey_the_ceiling)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(6);

    cr_assert(eq(int, sp_buf_adds(&out, "ab"), SP_OK));
    cr_expect(eq(int, sp_base64_decode("Zm9vYmE=", 8, &out), SP_E_LIMIT));
    cr_expect(eq(int, sp_base64_encode("abcd", 4, &out), SP_E_LIMIT));
    cr_expect(eq(str, out.data, "ab"));
    cr_expect(eq(int, sp_base64_encode("abc", 3, &out), SP_OK));
    cr_expect(eq(str, out.data, "abYWJj"));
}

Test(base64, every_length_and_byte_survives)
{
    unsigned char bytes[257];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 7);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        sp_auto(sp_buf_clear) struct sp_buf encoded = SP_BUF_INIT(SP_BUF_UNBOUNDED);
        sp_auto(sp_buf_clear) struct sp_buf decoded = SP_BUF_INIT(len);

        cr_assert(eq(int, sp_base64_encode(bytes, len, &encoded), SP_OK));
        cr_assert(eq(int, sp_base64_decode(encoded.data, encoded.len, &decoded), SP_OK));
        cr_assert(eq(sz, decoded.len, len));
        cr_assert(zero(int, memcmp(sp_buf_str(&decoded), bytes, len)));
    }
}

Test(base64, more_than_one_piece_is_joined_without_padding)
{
    size_t len = 3 * ((size_t)1 << 24) + 4; /* libcrypto gets 3 * 2^24 bytes at once */
    sp_auto(sp_free_str) char *bytes = sp_memdup("", 0);
    sp_auto(sp_buf_clear) struct sp_buf encoded = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf decoded = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    bytes = realloc(bytes, len);
    cr_assert(not(zero(ptr, bytes)));
    memset(bytes, 'x', len - 1);
    bytes[len - 1] = 'y';
    cr_assert(eq(int, sp_base64_encode(bytes, len, &encoded), SP_OK));
    cr_assert(eq(int, sp_base64_decode(encoded.data, encoded.len, &decoded), SP_OK));

    cr_expect(eq(sz, decoded.len, len));
    cr_expect(zero(int, memcmp(decoded.data, bytes, len)));
}

Test(base64, sha_256_is_the_standard_one)
{
    char digest[65];

    sp_sha256_hex("abc", 3, digest);

    cr_expect(eq(str, digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}
