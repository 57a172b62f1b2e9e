/* The input as traceparent and as tracestate: what we would send on is valid again. */
#include <string.h>

#include "queue/trace.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    char ours[SP_TRACEPARENT_SIZE], again[SP_TRACEPARENT_SIZE];

    if (sp_trace_continue(text, size, ours)) {
        CHECK(strlen(ours) == SP_TRACEPARENT_SIZE - 1);
        CHECK(memcmp(ours + 3, text + 3, 33) == 0);
        CHECK(sp_trace_continue(ours, strlen(ours), again));
    }
    if (sp_tracestate_valid(text, size))
        CHECK(!memchr(text, '\0', size) && !memchr(text, '\n', size));
    return 0;
}
