/* Claims while Redis is away, full, hanging or back without its data. */
#include "tests/worker/claims_rig.h"
#include "worker/claims/claims.h"

enum { WAIT_MS = 3000 };

TestSuite(claims_outage, .init = open_rig, .fini = close_rig);

static bool is_away(struct sp_claims *claims)
{
    return !is_up(claims);
}

static bool is_degraded(struct sp_claims *claims)
{
    return status_of(claims).degraded;
}

static void kill_redis(struct sp_claims *claims)
{
    sp_redis_server_kill(&server);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_away(claims)));
}

static void restart_redis(struct sp_claims *claims)
{
    cr_assert(sp_redis_server_start(&server, NULL));
    sp_redis_disconnect(direct);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(claims)), "%s", status_of(claims).reason);
}

Test(claims_outage, jobs_wait_at_first_and_then_go_on_without)
{
    struct sp_claims *a = start_up("a", WAIT_MS);
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = NULL;
    int64_t since = sp_mono_ms();
    kill_redis(a);

    cr_expect(eq(int, sp_claims_take(a, &request, &claim), SP_CLAIM_HOLD));
    cr_expect(eq(ptr, claim, NULL));
    cr_assert(eq(int, settle(a, &request, &claim), SP_CLAIM_RUN));
    cr_expect(le(i64, WAIT_MS, sp_mono_ms() - since));
    cr_expect(claim->degraded);
    cr_expect(eq(i64, claim->attempt, 1));
    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(claim->degraded);
    sp_claims_committed(a, claim);
    struct sp_claims_status status = status_of(a);
    cr_expect(status.degraded && status.away_ms >= WAIT_MS && status.degraded_total == 1);
    cr_expect(ne(chr, status.reason[0], '\0'));
    stop(a);
}

Test(claims_outage, under_pause_and_for_at_most_once_jobs_wait_on)
{
    struct sp_claims *paused = start_with("a", (struct sp_claims_options){.pause = true});
    struct sp_claims *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1), once = request_of("once", 2);
    struct sp_claim *claim = NULL;
    once.at_most_once = true;
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(paused)));
    kill_redis(paused);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_degraded(b)));
    cr_assert(SP_UNTIL(PATIENCE_MS, status_of(paused).away_ms >= LIVENESS_MS));

    cr_expect(eq(int, sp_claims_take(paused, &request, &claim), SP_CLAIM_HOLD));
    cr_expect(not(status_of(paused).degraded));
    cr_expect(eq(int, sp_claims_take(b, &once, &claim), SP_CLAIM_HOLD));
    cr_expect(eq(int, sp_claims_take(b, &request, &claim), SP_CLAIM_RUN));
    stop(paused);
    stop(b);
}

Test(claims_outage, a_run_that_ends_in_an_outage_waits_and_is_stored_when_redis_is_back)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = must_run(a, &request);
    kill_redis(a);

    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_E_UNAVAILABLE));
    restart_redis(a);
    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK),
              "where the claim is gone, it is written anew");
    cr_expect(not(claim->degraded));
    cr_expect(eq(chr, state_of("sp:job:id"), 'F'));
    sp_claims_committed(a, claim);
    stop(a);
}

Test(claims_outage, when_redis_is_back_empty_the_first_writer_wins)
{
    struct sp_claims *a = start("a"), *b = start("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *first = must_run(a, &request), *second = NULL;
    kill_redis(a);
    restart_redis(a);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(b)));

    second = must_run(b, &request);
    cr_expect(eq(i64, second->attempt, 1));
    cr_expect(eq(int, finish_with(a, first, "first", SP_STATUS_OK), SP_E_CANCELLED));
    cr_expect(eq(int, finish_with(b, second, "second", SP_STATUS_OK), SP_OK));
    sp_claims_release(a, first);
    sp_claims_forgotten(b, second);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(b)));
    cr_expect(eq(int, sp_claims_take(a, &request, &first), SP_CLAIM_SKIP));
    stop(a);
    stop(b);
}

