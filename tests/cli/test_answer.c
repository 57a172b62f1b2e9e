#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/answer.h"
#include "cli/files.h"
#include "tests/support.h"
#include "tests/support/until.h"

static struct sp_answer read_answer(const char *json)
{
    struct sp_answer answer = {0};
    struct sp_error err = {0};
    char *text = sp_strdup(json);
    enum sp_code rc = sp_answer_read(text, strlen(text), &answer, &err);
    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
    return answer;
}

static const struct {
    const char *json;
    int code;
} endings[] = {
    {"{\"status\":\"ok\",\"exit_code\":0}", 0},
    {"{\"status\":\"failed\",\"exit_code\":3}", 3},
    {"{\"status\":\"failed\",\"exit_code\":255}", 255},
    {"{\"status\":\"failed\",\"exit_code\":256}", 1},
    {"{\"status\":\"failed\",\"exit_code\":-9}", 137},
    {"{\"status\":\"failed\",\"exit_code\":-1,\"metadata\":{\"signal\":1}}", 129},
    {"{\"status\":\"failed\",\"exit_code\":-1,\"error\":{\"code\":\"SB006\"}}", 125},
    {"{\"status\":\"timeout\",\"exit_code\":-1}", 124},
    {"{\"status\":\"expired\",\"exit_code\":-1}", 125},
    {"{\"status\":\"cancelled\",\"exit_code\":-1}", 125},
    {"{\"status\":\"rejected\",\"exit_code\":-1}", 125},
    {"{\"status\":\"error\",\"exit_code\":-1}", 125},
    {"{\"status\":\"something new\",\"exit_code\":0}", 125},
};

SP_TABLE_TEST(answer, the_exit_code_follows_the_reply, endings, row)
{
    sp_auto(sp_answer_clear) struct sp_answer answer = read_answer(row->json);

    cr_expect(eq(int, sp_answer_exit_code(&answer), row->code), "%s", row->json);
}

static void show(const struct sp_answer *answer, bool value, char *out, char *err, size_t size)
{
    out[0] = err[0] = '\0'; /* nothing written leaves the buffer as it was */
    FILE *o = fmemopen(out, size, "w");
    FILE *e = fmemopen(err, size, "w");
    sp_answer_show(answer, value, o, e);
    fclose(o);
    fclose(e);
}

Test(answer, output_and_value_are_shown_with_the_value_byte_for_byte)
{
    char out[500], errors[500];
    sp_auto(sp_answer_clear) struct sp_answer answer = read_answer(
        "{\"status\":\"ok\",\"stdout\":\"h\\u00e9\",\"stderr\":\"warn\",\"metadata\":"
        "{\"result_present\":true,\"result_value\":{\"n\": 1180591620717411303424, \"x\":1.10}}}");

    show(&answer, true, out, errors, sizeof(out));

    cr_expect(eq(str, out, "h\xc3\xa9\n{\"n\": 1180591620717411303424, \"x\":1.10}\n"));
    cr_expect(eq(str, errors, "warn\n"));
}

Test(answer, no_value_is_shown_where_there_is_none_or_it_is_in_the_output)
{
    char out[500], errors[500];
    sp_auto(sp_answer_clear) struct sp_answer none =
        read_answer("{\"status\":\"ok\",\"stdout\":\"x\",\"metadata\":{\"result_present\":false}}");
    show(&none, true, out, errors, sizeof(out));
    cr_expect(eq(str, out, "x"));

    sp_auto(sp_answer_clear) struct sp_answer null = read_answer(
        "{\"status\":\"ok\",\"metadata\":{\"result_present\":true,\"result_value\":null}}");
    show(&null, true, out, errors, sizeof(out));
    cr_expect(eq(str, out, "null\n"));
    show(&null, false, out, errors, sizeof(out));
    cr_expect(eq(str, out, ""));
}

Test(answer, a_failure_says_why_and_what_to_do)
{
    char out[2000], errors[2000];
    sp_auto(sp_answer_clear) struct sp_answer answer =
        read_answer("{\"status\":\"error\",\"exit_code\":-1,\"error\":{\"code\":\"SB001\","
                    "\"message\":\"no provider\"},\"metadata\":{\"result_warning\":\"careful\","
                    "\"stdout_truncated\":true,\"artifacts_rejected\":[{\"name\":\"a.exe\","
                    "\"size\":1,\"reason\":\"type not allowed\"}]}}");

    show(&answer, true, out, errors, sizeof(out));

    cr_expect(ne(ptr, strstr(errors, "sandpiper: error (SB001): no provider\n"), NULL), "%s",
              errors);
    cr_expect(ne(ptr, strstr(errors, "settings import"), NULL));
    cr_expect(ne(ptr, strstr(errors, "artifact a.exe was left out: type not allowed\n"), NULL));
    cr_expect(ne(ptr, strstr(errors, "its middle is left out\n"), NULL));
    cr_expect(ne(ptr, strstr(errors, "note: careful\n"), NULL));
}

Test(answer, a_failed_program_is_named_by_exit_code_or_signal)
{
    char out[500], errors[500];
    sp_auto(sp_answer_clear) struct sp_answer exited =
        read_answer("{\"status\":\"failed\",\"exit_code\":3,\"error\":null}");
    show(&exited, true, out, errors, sizeof(out));
    cr_expect(eq(str, errors, "sandpiper: failed: exit code 3\n"));

    sp_auto(sp_answer_clear) struct sp_answer killed =
        read_answer("{\"status\":\"failed\",\"exit_code\":-9,\"metadata\":{\"signal\":9}}");
    show(&killed, true, out, errors, sizeof(out));
    cr_expect(eq(str, errors, "sandpiper: failed: the program was ended by signal 9\n"));
}

