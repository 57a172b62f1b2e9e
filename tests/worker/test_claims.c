/* Claims with a Redis that works: who runs what, and what is left behind. */
#include "worker/claims/claims.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/text.h"
#include "tests/worker/claims_rig.h"

TestSuite(claims, .init = open_rig, .fini = close_rig);

/* Runs a job to its end and returns once Redis has it all. */
static void complete(struct sp_claims *claims, const struct sp_claim_request *request,
                     const char *bytes, enum sp_status status)
{
    struct sp_claim *claim = must_run(claims, request);
    cr_assert(eq(int, finish_with(claims, claim, bytes, status), SP_OK));
    sp_claims_delivered(claims, claim);
    sp_claims_committed(claims, claim);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(claims)));
}

Test(claims, a_job_is_claimed_finished_and_remembered_for_its_time)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);

    struct sp_claim *claim = must_run(a, &request);
    cr_expect(eq(i64, claim->attempt, 1));
    cr_expect(not(claim->degraded));
    cr_expect(eq(chr, state_of("sp:job:id"), 'C'));
    cr_expect(lt(i64, 80000000, number_of("PTTL", "sp:job:id")));
    cr_assert(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(eq(chr, state_of("sp:job:id"), 'F'));
    cr_expect(lt(i64, 80000000, number_of("PTTL", "sp:job:id")));
    sp_claims_delivered(a, claim);
    sp_claims_committed(a, claim);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(a)));

    cr_expect(eq(chr, state_of("sp:job:id"), 'D'));
    int64_t ttl = number_of("PTTL", "sp:job:id");
    cr_expect(40000 < ttl && ttl <= 50000, "%lld", (long long)ttl);
    stop(a);
}

Test(claims, what_is_not_remembered_is_gone_after_its_commit)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1), next = request_of("id", 2);

    complete(a, &request, "bytes", SP_STATUS_EXPIRED);

    cr_expect(eq(chr, state_of("sp:job:id"), '-'));
    struct sp_claim *claim = must_run(a, &next);
    sp_claims_release(a, claim);
    stop(a);
}

