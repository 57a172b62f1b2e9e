/* Bytes that grow, with a ceiling that is part of the construction. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* A zeroed struct is an empty buffer with ceiling 0. data is NULL while nothing was added, else
 * NUL-terminated. */
struct sp_buf {
    char *data;
    size_t len, cap, max;
};

#define SP_BUF_INIT(max_bytes) ((struct sp_buf){.max = (max_bytes)})
#define SP_BUF_UNBOUNDED SIZE_MAX

/* Each adds all of it or nothing: SP_E_LIMIT past the ceiling, SP_E_NOMEM without memory. */
enum sp_code sp_buf_add(struct sp_buf *buf, const void *data, size_t len);
enum sp_code sp_buf_adds(struct sp_buf *buf, const char *text);
enum sp_code sp_buf_addc(struct sp_buf *buf, char c);
enum sp_code sp_buf_addf(struct sp_buf *buf, const char *fmt, ...) SP_PRINTF(2, 3);
/* Room for len more bytes at data + len; the caller writes there and raises len. The NUL behind
 * them comes with the next addition, sp_buf_str() or sp_buf_take(). */
enum sp_code sp_buf_reserve(struct sp_buf *buf, size_t len);

/* The text, "" when nothing was added. Valid until the next change. */
const char *sp_buf_str(const struct sp_buf *buf);
/* Hands the NUL-terminated allocation over to the caller, who frees it; NULL only without memory.
 * len may be NULL. */
char *sp_buf_take(struct sp_buf *buf, size_t *len);
/* Empties it and keeps the allocation. */
void sp_buf_reset(struct sp_buf *buf);
/* Frees; the ceiling stays. */
void sp_buf_clear(struct sp_buf *buf);
SP_AUTO_CLEAR(struct sp_buf, sp_buf_clear)
