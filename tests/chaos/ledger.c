#include "tests/chaos/ledger.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static const char *const kinds[LEDGER_KINDS] = {"sent", "begin", "end",   "reply",
                                                "dlq",  "fault", "healed"};

int ledger_open(const char *path)
{
    return open(path, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
}

static const char *or_dash(const char *text)
{
    return text[0] ? text : "-";
}

bool ledger_add(int fd, const struct ledger_event *event)
{
    char line[256];
    int len = snprintf(line, sizeof line, "%lld %s %s %d %lld %d %s %s %" PRIx64 "\n",
                       (long long)(event->at_us ? event->at_us : sp_mono_us()), kinds[event->kind],
                       or_dash(event->id), event->pid, (long long)event->run, event->attempt,
                       or_dash(event->what), or_dash(event->key), event->digest);
    return len > 0 && (size_t)len < sizeof line && write(fd, line, (size_t)len) == (ssize_t)len;
}

static bool find_kind(const char *name, enum ledger_kind *out)
{
    for (size_t i = 0; i < LEDGER_KINDS; i++) {
        if (strcmp(kinds[i], name) == 0) {
            *out = (enum ledger_kind)i;
            return true;
        }
    }
    return false;
}

static void undash(char *text)
{
    if (strcmp(text, "-") == 0)
        text[0] = '\0';
}

bool ledger_parse(const char *line, struct ledger_event *out)
{
    struct ledger_event e = {0};
    long long at = 0, run = 0;
    char kind[16];
    int end = 0;
    /* NOLINTNEXTLINE(cert-err34-c): of our own writing; the columns are counted and the end is
     * looked at */
    int n = sscanf(line, "%lld %15s %31s %d %lld %d %15s %39s %" SCNx64 "%n", &at, kind, e.id,
                   &e.pid, &run, &e.attempt, e.what, e.key, &e.digest, &end);
    if (n != 9 || line[end] != '\0' || !find_kind(kind, &e.kind))
        return false;
    e.at_us = at;
    e.run = run;
    undash(e.id);
    undash(e.what);
    undash(e.key);
    *out = e;
    return true;
}

static enum sp_code keep(struct ledger *ledger, const struct ledger_event *event,
                         struct sp_error *err)
{
    if (ledger->n == ledger->cap) {
        size_t cap = ledger->cap ? ledger->cap * 2 : 1024;
        struct ledger_event *more = realloc(ledger->events, cap * sizeof *more);
        if (!more)
            return sp_error_set(err, SP_E_NOMEM, "no memory for %zu events", cap);
        ledger->events = more;
        ledger->cap = cap;
    }
    ledger->events[ledger->n++] = *event;
    return SP_OK;
}

static enum sp_code read_lines(FILE *file, const char *path, struct ledger *out,
                               struct sp_error *err)
{
    char line[256];
    enum sp_code rc = SP_OK;
    for (int64_t n = 1; !rc && fgets(line, sizeof line, file); n++) {
        struct ledger_event event;
        char *newline = strchr(line, '\n');
        if (!newline && feof(file))
            break;
        if (newline)
            *newline = '\0';
        if (!newline || !ledger_parse(line, &event)) {
            return sp_error_set(err, SP_E_INVALID, "%s: line %lld is no event", path, (long long)n);
        }
        rc = keep(out, &event, err);
    }
    return rc;
}

enum sp_code ledger_read(const char *path, struct ledger *out, struct sp_error *err)
{
    sp_auto(ledger_clear) struct ledger ledger = {0};
    FILE *file = fopen(path, "re");
    if (!file)
        return sp_error_set(err, SP_E_INVALID, "%s: cannot be read", path);
    enum sp_code rc = read_lines(file, path, &ledger, err);
    fclose(file);
    if (rc)
        return rc;
    *out = ledger;
    ledger = (struct ledger){0};
    return SP_OK;
}

void ledger_clear(struct ledger *ledger)
{
    free(ledger->events);
    *ledger = (struct ledger){0};
}

uint64_t ledger_digest(uint64_t digest, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ bytes[i]) * 0x100000001b3u;
    return digest;
}
