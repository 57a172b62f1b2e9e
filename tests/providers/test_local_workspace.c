#include "providers/local/workspace.h"

#include <fcntl.h>
#include <sys/file.h>

#include "providers/local/tree.h"
#include "tests/providers/local_stage.h"

static char base[64];
static int base_fd;

static void make_base(void)
{
    strcpy(base, "/tmp/sp-local-XXXXXX");
    cr_assert(mkdtemp(base) != NULL);
    base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void remove_base(void)
{
    struct sp_error err = {0};
    char name[64];

    snprintf(name, sizeof name, "%s", strrchr(base, '/') + 1);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY);
    cr_expect(eq(int, sp_tree_remove(tmp, name, SP_NEVER, &err), SP_OK), "%s", err.msg);
    close(tmp);
    close(base_fd);
}

/* .fini is not run after a skip. */
static void needs_root(const char *what)
{
    if (geteuid() == 0)
        return;
    remove_base();
    cr_skip("needs root %s", what);
}

TestSuite(local_tree, .init = make_base, .fini = remove_base);
TestSuite(local_workspace, .init = make_base, .fini = remove_base);

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    cr_assert(file != NULL, "%s", name);
    fputs(text, file);
    fclose(file);
}

static void link_to(const char *name, const char *target)
{
    cr_assert(eq(int, symlinkat(target, base_fd, name), 0));
}

static void set_mode(const char *name, mode_t mode)
{
    cr_assert(eq(int, fchmodat(base_fd, name, mode, 0), 0));
}

static bool exists(const char *name)
{
    struct stat st;

    return !fstatat(base_fd, name, &st, AT_SYMLINK_NOFOLLOW);
}

Test(local_tree, a_tree_of_any_depth_goes_with_few_descriptors)
{
    struct rlimit few = {32, 32};
    int fd;

    mkdirat(base_fd, "deep", 0700);
    fd = openat(base_fd, "deep", O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 500; i++) {
        int next;

        cr_assert(eq(int, mkdirat(fd, "d", 0700), 0));
        cr_assert(eq(int, mkdirat(fd, ".0", 0700), 0)); /* a name that the removal uses itself */
        next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
        close(openat(next, "file", O_CREAT | O_WRONLY, 0600));
        close(fd);
        fd = next;
    }
    close(fd);
    setrlimit(RLIMIT_NOFILE, &few);

    cr_expect(eq(int, sp_tree_remove(base_fd, "deep", SP_NEVER, NULL), SP_OK));
    cr_expect(not(exists("deep")));
}

Test(local_tree, links_are_removed_and_not_followed)
{
    mkdirat(base_fd, "kept", 0700);
    put("kept/file", "x");
    mkdirat(base_fd, "tree", 0700);
    mkdirat(base_fd, "tree/inner", 0700);
    link_to("tree/link", "../kept");
    link_to("tree/inner/link", "../../kept");
    link_to("link", "kept");

    cr_expect(eq(int, sp_tree_remove(base_fd, "tree", SP_NEVER, NULL), SP_OK));
    cr_expect(eq(int, sp_tree_remove(base_fd, "link", SP_NEVER, NULL), SP_OK));

    cr_expect(exists("kept/file"));
    cr_expect(not(exists("tree")));
    cr_expect(not(exists("link")));
}

/* Removes as a user without root's powers would. */
static int remove_as_nobody(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(setuid(65534) || sp_tree_remove(base_fd, "tree", SP_NEVER, NULL) ? 1 : 0);
    waitpid(pid, &status, 0);
    return status;
}

Test(local_tree, folders_without_permissions_are_opened)
{
    static const char *const names[] = {"tree/a/b/c/file", "tree/a/b/c", "tree/a/b",
                                        "tree/a",          "tree",       "."};

    needs_root("to become another user");
    mkdirat(base_fd, "tree", 0700);
    mkdirat(base_fd, "tree/a", 0700);
    mkdirat(base_fd, "tree/a/b", 0700);
    mkdirat(base_fd, "tree/a/b/c", 0700);
    put("tree/a/b/c/file", "x");
    for (size_t i = 0; i < SP_COUNT(names); i++) {
        cr_assert(eq(int, fchownat(base_fd, names[i], 65534, 65534, 0), 0));
        cr_assert(eq(int, fchmodat(base_fd, names[i], i + 1 == SP_COUNT(names) ? 0700 : 0, 0), 0));
    }

    cr_expect(eq(int, remove_as_nobody(), 0));
    cr_expect(not(exists("tree")));
}

Test(local_tree, what_is_not_there_is_removed)
{
    cr_expect(eq(int, sp_tree_remove(base_fd, "nothing", SP_NEVER, NULL), SP_OK));
}

Test(local_tree, the_deadline_holds)
{
    struct sp_error err = {0};

    mkdirat(base_fd, "tree", 0700);
    put("tree/file", "x");

    cr_expect(eq(int, sp_tree_remove(base_fd, "tree", sp_mono_ms(), &err), SP_E_TIMEOUT));
    cr_expect(exists("tree/file"));
}

