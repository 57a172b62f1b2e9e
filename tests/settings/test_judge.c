/* The rules of DESIGN.md 3, one after the other in one thread: what is in force after which
 * document. */
#include "settings/judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/settings/fake.h"
#include "tests/support.h"

static struct sp_in_force in_force;
static struct sp_judge *judge;

static void start(void)
{
    cr_assert(eq(int, sp_in_force_init(&in_force, NULL), SP_OK));
    cr_assert(eq(int, sp_judge_new(&fake_ops, NULL, &in_force, &judge, NULL), SP_OK));
    sp_judge_redis_back(judge, "redis");
}

static void stop(void)
{
    sp_judge_free(judge);
    sp_in_force_clear(&in_force);
    cr_expect(eq(int, fake_opened, fake_closed), "every provider is closed in the end");
}

TestSuite(judge, .init = start, .fini = stop);

/* How a document comes before the judge. */
struct showing {
    bool due, resolve, untyped;
};

static void show_as(int64_t version, const char *json, struct showing how)
{
    sp_auto(sp_document_clear) struct sp_document doc = fake_document(json);

    doc.version = version;
    if (how.untyped) {
        sp_free_str(SP_TAKE(doc.provider_type));
        json_object_set(doc.providers, "none", json_object_get(doc.providers, "e2b"));
    }
    sp_judge_compare(judge, &doc, how.due, how.resolve);
}

static void show(int64_t version, const char *json)
{
    show_as(version, json, (struct showing){0});
}

static void show_none(void)
{
    sp_judge_compare(judge, &(struct sp_document){0}, false, false);
}

static void expect(struct want want)
{
    struct sp_settings_status s = {0};
    char line[400];

    sp_in_force_status(&in_force, &s);
    describe(&s, line);
    cr_assert(fits(&s, &want), "%s", line);
}

static void expect_in_force(int64_t version)
{
    expect(want_version(version));
}

static void expect_down(int64_t version, const char *message)
{
    expect(want_down(version, message));
}

static void expect_key(const char *key)
{
    expect_key_of(sp_in_force_get(&in_force), key);
}

/* A job found the one in force away; the next look takes notice. */
static void doubt(void)
{
    struct sp_snapshot *snapshot = sp_in_force_get(&in_force);

    cr_expect(sp_in_force_doubt(&in_force, snapshot));
    sp_snapshot_unref(snapshot);
    cr_expect(ne(i64, sp_judge_take_doubt(judge), SP_NEVER));
}

Test(judge, without_settings_nothing_is_in_force)
{
    show_none();

    expect((struct want){.state = SP_SETTINGS_ABSENT, .message = ""});
    cr_expect(eq(ptr, sp_in_force_get(&in_force), NULL));
}

Test(judge, a_job_keeps_its_snapshot_until_it_ends)
{
    show(1, "{\"api_key\":\"one\"}");
    struct sp_snapshot *held = sp_in_force_get(&in_force);

    show(2, "{\"api_key\":\"two\"}");
    expect_in_force(2);
    expect_key("two");
    cr_expect(eq(int, fake_closed, 0));
    cr_expect(eq(i64, held->version, 1));
    expect_key_of(held, "one");

    cr_expect(eq(int, fake_closed, 1));
}

Test(judge, a_bad_change_is_kept_out_and_its_reason_kept)
{
    show(1, "{\"api_key\":\"one\"}");

    show(2, "{\"apikey\":\"two\"}");
    show_as(2, "{\"apikey\":\"two\"}", (struct showing){.due = true});

    expect((struct want){.state = SP_SETTINGS_IN_FORCE,
                         .version = 1,
                         .message = "api_key: required",
                         .error_version = 2,
                         .failures = 1});
    expect_key("one");
    show(3, "{\"apikey\":\"three\"}");
    expect((struct want){
        .state = SP_SETTINGS_IN_FORCE, .version = 1, .error_version = 3, .failures = 2});
    show(4, "{\"api_key\":\"four\"}");
    expect_in_force(4);
    expect_key("four");
}

Test(judge, refused_credentials_are_a_failed_configuration)
{
    show(1, "{\"api_key\":\"one\"}");

    show(2, "{\"api_key\":\"two\",\"peer\":\"denied\"}");

    expect((struct want){
        .state = SP_SETTINGS_IN_FORCE, .version = 1, .message = "the key is refused"});
    expect_key("one");
}

Test(judge, bad_settings_from_the_start_have_their_reason)
{
    show(1, "{\"apikey\":\"one\"}");

    expect((struct want){
        .state = SP_SETTINGS_INVALID, .message = "api_key: required", .error_version = 1});
    cr_expect(eq(ptr, sp_in_force_get(&in_force), NULL));
}

Test(judge, a_reverted_change_clears_the_reason)
{
    show(1, "{\"api_key\":\"one\"}");
    show(1, "{}");
    expect(
        (struct want){.state = SP_SETTINGS_IN_FORCE, .version = 1, .message = "api_key: required"});

    show(1, "{\"api_key\":\"one\"}");

    expect_in_force(1);
    cr_expect(eq(int, fake_opened, 1));
}

