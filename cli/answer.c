/*
 * Reads replies with base/json_slice, because values may hold numbers and escapes that jansson does
 * not carry. A reply comes from a topic others may write to: nothing in it is trusted.
 */
#include "cli/answer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/grow.h"
#include "base/json_slice.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/files.h"

/* What to do about an error, by its code. */
static const struct {
    const char *code, *advice;
} advices[] = {
    {"SB001", "no provider is configured: 'sandpiper settings import conf/system_settings.json', "
              "or 'settings set' and 'settings activate'"},
    {"SB002", "mend the settings ('sandpiper settings get', 'settings set'); 'sandpiper workers' "
              "shows the reason"},
    {"SB003", "the program may have run; send it again only if that does no harm"},
    {"SB004", "'sandpiper settings test' shows which step fails; it may work when sent again"},
    {"SB006", "the program needs less of it, or the provider's limit must be raised"},
    {"SB007", "the request asks for what is not allowed here; change the request"},
    {"SB008", "the provider is busy; send it again later"},
    {"SB009", "the provider is away; 'sandpiper settings test' shows why; send it again later"},
    {"SB010", "no worker took it in time; 'sandpiper workers' shows which are running"},
    {"SB012", "change the request"},
    {"SB013", "this is a fault of Sandpiper's; the worker's log tells more"},
};

static enum sp_code text_of(const struct sp_json_value *object, const char *name,
                            struct sp_buf *out)
{
    struct sp_json_value value;
    if (!sp_json_get(object, name, &value) || value.type != SP_JSON_STRING)
        return SP_OK;
    return sp_json_unescape(&value, out);
}

/* A copy of a text member, NULL when it is absent or no text. */
static enum sp_code copy_text(const struct sp_json_value *object, const char *name, char **out)
{
    struct sp_json_value value;
    if (!sp_json_get(object, name, &value) || value.type != SP_JSON_STRING)
        return SP_OK;
    struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = sp_json_unescape(&value, &buf);
    if (rc) {
        sp_buf_clear(&buf);
        return rc;
    }
    *out = sp_buf_take(&buf, NULL);
    return *out ? SP_OK : SP_E_NOMEM;
}

static int64_t number_of(const struct sp_json_value *object, const char *name, int64_t fallback)
{
    struct sp_json_value value;
    int64_t number = fallback;
    if (sp_json_get(object, name, &value))
        (void)sp_json_i64(&value, INT64_MIN, INT64_MAX, &number);
    return number;
}

static bool flag_of(const struct sp_json_value *object, const char *name)
{
    struct sp_json_value value;
    return sp_json_get(object, name, &value) && value.type == SP_JSON_BOOL &&
           value.raw.data[0] == 't';
}

/* The array member as an iterator; one without elements where there is no such array. */
static struct sp_json_iter elements_of(const struct sp_json_value *object, const char *name)
{
    struct sp_json_value value;
    if (sp_json_get(object, name, &value) && value.type == SP_JSON_ARRAY)
        return sp_json_iter(&value);
    return (struct sp_json_iter){0};
}

/* The next element that is an object. */
static bool next_object(struct sp_json_iter *it, struct sp_json_value *value)
{
    struct sp_bytes key;
    while (it->at && sp_json_iter_next(it, &key, value)) {
        if (value->type == SP_JSON_OBJECT)
            return true;
    }
    return false;
}

static enum sp_code read_artifact(const struct sp_json_value *object, struct sp_answer *out)
{
    struct sp_answer_artifact *more = sp_grow(out->artifacts, out->n_artifacts, sizeof(*more));
    if (!more)
        return SP_E_NOMEM;
    out->artifacts = more;
    struct sp_answer_artifact *artifact = &more[out->n_artifacts];
    *artifact = (struct sp_answer_artifact){.data = SP_BUF_INIT(SP_BUF_UNBOUNDED)};
    out->n_artifacts++;
    sp_auto(sp_buf_clear) struct sp_buf base64 = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value content;
    artifact->present = sp_json_get(object, "content_b64", &content);
    enum sp_code rc = copy_text(object, "name", &artifact->name);
    if (!rc)
        rc = text_of(object, "content_b64", &base64);
    if (!rc)
        rc = sp_base64_decode(sp_buf_str(&base64), base64.len, &artifact->data);
    return rc || artifact->name ? rc : SP_E_INVALID;
}

