/*
 * A whole record: lines "name: value" for headers, an empty line, the value. Whatever comes in, the
 * record is either fit to run or can be answered with a well-formed reply.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"
#include "queue/message.h"
#include "queue/reply.h"
#include "tests/fuzz/fuzz.h"

enum { HEADERS_MAX = 16 };

struct parsed {
    char *text; /* the input with NULs in it */
    struct sp_header headers[HEADERS_MAX];
    size_t n_headers;
    const char *value;
    size_t value_len;
};

static void parse(struct parsed *p, const uint8_t *data, size_t size)
{
    *p = (struct parsed){.text = sp_memdup(data, size)};
    CHECK(p->text);
    char *at = p->text, *end = p->text + size;
    while (at < end && p->n_headers < HEADERS_MAX) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        char *colon = line_end ? memmem(at, (size_t)(line_end - at), ": ", 2) : NULL;
        if (!colon) {
            at = line_end == at ? at + 1 : at;
            break;
        }
        *colon = '\0';
        p->headers[p->n_headers++] = (struct sp_header){
            .name = at, .value = colon + 2, .len = (size_t)(line_end - colon - 2)};
        at = line_end + 1;
    }
    p->value = at;
    p->value_len = (size_t)(end - at);
}

static void check_request(const struct sp_request *req, const struct sp_limits *limits)
{
    CHECK(req->code && req->code_len > 0 && (int64_t)req->code_len <= limits->code_bytes);
    CHECK(sp_utf8_valid(req->code, req->code_len));
    CHECK(req->timeout_ms >= 0 && req->queue_ttl_ms >= 0 && req->deadline_ms >= 0);
    CHECK(req->n_files <= SP_FILES_MAX && req->metadata_len <= SP_METADATA_MAX);
    int64_t bytes = 0;
    for (size_t i = 0; i < req->n_files; i++) {
        const char *name = req->files[i].name;
        CHECK(name[0] && name[0] != '/' && strcmp(name, "main.py") != 0);
        CHECK(strncmp(name, "../", 3) != 0 && !strstr(name, "/../") && !strstr(name, "//"));
        bytes += (int64_t)req->files[i].len;
    }
    CHECK(bytes <= limits->files_bytes);
    struct sp_json_value value;
    if (req->arguments) {
        CHECK(sp_json_scan(req->arguments, req->arguments_len, &value, NULL) == SP_OK);
        CHECK(value.type == SP_JSON_OBJECT && value.depth <= SP_ARGUMENTS_DEPTH_MAX);
    }
}

static void check_reply(const struct sp_request *req, enum sp_sb sb, const char *message)
{
    const struct sp_reply reply = {
        .req = req,
        .result_id = "00112233445566778899aabbccddeeff",
        .status = sp_sb_row(sb)->status,
        .sb = sb,
        .message = message,
        .worker = "w",
        .attempt = 1,
    };
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value value;
    CHECK(sp_reply_write(&reply, 900000, NULL, &out) == SP_OK);
    CHECK(sp_json_scan(out.data, out.len, &value, NULL) == SP_OK);
}

static void check(const struct sp_record *record, const struct sp_topics *topics)
{
    static const struct sp_limits limits = {.code_bytes = 200, .files_bytes = 100};
    sp_auto(sp_message_clear) struct sp_message m = {0};

    CHECK(sp_message_read(record, &limits, topics, &m, NULL) == SP_OK);

    CHECK(m.req.id && m.req.id[0] && sp_utf8_valid(m.req.id, strlen(m.req.id)));
    CHECK(!sp_utf8_has_control(m.req.id, strlen(m.req.id)));
    CHECK(m.env.reply_topic && m.env.reply_partition >= -1);
    CHECK(!sp_topic_reply_allowed(topics, m.env.reply_topic, strlen(m.env.reply_topic), NULL));
    if (m.verdict == SP_VERDICT_RUN) {
        check_request(&m.req, &limits);
    } else {
        CHECK(m.why.msg[0] && (m.sb == SP_SB012_BAD_REQUEST || m.sb == SP_SB007_POLICY));
        check_reply(&m.req, m.sb, m.why.msg);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sp_topic_names names = {"sandpiper.requests", "sandpiper.results",
                                                "sandpiper.control", "", "sandpiper.reply.*"};
    sp_auto(sp_topics_clear) struct sp_topics topics = {0};
    CHECK(sp_topics_init(&topics, &names, NULL) == SP_OK);
    struct parsed p;
    parse(&p, data, size);
    /* A copy of its own, so that a sanitizer sees reading past the end. */
    char *value = malloc(p.value_len ? p.value_len : 1);
    CHECK(value);
    memcpy(value, p.value, p.value_len);
    const struct sp_record record = {
        .topic = "sandpiper.requests",
        .value = value,
        .value_len = p.value_len,
        .headers = p.headers,
        .n_headers = p.n_headers,
    };
    check(&record, &topics);
    free(value);
    free(p.text);
    return 0;
}
