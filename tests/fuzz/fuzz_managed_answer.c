/*
 * What an executor manager can answer: a line with the HTTP status, then the body. Whatever comes,
 * the code says whether the program may have begun, texts are UTF-8, the value and the metadata are
 * JSON, and the limits hold.
 */
#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"
#include "providers/protocol.h"
#include "providers/self_managed/answer.h"
#include "tests/fuzz/fuzz.h"

static const struct sp_limits limits = {
    .output_bytes = 100, .artifacts = 2, .artifact_bytes = 20, .artifacts_total = 30};

static void check_stream(const struct sp_stream *stream)
{
    if (!stream->text)
        return;
    CHECK(stream->text[stream->len] == '\0' && sp_utf8_valid(stream->text, stream->len));
    CHECK(stream->truncated == (stream->bytes > limits.output_bytes));
    CHECK(stream->len <=
          (size_t)limits.output_bytes + 64); /* with the line about what is left out */
}

static void check_json(const char *text, size_t len)
{
    struct sp_json_value value;
    CHECK(sp_json_scan(text, len, &value, NULL) == SP_OK && value.depth <= SP_VALUE_DEPTH_MAX);
}

static void check_metadata(const char *members)
{
    sp_auto(sp_buf_clear) struct sp_buf object = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    CHECK(sp_buf_addf(&object, "{%s}", members) == SP_OK);
    check_json(sp_buf_str(&object), object.len);
}

static void check_artifacts(const struct sp_result *r)
{
    size_t total = 0;

    CHECK(r->n_artifacts <= (size_t)limits.artifacts && r->n_refused <= 200);
    for (size_t i = 0; i < r->n_artifacts; i++) {
        const struct sp_artifact *a = &r->artifacts[i];
        CHECK(a->name[0] && a->name[0] != '/' && !strstr(a->name, "..//") && a->mime_type);
        CHECK(strncmp(a->name, "../", 3) != 0 && !strstr(a->name, "/../"));
        CHECK(a->len <= (size_t)limits.artifact_bytes);
        total += a->len;
    }
    CHECK(total <= (size_t)limits.artifacts_total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    char line[8] = "";
    int64_t http = 200;
    if (!end || end - data >= (ptrdiff_t)sizeof(line))
        return 0;
    memcpy(line, data, (size_t)(end - data));
    if (!sp_parse_i64(line, 100, 999, &http))
        return 0;
    size_t len = size - (size_t)(end + 1 - data);
    sp_auto(sp_free_str) char *body =
        sp_memdup(end + 1, len); /* its end is seen by the sanitizer */
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_error err = {0};
    const struct sp_service_answer answer = {.http = (int)http,
                                             .body = {body, len},
                                             .suffix = "s",
                                             .timeout_ms = 1000,
                                             .limits = &limits};

    enum sp_code rc = sp_service_answer_read(&answer, &r, &err);

    CHECK(rc == SP_OK ? r.started == SP_STARTED_YES : err.msg[0] && r.started != SP_STARTED_YES);
    CHECK(r.started != SP_STARTED_NO || (!r.out.text && !r.metadata && !r.result_present));
    check_stream(&r.out);
    check_stream(&r.err);
    check_artifacts(&r);
    if (r.metadata)
        check_metadata(r.metadata);
    if (r.result_present)
        check_json(r.result_value, r.result_value_len);
    return 0;
}
