#include "tests/support/manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

enum { START_MS = 20000, ANSWER_MS = 10000, WORDS = 24 };

void sp_manager_start(struct sp_manager *m, const char *const *words)
{
    const char *argv[WORDS] = {"env"};
    char port[16];
    size_t n = 1;

    snprintf(port, sizeof port, "%d", m->port);
    for (; words && *words && strchr(*words, '=') && **words != '-'; words++)
        argv[n++] = *words;
    const char *const program[] = {SYSTEM_PYTHON, "-E", "-B", MANAGER_PY, "--port", port};
    for (size_t i = 0; i < SP_COUNT(program); i++)
        argv[n++] = program[i];
    for (; words && *words && n < WORDS - 1; words++)
        argv[n++] = *words;
    sp_process_start(&m->process, argv);
    char *line = sp_process_line(&m->process, START_MS);
    cr_assert(sscanf(line, "ready %d", &m->port) == 1, "%s", line);
    free(line);
    snprintf(m->url, sizeof m->url, "http://127.0.0.1:%d", m->port);
}

json_t *sp_manager_tell(struct sp_manager *m, const char *command)
{
    return sp_process_ask(&m->process, command, ANSWER_MS);
}

int sp_manager_count(struct sp_manager *m, const char *name)
{
    json_auto_t *seen = sp_manager_tell(m, "{}");
    return (int)json_integer_value(json_object_get(seen, name));
}

int sp_manager_requests(struct sp_manager *m, const char *path)
{
    json_auto_t *seen = sp_manager_tell(m, "{}");
    json_t *request = NULL;
    size_t i = 0;
    int n = 0;

    json_array_foreach (json_object_get(seen, "requests"), i, request)
        n += strcmp(json_string_value(json_object_get(request, "path")), path) == 0;
    return n;
}

void sp_manager_stop(struct sp_manager *m)
{
    sp_process_stop(&m->process);
}