Test(claims, delivered_is_written_when_no_commit_follows)
{
    struct sp_claims *a = start("a"), *b = start("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *again = NULL;

    struct sp_claim *claim = must_run(a, &request);
    cr_assert(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(eq(int, sp_claims_take(b, &request, &again), SP_CLAIM_PARK));
    sp_claims_delivered(a, claim);
    cr_assert(SP_UNTIL(PATIENCE_MS, state_of("sp:job:id") == 'D'));
    cr_expect(lt(i64, 80000000, number_of("PTTL", "sp:job:id")));

    cr_expect(eq(int, sp_claims_take(b, &request, &again), SP_CLAIM_SKIP));
    sp_claims_committed(b, again);
    cr_assert(SP_UNTIL(PATIENCE_MS, number_of("PTTL", "sp:job:id") <= 50000));
    sp_claims_committed(a, claim);
    stop(a);
    stop(b);
}

Test(claims, many_delivered_ones_are_written_a_little_later)
{
    enum { MANY = 200 };
    struct sp_claims *a = start("a");
    struct sp_claim *claims[MANY];
    char ids[MANY][8];
    for (int64_t i = 0; i < MANY; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", (int)i);
        struct sp_claim_request request = request_of(ids[i], i);
        claims[i] = must_run(a, &request);
        cr_assert(eq(int, finish_with(a, claims[i], "bytes", SP_STATUS_OK), SP_OK));
    }

    for (size_t i = 0; i < MANY; i++)
        sp_claims_delivered(a, claims[i]);
    for (int i = 0; i < MANY; i++) {
        char key[32];
        snprintf(key, sizeof key, "sp:job:%d", i);
        cr_assert(SP_UNTIL(PATIENCE_MS, state_of(key) == 'D'), "%s", key);
    }

    for (size_t i = 0; i < MANY; i++)
        sp_claims_committed(a, claims[i]);
    stop(a);
}

Test(claims, a_record_that_comes_again_while_it_runs_here_waits_for_that_run)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = must_run(a, &request), *again = NULL;

    cr_expect(eq(int, sp_claims_take(a, &request, &again), SP_CLAIM_PARK));
    cr_assert(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(eq(int, sp_claims_take(a, &request, &again), SP_CLAIM_PARK));
    sp_claims_forgotten(a, claim);
    cr_expect(eq(int, sp_claims_take(a, &request, &again), SP_CLAIM_SKIP));
    sp_claims_committed(a, again);
    stop(a);
}

Test(claims, a_partition_lost_before_the_commit_leaves_the_job_done)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *again = NULL;

    struct sp_claim *claim = must_run(a, &request);
    cr_assert(eq(int, finish_with(a, claim, "bytes", SP_STATUS_EXPIRED), SP_OK));
    sp_claims_delivered(a, claim);
    sp_claims_forgotten(a, claim);

    cr_expect(eq(int, sp_claims_take(a, &request, &again), SP_CLAIM_SKIP), "even at once");
    sp_claims_committed(a, again);
    cr_expect(SP_UNTIL(PATIENCE_MS, state_of("sp:job:id") == '-'));
    stop(a);
}

Test(claims, a_reply_that_died_with_its_worker_goes_out_again_byte_for_byte)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *again = NULL;
    static const char bytes[] = "{\"x\":\n\"\0\"}";

    struct sp_claim *claim = must_run(a, &request);
    struct sp_stored_reply stored = reply_of("", SP_STATUS_TIMEOUT);
    stored.bytes = bytes;
    stored.len = sizeof bytes;
    stored.remembered = true;
    cr_assert(eq(int, sp_claims_finish(a, claim, &stored, NULL), SP_OK));
    die(a);

    cr_assert(eq(int, settle(b, &request, &again), SP_CLAIM_REPUBLISH));
    const struct sp_stored_reply *got = &again->stored;
    cr_expect(eq(sz, got->len, sizeof bytes));
    cr_expect(eq(int, memcmp(got->bytes, bytes, sizeof bytes), 0));
    cr_expect(eq(int, got->status, SP_STATUS_TIMEOUT));
    cr_expect(eq(str, (char *)got->result_id, (char *)stored.result_id));
    cr_expect(eq(str, (char *)got->worker, "the worker"));
    cr_expect(eq(i64, got->attempt, 1));
    cr_expect(got->remembered);
    cr_assert(eq(int, sp_claims_finish(b, again, got, NULL), SP_OK));
    sp_claims_delivered(b, again);
    sp_claims_committed(b, again);
    cr_assert(SP_UNTIL(PATIENCE_MS, state_of("sp:job:id") == 'D'));
    cr_expect(number_of("PTTL", "sp:job:id") <= 50000);
    stop(b);
}

Test(claims, a_repeated_reply_renews_its_attachments)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = must_run(a, &request);
    static const char bytes[] =
        "{\"attachments\":[{\"part\":\"stdout\",\"ref\":\"redis:sp:blob:1\"},7,{\"ref\":8},"
        "{\"ref\":\"redis:sp:blob:gone\"},{\"ref\":\"redis:other\"},{\"ref\":\"sp:blob:3\"},"
        "{\"part\":\"artifacts/a\",\"ref\":\"redis:sp:blob:\\u0032\"}]}";
    for (int i = 1; i <= 3; i++) {
        sp_auto(freeReplyObject) redisReply *part = ask("SET sp:blob:%d x PX 30000", i);
        (void)part;
    }
    sp_auto(freeReplyObject) redisReply *other = ask("SET other x PX 30000");
    (void)other;
    cr_assert(eq(int, finish_with(a, claim, bytes, SP_STATUS_OK), SP_OK));
    die(a);

    cr_assert(eq(int, settle(b, &request, &claim), SP_CLAIM_REPUBLISH));

    cr_expect(lt(i64, 40000, number_of("PTTL", "sp:blob:1")));
    cr_expect(lt(i64, 40000, number_of("PTTL", "sp:blob:2")));
    cr_expect(number_of("PTTL", "sp:blob:3") <= 30000);
    cr_expect(number_of("PTTL", "other") <= 30000, "no key but a blob's");
    cr_expect(eq(i64, number_of("EXISTS", "sp:blob:gone"), 0));
    stop(b);
}

