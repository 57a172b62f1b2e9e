/* https://github.com/cloudevents/spec: bindings/kafka-protocol-binding, formats/json-format. */
#include "queue/cloud_event.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "queue/json_read.h"

#define MEDIA_TYPE "application/cloudevents"

static bool begins_with(const struct sp_header *header, const char *prefix)
{
    size_t len = strlen(prefix);
    return header && header->value && header->len >= len &&
           strncasecmp(header->value, prefix, len) == 0;
}

enum sp_event_mode sp_event_mode(const struct sp_record *record)
{
    if (begins_with(sp_record_header(record, "content-type"), MEDIA_TYPE))
        return SP_EVENT_STRUCTURED;
    if (begins_with(sp_record_header(record, "ce_specversion"), "1."))
        return SP_EVENT_BINARY;
    return SP_EVENT_NONE;
}

static enum sp_code decode_data(const struct sp_json_value *text, struct sp_event *event,
                                struct sp_error *err)
{
    enum sp_code rc =
        sp_json_read_base64("data_base64", text, SP_BUF_UNBOUNDED, &event->decoded, err);
    if (rc)
        return rc;
    struct sp_error why = {0};
    rc = sp_json_scan(sp_buf_str(&event->decoded), event->decoded.len, &event->data, &why);
    return rc ? sp_error_set(err, rc, "data_base64: not JSON: %s", why.msg) : SP_OK;
}

static bool version_known(const struct sp_json_value *version)
{
    return version->type == SP_JSON_NULL ||
           (version->type == SP_JSON_STRING && version->raw.len > 3 &&
            memcmp(version->raw.data, "\"1.", 3) == 0);
}

enum sp_code sp_event_open(const struct sp_json_value *envelope, struct sp_event *event,
                           struct sp_error *err)
{
    enum { VERSION, ID, DATA, DATA_BASE64, N };
    struct sp_member members[N] = {
        [VERSION] = {.name = "specversion"},
        [ID] = {.name = "id"},
        [DATA] = {.name = "data"},
        [DATA_BASE64] = {.name = "data_base64"},
    };
    *event = (struct sp_event){0};

    enum sp_code rc = sp_json_read_members(envelope, members, N, err);
    event->id = members[ID].value;
    if (rc)
        return rc;
    const struct sp_json_value *data = &members[DATA].value, *base64 = &members[DATA_BASE64].value;
    if (!version_known(&members[VERSION].value))
        return sp_error_set(err, SP_E_INVALID, "specversion: only CloudEvents 1.x are understood");
    if (data->type != SP_JSON_NULL && base64->type != SP_JSON_NULL)
        return sp_error_set(err, SP_E_INVALID, "data: given beside data_base64; send one of them");
    if (base64->type != SP_JSON_NULL) {
        rc = decode_data(base64, event, err);
    } else {
        event->data = *data;
    }
    if (rc)
        return rc;
    if (event->data.type == SP_JSON_OBJECT)
        return SP_OK;
    if (base64->type != SP_JSON_NULL)
        return sp_error_set(err, SP_E_INVALID, "data_base64: expected an object in it");
    bool missing = data->type == SP_JSON_NULL;
    return sp_error_set(err, SP_E_INVALID, "data: %s",
                        missing ? "missing; the request goes there" : "expected an object");
}

void sp_event_clear(struct sp_event *event)
{
    sp_buf_clear(&event->decoded);
    *event = (struct sp_event){0};
}
