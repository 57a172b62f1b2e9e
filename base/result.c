#include "base/result.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/grow.h"
#include "base/text.h"

void sp_result_clear(struct sp_result *result)
{
    for (size_t i = 0; i < result->n_artifacts; i++) {
        free(result->artifacts[i].name);
        free(result->artifacts[i].data);
    }
    for (size_t i = 0; i < result->n_refused; i++) {
        free(result->refused[i].name);
        free(result->refused[i].reason);
    }
    free(result->artifacts);
    free(result->refused);
    free(result->out.text);
    free(result->err.text);
    free(result->result_value);
    free(result->warning);
    free(result->metadata);
    *result = (struct sp_result){0};
}

void sp_result_warn(struct sp_result *result, const char *fmt, ...)
{
    sp_auto(sp_free_str) char *text = NULL;
    char *joined = NULL;
    va_list args;

    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) {
        text = NULL; /* undefined after a failure */
        return;
    }
    if (!result->warning) {
        result->warning = SP_TAKE(text);
        return;
    }
    if (asprintf(&joined, "%s; %s", result->warning, text) < 0)
        return;
    free(result->warning);
    result->warning = joined;
}

enum sp_code sp_result_add_artifact(struct sp_result *result, const char *name,
                                    const char *mime_type, char *data, size_t len)
{
    sp_auto(sp_free_str) char *copy = sp_strdup(name);
    struct sp_artifact *grown =
        sp_grow(result->artifacts, result->n_artifacts, sizeof(*result->artifacts));

    if (grown)
        result->artifacts = grown;
    if (!grown || !copy)
        return SP_E_NOMEM;
    result->artifacts[result->n_artifacts++] = (struct sp_artifact){
        .name = SP_TAKE(copy), .mime_type = mime_type, .data = data, .len = len};
    return SP_OK;
}

enum sp_code sp_result_refuse_artifact(struct sp_result *result, const char *name, int64_t size,
                                       const char *reason)
{
    sp_auto(sp_free_str) char *name_copy = sp_strdup(name);
    sp_auto(sp_free_str) char *reason_copy = sp_strdup(reason);
    struct sp_artifact_refused *grown =
        sp_grow(result->refused, result->n_refused, sizeof(*result->refused));

    if (grown)
        result->refused = grown;
    if (!grown || !name_copy || !reason_copy)
        return SP_E_NOMEM;
    result->refused[result->n_refused++] = (struct sp_artifact_refused){
        .name = SP_TAKE(name_copy), .size = size, .reason = SP_TAKE(reason_copy)};
    return SP_OK;
}
