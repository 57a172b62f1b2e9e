#include "providers/local/environment.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "providers/local/interpreter.h"

enum {
    VARIABLES_MAX = 1000,
    BYTES_MAX = 48 * 1024, /* a request to the guardian has room for it */
};

/* What every run has, unless the settings say otherwise. The last two are the run's folder. */
static const struct {
    const char *name, *value;
} own[] = {
    {"PATH", SP_STANDARD_PATH},
    {"LANG", "C.UTF-8"},
    {"HOME", NULL},
    {"TMPDIR", NULL},
};

struct sp_environment {
    char **given; /* "NAME=value" */
    size_t n;
    bool overridden[SP_COUNT(own)];
};

enum sp_code sp_environment_check(json_t *map, struct sp_error *err)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;

    json_object_foreach (map, name, value) {
        if (!*name || strchr(name, '=')) {
            return sp_error_set(err, SP_E_INVALID,
                                "environment: \"%s\" cannot be the name of a variable", name);
        }
        if (!json_is_string(value))
            return sp_error_set(err, SP_E_INVALID, "environment: %s must be a string", name);
        bytes += strlen(name) + json_string_length(value) + 2;
    }
    if (json_object_size(map) > VARIABLES_MAX || bytes > BYTES_MAX) {
        return sp_error_set(err, SP_E_INVALID,
                            "environment: too large; at most %d variables and %d bytes",
                            VARIABLES_MAX, BYTES_MAX);
    }
    return SP_OK;
}

static void note_override(struct sp_environment *e, const char *name)
{
    for (size_t i = 0; i < SP_COUNT(own); i++)
        e->overridden[i] |= !strcmp(own[i].name, name);
}

static enum sp_code add_given(struct sp_environment *e, json_t *map, struct sp_error *err)
{
    const char *name;
    json_t *value;

    e->given = calloc(json_object_size(map) + 1, sizeof *e->given);
    if (!e->given)
        return sp_error_set(err, SP_E_NOMEM, "environment: out of memory");
    json_object_foreach (map, name, value) {
        if (asprintf(&e->given[e->n], "%s=%s", name, json_string_value(value)) < 0)
            return sp_error_set(err, SP_E_NOMEM, "environment: out of memory");
        e->n++;
        note_override(e, name);
    }
    return SP_OK;
}

enum sp_code sp_environment_new(const char *json, struct sp_environment **out, struct sp_error *err)
{
    json_auto_t *map = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    enum sp_code rc = sp_environment_check(map, err);
    struct sp_environment *e = NULL;

    if (rc)
        return rc;
    e = calloc(1, sizeof *e);
    if (!e)
        return sp_error_set(err, SP_E_NOMEM, "environment: out of memory");
    rc = add_given(e, map, err);
    if (rc) {
        sp_environment_free(e);
        return rc;
    }
    *out = e;
    return SP_OK;
}

void sp_environment_free(struct sp_environment *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->n; i++)
        free(e->given[i]);
    free(e->given);
    free(e);
}

const char **sp_environment_of_run(const struct sp_environment *e, const char *folder)
{
    enum { NAME_MAX_LEN = 8 };
    size_t room = strlen(folder) + strlen(SP_STANDARD_PATH) + NAME_MAX_LEN;
    size_t n = e->n, slots = e->n + SP_COUNT(own) + 1;
    size_t texts = SP_COUNT(own) * room;
    const char **list = malloc(slots * sizeof *list + texts);
    char *text;

    if (!list)
        return NULL;
    for (size_t i = 0; i < e->n; i++)
        list[i] = e->given[i];
    text = (char *)(list + slots);
    for (size_t i = 0; i < SP_COUNT(own); i++) {
        if (e->overridden[i])
            continue;
        snprintf(text, room, "%s=%s", own[i].name, own[i].value ? own[i].value : folder);
        list[n++] = text;
        text += room;
    }
    list[n] = NULL;
    return list;
}
