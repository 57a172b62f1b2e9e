/* The lines of a code interpreter (reference e2b 5.1, 8.3), however they are cut. */
#include <string.h>

#include "providers/e2b/kernel_output.h"
#include "tests/support.h"

#define END "{\"type\":\"end_of_execution\"}\n"

static const struct lines_case {
    const char *name, *lines;
    enum sp_code rc;
    const char *out, *error_name;
    int error_exit;
    const char *error_text;
    size_t shown;
    bool ended;
} cases[] = {
    {.name = "as seen",
     .lines =
         "{\"type\": \"number_of_executions\", \"execution_count\": 1}\n"
         "{\"type\": \"stdout\", \"text\": \"hi\\n\", \"timestamp\": \"2026-11-21\"}\n"
         "{\"type\": \"result\", \"text\": \"2\", \"extra\": {}, \"is_main_result\": true}\n" END,
     .out = "hi\n",
     .ended = true},
    {.name = "the error comes first",
     .lines = "{\"type\":\"error\",\"name\":\"ValueError\",\"value\":\"no\",\"traceback\":\"T\"}\n"
              "{\"type\":\"stdout\",\"text\":\"late\"}\n" END,
     .out = "late",
     .error_name = "ValueError",
     .error_exit = 1,
     .error_text = "T\n",
     .ended = true},
    {.name = "an exit with a number",
     .lines = "{\"type\":\"error\",\"name\":\"SystemExit\",\"value\":\"3\",\"traceback\":\"\"}\n",
     .error_name = "SystemExit",
     .error_exit = 3,
     .error_text = "SystemExit: 3\n"},
    {.name = "an exit with none",
     .lines = "{\"type\":\"error\",\"name\":\"SystemExit\",\"value\":\"None\"}\n",
     .error_name = "SystemExit",
     .error_text = "SystemExit: None\n"},
    {.name = "an exit with words",
     .lines = "{\"type\":\"error\",\"name\":\"SystemExit\",\"value\":\"bad\"}\n",
     .error_name = "SystemExit",
     .error_exit = 1,
     .error_text = "SystemExit: bad\n"},
    {.name = "keep-alive lines, empty lines and the unknown",
     .lines = "{\"type\":\"keepalive\"}\n\n{\"type\":\"new\",\"text\":\"x\"}\n" END,
     .ended = true},
    {.name = "a lone surrogate and a NUL",
     .lines = "{\"type\":\"stdout\",\"text\":\"\\ud800\\u0000\"}\n" END,
     .out = "\uFFFD",
     .ended = true},
    {.name = "forms of one thing",
     .lines = "{\"type\":\"result\",\"png\":\"aGk=\\n\",\"html\":\"<p>\",\"text\":\"x\"}\n",
     .shown = 2},
    {.name = "a picture that is none",
     .lines = "{\"type\":\"result\",\"png\":\"!\",\"jpeg\":\"\",\"pdf\":7}\n"},
    {.name = "cut", .lines = "{\"type\":\"stdout\",\"text\":\"a\"}\n{\"type\":\"end", .out = "a"},
    {.name = "a page", .lines = "<html>\n", .rc = SP_E_INVALID},
    {.name = "no object", .lines = "[]\n", .rc = SP_E_INVALID},
    {.name = "no type", .lines = "{\"text\":\"x\"}\n", .rc = SP_E_INVALID},
    {.name = "a line without an end",
     .lines = "{\"type\":\"stdout\",\"text\":\"0123456789012345678901234567890123456789"
              "012345678901234567890123456789012345678901234567890123456789012345678901234567890"
              "1234567890123456789012345678901234567890123456789012345678901234567890123456789",
     .rc = SP_E_LIMIT},
};

static void expect_case(const struct lines_case *row, size_t piece)
{
    sp_auto(sp_kernel_output_clear) struct sp_kernel_output o = {.began = false};
    size_t len = strlen(row->lines);
    struct sp_error err = {0};
    enum sp_code rc = SP_OK;

    sp_kernel_output_init(&o, 200, 200);
    for (size_t at = 0; at < len && !rc; at += piece)
        rc = sp_kernel_output_feed(&o, row->lines + at, len - at < piece ? len - at : piece, &err);

    cr_expect(eq(int, rc, row->rc), "%s, %zu bytes at once: %s", row->name, piece, err.msg);
    cr_expect(eq(str, (char *)sp_buf_str(&o.out), (char *)(row->out ? row->out : "")), "%s",
              row->name);
    cr_expect(eq(str, o.error_name, (char *)(row->error_name ? row->error_name : "")), "%s",
              row->name);
    cr_expect(eq(int, o.error_exit, row->error_exit), "%s", row->name);
    cr_expect(eq(str, (char *)sp_buf_str(&o.error_text),
                 (char *)(row->error_text ? row->error_text : "")),
              "%s", row->name);
    cr_expect(eq(sz, o.shown.n, row->shown), "%s", row->name);
    cr_expect(eq(int, o.ended, row->ended), "%s", row->name);
}

SP_TABLE_TEST(e2b_kernel_output, lines_are_read_however_they_are_cut, cases, row)
{
    static const size_t pieces[] = {1024, 1, 7};

    for (size_t i = 0; i < SP_COUNT(pieces); i++)
        expect_case(row, pieces[i]);
}
