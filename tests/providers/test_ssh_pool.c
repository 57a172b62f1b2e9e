#include "tests/providers/ssh_stage.h"

#include <pthread.h>
#include <unistd.h>

TestSuite(ssh_pool, .fini = close_all);

static void set_up(const char *config)
{
    start_server(config);
    open_pool();
}

enum { THREADS = 16, ROUNDS = 4 };

struct runner {
    pthread_t thread;
    int rounds, good;
    const char *command;
    struct sp_error err;
};

/* A file up, a command, a file down: what a job does. */
static enum sp_code one_job(struct sp_ssh_link *link, const char *command, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(1 << 20);
    const struct sp_ssh_wait wait = within(60000);
    enum sp_started started;
    struct sp_ssh_exit end = {0};
    char path[256];

    snprintf(path, sizeof path, "%s/job-%p", server.dir, (void *)link);
    enum sp_code rc = sp_ssh_put(link, path, "text", 4, 0600, &wait, err);
    if (!rc)
        rc = sp_ssh_exec(link, command, &wait, &started, err);
    if (!rc)
        rc = sp_ssh_wait_exit(link, &wait, &end, err);
    if (!rc)
        rc = sp_ssh_get(link, path, &out, &wait, err);
    if (!rc)
        rc = sp_ssh_remove(link, path, &wait, err);
    return rc ? rc : (enum sp_code)(end.status != 0 || out.len != 4);
}

static void *run_jobs(void *arg)
{
    struct runner *r = arg;
    const struct sp_ssh_wait wait = within(60000);

    for (int i = 0; i < r->rounds; i++) {
        sp_auto(sp_ssh_give) struct sp_ssh_link *link = NULL;

        if (!sp_ssh_take(pool, &wait, &link, &r->err) && !one_job(link, r->command, &r->err))
            r->good++;
    }
    return NULL;
}

static int run_threads(int rounds, const char *command)
{
    struct runner runners[THREADS] = {0};
    int good = 0;

    for (int i = 0; i < THREADS; i++) {
        runners[i].rounds = rounds;
        runners[i].command = command;
        pthread_create(&runners[i].thread, NULL, run_jobs, &runners[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(runners[i].thread, NULL);
        good += runners[i].good;
        cr_expect(eq(int, runners[i].good, rounds), "%s", runners[i].err.msg);
    }
    return good;
}

Test(ssh_pool, sixteen_jobs_at_once_share_two_connections)
{
    set_up("MaxSessions 10");

    int good = run_threads(ROUNDS, "sleep 0.2");

    cr_expect(eq(int, good, THREADS *ROUNDS));
    cr_expect(eq(int, sp_ssh_server_connections(&server), 2));
}

Test(ssh_pool, connections_are_made_one_at_a_time)
{
    char command[400];

    set_up("MaxSessions 2\nMaxStartups 3");
    options.max_sessions = 2;
    sp_ssh_pool_free(pool);
    open_pool();
    /* None ends before all of them run. */
    snprintf(
        command, sizeof command,
        "mkdir -p %s/all; : >%s/all/$$; until [ $(ls %s/all | wc -l) -ge %d ]; do sleep 0.1; done",
        server.dir, server.dir, server.dir, THREADS);

    int good = run_threads(1, command);

    cr_expect(eq(int, good, THREADS));
    cr_expect(eq(int, sp_ssh_server_connections(&server), THREADS));
}

Test(ssh_pool, a_server_with_fewer_sessions_than_we_think_is_asked_on_more_connections)
{
    set_up("MaxSessions 4");

    int good = run_threads(2, "sleep 0.5");

    cr_expect(eq(int, good, 2 * THREADS));
    cr_expect(sp_ssh_server_connections(&server) <= 8);
}

Test(ssh_pool, a_connection_is_used_again)
{
    set_up(NULL);

    for (int i = 0; i < 20; i++) {
        struct sp_ssh_link *link = take();

        start(link, "true");
        cr_expect(eq(int, wait_exit(link).status, 0));
        sp_ssh_give(link);
    }

    cr_expect(eq(int, sp_ssh_server_connections(&server), 1));
}

Test(ssh_pool, a_lost_connection_is_replaced_and_nothing_is_started_on_it)
{
    set_up(NULL);
    struct sp_ssh_link *link = take();

    sp_ssh_give(link);
    sp_ssh_server_kill(&server);
    cr_assert(sp_ssh_server_start(&server, NULL));
    link = take();
    start(link, "true");
    cr_expect(eq(int, wait_exit(link).status, 0));
    sp_ssh_give(link);

    cr_expect(eq(int, sp_ssh_server_connections(&server), 2));
}

/* Whether the proxy's connections end within the limit. */
static bool all_closed(int64_t limit_ms)
{
    int64_t deadline = sp_deadline_in(limit_ms);

    while (sp_tcp_proxy_open(&proxy) > 0 && sp_deadline_left(deadline) > 0)
        usleep(10000);
    return sp_tcp_proxy_open(&proxy) == 0;
}

Test(ssh_pool, an_idle_connection_is_closed_after_a_while)
{
    start_server(NULL);
    use_proxy();
    options.idle_ms = 300;
    open_pool();

    sp_ssh_give(take());

    cr_expect(eq(int, sp_tcp_proxy_connections(&proxy), 1));
    cr_expect(all_closed(10000));
}

Test(ssh_pool, freeing_the_pool_closes_its_connections)
{
    start_server(NULL);
    use_proxy();
    open_pool();

    sp_ssh_give(take());
    sp_ssh_pool_free(pool);
    pool = NULL;

    cr_expect(all_closed(10000));
}

Test(ssh_pool, a_failure_to_connect_is_told_to_all_who_wait)
{
    struct runner runners[THREADS] = {0};

    set_up(NULL);
    sp_ssh_server_kill(&server);
    int64_t from = sp_mono_ms();
    for (int i = 0; i < THREADS; i++) {
        runners[i].rounds = 1;
        pthread_create(&runners[i].thread, NULL, run_jobs, &runners[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(runners[i].thread, NULL);
        cr_expect(eq(int, runners[i].err.code, SP_E_UNAVAILABLE));
        cr_expect(strstr(runners[i].err.msg, "Connection refused") != NULL);
    }

    cr_expect(sp_mono_ms() - from < 20000);
}
