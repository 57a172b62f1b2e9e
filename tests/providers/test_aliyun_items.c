/* What the items of execute's answer mean (reference aliyun-agentrun 3.4, rules 1 to 6). */
#include <stdio.h>
#include <string.h>

#include "providers/aliyun_codeinterpreter/items.h"
#include "tests/support.h"

#define OUT(text) "{\"type\":\"stdout\",\"text\":\"" text "\"}"
#define ERR(text) "{\"type\":\"stderr\",\"text\":\"" text "\"}"

static const struct {
    const char *items, *out, *err;
    bool failed, timed_out;
    size_t unknown;
} rows[] = {
    {"", "", "", false, false, 0},
    /* chunks as they came, where one shows that ends of lines are kept */
    {OUT("a") "," OUT("b\\n"), "ab\n", "", false, false, 0},
    {OUT("a\\n") "," OUT("b"), "a\nb", "", false, false, 0},
    {OUT("a") "," ERR("b\\n") "," OUT("c"), "ac", "b\n", false, false, 0},
    /* else each lost its own */
    {OUT("a") "," OUT("b"), "a\nb", "", false, false, 0},
    {OUT("a\\\\n") "," OUT("b"), "a\\n\nb", "", false, false, 0},
    {OUT("") "," OUT("b"), "b", "", false, false, 0},
    {ERR("a") "," ERR("b"), "", "a\nb", false, false, 0},
    {OUT("\\u00e9\\ud83d\\ude00\\ud800"), "\xC3\xA9\xF0\x9F\x98\x80\xEF\xBF\xBD", "", false, false,
     0},
    {"{\"type\":\"stdout\"},{\"type\":\"stdout\",\"text\":null},{\"type\":\"stdout\",\"text\":1}",
     "", "", false, false, 0},
    {"{\"type\":\"result\",\"text\":\"42\"}", "", "", false, false, 0},
    /* rule 1 */
    {"{\"type\":\"telemetry\"},{},7,null,{\"type\":3}," OUT("a"), "a", "", false, false, 5},
    /* rule 2 */
    {"{\"type\":\"endOfExecution\",\"status\":\"ok\"}", "", "", false, false, 0},
    {"{\"type\":\"endOfExecution\",\"status\":\"error\"}", "", "", true, false, 0},
    {"{\"type\":\"endOfExecution\"}", "", "", false, false, 0},
    /* rule 3 */
    {"{\"type\":\"error\",\"text\":\"t\",\"name\":\"n\",\"value\":\"v\"}", "", "t\n", true, false,
     0},
    {"{\"type\":\"error\",\"text\":null,\"name\":\"n\",\"value\":\"v\"}", "", "n: v\n", true, false,
     0},
    {"{\"type\":\"error\",\"text\":\"\",\"name\":\"n\",\"value\":\"v\"}", "", "n: v\n", true, false,
     0},
    {"{\"type\":\"error\",\"text\":\"\",\"traceback\":[\"x\"]}", "", "x\n", true, false, 0},
    {"{\"type\":\"error\",\"name\":\"n\",\"traceback\":[\"x\"]}", "", "n\n", true, false, 0},
    {"{\"type\":\"error\",\"value\":\"v\"}", "", "v\n", true, false, 0},
    {"{\"type\":\"error\",\"traceback\":[\"one\",\"two\\n\",3]}", "", "one\ntwo\n", true, false, 0},
    {"{\"type\":\"error\",\"traceback\":\"one\"}", "", "one\n", true, false, 0},
    {"{\"type\":\"error\"}", "", "", true, false, 0},
    {ERR("before") ",{\"type\":\"error\",\"value\":\"v\"}", "", "before\nv\n", true, false, 0},
    /* rule 6 */
    {"{\"type\":\"timeout\"}", "", "", false, true, 0},
    {"{\"type\":\"timeout\",\"text\":\"30 s\"}", "", "30 s", false, true, 0},
    {"{\"type\":\"error\",\"name\":\"TimeoutError\",\"value\":\"\"}", "", "TimeoutError: \n", true,
     true, 0},
    {"{\"type\":\"error\",\"text\":\"Execution timed out after 3 s\"}", "",
     "Execution timed out after 3 s\n", true, true, 0},
    {"{\"type\":\"endOfExecution\",\"status\":\"timeout\"}", "", "", true, true, 0},
};

SP_TABLE_TEST(aliyun_items, items_are_read, rows, row)
{
    sp_auto(sp_items_clear) struct sp_items items = {0};
    char body[512];
    struct sp_error err = {0};
    int n = snprintf(body, sizeof(body), "{\"results\":[%s],\"contextId\":\"ctx-1\"}", row->items);

    cr_assert(eq(int, sp_items_read(body, (size_t)n, &items, &err), SP_OK), "%s: %s", body,
              err.msg);

    cr_expect(eq(str, (char *)(uintptr_t)sp_buf_str(&items.out), (char *)(uintptr_t)row->out), "%s",
              body);
    cr_expect(eq(str, (char *)(uintptr_t)sp_buf_str(&items.err), (char *)(uintptr_t)row->err), "%s",
              body);
    cr_expect(eq(int, items.failed, row->failed), "%s", body);
    cr_expect(eq(int, items.timed_out, row->timed_out), "%s", body);
    cr_expect(eq(sz, items.unknown, row->unknown), "%s", body);
}

static const char *const no_answers[] = {
    "",
    "x",
    "[]",
    "{}",
    "{\"results\":{}}",
    "{\"results\":null}",
    "{\"results\":[",
    "{\"data\":{\"result\":[]}}",
};

SP_TABLE_TEST(aliyun_items, what_is_no_answer_is_refused, no_answers, body)
{
    sp_auto(sp_items_clear) struct sp_items items = {0};
    struct sp_error err = {0};

    cr_expect(eq(int, sp_items_read(*body, strlen(*body), &items, &err), SP_E_INVALID), "%s",
              *body);
    cr_expect(eq(str, err.msg, "AgentRun's answer to execute holds no results"));
}

Test(aliyun_items, ten_megabytes_are_read)
{
    static const size_t len = 10 << 20;
    sp_auto(sp_items_clear) struct sp_items items = {0};
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    cr_assert(eq(int, sp_buf_adds(&body, "{\"results\":[{\"type\":\"stdout\",\"text\":\""), SP_OK));
    cr_assert(eq(int, sp_buf_reserve(&body, len), SP_OK));
    memset(body.data + body.len, 'x', len);
    body.len += len;
    cr_assert(eq(int, sp_buf_adds(&body, "\"}]}"), SP_OK));

    cr_assert(eq(int, sp_items_read(body.data, body.len, &items, NULL), SP_OK));

    cr_expect(eq(sz, items.out.len, len));
}
