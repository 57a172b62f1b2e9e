/* The result document, the marker lines, the value in stdout. */
#include "providers/protocol.h"

#include <string.h>

#include "base/text.h"
#include "tests/support.h"

static const struct {
    const char *doc, *value, *warning, *limit;
} documents[] = {
    {"", NULL, NULL, NULL},
    {"{}", NULL, NULL, NULL},
    {"{\"present\":false}", NULL, NULL, NULL},
    {"{\"present\":true,\"value\":null}", "null", NULL, NULL},
    {" {\"value\" : [1, 2.0, 1180591620717411303424, \"\\ud800\"] , \"present\":true}\n",
     "[1, 2.0, 1180591620717411303424, \"\\ud800\"]", NULL, NULL},
    {"{\"present\":true,\"value\":{\"a\":1,\"a\":2},\"warning\":\"w\\u0041\"}", "{\"a\":1,\"a\":2}",
     "wA", NULL},
    {"{\"present\":false,\"warning\":\"x\"}", NULL, "x", NULL},
    {"{\"limit\":\"memory\"}", NULL, NULL, "memory"},
};

SP_TABLE_TEST(protocol, a_result_document_is_read, documents, row)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_error err = {0};

    enum sp_code rc = sp_protocol_read(row->doc, strlen(row->doc), &r, &err);

    cr_assert(eq(int, rc, SP_OK), "%s: %s", row->doc, err.msg);
    cr_expect(eq(int, r.result_present, row->value != NULL), "%s", row->doc);
    if (row->value)
        cr_expect(eq(str, r.result_value, (char *)row->value));
    cr_expect(eq(int, r.warning != NULL, row->warning != NULL), "%s", row->doc);
    if (row->warning)
        cr_expect(eq(str, r.warning, (char *)row->warning));
    cr_expect(eq(int, r.outcome == SP_OUTCOME_LIMIT, row->limit != NULL), "%s", row->doc);
    if (row->limit)
        cr_expect(eq(str, (char *)r.limit, (char *)row->limit));
}

static const char *const bad_documents[] = {
    "x",
    "1",
    "[]",
    "{\"present\":true}",
    "{\"value\":1}",
    "{\"present\":false,\"value\":1}",
    "{\"present\":1,\"value\":1}",
    "{\"present\":\"true\",\"value\":1}",
    "{\"present\":true,\"value\":NaN}",
    "{\"present\":true,\"value\":1,\"value\":2}",
    "{\"present\":true,\"value\":1,\"more\":2}",
    "{\"present\":true,\"value\":1}{\"present\":true,\"value\":2}",
    "{\"present\":true,\"value\":1",
    "{\"present\":true,\"value\":\"\xff\"}",
    "{\"warning\":1}",
    "{\"limit\":\"time\"}",
    "{\"limit\":null}",
    /* a process's own end says how it ended, and the program could have written this */
    "{\"present\":false,\"exit\":0,\"us\":1}",
};

SP_TABLE_TEST(protocol, what_is_not_one_document_is_refused, bad_documents, row)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_error err = {0};

    enum sp_code rc = sp_protocol_read(*row, strlen(*row), &r, &err);

    cr_expect(eq(int, rc, SP_E_INVALID), "%s", *row);
    cr_expect(strncmp(err.msg, "result document", 15) == 0, "%s", err.msg);
    cr_expect(not(r.result_present), "%s", *row);
}

static const struct {
    const char *doc;
    enum sp_code rc;
    int exit_code;
    int64_t execution_us;
} ends[] = {
    {"{\"present\":false,\"exit\":3,\"us\":1500}", SP_OK, 3, 1500},
    {"{\"present\":true,\"value\":1,\"exit\":255,\"us\":0}", SP_OK, 255, 0},
    {"{\"present\":false,\"exit\":256,\"us\":-1}", SP_OK, -1, 0},
    {"{\"present\":false,\"exit\":\"0\",\"us\":1e3}", SP_OK, -1, 0},
    {"{\"present\":false,\"exit\":0}", SP_E_INVALID, 0, 0},
    {"{\"present\":false,\"us\":0}", SP_E_INVALID, 0, 0},
    {"", SP_E_INVALID, 0, 0},
};

