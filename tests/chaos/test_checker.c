/* The checker, by ledgers written by hand: every fault that is planted is found, and nothing else.
 */
#include "tests/chaos/checker.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support.h"

#define JOB_OF(id, key, n) "100 sent " id " 0 " #n " 0 ok " key " 0"
#define JOB(id) JOB_OF(id, "-", 0)
#define RUN(id, from, to, pid)                                                                     \
#from " begin " id " " #pid " 7 0 - - 0", #to " end " id " " #pid " 7 0 exited - 0"
#define BEGUN(id, from, pid) #from " begin " id " " #pid " 7 0 - - 0"
#define REPLY(id, at) #at " reply " id " 0 0 1 ok r" id " abc"

struct planted {
    const char *name;
    const char *lines[12];
    struct {
        enum checker_number number;
        int64_t value;
    } found[8]; /* the rest is 0, save those in `usual` */
};

/* What an ordinary ledger has, too: looked at only where a row names it. */
static bool is_usual(enum checker_number number)
{
    return number == CHECKER_JOBS || number == CHECKER_RUNS || number == CHECKER_ATTEMPTS;
}

static const struct planted planted[] = {
    {"nothing", {NULL}, {{CHECKER_JOBS, 0}, {CHECKER_RUNS, 0}}},
    {"a clean ledger",
     {JOB("a"), RUN("a", 200, 300, 1), REPLY("a", 400), JOB("b"), RUN("b", 200, 300, 2),
      REPLY("b", 400)},
     {{CHECKER_JOBS, 2}, {CHECKER_RUNS, 2}, {CHECKER_ATTEMPTS, 1}}},
    {"a job without a reply", {JOB("a"), RUN("a", 200, 300, 1)}, {{CHECKER_LOST, 1}}},
    {"a job that never began", {JOB("a")}, {{CHECKER_LOST, 1}}},
    {"a reply that nobody asked for", {REPLY("x", 400)}, {{CHECKER_STRAY, 1}}},
    {"another status than wanted",
     {JOB("a"), "400 reply a 0 0 1 error r abc"},
     {{CHECKER_WRONG, 1}}},
    {"any status where any is wanted",
     {"100 sent a 0 0 0 any - 0", "400 reply a 0 0 1 error r abc"},
     {{CHECKER_WRONG, 0}}},
    {"a second run without a reason",
     {JOB("a"), RUN("a", 200, 300, 1), RUN("a", 500, 600, 2), REPLY("a", 700)},
     {{CHECKER_RERUN, 1}, {CHECKER_UNEXPLAINED, 1}, {CHECKER_RUNS, 2}}},
    {"a second run beside the first",
     {JOB("a"), RUN("a", 200, 800, 1), RUN("a", 500, 600, 2), REPLY("a", 900)},
     {{CHECKER_RERUN, 1}, {CHECKER_UNEXPLAINED, 1}, {CHECKER_AT_ONCE, 1}}},
    {"a second run after a kill",
     {JOB("a"), BEGUN("a", 200, 1), "300 fault - 1 0 0 kill - 0", RUN("a", 2300300, 2300400, 2),
      REPLY("a", 2300500)},
     {{CHECKER_RERUN, 1}, {CHECKER_CUT, 1}, {CHECKER_TAKEOVER_MS, 2300}}},
    {"a kill between the end and the stored reply",
     {JOB("a"), RUN("a", 200, 300, 1), "400 fault - 1 0 0 kill - 0", RUN("a", 500, 600, 2),
      REPLY("a", 700)},
     {{CHECKER_RERUN, 1}}},
    {"a kill long after the end explains nothing",
     {JOB("a"), RUN("a", 200, 300, 1), "1000400 fault - 1 0 0 kill - 0",
      RUN("a", 1000500, 1000600, 2), REPLY("a", 200700)},
     {{CHECKER_RERUN, 1}, {CHECKER_UNEXPLAINED, 1}}},
    {"a kill of another worker explains nothing",
     {JOB("a"), RUN("a", 200, 300, 1), "250 fault - 3 0 0 kill - 0", RUN("a", 500, 600, 2),
      REPLY("a", 700)},
     {{CHECKER_RERUN, 1}, {CHECKER_UNEXPLAINED, 1}}},
    {"one kill explains one more run, not two",
     {JOB("a"), BEGUN("a", 200, 1), "300 fault - 1 0 0 kill - 0", RUN("a", 500, 600, 2),
      RUN("a", 700, 800, 3), REPLY("a", 900)},
     {{CHECKER_RERUN, 2}, {CHECKER_CUT, 1}, {CHECKER_UNEXPLAINED, 1}}},
    {"a second run before the kill",
     {JOB("a"), RUN("a", 200, 900, 1), RUN("a", 300, 400, 2), "800 fault - 1 0 0 kill - 0",
      REPLY("a", 950)},
     {{CHECKER_RERUN, 1}, {CHECKER_CUT, 1}, {CHECKER_UNEXPLAINED, 1}, {CHECKER_AT_ONCE, 1}}},
    {"a frozen worker that goes on after another took over",
     {JOB("a"), RUN("a", 200, 9000, 1), "300 fault - 1 0 0 freeze - 0", RUN("a", 4000, 5000, 2),
      REPLY("a", 6000)},
     {{CHECKER_RERUN, 1}, {CHECKER_CUT, 1}, {CHECKER_TAKEOVER_MS, 3}}},
    {"a stop past its drain time",
     {JOB("a"), BEGUN("a", 200, 1), "300 end a 1 7 0 cancelled - 0", RUN("a", 400, 500, 2),
      REPLY("a", 600)},
     {{CHECKER_RERUN, 1}, {CHECKER_CUT, 1}}},
    {"a claim lost with Redis's data",
     {JOB("a"), RUN("a", 200, 300, 1), "400 fault - 0 0 0 redis - 0",
      "500 healed - 0 0 0 redis - 0", RUN("a", 600, 700, 2), REPLY("a", 800)},
     {{CHECKER_RERUN, 1}}},
    {"a claim made after Redis came back",
     {JOB("a"), "400 fault - 0 0 0 redis - 0", "500 healed - 0 0 0 redis - 0",
      RUN("a", 600, 700, 2), RUN("a", 750, 770, 1), REPLY("a", 800)},
     {{CHECKER_RERUN, 1}, {CHECKER_UNEXPLAINED, 1}}},
    {"a claim that could not be recorded",
     {JOB("a"), RUN("a", 200, 300, 1), "400 reply a 0 1 1 ok ra abc", RUN("a", 500, 600, 2),
      REPLY("a", 700)},
     {{CHECKER_RERUN, 1}, {CHECKER_DOUBLED, 1}, {CHECKER_DEGRADED, 1}}},
    {"the same reply twice",
     {JOB("a"), RUN("a", 200, 300, 1), REPLY("a", 400), REPLY("a", 500)},
     {{CHECKER_DOUBLED, 1}}},
    {"a second reply with other bytes",
     {JOB("a"), RUN("a", 200, 300, 1), REPLY("a", 400), "500 reply a 0 0 1 ok ra abd"},
     {{CHECKER_DOUBLED, 1}, {CHECKER_DIFFERENT, 1}}},
    {"a second reply with another result id",
     {JOB("a"), RUN("a", 200, 300, 1), REPLY("a", 400), "500 reply a 0 0 1 ok other abc"},
     {{CHECKER_DOUBLED, 1}, {CHECKER_DIFFERENT, 1}}},
    {"jobs of one key in turn",
     {JOB_OF("b", "k", 1), JOB_OF("a", "k", 2), RUN("b", 200, 300, 1), RUN("a", 300, 400, 2),
      REPLY("a", 500), REPLY("b", 500)},
     {{CHECKER_REORDERED, 0}}},
    {"a later job of a key first",
     {JOB_OF("a", "k", 1), JOB_OF("b", "k", 2), RUN("b", 200, 300, 1), RUN("a", 400, 500, 1),
      REPLY("a", 600), REPLY("b", 600)},
     {{CHECKER_REORDERED, 1}}},
    {"two jobs of a key at once",
     {JOB_OF("a", "k", 1), JOB_OF("b", "k", 2), RUN("a", 200, 300, 1), RUN("b", 299, 400, 1),
      REPLY("a", 600), REPLY("b", 600)},
     {{CHECKER_REORDERED, 1}}},
    {"jobs of two keys in any order",
     {JOB_OF("a", "k", 1), JOB_OF("b", "m", 2), RUN("b", 200, 300, 1), RUN("a", 400, 500, 1),
      REPLY("a", 600), REPLY("b", 600)},
     {{CHECKER_REORDERED, 0}}},
    {"attempts and dead letters",
     {"100 sent a 0 0 0 error - 0", "300 dlq a 0 0 3 - - abc", "400 reply a 0 0 3 error r abc"},
     {{CHECKER_DLQ, 1}, {CHECKER_ATTEMPTS, 3}}},
    {"flow after a heal",
     {JOB("a"), REPLY("a", 150), "200 fault - 0 0 0 broker - 0", "5000 healed - 0 0 0 broker - 0",
      JOB("b"), REPLY("b", 9100), JOB("c"), REPLY("c", 9900)},
     {{CHECKER_RECOVERY_MS, 4}}},
};

