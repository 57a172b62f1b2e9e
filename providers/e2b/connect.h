/*
 * The framing of Connect's streams (reference e2b 4.3): each message is an envelope of one byte of
 * flags, four of length, and JSON. Frames come cut anywhere.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

/* Longest payload; envd's are 44 KiB at most, but an error may quote a whole command line. */
#define SP_CONNECT_FRAME_MAX (16 << 20)

struct sp_connect_frame {
    bool end; /* of the stream: the payload is {} or {"error": ...} */
    const char *json;
    size_t len;
};

typedef enum sp_code (*sp_connect_fn)(void *ctx, const struct sp_connect_frame *frame,
                                      struct sp_error *err);

/* Zeroed before the first use. */
struct sp_connect {
    unsigned char head[5];
    size_t head_len;
    struct sp_buf payload;
    size_t left; /* of the payload */
    bool ended;  /* the last frame came */
};

/*
 * Takes the next bytes and hands every frame that is whole to fn, whose failure ends it.
 * SP_E_INVALID: these are no frames, or compressed ones (which nobody asked for), or something
 * follows the end. SP_E_LIMIT: a frame is too long. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_connect_feed(struct sp_connect *connect, const char *data, size_t len,
                                           sp_connect_fn fn, void *ctx, struct sp_error *err);
void sp_connect_clear(struct sp_connect *connect);
SP_AUTO_CLEAR(struct sp_connect, sp_connect_clear)

/* Appends one message as an envelope. */
SP_MUST_CHECK enum sp_code sp_connect_add(struct sp_buf *out, const char *json, size_t len);