SP_TABLE_TEST(protocol, a_kernel_s_document_tells_the_end, ends, row)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};

    cr_expect(eq(int, sp_protocol_read_end(row->doc, strlen(row->doc), &r, NULL), row->rc), "%s",
              row->doc);

    cr_expect(eq(int, r.exit_code, row->exit_code), "%s", row->doc);
    cr_expect(eq(i64, r.execution_us, row->execution_us), "%s", row->doc);
}

/* {"present":true,"value":[[[...]]]} with so many levels. */
static void deep_document(struct sp_buf *doc, size_t levels)
{
    (void)sp_buf_adds(doc, "{\"present\":true,\"value\":");
    for (size_t i = 0; i < levels; i++)
        (void)sp_buf_addc(doc, '[');
    for (size_t i = 0; i < levels; i++)
        (void)sp_buf_addc(doc, ']');
    (void)sp_buf_addc(doc, '}');
}

Test(protocol, a_value_that_is_too_deep_becomes_null_with_a_warning)
{
    static const struct {
        size_t levels;
        bool kept;
    } rows[] = {{512, true}, {513, false}, {200000, false}};

    for (size_t i = 0; i < SP_COUNT(rows); i++) {
        sp_auto(sp_buf_clear) struct sp_buf doc = SP_BUF_INIT(1 << 20);
        sp_auto(sp_result_clear) struct sp_result r = {0};
        deep_document(&doc, rows[i].levels);

        cr_assert(eq(int, sp_protocol_read(doc.data, doc.len, &r, NULL), SP_OK));

        cr_expect(r.result_present);
        cr_expect(eq(sz, r.result_value_len, rows[i].kept ? 2 * rows[i].levels : 4));
        cr_expect(eq(int, r.warning == NULL, rows[i].kept));
    }
}

Test(protocol, a_warning_without_measure_is_refused)
{
    sp_auto(sp_buf_clear) struct sp_buf doc = SP_BUF_INIT(1 << 20);
    sp_auto(sp_result_clear) struct sp_result r = {0};
    (void)sp_buf_adds(&doc, "{\"warning\":\"");
    for (int i = 0; i < 5000; i++)
        (void)sp_buf_addc(&doc, 'w');
    (void)sp_buf_adds(&doc, "\"}");

    cr_expect(eq(int, sp_protocol_read(doc.data, doc.len, &r, NULL), SP_E_INVALID));
}

/* In the templates: C(json) is a classic marker, O(json) this run's, with the JSON in base64. */
static void expand(const char *template, struct sp_buf *out)
{
    char own[SP_MARKER_MAX];
    sp_marker_own(own, "abc123");
    for (const char *at = template; *at;) {
        const char *close = (*at == 'C' || *at == 'O') && at[1] == '(' ? strchr(at, ')') : NULL;
        if (!close) {
            (void)sp_buf_addc(out, *at++);
            continue;
        }
        (void)sp_buf_adds(out, *at == 'C' ? SP_MARKER : own);
        (void)sp_base64_encode(at + 2, (size_t)(close - at - 2), out);
        at = close + 1;
    }
}

#define VALUE(json) "{\"present\":true,\"value\":" json ",\"type\":\"json\"}"