static enum sp_code read_attachment(const struct sp_json_value *object, struct sp_answer *out)
{
    struct sp_answer_attachment *more =
        sp_grow(out->attachments, out->n_attachments, sizeof(*more));
    if (!more)
        return SP_E_NOMEM;
    out->attachments = more;
    struct sp_answer_attachment *attachment = &more[out->n_attachments];
    *attachment = (struct sp_answer_attachment){0};
    out->n_attachments++;
    enum sp_code rc = copy_text(object, "part", &attachment->part);
    if (!rc)
        rc = copy_text(object, "ref", &attachment->ref);
    if (!rc)
        rc = copy_text(object, "sha256", &attachment->sha256);
    bool whole = attachment->part && attachment->ref && attachment->sha256;
    return rc || whole ? rc : SP_E_INVALID;
}

static enum sp_code read_value(const struct sp_json_value *metadata, struct sp_answer *out)
{
    struct sp_json_value value;
    out->value_present = flag_of(metadata, "result_present");
    if (!out->value_present || !sp_json_get(metadata, "result_value", &value))
        return SP_OK;
    return sp_buf_add(&out->value, value.raw.data, value.raw.len);
}

static enum sp_code note_refused(const struct sp_json_value *metadata, struct sp_buf *notes)
{
    struct sp_json_value refused;
    enum sp_code rc = SP_OK;
    for (struct sp_json_iter it = elements_of(metadata, "artifacts_rejected");
         !rc && next_object(&it, &refused);) {
        sp_auto(sp_free_str) char *name = NULL;
        sp_auto(sp_free_str) char *reason = NULL;
        rc = copy_text(&refused, "name", &name);
        if (!rc)
            rc = copy_text(&refused, "reason", &reason);
        if (!rc) {
            rc = sp_buf_addf(notes, "artifact %s was left out: %s\n", name ? name : "?",
                             reason ? reason : "no reason given");
        }
    }
    return rc;
}

static enum sp_code note_cuts(const struct sp_json_value *metadata, struct sp_buf *notes)
{
    static const struct {
        const char *flag, *note;
    } cuts[] = {
        {"stdout_truncated", "the output was longer than allowed; its middle is left out\n"},
        {"stderr_truncated", "the error output was longer than allowed; its middle is left out\n"},
        {"stdout_invalid_utf8", "the output was not UTF-8 throughout; bad bytes are replaced\n"},
        {"stderr_invalid_utf8",
         "the error output was not UTF-8 throughout; bad bytes are replaced\n"},
    };
    enum sp_code rc = SP_OK;
    for (size_t i = 0; !rc && i < SP_COUNT(cuts); i++) {
        if (flag_of(metadata, cuts[i].flag))
            rc = sp_buf_adds(notes, cuts[i].note);
    }
    return rc;
}

static enum sp_code read_metadata(const struct sp_json_value *metadata, struct sp_answer *out)
{
    struct sp_json_value item;
    out->signal = number_of(metadata, "signal", 0);
    enum sp_code rc = read_value(metadata, out);
    if (!rc)
        rc = copy_text(metadata, "result_warning", &out->warning);
    for (struct sp_json_iter it = elements_of(metadata, "artifacts");
         !rc && next_object(&it, &item);)
        rc = read_artifact(&item, out);
    if (!rc)
        rc = note_cuts(metadata, &out->notes);
    return rc ? rc : note_refused(metadata, &out->notes);
}

static enum sp_code read_members(const struct sp_json_value *reply, struct sp_answer *out)
{
    struct sp_json_value member;
    out->exit_code = number_of(reply, "exit_code", -1);
    enum sp_code rc = copy_text(reply, "status", &out->status);
    if (!rc)
        rc = copy_text(reply, "request_id", &out->request_id);
    if (!rc)
        rc = text_of(reply, "stdout", &out->out);
    if (!rc)
        rc = text_of(reply, "stderr", &out->err);
    if (!rc && sp_json_get(reply, "error", &member) && member.type == SP_JSON_OBJECT) {
        rc = copy_text(&member, "code", &out->error_code);
        if (!rc)
            rc = copy_text(&member, "message", &out->error_message);
    }
    if (!rc && sp_json_get(reply, "metadata", &member) && member.type == SP_JSON_OBJECT)
        rc = read_metadata(&member, out);
    for (struct sp_json_iter it = elements_of(reply, "attachments");
         !rc && next_object(&it, &member);)
        rc = read_attachment(&member, out);
    return rc || out->status ? rc : SP_E_INVALID;
}

