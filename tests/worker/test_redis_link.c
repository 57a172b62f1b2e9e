/* Many threads on one connection to Redis. */
#include "worker/redis_link.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/redis_server.h"

enum { THREADS = 16, ROUNDS = 200 };

static struct sp_redis_server server;
static struct sp_redis_link *link_;

static void start(void)
{
    struct sp_redis *redis = NULL;

    (void)signal(SIGPIPE, SIG_IGN); /* as in a worker */
    cr_assert(sp_redis_server_start(&server, NULL));
    const struct sp_config config = {.redis = {.url = server.url}};
    cr_assert(eq(int, sp_redis_new(&config, &redis, NULL), SP_OK));
    cr_assert(eq(int, sp_redis_link_new(redis, &link_, NULL), SP_OK));
}

static void stop(void)
{
    sp_redis_link_free(link_);
    sp_redis_server_stop(&server);
}

TestSuite(redis_link, .init = start, .fini = stop);

static enum sp_code ask(const char *command, const char *text, redisReply **out,
                        struct sp_error *err)
{
    const char *argv[] = {command, text};

    return sp_redis_link_argv(link_, SP_COUNT(argv), argv, NULL, out, err);
}

static void in_threads(void *(*run)(void *))
{
    static int numbers[THREADS];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        cr_assert(zero(int, pthread_create(&threads[i], NULL, run, &numbers[i])));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void *ask_often(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        sp_auto(freeReplyObject) redisReply *reply = NULL, *refused = NULL;
        struct sp_error err = {0};
        char text[32];
        snprintf(text, sizeof text, "%d-%d", *(int *)arg, i);
        cr_expect(eq(int, ask("ECHO", text, &reply, &err), SP_OK), "%s", err.msg);
        cr_expect(reply && strcmp(reply->str, text) == 0, "%s", text);
        cr_expect(eq(int, ask("NOSUCHCOMMAND", text, &refused, &err), SP_E_INVALID));
    }
    return arg;
}

Test(redis_link, each_thread_gets_the_answer_to_its_own_command)
{
    in_threads(ask_often);
}

static void *ask_in_vain(void *arg)
{
    redisReply *reply = NULL;
    struct sp_error err = {0};

    cr_expect(eq(int, ask("ECHO", "a", &reply, &err), SP_E_UNAVAILABLE));
    cr_expect(err.msg[0] != '\0');
    return arg;
}

Test(redis_link, all_are_told_that_redis_is_away)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(eq(int, ask("ECHO", "a", &reply, NULL), SP_OK));
    sp_redis_server_kill(&server);

    in_threads(ask_in_vain);
}
