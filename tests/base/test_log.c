#include "base/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support.h"

static char text[65536];

/* stderr becomes a pipe; read_log() gives what was written since. */
static int log_end;

static void catch_log(void)
{
    int ends[2];

    cr_assert(zero(int, pipe(ends)));
    cr_assert(eq(int, dup2(ends[1], STDERR_FILENO), STDERR_FILENO));
    close(ends[1]);
    log_end = ends[0];
}

static char *read_log(void)
{
    close(STDERR_FILENO);
    size_t len = 0;
    ssize_t n;

    while ((n = read(log_end, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    return text;
}

/* What stands behind the time. */
static char *behind_time(char *line, const char *mark)
{
    char *at = strstr(line, mark);

    cr_assert(not(zero(ptr, at)), "%s", line);
    return at + strlen(mark);
}

TestSuite(log, .init = catch_log);

Test(log, an_event_is_one_line_of_json)
{
    sp_log(SP_WARN, "odd_thing", sp_s("task_id", "a\"b\n"), sp_i("took_ms", -7),
           sp_s("none", NULL));

    char *line = read_log();
    json_auto_t *root = json_loads(line, 0, NULL);

    cr_assert(not(zero(ptr, root)), "%s", line);
    cr_expect(eq(sz, strlen(json_string_value(json_object_get(root, "ts"))), 24));
    cr_expect(eq(str, behind_time(line, "Z\","),
                 "\"level\":\"warn\",\"event\":\"odd_thing\",\"task_id\":\"a\\\"b\\n\","
                 "\"took_ms\":-7,\"none\":null}\n"));
}

Test(log, an_event_needs_no_pairs)
{
    sp_log(SP_ERROR, "bare");

    cr_expect(
        eq(str, behind_time(read_log(), "Z\","), "\"level\":\"error\",\"event\":\"bare\"}\n"));
}

Test(log, the_text_form_is_for_people)
{
    sp_log_setup(SP_DEBUG, false);
    sp_log(SP_DEBUG, "event", sp_s("plain", "/a/b:1"), sp_s("blank", "a b"), sp_s("empty", ""),
           sp_i("n", 5), sp_s("none", NULL), sp_s("line", "a\nb"), sp_s("sign", "a=b"));

    cr_expect(eq(str, behind_time(read_log(), "Z "),
                 "DEBUG event plain=/a/b:1 blank=\"a b\" empty=\"\" n=5 none=null line=\"a\\nb\" "
                 "sign=\"a=b\"\n"));
}

Test(log, levels_below_the_threshold_are_dropped)
{
    sp_log(SP_DEBUG, "hidden");
    sp_log_setup(SP_ERROR, true);
    sp_log(SP_WARN, "hidden");
    sp_log(SP_ERROR, "shown");

    char *lines = read_log();

    cr_expect(zero(ptr, strstr(lines, "hidden")));
    cr_expect(not(zero(ptr, strstr(lines, "shown"))));
}

Test(log, invalid_bytes_are_replaced)
{
    sp_log(SP_INFO, "event", sp_s("value", "a\xFFz"));

    cr_expect(not(zero(ptr, strstr(read_log(), "\"value\":\"a\xEF\xBF\xBDz\"}"))));
}

Test(log, a_long_value_is_cut_between_characters)
{
    char value[5001];

    for (size_t i = 0; i < sizeof(value) - 1; i++)
        value[i] = "\xE2\x82\xAC"[i % 3];
    value[sizeof(value) - 1] = '\0';
    sp_log(SP_INFO, "event", sp_s("value", value), sp_i("behind", 1));

    char *line = read_log();
    json_auto_t *root = json_loads(line, 0, NULL);
    const char *cut = json_string_value(json_object_get(root, "value"));

    cr_assert(not(zero(ptr, (void *)cut)), "%s", line);
    cr_expect(eq(sz, strlen(cut), 1023 + 3));
    cr_expect(eq(str, (char *)cut + 1020, "\xE2\x82\xAC..."));
    cr_expect(not(zero(ptr, strstr(line, "\"behind\":1}\n"))));
}

Test(log, logging_keeps_errno)
{
    close(STDERR_FILENO);
    errno = ENOENT;
    sp_log(SP_INFO, "event");

    cr_expect(eq(int, errno, ENOENT));
}

Test(log, a_level_has_a_name)
{
    enum sp_level level = SP_DEBUG;

    cr_expect(sp_log_level_parse("warn", &level));
    cr_expect(eq(int, level, SP_WARN));
    cr_expect(sp_log_level_parse("ERROR", &level));
    cr_expect(eq(int, level, SP_ERROR));
    cr_expect(not(sp_log_level_parse("loud", &level)));
    cr_expect(not(sp_log_level_parse("", &level)));
}
