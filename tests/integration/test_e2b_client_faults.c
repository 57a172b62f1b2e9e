/*
 * Sandboxes whose daemon, proxy or connection misbehaves while a program is put there, runs, and is
 * fetched from (reference e2b 3, 4, 8.2, 10). Whatever comes: what surely did not start is told
 * from what may have, nothing that broke is called a success, and no sandbox stays.
 */
#include <stdio.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/e2b_stage.h"

static struct e2b_stage s;

static void start(void)
{
    e2b_stage_start(&s, "");
}

static void stop(void)
{
    e2b_stage_stop(&s);
}

TestSuite(e2b_faults, .init = start, .fini = stop);

#define KEEPALIVE "000000001a7b226576656e74223a7b226b656570616c697665223a7b7d7d7d"
#define UNKNOWN "00000000147b226576656e74223a7b226e6577223a7b7d7d7d"

/* A program prints "x". message: part of the error. */
static const struct {
    const char *on, *fault;
    enum sp_code rc;
    const char *message;
    enum sp_started started;
} broken[] = {
    /* before the start */
    {"files.write", "\"answer\":{\"status\":507,\"body\":{\"code\":507,\"message\":\"disk full\"}}",
     SP_E_INVALID, "upload: HTTP 507: disk full", SP_STARTED_NO},
    {"files.write", "\"answer\":{\"status\":200,\"body\":[]}", SP_E_INVALID, "names no file",
     SP_STARTED_NO},
    {"files.write",
     "\"answer\":{\"status\":200,\"body\":[{\"path\":\"/etc/sandpiper_supervise.sh\"}]}",
     SP_E_INVALID, "somewhere else", SP_STARTED_NO},
    {"files.write", "\"die\":true", SP_E_UNAVAILABLE, "The sandbox was not found", SP_STARTED_NO},
    {"files.write", "\"answer\":{\"status\":401,\"body\":{\"code\":401,\"message\":\"token\"}}",
     SP_E_INVALID, "HTTP 401: token", SP_STARTED_NO},
    {"files.write", "\"answer\":{\"status\":503,\"body\":\"<html></html>\"}", SP_OK, "",
     SP_STARTED_YES},
    {"files.write", "\"answer\":{\"status\":429,\"headers\":{\"Retry-After\":\"0\"},\"body\":\"\"}",
     SP_OK, "", SP_STARTED_YES},
    /* the start is refused */
    {"process.Start", "\"die\":true", SP_E_UNAVAILABLE, "The sandbox was not found", SP_STARTED_NO},
    {"process.Start", "\"answer\":{\"status\":429,\"body\":{\"code\":429,\"message\":\"many\"}}",
     SP_E_BUSY, "many", SP_STARTED_NO},
    {"process.Start",
     "\"answer\":{\"status\":401,\"body\":{\"code\":401,\"message\":\"unauthorized access\"}}",
     SP_E_INVALID, "HTTP 401", SP_STARTED_NO},
    {"process.Start", "\"answer\":{\"status\":409,\"body\":{\"code\":409,\"message\":\"moving\"}}",
     SP_E_UNAVAILABLE, "HTTP 409", SP_STARTED_NO},
    {"process.Start", "\"answer\":{\"status\":415,\"body\":\"\"}", SP_E_INVALID, "HTTP 415",
     SP_STARTED_NO},
    /* or broken off, which does not say that it was not begun */
    {"process.Start", "\"answer\":{\"status\":408,\"body\":\"\"}", SP_E_INVALID, "HTTP 408",
     SP_STARTED_MAYBE},
    {"process.Start",
     "\"answer\":{\"status\":499,\"body\":{\"code\":\"canceled\",\"message\":\"gone\"}}",
     SP_E_UNAVAILABLE, "HTTP 499 canceled: gone", SP_STARTED_MAYBE},
    {"process.Start",
     "\"answer\":{\"status\":409,\"body\":{\"code\":\"aborted\",\"message\":\"gone\"}}",
     SP_E_UNAVAILABLE, "HTTP 409 aborted: gone", SP_STARTED_MAYBE},
    {"process.Start", "\"answer\":{\"status\":418,\"body\":\"\"}", SP_E_INVALID, "HTTP 418",
     SP_STARTED_NO},
    {"process.Start", "\"answer\":{\"status\":502,\"body\":\"<html><body>Bad</body></html>\"}",
     SP_E_UNAVAILABLE, "HTTP 502", SP_STARTED_MAYBE},
    {"process.Start",
     "\"answer\":{\"status\":502,\"body\":{\"code\":429,\"message\":\"the number counts\"}}",
     SP_E_BUSY, "the number counts", SP_STARTED_NO},
    {"process.Start", "\"answer\":{\"status\":200,\"body\":\"<html></html>\"}", SP_E_INVALID,
     "content of another type", SP_STARTED_MAYBE},
    {"process.Start", "\"headers\":{\"content-type\":\"text/plain\"}", SP_E_INVALID,
     "content of another type", SP_STARTED_MAYBE},
    {"process.Start", "\"reset\":true", SP_E_UNAVAILABLE, "process.Start", SP_STARTED_MAYBE},
    {"process.Start", "\"cut_after\":3", SP_E_UNAVAILABLE, "process.Start", SP_STARTED_MAYBE},
    {"process.Start", "\"cut_at\":\"start\"", SP_E_UNAVAILABLE, "process.Start", SP_STARTED_MAYBE},
    /* the stream breaks */
    {"process.Start", "\"cut_at\":\"end\"", SP_E_UNAVAILABLE, "the connection was lost",
     SP_STARTED_YES},
    {"process.Start", "\"drop\":\"end\"", SP_E_UNAVAILABLE, "without the end of the process",
     SP_STARTED_YES},
    {"process.Start", "\"die_at\":\"data\"", SP_E_UNAVAILABLE, "the sandbox is gone",
     SP_STARTED_YES},
    {"process.Start", "\"insert\":{\"after\":\"start\",\"hex\":\"00ffffffff\"}", SP_E_LIMIT,
     "4294967295 bytes", SP_STARTED_YES},
    {"process.Start", "\"insert\":{\"after\":\"start\",\"hex\":\"010000000100\"}", SP_E_INVALID,
     "compressed", SP_STARTED_YES},
    {"process.Start", "\"insert\":{\"after\":\"start\",\"text\":\"<html>\"}", SP_E_INVALID,
     "no frames", SP_STARTED_YES},
    {"process.Start", "\"insert\":{\"after\":\"start\",\"hex\":\"00000000022222\"}", SP_E_INVALID,
     "not as it should be", SP_STARTED_YES},
    /* it is strange, and works */
    {"process.Start", "\"split\":true", SP_OK, "", SP_STARTED_YES},
    {"process.Start", "\"insert\":{\"after\":\"data\",\"repeat\":100,\"hex\":\"" KEEPALIVE "\"}",
     SP_OK, "", SP_STARTED_YES},
    {"process.Start", "\"insert\":{\"after\":\"start\",\"hex\":\"" UNKNOWN "\"}", SP_OK, "",
     SP_STARTED_YES},
    {"process.Start", "\"drop\":\"eos\"", SP_OK, "", SP_STARTED_YES},
    {"process.Start", "\"cut_at\":\"eos\"", SP_OK, "", SP_STARTED_YES},
    {"process.Start", "\"stall_at\":\"eos\"", SP_OK, "", SP_STARTED_YES},
    {"process.Start", "\"delay_ms\":1500", SP_OK, "", SP_STARTED_YES},
    /* the result cannot be fetched */
    {"files.read", "\"die\":true", SP_E_UNAVAILABLE, "its result cannot be fetched",
     SP_STARTED_YES},
    {"files.read", "\"times\":0,\"reset\":true", SP_E_UNAVAILABLE, "its result cannot be fetched",
     SP_STARTED_YES},
    {"files.read", "\"answer\":{\"status\":404,\"body\":{\"code\":404,\"message\":\"\"}}",
     SP_E_INVALID, "the supervisor does not work", SP_STARTED_YES},
    {"files.read", "\"answer\":{\"status\":200,\"body\":\"junk\"}", SP_E_INVALID,
     "the supervisor does not work", SP_STARTED_YES},
    {"files.read", "\"answer\":{\"status\":200,\"body\":\"refused interpreter            \\n\"}",
     SP_E_INVALID, "the template has no python3", SP_STARTED_NO},
};

