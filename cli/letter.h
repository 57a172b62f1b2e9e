/* A dead letter as people and programs see it: its name, its request's id, and JSON. */
#pragma once

#include <jansson.h>

#include "cli/session.h"
#include "queue/queue.h"

#define SP_LETTER_NAME 300

/* "TOPIC/PARTITION/OFFSET". */
void sp_letter_name(const struct sp_record *letter, char out[SP_LETTER_NAME]);
/* The id that the worker answered under; malloc'ed, NULL: none is to be had. */
char *sp_letter_request_id(const struct sp_session *session, const struct sp_record *letter);
/* What `list` says about it; texts of its headers are one line that a terminal can show. New
 * reference; NULL without memory. */
json_t *sp_letter_facts(const struct sp_session *session, const struct sp_record *letter);
/* Adds what only `show` says: key, headers and, where asked for, the value. */
void sp_letter_add_content(json_t *facts, const struct sp_record *letter, bool value);
