/*
 * What callers gave along with completed offsets, on its way back to them: a growing first-in
 * first-out queue. Thread: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sp_ticket;

/* A zeroed struct is empty. */
struct sp_tickets {
    struct sp_ticket *ring;
    size_t head, count, capacity; /* capacity is a power of two, or 0 */
};

/* NULL is no ticket: nothing is put. */
void sp_tickets_put(struct sp_tickets *tickets, void *ticket, bool committed);
/* False: there is none. */
bool sp_tickets_take(struct sp_tickets *tickets, void **ticket, bool *committed);
void sp_tickets_clear(struct sp_tickets *tickets);
