#include "providers/ending.h"

#include <signal.h>
#include <string.h>

#include "providers/protocol.h"

static void set_limit(struct sp_result *out, const char *limit)
{
    out->outcome = SP_OUTCOME_LIMIT;
    out->limit = limit;
}

/* Interpreters abort where memory is refused, and say so last. */
static bool died_for_memory(const struct sp_result *r)
{
    static const char *const words[] = {"out of memory", "std::bad_alloc"};
    bool aborted = r->signal == SIGABRT || r->signal == SIGTRAP || r->signal == SIGILL;

    for (size_t i = 0; i < SP_COUNT(words) && aborted; i++) {
        if (memmem(r->err.text, r->err.len, words[i], strlen(words[i])))
            return true;
    }
    return false;
}

static void find_limit(struct sp_result *out)
{
    if (out->signal == SIGXCPU) {
        set_limit(out, "cpu time");
    } else if (out->signal == SIGXFSZ) {
        set_limit(out, "file size");
    } else if (died_for_memory(out)) {
        set_limit(out, "memory");
    }
}

static void read_document(struct sp_result *out, struct sp_bytes document)
{
    struct sp_error err = {0};
    struct sp_result before = *out;

    if (sp_protocol_read(document.data, document.len, out, &err))
        sp_result_warn(out, "the result channel was not usable: %s", err.msg);
    if (before.outcome != SP_OUTCOME_EXITED) { /* how we ended it stands over what it says */
        out->outcome = before.outcome;
        out->limit = before.limit;
    }
}

enum sp_code sp_ending_read(struct sp_result *result, struct sp_bytes document, bool over,
                            struct sp_error *err)
{
    if (over) {
        set_limit(result, "result size");
    } else {
        read_document(result, document);
    }
    if (result->outcome == SP_OUTCOME_EXITED)
        find_limit(result);
    /* Programs that were written for RAGFlow may print a value of their own in its way. */
    if (sp_protocol_take_marker(result, NULL))
        return sp_error_set(err, SP_E_NOMEM, "no memory for the program's value");
    return SP_OK;
}

enum sp_code sp_ending_unanswered(struct sp_result *result, enum sp_code rc)
{
    static const struct {
        enum sp_code rc;
        enum sp_outcome outcome;
        const char *limit;
    } ends[] = {
        {SP_E_TIMEOUT, SP_OUTCOME_TIMEOUT, NULL},
        {SP_E_CANCELLED, SP_OUTCOME_CANCELLED, NULL},
        {SP_E_LIMIT, SP_OUTCOME_LIMIT, "response size"},
    };

    for (size_t i = 0; i < SP_COUNT(ends) && result->started != SP_STARTED_NO; i++) {
        if (ends[i].rc != rc)
            continue;
        result->outcome = ends[i].outcome;
        result->limit = ends[i].limit;
        result->exit_code = -1;
        return SP_OK;
    }
    return rc;
}
