/* The frames of the reference, e2b 8.2, and what is not one. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/text.h"
#include "providers/e2b/process_event.h"
#include "tests/support.h"

#define START "00000000207b226576656e74223a7b227374617274223a7b22706964223a313131367d7d7d"
#define OUT_HI "00000000247b226576656e74223a7b2264617461223a7b227374646f7574223a2261476b4b227d7d7d"
#define ERR_ERR                                                                                    \
    "00000000287b226576656e74223a7b2264617461223a7b22737464657272223a225a584a7943673d3d227d7d7d"
#define KEEPALIVE "000000001a7b226576656e74223a7b226b656570616c697665223a7b7d7d7d"
#define EXIT_0                                                                                     \
    "000000003b7b226576656e74223a7b22656e64223a7b22657869746564223a747275652c2022737461747573223a" \
    "2265786974207374617475732030227d7d7d"
#define EXIT_3                                                                                     \
    "00000000627b226576656e74223a7b22656e64223a7b2265786974436f6465223a332c2022657869746564223a74" \
    "7275652c2022737461747573223a2265786974207374617475732033222c20226572726f72223a22657869742073" \
    "74617475732033227d7d7d"
#define KILLED                                                                                     \
    "00000000567b226576656e74223a7b22656e64223a7b2265786974436f6465223a2d312c2022737461747573223a" \
    "227369676e616c3a206b696c6c6564222c20226572726f72223a227369676e616c3a206b696c6c6564227d7d7d"
#define END_OK "02000000027b7d"
#define END_LATE                                                                                   \
    "020000004c7b226572726f72223a7b22636f6465223a22646561646c696e655f6578636565646564222c226d6573" \
    "73616765223a22636f6e7465787420646561646c696e65206578636565646564227d7d"
#define GZIP                                                                                       \
    "01000000341f8b0800000000000203ab564a2d4bcd2b51b2aa564a492c4904d1c52529f9a54011a544f76c6fa5da" \
    "da5a00a0ff769a24000000"

/* Everything that came, in short: "start|out hi\n|..." */
struct seen {
    struct sp_buf text;
};

static enum sp_code note(void *ctx, const struct sp_connect_frame *frame, struct sp_error *err)
{
    static const char *const names[] = {
        [SP_PROCESS_OTHER] = "other", [SP_PROCESS_START] = "start",
        [SP_PROCESS_STDOUT] = "out ", [SP_PROCESS_STDERR] = "err ",
        [SP_PROCESS_END] = "end",     [SP_PROCESS_STREAM_END] = "over"};
    struct seen *seen = ctx;
    sp_auto(sp_process_event_clear) struct sp_process_event event = {.exit_code = 0};
    enum sp_code rc = sp_process_event_read(frame, &event, err);

    if (rc)
        return rc;
    (void)sp_buf_addf(&seen->text, "%s%.*s", names[event.kind], (int)event.data.len,
                      sp_buf_str(&event.data));
    if (event.kind == SP_PROCESS_END)
        (void)sp_buf_addf(&seen->text, " %d%s", event.exit_code, event.exited ? "" : event.status);
    return sp_buf_addc(&seen->text, '|');
}

