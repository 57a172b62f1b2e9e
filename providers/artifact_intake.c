#include "providers/artifact_intake.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { REFUSED_MAX = 200 /* named in the reply; the rest is counted */ };

static const struct {
    const char *extension, *mime;
} allowed[] = {
    {".csv", "text/csv"},   {".html", "text/html"},        {".jpeg", "image/jpeg"},
    {".jpg", "image/jpeg"}, {".json", "application/json"}, {".pdf", "application/pdf"},
    {".png", "image/png"},  {".svg", "image/svg+xml"},
};

const char *sp_artifact_mime(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    const char *extension = strrchr(base, '.');
    if (!extension || extension == base) /* ".png" is a name without extension */
        return NULL;
    for (size_t i = 0; i < SP_COUNT(allowed); i++) {
        if (strcasecmp(extension, allowed[i].extension) == 0)
            return allowed[i].mime;
    }
    return NULL;
}

const char *sp_artifact_reason(const struct sp_artifact_intake *in, const char *name,
                               char text[SP_ARTIFACT_REASON_MAX])
{
    if (!sp_artifact_mime(name))
        return "Unsupported artifact type; allowed are .csv .html .jpeg .jpg .json .pdf .png .svg";
    if (in->count < in->rules->max_count)
        return NULL;
    snprintf(text, SP_ARTIFACT_REASON_MAX, "more than %lld artifacts",
             (long long)in->rules->max_count);
    return text;
}

int64_t sp_artifact_room(const struct sp_artifact_intake *in)
{
    int64_t left = in->rules->max_total - in->total;

    return in->rules->max_bytes < left ? in->rules->max_bytes : left;
}

enum sp_code sp_artifact_take(struct sp_artifact_intake *in, const char *name, struct sp_buf *data)
{
    size_t len = 0;
    sp_auto(sp_free_str) char *bytes = sp_buf_take(data, &len);

    if (!bytes)
        return SP_E_NOMEM;
    enum sp_code rc = sp_result_add_artifact(in->result, name, sp_artifact_mime(name), bytes, len);
    if (rc)
        return rc;
    bytes = NULL; /* the result has it now */
    in->count++;
    in->total += (int64_t)len;
    return SP_OK;
}

enum sp_code sp_artifact_refuse(struct sp_artifact_intake *in, const char *name, int64_t size,
                                const char *reason)
{
    if (in->result->n_refused >= REFUSED_MAX) {
        in->unnamed++;
        return SP_OK;
    }
    return sp_result_refuse_artifact(in->result, name, size, reason);
}

enum sp_code sp_artifact_refuse_size(struct sp_artifact_intake *in, const char *name, int64_t size)
{
    char reason[SP_ARTIFACT_REASON_MAX];

    if (size > in->rules->max_bytes) {
        snprintf(reason, sizeof(reason), "exceeds %lld bytes", (long long)in->rules->max_bytes);
    } else {
        snprintf(reason, sizeof(reason), "exceeds %lld bytes in all artifacts together",
                 (long long)in->rules->max_total);
    }
    return sp_artifact_refuse(in, name, size, reason);
}

void sp_artifact_intake_end(const struct sp_artifact_intake *in)
{
    if (in->unnamed > 0)
        sp_result_warn(in->result, "%zu more artifacts were refused", in->unnamed);
}
