/*
 * One SSH connection and how several threads share it. libssh2 wants one thread at a time in a
 * session, so every step (a call that does not block) is made under one lock, which is released
 * while a thread waits.
 *
 * Four things make that sound. What libssh2 sends goes through a buffer of ours that takes every
 * packet whole, so no packet is half sent when another thread comes. Of the waiting threads one,
 * the driver, polls the socket; whoever receives bytes takes the steps of the others, too, because
 * the bytes may hold their packets, and wakes those whose step is done. A step that says EAGAIN has
 * taken in all that had arrived, so none sleeps on bytes that are there. Requests whose state
 * libssh2 keeps once a session (opening a channel, starting a command, SFTP) pass a gate, one at a
 * time; one that is given up in its middle is finished by the next to pass (exec.c), or its SFTP
 * subsystem is discarded (sftp.c).
 */
#pragma once

#include <libssh2.h>
#include <libssh2_sftp.h>
#include <pthread.h>
#include <stdatomic.h>

#include "providers/ssh/link.h"

struct sp_ssh_conn;
/* One call of libssh2 that does not block: its error code, LIBSSH2_ERROR_EAGAIN for "not yet". */
typedef int (*sp_ssh_step_fn)(struct sp_ssh_conn *conn, void *ctx);

/* A thread at a connection. */
struct sp_ssh_user {
    int wake_fd; /* eventfd */
    bool entered;
    sp_ssh_step_fn step; /* while it waits: what for; whoever gets it done says so */
    void *ctx;
    int result;
    bool done;
    struct sp_ssh_user *next;
};

struct sp_ssh_gate {
    bool busy;
    struct sp_ssh_user *queue; /* first come, first served */
};

/* What is closed as soon as the server agrees: a channel, or a subsystem with its open file. */
struct sp_ssh_leftover {
    LIBSSH2_CHANNEL *channel;
    LIBSSH2_SFTP_HANDLE *handle;
    LIBSSH2_SFTP *sftp;
    struct sp_ssh_leftover *next;
};

/* Something that libssh2 can have in hand only once a session; ctx of its step. */
struct sp_ssh_request {
    sp_ssh_step_fn step;      /* NULL: no request */
    bool begun;               /* set by the step: something may have been sent */
    const char *command;      /* borrowed */
    LIBSSH2_CHANNEL *channel; /* what it works on, or what comes of it */
    LIBSSH2_SFTP *sftp;
};

struct sp_ssh_conn {
    const char *name; /* user@host:port, for messages */
    int fd;
    pthread_mutex_t lock; /* guards all below but the pool's, and the session */
    LIBSSH2_SESSION *session;
    struct sp_buf out; /* sent by libssh2, not yet taken by the socket: from out_at on */
    size_t out_at;
    uint64_t sent, received; /* bytes; tell whether a step gave or took any */
    int dry;                 /* reads of one step that found nothing */
    int64_t heard, asked;    /* ms: last bytes came; keep-alive without an answer, 0 for none */
    int64_t keepalive_ms;
    struct sp_ssh_user *waiting, *driver;
    struct sp_ssh_leftover *leftovers;
    bool driver_sends; /* the driver waits for room to send, too */
    bool shaken;       /* the handshake is over */
    bool closing;
    atomic_bool lost;                /* may be read without the lock */
    atomic_int n_asked, n_leftovers; /* these, too: times asked; sessions the server may hold */
    const char *password;            /* to answer questions with, while authenticating */
    char why[120];                   /* once lost */

    struct sp_ssh_gate requests;    /* channel open, exec, start of SFTP */
    struct sp_ssh_request given_up; /* behind that gate; its command is owned */
    char *given_up_command;
    int64_t given_up_until;   /* unanswered for so long: the connection is lost */
    struct sp_ssh_gate files; /* one SFTP operation at a time */
    LIBSSH2_SFTP *sftp;       /* behind that gate */

    /* The pool's, under its lock. */
    struct sp_ssh_conn *next;
    int links, max_links;
    bool retired; /* takes no more links */
    int64_t idle_since;
};

