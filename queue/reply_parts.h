/* The parts of a reply that can be large, and how they are made to fit: CONTRACT.md 3.3. */
#pragma once

#include "queue/reply.h"

enum sp_part_kind { SP_PART_STDOUT, SP_PART_STDERR, SP_PART_VALUE, SP_PART_ARTIFACT };

enum sp_part_state {
    SP_PART_WHOLE,
    SP_PART_MOVED, /* to the store: ref and sha256 are filled */
    SP_PART_CUT,   /* a stream carries what is in kept; others are left out */
};

struct sp_part {
    enum sp_part_kind kind;
    enum sp_part_state state;
    struct sp_bytes raw; /* what an attachment holds; borrowed from the result */
    const char *name;    /* of an artifact */
    size_t seen;         /* bytes of a stream that the program wrote */
    size_t encoded;      /* bytes that it takes in the reply now */
    struct sp_buf kept;
    char ref[128], sha256[65];
};

struct sp_parts {
    struct sp_part *items; /* stdout, stderr and value, in the order of their kinds; artifacts */
    size_t n;
    const struct sp_part_store *store; /* NULL, also once it failed */
};

/* Everything is borrowed from result while the parts live. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_parts_init(struct sp_parts *parts, const struct sp_result *result,
                                         const struct sp_part_store *store);
void sp_parts_clear(struct sp_parts *parts);
SP_AUTO_CLEAR(struct sp_parts, sp_parts_clear)

/* Bytes that all parts take in the reply now. */
size_t sp_parts_encoded(const struct sp_parts *parts);
/*
 * Makes the largest part smaller: it moves to the store, or is cut, a stream by not more than the
 * excess asks for. False when nothing is left that could shrink. May block as the store does.
 */
bool sp_parts_shrink(struct sp_parts *parts, size_t excess);
