/*
 * The control topic as a log (CONTRACT.md 1 and 5): read whole and without a group by every worker,
 * from the beginning and then on and on; written by those who administer. What the records mean is
 * for the reader to know (worker/control). Thread: one at a time.
 */
#pragma once

#include "queue/queue.h"

struct sp_control_log;

/* kafka is borrowed until sp_control_log_close(). SP_E_INVALID: a property that librdkafka refuses,
 * named. Connects in the background. */
SP_MUST_CHECK enum sp_code sp_control_log_open(const struct sp_queue_property *kafka,
                                               size_t n_kafka, const char *topic,
                                               struct sp_control_log **out, struct sp_error *err);
/* Blocks: 5 s at most. NULL is fine. */
void sp_control_log_close(struct sp_control_log *log);
SP_AUTO(struct sp_control_log *, sp_control_log_close)

/* Borrowed until the next call. */
struct sp_control_record {
    const char *key, *value; /* value NULL: a tombstone; neither is NUL-terminated */
    size_t key_len, len;
    int64_t offset, timestamp_ms;
};

enum sp_control_event {
    SP_CONTROL_IDLE,   /* timeout_ms passed */
    SP_CONTROL_RECORD, /* *record is filled */
    SP_CONTROL_END,    /* all that is there has been given; comes again after further records */
};

/*
 * The next thing that happened. A topic that is not there is made where we may, else looked for
 * every minute. Records may come again: every 5 minutes the whole topic is read anew, so that one
 * that was deleted and made again unseen is read from its beginning, too. Blocks: timeout_ms, and
 * 8 s more in a bad case while there is no topic.
 */
enum sp_control_event sp_control_log_next(struct sp_control_log *log, int64_t timeout_ms,
                                          struct sp_control_record *record);

enum sp_control_state {
    SP_CONTROL_UNSEEN,  /* Kafka has not answered yet */
    SP_CONTROL_READING, /* the topic is there; also while Kafka is away then */
    SP_CONTROL_MISSING, /* there is none, or we may not read it */
};
/* *problem is what is wrong, "" for nothing; borrowed until the next call. */
enum sp_control_state sp_control_log_state(const struct sp_control_log *log, const char **problem);

/*
 * Writes a record and waits for the broker's acknowledgement. SP_E_UNAVAILABLE: Kafka does not
 * answer, and the record may get there nevertheless; SP_E_INVALID: there is no such topic and none
 * can be made; SP_E_DENIED; SP_E_LIMIT: the broker refused the size. The text says what to do.
 * The record's timestamp is known to its readers only. Blocks: timeout_ms, and 8 s more in a bad
 * case while there is no topic.
 */
SP_MUST_CHECK enum sp_code sp_control_log_put(struct sp_control_log *log, const char *key,
                                              const char *value, int64_t timeout_ms,
                                              int64_t *offset, struct sp_error *err);
/* Writes a tombstone some time soon; a failure is logged, and the caller comes again. */
void sp_control_log_bury(struct sp_control_log *log, const char *key);
