/*
 * The value of a claim in Redis: one line, and the reply's bytes behind it once there is one.
 *
 *   C1 <attempt> <died> <record> <digest> <owner>
 *   F1 <attempt> <died> <record> <digest> <owner> <flags> <status> <attempt> <result id> <worker>
 *
 * The part from the version to the owner, the stem, tells one claim from all others, whatever its
 * state: only the first character changes while it lives. States: C claimed, R released (nobody's,
 * keeps the count of died attempts), F finished, D delivered. Flags: r remembered, b the bytes are
 * the id of a blob, - none.
 */
#pragma once

#include "base/buf.h"
#include "worker/claims/claims.h"

#define SP_INCARNATION_SIZE 17
#define SP_BLOB_ID_SIZE 33

enum sp_claim_state {
    SP_CLAIM_CLAIMED = 'C',
    SP_CLAIM_RELEASED = 'R',
    SP_CLAIM_FINISHED = 'F',
    SP_CLAIM_DELIVERED = 'D',
};

/* Borrowed from the bytes it was read from. */
struct sp_claim_value {
    enum sp_claim_state state;
    int64_t attempt, died;
    struct sp_bytes record, digest, owner;
    struct sp_bytes stem;
    bool has_result;               /* always with F, never with C and R; then also: */
    bool is_blob;                  /* body is the id of the blob that holds the bytes */
    struct sp_bytes worker;        /* result.worker */
    struct sp_stored_reply result; /* all but bytes, len and worker */
    struct sp_bytes body;
};

/* False: malformed, which counts as absent. These are outside bytes. */
bool sp_claim_value_read(const char *data, size_t len, struct sp_claim_value *out);
/* Appends the stem. record has no blanks; digest may be "". As sp_buf_add(). */
enum sp_code sp_claim_stem_add(struct sp_buf *out, int64_t attempt, int64_t died,
                               const char *record, const char *digest, const char *owner);
/* Appends what F and D have behind the stem, with the line's end. */
enum sp_code sp_claim_result_add(struct sp_buf *out, const struct sp_stored_reply *result,
                                 bool is_blob);
