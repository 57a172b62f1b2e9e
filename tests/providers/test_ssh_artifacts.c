/* Artifacts of programs at the far end: what is taken over SFTP, and what is refused and why. */
#include "tests/providers/far_stage.h"

static struct far far;

static void enter(void)
{
    far_open(&far, "\"max_artifacts\":4,\"max_artifact_bytes\":100000,\"timeout\":60");
}

static void leave(void)
{
    cr_expect(far_is_clean(&far), "homes: %d", far_homes(&far));
    far_close(&far);
}

TestSuite(ssh_artifacts, .init = enter, .fini = leave);

/* Each leaves one thing, which is refused. */
static const struct {
    const char *code, *name, *reason;
} refused[] = {
    {"import os; os.symlink('/etc/passwd', 'artifacts/a.csv')", "a.csv",
     "symlinks are not allowed"},
    {"import os; os.symlink('/etc', 'artifacts/etc')", "etc", "symlinks are not allowed"},
    {"import os; os.rmdir('artifacts'); os.symlink('/etc', 'artifacts')", "artifacts",
     "symlinks are not allowed"},
    {"import os; os.rmdir('artifacts'); open('artifacts', 'w').close()", "artifacts",
     "cannot be read"},
    {"import os; os.mkfifo('artifacts/a.csv')", "a.csv", "not a regular file"},
    {"open('artifacts/a.exe', 'w').close()", "a.exe", "Unsupported artifact type"},
    {"open('artifacts/a.csv', 'w').write('x' * 100001)", "a.csv", "exceeds 100000 bytes"},
    {"open('artifacts/a.csv', 'w').truncate(1 << 40)", "a.csv", "exceeds 100000 bytes"},
    {"open('artifacts/a\\n.csv', 'w').close()", "a?.csv", "control characters"},
    {"import os; os.mkdir('artifacts/d', 0); open('artifacts/d.exe', 'w')", "d", "cannot be read"},
};

SP_TABLE_TEST(ssh_artifacts, what_is_refused_is_named_with_its_reason, refused, row)
{
    const struct sp_provider_job job = {.code = row->code};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(int, r.exit_code, 0), "%s", r.err.text);
    cr_expect(zero(sz, r.n_artifacts), "%s", row->code);
    cr_assert(lt(sz, 0, r.n_refused), "%s", row->code);
    cr_expect(eq(str, r.refused[0].name, (char *)row->name));
    cr_expect(strstr(r.refused[0].reason, row->reason) != NULL, "%s", r.refused[0].reason);
    cr_expect(strstr(r.refused[0].reason, "127.0.0.1") == NULL, "%s", r.refused[0].reason);
}

Test(ssh_artifacts, files_are_taken_from_folders_sorted_and_exact)
{
    const struct sp_provider_job job = {
        .code = "import os\n"
                "os.makedirs('artifacts/b/deep')\n"
                "open('artifacts/c.png', 'wb').write(bytes(range(256)))\n"
                "open('artifacts/a.CSV', 'w').close()\n"
                "open('artifacts/b/deep/x.json', 'w').write('y' * 90000)\n"};
    static const char *const names[] = {"a.CSV", "b/deep/x.json", "c.png"};
    static const size_t lengths[] = {0, 90000, 256};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_assert(eq(sz, r.n_artifacts, SP_COUNT(names)), "%s", r.err.text);
    cr_expect(zero(sz, r.n_refused));
    for (size_t i = 0; i < SP_COUNT(names); i++) {
        cr_expect(eq(str, r.artifacts[i].name, (char *)names[i]));
        cr_expect(eq(sz, r.artifacts[i].len, lengths[i]));
    }
    for (int i = 0; i < 256; i++)
        cr_assert(eq(int, (unsigned char)r.artifacts[2].data[i], i));
}

Test(ssh_artifacts, there_are_only_so_many)
{
    const struct sp_provider_job job = {
        .code = "for n in range(6): open('artifacts/%d.csv' % n, 'w').close()"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(sz, r.n_artifacts, 4));
    cr_assert(eq(sz, r.n_refused, 2));
    cr_expect(eq(str, r.refused[0].name, "4.csv"));
    cr_expect(eq(str, r.refused[0].reason, "more than 4 artifacts"));
}

/* More than one answer of the server's holds. */
Test(ssh_artifacts, a_crowded_folder_is_read_to_its_bound)
{
    const struct sp_provider_job job = {
        .code = "import os\n"
                "open('one', 'w').close()\n"
                "for n in range(10050): os.link('one', 'artifacts/%05d.exe' % n)\n",
        .timeout_ms = 60000,
        .teardown_ms = 60000};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(sz, r.n_refused, 200));
    cr_assert(r.warning != NULL);
    cr_expect(strstr(r.warning, "more than 10000 entries") != NULL, "%s", r.warning);
}

Test(ssh_artifacts, a_failed_program_leaves_them_too)
{
    const struct sp_provider_job job = {
        .code = "open('artifacts/a.csv', 'w').write('x')\nraise SystemExit(3)"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(int, r.exit_code, 3));
    cr_expect(eq(sz, r.n_artifacts, 1));
}

Test(ssh_artifacts, a_program_that_ran_out_of_time_leaves_them_too)
{
    const struct sp_provider_job job = {.code = "import time\n"
                                                "open('artifacts/a.csv', 'w').write('x')\n"
                                                "time.sleep(60)\n",
                                        .timeout_ms = 4000};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_run(&far, &job, &r);

    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(sz, r.n_artifacts, 1));
}

Test(ssh_artifacts, all_together_have_a_bound)
{
    const struct sp_provider_job job = {
        .code = "for n in range(3): open('artifacts/%d.csv' % n, 'w').write('x' * 90000)"};
    sp_auto(sp_result_clear) struct sp_result r = {0};

    far_close(&far);
    far_start(&far, NULL);
    far.limits.artifacts_total = 200000;
    far_open_on(&far, "\"max_artifact_bytes\":100000");
    far_run(&far, &job, &r);

    cr_expect(eq(sz, r.n_artifacts, 2));
    cr_assert(eq(sz, r.n_refused, 1));
    cr_expect(eq(str, r.refused[0].reason, "exceeds 200000 bytes in all artifacts together"));
}
