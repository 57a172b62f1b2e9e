/* The JSON Schemas say what the code does: the same samples go through both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "queue/reply.h"
#include "tests/queue/given.h"
#include "tests/queue/requests.h"

/* SYSTEM_PYTHON and SOURCE_DIR come from the build. */

struct verdicts {
    char lines[SP_COUNT(samples) + 64][256];
    size_t n;
};

/* documents: one on each line. */
static void validate(const char *schema, const struct sp_buf *documents, struct verdicts *out)
{
    char path[] = "/tmp/sandpiper-schema-XXXXXX", command[1024];
    int fd = mkstemp(path);
    cr_assert(ge(int, fd, 0));
    cr_assert(eq(sz, (size_t)write(fd, documents->data, documents->len), documents->len));
    close(fd);
    snprintf(command, sizeof(command), "'%s' '%s/tests/queue/validate.py' '%s/conf/schema/%s' '%s'",
             SYSTEM_PYTHON, SOURCE_DIR, SOURCE_DIR, schema, path);

    FILE *pipe = popen(command, "r");

    cr_assert(ne(ptr, pipe, NULL));
    out->n = 0;
    while (out->n < SP_COUNT(out->lines) && fgets(out->lines[out->n], 256, pipe))
        out->n++;
    cr_assert(eq(int, pclose(pipe), 0));
    unlink(path);
}

static bool is_valid(const struct verdicts *verdicts, size_t i)
{
    return strcmp(verdicts->lines[i], "valid\n") == 0;
}

Test(schema, requests_are_valid_where_the_reader_accepts_them)
{
    sp_auto(sp_buf_clear) struct sp_buf documents = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    static struct verdicts verdicts;
    for (size_t i = 0; i < SP_COUNT(samples); i++)
        cr_assert(eq(int, sp_buf_addf(&documents, "%s\n", samples[i].json), SP_OK));

    validate("request.json", &documents, &verdicts);

    cr_assert(eq(sz, verdicts.n, SP_COUNT(samples)));
    for (size_t i = 0; i < SP_COUNT(samples); i++) {
        bool expected = !samples[i].fault || samples[i].blind;
        cr_expect(eq(int, is_valid(&verdicts, i), expected), "%s: %s", samples[i].json,
                  verdicts.lines[i]);
    }
}

static enum sp_code put(void *ctx, const void *data, size_t len, char ref[128],
                        struct sp_error *err)
{
    (void)ctx, (void)data, (void)len, (void)err;
    snprintf(ref, 128, "redis:sandpiper:blob:1");
    return SP_OK;
}

static struct sp_request request = {
    .id = "job-1", .timeout_ms = 1500, .metadata = "[1]", .metadata_len = 3};

static void add(const struct sp_reply *reply, size_t limit, const struct sp_part_store *store,
                struct sp_buf *documents)
{
    cr_assert(eq(int, sp_reply_write(reply, limit, store, documents), SP_OK));
    cr_assert(eq(int, sp_buf_addc(documents, '\n'), SP_OK));
}

static void add_errors(struct sp_buf *documents)
{
    for (int sb = SP_SB001_NOT_CONFIGURED; sb < SP_SB_COUNT; sb++) {
        struct sp_reply reply = {
            .req = &request,
            .result_id = "00112233445566778899aabbccddeeff",
            .sb = (enum sp_sb)sb,
            .status = sp_sb_row((enum sp_sb)sb)->status,
            .worker = "w",
            .attempt = 1,
        };
        add(&reply, 900000, NULL, documents);
    }
}

static struct sp_reply reply_of(const struct sp_result *result)
{
    return (struct sp_reply){
        .req = &request,
        .result_id = "00112233445566778899aabbccddeeff",
        .result = result,
        .provider = "local",
        .worker = "w",
        .attempt = 1,
    };
}

/* Whole, moved to the store, and cut. */
static void add_sizes(const struct sp_result *result, struct sp_buf *documents)
{
    const struct sp_part_store store = {.put = put};
    struct sp_reply reply = reply_of(result);
    reply.settings_version = 3;
    reply.provider_defaulted = true;
    reply.attempt = 2;
    reply.queue_time_us = 1;
    add(&reply, 900000, NULL, documents);
    add(&reply, 50000, &store, documents);
    add(&reply, 1000, &store, documents);
    add(&reply, 50000, NULL, documents);
    add(&reply, 1000, NULL, documents);
}

