#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_slice.h"
#include "cli/files.h"
#include "cli/submission.h"
#include "tests/support.h"
#include "tests/support/until.h"

static char root[] = "/tmp/sandpiper-job-XXXXXX";
static struct sp_buf made = SP_BUF_INIT(SP_BUF_UNBOUNDED);
static struct sp_error err;

static void make_root(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    cr_assert(eq(int, chdir(root), 0));
    cr_assert(eq(int, sp_file_replace("p.py", "print(1)", 8, NULL), SP_OK));
}

static void remove_root(void)
{
    sp_buf_clear(&made);
    sp_remove_tree(root);
}

TestSuite(submission, .init = make_root, .fini = remove_root);

static const char *write_job(const struct sp_submission_options *options, const char *path)
{
    enum sp_code rc = sp_submission_write(options, path, "id-1", &made, &err);
    return rc ? NULL : sp_buf_str(&made);
}

#define LIST(...)                                                                                  \
    {                                                                                              \
        (const char *[]){__VA_ARGS__}, SP_COUNT(((const char *[]){__VA_ARGS__}))                   \
    }

Test(submission, a_plain_program_is_id_language_and_code)
{
    const char *json = write_job(&(struct sp_submission_options){0}, "p.py");

    cr_assert(eq(str, (char *)json,
                 "{\"request_id\":\"id-1\",\"language\":\"python\",\"code\":\"print(1)\"}"));
}

static const struct {
    const char *file, *language, *expected;
} languages[] = {
    {"a.py", NULL, "\"language\":\"python\""},
    {"a.js", NULL, "\"language\":\"javascript\""},
    {"a.mjs", NULL, "\"language\":\"javascript\""},
    {"a.cjs", NULL, "\"language\":\"javascript\""},
    {"a.txt", "node", "\"language\":\"javascript\""},
    {"a.js", "Py", "\"language\":\"python\""},
};

SP_TABLE_TEST(submission, the_language_comes_from_the_option_or_the_ending, languages, row)
{
    cr_assert(eq(int, sp_file_replace(row->file, "1", 1, NULL), SP_OK));

    const char *json =
        write_job(&(struct sp_submission_options){.language = row->language}, row->file);

    cr_assert(ne(ptr, (void *)json, NULL), "%s", err.msg);
    cr_expect(ne(ptr, strstr(json, row->expected), NULL), "%s", json);
}

Test(submission, arguments_are_json_where_they_read_as_json)
{
    const struct sp_submission_options options = {
        .arg = LIST("name=World", "count=3", "big=1180591620717411303424", "x=1.10", "flag=true",
                    "list=[1, 2]", "quoted=\"3\"", "empty=", "eq=a=b"),
        .arg_text = LIST("digits=007"),
    };

    const char *json = write_job(&options, "p.py");

    cr_assert(ne(ptr, (void *)json, NULL), "%s", err.msg);
    cr_expect(ne(ptr,
                 strstr(json, "\"arguments\":{\"name\":\"World\",\"count\":3,\"big\":"
                              "1180591620717411303424,\"x\":1.10,\"flag\":true,\"list\":[1, 2],"
                              "\"quoted\":\"3\",\"empty\":\"\",\"eq\":\"a=b\",\"digits\":\"007\"}"),
                 NULL),
              "%s", json);
}

Test(submission, arguments_of_an_object_and_single_ones_are_joined)
{
    const struct sp_submission_options options = {.args_json = " {\"a\": 1.0}", .arg = LIST("b=2")};

    const char *json = write_job(&options, "p.py");

    cr_expect(ne(ptr, strstr(json, "\"arguments\":{\"a\": 1.0,\"b\":2}"), NULL), "%s", json);
}

Test(submission, an_empty_object_of_arguments_stays_one)
{
    const char *json = write_job(&(struct sp_submission_options){.args_json = "{ }"}, "p.py");

    cr_expect(ne(ptr, strstr(json, "\"arguments\":{}"), NULL), "%s", json);
}

Test(submission, arguments_come_from_a_file)
{
    cr_assert(eq(int, sp_file_replace("args.json", "{\"a\":[]}\n", 9, NULL), SP_OK));

    const char *json = write_job(&(struct sp_submission_options){.args_json = "args.json"}, "p.py");

    cr_expect(ne(ptr, strstr(json, "\"arguments\":{\"a\":[]}"), NULL), "%s", json);
}