Test(claims, a_large_reply_is_kept_apart_and_lives_as_long_as_its_claim)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *again = NULL;
    size_t len = 900000;
    sp_auto(sp_free_str) char *bytes = malloc(len);
    memset(bytes, 'x', len);
    bytes[len - 1] = 'y';

    struct sp_claim *claim = must_run(a, &request);
    struct sp_stored_reply stored = reply_of("", SP_STATUS_OK);
    stored.bytes = bytes;
    stored.len = len;
    cr_assert(eq(int, sp_claims_finish(a, claim, &stored, NULL), SP_OK));
    cr_expect(lt(i64, number_of("STRLEN", "sp:job:id"), 1000));
    die(a);

    cr_assert(eq(int, settle(b, &request, &again), SP_CLAIM_REPUBLISH));
    cr_expect(eq(sz, again->stored.len, len));
    cr_expect(eq(int, memcmp(again->stored.bytes, bytes, len), 0));
    cr_assert(eq(int, sp_claims_finish(b, again, &again->stored, NULL), SP_OK));
    sp_claims_committed(b, again);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(b)));
    sp_auto(freeReplyObject) redisReply *keys = ask("KEYS sp:blob:*");
    cr_assert(eq(sz, keys->elements, 1));
    int64_t ttl = number_of("PTTL", keys->element[0]->str);
    cr_expect(40000 < ttl && ttl <= 50000, "%lld", (long long)ttl);
    stop(b);
}

Test(claims, a_large_reply_that_is_not_remembered_leaves_nothing)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    size_t len = 300000;
    sp_auto(sp_free_str) char *bytes = malloc(len + 1);
    memset(bytes, 'x', len);
    bytes[len] = '\0';

    complete(a, &request, bytes, SP_STATUS_ERROR);

    sp_auto(freeReplyObject) redisReply *keys = ask("KEYS sp:*");
    cr_expect(eq(sz, keys->elements, 1), "the liveness key only");
    stop(a);
}

Test(claims, a_large_reply_whose_bytes_are_gone_counts_as_absent)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);
    size_t len = 300000;
    sp_auto(sp_free_str) char *bytes = malloc(len + 1);
    memset(bytes, 'x', len);
    bytes[len] = '\0';

    struct sp_claim *claim = must_run(a, &request);
    cr_assert(eq(int, finish_with(a, claim, bytes, SP_STATUS_OK), SP_OK));
    die(a);
    sp_auto(freeReplyObject) redisReply *keys = ask("KEYS sp:blob:*");
    cr_assert(eq(sz, keys->elements, 1));
    cr_assert(eq(i64, number_of("DEL", keys->element[0]->str), 1));

    struct sp_claim *again = must_run(b, &request);
    cr_expect(eq(i64, again->attempt, 1));
    cr_expect(eq(int, finish_with(b, again, "short", SP_STATUS_OK), SP_OK));
    sp_claims_committed(b, again);
    stop(b);
}

Test(claims, a_dead_workers_attempts_count_and_end)
{
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = NULL;

    for (int64_t attempt = 1; attempt <= 3; attempt++) {
        struct sp_claims *a = start_judge("a");
        claim = must_run(a, &request);
        cr_assert(eq(i64, claim->attempt, attempt));
        cr_assert(eq(i64, claim->died, attempt - 1));
        die(a);
    }

    struct sp_claims *b = start_judge("b"), *c = NULL;
    cr_assert(eq(int, settle(b, &request, &claim), SP_CLAIM_DIED));
    cr_expect(eq(i64, claim->died, 3));
    cr_expect(eq(i64, claim->attempt, 3));
    die(b); /* before it could answer */
    c = start_judge("c");
    cr_assert(eq(int, settle(c, &request, &claim), SP_CLAIM_DIED));
    cr_expect(eq(i64, claim->died, 3));
    sp_claims_release(c, claim);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(c)));
    cr_assert(eq(int, settle(c, &request, &claim), SP_CLAIM_DIED),
              "giving it back forgets nothing");
    cr_assert(eq(int, finish_with(c, claim, "dead", SP_STATUS_ERROR), SP_OK));
    sp_claims_committed(c, claim);
    stop(c);
}

Test(claims, at_most_once_ends_with_the_first_death)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = NULL;

    request.at_most_once = true;
    claim = must_run(a, &request);
    die(a);

    cr_expect(eq(int, settle(b, &request, &claim), SP_CLAIM_DIED));
    cr_expect(eq(i64, claim->died, 1));
    cr_expect(eq(i64, claim->attempt, 1));
    stop(b);
}

