#include "tests/chaos/checker.h"

#include <stdlib.h>
#include <string.h>

struct run {
    int64_t begin_us, end_us; /* end: INT64_MAX: never */
    int64_t number;
    int64_t stopped_us; /* cut, or its worker was killed or frozen soon after it ended; 0: not */
    int pid;
    bool cancelled, cut;
};

/* What is known of one key's job, for the order. */
struct turn {
    const char *key;
    int64_t sent, begin_us, end_us;
};

struct checker {
    const struct ledger_event *loose; /* those without an id: faults and heals, by time */
    size_t n_loose;
    struct run *runs; /* of the id that is looked at */
    size_t n_runs, cap_runs;
    bool degraded; /* one of its replies */
    struct turn *turns;
    size_t n_turns;
    int64_t *of;
};

static const struct {
    const char *name;
    bool is_fault;
} rows[CHECKER_COUNT] = {
#define CHECKER_ROW(number, text, fault) [CHECKER_##number] = {text, fault},
    CHECKER_NUMBERS(CHECKER_ROW)
#undef CHECKER_ROW
};

const char *checker_name(enum checker_number number)
{
    return rows[number].name;
}

bool checker_is_fault(enum checker_number number)
{
    return rows[number].is_fault;
}

static int compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_id_and_time(const void *a, const void *b)
{
    const struct ledger_event *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : compare(x->at_us, y->at_us);
}

static int by_key_and_turn(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : compare(x->sent, y->sent);
}

static void at_least(int64_t *number, int64_t value)
{
    if (*number < value)
        *number = value;
}

static bool add_run(struct checker *c, const struct ledger_event *e)
{
    if (c->n_runs == c->cap_runs) {
        size_t cap = c->cap_runs ? c->cap_runs * 2 : 16;
        struct run *more = realloc(c->runs, cap * sizeof *more);
        if (!more)
            return false;
        c->runs = more;
        c->cap_runs = cap;
    }
    c->runs[c->n_runs++] =
        (struct run){.begin_us = e->at_us, .end_us = INT64_MAX, .number = e->run, .pid = e->pid};
    return true;
}

static void end_run(struct checker *c, const struct ledger_event *e)
{
    for (size_t i = 0; i < c->n_runs; i++) {
        struct run *run = &c->runs[i];
        if (run->pid == e->pid && run->number == e->run) {
            run->end_us = e->at_us;
            run->cancelled = strcmp(e->what, "cancelled") == 0;
        }
    }
}

/* Redis comes back at i: every claim made until then is gone. */
static bool forgets(const struct ledger_event *e, const struct run *run)
{
    return e->kind == LEDGER_HEALED && strcmp(e->what, "redis") == 0 && run->begin_us < e->at_us;
}

static bool stops(const struct ledger_event *e, const struct run *run)
{
    return e->kind == LEDGER_FAULT && e->pid != 0 && e->pid == run->pid &&
           run->begin_us <= e->at_us && e->at_us < run->end_us + CHECKER_SETTLE_US;
}

/* By the first event that did. */
static void look_for_stop(const struct checker *c, struct run *run)
{
    if (run->end_us > INT64_MAX - CHECKER_SETTLE_US)
        run->end_us = INT64_MAX - CHECKER_SETTLE_US;
    for (size_t i = 0; i < c->n_loose && !run->stopped_us; i++) {
        if (stops(&c->loose[i], run)) {
            run->stopped_us = c->loose[i].at_us;
            run->cut = run->stopped_us < run->end_us;
        }
    }
    if (!run->stopped_us && run->cancelled) {
        run->stopped_us = run->end_us;
        run->cut = true;
    }
}

static bool was_forgotten(const struct checker *c, const struct run *run, int64_t next_us)
{
    for (size_t i = 0; i < c->n_loose; i++) {
        if (forgets(&c->loose[i], run) && c->loose[i].at_us <= next_us)
            return true;
    }
    return false;
}

static void judge_runs(struct checker *c)
{
    for (size_t i = 0; i < c->n_runs; i++) {
        look_for_stop(c, &c->runs[i]);
        c->of[CHECKER_CUT] += c->runs[i].cut;
    }
    for (size_t i = 1; i < c->n_runs; i++) {
        const struct run *last = &c->runs[i - 1], *next = &c->runs[i];
        if (last->stopped_us && last->stopped_us <= next->begin_us) {
            at_least(&c->of[CHECKER_TAKEOVER_MS], (next->begin_us - last->stopped_us) / 1000);
            continue;
        }
        if (c->degraded || was_forgotten(c, last, next->begin_us))
            continue;
        c->of[CHECKER_UNEXPLAINED]++;
        c->of[CHECKER_AT_ONCE] += next->begin_us < last->end_us;
    }
    c->of[CHECKER_RUNS] += (int64_t)c->n_runs;
    c->of[CHECKER_RERUN] += c->n_runs ? (int64_t)c->n_runs - 1 : 0;
}

