/* `cancel`: a record on the control topic, which every worker reads (CONTRACT.md 5). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "queue/control.h"
#include "worker/cancels.h"
#include "worker/control_record.h"

struct cancel_options {
    struct sp_common_options common;
    const char *reason, *by;
};

static enum sp_code check_id(const char *id, struct sp_error *err)
{
    size_t len = strlen(id);
    if (len == 0 || len >= SP_CANCEL_ID_SIZE || !sp_utf8_valid(id, len) ||
        sp_utf8_has_control(id, len))
        return sp_error_set(err, SP_E_INVALID, "no request can have this id");
    return SP_OK;
}

static enum sp_code publish(const struct sp_session *session, const char *id, const char *value,
                            int64_t *offset, struct sp_error *err)
{
    sp_auto(sp_control_log_close) struct sp_control_log *log = NULL;
    char key[sizeof(SP_CONTROL_CANCEL_KEY) + SP_CANCEL_ID_SIZE];
    (void)snprintf(key, sizeof(key), SP_CONTROL_CANCEL_KEY "%s", id);
    enum sp_code rc = sp_control_log_open(session->kafka, session->config->kafka.n,
                                          session->topics.control, &log, err);
    if (rc)
        return rc;
    return sp_control_log_put(log, key, value, SP_CONNECT_MS, offset, err);
}

static int announce(const struct sp_call *call, const char *id, int64_t offset)
{
    const struct cancel_options *options = call->options;
    if (options->common.json) {
        json_auto_t *answer =
            json_pack("{s:s, s:I}", "request_id", id, "position", (json_int_t)offset);
        sp_call_print_json(call, answer);
    } else {
        fprintf(call->out, "%s: cancellation published\n", id);
    }
    return SP_EXIT_OK;
}

static int run_cancel(const struct sp_call *call)
{
    const struct cancel_options *options = call->options;
    const char *id = call->operands[0];
    sp_auto(sp_session_clear) struct sp_session session = {0};
    struct sp_error err = {0};
    int64_t offset = -1;
    if (check_id(id, &err))
        return sp_call_misuse(call, &err);
    json_auto_t *record = json_pack("{s:s*, s:s*}", "reason", options->reason, "by", options->by);
    sp_auto(sp_free_str) char *value = json_dumps(record, JSON_COMPACT);
    if (!value) {
        (void)sp_error_set(&err, SP_E_INVALID, "--reason, --by: not UTF-8");
        return sp_call_misuse(call, &err);
    }
    if (sp_session_open(call, &session, &err) || publish(&session, id, value, &offset, &err))
        return sp_call_fail(call, &err);
    return announce(call, id, offset);
}

static const struct sp_option cancel_options[] = {
    SP_TEXT_OPTION(struct cancel_options, reason, "reason", .value = "TEXT",
                   .help = "why, kept in the record"),
    SP_TEXT_OPTION(struct cancel_options, by, "by", .value = "NAME",
                   .help = "who cancels, kept in the record"),
    SP_CONFIG_OPTIONS(struct cancel_options),
    SP_JSON_OPTION(struct cancel_options),
};

const struct sp_command sp_command_cancel = {
    .name = "cancel",
    .operands = "REQUEST_ID",
    .summary = "Cancel a request: waiting, running, or yet to come.",
    .details = "It holds for cancel.ttl (a day): a request that comes within it is answered "
               "'cancelled'. What has\nended stays as it is.",
    .min_operands = 1,
    .max_operands = 1,
    .options = cancel_options,
    .n_options = SP_COUNT(cancel_options),
    .options_size = sizeof(struct cancel_options),
    .run = run_cancel,
};
