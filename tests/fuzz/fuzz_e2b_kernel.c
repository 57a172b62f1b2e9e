/*
 * What a code interpreter can answer to a cell, in one piece and byte by byte: both give the same
 * output and the same verdict, and the ceilings hold.
 */
#include <string.h>

#include "base/text.h"
#include "providers/e2b/kernel_output.h"
#include "tests/fuzz/fuzz.h"

enum { MAX_OUT = 4096, MAX_ERR = 64 };

static enum sp_code feed(const uint8_t *data, size_t size, size_t piece, struct sp_kernel_output *o)
{
    struct sp_error err = {0};
    enum sp_code rc = SP_OK;

    sp_kernel_output_init(o, MAX_OUT, MAX_ERR);
    for (size_t at = 0; at < size && !rc; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        sp_auto(sp_free_str) char *copy = sp_memdup(data + at, len);
        rc = sp_kernel_output_feed(o, copy, len, &err);
    }
    CHECK(rc == SP_OK || err.msg[0]);
    return rc;
}

static void check_shown(const struct sp_kernel_shown *a, const struct sp_kernel_shown *b)
{
    CHECK(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        CHECK(a->items[i].extension == b->items[i].extension);
        CHECK(a->items[i].data.len > 0 && a->items[i].data.len == b->items[i].data.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_auto(sp_kernel_output_clear) struct sp_kernel_output whole = {.began = false};
    sp_auto(sp_kernel_output_clear) struct sp_kernel_output bytes = {.began = false};

    enum sp_code rc = feed(data, size, size + 1, &whole);

    CHECK(feed(data, size, 1, &bytes) == rc);
    CHECK(whole.out.len == bytes.out.len && whole.out.len <= MAX_OUT);
    CHECK(sp_utf8_valid(sp_buf_str(&whole.out), whole.out.len));
    CHECK(whole.err.bytes == bytes.err.bytes);
    CHECK(whole.began == bytes.began && whole.ended == bytes.ended);
    CHECK(strcmp(whole.error_name, bytes.error_name) == 0);
    CHECK(whole.error_exit == bytes.error_exit && whole.error_text.len <= MAX_OUT);
    check_shown(&whole.shown, &bytes.shown);
    return 0;
}