static void keep_turn(struct checker *c, const struct ledger_event *sent)
{
    struct turn turn = {.key = sent->key, .sent = sent->run};
    if (!sent->key[0] || c->n_runs == 0)
        return;
    turn.begin_us = c->runs[0].begin_us;
    turn.end_us = c->runs[c->n_runs - 1].end_us;
    c->turns[c->n_turns++] = turn;
}

static void judge_replies(struct checker *c, const struct ledger_event *events, size_t n,
                          const struct ledger_event *sent)
{
    const struct ledger_event *first = NULL;
    bool wrong = false;
    for (size_t i = 0; i < n; i++) {
        const struct ledger_event *e = &events[i];
        if (e->kind != LEDGER_REPLY)
            continue;
        at_least(&c->of[CHECKER_ATTEMPTS], e->attempt);
        c->of[CHECKER_DEGRADED] += e->run != 0;
        wrong |= sent && strcmp(sent->what, "any") != 0 && strcmp(sent->what, e->what) != 0;
        if (first) {
            c->of[CHECKER_DOUBLED]++;
            c->of[CHECKER_DIFFERENT] +=
                first->digest != e->digest || strcmp(first->key, e->key) != 0;
        } else {
            first = e;
        }
    }
    c->of[CHECKER_WRONG] += wrong;
    c->of[CHECKER_LOST] += sent && !first;
}

/* All events of one id, by time. */
static bool judge(struct checker *c, const struct ledger_event *events, size_t n)
{
    const struct ledger_event *sent = NULL;
    c->n_runs = 0;
    c->degraded = false;
    for (size_t i = 0; i < n; i++) {
        if (events[i].kind == LEDGER_SENT && !sent)
            sent = &events[i];
        if (events[i].kind == LEDGER_BEGIN && !add_run(c, &events[i]))
            return false;
        if (events[i].kind == LEDGER_END)
            end_run(c, &events[i]);
        c->of[CHECKER_DLQ] += events[i].kind == LEDGER_DLQ;
        c->degraded |= events[i].kind == LEDGER_REPLY && events[i].run;
    }
    c->of[CHECKER_JOBS] += sent != NULL;
    c->of[CHECKER_STRAY] += !sent;
    judge_runs(c);
    judge_replies(c, events, n, sent);
    if (sent)
        keep_turn(c, sent);
    return true;
}

static void judge_order(struct checker *c)
{
    int64_t ended_us = 0;
    qsort(c->turns, c->n_turns, sizeof *c->turns, by_key_and_turn);
    for (size_t i = 0; i < c->n_turns; i++) {
        const struct turn *turn = &c->turns[i];
        if (i == 0 || strcmp(turn->key, turn[-1].key) != 0)
            ended_us = 0;
        c->of[CHECKER_REORDERED] += turn->begin_us < ended_us;
        at_least(&ended_us, turn->end_us);
    }
}

static void judge_recovery(struct checker *c, const struct ledger *ledger)
{
    for (size_t i = 0; i < c->n_loose; i++) {
        int64_t next_us = INT64_MAX, healed_us = c->loose[i].at_us;
        if (c->loose[i].kind != LEDGER_HEALED)
            continue;
        for (size_t e = c->n_loose; e < ledger->n; e++) {
            int64_t at_us = ledger->events[e].at_us;
            if (ledger->events[e].kind == LEDGER_REPLY && at_us >= healed_us && at_us < next_us)
                next_us = at_us;
        }
        if (next_us != INT64_MAX)
            at_least(&c->of[CHECKER_RECOVERY_MS], (next_us - healed_us) / 1000);
    }
}

static bool judge_all(struct checker *c, const struct ledger *ledger)
{
    const struct ledger_event *events = ledger->events;
    for (size_t from = c->n_loose, to; from < ledger->n; from = to) {
        for (to = from + 1; to < ledger->n && strcmp(events[from].id, events[to].id) == 0;)
            to++;
        if (!judge(c, events + from, to - from))
            return false;
    }
    judge_order(c);
    judge_recovery(c, ledger);
    return true;
}

bool checker_count(struct ledger *ledger, struct checker_numbers *out)
{
    *out = (struct checker_numbers){0};
    if (ledger->n == 0)
        return true;
    qsort(ledger->events, ledger->n, sizeof *ledger->events, by_id_and_time);
    struct checker c = {.loose = ledger->events, .of = out->of};
    while (c.n_loose < ledger->n && !ledger->events[c.n_loose].id[0])
        c.n_loose++;
    c.turns = calloc(ledger->n, sizeof *c.turns);
    bool ok = c.turns && judge_all(&c, ledger);
    free(c.turns);
    free(c.runs);
    return ok;
}

int64_t checker_runs_of(const struct ledger *ledger, const char *id)
{
    int64_t n = 0;
    for (size_t i = 0; i < ledger->n; i++) {
        const struct ledger_event *e = &ledger->events[i];
        n += e->kind == LEDGER_BEGIN && (!id || strcmp(e->id, id) == 0);
    }
    return n;
}
