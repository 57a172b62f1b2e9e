#include "tests/providers/ssh_stage.h"

#include <sys/stat.h>
#include <unistd.h>

static void set_up(void)
{
    start_server(NULL);
}

/* libssh2 1.10 loses the number of an ECDSA key in OpenSSH's format at each login, which a leak
 * checker would hold against us. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
static void look_away(bool on)
{
    if (on)
        __lsan_disable();
    else
        __lsan_enable();
}
#else
static void look_away(bool on)
{
    (void)on;
}
#endif

TestSuite(ssh_login, .init = set_up, .fini = close_all);

/* Runs `true` on a new connection. */
static enum sp_code try_login(struct sp_error *err)
{
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_link *link = NULL;

    open_pool();
    enum sp_code rc = sp_ssh_take(pool, &wait, &link, err);
    if (!rc) {
        start(link, "true");
        cr_expect(eq(int, wait_exit(link).status, 0));
    }
    sp_ssh_give(link);
    return rc;
}

static const struct {
    const char *type, *format, *passphrase;
    bool as_text;
} keys[] = {
    {"ed25519", "RFC4716", "", false},
    {"ed25519", "RFC4716", "", true},
    {"ed25519", "RFC4716", "tea 4 two", true},
    {"ecdsa", "RFC4716", "", false},
    {"ecdsa", "RFC4716", "tea 4 two", false},
    {"ecdsa", "PEM", "", true},
    {"ecdsa", "PEM", "tea 4 two", false},
    {"ecdsa", "PKCS8", "", false},
    {"ecdsa", "PKCS8", "tea 4 two", false},
    {"rsa", "RFC4716", "", false},
    {"rsa", "RFC4716", "", true},
    {"rsa", "PEM", "", false},
    {"rsa", "PEM", "tea 4 two", true},
    {"rsa", "PKCS8", "", true},
    {"rsa", "PKCS8", "tea 4 two", false},
};

SP_TABLE_TEST(ssh_login, a_key_of_each_type_and_format_is_let_in, keys, row)
{
    sp_auto(sp_free_str) char *text = NULL;
    struct sp_error err = {0};
    char path[128];

    cr_assert(sp_ssh_server_make_key(&server, row->type, row->format, row->passphrase, path));
    text = sp_ssh_server_read(path);
    options.private_key = row->as_text ? text : path;
    options.passphrase = row->passphrase;

    bool loses = !strcmp(row->type, "ecdsa") && !strcmp(row->format, "RFC4716");
    if (loses)
        look_away(true);
    enum sp_code rc = try_login(&err);
    if (loses)
        look_away(false);

    cr_expect(eq(int, rc, SP_OK), "%s %s '%s': %s", row->type, row->format, row->passphrase,
              err.msg);
    cr_expect(eq(int, sp_ssh_server_logins(&server, "publickey"), 1));
}

Test(ssh_login, an_encrypted_rsa_key_in_openssh_format_says_what_to_do)
{
    struct sp_error err = {0};
    char path[128];

    cr_assert(sp_ssh_server_make_key(&server, "rsa", "RFC4716", "tea 4 two", path));
    options.private_key = path;
    options.passphrase = "tea 4 two";

    enum sp_code rc = try_login(&err);

#if LIBSSH2_VERSION_NUM < 0x010b00
    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(strstr(err.msg, "ssh-keygen -p -m PEM") != NULL, "%s", err.msg);
#else
    cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
#endif
}

static const struct {
    const char *type, *format, *passphrase;
} pasted[] = {
    {"ed25519", "RFC4716", "tea 4 two"}, {"rsa", "PEM", ""},
    {"rsa", "PEM", "tea 4 two"},         {"ecdsa", "PEM", "tea 4 two"},
    {"ecdsa", "PKCS8", "tea 4 two"},
};

SP_TABLE_TEST(ssh_login, a_key_pasted_with_line_ends_of_windows_or_without_a_last_one_is_read,
              pasted, row)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(65536);
    sp_auto(sp_free_str) char *given = NULL;
    struct sp_error err = {0};
    char path[128];

    cr_assert(sp_ssh_server_make_key(&server, row->type, row->format, row->passphrase, path));
    given = sp_ssh_server_read(path);
    given[strlen(given) - 1] = '\0';
    for (const char *p = given; *p; p++)
        sp_buf_addf(&text, "%s%c", *p == '\n' ? "\r" : "", *p);
    options.private_key = sp_buf_str(&text);
    options.passphrase = row->passphrase;

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_OK), "%s %s: %s", row->type, row->format, err.msg);
}

/* Pasted without its first line, or on one line, a key looks like the name of a file. */
Test(ssh_login, a_key_that_is_taken_for_a_path_is_not_told)
{
    static const char body[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";
    struct sp_error err = {0};

    options.private_key = body;
    cr_expect(eq(int, try_login(&err), SP_E_INVALID));
    cr_expect(strstr(err.msg, "private_key") != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "b3Blbn") == NULL, "%s", err.msg);

    options.private_key = "/no/such/key";
    cr_expect(eq(int, try_login(&err), SP_E_INVALID));
    cr_expect(strstr(err.msg, "/no/such/key: No such file") != NULL, "%s", err.msg);
}

static const struct {
    const char *format, *passphrase, *message;
} wrong_passphrases[] = {
    {"RFC4716", "", "private_key: it is encrypted; set its passphrase"},
    {"RFC4716", "wrong", "private_key: its passphrase is wrong"},
    {"PEM", "", "private_key: it is encrypted; set its passphrase"},
    {"PEM", "wrong", "private_key: the passphrase is wrong"},
    {"PKCS8", "wrong", "private_key: the passphrase is wrong"},
};

