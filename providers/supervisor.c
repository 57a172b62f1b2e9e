/* The text of the far-end supervisor, and what it writes down. */
#include "providers/supervisor.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "wrapper_texts.h" /* made by the build */

struct sp_bytes sp_supervisor(void)
{
    return (struct sp_bytes){supervisor_text, sizeof(supervisor_text) - 1};
}

static const struct {
    const char *word;
    enum sp_far_end how;
    int min, max;
} endings[] = {
    {"exit ", SP_FAR_EXIT, 0, 255},
    {"signal ", SP_FAR_SIGNAL, 1, 64},
};

static void read_head(const char *line, struct sp_supervisor_end *end)
{
    static const char *const refusals[] = {"interpreter", "limit", "folder"};
    static const char refused[] = "refused ";
    int64_t number;

    for (size_t i = 0; i < SP_COUNT(endings); i++) {
        size_t len = strlen(endings[i].word);

        if (!strncmp(line, endings[i].word, len) &&
            sp_parse_i64(line + len, endings[i].min, endings[i].max, &number)) {
            end->how = endings[i].how;
            end->number = (int)number;
        }
    }
    /* No other words: the file is the program's to write, and errors name the reason. */
    for (size_t i = 0; i < SP_COUNT(refusals); i++) {
        if (!strncmp(line, refused, strlen(refused)) &&
            !strcmp(line + strlen(refused), refusals[i])) {
            end->how = SP_FAR_REFUSED;
            snprintf(end->why, sizeof end->why, "%s", refusals[i]);
        }
    }
}

void sp_supervisor_read(const char *file, size_t len, struct sp_supervisor_end *end,
                        struct sp_bytes *document)
{
    char line[SP_SUPERVISOR_HEAD];
    size_t n = SP_SUPERVISOR_HEAD - 1;

    *end = (struct sp_supervisor_end){.how = SP_FAR_UNKNOWN};
    *document = (struct sp_bytes){file, 0};
    if (len < SP_SUPERVISOR_HEAD)
        return;
    memcpy(line, file, n);
    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n] = '\0';
    read_head(line, end);
    *document = (struct sp_bytes){file + SP_SUPERVISOR_HEAD, len - SP_SUPERVISOR_HEAD};
}
