/* How a case's numbers are judged and told. */
#include "tests/chaos/chaos_report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/support.h"

static const struct {
    const char *name;
    enum checker_number number;
    int64_t value, cut, in_hand, most;
    bool passes;
} limits[] = {
    {"what is no fault has no limit", CHECKER_RUNS, 1000, 0, 0, 0, true},
    {"unless there is one", CHECKER_ATTEMPTS, 4, 0, 0, 3, false},
    {"that is kept", CHECKER_ATTEMPTS, 3, 0, 0, 3, true},
    {"no fault is allowed", CHECKER_LOST, 1, 0, 0, 0, false},
    {"none has happened", CHECKER_LOST, 0, 0, 0, 0, true},
    {"any number is allowed", CHECKER_DOUBLED, 1000, 0, 0, CHAOS_ANY, true},
    {"as many as were cut", CHECKER_RERUN, 7, 7, 0, CHAOS_CUT, true},
    {"more than were cut", CHECKER_RERUN, 8, 7, 9, CHAOS_CUT, false},
    {"as many as can have been in hand", CHECKER_RERUN, 8, 7, 8, CHAOS_IN_HAND, true},
    {"more than can have been in hand", CHECKER_RERUN, 9, 9, 8, CHAOS_IN_HAND, false},
};

SP_TABLE_TEST(report, a_number_is_held_against_its_limit, limits, row)
{
    struct chaos_outcome outcome = {.name = "case"};
    int64_t most[CHECKER_COUNT] = {0};
    outcome.numbers.of[CHECKER_CUT] = row->cut;
    outcome.numbers.of[CHECKER_IN_HAND] = row->in_hand;
    outcome.numbers.of[row->number] = row->value;
    most[row->number] = row->most;

    chaos_report_judge(&outcome, most);

    cr_expect(outcome.passed == row->passes, "%s", row->name);
    cr_expect(outcome.too_many[row->number] == !row->passes, "%s", row->name);
}

Test(report, the_line_names_what_is_beyond_its_limit)
{
    struct chaos_outcome outcome = {.name = "kill_loop", .seed = 7, .seconds = 31};
    const int64_t most[CHECKER_COUNT] = {0};
    outcome.numbers.of[CHECKER_JOBS] = 50;
    outcome.numbers.of[CHECKER_LOST] = 2;
    chaos_report_judge(&outcome, most);

    sp_auto(sp_free_str) char *line = chaos_report_line(&outcome);

    cr_expect(eq(str, line,
                 (char *)(uintptr_t) "kill_loop: FAILED, seed 7, 31 s: jobs=50 "
                                     "lost=2(!) re-run=0 doubled=0 reordered=0"));
}

Test(report, the_sum_fails_when_a_case_is_missing)
{
    char path[] = "/tmp/sandpiper-chaos-report-XXXXXX";
    close(mkstemp(path));
    const struct chaos_outcome outcome = {.name = "case", .passed = true};

    chaos_report_add(path, &outcome);

    cr_expect(chaos_report_sum(path, 1));
    cr_expect(not(chaos_report_sum(path, 2)));
    unlink(path);
}
