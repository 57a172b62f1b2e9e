/* Artifacts: what is taken, what is refused and why, and that no trick leads out of the folder. */
#include "providers/artifact_intake.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support.h"

static char workspace[64];

static void enter(void)
{
    snprintf(workspace, sizeof(workspace), "/tmp/sp-artifacts-XXXXXX");
    cr_assert(mkdtemp(workspace) != NULL);
    cr_assert(zero(int, chdir(workspace)));
    cr_assert(zero(int, mkdir("artifacts", 0700)));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void leave(void)
{
    nftw(workspace, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

TestSuite(artifacts, .init = enter, .fini = leave);

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL, "%s", path);
    fputs(text, file);
    fclose(file);
}

static const struct sp_artifact_rules usual = {
    .max_count = 20, .max_bytes = 1000, .max_total = 5000};

static struct sp_result collect(const struct sp_artifact_rules *rules, int64_t deadline)
{
    struct sp_result r = {0};
    int fd = open(workspace, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert(eq(int, sp_artifacts_collect(fd, rules, deadline, &r), SP_OK));
    close(fd);
    return r;
}

/* The only thing there is a refused one. */
static void expect_refused(const struct sp_artifact_rules *rules, const char *name,
                           const char *reason)
{
    sp_auto(sp_result_clear) struct sp_result r = collect(rules, SP_NEVER);
    cr_assert(eq(sz, r.n_refused, 1));
    cr_expect(eq(str, r.refused[0].name, (char *)name));
    cr_expect(strstr(r.refused[0].reason, reason) != NULL, "%s", r.refused[0].reason);
    cr_expect(eq(sz, r.n_artifacts, 0));
}

Test(artifacts, files_are_taken_recursively_and_sorted_by_path)
{
    cr_assert(zero(int, mkdir("artifacts/b", 0700)));
    cr_assert(zero(int, mkdir("artifacts/b/deep", 0700)));
    put("artifacts/c.png", "c");
    put("artifacts/a.CSV", "");
    put("artifacts/b/deep/x.json", "{}");
    put("artifacts/b.svg", "s");

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, SP_NEVER);

    static const char *const want[][2] = {{"a.CSV", "text/csv"},
                                          {"b.svg", "image/svg+xml"},
                                          {"b/deep/x.json", "application/json"},
                                          {"c.png", "image/png"}};
    cr_assert(eq(sz, r.n_artifacts, SP_COUNT(want)));
    for (size_t i = 0; i < SP_COUNT(want); i++) {
        cr_expect(eq(str, r.artifacts[i].name, (char *)want[i][0]));
        cr_expect(eq(str, (char *)r.artifacts[i].mime_type, (char *)want[i][1]));
    }
    cr_expect(eq(sz, r.artifacts[0].len, 0));
    cr_expect(eq(sz, r.artifacts[2].len, 2));
    cr_expect(zero(int, memcmp(r.artifacts[2].data, "{}", 2)));
    cr_expect(zero(sz, r.n_refused));
}

Test(artifacts, no_folder_is_no_artifacts)
{
    cr_assert(zero(int, rmdir("artifacts")));

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, SP_NEVER);

    cr_expect(zero(sz, r.n_artifacts + r.n_refused));
    cr_expect(r.warning == NULL);
}

static const struct {
    const char *name, *mime;
} mimes[] = {
    {"a.csv", "text/csv"},
    {"a.html", "text/html"},
    {"a.jpeg", "image/jpeg"},
    {"a.JPG", "image/jpeg"},
    {"a.json", "application/json"},
    {"a.pdf", "application/pdf"},
    {"a.png", "image/png"},
    {"d.x/a.svg", "image/svg+xml"},
    {"a.b.png", "image/png"},
    {"a.exe", NULL},
    {"a", NULL},
    {".png", NULL},
    {"d/.png", NULL},
    {"d.png/a", NULL},
    {"a.png.gz", NULL},
    {"a.", NULL},
    {"", NULL},
};

SP_TABLE_TEST(artifacts, only_listed_types_are_taken, mimes, row)
{
    const char *mime = sp_artifact_mime(row->name);

    cr_expect(eq(int, mime == NULL, row->mime == NULL), "%s", row->name);
    if (mime && row->mime)
        cr_expect(eq(str, (char *)mime, (char *)row->mime));
}

