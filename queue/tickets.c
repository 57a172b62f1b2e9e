/* A ring that doubles when it is full. A commit gives back as many at once as it has offsets. */
#include "queue/tickets.h"

#include <stdlib.h>

#include "queue/kafka.h"

#define FIRST_CAPACITY 256

struct sp_ticket {
    void *ticket;
    bool committed;
};

static struct sp_ticket *slot(const struct sp_tickets *tickets, size_t i)
{
    return &tickets->ring[(tickets->head + i) & (tickets->capacity - 1)];
}

static void grow(struct sp_tickets *tickets)
{
    size_t capacity = tickets->capacity ? tickets->capacity * 2 : FIRST_CAPACITY;
    struct sp_ticket *ring = sp_kafka_must(malloc(capacity * sizeof(*ring)));
    for (size_t i = 0; i < tickets->count; i++)
        ring[i] = *slot(tickets, i);
    free(tickets->ring);
    tickets->ring = ring;
    tickets->head = 0;
    tickets->capacity = capacity;
}

void sp_tickets_put(struct sp_tickets *tickets, void *ticket, bool committed)
{
    if (!ticket)
        return;
    if (tickets->count == tickets->capacity)
        grow(tickets);
    *slot(tickets, tickets->count++) = (struct sp_ticket){ticket, committed};
}

bool sp_tickets_take(struct sp_tickets *tickets, void **ticket, bool *committed)
{
    if (tickets->count == 0)
        return false;
    *ticket = slot(tickets, 0)->ticket;
    *committed = slot(tickets, 0)->committed;
    tickets->head = (tickets->head + 1) & (tickets->capacity - 1);
    tickets->count--;
    return true;
}

void sp_tickets_clear(struct sp_tickets *tickets)
{
    free(tickets->ring);
    *tickets = (struct sp_tickets){0};
}