Test(local_workspace, folders_above_are_made_and_work_dir_is_private)
{
    struct sp_workspace *w = NULL;
    struct sp_error err = {0};
    struct stat st;

    cr_assert(eq(int, sp_workspace_open(path_of("a/b/c"), &w, &err), SP_OK), "%s", err.msg);

    cr_expect(eq(int, fstatat(base_fd, "a/b/c", &st, 0), 0));
    cr_expect(eq(int, (int)(st.st_mode & 0777), 0700));
    cr_expect(eq(int, stage_count(path_of("a/b/c")), 1));
    sp_workspace_close(w);
    cr_expect(eq(int, stage_count(path_of("a/b/c")), 0));
}

static void make_link(void)
{
    mkdirat(base_fd, "real", 0700);
    link_to("w", "real");
}

static void make_file(void)
{
    put("w", "x");
}

static void make_open_folder(void)
{
    mkdirat(base_fd, "w", 0700);
    set_mode("w", 0777);
}

static void make_group_folder(void)
{
    mkdirat(base_fd, "w", 0700);
    set_mode("w", 0770);
}

static void make_foreign_folder(void)
{
    needs_root("to give a folder away");
    mkdirat(base_fd, "w", 0700);
    cr_assert(eq(int, fchownat(base_fd, "w", 12345, 0, 0), 0));
}

static const struct {
    void (*make)(void);
    const char *words;
} refused[] = {
    {make_link, "is a link or no folder"},          {make_file, "work_dir: "},
    {make_open_folder, "others can write to"},      {make_group_folder, "chmod 700"},
    {make_foreign_folder, "belongs to user 12345"},
};

SP_TABLE_TEST(local_workspace, a_work_dir_that_is_not_ours_alone_is_refused, refused, row)
{
    struct sp_workspace *w = NULL;
    struct sp_error err = {0};

    row->make();

    cr_assert(eq(int, sp_workspace_open(path_of("w"), &w, &err), SP_E_INVALID));
    cr_expect(strstr(err.msg, row->words) != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "work_dir: ") == err.msg, "%s", err.msg);
}

Test(local_workspace, a_sticky_folder_of_ours_will_do)
{
    struct sp_workspace *w = NULL;

    mkdirat(base_fd, "w", 0700);
    set_mode("w", 01777);

    cr_expect(eq(int, sp_workspace_open(path_of("w"), &w, NULL), SP_OK));
    sp_workspace_close(w);
}

#define STALE "0b9ad0a4-3a52-4f3a-8f4e-3f1f4d0b7c11"
#define LINKED "0b9ad0a4-3a52-4f3a-8f4e-3f1f4d0b7c12"

Test(local_workspace, a_sweep_takes_what_dead_workers_left_and_nothing_else)
{
    struct sp_workspace *live = NULL, *sweeper = NULL;
    char live_path[512];

    cr_assert(eq(int, sp_workspace_open(base, &live, NULL), SP_OK));
    cr_assert(eq(int, sp_workspace_open(base, &sweeper, NULL), SP_OK));
    snprintf(live_path, sizeof live_path, "%s", sp_workspace_path(live));
    mkdirat(base_fd, STALE, 0700);
    mkdirat(base_fd, STALE "/instance", 0700);
    put(STALE "/instance/main.py", "x");
    mkdirat(base_fd, "mine", 0700);
    put("mine/file", "x");
    link_to(LINKED, "mine");

    sp_workspace_sweep(sweeper, SP_NEVER);

    cr_expect(not(exists(STALE)));
    cr_expect(exists("mine/file"));
    cr_expect(exists(LINKED));
    cr_expect(eq(int, access(live_path, F_OK), 0));
    cr_expect(eq(int, access(sp_workspace_path(sweeper), F_OK), 0));
    sp_workspace_close(live);
    sp_workspace_close(sweeper);
}

Test(local_workspace, a_removed_folder_is_found_by_the_check)
{
    struct sp_workspace *w = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_workspace_open(base, &w, NULL), SP_OK));
    cr_expect(eq(int, sp_workspace_check(w, NULL), SP_OK));
    cr_assert(eq(int, rmdir(sp_workspace_path(w)), 0));

    cr_expect(eq(int, sp_workspace_check(w, &err), SP_E_INVALID));
    cr_expect(strstr(err.msg, "work_dir: somebody removed") != NULL, "%s", err.msg);
    sp_workspace_close(w);
}

Test(local_workspace, files_of_a_run_are_never_written_through_a_link)
{
    mkdirat(base_fd, "outside", 0700);
    put("outside/main.py", "kept");
    mkdirat(base_fd, "run", 0700);
    link_to("run/main.py", "../outside/main.py");
    link_to("run/sub", "../outside");
    int run = openat(base_fd, "run", O_RDONLY | O_DIRECTORY);

    cr_expect(eq(int, sp_folder_put(run, "main.py", "new", 3, NULL), SP_OK));
    cr_expect(ne(int, sp_folder_put(run, "sub/file", "new", 3, NULL), SP_OK));
    cr_expect(eq(int, sp_folder_put(run, "x/y/file", "new", 3, NULL), SP_OK));

    struct stat st;
    cr_expect(eq(int, fstatat(run, "main.py", &st, AT_SYMLINK_NOFOLLOW), 0));
    cr_expect(eq(int, (int)(st.st_mode & S_IFMT), S_IFREG));
    cr_expect(eq(int, fstatat(base_fd, "outside/main.py", &st, 0), 0));
    cr_expect(eq(int, (int)st.st_size, 4));
    cr_expect(not(exists("outside/file")));
    cr_expect(exists("run/x/y/file"));
    close(run);
}
