#include "base/result.h"

#include <stdio.h>

#include "base/text.h"
#include "tests/support.h"

Test(result, warnings_are_joined)
{
    sp_auto(sp_result_clear) struct sp_result result = {0};

    sp_result_warn(&result, "first %d", 1);
    cr_expect(eq(str, result.warning, "first 1"));
    sp_result_warn(&result, "second");
    cr_expect(eq(str, result.warning, "first 1; second"));
}

Test(result, artifacts_keep_their_order_and_belong_to_the_result)
{
    sp_auto(sp_result_clear) struct sp_result result = {0};

    for (int i = 0; i < 9; i++) {
        char name[16];

        snprintf(name, sizeof(name), "a/%d.txt", i);
        cr_assert(eq(int,
                     sp_result_add_artifact(&result, name, "text/plain", sp_memdup(name, 4), 4),
                     SP_OK));
        cr_assert(eq(int, sp_result_refuse_artifact(&result, name, i, "too large"), SP_OK));
    }

    cr_expect(eq(sz, result.n_artifacts, 9));
    cr_expect(eq(sz, result.n_refused, 9));
    cr_expect(eq(str, result.artifacts[8].name, "a/8.txt"));
    cr_expect(eq(str, result.artifacts[0].data, "a/0."));
    cr_expect(eq(str, result.refused[7].name, "a/7.txt"));
    cr_expect(eq(str, result.refused[7].reason, "too large"));
    cr_expect(eq(i64, result.refused[7].size, 7));
}

Test(result, clearing_leaves_an_empty_result)
{
    struct sp_result result = {.exit_code = 3,
                               .out = {.text = sp_strdup("o"), .len = 1},
                               .err = {.text = sp_strdup("e"), .len = 1},
                               .result_value = sp_strdup("1"),
                               .metadata = sp_strdup("\"a\":1")};

    sp_result_clear(&result);

    cr_expect(zero(int, result.exit_code));
    cr_expect(zero(ptr, result.out.text));
    sp_result_clear(&result);
}