static void read_rows(const struct planted *row, struct ledger *out)
{
    char path[] = "/tmp/sandpiper-ledger-XXXXXX";
    int fd = mkstemp(path);
    struct sp_error err = {0};
    cr_assert(fd >= 0);
    for (size_t i = 0; i < SP_COUNT(row->lines) && row->lines[i]; i++)
        cr_assert(dprintf(fd, "%s\n", row->lines[i]) > 0);
    close(fd);
    enum sp_code rc = ledger_read(path, out, &err);
    unlink(path);
    cr_assert(eq(int, rc, SP_OK), "%s: %s", row->name, err.msg);
}

static bool is_named(const struct planted *row, enum checker_number number)
{
    for (size_t i = 0; i < SP_COUNT(row->found); i++) {
        if (row->found[i].number == number && (i == 0 || row->found[i].number))
            return true;
    }
    return false;
}

SP_TABLE_TEST(checker, a_planted_fault_is_found_and_nothing_else, planted, row)
{
    sp_auto(ledger_clear) struct ledger ledger = {0};
    struct checker_numbers numbers;
    read_rows(row, &ledger);

    cr_assert(checker_count(&ledger, &numbers));

    for (size_t i = 0; i < SP_COUNT(row->found); i++) {
        enum checker_number number = row->found[i].number;
        if (i > 0 && number == CHECKER_JOBS)
            break;
        cr_expect(eq(i64, numbers.of[number], row->found[i].value), "%s: %s", row->name,
                  checker_name(number));
    }
    for (int n = 0; n < CHECKER_COUNT; n++) {
        if (!is_usual((enum checker_number)n) && !is_named(row, (enum checker_number)n)) {
            cr_expect(eq(i64, numbers.of[n], 0), "%s: %s", row->name,
                      checker_name((enum checker_number)n));
        }
    }
}

