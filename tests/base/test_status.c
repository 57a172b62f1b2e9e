#include "base/status.h"

#include "tests/support.h"

/* CONTRACT.md 3.1, written down a second time. */
static const struct {
    enum sp_sb sb;
    const char *code, *kind, *status;
    bool retryable;
} contract[] = {
    {SP_SB001_NOT_CONFIGURED, "SB001", "config", "error", true},
    {SP_SB002_BAD_CONFIGURATION, "SB002", "config", "error", true},
    {SP_SB003_CONNECTION, "SB003", "runtime", "error", false},
    {SP_SB004_INSTANCE, "SB004", "runtime", "error", true},
    {SP_SB005_TIMEOUT, "SB005", "timeout", "timeout", false},
    {SP_SB006_LIMIT, "SB006", "runtime", "failed", false},
    {SP_SB007_POLICY, "SB007", "rejected", "rejected", false},
    {SP_SB008_RATE_LIMITED, "SB008", "busy", "error", true},
    {SP_SB009_UNAVAILABLE, "SB009", "runtime", "error", true},
    {SP_SB010_EXPIRED, "SB010", "expired", "expired", false},
    {SP_SB011_CANCELLED, "SB011", "cancelled", "cancelled", false},
    {SP_SB012_BAD_REQUEST, "SB012", "rejected", "rejected", false},
    {SP_SB013_INTERNAL, "SB013", "internal", "error", false},
    {SP_SB014_CRASHED, "SB014", "internal", "error", false},
};

SP_TABLE_TEST(status, each_error_code_is_as_the_contract_says, contract, row)
{
    const struct sp_sb_row *sb = sp_sb_row(row->sb);

    cr_expect(eq(str, (char *)sb->code, (char *)row->code));
    cr_expect(eq(str, (char *)sb->kind, (char *)row->kind));
    cr_expect(eq(str, (char *)sp_status_name(sb->status), (char *)row->status));
    cr_expect(eq(int, sb->retryable, row->retryable));
    cr_expect(ne(str, (char *)sb->meaning, ""));
}

Test(status, the_table_above_is_complete)
{
    cr_expect(eq(sz, SP_COUNT(contract), SP_SB_COUNT - 1));
}

Test(status, the_names_are_those_of_the_contract)
{
    cr_expect(eq(str, (char *)sp_status_name(SP_STATUS_OK), "ok"));
    cr_expect(eq(str, (char *)sp_status_name(SP_STATUS_FAILED), "failed"));
}
