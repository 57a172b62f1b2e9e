#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"
#include "tests/support.h"
#include "tests/support/until.h"

static char root[] = "/tmp/sandpiper-files-XXXXXX";
static int dir = -1;

static void make_root(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    cr_assert(eq(int, chdir(root), 0));
    cr_assert(eq(int, mkdir("in", 0700), 0));
    dir = open("in", O_RDONLY | O_DIRECTORY);
}

static void remove_root(void)
{
    close(dir);
    sp_remove_tree(root);
}

TestSuite(files, .init = make_root, .fini = remove_root);

static bool holds(const char *path, const char *text)
{
    struct sp_buf buf = SP_BUF_INIT(1000);
    bool same = !sp_file_read(path, &buf, NULL) && strcmp(sp_buf_str(&buf), text) == 0;
    sp_buf_clear(&buf);
    return same;
}

Test(files, a_name_with_folders_is_written_below_the_folder)
{
    struct sp_error err = {0};

    cr_expect(eq(int, sp_file_write_below(dir, "plots/a/one.csv", "x,y", 3, &err), SP_OK), "%s",
              err.msg);

    cr_expect(holds("in/plots/a/one.csv", "x,y"));
}

Test(files, a_file_of_that_name_is_replaced)
{
    cr_assert(eq(int, sp_file_write_below(dir, "one.csv", "longer", 6, NULL), SP_OK));

    cr_assert(eq(int, sp_file_write_below(dir, "one.csv", "new", 3, NULL), SP_OK));

    cr_expect(holds("in/one.csv", "new"));
}

static const struct {
    const char *name;
} bad_names[] = {
    {""},     {"/etc/x"}, {".."}, {"../x"}, {"a/../../x"}, {"a/./x"},
    {"a//x"}, {"a/"},     {"."},  {"a\nb"}, {"\x1b[2J"},   {"\xff"},
};

SP_TABLE_TEST(files, a_name_that_leads_out_is_refused, bad_names, row)
{
    struct sp_error err = {0};

    cr_expect(eq(int, sp_file_write_below(dir, row->name, "x", 1, &err), SP_E_INVALID));

    cr_expect(eq(str, err.msg, "a file name that leaves the folder is refused"));
}

Test(files, no_link_is_followed_on_the_way)
{
    cr_assert(eq(int, mkdir("out", 0700), 0));
    cr_assert(eq(int, symlink("../out", "in/link"), 0));

    cr_expect(eq(int, sp_file_write_below(dir, "link/x", "x", 1, NULL), SP_E_INVALID));

    cr_expect(ne(int, access("out/x", F_OK), 0));
}

Test(files, a_link_in_the_place_of_the_file_is_replaced_and_not_followed)
{
    cr_assert(eq(int, sp_file_replace("target", "kept", 4, NULL), SP_OK));
    cr_assert(eq(int, symlink("../target", "in/x"), 0));

    cr_expect(eq(int, sp_file_write_below(dir, "x", "new", 3, NULL), SP_OK));

    cr_expect(holds("target", "kept"));
    cr_expect(holds("in/x", "new"));
}

Test(files, a_folder_is_made_with_its_parents)
{
    int fd = -1;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_directory_open("p/q/r", &fd, &err), SP_OK), "%s", err.msg);

    cr_expect(eq(int, access("p/q/r", W_OK), 0));
    close(fd);
}

Test(files, reading_says_what_is_missing_or_too_large)
{
    struct sp_buf buf = SP_BUF_INIT(3);
    struct sp_error err = {0};

    cr_expect(eq(int, sp_file_read("nothing.py", &buf, &err), SP_E_INVALID));
    cr_expect(eq(str, err.msg, "nothing.py: No such file or directory"));

    cr_assert(eq(int, sp_file_replace("four", "1234", 4, NULL), SP_OK));
    cr_expect(eq(int, sp_file_read("four", &buf, &err), SP_E_LIMIT));
    cr_expect(eq(str, err.msg, "four: more than 3 bytes"));
    sp_buf_clear(&buf);
}