Test(artifacts, another_type_is_refused_with_its_size)
{
    put("artifacts/run.sh", "12345");

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, SP_NEVER);

    cr_assert(eq(sz, r.n_refused, 1));
    cr_expect(strstr(r.refused[0].reason, "Unsupported artifact type") != NULL);
    cr_expect(eq(i64, r.refused[0].size, 5));
}

Test(artifacts, a_link_to_a_file_is_refused)
{
    cr_assert(zero(int, symlink("/etc/passwd", "artifacts/a.csv")));
    expect_refused(&usual, "a.csv", "symlinks are not allowed");
}

Test(artifacts, a_link_to_a_folder_is_refused)
{
    cr_assert(zero(int, symlink("/etc", "artifacts/etc")));
    expect_refused(&usual, "etc", "symlinks are not allowed");
}

Test(artifacts, a_link_in_place_of_the_folder_is_refused)
{
    cr_assert(zero(int, rmdir("artifacts")));
    cr_assert(zero(int, symlink("/etc", "artifacts")));
    expect_refused(&usual, "artifacts", "symlinks are not allowed");
}

Test(artifacts, a_file_in_place_of_the_folder_is_refused)
{
    cr_assert(zero(int, rmdir("artifacts")));
    put("artifacts", "x");
    expect_refused(&usual, "artifacts", "cannot be read");
}

Test(artifacts, a_hard_link_is_refused)
{
    put("secret.csv", "x");
    cr_assert(zero(int, link("secret.csv", "artifacts/a.csv")));
    expect_refused(&usual, "a.csv", "hard links are not allowed");
}

Test(artifacts, a_fifo_is_refused_without_waiting_for_a_writer)
{
    cr_assert(zero(int, mkfifo("artifacts/a.csv", 0600)));
    expect_refused(&usual, "a.csv", "not a regular file");
}

Test(artifacts, a_file_over_the_size_is_refused)
{
    put("artifacts/a.csv", "12345");
    expect_refused(&(struct sp_artifact_rules){.max_count = 1, .max_bytes = 4, .max_total = 9},
                   "a.csv", "exceeds 4 bytes");
}

Test(artifacts, a_file_of_just_the_size_is_taken)
{
    put("artifacts/a.csv", "1234");
    const struct sp_artifact_rules rules = {.max_count = 1, .max_bytes = 4, .max_total = 4};

    sp_auto(sp_result_clear) struct sp_result r = collect(&rules, SP_NEVER);

    cr_expect(eq(sz, r.n_artifacts, 1));
}

Test(artifacts, all_together_are_bounded_too)
{
    put("artifacts/a.csv", "123");
    put("artifacts/b.csv", "123");
    put("artifacts/c.csv", "12");
    const struct sp_artifact_rules rules = {.max_count = 9, .max_bytes = 4, .max_total = 5};

    sp_auto(sp_result_clear) struct sp_result r = collect(&rules, SP_NEVER);

    cr_expect(eq(sz, r.n_artifacts, 2));
    cr_assert(eq(sz, r.n_refused, 1));
    cr_expect(eq(str, r.refused[0].name, "b.csv"));
    cr_expect(strstr(r.refused[0].reason, "exceeds 5 bytes") != NULL);
}

Test(artifacts, files_over_the_count_are_refused)
{
    put("artifacts/a.csv", "1");
    put("artifacts/b.txt", "1");
    put("artifacts/c.csv", "1");
    const struct sp_artifact_rules rules = {.max_count = 1, .max_bytes = 9, .max_total = 9};

    sp_auto(sp_result_clear) struct sp_result r = collect(&rules, SP_NEVER);

    cr_expect(eq(sz, r.n_artifacts, 1));
    cr_assert(eq(sz, r.n_refused, 2));
    cr_expect(strstr(r.refused[0].reason, "Unsupported artifact type") != NULL);
    cr_expect(strstr(r.refused[1].reason, "more than 1 artifacts") != NULL);
}

Test(artifacts, a_count_of_zero_takes_none)
{
    put("artifacts/a.csv", "1");
    expect_refused(&(struct sp_artifact_rules){.max_count = 0, .max_bytes = 9, .max_total = 9},
                   "a.csv", "more than 0 artifacts");
}

static const struct {
    const char *name, *shown;
} odd_names[] = {
    {"a\nb.csv", "a?b.csv"},
    {"a\x7f.csv", "a?.csv"},
    {"a\xc2\x85.csv", "a??.csv"},
    {"a\xff.csv", "a\uFFFD.csv"},
};

