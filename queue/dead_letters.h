/*
 * A dead letter queue for those who look after it: its records are listed, and sent again to where
 * they came from. It is read without a consumer group, so nothing is committed, and a record that
 * was sent again stays in it until Kafka's retention takes it. Thread: one at a time.
 */
#pragma once

#include "queue/queue.h"

struct sp_dead_letters;

/* kafka is borrowed until sp_dead_letters_close(). SP_E_INVALID: a property that librdkafka
 * refuses, or a name that no topic has, named. Connects in the background. */
SP_MUST_CHECK enum sp_code sp_dead_letters_open(const struct sp_queue_property *kafka,
                                                size_t n_kafka, const char *topic,
                                                struct sp_dead_letters **out, struct sp_error *err);
/* Blocks: 2 s at most. NULL is nothing. */
void sp_dead_letters_close(struct sp_dead_letters *letters);
SP_AUTO(struct sp_dead_letters *, sp_dead_letters_close)

/*
 * The next record, in the order of each partition; the caller's, save for its topic, which is
 * borrowed until sp_dead_letters_close(). NULL with SP_OK: that was all of what there is now.
 * SP_E_UNAVAILABLE: Kafka does not answer; SP_E_INVALID: there is no such topic; SP_E_DENIED.
 * Blocks: timeout_ms.
 */
SP_MUST_CHECK enum sp_code sp_dead_letters_next(struct sp_dead_letters *letters, int64_t timeout_ms,
                                                struct sp_record **out, struct sp_error *err);

/* What the headers of a dead letter say. Texts are borrowed from the record; NULL, -1: not there.
 */
struct sp_dead_letter_facts {
    const char *topic, *reason, *worker;
    int32_t partition;
    int64_t offset, timestamp_ms, attempts, first_seen_ms;
    int64_t replays;    /* how often it had been sent again before; 0: never */
    bool value_dropped; /* Kafka found the value too large for the DLQ */
};
struct sp_dead_letter_facts sp_dead_letter_read(const struct sp_record *letter);
/* Of a header of Spring's whose value is a big-endian number of at most 8 bytes. */
int64_t sp_dead_letter_number(const struct sp_header *header);

/*
 * Sends it to `topic` as it once came, save for sandpiper_replay_count, and waits for the broker's
 * acknowledgement: a new job with a new budget of attempts, whose reply is correlated as the first
 * one's would have been. SP_E_INVALID: its value was dropped; SP_E_UNAVAILABLE; SP_E_DENIED;
 * SP_E_LIMIT: too large. Blocks: timeout_ms.
 */
SP_MUST_CHECK enum sp_code sp_dead_letter_replay(struct sp_dead_letters *letters,
                                                 const struct sp_record *letter, const char *topic,
                                                 int64_t timeout_ms, int64_t *offset,
                                                 struct sp_error *err);
