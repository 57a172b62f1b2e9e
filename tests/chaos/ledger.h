/*
 * The ledger of a chaos case: one text file to which the driver and every worker append, a line for
 * each event, in one write(2) each, so that a line is whole whoever is killed. CLOCK_MONOTONIC is
 * the same for all processes of the machine.
 *
 *   <us> <event> <id> <pid> <run> <attempt> <what> <key> <digest>      "-" for none, the digest in
 * hex
 *
 *   sent    a request that Kafka has taken; what: the status that its reply must have, or "any";
 *           run: its number in the order of sending; key: where the order of its key counts
 *   begin   an execution begins in worker pid; run: its number within that worker
 *   end     it has ended; what: exited, cancelled, timeout
 *   reply   a reply as read from its topic; what: status, key: result id, digest: of all its bytes;
 *           run: 1 where it says that its claim could not be recorded
 *   dlq     the same on the dead-letter topic; attempt: sandpiper_dlq_attempts
 *   fault   what: kill, freeze (of worker pid), redis, broker, provider, ...
 *   healed  what was broken by the fault of this name works again
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum ledger_kind {
    LEDGER_SENT,
    LEDGER_BEGIN,
    LEDGER_END,
    LEDGER_REPLY,
    LEDGER_DLQ,
    LEDGER_FAULT,
    LEDGER_HEALED,
    LEDGER_KINDS,
};

/* Texts hold no blanks; "" is written as "-" and read as "". */
struct ledger_event {
    int64_t at_us; /* 0 in an event to be added: now */
    enum ledger_kind kind;
    int pid, attempt;
    int64_t run;
    char id[32], what[16], key[40];
    uint64_t digest;
};

struct ledger {
    struct ledger_event *events;
    size_t n, cap;
};

/* A descriptor to append to, the file made where it is not there. -1: errno says. */
int ledger_open(const char *path);
/* False: errno says. Thread: any. */
bool ledger_add(int fd, const struct ledger_event *event);
/* One line, without its end. False: it is none. */
bool ledger_parse(const char *line, struct ledger_event *out);
/* SP_E_INVALID names the line; a last line without its end is left out. ledger_clear() frees. */
SP_MUST_CHECK enum sp_code ledger_read(const char *path, struct ledger *out, struct sp_error *err);
void ledger_clear(struct ledger *ledger);
SP_AUTO_CLEAR(struct ledger, ledger_clear)

/* FNV-1a, to be carried on over several parts; begins with LEDGER_DIGEST. */
#define LEDGER_DIGEST 0xcbf29ce484222325u
uint64_t ledger_digest(uint64_t digest, const void *data, size_t len);
