#include "providers/ssh/auth.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/ssh/rsa_sha2.h"

enum { BLOB_BYTES = 64 << 10 };

struct attempt {
    struct sp_ssh_conn *conn;
    struct sp_ssh_user *user;
    const struct sp_ssh_options *options;
    const struct sp_ssh_key *key;
    const struct sp_ssh_wait *wait;
    struct sp_error *err;
    struct sp_buf blob;  /* the public key of an RSA key that we sign with */
    const char *methods; /* that the server offers; of the session */
    uint64_t sent_before;
    bool done;
};

static unsigned length(const char *text)
{
    return (unsigned)strlen(text);
}

static int step_list(struct sp_ssh_conn *conn, void *ctx)
{
    struct attempt *a = ctx;

    a->methods =
        libssh2_userauth_list(conn->session, a->options->username, length(a->options->username));
    if (a->methods)
        return 0;
    a->done = libssh2_userauth_authenticated(conn->session);
    return a->done ? 0 : libssh2_session_last_errno(conn->session);
}

/* Before anything was sent, a failure is about the key itself. */
static int step_key(struct sp_ssh_conn *conn, void *ctx)
{
    struct attempt *a = ctx;
    int result = libssh2_userauth_publickey_frommemory(
        conn->session, a->options->username, strlen(a->options->username), NULL, 0, a->key->text,
        a->key->len, a->options->passphrase ?: "");
    bool nothing_sent = conn->sent == a->sent_before;

    return nothing_sent && result && result != LIBSSH2_ERROR_EAGAIN ? LIBSSH2_ERROR_FILE : result;
}

static int step_rsa(struct sp_ssh_conn *conn, void *ctx)
{
    struct attempt *a = ctx;
    void *rsa = a->key->rsa;

    return libssh2_userauth_publickey(conn->session, a->options->username,
                                      (const unsigned char *)a->blob.data, a->blob.len,
                                      sp_rsa_sha2_sign, &rsa);
}

static int step_password(struct sp_ssh_conn *conn, void *ctx)
{
    const struct sp_ssh_options *o = ((struct attempt *)ctx)->options;

    return libssh2_userauth_password_ex(conn->session, o->username, length(o->username),
                                        o->password, length(o->password), NULL);
}

/* The password is the answer to every question whose answer is not shown. */
static void answer(const char *name, int name_len, const char *instruction, int instruction_len,
                   int n, const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts,
                   LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses, void **abstract)
{
    const struct sp_ssh_conn *conn = *abstract;

    (void)name;
    (void)name_len;
    (void)instruction;
    (void)instruction_len;
    for (int i = 0; i < n; i++) {
        responses[i].text = sp_strdup(prompts[i].echo ? "" : conn->password); /* libssh2 frees it */
        responses[i].length = responses[i].text ? length(responses[i].text) : 0;
    }
}

static int step_questions(struct sp_ssh_conn *conn, void *ctx)
{
    const struct sp_ssh_options *o = ((struct attempt *)ctx)->options;

    conn->password = o->password;
    int result = libssh2_userauth_keyboard_interactive_ex(conn->session, o->username,
                                                          length(o->username), answer);
    conn->password = NULL;
    return result;
}

/* *a->done: the server is content. */
static enum sp_code try_step(struct attempt *a, sp_ssh_step_fn step)
{
    int result;
    enum sp_code rc =
        sp_ssh_run(a->conn, a->user, "authentication", step, a, a->wait, &result, a->err);

    if (rc)
        return rc;
    if (result == LIBSSH2_ERROR_FILE) {
        return sp_error_set(a->err, SP_E_INVALID,
                            "%s: private_key: its passphrase is wrong, or it is damaged or of a "
                            "kind that libssh2 %s does not know",
                            a->conn->name, libssh2_version(0));
    }
    if (result == LIBSSH2_ERROR_PASSWORD_EXPIRED) {
        return sp_error_set(a->err, SP_E_DENIED,
                            "%s: authentication: the account's password has expired; change it",
                            a->conn->name);
    }
    a->done = result == 0;
    return SP_OK;
}

static enum sp_code try_key(struct attempt *a)
{
    a->sent_before = a->conn->sent;
    if (!a->key->rsa)
        return try_step(a, step_key);
    a->blob = SP_BUF_INIT(BLOB_BYTES);
    if (sp_rsa_sha2_public(a->key->rsa, &a->blob))
        return sp_error_set(a->err, SP_E_NOMEM, "%s: out of memory", a->conn->name);
    return try_step(a, step_rsa);
}

static bool offers(const char *methods, const char *method)
{
    return strstr(methods, method) != NULL;
}

static enum sp_code try_all(struct attempt *a, bool key, bool password)
{
    sp_auto(sp_free_str) char *methods = NULL;
    enum sp_code rc = try_step(a, step_list);

    if (rc || (a->done && !a->methods))
        return rc;
    methods = sp_strdup(a->methods ?: ""); /* the session's own goes with the next attempt */
    if (!methods)
        return sp_error_set(a->err, SP_E_NOMEM, "out of memory");
    a->done = false;
    bool asked_for_key = key && offers(methods, "publickey");
    if (asked_for_key)
        rc = try_key(a);
    /* After a key a server may want a password that it did not offer before. */
    if (!rc && !a->done && password && (asked_for_key || offers(methods, "password")))
        rc = try_step(a, step_password);
    if (!rc && !a->done && password && offers(methods, "keyboard-interactive"))
        rc = try_step(a, step_questions);
    return rc;
}

enum sp_code sp_ssh_authenticate(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                 const struct sp_ssh_options *options, const struct sp_ssh_key *key,
                                 const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct attempt a = {
        .conn = conn, .user = user, .options = options, .key = key, .wait = wait, .err = err};
    bool has_key = key->text, has_password = options->password && *options->password;
    static const char *const tried[] = {"nothing", "the private_key", "the password",
                                        "the private_key and the password"};

    enum sp_code rc = try_all(&a, has_key, has_password);
    sp_buf_clear(&a.blob);
    if (rc || a.done)
        return rc;
    return sp_error_set(err, SP_E_DENIED,
                        "%s: authentication: the server refused %s; check username and "
                        "credentials, and on the machine authorized_keys and sshd's log",
                        conn->name, tried[has_key + 2 * has_password]);
}