Test(ledger, an_event_is_read_as_it_was_written)
{
    char path[] = "/tmp/sandpiper-ledger-XXXXXX";
    close(mkstemp(path));
    int fd = ledger_open(path);
    const struct ledger_event event = {.at_us = 5,
                                       .kind = LEDGER_REPLY,
                                       .pid = 17,
                                       .attempt = 2,
                                       .run = 1234567890123,
                                       .id = "j1",
                                       .what = "ok",
                                       .digest = LEDGER_DIGEST};
    struct ledger_event now = {.kind = LEDGER_FAULT, .what = "kill"};
    sp_auto(ledger_clear) struct ledger ledger = {0};

    bool written = ledger_add(fd, &event) && ledger_add(fd, &now);
    close(fd);
    enum sp_code rc = ledger_read(path, &ledger, NULL);
    unlink(path);

    cr_assert(written && rc == SP_OK);
    cr_assert(eq(sz, ledger.n, 2));
    cr_expect(memcmp(&ledger.events[0], &event, sizeof event) == 0);
    cr_expect(ledger.events[1].at_us > 0);
}

static const struct {
    const char *text;
    bool ok;
} texts[] = {
    {"5 sent a 0 0 0 ok - 0\n", true},       {"5 sent a 0 0 0 ok - 0\n5 sen", true},
    {"5 lost a 0 0 0 ok - 0\n", false},      {"5 sent a 0 0 0 ok -\n", false},
    {"5 sent a 0 0 0 ok - 0 more\n", false}, {"sent\n", false},
};

SP_TABLE_TEST(ledger, a_line_that_is_no_event_is_named, texts, row)
{
    char path[] = "/tmp/sandpiper-ledger-XXXXXX";
    int fd = mkstemp(path);
    sp_auto(ledger_clear) struct ledger ledger = {0};
    struct sp_error err = {0};
    cr_assert(write(fd, row->text, strlen(row->text)) > 0);
    close(fd);

    enum sp_code rc = ledger_read(path, &ledger, &err);

    unlink(path);
    cr_expect(eq(int, rc, row->ok ? SP_OK : SP_E_INVALID), "%s", row->text);
    cr_expect(row->ok ? ledger.n == 1 : strstr(err.msg, "line 1") != NULL, "%s", err.msg);
}
