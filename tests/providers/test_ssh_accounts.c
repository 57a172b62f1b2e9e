/* What needs a server of another kind: types of host keys, passwords. The latter need root, as
 * tests/support/ssh_server.h says. */
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/providers/ssh_stage.h"

TestSuite(ssh_accounts, .fini = close_all);

static void set_up(const char *host_keys, const char *config)
{
    const struct sp_ssh_server_options how = {.host_keys = host_keys, .config = config};

    cr_assert(eq(int, libssh2_init(0), 0));
    cr_assert(sp_ssh_server_start(&server, &how));
    options = (struct sp_ssh_options){
        .host = "127.0.0.1",
        .port = server.port,
        .username = SP_SSH_ACCOUNT,
        .password = SP_SSH_PASSWORD,
        .known_hosts = server.known_hosts,
        .max_sessions = 10,
    };
}

static enum sp_code try_login(struct sp_error *err)
{
    const struct sp_ssh_wait wait = within(30000);
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = NULL;

    open_pool();
    return sp_ssh_take(pool, &wait, &link, err);
}

Test(ssh_accounts, a_password_is_let_in)
{
    struct sp_error err = {0};

    set_up(NULL, "PasswordAuthentication yes");

    cr_expect(eq(int, try_login(&err), SP_OK), "%s", err.msg);
    cr_expect(eq(int, sp_ssh_server_logins(&server, "password"), 1));
}

Test(ssh_accounts, a_password_answers_a_question_where_the_server_asks_one)
{
    struct sp_error err = {0};

    set_up(NULL, "UsePAM yes\nKbdInteractiveAuthentication yes");

    cr_expect(eq(int, try_login(&err), SP_OK), "%s", err.msg);
    cr_expect(eq(int, sp_ssh_server_logins(&server, "keyboard-interactive/pam"), 1));
}

Test(ssh_accounts, a_wrong_password_is_refused_and_not_told)
{
    struct sp_error err = {0};

    set_up(NULL, "PasswordAuthentication yes");
    options.password = "open, sesame 5";

    cr_expect(eq(int, try_login(&err), SP_E_DENIED));
    cr_expect(strstr(err.msg, "the server refused the password") != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "sesame") == NULL);
}

/* In place of the C library's: a server that has answered before anybody looks for its answer. */
static bool answers_at_once;

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    ssize_t n = syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    if (answers_at_once)
        poll(&pfd, 1, 300); /* not every packet is answered */
    return n;
}

static bool at_once[] = {false, true};

SP_TABLE_TEST(ssh_accounts, a_refused_key_is_followed_by_the_password, at_once, row)
{
    struct sp_error err = {0};

    set_up(NULL, "PasswordAuthentication yes");
    cr_assert(sp_ssh_server_make_strange_key(&server, "ed25519", "RFC4716", "", key_path));
    options.private_key = key_path;
    answers_at_once = *row;

    cr_expect(eq(int, try_login(&err), SP_OK), "%s", err.msg);
}

Test(ssh_accounts, key_and_password_are_given_where_the_server_wants_both)
{
    struct sp_error err = {0};

    set_up(NULL, "PasswordAuthentication yes\nAuthenticationMethods publickey,password");
    cr_assert(sp_ssh_server_make_key(&server, "ed25519", "RFC4716", "", key_path));
    options.private_key = key_path;

    cr_expect(eq(int, try_login(&err), SP_OK), "%s", err.msg);
}

static const struct {
    const char *server_has, *pinned;
} pins[] = {
    {"ed25519 ecdsa", "ecdsa"},
    {"ecdsa ed25519", "ed25519"},
    {"ecdsa", "ecdsa"},
};

SP_TABLE_TEST(ssh_accounts, a_pinned_key_is_found_among_the_servers_others, pins, row)
{
    struct sp_error err = {0};
    char print[64];

    set_up(row->server_has, "PasswordAuthentication yes");
    cr_assert(sp_ssh_server_fingerprint(&server, row->pinned, print));
    options.host_key_fingerprint = print;

    cr_expect(eq(int, try_login(&err), SP_OK), "%s", err.msg);
}

Test(ssh_accounts, the_known_one_of_several_host_keys_is_asked_for)
{
    char path[128], command[512];
    struct sp_error err = {0};

    set_up("ed25519 ecdsa", "PasswordAuthentication yes");
    snprintf(path, sizeof path, "%s/ecdsa_hosts", server.dir);
    snprintf(command, sizeof command, "grep ecdsa %s >%s", server.known_hosts, path);
    cr_assert(eq(int, system(command), 0));
    options.known_hosts = path;

    cr_expect(eq(int, try_login(&err), SP_OK), "%s", err.msg);
}

Test(ssh_accounts, a_hashed_name_in_known_hosts_is_known)
{
    struct sp_error err = {0};
    char command[512];

    set_up(NULL, "PasswordAuthentication yes");
    snprintf(command, sizeof command, "ssh-keygen -q -H -f %s 2>/dev/null >&2", server.known_hosts);
    cr_assert(eq(int, system(command), 0));

    cr_expect(eq(int, try_login(&err), SP_OK), "%s", err.msg);
}
