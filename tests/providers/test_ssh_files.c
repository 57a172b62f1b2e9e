#include "tests/providers/ssh_stage.h"

#include <sys/stat.h>
#include <unistd.h>

static struct sp_ssh_link *link_;
static char folder[128];

static void set_up(void)
{
    start_server(NULL);
    open_pool();
    link_ = take();
    snprintf(folder, sizeof folder, "%s/files", server.dir);
    cr_assert(eq(int, mkdir(folder, 0700), 0));
}

static void tear_down(void)
{
    sp_ssh_give(link_);
    close_all();
}

TestSuite(ssh_files, .init = set_up, .fini = tear_down);

static const char *in_folder(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static char *much(size_t len)
{
    char *data = malloc(len + 1);

    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 2654435761U >> 24);
    return data;
}

static const size_t sizes[] = {0, 1, 32768, 5 << 20, (5 << 20) + 123};

SP_TABLE_TEST(ssh_files, a_file_comes_back_as_it_was_put, sizes, size)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(8 << 20);
    sp_auto(sp_free_str) char *data = much(*size);
    const struct sp_ssh_wait wait = within(60000);
    struct sp_error err = {0};
    struct stat st;

    enum sp_code put = sp_ssh_put(link_, in_folder("a"), data, *size, 0640, &wait, &err);
    enum sp_code got = sp_ssh_get(link_, in_folder("a"), &out, &wait, &err);

    cr_expect(eq(int, put, SP_OK), "%s", err.msg);
    cr_expect(eq(int, got, SP_OK), "%s", err.msg);
    cr_expect(eq(sz, out.len, *size));
    cr_expect(out.len == *size && memcmp(sp_buf_str(&out), data, *size) == 0);
    cr_assert(eq(int, stat(in_folder("a"), &st), 0));
    cr_expect(eq(int, (int)(st.st_mode & 07777), 0640));
}

Test(ssh_files, a_file_is_replaced)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(100);
    const struct sp_ssh_wait wait = within(30000);

    cr_assert(eq(int, sp_ssh_put(link_, in_folder("a"), "a long text", 11, 0600, &wait, NULL), 0));
    cr_assert(eq(int, sp_ssh_put(link_, in_folder("a"), "short", 5, 0600, &wait, NULL), 0));
    cr_assert(eq(int, sp_ssh_get(link_, in_folder("a"), &out, &wait, NULL), 0));

    cr_expect(eq(str, (char *)sp_buf_str(&out), "short"));
}

Test(ssh_files, a_file_above_the_ceiling_is_not_read_further)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(1 << 20);
    sp_auto(sp_free_str) char *data = much((1 << 20) + 1);
    const struct sp_ssh_wait wait = within(30000);

    cr_assert(
        eq(int, sp_ssh_put(link_, in_folder("a"), data, (1 << 20) + 1, 0600, &wait, NULL), 0));

    cr_expect(eq(int, sp_ssh_get(link_, in_folder("a"), &out, &wait, NULL), SP_E_LIMIT));
    cr_expect(not(sp_ssh_no_such_file(link_)));

    sp_buf_reset(&out);
    cr_expect(eq(int, sp_ssh_get(link_, "/dev/zero", &out, &wait, NULL), SP_E_LIMIT));
}

Test(ssh_files, a_file_that_is_not_there_is_told_from_other_failures)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(100);
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_attributes attributes;
    struct sp_error err = {0};

    cr_expect(eq(int, sp_ssh_get(link_, in_folder("b"), &out, &wait, &err), SP_E_INVALID));
    cr_expect(sp_ssh_no_such_file(link_));
    cr_expect(strstr(err.msg, "SFTP: reading a file: no such file") != NULL, "%s", err.msg);
    cr_expect(eq(int, sp_ssh_lstat(link_, in_folder("b"), &wait, &attributes, NULL), SP_E_INVALID));
    cr_expect(sp_ssh_no_such_file(link_));
    cr_expect(
        eq(int, sp_ssh_put(link_, in_folder("no/b"), "", 0, 0600, &wait, NULL), SP_E_INVALID));
    cr_expect(sp_ssh_no_such_file(link_));
    cr_expect(eq(int, sp_ssh_mkdir(link_, folder, 0700, &wait, NULL), SP_E_INVALID));
    cr_expect(not(sp_ssh_no_such_file(link_)));
    cr_expect(eq(int, sp_ssh_put(link_, folder, "", 0, 0600, &wait, NULL), SP_E_INVALID));
    cr_expect(not(sp_ssh_no_such_file(link_)));
}