Test(submission, files_go_along_under_their_names)
{
    cr_assert(eq(int, sp_file_replace("data.csv", "a,b", 3, NULL), SP_OK));

    const char *json = write_job(
        &(struct sp_submission_options){.file = LIST("./data.csv", "data.csv=in/x.csv")}, "p.py");

    cr_assert(ne(ptr, (void *)json, NULL), "%s", err.msg);
    cr_expect(ne(ptr,
                 strstr(json, "\"files\":[{\"name\":\"data.csv\",\"content_b64\":\"YSxi\"},"
                              "{\"name\":\"in/x.csv\",\"content_b64\":\"YSxi\"}]"),
                 NULL),
              "%s", json);
}

Test(submission, code_that_is_no_utf8_goes_as_base64)
{
    cr_assert(eq(int, sp_file_replace("p.py", "#\xff", 2, NULL), SP_OK));

    const char *json = write_job(&(struct sp_submission_options){0}, "p.py");

    cr_expect(ne(ptr, strstr(json, "\"code_b64\":\"I/8=\""), NULL), "%s", json);
}

Test(submission, times_options_and_metadata_are_written_as_the_contract_has_them)
{
    const struct sp_submission_options options = {
        .timeout = 1500,
        .queue_ttl = 60000,
        .result_in_stdout = true,
        .strict_result = true,
        .metadata = " {\"trace\": 1} ",
        .reply_to = "sandpiper.reply.me",
    };

    const char *json = write_job(&options, "p.py");

    cr_assert(ne(ptr, (void *)json, NULL), "%s", err.msg);
    const char *tail = strstr(json, ",\"metadata\"");
    cr_assert(ne(ptr, (void *)tail, NULL));
    cr_expect(eq(str, (char *)tail,
                 ",\"metadata\":{\"trace\": 1},\"timeout\":1.5,\"queue_ttl\":60.0,"
                 "\"options\":{\"result_in_stdout\":true,\"strict_result\":true},"
                 "\"reply_to\":\"sandpiper.reply.me\"}"));
}

Test(submission, a_deadline_counts_from_now)
{
    int64_t before = sp_wall_ms();

    const char *json = write_job(&(struct sp_submission_options){.deadline = 5000}, "p.py");

    const char *at = strstr(json, "\"deadline_ms\":");
    cr_assert(ne(ptr, (void *)at, NULL));
    int64_t deadline = strtoll(at + strlen("\"deadline_ms\":"), NULL, 10);
    cr_expect(deadline >= before + 5000 && deadline <= sp_wall_ms() + 5000);
}

static const struct {
    struct sp_submission_options options;
    const char *path, *message;
} bad[] = {
    {{.timeout = 0}, "none.py", "none.py: No such file or directory"},
    {{.timeout = 0}, "empty.py", "empty.py: the program is empty"},
    {{.timeout = 0},
     "-",
     "-: the name does not tell the language (.py, .js, .mjs, .cjs); add --language python or "
     "--language javascript"},
    {{.language = "ruby"}, "p.py", "--language: \"ruby\" is neither python nor javascript"},
    {{.arg = LIST("oops")}, "p.py", "--arg: expected NAME=VALUE, not \"oops\""},
    {{.arg = LIST("=1")}, "p.py", "--arg: expected NAME=VALUE, not \"=1\""},
    {{.arg_text = LIST("oops")}, "p.py", "--arg-text: expected NAME=VALUE, not \"oops\""},
    {{.arg = LIST("a=1"), .arg_text = LIST("a=2")}, "p.py", "argument a is given twice"},
    {{.args_json = "{\"a\":1}", .arg = LIST("a=1")}, "p.py", "argument a is given twice"},
    {{.args_json = "nowhere"}, "p.py", "nowhere: No such file or directory"},
    {{.args_json = "list.json"}, "p.py", "--args-json: expected a JSON object"},
    {{.file = LIST("gone.csv")}, "p.py", "--file: gone.csv: No such file or directory"},
    {{.file = LIST("p.py=")}, "p.py", "--file: expected PATH or PATH=NAME, not \"p.py=\""},
    {{.reply_to = "\xff"}, "p.py", "--reply-to: expected UTF-8 text"},
};

SP_TABLE_TEST(submission, what_cannot_be_sent_is_named, bad, row)
{
    cr_assert(eq(int, sp_file_replace("empty.py", "", 0, NULL), SP_OK));
    cr_assert(eq(int, sp_file_replace("list.json", "[]", 2, NULL), SP_OK));

    cr_assert(eq(ptr, (void *)write_job(&row->options, row->path), NULL));

    cr_expect(eq(str, err.msg, (char *)row->message));
}

Test(submission, bad_json_is_told_by_option)
{
    cr_assert(eq(ptr,
                 (void *)write_job(&(struct sp_submission_options){.metadata = "{oops"}, "p.py"),
                 NULL));

    cr_expect(eq(int, strncmp(err.msg, "--metadata: ", 12), 0), "%s", err.msg);
}
