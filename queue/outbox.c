/* What Kafka's refusals mean, and the letters that they send back. */
#include "queue/outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/headers.h"

#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 30000

/* ---- letters ---- */

struct sp_letter *sp_letter_new(const struct sp_parcel *parcel)
{
    struct sp_letter *letter = calloc(1, sizeof(*letter));
    if (!letter)
        return NULL;
    letter->parcel.kind = parcel->kind;
    letter->parcel.ticket = parcel->ticket;
    letter->parcel.partition = parcel->partition;
    return letter;
}

void sp_letter_keep(struct sp_letter *letter, const struct sp_parcel *parcel)
{
    size_t topic_size = strlen(parcel->topic) + 1;
    char *bytes = sp_kafka_must(malloc(topic_size + parcel->key_len + parcel->value_len));
    char *key = bytes + topic_size, *value = key + parcel->key_len;
    memcpy(bytes, parcel->topic, topic_size);
    if (parcel->key)
        memcpy(key, parcel->key, parcel->key_len);
    if (parcel->value)
        memcpy(value, parcel->value, parcel->value_len);
    letter->parcel = *parcel;
    letter->parcel.topic = bytes;
    letter->parcel.key = parcel->key ? key : NULL;
    letter->parcel.value = parcel->value ? value : NULL;
    letter->bytes = bytes;
}

void sp_letter_sent(struct sp_letter *letter)
{
    letter->parcel.headers = NULL;
    free(SP_TAKE(letter->bytes));
}

void sp_letter_free(struct sp_letter *letter)
{
    if (letter->parcel.headers)
        rd_kafka_headers_destroy(letter->parcel.headers);
    free(letter->bytes);
    free(letter);
}

void sp_letters_push(struct sp_letters *letters, struct sp_letter *letter)
{
    letter->next = NULL;
    if (letters->last) {
        letters->last->next = letter;
    } else {
        letters->first = letter;
    }
    letters->last = letter;
}

struct sp_letter *sp_letters_pop(struct sp_letters *letters)
{
    struct sp_letter *letter = letters->first;
    if (!letter)
        return NULL;
    letters->first = letter->next;
    if (!letters->first)
        letters->last = NULL;
    return letter;
}

void sp_letters_clear(struct sp_letters *letters)
{
    struct sp_letter *letter;
    while ((letter = sp_letters_pop(letters)))
        sp_letter_free(letter);
}

/* ---- what becomes of them ---- */

enum refusal { NOT_REFUSED, TOPIC_REFUSED, PARTITION_REFUSED, SIZE_REFUSED };

/* What sending the same again to the same place cannot mend. All else is a matter of time. */
static const struct refusal_row {
    rd_kafka_resp_err_t error;
    enum refusal refusal;
    const char *reason;
} refusals[] = {
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, TOPIC_REFUSED, "unknown topic"},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, TOPIC_REFUSED, "unknown topic"},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, TOPIC_REFUSED, "invalid topic"},
    {RD_KAFKA_RESP_ERR__INVALID_ARG, TOPIC_REFUSED, "invalid topic"},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, TOPIC_REFUSED, "not authorized"},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, TOPIC_REFUSED, "refused by policy"},
    {RD_KAFKA_RESP_ERR_INVALID_RECORD, TOPIC_REFUSED, "invalid record"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, PARTITION_REFUSED, SP_REASON_PARTITION},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, SIZE_REFUSED, "too large"},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, SIZE_REFUSED, "too large"},
};

static const struct refusal_row *refusal_of(rd_kafka_resp_err_t error)
{
    static const struct refusal_row none = {0};
    for (size_t i = 0; i < SP_COUNT(refusals); i++) {
        if (refusals[i].error == error)
            return &refusals[i];
    }
    return &none;
}

static void finish(struct sp_outbox *outbox, struct sp_letter *letter, bool too_large)
{
    letter->too_large = too_large;
    sp_letters_push(&outbox->finished, letter);
}

void sp_outbox_wait(struct sp_outbox *outbox, struct sp_letter *letter, int64_t pause_ms)
{
    letter->due_ms = sp_deadline_in(pause_ms);
    sp_letters_push(&outbox->waiting, letter);
}