Test(judge, an_unavailable_peer_leaves_the_old_one_and_is_tried_again_when_due)
{
    show(1, "{\"api_key\":\"one\"}");
    fake_peer_away = true;

    show(2, "{\"api_key\":\"two\",\"peer\":\"down\"}");
    expect((struct want){.state = SP_SETTINGS_IN_FORCE,
                         .version = 1,
                         .message = "the peer is away",
                         .error_version = 2});
    expect_key("one");
    cr_expect(sp_judge_waits(judge));
    fake_peer_away = false;
    show(2, "{\"api_key\":\"two\",\"peer\":\"down\"}");
    expect_key("one");
    show_as(2, "{\"api_key\":\"two\",\"peer\":\"down\"}", (struct showing){.due = true});

    expect_in_force(2);
    expect_key("two");
    struct sp_settings_status s;
    sp_in_force_status(&in_force, &s);
    cr_expect(eq(i64, s.failures, 0));
}

Test(judge, without_an_old_one_an_unavailable_peer_is_put_in_force_and_checked_again)
{
    fake_peer_away = true;
    show(1, "{\"api_key\":\"one\",\"peer\":\"down\"}");
    expect_down(1, "the peer is away");
    expect_key("one");
    show(2, "{\"api_key\":\"two\",\"peer\":\"down\"}");
    expect_down(2, "the peer is away");

    fake_peer_away = false;
    sp_judge_check_again(judge);

    expect_in_force(2);
    cr_expect(eq(int, fake_opened, 2), "checking again opens nothing");
}

Test(judge, a_throttling_peer_counts_as_away)
{
    fake_peer_away = true;

    show(1, "{\"api_key\":\"one\",\"peer\":\"busy\"}");

    expect((struct want){.state = SP_SETTINGS_IN_FORCE,
                         .version = 1,
                         .message = "the peer throttles",
                         .provider_down = true,
                         .throttled = true});
    fake_peer_away = false;
    sp_judge_check_again(judge);
    expect_in_force(1);
}

Test(judge, a_cancelled_check_judges_nothing)
{
    show(1, "{\"api_key\":\"one\"}");
    fake_stopping = true;

    show(2, "{\"api_key\":\"two\"}");
    expect_in_force(1);
    fake_stopping = false;
    show(2, "{\"api_key\":\"two\"}");

    expect_in_force(2);
    struct sp_settings_status s = {0};
    sp_in_force_status(&in_force, &s);
    cr_expect(eq(i64, s.failures, 0));
}

Test(judge, a_cancelled_check_does_not_withdraw_the_one_in_force)
{
    fake_peer_away = true;
    show(1, "{\"api_key\":\"one\",\"peer\":\"down\"}");
    fake_stopping = true;

    sp_judge_check_again(judge);

    expect_down(1, "the peer is away");
}

Test(judge, a_provider_that_a_job_found_away_is_up_again_after_a_check)
{
    show(1, "{\"api_key\":\"one\",\"peer\":\"down\"}");
    fake_peer_away = true;

    doubt();

    expect_down(1, "a job found it unavailable");
    sp_judge_check_again(judge);
    expect_down(1, "the peer is away");
    fake_peer_away = false;
    sp_judge_check_again(judge);
    expect_in_force(1);
}

Test(judge, a_doubt_about_one_that_is_not_in_force_any_more_is_none)
{
    show(1, "{\"api_key\":\"one\"}");
    struct sp_snapshot *old = sp_in_force_get(&in_force);
    show(2, "{\"api_key\":\"two\"}");

    cr_expect(not(sp_in_force_doubt(&in_force, old)));

    cr_expect(eq(i64, sp_judge_take_doubt(judge), SP_NEVER));
    expect_in_force(2);
    sp_snapshot_unref(old);
}

Test(judge, a_doubt_ends_with_the_one_it_was_about)
{
    show(1, "{\"api_key\":\"one\"}");
    struct sp_snapshot *old = sp_in_force_get(&in_force);
    cr_expect(sp_in_force_doubt(&in_force, old));

    show(2, "{\"api_key\":\"two\"}");

    cr_expect(eq(i64, sp_judge_take_doubt(judge), SP_NEVER));
    expect_in_force(2);
    sp_snapshot_unref(old);
}

Test(judge, one_that_has_worked_is_not_withdrawn_by_a_refusal)
{
    show(1, "{\"api_key\":\"one\"}");
    fake_refuses = true;
    doubt();

    sp_judge_check_again(judge);

    expect_in_force(1);
}

Test(judge, one_that_has_worked_stays_when_the_peer_of_the_next_is_away_too)
{
    show(1, "{\"api_key\":\"one\",\"peer\":\"down\"}");
    fake_peer_away = true;
    doubt();

    show(2, "{\"api_key\":\"two\",\"peer\":\"down\"}");

    expect((struct want){.state = SP_SETTINGS_IN_FORCE,
                         .version = 1,
                         .error_version = 2,
                         .message = "the peer is away",
                         .provider_down = true});
    expect_key("one");
}