static const struct {
    const char *in, *out, *value;
} markers[] = {
    {"", "", NULL},
    {"plain\n", "plain\n", NULL},
    {"C(" VALUE("{\"a\":1.10}") ")\n", "", "{\"a\":1.10}"},
    {"debug\nC(" VALUE("1") ")\n", "debug\n", "1"},
    {"C(" VALUE("1") ")\nafter\n", "after\n", "1"},
    {"a\nC(" VALUE("1") ")", "a\n", "1"},
    /* several: the last one wins, all go */
    {"C(" VALUE("1") ")\nx\nC(" VALUE("2") ")\n", "x\n", "2"},
    {"C(" VALUE("null") ")\n", "", "null"},
    {"C({\"present\":true})\n", "", "null"},
    /* no value in it */
    {"a\nC({\"present\":false,\"value\":1})\n", "a\n", NULL},
    {"C({\"present\":1,\"value\":1})\n", "", NULL},
    {"C({})\n", "", NULL},
    /* what cannot be decoded stays */
    {"C()\n", SP_MARKER "\n", NULL},
    {SP_MARKER "!!!!\n", SP_MARKER "!!!!\n", NULL},
    {SP_MARKER "eyJ\n", SP_MARKER "eyJ\n", NULL},
    {"C([1])\nC(" VALUE("1") ")\nC(x)\n", SP_MARKER "WzFd\n" SP_MARKER "eA==\n", "1"},
    {"C({\"present\":true,\"value\":NaN})\n",
     SP_MARKER "eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6TmFOfQ==\n", NULL},
    /* only at the start of a line, and only LF ends one */
    {"no newline C(" VALUE("1") ")\n", NULL, NULL},
    {"a\rC(" VALUE("1") ")\n", NULL, NULL},
    {"a\u2028C(" VALUE("1") ")\n", NULL, NULL},
    {"a\r\nb\fc\n\nC(" VALUE("1") ")\n", "a\r\nb\fc\n\n", "1"},
    /* this run's marker takes its own newline along, and wins */
    {"glued\nO(" VALUE("1") ")\n", "glued", "1"},
    {"line\n\nO(" VALUE("1") ")\n", "line\n", "1"},
    {"\nO(" VALUE("1") ")\n", "", "1"},
    {"O(" VALUE("1") ")\n", "", "1"},
    {"a\nO(" VALUE("1") ")\nlate", "alate", "1"},
    {"\nO(" VALUE("1") ")\nC(" VALUE("2") ")\n", "", "1"},
    {"C(" VALUE("2") ")\n\nO(" VALUE("1") ")\n", "", "1"},
    {"\nO(" VALUE("1") ")\n\nO(" VALUE("2") ")\n", "", "2"},
    {"x\nO()\n", NULL, NULL},
    {"__RAGFLOW_RESULT_other__:eA==\n", "__RAGFLOW_RESULT_other__:eA==\n", NULL},
};

SP_TABLE_TEST(protocol, markers_leave_stdout_and_give_the_value, markers, row)
{
    sp_auto(sp_buf_clear) struct sp_buf in = SP_BUF_INIT(65536);
    sp_auto(sp_result_clear) struct sp_result r = {0};
    expand(row->in, &in);
    r.out.text = sp_memdup(sp_buf_str(&in), in.len);
    r.out.len = in.len;

    cr_assert(eq(int, sp_protocol_take_marker(&r, "abc123"), SP_OK));

    const char *want = row->out ? row->out : sp_buf_str(&in);
    cr_expect(eq(str, r.out.text, (char *)want), "%s", row->in);
    cr_expect(eq(sz, r.out.len, strlen(want)), "%s", row->in);
    cr_expect(eq(int, r.result_present, row->value != NULL), "%s", row->in);
    if (row->value)
        cr_expect(eq(str, r.result_value, (char *)row->value), "%s", row->in);
}

Test(protocol, a_value_from_the_private_channel_stands_over_a_marker)
{
    sp_auto(sp_buf_clear) struct sp_buf in = SP_BUF_INIT(65536);
    sp_auto(sp_result_clear) struct sp_result r = {0};
    const char *doc = "{\"present\":true,\"value\":7}";
    expand("C(" VALUE("1") ")\n", &in);
    r.out.text = sp_memdup(in.data, in.len);
    r.out.len = in.len;
    cr_assert(eq(int, sp_protocol_read(doc, strlen(doc), &r, NULL), SP_OK));

    cr_assert(eq(int, sp_protocol_take_marker(&r, NULL), SP_OK));

    cr_expect(eq(str, r.result_value, "7"));
    cr_expect(eq(str, r.out.text, ""));
}