static const struct {
    const char *json, *message;
} bad[] = {
    {"nonsense", "the reply is no JSON: "},
    {"[]", "the reply is no JSON object"},
    {"{}", "the reply is not one of Sandpiper's"},
    {"{\"status\":1}", "the reply is not one of Sandpiper's"},
    {"{\"status\":\"ok\",\"attachments\":[{\"part\":\"stdout\"}]}",
     "the reply is not one of Sandpiper's"},
    {"{\"status\":\"ok\",\"metadata\":{\"artifacts\":[{\"name\":\"a\",\"content_b64\":\"!\"}]}}",
     "the reply is not one of Sandpiper's"},
};

SP_TABLE_TEST(answer, what_is_no_reply_is_refused, bad, row)
{
    struct sp_answer answer = {0};
    struct sp_error err = {0};
    char *text = sp_strdup(row->json);

    cr_expect(ne(int, sp_answer_read(text, strlen(text), &answer, &err), SP_OK));

    cr_expect(eq(int, strncmp(err.msg, row->message, strlen(row->message)), 0), "%s", err.msg);
    free(text);
}

static enum sp_code fetch(void *ctx, const char *ref, struct sp_buf *out, struct sp_error *err)
{
    (void)ctx;
    if (strcmp(ref, "redis:gone") == 0)
        return sp_error_set(err, SP_E_INVALID, "gone");
    return sp_buf_adds(out, "stored");
}

static const struct sp_attachment_source source = {NULL, fetch};

static struct sp_answer with_attachment(const char *part, const char *ref, const char *digest)
{
    char json[500];
    snprintf(json, sizeof(json),
             "{\"status\":\"ok\",\"metadata\":{\"result_present\":true,\"result_value\":null,"
             "\"artifacts\":[{\"name\":\"a.csv\",\"size\":6}]},\"attachments\":[{\"part\":\"%s\","
             "\"ref\":\"%s\",\"size\":6,\"sha256\":\"%s\"}]}",
             part, ref, digest);
    return read_answer(json);
}

static void digest_of(const char *text, char out[65])
{
    sp_sha256_hex(text, strlen(text), out);
}

Test(answer, attachments_are_put_in_their_places)
{
    char digest[65];
    digest_of("stored", digest);
    sp_auto(sp_answer_clear) struct sp_answer a = with_attachment("stdout", "redis:x", digest);
    sp_auto(sp_answer_clear) struct sp_answer b = with_attachment("stderr", "redis:x", digest);
    sp_auto(sp_answer_clear) struct sp_answer c =
        with_attachment("result_value", "redis:x", digest);
    sp_auto(sp_answer_clear) struct sp_answer d =
        with_attachment("artifacts/a.csv", "redis:x", digest);
    struct sp_answer *all[] = {&a, &b, &c, &d};
    cr_expect(not(d.artifacts[0].present));

    for (size_t i = 0; i < SP_COUNT(all); i++)
        cr_expect(eq(int, sp_answer_complete(all[i], &source, NULL), SP_OK));

    cr_expect(eq(str, (char *)sp_buf_str(&a.out), "stored"));
    cr_expect(eq(str, (char *)sp_buf_str(&b.err), "stored"));
    cr_expect(eq(str, (char *)sp_buf_str(&c.value), "stored"));
    cr_expect(eq(str, (char *)sp_buf_str(&d.artifacts[0].data), "stored"));
    cr_expect(d.artifacts[0].present);
}

Test(answer, an_attachment_that_is_gone_or_another_is_an_error)
{
    struct sp_error err = {0};
    char digest[65];
    digest_of("something else", digest);
    sp_auto(sp_answer_clear) struct sp_answer gone =
        with_attachment("stdout", "redis:gone", digest);
    cr_expect(eq(int, sp_answer_complete(&gone, &source, &err), SP_E_INVALID));
    cr_expect(eq(str, err.msg, "stdout is stored apart: gone"));

    sp_auto(sp_answer_clear) struct sp_answer other = with_attachment("stdout", "redis:x", digest);
    cr_expect(eq(int, sp_answer_complete(&other, &source, &err), SP_E_INVALID));
    cr_expect(eq(str, err.msg, "stdout: what is stored at redis:x is something else"));
}

Test(answer, artifacts_are_written_and_bad_names_are_not)
{
    char root[] = "/tmp/sandpiper-answer-XXXXXX";
    char path[100];
    struct sp_error err = {0};
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    snprintf(path, sizeof(path), "%s/out", root);
    sp_auto(sp_answer_clear) struct sp_answer answer =
        read_answer("{\"status\":\"ok\",\"metadata\":{\"artifacts\":["
                    "{\"name\":\"t/a.csv\",\"content_b64\":\"YSxi\"},{\"name\":\"stored\"},"
                    "{\"name\":\"../evil\",\"content_b64\":\"YSxi\"}]}}");
    FILE *report = fopen("/dev/null", "w");

    enum sp_code rc = sp_answer_write_artifacts(&answer, path, report, &err);

    fclose(report);
    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(eq(str, err.msg, "artifact 3: a file name that leaves the folder is refused"));
    snprintf(path, sizeof(path), "%s/out/t/a.csv", root);
    cr_expect(eq(int, access(path, R_OK), 0));
    snprintf(path, sizeof(path), "%s/evil", root);
    cr_expect(ne(int, access(path, F_OK), 0));
    sp_remove_tree(root);
}
