/*
 * Letters that librdkafka does not have: those to be sent again, and those that are done with; and
 * what becomes of one that was not delivered: another way, or the same again after a pause
 * (CONTRACT.md 4). Thread: the consumer's, save sp_letter_new() and sp_letter_keep().
 */
#pragma once

#include "queue/producer.h"

struct sp_letter {
    struct sp_letter *next;
    struct sp_parcel parcel; /* kind, ticket, partition; the rest only while it is here */
    char *bytes;             /* of the parcel while it is here, one allocation */
    unsigned tries;
    int64_t due_ms;
    rd_kafka_resp_err_t error; /* for which it is here */
    bool
        alone; /* is sent in a batch of its own, so that a refusal for size means it and no other */
    bool too_large;
};

/* Without the parcel's bytes, which sp_letter_keep() copies; that takes its headers over. NULL
 * without memory. */
struct sp_letter *sp_letter_new(const struct sp_parcel *parcel);
void sp_letter_keep(struct sp_letter *letter, const struct sp_parcel *parcel);
/* librdkafka has its headers now, and a copy of its bytes. */
void sp_letter_sent(struct sp_letter *letter);
void sp_letter_free(struct sp_letter *letter);

/* A zeroed struct is empty. */
struct sp_letters {
    struct sp_letter *first, *last;
};

void sp_letters_push(struct sp_letters *letters, struct sp_letter *letter);
/* NULL: there is none. */
struct sp_letter *sp_letters_pop(struct sp_letters *letters);
void sp_letters_clear(struct sp_letters *letters);

struct sp_outbox {
    const char *default_topic; /* of replies */
    struct sp_letters finished, waiting;
    bool failing; /* deliveries; logged once */
    char refused_topic[256], refused[300];
    int64_t delivered, fallbacks, dead_letters;
};

/* It came to `topic`. */
void sp_outbox_delivered(struct sp_outbox *outbox, struct sp_letter *letter, const char *topic);
/* Decides what becomes of a letter that is here because of letter->error. */
void sp_outbox_judge(struct sp_outbox *outbox, struct sp_letter *letter);
/* It is sent again when it is due; at once for pause_ms 0. */
void sp_outbox_wait(struct sp_outbox *outbox, struct sp_letter *letter, int64_t pause_ms);
void sp_outbox_clear(struct sp_outbox *outbox);
