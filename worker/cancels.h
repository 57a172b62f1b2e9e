/*
 * The cancellations in force (CONTRACT.md 5): filled from the control topic by worker/control,
 * asked by whoever is about to run a job or has one that ended. Thread: any, for every function.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct sp_cancels;

/* What holds an id with its NUL; ids made from the offset may be longer than a client's. */
#define SP_CANCEL_ID_SIZE 301

enum { SP_CANCELS_MAX = 100000 };
/*
 * Holds at most max ids: SP_CANCELS_MAX of them, as long as a client's may be, take some 25 MB.
 * Where one more comes, the one that came first gives way, which is logged once: it is the
 * likeliest to have been obeyed already. NULL without memory.
 */
struct sp_cancels *sp_cancels_new(size_t max);
void sp_cancels_free(struct sp_cancels *cancels);
SP_AUTO(struct sp_cancels *, sp_cancels_free)

/* Is a cancellation of this id in force now? For every job: takes no lock while there is none. */
bool sp_cancels_has(struct sp_cancels *cancels, const char *id);

/*
 * In force until `until` (wall ms); another put of the same id replaces it. An id of
 * SP_CANCEL_ID_SIZE bytes and more can be no job's and is left out. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_cancels_put(struct sp_cancels *cancels, const char *id, int64_t until,
                                          struct sp_error *err);
/* Lifted, or its tombstone is written. */
void sp_cancels_remove(struct sp_cancels *cancels, const char *id);

/*
 * One id whose cancellation is over and whose tombstone is due, copied to out
 * (SP_CANCEL_ID_SIZE); false: none. It stays, not in force, until it is removed, and is due again
 * a minute or two later. A random part of a minute lies between end and tombstone, so that of a
 * fleet only the first ones write it.
 */
bool sp_cancels_expire(struct sp_cancels *cancels, char *out);
/* Ids held. */
size_t sp_cancels_count(struct sp_cancels *cancels);
