/*
 * A private sshd for a test, on a free loopback port and in a folder of its own, with host and user
 * keys made for it. It dies with the process that started it. Call from the main thread.
 *
 * It runs as the user of the test and lets that user in. As root it runs in a mount namespace of
 * its own (CAP_SYS_ADMIN), in which /etc/passwd, /etc/shadow and /etc/pam.d/sshd are copies: root
 * has an empty home and /bin/sh, and there is one account more, SP_SSH_ACCOUNT, that has a
 * password. Nothing on the machine changes. Without root there is no such account, so passwords
 * cannot be tested.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define SP_SSH_ACCOUNT "sandpiper-test"
#define SP_SSH_PASSWORD "open, sesame 4"

struct sp_ssh_server {
    char dir[64];
    char user[40];        /* whom the keys let in */
    char known_hosts[96]; /* a file with its host keys */
    int port;
    uid_t account_id; /* of SP_SSH_ACCOUNT: this server's alone */
    pid_t pid;        /* 0: not running */
};

struct sp_ssh_server_options {
    const char *host_keys; /* types, "ed25519 rsa ecdsa"; NULL: ed25519 */
    const char *config;    /* lines of sshd_config, before ours: the first one of a kind holds */
};

/*
 * Makes the keys and starts it; options may be NULL. False where it does not listen within 10 s;
 * its log is shown then. A killed server that is started again has the same port and keys.
 */
bool sp_ssh_server_start(struct sp_ssh_server *server, const struct sp_ssh_server_options *options);
/* Kills it and everything it has started, connections and their programs too (SIGKILL). */
void sp_ssh_server_kill(struct sp_ssh_server *server);
/* Kills it and removes its folder. */
void sp_ssh_server_stop(struct sp_ssh_server *server);

/* TCP connections accepted so far, also before a restart. */
int sp_ssh_server_connections(const struct sp_ssh_server *server);
/* Logins by this method so far: "publickey", "password", "keyboard-interactive/pam". */
int sp_ssh_server_logins(const struct sp_ssh_server *server, const char *method);

/*
 * A new key of the user's, let in by the server (authorized_keys). Arguments of ssh-keygen: type
 * "ed25519", "ecdsa", "rsa"; format "RFC4716" (OpenSSH's own), "PEM", "PKCS8"; passphrase "" for
 * none. path (128 bytes) gets the private key's. False on failure.
 */
bool sp_ssh_server_make_key(const struct sp_ssh_server *server, const char *type,
                            const char *format, const char *passphrase, char *path);
/* The same, and the server does not let it in. */
bool sp_ssh_server_make_strange_key(const struct sp_ssh_server *server, const char *type,
                                    const char *format, const char *passphrase, char *path);
/* The text of a small file, malloc'ed; NULL where it cannot be read. */
char *sp_ssh_server_read(const char *path);
/* "SHA256:..." of the host key of this type. False on failure. out holds 64. */
bool sp_ssh_server_fingerprint(const struct sp_ssh_server *server, const char *type, char *out);