Test(ssh_files, folders_are_made_listed_and_removed)
{
    sp_auto(sp_ssh_listing_clear) struct sp_ssh_listing listing = {0};
    const struct sp_ssh_wait wait = within(30000);
    static const char *const names[] = {"sub", "file", "link"};
    int seen = 0;

    cr_assert(eq(int, sp_ssh_mkdir(link_, in_folder("sub"), 0700, &wait, NULL), SP_OK));
    cr_assert(eq(int, sp_ssh_put(link_, in_folder("file"), "12345", 5, 0600, &wait, NULL), SP_OK));
    cr_assert(eq(int, symlink("/etc/passwd", in_folder("link")), 0));
    cr_assert(eq(int, sp_ssh_list(link_, folder, 10, &wait, &listing, NULL), SP_OK));

    cr_expect(eq(sz, listing.n, 3));
    cr_expect(not(listing.more));
    for (size_t i = 0; i < listing.n; i++) {
        const struct sp_ssh_entry *e = &listing.entries[i];

        for (int k = 0; k < 3; k++)
            seen |= strcmp(e->name, names[k]) == 0 ? 1 << k : 0;
        if (!strcmp(e->name, "file"))
            cr_expect(e->attributes.type == SP_SSH_FILE && e->attributes.size == 5);
        if (!strcmp(e->name, "sub"))
            cr_expect(eq(int, e->attributes.type, SP_SSH_FOLDER));
        if (!strcmp(e->name, "link"))
            cr_expect(eq(int, e->attributes.type, SP_SSH_SYMLINK));
    }
    cr_expect(eq(int, seen, 7));
    cr_expect(eq(int, sp_ssh_remove(link_, in_folder("file"), &wait, NULL), SP_OK));
    cr_expect(eq(int, sp_ssh_remove(link_, in_folder("link"), &wait, NULL), SP_OK));
    cr_expect(eq(int, sp_ssh_rmdir(link_, in_folder("sub"), &wait, NULL), SP_OK));
    cr_expect(eq(int, rmdir(folder), 0), "something is left");
    cr_expect(eq(int, access("/etc/passwd", F_OK), 0));
}

Test(ssh_files, a_long_listing_ends_at_its_bound)
{
    sp_auto(sp_ssh_listing_clear) struct sp_ssh_listing listing = {0};
    const struct sp_ssh_wait wait = within(30000);
    char name[16];

    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "f%d", i);
        cr_assert(eq(int, mkdir(in_folder(name), 0700), 0));
    }
    cr_assert(eq(int, sp_ssh_list(link_, folder, 250, &wait, &listing, NULL), SP_OK));

    cr_expect(eq(sz, listing.n, 250));
    cr_expect(listing.more);
}

Test(ssh_files, an_operation_that_is_given_up_leaves_sftp_usable)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(64 << 20);
    const struct sp_ssh_wait wait = within(30000), soon = within(100);

    cr_expect(eq(int, sp_ssh_get(link_, "/dev/zero", &out, &soon, NULL), SP_E_TIMEOUT));
    cr_expect(eq(int, sp_ssh_put(link_, in_folder("a"), "abc", 3, 0600, &wait, NULL), SP_OK));
    sp_buf_reset(&out);
    cr_expect(eq(int, sp_ssh_get(link_, in_folder("a"), &out, &wait, NULL), SP_OK));
    cr_expect(eq(str, (char *)sp_buf_str(&out), "abc"));
    cr_expect(eq(int, sp_ssh_server_connections(&server), 1));
}

Test(ssh_files, a_command_runs_beside_files)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(100), errors = SP_BUF_INIT(100);
    const struct sp_ssh_wait wait = within(30000);
    char command[256];

    snprintf(command, sizeof command, "cat %s/a", folder);
    cr_assert(eq(int, sp_ssh_put(link_, in_folder("a"), "beside", 6, 0600, &wait, NULL), SP_OK));
    start(link_, command);
    read_all(link_, &out, &errors);

    cr_expect(eq(str, (char *)sp_buf_str(&out), "beside"));
}
