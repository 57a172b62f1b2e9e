#include "tests/chaos/ledger_words.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define NUMBER_MAX 100000000

struct program {
    const struct sp_run *run;
    struct sp_result *out;
    int64_t end; /* of its time */
    bool over;
};

static void do_sleep(struct program *p, int64_t ms)
{
    int64_t until = sp_deadline_in(ms);
    struct pollfd cancel = {.fd = p->run->cancel_fd, .events = POLLIN};
    int got = poll(&cancel, 1, sp_deadline_left(sp_deadline_min(until, p->end)));
    if (got > 0) {
        p->out->outcome = SP_OUTCOME_CANCELLED;
    } else if (until > p->end) {
        p->out->outcome = SP_OUTCOME_TIMEOUT;
    }
    p->over = p->out->outcome != SP_OUTCOME_EXITED;
    if (p->over)
        p->out->exit_code = -1;
}

static void do_flood(struct program *p, int64_t bytes)
{
    struct sp_stream *out = &p->out->out;
    char *text = realloc(out->text, out->len + (size_t)bytes + 1);
    if (!text)
        return;
    memset(text + out->len, 'x', (size_t)bytes);
    out->text = text;
    out->len += (size_t)bytes;
    out->bytes += bytes;
    text[out->len] = '\0';
}

static void do_exit(struct program *p, int64_t code)
{
    p->out->exit_code = (int)code;
    p->over = true;
}

static void do_kill_worker(struct program *p, int64_t none)
{
    (void)p, (void)none;
    kill(getpid(), SIGKILL);
    pause();
}

static const struct {
    const char *name;
    bool takes_number;
    void (*run)(struct program *p, int64_t number);
} words[] = {
    {"sleep", true, do_sleep},
    {"flood", true, do_flood},
    {"exit", true, do_exit},
    {"kill-worker", false, do_kill_worker},
};

/* Carries out the word, with its number taken from *rest. False: it is none. */
static bool run_word(struct program *p, const char *word, char **rest)
{
    for (size_t i = 0; i < SP_COUNT(words); i++) {
        int64_t number = 0;
        if (strcmp(words[i].name, word) != 0)
            continue;
        if (words[i].takes_number) {
            const char *text = strtok_r(NULL, " ", rest);
            if (!text || !sp_parse_i64(text, 0, NUMBER_MAX, &number))
                return false;
        }
        words[i].run(p, number);
        return true;
    }
    return false;
}

enum sp_code ledger_words_run(const char *code, const struct sp_run *run, struct sp_result *out,
                              struct sp_error *err)
{
    struct program p = {
        .run = run,
        .out = out,
        .end = sp_deadline_min(run->deadline, sp_deadline_in(run->timeout_ms)),
    };
    sp_auto(sp_free_str) char *text = sp_strdup(code);
    if (!text)
        return sp_error_set(err, SP_E_NOMEM, "program");
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word && !p.over;
         word = strtok_r(NULL, " ", &rest)) {
        if (!run_word(&p, word, &rest))
            return sp_error_set(err, SP_E_INVALID, "no word of the chaos cases: %s", word);
    }
    return SP_OK;
}
