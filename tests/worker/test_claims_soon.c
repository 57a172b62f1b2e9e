/* Taking and finishing without waiting. */
#include "tests/worker/claims_rig.h"
#include "tests/worker/claims_soon.h"

TestSuite(claims_soon, .init = open_rig, .fini = close_rig);

/* The claim that was told; NULL: it is not as simple. */
static struct sp_claim *take(struct sp_claims *claims, const struct sp_claim_request *request)
{
    struct sp_claim *claim = NULL;
    cr_assert(take_soon(claims, request, &claim));
    return claim;
}

static bool store(struct sp_claims *claims, struct sp_claim *claim)
{
    const struct sp_stored_reply reply = reply_of("bytes", SP_STATUS_OK);
    return store_soon(claims, claim, &reply);
}

Test(claims_soon, a_free_id_is_taken_and_its_reply_stored)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);

    struct sp_claim *claim = take(a, &request);

    cr_assert(claim != NULL);
    cr_expect(eq(i64, claim->attempt, 1));
    cr_expect(eq(chr, state_of("sp:job:id"), 'C'));
    cr_expect(store(a, claim));
    cr_expect(eq(chr, state_of("sp:job:id"), 'F'));
    cr_expect(not(store(a, claim)), "once is enough");
    sp_claims_delivered(a, claim);
    sp_claims_committed(a, claim);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(a)));
    cr_expect(eq(chr, state_of("sp:job:id"), 'D'));
    stop(a);
}

Test(claims_soon, an_id_that_is_taken_is_not_as_simple)
{
    struct sp_claims *a = start("a"), *b = start("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *again = NULL;
    struct sp_claim *claim = take(a, &request);

    cr_expect(eq(ptr, take(b, &request), NULL));
    cr_expect(eq(int, sp_claims_take(b, &request, &again), SP_CLAIM_PARK));

    sp_claims_release(a, claim);
    stop(b);
    stop(a);
}

Test(claims_soon, a_claim_that_is_somebody_elses_by_now_stores_nothing)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = take(a, &request);
    (void)number_of("DEL", "sp:job:id");
    struct sp_claims *b = start("b");
    struct sp_claim *theirs = take(b, &request);

    cr_expect(not(store(a, claim)));
    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_E_CANCELLED));

    sp_claims_release(a, claim);
    sp_claims_release(b, theirs);
    stop(b);
    stop(a);
}

Test(claims_soon, without_redis_nothing_is_asked_and_the_long_way_decides)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1), other = request_of("other", 2);
    struct told told = {.claim = NULL};
    struct sp_claim *claim = take(a, &request), *none = NULL;
    sp_redis_server_kill(&server);
    cr_assert(SP_UNTIL(PATIENCE_MS, !is_up(a)));

    cr_expect(not(sp_claims_take_soon(a, &other, on_taken, &told)));
    cr_expect(eq(int, sp_claims_take(a, &other, &none), SP_CLAIM_HOLD));
    cr_expect(not(store(a, claim)));
    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_E_UNAVAILABLE));

    sp_claims_release(a, claim);
    stop(a);
}

/* Redis hangs: what is on its way is told of at the end, at the latest. */
Test(claims_soon, stopping_tells_of_what_is_on_its_way)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    struct told told = {.claim = NULL};
    sem_init(&told.sem, 0, 0);
    kill(server.pid, SIGSTOP);

    bool asked = sp_claims_take_soon(a, &request, on_taken, &told);
    sp_claims_stop(a, 10);

    cr_assert(asked);
    cr_expect(zero(int, sem_trywait(&told.sem)));
    cr_expect(eq(ptr, told.claim, NULL));
    kill(server.pid, SIGCONT);
}