SP_TABLE_TEST(e2b_faults, a_failure_says_whether_the_program_may_have_run, broken, row)
{
    char json[400];

    snprintf(json, sizeof json, "{\"on\":\"%s\",%s}", row->on, row->fault);
    e2b_stage_fault(&s, json);
    enum sp_code rc =
        e2b_stage_run(&s, &(struct sp_provider_job){.code = "print('x')", .setup_ms = 20000});

    cr_assert(eq(int, rc, row->rc), "%s %s: %s", row->on, row->fault, s.err.msg);
    cr_expect(strstr(s.err.msg, row->message) != NULL, "%s %s: %s", row->on, row->fault, s.err.msg);
    cr_expect(eq(int, (int)s.result.started, (int)row->started), "%s %s: %s", row->on, row->fault,
              s.err.msg);
    if (!rc)
        cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"), "%s", row->fault);
    cr_expect(lt(int, e2b_stage_requests(&s, "process.Start"), 2), "%s", row->fault);
    cr_expect(zero(int, e2b_stage_alive(&s)), "%s", row->fault);
    cr_expect(zero(int, test_leases_count(&s.leases)), "%s", row->fault);
}

/* The stream's end alone, as an error before the start: by its word. */
static const struct {
    const char *word;
    enum sp_code rc;
    enum sp_started started;
} words[] = {
    {"invalid_argument", SP_E_INVALID, SP_STARTED_NO},
    {"unauthenticated", SP_E_INVALID, SP_STARTED_NO},
    {"resource_exhausted", SP_E_BUSY, SP_STARTED_NO},
    {"unavailable", SP_E_UNAVAILABLE, SP_STARTED_MAYBE},
    {"internal", SP_E_INVALID, SP_STARTED_MAYBE},
    {"never_heard_of", SP_E_INVALID, SP_STARTED_MAYBE},
};

