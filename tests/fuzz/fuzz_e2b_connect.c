/*
 * What a sandbox can send in place of a process's stream, in one piece and byte by byte: both give
 * the same events and the same verdict.
 */
#include <string.h>

#include "base/text.h"
#include "providers/e2b/process_event.h"
#include "tests/fuzz/fuzz.h"

struct seen {
    size_t events, bytes;
    long long codes;
    bool refused;
};

static enum sp_code note(void *ctx, const struct sp_connect_frame *frame, struct sp_error *err)
{
    struct seen *seen = ctx;
    sp_auto(sp_process_event_clear) struct sp_process_event event = {.kind = SP_PROCESS_OTHER};

    CHECK(frame->json[frame->len] == '\0' && frame->len <= SP_CONNECT_FRAME_MAX);
    enum sp_code rc = sp_process_event_read(frame, &event, err);
    CHECK(rc == SP_OK || err->msg[0]);
    CHECK(memchr(event.status, '\0', sizeof(event.status)));
    CHECK(!event.refused || (frame->end && rc));
    seen->events++;
    seen->bytes += event.data.len;
    seen->codes += event.exit_code;
    seen->refused = event.refused;
    return rc;
}

static enum sp_code feed(const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
    sp_auto(sp_connect_clear) struct sp_connect connect = {.head_len = 0};
    struct sp_error err = {0};
    enum sp_code rc = SP_OK;

    for (size_t at = 0; at < size && !rc; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        sp_auto(sp_free_str) char *copy = sp_memdup(data + at, len);
        rc = sp_connect_feed(&connect, copy, len, note, seen, &err);
    }
    CHECK(rc == SP_OK || err.msg[0]);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0}, bytes = {0};

    enum sp_code rc = feed(data, size, size + 1, &whole);

    CHECK(feed(data, size, 1, &bytes) == rc);
    CHECK(memcmp(&whole, &bytes, sizeof(whole)) == 0);
    return 0;
}