Test(judge, what_never_worked_is_withdrawn_when_its_credentials_are_refused)
{
    fake_peer_away = true;
    show(1, "{\"api_key\":\"one\",\"peer\":\"denied\"}");
    expect_down(1, "the peer is away");

    fake_peer_away = false;
    sp_judge_check_again(judge);

    expect((struct want){
        .state = SP_SETTINGS_INVALID, .message = "the key is refused", .error_version = 1});
    cr_expect(eq(ptr, sp_in_force_get(&in_force), NULL));
}

Test(judge, saving_again_takes_the_version_and_keeps_the_provider)
{
    show(1, "{\"api_key\":\"one\"}");
    struct sp_snapshot *held = sp_in_force_get(&in_force);

    show(2, "{\"api_key\":\"one\"}");

    struct sp_snapshot *now = sp_in_force_get(&in_force);
    cr_expect(eq(i64, now->version, 2));
    cr_expect(eq(ptr, now->value, held->value));
    cr_expect(eq(int, fake_opened, 1));
    sp_snapshot_unref(held);
    sp_snapshot_unref(now);
}

Test(judge, a_hand_edit_without_a_version_is_obeyed)
{
    show(0, "{\"api_key\":\"one\"}");
    show(0, "{\"api_key\":\"two\"}");

    expect((struct want){.state = SP_SETTINGS_IN_FORCE, .version = 0, .changes = 2});
    expect_key("two");
}

Test(judge, references_are_resolved_again_where_that_is_asked_for)
{
    setenv("SP_TEST_KEY", "old", 1);
    show(1, "{\"api_key\":\"env:SP_TEST_KEY\"}");
    setenv("SP_TEST_KEY", "new", 1);

    show(1, "{\"api_key\":\"env:SP_TEST_KEY\"}");
    expect_key("old");
    show_as(1, "{\"api_key\":\"env:SP_TEST_KEY\"}", (struct showing){.resolve = true});

    expect((struct want){.state = SP_SETTINGS_IN_FORCE, .version = 1, .changes = 2});
    expect_key("new");
}

Test(judge, settings_without_a_type_are_marked)
{
    show_as(1, "{\"api_key\":\"one\"}", (struct showing){.untyped = true});

    struct sp_snapshot *snapshot = sp_in_force_get(&in_force);
    cr_expect(snapshot->defaulted);
    sp_snapshot_unref(snapshot);
}

Test(judge, missing_settings_never_unload_a_provider)
{
    show(1, "{\"api_key\":\"one\"}");

    show_none();

    expect((struct want){.state = SP_SETTINGS_IN_FORCE,
                         .version = 1,
                         .message = "Redis holds no settings; version 1 stays in force"});
    expect_key("one");
}

Test(judge, the_document_in_force_can_be_had)
{
    sp_auto(sp_document_clear) struct sp_document doc = {0};
    cr_expect(not(sp_in_force_document(&in_force, &doc)));
    show(1, "{\"api_key\":\"one\"}");
    show(2, "{\"api_key\":\"two\"}");
    show(3, "{}"); /* refused */

    cr_assert(sp_in_force_document(&in_force, &doc));

    cr_expect(eq(i64, doc.version, 2));
    cr_expect(eq(str, doc.author, "ann"));
    cr_expect(eq(i64, doc.position.offset, 5));
    cr_expect(
        ne(ptr, strstr(json_string_value(json_object_get(doc.providers, "e2b")), "two"), NULL));
}

/* Looks when the old provider is closed, which is right after the new one is in force. */
static void see_document(void)
{
    sp_auto(sp_document_clear) struct sp_document doc = {0};

    cr_assert(sp_in_force_document(&in_force, &doc));
    cr_expect(eq(i64, doc.version, 2));
}

Test(judge, whoever_sees_the_new_provider_sees_its_document)
{
    show(1, "{\"api_key\":\"one\"}");
    fake_on_close = see_document;

    show(2, "{\"api_key\":\"two\"}");

    cr_expect(eq(int, fake_closed, 1));
    fake_on_close = NULL;
}

Test(judge, what_is_wrong_with_the_control_topic_is_shown_beside_the_settings)
{
    struct sp_settings_status s;
    show(1, "{\"api_key\":\"one\"}");

    sp_in_force_control(&in_force, 7, "provider_type: required");
    show(2, "{\"api_key\":\"two\"}");

    sp_in_force_status(&in_force, &s);
    cr_expect(eq(i64, s.control_offset, 7));
    cr_expect(eq(str, s.control_message, "provider_type: required"));

    sp_in_force_control(&in_force, -1, "");
    sp_in_force_status(&in_force, &s);
    cr_expect(eq(str, s.control_message, ""));
}