SP_TABLE_TEST(artifacts, a_name_that_no_reply_can_carry_is_refused_under_a_clean_one, odd_names,
              row)
{
    char path[64];
    snprintf(path, sizeof(path), "artifacts/%s", row->name);
    put(path, "x");
    expect_refused(&usual, row->shown, "not UTF-8 text without control characters");
}

Test(artifacts, spaces_quotes_and_other_alphabets_are_names)
{
    put("artifacts/ü ' \".csv", "x");

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, SP_NEVER);

    cr_assert(eq(sz, r.n_artifacts, 1));
    cr_expect(eq(str, r.artifacts[0].name, "ü ' \".csv"));
}

Test(artifacts, folders_nest_16_deep)
{
    char path[256] = "artifacts";
    for (int i = 0; i < 17; i++) {
        snprintf(path + strlen(path), sizeof(path) - strlen(path), "/d");
        cr_assert(zero(int, mkdir(path, 0700)));
        if (i == 15) {
            char file[300];
            snprintf(file, sizeof(file), "%s/a.csv", path);
            put(file, "x");
        }
    }
    snprintf(path + strlen(path), sizeof(path) - strlen(path), "/b.csv");
    put(path, "x");

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, SP_NEVER);

    cr_expect(eq(sz, r.n_artifacts, 1));
    cr_assert(eq(sz, r.n_refused, 1));
    cr_expect(strstr(r.refused[0].reason, "deeper than 16 folders") != NULL);
}

Test(artifacts, a_million_files_would_cost_bounded_time)
{
    char path[64];
    for (int i = 0; i < 10500; i++) {
        snprintf(path, sizeof(path), "artifacts/%d.txt", i);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        cr_assert(lt(int, -1, fd));
        close(fd);
    }

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, SP_NEVER);

    cr_expect(eq(sz, r.n_refused, 200));
    cr_expect(strstr(r.warning, "more than 10000 entries") != NULL);
    cr_expect(strstr(r.warning, "9800 more artifacts were refused") != NULL);
}

Test(artifacts, a_deadline_that_has_passed_ends_it_with_a_warning)
{
    put("artifacts/a.csv", "x");

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, sp_mono_ms() - 1);

    cr_expect(zero(sz, r.n_artifacts));
    cr_assert(r.warning != NULL);
    cr_expect(strstr(r.warning, "took too long") != NULL);
}

Test(artifacts, a_file_that_cannot_be_read_is_refused)
{
    if (geteuid() == 0) {
        leave(); /* .fini is not run after a skip */
        cr_skip("root reads everything");
    }
    put("artifacts/a.csv", "x");
    cr_assert(zero(int, chmod("artifacts/a.csv", 0)));
    expect_refused(&usual, "a.csv", "cannot be read");
}

/* As on an old kernel, or under a container's filter. From here on this worker process has none. */
static void forbid_openat2(int errno_value)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    cr_assert(filter != NULL);
    cr_assert(zero(int, seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)errno_value),
                                         SCMP_SYS(openat2), 0)));
    cr_assert(zero(int, seccomp_load(filter)));
    seccomp_release(filter);
}

static const int openat2_errors[] = {ENOSYS, EPERM};

SP_TABLE_TEST(artifacts, the_same_holds_without_openat2, openat2_errors, row)
{
    cr_assert(zero(int, mkdir("artifacts/b", 0700)));
    put("artifacts/b/a.csv", "x");
    put("artifacts/c.csv", "x");
    cr_assert(zero(int, symlink("/etc/passwd", "artifacts/d.csv")));
    cr_assert(zero(int, symlink("/etc", "artifacts/e")));
    forbid_openat2(*row);

    sp_auto(sp_result_clear) struct sp_result r = collect(&usual, SP_NEVER);

    cr_assert(eq(sz, r.n_artifacts, 2));
    cr_expect(eq(str, r.artifacts[0].name, "b/a.csv"));
    cr_expect(eq(sz, r.n_refused, 2));
}

Test(artifacts, a_linked_folder_is_refused_without_openat2)
{
    cr_assert(zero(int, rmdir("artifacts")));
    cr_assert(zero(int, symlink("/etc", "artifacts")));
    forbid_openat2(ENOSYS);
    expect_refused(&usual, "artifacts", "symlinks are not allowed");
}