SP_TABLE_TEST(e2b_faults, an_error_in_place_of_the_start_is_judged_by_its_word, words, row)
{
    char payload[128], json[400];

    int len =
        snprintf(payload, sizeof payload, "{\\\"error\\\":{\\\"code\\\":\\\"%s\\\"}}", row->word);
    snprintf(json, sizeof json,
             "{\"on\":\"process.Start\",\"answer\":{\"status\":200,\"headers\":{\"Content-Type\":"
             "\"application/connect+json\"},\"body\":\"\\u0002\\u0000\\u0000\\u0000\\u00%02x%s\"}}",
             (unsigned)len - 6, payload);
    e2b_stage_fault(&s, json);

    enum sp_code rc = e2b_stage_run(&s, &(struct sp_provider_job){.code = "print('x')"});

    cr_expect(eq(int, rc, row->rc), "%s: %s", row->word, s.err.msg);
    cr_expect(eq(int, (int)s.result.started, (int)row->started), "%s: %s", row->word, s.err.msg);
}

/* ---- time ---- */

Test(e2b_faults, our_own_clock_ends_a_run_that_the_service_lets_go_on)
{
    e2b_stage_fault(&s, "{\"on\":\"process.Start\",\"stall_at\":\"eos\"}");

    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "import time\nprint('before')\ntime.sleep(60)",
                                      .timeout_ms = 4000});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"before\n"));
    cr_expect(lt(i64, s.took_ms, 40000));
}

Test(e2b_faults, a_slow_start_is_not_the_program_s_time)
{
    e2b_stage_fault(&s, "{\"on\":\"process.Start\",\"delay_ms\":6000}");

    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "import time\ntime.sleep(1)\nprint('x')",
                                      .timeout_ms = 5000});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_EXITED));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
    cr_expect(lt(i64, s.result.execution_us, 5000000));
}

Test(e2b_faults, a_start_that_nothing_is_heard_of_is_given_up)
{
    e2b_stage_fault(&s, "{\"on\":\"process.Start\",\"stall_at\":\"start\"}");

    enum sp_code rc =
        e2b_stage_run(&s, &(struct sp_provider_job){.code = "print('x')", .setup_ms = 8000});

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(strstr(s.err.msg, "nothing came for too long") != NULL, "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_MAYBE));
}

/* ---- artifacts ---- */

static const struct {
    const char *on, *fault, *reason, *warning;
} fetches[] = {
    {"filesystem.ListDir", "\"answer\":{\"status\":500,\"body\":{\"code\":\"internal\"}}",
     "HTTP 500", NULL},
    {"filesystem.ListDir", "\"answer\":{\"status\":200,\"body\":{\"entries\":1}}",
     "not as it should be", NULL},
    {"filesystem.ListDir",
     "\"answer\":{\"status\":200,\"body\":{\"entries\":[{\"name\":\"../x.csv\",\"type\":"
     "\"FILE_TYPE_FILE\"},{\"name\":\"..\",\"type\":\"FILE_TYPE_DIRECTORY\"},{},7]}}",
     NULL, NULL},
    {"filesystem.Stat", "\"die\":true", NULL, "the connection was lost"},
    {"filesystem.Stat",
     "\"answer\":{\"status\":404,\"body\":{\"code\":\"not_found\",\"message\":\"\"}}", NULL, NULL},
};

SP_TABLE_TEST(e2b_faults, artifacts_that_cannot_be_had_do_not_fail_the_run, fetches, row)
{
    char json[400];

    snprintf(json, sizeof json, "{\"on\":\"%s\",%s}", row->on, row->fault);
    e2b_stage_fault(&s, json);
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "open('artifacts/a.csv', 'w').close()\nprint('x')"});

    cr_assert(eq(int, rc, SP_OK), "%s: %s", row->fault, s.err.msg);
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
    cr_expect(zero(sz, s.result.n_artifacts));
    cr_assert(eq(sz, s.result.n_refused, row->reason ? 1 : 0), "%s", row->fault);
    if (row->reason)
        cr_expect(strstr(s.result.refused[0].reason, row->reason) != NULL, "%s",
                  s.result.refused[0].reason);
    cr_expect(eq(int, s.result.warning != NULL, row->warning != NULL), "%s", row->fault);
    if (row->warning)
        cr_expect(strstr(s.result.warning, row->warning) != NULL, "%s", s.result.warning);
}