Test(claims, a_release_does_not_count)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);

    for (int i = 0; i < 5; i++) {
        struct sp_claim *claim = must_run(a, &request);
        cr_expect(eq(i64, claim->attempt, 1));
        sp_claims_release(a, claim);
    }
    cr_assert(SP_UNTIL(PATIENCE_MS, state_of("sp:job:id") == '-'));
    (void)must_run(a, &request);
    die(a);

    for (int i = 0; i < 5; i++) {
        struct sp_claim *claim = must_run(b, &request);
        cr_expect(eq(i64, claim->attempt, 2), "a death counts, releases after it do not");
        sp_claims_release(b, claim);
    }
    cr_assert(SP_UNTIL(PATIENCE_MS, state_of("sp:job:id") == 'R'));
    cr_expect(lt(i64, 80000000, number_of("PTTL", "sp:job:id")));
    stop(b);
}

Test(claims, a_worker_runs_one_suspect_at_a_time_beside_its_other_jobs)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request first = request_of("1", 1), second = request_of("2", 2),
                            fresh = request_of("3", 3);
    struct sp_claim *claim = NULL;
    (void)must_run(a, &first);
    (void)must_run(a, &second);
    die(a);

    struct sp_claim *suspect = must_run(b, &first);
    cr_expect(status_of(b).suspect);
    cr_expect(eq(int, sp_claims_take(b, &second, &claim), SP_CLAIM_PARK));
    cr_expect(eq(int, sp_claims_take(b, &fresh, &claim), SP_CLAIM_RUN));
    cr_expect(eq(int, finish_with(b, suspect, "bytes", SP_STATUS_OK), SP_OK));
    cr_expect(not(status_of(b).suspect));
    struct sp_claim *next = must_run(b, &second);
    cr_expect(eq(i64, next->attempt, 2), "waiting for its turn does not count");
    sp_claims_release(b, next);
    cr_expect(not(status_of(b).suspect));
    stop(b);
}

Test(claims, a_worker_that_was_stopped_for_too_long_finds_its_claim_lost)
{
    /* Its liveness key goes, as if it had not renewed it; it would do so in 20 s only. */
    struct sp_claims *a = start("a"), *b = NULL;
    struct sp_claim_request request = request_of("id", 1);
    struct sp_error err = {0};
    struct sp_claim *late = must_run(a, &request);
    sp_auto(freeReplyObject) redisReply *alive = ask("KEYS sp:alive:*");
    cr_assert(eq(sz, alive->elements, 1));
    cr_assert(eq(i64, number_of("DEL", alive->element[0]->str), 1));
    b = start_judge("b");

    struct sp_claim *claim = must_run(b, &request);
    cr_expect(eq(i64, claim->attempt, 2));
    struct sp_stored_reply stored = reply_of("late", SP_STATUS_OK);
    cr_expect(eq(int, sp_claims_finish(a, late, &stored, &err), SP_E_CANCELLED), "%s", err.msg);
    cr_expect(eq(i64, status_of(a).lost, 1));
    sp_claims_release(a, late);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(a)));
    cr_expect(eq(chr, state_of("sp:job:id"), 'C'), "the release was not its own to give");
    cr_expect(eq(int, finish_with(b, claim, "right", SP_STATUS_OK), SP_OK));
    sp_claims_committed(b, claim);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(b)));

    cr_expect(eq(int, sp_claims_take(a, &request, &late), SP_CLAIM_SKIP));
    stop(a);
    stop(b);
}

Test(claims, while_the_owner_lives_its_claim_is_left_alone)
{
    enum { RENEWED_MS = 5000 };
    struct sp_claims *a = start_up("a", RENEWED_MS), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = must_run(a, &request), *none = NULL;
    int64_t until = sp_deadline_in(RENEWED_MS + 1000); /* longer than an unrenewed key lives */

    while (sp_mono_ms() < until)
        cr_assert(eq(int, sp_claims_take(b, &request, &none), SP_CLAIM_PARK));

    cr_expect(eq(ptr, none, NULL));
    sp_claims_release(a, claim);
    claim = must_run(b, &request);
    cr_expect(eq(i64, claim->attempt, 1));
    stop(a);
    stop(b);
}

