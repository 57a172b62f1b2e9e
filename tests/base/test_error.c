#include "base/error.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "tests/support.h"

Test(error, an_error_carries_its_code_and_text)
{
    struct sp_error err = {0};

    enum sp_code rc = sp_error_set(&err, SP_E_LIMIT, "%s is over %d", "size", 7);

    cr_expect(eq(int, rc, SP_E_LIMIT));
    cr_expect(eq(int, err.code, SP_E_LIMIT));
    cr_expect(eq(str, err.msg, "size is over 7"));
}

Test(error, nobody_needs_to_listen)
{
    cr_expect(eq(int, sp_error_set(NULL, SP_E_INVALID, "x"), SP_E_INVALID));
    cr_expect(eq(int, sp_error_wrap(NULL, SP_E_TIMEOUT, "x"), SP_E_TIMEOUT));
    cr_expect(eq(int, sp_error_errno(NULL, SP_E_DENIED, EACCES, "x"), SP_E_DENIED));
}

Test(error, wrapping_puts_the_context_before_the_text)
{
    struct sp_error err = {0};

    sp_error_set(&err, SP_E_UNAVAILABLE, "connection refused");
    enum sp_code rc = sp_error_wrap(&err, SP_E_TIMEOUT, "provider %s", "e2b");

    cr_expect(eq(int, rc, SP_E_TIMEOUT));
    cr_expect(eq(int, err.code, SP_E_TIMEOUT));
    cr_expect(eq(str, err.msg, "provider e2b: connection refused"));
}

Test(error, wrapping_nothing_adds_no_colon)
{
    struct sp_error err = {0};

    sp_error_wrap(&err, SP_E_INTERNAL, "alone");

    cr_expect(eq(str, err.msg, "alone"));
}

Test(error, the_old_text_may_be_an_argument)
{
    struct sp_error err = {0};

    sp_error_set(&err, SP_E_INVALID, "inner");
    sp_error_set(&err, SP_E_INVALID, "outer (%s)", err.msg);

    cr_expect(eq(str, err.msg, "outer (inner)"));
}

Test(error, a_system_error_is_spelled_out)
{
    struct sp_error err = {0};

    sp_error_errno(&err, SP_E_INVALID, ENOENT, "open %s", "/x");

    cr_expect(eq(str, err.msg, "open /x: No such file or directory"));
}

Test(error, a_long_text_is_cut_between_characters)
{
    struct sp_error err = {0};
    char text[600];

    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = "\xC3\xA9"[i % 2];
    text[sizeof(text) - 1] = '\0';
    sp_error_set(&err, SP_E_INVALID, "%s", text);

    cr_expect(eq(sz, strlen(err.msg), sizeof(err.msg) - 2));
    cr_expect(sp_utf8_valid(err.msg, strlen(err.msg)));

    sp_error_wrap(&err, SP_E_INVALID, "x%s", text);

    cr_expect(eq(sz, strlen(err.msg), sizeof(err.msg) - 1));
    cr_expect(sp_utf8_valid(err.msg, strlen(err.msg)));
}

Test(error, every_code_has_a_name)
{
    for (int code = SP_OK; code <= SP_E_INTERNAL; code++)
        cr_expect(ne(str, (char *)sp_code_name((enum sp_code)code), "unknown"), "code %d", code);
    cr_expect(eq(str, (char *)sp_code_name((enum sp_code)(SP_E_INTERNAL + 1)), "unknown"));
}