Test(claims_outage, what_is_closed_in_an_outage_is_written_afterwards)
{
    char *keep[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    sp_redis_server_kill(&server);
    cr_assert(sp_redis_server_start(&server, keep));
    struct sp_claims *a = start_judge("a");
    struct sp_claim_request released = request_of("1", 1), committed = request_of("2", 2),
                            delivered = request_of("3", 3), degraded = request_of("4", 4);
    struct sp_claim *claims[] = {must_run(a, &released), must_run(a, &committed),
                                 must_run(a, &delivered), must_run(a, &degraded)};
    cr_assert(eq(int, finish_with(a, claims[1], "bytes", SP_STATUS_OK), SP_OK));
    cr_assert(eq(int, finish_with(a, claims[2], "bytes", SP_STATUS_OK), SP_OK));
    kill_redis(a);

    sp_claims_release(a, claims[0]);
    sp_claims_committed(a, claims[1]);
    sp_claims_delivered(a, claims[2]);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_degraded(a)));
    cr_assert(eq(int, finish_with(a, claims[3], "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(claims[3]->degraded);
    sp_claims_forgotten(a, claims[3]);
    cr_expect(eq(sz, status_of(a).pending, 3));
    cr_assert(sp_redis_server_start(&server, keep));
    sp_redis_disconnect(direct);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(a)));
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(a)));

    cr_expect(eq(chr, state_of("sp:job:1"), '-'));
    cr_expect(eq(chr, state_of("sp:job:2"), 'D'));
    cr_expect(SP_UNTIL(PATIENCE_MS, state_of("sp:job:3") == 'D'));
    cr_expect(eq(chr, state_of("sp:job:4"), 'D'), "done, though its reply is not there");
    struct sp_claim *again = NULL;
    cr_expect(eq(int, sp_claims_take(a, &degraded, &again), SP_CLAIM_SKIP));
    sp_claims_committed(a, again);
    sp_claims_committed(a, claims[2]);
    cr_expect(SP_UNTIL(PATIENCE_MS, state_of("sp:job:4") == '-'));
    stop(a);
    sp_remove_tree(server.dir);
}

Test(claims_outage, after_an_outage_nobody_is_found_dead_for_one_liveness)
{
    char *keep[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    sp_redis_server_kill(&server);
    cr_assert(sp_redis_server_start(&server, keep));
    struct sp_claims *a = start_judge("a");
    struct sp_claims *b = start_with("b", (struct sp_claims_options){.liveness_ms = 3000});
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = NULL;
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(b)));
    (void)must_run(a, &request);
    kill_redis(b);
    die(a);
    int64_t away = sp_mono_ms();
    cr_assert(sp_redis_server_start(&server, keep));
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(b)));

    cr_expect(eq(int, sp_claims_take(b, &request, &claim), SP_CLAIM_PARK));
    claim = must_run(b, &request);
    cr_expect(le(i64, 3000, sp_mono_ms() - away));
    cr_expect(eq(i64, claim->attempt, 2));
    stop(b);
    sp_remove_tree(server.dir);
}

Test(claims_outage, a_redis_that_hangs_costs_one_time_out)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = NULL;
    kill(server.pid, SIGSTOP);
    int64_t begin = sp_mono_ms();

    cr_expect(eq(int, sp_claims_take(a, &request, &claim), SP_CLAIM_HOLD));
    int64_t first = sp_mono_ms() - begin;
    cr_expect(eq(int, sp_claims_take(a, &request, &claim), SP_CLAIM_HOLD));
    int64_t second = sp_mono_ms() - begin - first;
    kill(server.pid, SIGCONT);

    cr_expect(1900 <= first && first < 10000, "%lld ms", (long long)first);
    cr_expect(lt(i64, second, 1500));
    claim = must_run(a, &request);
    cr_expect(eq(i64, claim->attempt, 1), "the claim whose answer was lost is ours");
    sp_claims_release(a, claim);
    stop(a);
}

static void ignore(void *ctx, struct sp_claim *claim)
{
    *(struct sp_claim **)ctx = claim;
}

/* Its command waits in a Redis that hangs, and runs when nobody hears the answer any more. */
static bool take_unheard(struct sp_claims *claims, const struct sp_claim_request *request)
{
    static struct sp_claim other, *claim;
    claim = &other;
    kill(server.pid, SIGSTOP);
    bool asked = sp_claims_take_soon(claims, request, ignore, &claim) &&
                 SP_UNTIL(PATIENCE_MS, is_away(claims));
    kill(server.pid, SIGCONT);
    return asked && SP_UNTIL(PATIENCE_MS, is_up(claims)) && claim == NULL;
}

Test(claims_outage, a_claim_whose_answer_was_lost_keeps_nobody_waiting)
{
    struct sp_claims *a = start("a"), *b = NULL;
    struct sp_claim_request soon = request_of("soon", 1), waiting = request_of("waiting", 2);
    struct sp_claim *claim = NULL;

    cr_assert(take_unheard(a, &soon));
    kill(server.pid, SIGSTOP);
    cr_expect(eq(int, sp_claims_take(a, &waiting, &claim), SP_CLAIM_HOLD));
    kill(server.pid, SIGCONT);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(a) && all_written(a)));
    b = start("b");

    cr_expect(eq(int, sp_claims_take(b, &soon, &claim), SP_CLAIM_RUN));
    cr_expect(eq(i64, claim->attempt, 1));
    cr_expect(eq(int, sp_claims_take(b, &waiting, &claim), SP_CLAIM_RUN));
    cr_expect(eq(sz, status_of(a).open, 0));
    stop(a);
    stop(b);
}

Test(claims_outage, a_stop_does_not_wait_for_a_redis_that_hangs)
{
    struct sp_claims *a = start_judge("a");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = must_run(a, &request);
    kill(server.pid, SIGSTOP);
    sp_claims_release(a, claim);
    int64_t begin = sp_mono_ms();

    sp_claims_stop(a, 300);

    cr_expect(lt(i64, sp_mono_ms() - begin, 5000));
    kill(server.pid, SIGCONT);
}