Test(claims, after_a_start_of_redis_nobody_is_found_dead_for_one_liveness)
{
    struct sp_claim_request request = request_of("id", 1);
    struct sp_claim *claim = NULL;
    static const char value[] = "C1 1 0 requests:2:1:1001 " DIGEST_A " 00112233445566aa\n";
    redisReply *reply = NULL;
    cr_assert(
        eq(int, sp_redis_command(direct, &reply, NULL, "SET sp:job:id %b", value, sizeof value - 1),
           SP_OK));
    freeReplyObject(reply);

    struct sp_claims *a = start_up("a", 6000);
    int64_t up = sp_mono_ms();

    cr_expect(eq(int, sp_claims_take(a, &request, &claim), SP_CLAIM_PARK));
    claim = must_run(a, &request);
    cr_expect(lt(i64, 1000, sp_mono_ms() - up), "%lld ms", (long long)(sp_mono_ms() - up));
    cr_expect(eq(i64, claim->attempt, 2));
    stop(a);
}

static const struct {
    const char *command;
} strangers[] = {
    {"SET sp:job:id hello"}, {"SET sp:job:id C9"},   {"APPEND sp:job:id F"},
    {"RPUSH sp:job:id a b"}, {"HSET sp:job:id a b"},
};

SP_TABLE_TEST(claims, what_is_no_claim_counts_as_absent_and_goes, strangers, row)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    sp_auto(freeReplyObject) redisReply *reply = ask("%s", row->command);

    complete(a, &request, "bytes", SP_STATUS_OK);

    cr_expect(eq(chr, state_of("sp:job:id"), 'D'));
    stop(a);
}

Test(claims, an_empty_value_counts_as_absent_too)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request request = request_of("id", 1);
    redisReply *reply = NULL;
    cr_assert(eq(int, sp_redis_command(direct, &reply, NULL, "SET sp:job:id %s", ""), SP_OK));
    freeReplyObject(reply);

    complete(a, &request, "bytes", SP_STATUS_OK);

    cr_expect(eq(chr, state_of("sp:job:id"), 'D'));
    stop(a);
}

Test(claims, another_record_of_the_id_gets_the_same_bytes_once)
{
    struct sp_claims *a = start("a"), *b = start("b");
    struct sp_claim_request first = request_of("id", 1), second = request_of("id", 2);
    struct sp_claim *claim = must_run(a, &first), *again = NULL;

    cr_expect(eq(int, sp_claims_take(a, &second, &again), SP_CLAIM_WAIT));
    cr_expect(eq(int, sp_claims_take(b, &second, &again), SP_CLAIM_WAIT));
    cr_assert(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    sp_claims_delivered(a, claim);
    sp_claims_committed(a, claim);
    cr_assert(eq(int, sp_claims_take(b, &second, &again), SP_CLAIM_REPUBLISH));
    cr_expect(eq(sz, again->stored.len, 5));
    cr_expect(eq(int, memcmp(again->stored.bytes, "bytes", 5), 0));
    cr_expect(eq(chr, state_of("sp:record:requests:2:2:1002"), 'C'));
    cr_assert(eq(int, sp_claims_finish(b, again, &again->stored, NULL), SP_OK));
    cr_expect(eq(chr, state_of("sp:record:requests:2:2:1002"), 'F'));
    sp_claims_delivered(b, again);
    sp_claims_forgotten(b, again);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(b)));

    cr_expect(eq(int, sp_claims_take(a, &second, &again), SP_CLAIM_SKIP));
    stop(a);
    stop(b);
}

Test(claims, a_repeat_that_died_undelivered_goes_out_by_its_own_claim)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request first = request_of("id", 1), second = request_of("id", 2);
    struct sp_claim *claim = NULL;
    complete(b, &first, "bytes", SP_STATUS_OK);

    cr_assert(eq(int, sp_claims_take(a, &second, &claim), SP_CLAIM_REPUBLISH));
    cr_assert(eq(int, sp_claims_finish(a, claim, &claim->stored, NULL), SP_OK));
    cr_expect(eq(int, sp_claims_take(b, &second, &claim), SP_CLAIM_PARK));
    die(a);
    cr_assert(eq(int, settle(b, &second, &claim), SP_CLAIM_REPUBLISH));
    cr_expect(eq(int, memcmp(claim->stored.bytes, "bytes", 5), 0));
    stop(b);
}