SP_TABLE_TEST(ssh_login, a_wrong_or_missing_passphrase_is_told, wrong_passphrases, row)
{
    struct sp_error err = {0};
    char path[128];

    cr_assert(sp_ssh_server_make_key(&server, "ecdsa", row->format, "right", path));
    options.private_key = path;
    options.passphrase = row->passphrase;

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_INVALID), "%s", err.msg);
    cr_expect(strstr(err.msg, row->message) != NULL, "%s", err.msg);
}

static const struct {
    const char *key, *message;
} unusable_keys[] = {
    {"/dev/null/key", "private_key: /dev/null/key: Not a directory"},
    {"/dev/zero", "private_key: /dev/zero: Invalid argument"},
    {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key"},
    {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "damaged"},
    {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "damaged"},
    {"ssh-ed25519 AAAAC3Nz\n", "not a private key"},
};

SP_TABLE_TEST(ssh_login, an_unusable_key_is_told_before_anything_is_sent, unusable_keys, row)
{
    struct sp_error err = {0};

    options.private_key = row->key;

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_INVALID), "%s", err.msg);
    cr_expect(strstr(err.msg, row->message) != NULL, "%s", err.msg);
    cr_expect(eq(int, sp_ssh_server_connections(&server), 0));
}

Test(ssh_login, a_key_that_the_server_does_not_know_is_refused)
{
    struct sp_error err = {0};
    char path[128];

    cr_assert(sp_ssh_server_make_strange_key(&server, "rsa", "PEM", "", path));
    options.private_key = path;

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_DENIED));
    cr_expect(strstr(err.msg, "the server refused the private_key") != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "authorized_keys") != NULL, "%s", err.msg);
}

Test(ssh_login, an_unknown_host_is_refused_with_its_fingerprint)
{
    struct sp_error err = {0};
    char print[64];

    options.known_hosts = NULL;
    cr_assert(sp_ssh_server_fingerprint(&server, "ed25519", print));

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_DENIED));
    cr_expect(strstr(err.msg, "unknown host") != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, print) != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "host_key_fingerprint") != NULL, "%s", err.msg);
}

/* The file with another key of the same type for this host. */
static const char *other_known_hosts(const char *type)
{
    static char path[160];
    sp_auto(sp_free_str) char *key = NULL;
    char public[140], other[128];
    FILE *file;

    cr_assert(sp_ssh_server_make_key(&server, type, "RFC4716", "", other));
    snprintf(public, sizeof public, "%s.pub", other);
    snprintf(path, sizeof path, "%s/other_hosts", server.dir);
    key = sp_ssh_server_read(public);
    file = fopen(path, "w");
    fprintf(file, "[127.0.0.1]:%d %s", server.port, key);
    fclose(file);
    return path;
}

Test(ssh_login, a_changed_host_key_is_refused_and_looks_different)
{
    struct sp_error err = {0};
    char print[64];

    options.known_hosts = other_known_hosts("ed25519");
    cr_assert(sp_ssh_server_fingerprint(&server, "ed25519", print));

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_DENIED));
    cr_expect(strstr(err.msg, "CHANGED") != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, print) != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "replace the old one in known_hosts") != NULL, "%s", err.msg);
}

Test(ssh_login, a_host_that_is_known_by_another_type_of_key_only_is_not_believed)
{
    struct sp_error err = {0};

    options.known_hosts = other_known_hosts("ecdsa");

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_DENIED));
    cr_expect(strstr(err.msg, "known by keys of other types only") != NULL, "%s", err.msg);
}

Test(ssh_login, a_known_hosts_file_that_cannot_be_read_closes_the_way)
{
    struct sp_error err = {0};

    options.known_hosts = "/dev/null/known_hosts";

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(strstr(err.msg, "known_hosts: /dev/null/known_hosts") != NULL, "%s", err.msg);
    cr_expect(eq(int, sp_ssh_server_connections(&server), 0));
}

Test(ssh_login, a_pinned_fingerprint_stands_for_known_hosts)
{
    struct sp_error err = {0};
    char print[64];

    cr_assert(sp_ssh_server_fingerprint(&server, "ed25519", print));
    options.host_key_fingerprint = print;
    options.known_hosts = "/dev/null/known_hosts";

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
}

Test(ssh_login, another_key_than_the_pinned_one_is_refused_even_if_it_is_known)
{
    struct sp_error err = {0};
    char print[64];

    cr_assert(sp_ssh_server_fingerprint(&server, "ed25519", print));
    options.host_key_fingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_DENIED));
    cr_expect(strstr(err.msg, "not the one of host_key_fingerprint") != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, print) != NULL, "%s", err.msg);
}

Test(ssh_login, a_refused_connection_is_unavailable_and_names_the_step)
{
    struct sp_error err = {0};
    char expected[128];

    sp_ssh_server_kill(&server);
    snprintf(expected, sizeof expected, "%s@127.0.0.1:%d: connect: Connection refused", server.user,
             server.port);

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(eq(str, err.msg, (char *)expected));
}

Test(ssh_login, a_host_name_without_an_address_is_unavailable)
{
    struct sp_error err = {0};

    options.host = "no-such-host.invalid";

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(strstr(err.msg, "host name:") != NULL, "%s", err.msg);
}

Test(ssh_login, a_host_is_found_by_its_name)
{
    struct sp_error err = {0};
    char print[64];

    cr_assert(sp_ssh_server_fingerprint(&server, "ed25519", print));
    options.host = "localhost";
    options.host_key_fingerprint = print;

    enum sp_code rc = try_login(&err);

    cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
}
