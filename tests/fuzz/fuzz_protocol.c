/*
 * What a program can write to the worker: once as its result document, once as its stdout with
 * markers in it. A value that is accepted is one well-formed JSON value, not too deep; taking the
 * markers out of stdout only ever removes bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"
#include "providers/protocol.h"
#include "tests/fuzz/fuzz.h"

static void check_value(const struct sp_result *r)
{
    struct sp_json_value value;

    CHECK(r->result_present == (r->result_value != NULL));
    if (!r->result_present)
        return;
    CHECK(sp_json_scan(r->result_value, r->result_value_len, &value, NULL) == SP_OK);
    CHECK(value.raw.len == r->result_value_len && value.depth <= SP_VALUE_DEPTH_MAX);
}

static void read_document(const char *text, size_t len)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_error err = {0};
    enum sp_code rc = sp_protocol_read(text, len, &r, &err);

    CHECK(rc == SP_OK || (rc == SP_E_INVALID && err.msg[0] && !r.result_present));
    check_value(&r);
}

static void take_markers(const char *text, size_t len)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    r.out = (struct sp_stream){.text = sp_memdup(text, len), .len = len};

    CHECK(sp_protocol_take_marker(&r, "s") == SP_OK);
    CHECK(r.out.len <= len && r.out.text[r.out.len] == '\0');
    check_value(&r);
    CHECK(sp_protocol_echo_value(&r) == SP_OK);
    if (!r.result_present)
        CHECK(r.out.len <= len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_auto(sp_free_str) char *text = sp_memdup(data, size); /* its end is seen by the sanitizer */

    read_document(text, size);
    take_markers(text, size);
    return 0;
}