static size_t from_hex(const char *hex, char *out)
{
    size_t n = 0;
    unsigned byte;
    for (; sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        out[n] = (char)byte;
    return n;
}

static const struct stream_case {
    const char *name, *hex;
    enum sp_code rc;
    const char *seen;
    const char *message; /* part of it; NULL: none */
    bool ended;
} streams[] = {
    {"a whole stream", START OUT_HI ERR_ERR KEEPALIVE EXIT_0 END_OK, SP_OK,
     "start|out hi\n|err err\n|other|end 0|over|", NULL, true},
    {"exit 3", EXIT_3 END_OK, SP_OK, "end 3|over|", NULL, true},
    {"a signal", KILLED END_OK, SP_OK, "end -1signal: killed|over|", NULL, true},
    {"a deadline", START END_LATE, SP_E_TIMEOUT, "start|",
     "deadline_exceeded: context deadline exceeded", true},
    {"cut after the start", START "0000", SP_OK, "start|", NULL, false},
    {"an end with metadata alone", "020000000f7b226d65746164617461223a7b7d7d", SP_OK, "over|", NULL,
     true},
    {"an empty end", "0200000000", SP_E_INVALID, "", "not as it should be", true},
    {"more after the end", END_OK "00", SP_E_INVALID, "over|", "follows the end", true},
    {"a compressed frame", GZIP, SP_E_INVALID, "", "compressed", false},
    {"a compressed end", "0300000000", SP_E_INVALID, "", "compressed", false},
    {"an unknown flag", "8000000000", SP_E_INVALID, "", "no frames", false},
    {"a length beyond sense", "00ffffffff", SP_E_LIMIT, "", "4294967295 bytes", false},
    {"a page", "3c68746d6c3e3c626f64793e", SP_E_INVALID, "", "no frames", false},
    {"no JSON", "00000000022222", SP_E_INVALID, "", "not as it should be", false},
    {"an unknown event", "00000000147b226576656e74223a7b226e6577223a7b7d7d7d", SP_OK, "other|",
     NULL, false},
    {"what others write: nulls, and a slash as two characters",
     "000000002b7b226576656e74223a7b2264617461223a7b227374646f7574223a225c2f2f383d227d7d2c2278223a"
     "317d"
     "000000003f7b226576656e74223a7b22656e64223a7b2265786974436f6465223a6e756c6c2c22657869746564223"
     "a"
     "747275652c22737461747573223a6e756c6c7d7d7d"
     "020000000e7b226572726f72223a6e756c6c7d",
     SP_OK, "out \xff\xff|end 0|over|", NULL, true},
    {"an exit code that is no number of the protocol's",
     "00000000227b226576656e74223a7b22656e64223a7b2265786974436f6465223a312e357d7d7d", SP_E_INVALID,
     "", "not as it should be", false},
    {"an end that is no object", "00000000137b226576656e74223a7b22656e64223a317d7d", SP_E_INVALID,
     "", "not as it should be", false},
    {"output that is no base64",
     "00000000217b226576656e74223a7b2264617461223a7b227374646f7574223a222a227d7d7d", SP_E_INVALID,
     "", "not as it should be", false},
};

static void expect_stream(const struct stream_case *row, size_t piece)
{
    char bytes[1024];
    size_t len = from_hex(row->hex, bytes);
    sp_auto(sp_connect_clear) struct sp_connect connect = {.head_len = 0};
    struct seen seen = {.text = SP_BUF_INIT(4096)};
    struct sp_error err = {0};
    enum sp_code rc = SP_OK;

    for (size_t at = 0; at < len && !rc; at += piece)
        rc = sp_connect_feed(&connect, bytes + at, len - at < piece ? len - at : piece, note, &seen,
                             &err);

    cr_expect(eq(int, rc, row->rc), "%s, %zu bytes at once: %s", row->name, piece, err.msg);
    cr_expect(strcmp(sp_buf_str(&seen.text), row->seen) == 0, "%s: %s", row->name,
              sp_buf_str(&seen.text));
    cr_expect(strstr(err.msg, row->message ? row->message : "") != NULL, "%s: %s", row->name,
              err.msg);
    cr_expect(eq(int, connect.ended, row->ended), "%s", row->name);
    sp_buf_clear(&seen.text);
}

SP_TABLE_TEST(e2b_connect, frames_are_read_however_they_are_cut, streams, row)
{
    static const size_t pieces[] = {1024, 1, 3, 7};
    for (size_t i = 0; i < SP_COUNT(pieces); i++)
        expect_stream(row, pieces[i]);
}

Test(e2b_connect, a_request_is_one_envelope)
{
    static const char json[] =
        "{\"process\":{\"cmd\":\"python3\",\"args\":[\"-c\",\"print(1)\"]},\"stdin\":false}";
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(1024);
    char expected[128];
    size_t len = from_hex(
        "00000000447b2270726f63657373223a7b22636d64223a22707974686f6e33222c2261726773223a5b222d63"
        "222c227072696e74283129225d7d2c22737464696e223a66616c73657d",
        expected);

    cr_assert(eq(int, sp_connect_add(&out, json, strlen(json)), SP_OK));

    cr_assert(eq(sz, out.len, len));
    cr_expect(memcmp(out.data, expected, len) == 0);
}

/* Each of the values would take a hundred times its bytes as a tree. */
Test(e2b_connect, a_frame_of_many_small_values_costs_no_memory_beside)
{
    enum { VALUES = 2000000 };
    static char json[VALUES * 3 + 64];
    struct rusage before, after;
    struct sp_process_event event = {.exit_code = 0};
    size_t len = (size_t)snprintf(json, sizeof json, "{\"event\":{},\"x\":[{}");

    for (size_t i = 1; i < VALUES; i++, len += 3)
        memcpy(json + len, ",{}", 3);
    memcpy(json + len, "]}", 2);
    const struct sp_connect_frame frame = {.json = json, .len = len + 2};
    getrusage(RUSAGE_SELF, &before);

    enum sp_code rc = sp_process_event_read(&frame, &event, NULL);

    getrusage(RUSAGE_SELF, &after);
    cr_expect(eq(int, rc, SP_OK));
    cr_expect(eq(int, (int)event.kind, SP_PROCESS_OTHER));
    cr_expect(lt(long, after.ru_maxrss - before.ru_maxrss, 50000), "%ld KiB",
              after.ru_maxrss - before.ru_maxrss);
}
