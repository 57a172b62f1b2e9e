/* How aliyun_codeinterpreter ends a sandbox, its own and those that a dead worker left. */
#include "tests/providers/agentrun_stage.h"

TestSuite(aliyun_end, .fini = clear_stage);

static const struct {
    const char *name;
    struct step steps[3];
    int deletes;
    size_t leases;
} deletions[] = {
    {"done", {{0}}, 1, 0},
    {"nothing in the answer", {{DELETE_BOX, 204, "", NULL, NULL}}, 1, 0},
    {"gone", {{DELETE_BOX, 404, "{\"code\":\"ERR_NOT_FOUND\"}", NULL, NULL}}, 1, 0},
    {"gone, in plain text", {{DELETE_BOX, 400, "Sandbox Not Found", NULL, NULL}}, 1, 0},
    {"gone, with 200",
     {{DELETE_BOX, 200, "{\"code\":\"X\",\"message\":\"sandbox not found: SB\"}", NULL, NULL}},
     1,
     0},
    {"a second attempt", {{DELETE_BOX, 503, "", NULL, NULL}}, 2, 0},
    {"cut off, a second attempt", {{DELETE_BOX, 0, NULL, NULL, NULL}}, 2, 0},
    {"given up", {{DELETE_BOX, 500, "", NULL, NULL}, {DELETE_BOX, 500, "", NULL, NULL}}, 2, 1},
    {"a refused key is not gone",
     {{DELETE_BOX, 404, "{\"Code\":\"InvalidAccessKeyId.NotFound\"}", NULL, NULL}},
     1,
     1},
};

SP_TABLE_TEST(aliyun_end, a_sandbox_is_deleted, deletions, row)
{
    set_stage(row->steps, "");
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    destroy();

    cr_expect(eq(int, asked(DELETE_BOX), row->deletes), "%s", row->name);
    cr_expect(eq(sz, leases_left(), row->leases), "%s", row->name);
}

Test(aliyun_end, destroying_does_not_heed_the_cancellation)
{
    set_stage(NULL, "");
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    cancel_now();
    destroy();

    cr_expect(eq(int, asked(DELETE_BOX), 1));
    cr_expect(eq(sz, leases_left(), 0));
}

Test(aliyun_end, destroying_waits_for_no_service_once_it_is_cancelled)
{
    static const struct step steps[] = {
        {DELETE_BOX, -1, NULL, NULL, NULL}, {DELETE_BOX, -1, NULL, NULL, NULL}, {0}};
    int n = 5; /* the deletion */
    pthread_t thread;
    set_stage(steps, "");
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);
    cr_assert(eq(int, pthread_create(&thread, NULL, cancel_when_asked, &n), 0));

    destroy();

    pthread_join(thread, NULL);
    cr_expect(sp_mono_ms() - service.cancelled_at < 1000);
    cr_expect(eq(sz, leases_left(), 1));
    sp_http_server_release(&stage.server);
}

Test(aliyun_end, what_a_dead_worker_left_is_swept)
{
    static const struct step steps[] = {{DELETE_BOX, 200, NULL, NULL, NULL},
                                        {DELETE_BOX, 404, "sandbox not found", NULL, NULL},
                                        {DELETE_BOX, 500, "", NULL, NULL},
                                        {DELETE_BOX, 500, "", NULL, NULL},
                                        {0}};
    static const char *const ids[] = {"DEAD1", "ALIVE", "DEAD2", "DEAD3", "DEAD ELSEWHERE"};
    char address[96];
    set_stage(steps, "");
    snprintf(address, sizeof(address), "%s 1234567890", stage.server.url);
    for (size_t i = 0; i < SP_COUNT(ids); i++)
        leave_lease(ids[i], strchr(ids[i], ' ') ? "https://other" : address);
    service.leases[1].expired = false;

    sp_provider_sweep(stage.provider);

    cr_expect(service.leases[0].dropped);
    cr_expect(not(service.leases[1].dropped));
    cr_expect(service.leases[2].dropped);
    cr_expect(not(service.leases[3].dropped), "what cannot be deleted is tried again later");
    cr_expect(not(service.leases[4].dropped), "it is of another account");
    cr_expect(eq(int, asked(DELETE_BOX), 4));
    cr_expect(eq(str, find_request(DELETE_BOX, 0)->target, "/sandboxes/DEAD1"));
    cr_expect(eq(str, find_request(DELETE_BOX, 1)->target, "/sandboxes/DEAD2"));
}