/* Takes the socket over, also on failure. name lives longer. After keepalive_ms without a byte the
 * server is asked for an answer, and has twice that time to give it. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_ssh_conn_new(int fd, const char *name, int64_t keepalive_ms,
                                           struct sp_ssh_conn **out, struct sp_error *err);
/* Says good-bye if it can without waiting. Nobody uses it any more. NULL is fine. */
void sp_ssh_conn_free(struct sp_ssh_conn *conn);
SP_AUTO(struct sp_ssh_conn *, sp_ssh_conn_free)

SP_MUST_CHECK enum sp_code sp_ssh_user_init(struct sp_ssh_user *user, struct sp_error *err);
void sp_ssh_user_clear(struct sp_ssh_user *user);

/*
 * Repeats a step until it is done: SP_OK, *result is what it returned last (0, or an error that the
 * connection survives). SP_E_UNAVAILABLE: the connection is lost; SP_E_TIMEOUT, SP_E_CANCELLED:
 * given up, perhaps in its middle. `what` names the step in messages.
 */
SP_MUST_CHECK enum sp_code sp_ssh_run(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                      const char *what, sp_ssh_step_fn step, void *ctx,
                                      const struct sp_ssh_wait *wait, int *result,
                                      struct sp_error *err);
/* Lets the caller in, alone, until it leaves. Codes as sp_ssh_run(). */
SP_MUST_CHECK enum sp_code sp_ssh_enter(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                        struct sp_ssh_gate *gate, const char *what,
                                        const struct sp_ssh_wait *wait, struct sp_error *err);
void sp_ssh_leave(struct sp_ssh_conn *conn, struct sp_ssh_gate *gate);

/*
 * Runs a request behind the gate `requests`, after the one that somebody gave up there. Given up
 * itself, its channel belongs to the connection and is NULL afterwards. Codes as sp_ssh_run().
 */
SP_MUST_CHECK enum sp_code sp_ssh_ask(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                      const char *what, struct sp_ssh_request *request,
                                      const struct sp_ssh_wait *wait, int *result,
                                      struct sp_error *err);

/* Starts the connection's SFTP. SP_E_INVALID: the server refuses it; else as sp_ssh_run(). The
 * caller is alone, or inside the gate `files`. */
SP_MUST_CHECK enum sp_code sp_ssh_start_sftp(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                             const struct sp_ssh_wait *wait, struct sp_error *err);
/* Lets the caller in to the gate `files` where conn->sftp is there, started anew if need be. Codes
 * as sp_ssh_run(). */
SP_MUST_CHECK enum sp_code sp_ssh_enter_sftp(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                             const char *what, const struct sp_ssh_wait *wait,
                                             struct sp_error *err);

/* Hands over what is to be closed, by value. Does not block. Thread: any, without the lock. */
void sp_ssh_discard(struct sp_ssh_conn *conn, struct sp_ssh_leftover leftover);
/* Declares it lost; its users see that. Thread: any, without the lock. */
void sp_ssh_give_up(struct sp_ssh_conn *conn, const char *reason);
/* Sends what waits; whether the socket does not take all of it. Thread: any, without the lock. */
bool sp_ssh_is_stuck(struct sp_ssh_conn *conn);

/* "name: what: no answer in time" and the like, for SP_E_TIMEOUT and SP_E_CANCELLED. */
enum sp_code sp_ssh_gave_up(const char *name, const char *what, enum sp_code code,
                            struct sp_error *err);
/* SP_E_UNAVAILABLE, with the reason. The connection is lost. */
enum sp_code sp_ssh_say_lost(const struct sp_ssh_conn *conn, const char *what,
                             struct sp_error *err);
/* SP_OK, or the limit of the caller's that has been reached. */
enum sp_code sp_ssh_may_wait(const struct sp_ssh_wait *wait);
/* Polls fd for events until then, with the caller's limits: SP_OK or the one that was reached. */
enum sp_code sp_ssh_poll(int fd, short events, const struct sp_ssh_wait *wait);