Test(claims, other_content_under_the_id_is_a_conflict_by_its_own_claim)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request first = request_of("id", 1), second = request_of("id", 2);
    struct sp_claim *claim = must_run(a, &first), *conflict = NULL;
    memcpy(second.digest, DIGEST_B, sizeof second.digest);

    cr_assert(eq(int, sp_claims_take(a, &second, &conflict), SP_CLAIM_CONFLICT));
    cr_expect(eq(chr, state_of("sp:record:requests:2:2:1002"), 'C'));
    cr_assert(eq(int, finish_with(a, conflict, "refused", SP_STATUS_REJECTED), SP_OK));
    sp_claims_delivered(a, conflict);
    sp_claims_forgotten(a, conflict);
    cr_assert(eq(int, sp_claims_take(a, &second, &conflict), SP_CLAIM_SKIP));
    sp_claims_committed(a, conflict);
    cr_assert(SP_UNTIL(PATIENCE_MS, all_written(a)));

    cr_expect(eq(chr, state_of("sp:record:requests:2:2:1002"), '-'));
    cr_expect(eq(chr, state_of("sp:job:id"), 'C'), "the first one is untouched");
    sp_claims_release(a, claim);
    stop(a);
}

Test(claims, a_conflict_whose_worker_died_is_one_again)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request first = request_of("id", 1), second = request_of("id", 2);
    struct sp_claim *claim = must_run(b, &first), *conflict = NULL;
    memcpy(second.digest, DIGEST_B, sizeof second.digest);

    cr_assert(eq(int, sp_claims_take(a, &second, &conflict), SP_CLAIM_CONFLICT));
    die(a);

    cr_expect(eq(int, settle(b, &second, &conflict), SP_CLAIM_CONFLICT));
    cr_expect(not(status_of(b).suspect), "nothing of it ever ran");
    sp_claims_release(b, claim);
    stop(b);
}

Test(claims, without_an_id_a_claim_goes_by_the_record_alone)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request first = request_of(NULL, 1), second = request_of(NULL, 2);
    struct sp_claim_request recreated = first;
    struct sp_claim *claim = NULL;
    recreated.timestamp_ms++;

    complete(a, &first, "bytes", SP_STATUS_OK);

    cr_expect(eq(chr, state_of("sp:record:requests:2:1:1001"), 'D'));
    cr_expect(eq(int, sp_claims_take(a, &first, &claim), SP_CLAIM_SKIP));
    sp_claims_committed(a, claim);
    sp_claims_release(a, must_run(a, &second));
    sp_claims_release(a, must_run(a, &recreated));
    stop(a);
}

Test(claims, a_replay_is_a_new_job_with_new_attempts)
{
    struct sp_claims *a = start("a"), *b = NULL;
    struct sp_claim_request first = request_of("id", 1), replay = request_of("id", 2);
    struct sp_claim *claim = NULL;
    replay.replay = true;
    complete(a, &first, "bytes", SP_STATUS_OK);

    claim = must_run(a, &replay);
    cr_expect(eq(i64, claim->attempt, 1));
    b = start_judge("b");
    cr_expect(eq(int, sp_claims_take(b, &replay, &claim), SP_CLAIM_PARK));
    die(a);
    claim = must_run(b, &replay);
    cr_expect(eq(i64, claim->attempt, 2), "its own deaths count");
    stop(b);
}

Test(claims, a_reply_made_smaller_is_stored_in_place_of_the_first)
{
    struct sp_claims *a = start("a"), *b = start_judge("b");
    struct sp_claim_request request = request_of("id", 1);
    size_t len = 400000;
    sp_auto(sp_free_str) char *bytes = malloc(len + 1);
    memset(bytes, 'x', len);
    bytes[len] = '\0';
    struct sp_claim *claim = must_run(a, &request);

    cr_assert(eq(int, finish_with(a, claim, bytes, SP_STATUS_OK), SP_OK));
    cr_assert(eq(int, finish_with(a, claim, "smaller", SP_STATUS_OK), SP_OK));
    die(a);

    cr_assert(eq(int, settle(b, &request, &claim), SP_CLAIM_REPUBLISH));
    cr_expect(eq(sz, claim->stored.len, 7));
    stop(b);
}