enum sp_code sp_answer_read(char *text, size_t len, struct sp_answer *out, struct sp_error *err)
{
    struct sp_json_value reply;
    enum sp_code rc = sp_json_scan(text, len, &reply, err);
    if (rc)
        return sp_error_wrap(err, rc, "the reply is no JSON");
    if (reply.type != SP_JSON_OBJECT)
        return sp_error_set(err, SP_E_INVALID, "the reply is no JSON object");
    sp_auto(sp_answer_clear) struct sp_answer answer = {
        .out = SP_BUF_INIT(SP_BUF_UNBOUNDED),
        .err = SP_BUF_INIT(SP_BUF_UNBOUNDED),
        .value = SP_BUF_INIT(SP_BUF_UNBOUNDED),
        .notes = SP_BUF_INIT(SP_BUF_UNBOUNDED),
    };
    rc = read_members(&reply, &answer);
    if (rc)
        return sp_error_set(err, rc, "the reply is not one of Sandpiper's");
    answer.text = text;
    answer.len = len;
    *out = answer;
    answer = (struct sp_answer){0};
    return SP_OK;
}

void sp_answer_clear(struct sp_answer *answer)
{
    for (size_t i = 0; i < answer->n_artifacts; i++) {
        free(answer->artifacts[i].name);
        sp_buf_clear(&answer->artifacts[i].data);
    }
    for (size_t i = 0; i < answer->n_attachments; i++) {
        free(answer->attachments[i].part);
        free(answer->attachments[i].ref);
        free(answer->attachments[i].sha256);
    }
    free(answer->artifacts);
    free(answer->attachments);
    free(answer->text);
    free(answer->status);
    free(answer->request_id);
    free(answer->error_code);
    free(answer->error_message);
    free(answer->warning);
    sp_buf_clear(&answer->out);
    sp_buf_clear(&answer->err);
    sp_buf_clear(&answer->value);
    sp_buf_clear(&answer->notes);
    *answer = (struct sp_answer){0};
}

/* The place that an attachment's part names; NULL: none that we know. */
static struct sp_buf *place_of(struct sp_answer *answer, const char *part)
{
    static const char artifacts[] = "artifacts/";
    if (strcmp(part, "stdout") == 0)
        return &answer->out;
    if (strcmp(part, "stderr") == 0)
        return &answer->err;
    if (strcmp(part, "result_value") == 0)
        return &answer->value;
    if (strncmp(part, artifacts, sizeof(artifacts) - 1) != 0)
        return NULL;
    for (size_t i = 0; i < answer->n_artifacts; i++) {
        struct sp_answer_artifact *artifact = &answer->artifacts[i];
        if (strcmp(artifact->name, part + sizeof(artifacts) - 1) == 0) {
            artifact->present = true;
            return &artifact->data;
        }
    }
    return NULL;
}

static enum sp_code complete_one(struct sp_answer *answer,
                                 const struct sp_answer_attachment *attachment,
                                 const struct sp_attachment_source *source, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf data = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = source->fetch(source->ctx, attachment->ref, &data, err);
    if (rc)
        return sp_error_wrap(err, rc, "%.64s is stored apart", attachment->part);
    char digest[65];
    sp_sha256_hex(sp_buf_str(&data), data.len, digest);
    if (strcmp(digest, attachment->sha256) != 0) {
        return sp_error_set(err, SP_E_INVALID, "%.64s: what is stored at %.100s is something else",
                            attachment->part, attachment->ref);
    }
    struct sp_buf *place = place_of(answer, attachment->part);
    if (!place)
        return SP_OK;
    sp_buf_clear(place);
    *place = data;
    data = (struct sp_buf){0};
    return SP_OK;
}

enum sp_code sp_answer_complete(struct sp_answer *answer, const struct sp_attachment_source *source,
                                struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    for (size_t i = 0; !rc && i < answer->n_attachments; i++)
        rc = complete_one(answer, &answer->attachments[i], source, err);
    return rc;
}