Test(claims_outage, without_its_scripts_redis_is_asked_to_load_them)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = must_run(a, &request);
    sp_auto(freeReplyObject) redisReply *reply = ask("SCRIPT FLUSH");

    cr_expect(SP_UNTIL(PATIENCE_MS, finish_with(a, claim, "bytes", SP_STATUS_OK) == SP_OK));

    cr_expect(eq(chr, state_of("sp:job:id"), 'F'));
    cr_expect(not(claim->degraded));
    sp_claims_committed(a, claim);
    stop(a);
}

Test(claims_outage, a_redis_without_memory_counts_as_away)
{
    struct sp_claims *a = start_up("a", WAIT_MS);
    struct sp_claim_request request = request_of("id", 1), next = request_of("next", 2);
    struct sp_claim *claim = must_run(a, &request);
    sp_auto(freeReplyObject) redisReply *full = ask("CONFIG SET maxmemory 1");

    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_E_UNAVAILABLE));
    cr_expect(SP_UNTIL(PATIENCE_MS, is_away(a)));
    cr_expect(ne(ptr, strstr(status_of(a).reason, "OOM"), NULL), "%s", status_of(a).reason);
    sp_claims_release(a, claim);
    cr_assert(eq(int, settle(a, &next, &claim), SP_CLAIM_RUN));
    cr_expect(claim->degraded);
    sp_claims_release(a, claim);
    sp_auto(freeReplyObject) redisReply *room = ask("CONFIG SET maxmemory 0");
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(a)));

    cr_assert(SP_UNTIL(PATIENCE_MS, state_of("sp:job:id") == '-'));
    claim = must_run(a, &next);
    cr_expect(not(claim->degraded));
    stop(a);
}

Test(claims_outage, a_redis_that_is_not_there_at_the_start_is_an_outage_like_any)
{
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = NULL;
    sp_redis_server_kill(&server);
    struct sp_claims *a = start_with("a", (struct sp_claims_options){.liveness_ms = WAIT_MS});

    cr_expect(eq(int, sp_claims_take(a, &request, &claim), SP_CLAIM_HOLD));
    cr_assert(eq(int, settle(a, &request, &claim), SP_CLAIM_RUN));
    cr_expect(claim->degraded);
    restart_redis(a);
    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(claim->degraded, "its run was not guarded");
    cr_expect(eq(chr, state_of("sp:job:id"), 'F'));
    sp_claims_committed(a, claim);
    stop(a);
}

Test(claims_outage, an_at_most_once_reply_waits_for_redis_however_long_it_takes)
{
    struct sp_claims *a = start_judge("a");
    struct sp_claim_request once = request_of("once", 1), other = request_of("other", 2);
    once.at_most_once = true;
    struct sp_claim *claim = must_run(a, &once), *beside = must_run(a, &other);
    kill_redis(a);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_degraded(a)));

    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_E_UNAVAILABLE));
    cr_expect(eq(int, finish_with(a, beside, "bytes", SP_STATUS_OK), SP_OK));
    restart_redis(a);
    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(not(claim->degraded));
    sp_claims_committed(a, claim);
    sp_claims_committed(a, beside);
    stop(a);
}

Test(claims_outage, what_is_kept_for_later_is_bounded)
{
    enum { KEPT = 100000, MORE = 7 };
    struct sp_claims *a = start_judge("a");
    struct sp_claim *claim = NULL;
    kill_redis(a);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_degraded(a)));

    for (int64_t i = 0; i < KEPT + MORE; i++) {
        struct sp_claim_request request = request_of("id", i);
        cr_assert(eq(int, sp_claims_take(a, &request, &claim), SP_CLAIM_RUN));
        sp_claims_committed(a, claim);
    }
    struct sp_claims_status status = status_of(a);
    cr_expect(eq(sz, status.pending, KEPT));
    cr_expect(eq(i64, status.dropped, MORE));
    cr_expect(eq(sz, status.open, 0));
    restart_redis(a);
    cr_expect(SP_UNTIL(PATIENCE_MS, all_written(a)));
    stop(a);
}

Test(claims_outage, a_redis_that_refuses_writes_is_told_of_with_its_reason)
{
    sp_auto(freeReplyObject) redisReply *reply = ask("CONFIG SET min-replicas-to-write 1");
    struct sp_claims *a = start_with("a", (struct sp_claims_options){0});

    cr_expect(SP_UNTIL(PATIENCE_MS, strstr(status_of(a).reason, "NOREPLICAS") != NULL), "%s",
              status_of(a).reason);
    cr_expect(not(is_up(a)));
    sp_auto(freeReplyObject) redisReply *again = ask("CONFIG SET min-replicas-to-write 0");
    cr_expect(SP_UNTIL(PATIENCE_MS, is_up(a)));
    cr_expect(eq(str, (char *)status_of(a).reason, ""));
    stop(a);
}
