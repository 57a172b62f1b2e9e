/* CloudEvents 1.x over Kafka, binary and structured (JSON) mode: reference kafka 2.6. */
#pragma once

#include "base/json_slice.h"
#include "queue/record.h"

enum sp_event_mode {
    SP_EVENT_NONE,
    SP_EVENT_BINARY,     /* attributes are headers, the value is the data */
    SP_EVENT_STRUCTURED, /* the value is an envelope with the data in it */
};

enum sp_event_mode sp_event_mode(const struct sp_record *record);

/* A structured event, taken apart. Values are borrowed from the envelope, or from `decoded`. */
struct sp_event {
    struct sp_json_value id;   /* of any type; SP_JSON_NULL: none */
    struct sp_json_value data; /* an object */
    struct sp_buf decoded;     /* the text of data_base64 */
};

/*
 * SP_E_INVALID: an attribute is unusable, which the text begins with, or there is no data; id is
 * filled if there was one. SP_E_NOMEM. The caller clears *event, also on failure.
 */
SP_MUST_CHECK enum sp_code sp_event_open(const struct sp_json_value *envelope,
                                         struct sp_event *event, struct sp_error *err);
void sp_event_clear(struct sp_event *event);
SP_AUTO_CLEAR(struct sp_event, sp_event_clear)