int sp_answer_exit_code(const struct sp_answer *answer)
{
    if (strcmp(answer->status, "ok") == 0)
        return SP_EXIT_OK;
    if (strcmp(answer->status, "timeout") == 0)
        return SP_EXIT_TIMEOUT;
    if (strcmp(answer->status, "failed") != 0)
        return SP_EXIT_NO_PROGRAM;
    if (answer->signal > 0 && answer->signal < SP_EXIT_SIGNAL)
        return SP_EXIT_SIGNAL + (int)answer->signal;
    if (answer->exit_code < -1 && answer->exit_code > -SP_EXIT_SIGNAL)
        return SP_EXIT_SIGNAL - (int)answer->exit_code;
    /* Only the low byte reaches a shell; a failure must not look like success there. */
    if (answer->exit_code > 0)
        return answer->exit_code & 0xff ? (int)(answer->exit_code & 0xff) : SP_EXIT_FAILURE;
    return SP_EXIT_NO_PROGRAM;
}

static void show_output(const struct sp_answer *answer, bool show_value, FILE *out)
{
    (void)fwrite(sp_buf_str(&answer->out), 1, answer->out.len, out);
    if (!show_value || !answer->value_present)
        return;
    if (answer->out.len > 0 && answer->out.data[answer->out.len - 1] != '\n')
        (void)fputc('\n', out);
    (void)fwrite(sp_buf_str(&answer->value), 1, answer->value.len, out);
    (void)fputc('\n', out);
}

static const char *advice_for(const char *code)
{
    for (size_t i = 0; code && i < SP_COUNT(advices); i++) {
        if (strcmp(advices[i].code, code) == 0)
            return advices[i].advice;
    }
    return NULL;
}

static void show_status(const struct sp_answer *answer, FILE *err)
{
    if (strcmp(answer->status, "ok") == 0)
        return;
    fprintf(err, "sandpiper: %s", answer->status);
    if (answer->error_code)
        fprintf(err, " (%s)", answer->error_code);
    if (answer->error_message) {
        fprintf(err, ": %s", answer->error_message);
    } else if (answer->signal > 0) {
        fprintf(err, ": the program was ended by signal %d", (int)answer->signal);
    } else if (answer->exit_code >= 0) {
        fprintf(err, ": exit code %d", (int)answer->exit_code);
    }
    fputc('\n', err);
    const char *advice = advice_for(answer->error_code);
    if (advice)
        fprintf(err, "           %s\n", advice);
}

static void show_notes(const struct sp_answer *answer, FILE *err)
{
    const char *notes = sp_buf_str(&answer->notes);
    while (*notes) {
        int len = (int)strcspn(notes, "\n");
        fprintf(err, "sandpiper: note: %.*s\n", len, notes);
        notes += len + 1;
    }
    if (answer->warning)
        fprintf(err, "sandpiper: note: %s\n", answer->warning);
}

void sp_answer_show(const struct sp_answer *answer, bool show_value, FILE *out, FILE *err)
{
    show_output(answer, show_value, out);
    (void)fflush(out);
    (void)fwrite(sp_buf_str(&answer->err), 1, answer->err.len, err);
    if (answer->err.len > 0 && answer->err.data[answer->err.len - 1] != '\n')
        fputc('\n', err);
    show_notes(answer, err);
    show_status(answer, err);
}

enum sp_code sp_answer_write_artifacts(const struct sp_answer *answer, const char *dir,
                                       FILE *report, struct sp_error *err)
{
    int dir_fd = -1;
    enum sp_code rc = sp_directory_open(dir, &dir_fd, err);
    for (size_t i = 0; !rc && i < answer->n_artifacts; i++) {
        const struct sp_answer_artifact *artifact = &answer->artifacts[i];
        if (!artifact->present)
            continue;
        rc = sp_file_write_below(dir_fd, artifact->name, sp_buf_str(&artifact->data),
                                 artifact->data.len, err);
        if (rc) {
            rc = sp_error_wrap(err, rc, "artifact %zu", i + 1);
        } else {
            fprintf(report, "sandpiper: wrote %s/%s (%zu bytes)\n", dir, artifact->name,
                    artifact->data.len);
        }
    }
    if (dir_fd >= 0)
        close(dir_fd);
    return rc;
}
