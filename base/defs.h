/* Small helpers that every part uses: counting, scope-bound clean-up, handing ownership over. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SP_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SP_MUST_CHECK __attribute__((warn_unused_result))
#define SP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* SP_AUTO(type, fn) once per type; then `sp_auto(fn) type v = NULL;` calls fn(v) at the end of the
 * scope. */
#define sp_auto(fn) __attribute__((cleanup(fn##_p)))
#define SP_AUTO(type, fn)                                                                          \
    static inline void fn##_p(type *p)                                                             \
    {                                                                                              \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }
/* The same for structs on the stack, cleared by address: SP_AUTO_CLEAR(struct sp_buf,
 * sp_buf_clear). */
#define SP_AUTO_CLEAR(type, fn)                                                                    \
    static inline void fn##_p(type *p)                                                             \
    {                                                                                              \
        fn(p);                                                                                     \
    }
#define SP_TAKE(var)                                                                               \
    __extension__({                                                                                \
        __typeof__(var) taken_ = (var);                                                            \
        (var) = NULL;                                                                              \
        taken_;                                                                                    \
    })

/* Borrowed bytes; their owner is named where they are handed out. data may be NULL when len is 0.
 */
struct sp_bytes {
    const char *data;
    size_t len;
};