/* Ended by a signal, by a limit, by the clock. */
static void add_endings(struct sp_result *result, struct sp_buf *documents)
{
    struct sp_reply reply = reply_of(result);
    result->exit_code = -9;
    result->signal = 9;
    reply.status = SP_STATUS_FAILED;
    add(&reply, 900000, NULL, documents);
    reply.sb = SP_SB006_LIMIT;
    add(&reply, 900000, NULL, documents);
    reply.status = SP_STATUS_TIMEOUT;
    reply.sb = SP_SB005_TIMEOUT;
    add(&reply, 900000, NULL, documents);
}

/* A result with every member filled. */
static void add_full_results(struct sp_buf *documents)
{
    static const char *const names[] = {"one", NULL};
    static char big[20000], value[20000];
    struct sp_artifact artifacts[] = {
        {.name = "a/b.png", .mime_type = "image/png", .data = big, .len = sizeof(big)}};
    struct sp_artifact_refused refused[] = {{.name = "c", .size = 1, .reason = "type"}};
    struct sp_result result = {
        .started = SP_STARTED_YES,
        .execution_us = 1,
        .timeout_ms = 1500,
        .out = {.text = big, .len = sizeof(big), .bytes = sizeof(big)},
        .err = {.text = big, .len = sizeof(big), .bytes = sizeof(big)},
        .result_present = true,
        .result_value = value,
        .result_value_len = sizeof(value),
        .warning = "w",
        .artifacts = artifacts,
        .n_artifacts = 1,
        .refused = refused,
        .n_refused = 1,
        .instance_id = "i",
        .language = "python",
        .isolation = "none",
        .defences = names,
        .limits_of_provider = names,
        .metadata = "\"time_used_ms\":1.5",
    };
    memset(big, 'x', sizeof(big));
    memset(value, 'v', sizeof(value));
    value[0] = value[sizeof(value) - 1] = '"';

    add_sizes(&result, documents);
    add_endings(&result, documents);
}

/* A result with as little as there can be. */
static void add_bare_result(struct sp_buf *documents)
{
    const struct sp_result result = {.started = SP_STARTED_YES};
    const struct sp_reply reply = reply_of(&result);
    add(&reply, 900000, NULL, documents);
}

static size_t count_lines(const struct sp_buf *documents)
{
    size_t n = 0;
    for (size_t i = 0; i < documents->len; i++)
        n += documents->data[i] == '\n';
    return n;
}

Test(schema, every_form_of_a_reply_is_valid)
{
    sp_auto(sp_buf_clear) struct sp_buf documents = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    static struct verdicts verdicts;
    add_errors(&documents);
    add_full_results(&documents);
    add_bare_result(&documents);
    size_t n = count_lines(&documents);

    validate("reply.json", &documents, &verdicts);

    cr_assert(eq(sz, verdicts.n, n));
    for (size_t i = 0; i < n; i++)
        cr_expect(is_valid(&verdicts, i), "%zu: %s", i, verdicts.lines[i]);
}

/* So that the test above can fail. */
static const char *const not_replies[] = {
    "{}",
    "{\"request_id\":\"a\",\"surplus\":1}",
    "[]",
};

Test(schema, what_is_no_reply_is_not_valid)
{
    sp_auto(sp_buf_clear) struct sp_buf documents = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    static struct verdicts verdicts;
    for (size_t i = 0; i < SP_COUNT(not_replies); i++)
        cr_assert(eq(int, sp_buf_addf(&documents, "%s\n", not_replies[i]), SP_OK));

    validate("reply.json", &documents, &verdicts);

    cr_assert(eq(sz, verdicts.n, SP_COUNT(not_replies)));
    for (size_t i = 0; i < SP_COUNT(not_replies); i++)
        cr_expect(not(is_valid(&verdicts, i)), "%s", not_replies[i]);
}
