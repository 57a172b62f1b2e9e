/* A reply out of a topic that others may write to: read, completed with attachments, shown. */
#include <stdlib.h>

#include "base/text.h"
#include "cli/answer.h"
#include "tests/fuzz/fuzz.h"

static enum sp_code fetch(void *ctx, const char *ref, struct sp_buf *out, struct sp_error *err)
{
    (void)ctx;
    (void)err;
    return sp_buf_adds(out, ref);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sp_attachment_source source = {NULL, fetch};
    struct sp_answer answer = {0};
    struct sp_error err = {0};
    char *text = sp_memdup(data, size);

    if (sp_answer_read(text, size, &answer, &err)) {
        free(text);
        return 0;
    }
    FILE *nowhere = fopen("/dev/null", "w");
    int code = sp_answer_exit_code(&answer);
    CHECK(code >= 0 && code <= 255);
    enum sp_code rc = sp_answer_complete(&answer, &source, &err);
    CHECK(!rc || err.msg[0]);
    sp_answer_show(&answer, true, nowhere, nowhere);
    fclose(nowhere);
    sp_answer_clear(&answer);
    return 0;
}
