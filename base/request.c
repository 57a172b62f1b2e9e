#include "base/request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *spelling;
    enum sp_language language;
} spellings[] = {
    {"", SP_PYTHON},         {"python", SP_PYTHON},         {"python3", SP_PYTHON},
    {"py", SP_PYTHON},       {"javascript", SP_JAVASCRIPT}, {"nodejs", SP_JAVASCRIPT},
    {"node", SP_JAVASCRIPT}, {"js", SP_JAVASCRIPT},
};

bool sp_language_parse(const char *text, enum sp_language *out)
{
    static const char blanks[] = " \t\r\n\v\f";

    text += strspn(text, blanks);

    size_t len = strlen(text);

    while (len > 0 && strchr(blanks, text[len - 1]))
        len--;
    for (size_t i = 0; i < SP_COUNT(spellings); i++) {
        if (strlen(spellings[i].spelling) == len &&
            strncasecmp(text, spellings[i].spelling, len) == 0) {
            *out = spellings[i].language;
            return true;
        }
    }
    return false;
}

const char *sp_language_name(enum sp_language language)
{
    return language == SP_JAVASCRIPT ? "javascript" : "python";
}

void sp_request_clear(struct sp_request *req)
{
    for (size_t i = 0; i < req->n_files; i++) {
        free(req->files[i].name);
        free(req->files[i].data);
    }
    free(req->files);
    free(req->id);
    free(req->code);
    free(req->arguments);
    free(req->metadata);
    free(req->reply_to);
    *req = (struct sp_request){0};
}