static void wait_longer(struct sp_outbox *outbox, struct sp_letter *letter)
{
    int64_t pause = PAUSE_MAX_MS;
    if (letter->tries < 5)
        pause = (int64_t)PAUSE_FIRST_MS << letter->tries;
    letter->tries++;
    sp_outbox_wait(outbox, letter, pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
}

static void fall_back(struct sp_outbox *outbox, struct sp_letter *letter, const char *reason)
{
    struct sp_parcel *parcel = &letter->parcel;
    char text[300];
    (void)snprintf(text, sizeof(text), "%s: %s", parcel->topic, reason);
    sp_log(SP_WARN, "reply_fallback", sp_s("topic", parcel->topic), sp_s("reason", reason));
    (void)rd_kafka_header_remove(parcel->headers, SP_HEADER_REPLY_PARTITION);
    (void)rd_kafka_header_remove(parcel->headers, SP_HEADER_FALLBACK); /* about its partition */
    (void)rd_kafka_header_add(parcel->headers, SP_HEADER_FALLBACK, -1, text, -1);
    parcel->topic = outbox->default_topic;
    parcel->partition = RD_KAFKA_PARTITION_UA;
    outbox->fallbacks++;
    sp_outbox_wait(outbox, letter, 0);
}

static void by_key(struct sp_outbox *outbox, struct sp_letter *letter)
{
    struct sp_parcel *parcel = &letter->parcel;
    if (parcel->kind == SP_PARCEL_REPLY) {
        (void)rd_kafka_header_remove(parcel->headers, SP_HEADER_REPLY_PARTITION);
        (void)rd_kafka_header_add(parcel->headers, SP_HEADER_FALLBACK, -1, SP_REASON_PARTITION, -1);
    }
    parcel->partition = RD_KAFKA_PARTITION_UA;
    sp_outbox_wait(outbox, letter, 0);
}

/* There is nowhere else to go: it is kept, and with it its offset. */
static void hold(struct sp_outbox *outbox, struct sp_letter *letter, const char *reason)
{
    const char *topic = letter->parcel.topic;
    if (!outbox->refused_topic[0])
        sp_log(SP_ERROR, "topic_refused", sp_s("topic", topic), sp_s("reason", reason));
    (void)snprintf(outbox->refused_topic, sizeof(outbox->refused_topic), "%s", topic);
    (void)snprintf(outbox->refused, sizeof(outbox->refused), "%s: %s", outbox->refused_topic,
                   reason);
    wait_longer(outbox, letter);
}

static void too_large(struct sp_outbox *outbox, struct sp_letter *letter, bool to_default,
                      const char *reason)
{
    struct sp_parcel *parcel = &letter->parcel;
    if (parcel->kind == SP_PARCEL_REPLY && to_default) {
        finish(outbox, letter, true);
    } else if (parcel->kind == SP_PARCEL_REPLY) {
        fall_back(outbox, letter, reason);
    } else if (parcel->value) {
        sp_log(SP_WARN, "dead_letter_value_dropped", sp_s("topic", parcel->topic),
               sp_i("bytes", (int64_t)parcel->value_len));
        (void)rd_kafka_header_add(parcel->headers, SP_HEADER_DLQ_VALUE, -1, "dropped", -1);
        parcel->value = NULL;
        parcel->value_len = 0;
        sp_outbox_wait(outbox, letter, 0);
    } else {
        hold(outbox, letter, reason);
    }
}

void sp_outbox_judge(struct sp_outbox *outbox, struct sp_letter *letter)
{
    const struct refusal_row *row = refusal_of(letter->error);
    bool to_default = letter->parcel.kind == SP_PARCEL_REPLY &&
                      strcmp(letter->parcel.topic, outbox->default_topic) == 0;
    if (row->refusal == NOT_REFUSED) {
        if (!outbox->failing) {
            sp_log(SP_WARN, "delivery_failed", sp_s("topic", letter->parcel.topic),
                   sp_s("error", rd_kafka_err2name(letter->error)));
        }
        outbox->failing = true;
        wait_longer(outbox, letter);
    } else if (row->refusal == SIZE_REFUSED && !letter->alone) {
        letter->alone = true; /* a broker refuses a batch as a whole */
        sp_outbox_wait(outbox, letter, 0);
    } else if (row->refusal == SIZE_REFUSED) {
        too_large(outbox, letter, to_default, row->reason);
    } else if (row->refusal == PARTITION_REFUSED &&
               letter->parcel.partition != RD_KAFKA_PARTITION_UA) {
        by_key(outbox, letter);
    } else if (letter->parcel.kind == SP_PARCEL_REPLY && !to_default) {
        fall_back(outbox, letter, row->reason);
    } else {
        hold(outbox, letter, row->reason);
    }
}

void sp_outbox_delivered(struct sp_outbox *outbox, struct sp_letter *letter, const char *topic)
{
    outbox->failing = false;
    if (outbox->refused_topic[0] && strcmp(outbox->refused_topic, topic) == 0)
        outbox->refused_topic[0] = outbox->refused[0] = '\0';
    if (letter->parcel.kind == SP_PARCEL_REPLY) {
        outbox->delivered++;
    } else {
        outbox->dead_letters++;
    }
    finish(outbox, letter, false);
}

void sp_outbox_clear(struct sp_outbox *outbox)
{
    sp_letters_clear(&outbox->finished);
    sp_letters_clear(&outbox->waiting);
}
