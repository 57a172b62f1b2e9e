/*
 * A helper program of a test: what it prints is read line by line, lines can be sent to it, and it
 * gets SIGTERM when the test's process ends, however that ends. Every function asserts: a failure
 * ends the test with a text. Call from the main thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sp_process {
    pid_t pid; /* 0: not running */
    int in;    /* its standard input */
    int out;   /* its standard output */
    char read[4096];
    size_t begin, end; /* of what was read and not yet given out */
};

/* argv: NULL-terminated; the program is found by PATH. Standard error is the test's. */
void sp_process_start(struct sp_process *p, const char *const *argv);
/* The next line, without its end; the caller frees. */
char *sp_process_line(struct sp_process *p, int64_t limit_ms);
void sp_process_say(struct sp_process *p, const char *line);
/* Sends a line and reads the next one, which is JSON; the caller's reference. */
json_t *sp_process_ask(struct sp_process *p, const char *line, int64_t limit_ms);
/* SIGTERM, after 30 s SIGKILL; waits for the end. Does nothing when it is not running. */
void sp_process_stop(struct sp_process *p);

/* Whether something accepts connections on this loopback port within the limit. */
bool sp_process_listens(int port, int64_t limit_ms);