Test(claims, claims_that_are_open_for_long_are_renewed)
{
    struct sp_claims *a =
        start_with("a", (struct sp_claims_options){.claim_ttl_ms = 4000, .liveness_ms = 300});
    struct sp_claim_request request = request_of("id", 1);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(a)));
    struct sp_claim *claim = must_run(a, &request);
    int64_t until = sp_deadline_in(6000);

    while (sp_mono_ms() < until)
        cr_assert(eq(chr, state_of("sp:job:id"), 'C'));

    cr_expect(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    sp_claims_committed(a, claim);
    stop(a);
}

struct thief {
    struct sp_claims *claims;
    pthread_t thread;
};
static atomic_int ran;

static void *steal(void *arg)
{
    struct thief *thief = arg;
    for (int64_t i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof id, "%lld", (long long)i);
        struct sp_claim_request request = request_of(id, i);
        struct sp_claim *claim = NULL;
        enum sp_claim_verdict verdict = SP_CLAIM_PARK;
        while ((verdict = sp_claims_take(thief->claims, &request, &claim)) == SP_CLAIM_PARK)
            poll(NULL, 0, 1);
        if (verdict == SP_CLAIM_RUN) {
            atomic_fetch_add(&ran, 1);
            if (finish_with(thief->claims, claim, "bytes", SP_STATUS_OK))
                abort();
        }
        if (claim)
            sp_claims_committed(thief->claims, claim);
    }
    return NULL;
}

Test(claims, of_two_that_want_a_dead_ones_job_one_has_it)
{
    struct sp_claims *dead = start("dead");
    struct thief thieves[] = {{.claims = start_up("b", 3000)}, {.claims = start_up("c", 3000)}};
    for (int64_t i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof id, "%lld", (long long)i);
        struct sp_claim_request request = request_of(id, i);
        (void)must_run(dead, &request);
    }
    die(dead);

    for (size_t i = 0; i < SP_COUNT(thieves); i++)
        pthread_create(&thieves[i].thread, NULL, steal, &thieves[i]);
    for (size_t i = 0; i < SP_COUNT(thieves); i++)
        pthread_join(thieves[i].thread, NULL);

    cr_expect(eq(int, atomic_load(&ran), 50));
    stop(thieves[0].claims);
    stop(thieves[1].claims);
}

Test(claims, a_stop_gives_up_the_liveness_key_and_writes_what_is_left)
{
    struct sp_claims *a = start("a");
    struct sp_claim_request delivered = request_of("1", 1), released = request_of("2", 2),
                            held = request_of("3", 3);
    struct sp_claim *claim = must_run(a, &delivered);
    cr_assert(eq(int, finish_with(a, claim, "bytes", SP_STATUS_OK), SP_OK));
    sp_claims_delivered(a, claim);
    sp_claims_release(a, must_run(a, &released));
    (void)must_run(a, &held);

    stop(a);

    cr_expect(eq(chr, state_of("sp:job:1"), 'D'));
    cr_expect(eq(chr, state_of("sp:job:2"), '-'));
    cr_expect(eq(chr, state_of("sp:job:3"), 'C'));
    sp_auto(freeReplyObject) redisReply *alive = ask("KEYS sp:alive:*");
    cr_expect(eq(sz, alive->elements, 0));
}

static const struct {
    const char *worker_id;
} bad_ids[] = {{""}, {"a\nb"}, {"\xff"}};

SP_TABLE_TEST(claims, a_worker_id_that_fits_no_line_is_refused, bad_ids, row)
{
    struct sp_claims *claims = NULL;
    struct sp_error err = {0};
    sp_auto(sp_redis_free) struct sp_redis *redis = new_redis();
    struct sp_claims_options options = {.redis = redis,
                                        .prefix = "sp",
                                        .worker_id = row->worker_id,
                                        .liveness_ms = LIVENESS_MS,
                                        .results_ttl_ms = 1,
                                        .max_attempts = 1};

    cr_expect(eq(int, sp_claims_start(&options, &claims, &err), SP_E_INVALID));
    cr_expect(ne(ptr, strstr(err.msg, "worker.id"), NULL), "%s", err.msg);
}
