#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "providers/ssh/known_hosts.h"
#include "tests/support.h"

/* Two keys of one type and one of another, as a server would show them. */
#define TYPE_A "\0\0\0\013ssh-ed25519"
static const char blob_a1[] = TYPE_A "\0\0\0\002a1";
static const char blob_a2[] = TYPE_A "\0\0\0\002a2";
static const char blob_b[] = "\0\0\0\007ssh-rsa\0\0\0\002b1";

enum key { A1, A2, B };

static struct sp_bytes blob(enum key key)
{
    static const struct sp_bytes blobs[] = {
        {blob_a1, sizeof blob_a1 - 1}, {blob_a2, sizeof blob_a2 - 1}, {blob_b, sizeof blob_b - 1}};

    return blobs[key];
}

/* A line of a known_hosts file. */
static void add_line(struct sp_buf *file, const char *front, enum key key)
{
    struct sp_bytes bytes = blob(key);

    sp_buf_addf(file, "%s %s ", front, key == B ? "ssh-rsa" : "ssh-ed25519");
    cr_assert(eq(int, sp_base64_encode(bytes.data, bytes.len, file), SP_OK));
    sp_buf_addc(file, '\n');
}

static const struct {
    const char *front; /* of a line with key A1 */
    const char *host;
    int64_t port;
    enum key shown;
    enum sp_known expected;
} cases[] = {
    {"host", "host", 22, A1, SP_KNOWN_YES},
    {"host", "host", 22, A2, SP_KNOWN_CHANGED},
    {"host", "host", 22, B, SP_KNOWN_OTHER_TYPE},
    {"host", "other", 22, A1, SP_KNOWN_NOT},
    {"HOST", "Host", 22, A1, SP_KNOWN_YES},
    {"one,host,two", "host", 22, A1, SP_KNOWN_YES},
    {"host", "host", 2222, A1, SP_KNOWN_NOT},
    {"[host]:2222", "host", 2222, A1, SP_KNOWN_YES},
    {"[host]:2222", "host", 2223, A1, SP_KNOWN_NOT},
    {"[host]:22", "host", 22, A1, SP_KNOWN_NOT},
    {"*.lan", "host.lan", 22, A1, SP_KNOWN_YES},
    {"*.lan", "host.lan.evil", 22, A1, SP_KNOWN_NOT},
    {"h?st", "host", 22, A1, SP_KNOWN_YES},
    {"h?st", "hst", 22, A1, SP_KNOWN_NOT},
    {"*a*b*", "xxaxxbxx", 22, A1, SP_KNOWN_YES},
    {"*a*b", "xxaxxbxx", 22, A1, SP_KNOWN_NOT},
    {"*.lan,!host.lan", "host.lan", 22, A1, SP_KNOWN_NOT},
    {"!host.lan", "other.lan", 22, A1, SP_KNOWN_NOT},
    {"@revoked host", "host", 22, A1, SP_KNOWN_REVOKED},
    {"@revoked host", "host", 22, A2, SP_KNOWN_NOT},
    {"@cert-authority host", "host", 22, A1, SP_KNOWN_NOT},
    {"# host", "host", 22, A1, SP_KNOWN_NOT},
    {"::1", "::1", 22, A1, SP_KNOWN_YES},
    {"[::1]:2222", "::1", 2222, A1, SP_KNOWN_YES},
    /* printf host | openssl dgst -sha1 -mac HMAC -macopt key:salt, in base64 */
    {"|1|c2FsdA==|HTaAJnQ397DFDw7nGYI3YRODWDA=", "host", 22, A1, SP_KNOWN_YES},
    {"|1|c2FsdA==|HTaAJnQ397DFDw7nGYI3YRODWDA=", "tsoh", 22, A1, SP_KNOWN_NOT},
};

SP_TABLE_TEST(ssh_known_hosts, a_line_speaks_for_the_hosts_it_names, cases, row)
{
    sp_auto(sp_known_hosts_clear) struct sp_known_hosts known = {0};
    sp_auto(sp_buf_clear) struct sp_buf file = SP_BUF_INIT(4096);

    add_line(&file, row->front, A1);
    cr_assert(
        eq(int, sp_known_hosts_add(&known, file.data, file.len, row->host, row->port), SP_OK));

    cr_expect(eq(int, sp_known_hosts_look(&known, blob(row->shown)), row->expected), "'%s' for %s",
              row->front, row->host);
}

Test(ssh_known_hosts, a_revoked_key_is_refused_even_where_another_line_knows_it)
{
    sp_auto(sp_known_hosts_clear) struct sp_known_hosts known = {0};
    sp_auto(sp_buf_clear) struct sp_buf file = SP_BUF_INIT(4096);

    add_line(&file, "host", A1);
    add_line(&file, "host", A2);
    add_line(&file, "@revoked *", A1);
    cr_assert(eq(int, sp_known_hosts_add(&known, file.data, file.len, "host", 22), SP_OK));

    cr_expect(eq(int, sp_known_hosts_look(&known, blob(A1)), SP_KNOWN_REVOKED));
    cr_expect(eq(int, sp_known_hosts_look(&known, blob(A2)), SP_KNOWN_YES));
}

static const char *const nonsense[] = {
    "",
    "\n\n\r\n",
    "host",
    "host ssh-ed25519",
    "host ssh-ed25519 not*base64",
    "host ssh-ed25519 AAAA",
    "host ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAAmEx", /* says another type than the key */
    "|1|c2FsdA== ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAmEx",
    "|1||HTaAJnQ397DFDw7nGYI3YRODWDA= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAmEx",
};

SP_TABLE_TEST(ssh_known_hosts, a_line_that_makes_no_sense_says_nothing, nonsense, text)
{
    sp_auto(sp_known_hosts_clear) struct sp_known_hosts known = {0};

    cr_assert(eq(int, sp_known_hosts_add(&known, *text, strlen(*text), "host", 22), SP_OK));

    cr_expect(eq(sz, known.n, 0));
}
