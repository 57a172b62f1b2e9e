/* What an executor manager says of a refusal, fit for one line of a message. */
#pragma once

#include "base/defs.h"

enum { SP_QUOTE_MAX = 200 };

enum sp_quote {
    SP_QUOTE_NONE,
    SP_QUOTE_FIELD,    /* of HTTP 422: the field and what is wrong with it, never its value */
    SP_QUOTE_TOKEN,    /* of HTTP 503: that the manager has no token itself; in words of ours */
    SP_QUOTE_FINDINGS, /* of its check of the code: what it does not like, and in which lines */
};

/* "" where the body says nothing of the kind. */
void sp_service_answer_quote(enum sp_quote what, struct sp_bytes body, char out[SP_QUOTE_MAX]);