Test(protocol, another_runs_marker_is_text)
{
    sp_auto(sp_buf_clear) struct sp_buf in = SP_BUF_INIT(65536);
    sp_auto(sp_result_clear) struct sp_result r = {0};
    expand("a\nO(" VALUE("1") ")\n", &in);
    r.out.text = sp_memdup(in.data, in.len);
    r.out.len = in.len;

    cr_assert(eq(int, sp_protocol_take_marker(&r, "other"), SP_OK));

    cr_expect(eq(str, r.out.text, in.data));
    cr_expect(not(r.result_present));
}

static const struct {
    const char *before, *value, *after;
} echoes[] = {
    {"", "\"text\"", "text\n"},
    {"a\n", "\"t\\u00e9\\n\"", "a\nté\n\n"},
    {"a", "\"text\"", "a\ntext\n"},
    {"", "{\"a b\": [1, 2.50, \"x \\\" , y\"], \"c\":\tnull}",
     "{\"a b\":[1,2.50,\"x \\\" , y\"],\"c\":null}\n"},
    {"a\n", "null", "a\nnull\n"},
    {"a\n", NULL, "a\n"},
};

SP_TABLE_TEST(protocol, the_value_is_shown_behind_stdout, echoes, row)
{
    sp_auto(sp_result_clear) struct sp_result r = {.result_present = row->value != NULL};
    r.out.text = sp_strdup(row->before);
    r.out.len = strlen(row->before);
    if (row->value) {
        r.result_value = sp_strdup(row->value);
        r.result_value_len = strlen(row->value);
    }

    cr_assert(eq(int, sp_protocol_echo_value(&r), SP_OK));

    cr_expect(eq(str, r.out.text, (char *)row->after));
    cr_expect(eq(sz, r.out.len, strlen(row->after)));
}

Test(protocol, a_marker_of_our_own_may_carry_a_warning)
{
    /* {"present":true,"value":null,"warning":"w"}, then the same with RAGFlow's marker */
    static const char text[] =
        "a\n__RAGFLOW_RESULT_s__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6bnVsbCwid2FybmluZyI6IncifQ==\n"
        "__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6bnVsbCwid2FybmluZyI6IncifQ==\n";
    sp_auto(sp_result_clear) struct sp_result r = {0};
    r.out = (struct sp_stream){.text = sp_strdup(text), .len = sizeof(text) - 1};

    cr_assert(eq(int, sp_protocol_take_marker(&r, "s"), SP_OK));

    cr_expect(eq(str, r.out.text, "a"));
    cr_expect(eq(str, r.warning, "w"));
    cr_expect(eq(str, r.result_value, "null"));
}

/* A program can read the suffix in its own text, and print as many such lines as it likes. */
Test(protocol, of_many_markers_of_our_own_only_the_last_warns)
{
    enum { LINES = 20000 };
    static const char line[] =
        "\n__RAGFLOW_RESULT_s__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6bnVsbCwid2FybmluZyI6IncifQ==\n";
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_result_clear) struct sp_result r = {0};
    for (int i = 0; i < LINES; i++)
        cr_assert(eq(int, sp_buf_adds(&text, line), SP_OK));
    r.out.text = sp_buf_take(&text, &r.out.len);

    cr_assert(eq(int, sp_protocol_take_marker(&r, "s"), SP_OK));

    cr_expect(eq(str, r.out.text, ""));
    cr_assert(r.warning != NULL);
    cr_expect(eq(sz, strlen(r.warning), 1));
}

Test(protocol, a_value_from_elsewhere_is_kept_as_it_is_unless_it_is_too_deep)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_json_value value;

    cr_assert(eq(int, sp_json_scan(" 1.10 ", 6, &value, NULL), SP_OK));
    cr_assert(eq(int, sp_protocol_keep_value(&r, &value), SP_OK));
    cr_expect(eq(str, r.result_value, "1.10"));

    value.depth = SP_VALUE_DEPTH_MAX + 1;
    cr_assert(eq(int, sp_protocol_keep_value(&r, &value), SP_OK));
    cr_expect(eq(str, r.result_value, "null"));
    cr_expect(r.warning != NULL);
}
