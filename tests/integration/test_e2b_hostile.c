/*
 * Services and programs that want to do harm, and cancels wherever a run is (reference e2b 4, 5,
 * 12; CONTRACT.md 3): nothing holds a run longer than its time, and nothing of a secret is said.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/e2b_stage.h"
#include "tests/support/until.h"

static struct e2b_stage s;

static void start(void)
{
    e2b_stage_start(&s, "");
}

static void stop(void)
{
    e2b_stage_stop(&s);
}

TestSuite(e2b_hostile, .init = start, .fini = stop);

/* ---- streams ---- */

#define START "00000000207b226576656e74223a7b227374617274223a7b22706964223a313131367d7d7d"
#define EXIT_3                                                                                     \
    "00000000627b226576656e74223a7b22656e64223a7b2265786974436f6465223a332c2022657869746564223a74" \
    "7275652c2022737461747573223a2265786974207374617475732033222c20226572726f72223a22657869742073" \
    "74617475732033227d7d7d"

Test(e2b_hostile, a_second_start_gives_no_more_time)
{
    e2b_stage_fault(&s, "{\"on\":\"process.Start\",\"stall_at\":\"eos\","
                        "\"insert\":{\"after\":\"data\",\"hex\":\"" START "\"}}");

    enum sp_code rc =
        e2b_stage_run(&s, &(struct sp_provider_job){
                              .code = "import time\ntime.sleep(7)\nprint('late')\ntime.sleep(60)",
                              .timeout_ms = 8000});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(lt(i64, s.result.execution_us, 13000000));
}

Test(e2b_hostile, the_end_of_the_process_comes_once)
{
    e2b_stage_fault(&s, "{\"on\":\"process.Start\",\"split\":true,\"insert\":{\"after\":"
                        "\"end\",\"repeat\":8000,\"hex\":\"" EXIT_3 "\"}}");

    enum sp_code rc = e2b_stage_run_python(&s, "print('x')");

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(zero(int, s.result.exit_code));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
    cr_expect(lt(i64, s.took_ms, 19000)); /* its own time would be 20 s */
}

/* ---- cancels ---- */

/* A cancel while the service keeps one call waiting. */
static const struct {
    const char *mode, *on, *fault;
    enum sp_code rc;
    enum sp_started started;
} cancels[] = {
    {"process", "create", "\"delay_ms\":20000", SP_E_CANCELLED, SP_STARTED_NO},
    {"process", "create", "\"late_ms\":20000", SP_E_CANCELLED, SP_STARTED_NO},
    {"process", "files.write", "\"delay_ms\":20000", SP_E_CANCELLED, SP_STARTED_NO},
    {"process", "process.Start", "\"delay_ms\":20000", SP_OK, SP_STARTED_MAYBE},
    {"process", "process.Start", "\"stall_at\":\"start\"", SP_OK, SP_STARTED_MAYBE},
    {"process", "process.Start", "\"stall_at\":\"end\"", SP_OK, SP_STARTED_YES},
    {"process", "files.read", "\"delay_ms\":20000", SP_E_CANCELLED, SP_STARTED_YES},
    {"process", "filesystem.Stat", "\"delay_ms\":20000", SP_OK, SP_STARTED_YES},
    {"process", "filesystem.ListDir", "\"delay_ms\":20000", SP_OK, SP_STARTED_YES},
    {"kernel", "filesystem.MakeDir", "\"delay_ms\":20000", SP_E_CANCELLED, SP_STARTED_NO},
    {"kernel", "contexts.create", "\"delay_ms\":20000", SP_E_CANCELLED, SP_STARTED_NO},
    {"kernel", "execute", "\"delay_ms\":20000", SP_OK, SP_STARTED_MAYBE},
    {"kernel", "execute", "\"stall_at\":\"stdout\"", SP_OK, SP_STARTED_YES},
    {"kernel", "filesystem.ListDir", "\"delay_ms\":20000", SP_OK, SP_STARTED_YES},
};

/* Within a second, and more where tests crowd; what is waited for comes after 20 s. */
enum { ANSWERED_MS = 5000 };

struct canceller {
    const char *on;
    int fd;
    int64_t at;
};

static void *cancel_later(void *arg)
{
    struct canceller *c = arg;

    cr_assert(SP_UNTIL(60000, e2b_stage_requests(&s, c->on) > 0));
    usleep(1500000); /* it waits now */
    c->at = sp_mono_ms();
    cr_assert(eq(sz, (size_t)write(c->fd, &(uint64_t){1}, 8), 8));
    return NULL;
}

SP_TABLE_TEST(e2b_hostile, a_cancel_is_answered_wherever_the_run_is, cancels, row)
{
    char json[200], settings[40];
    struct canceller canceller = {.on = row->on, .fd = eventfd(0, EFD_CLOEXEC)};
    pthread_t thread;

    snprintf(settings, sizeof settings, "\"mode\":\"%s\"", row->mode);
    e2b_stage_open(&s, settings);
    snprintf(json, sizeof json, "{\"on\":\"%s\",%s}", row->on, row->fault);
    e2b_stage_fault(&s, json);
    cr_assert(zero(int, pthread_create(&thread, NULL, cancel_later, &canceller)));
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "print('x')", .cancel_fd = canceller.fd});
    int64_t now = sp_mono_ms();
    pthread_join(thread, NULL);
    close(canceller.fd);

    cr_expect(eq(int, rc, row->rc), "%s %s: %s", row->on, row->fault, s.err.msg);
    cr_expect(eq(int, (int)s.result.started, (int)row->started), "%s %s", row->on, row->fault);
    cr_expect(lt(i64, now - canceller.at, ANSWERED_MS), "%s %s: %lld ms", row->on, row->fault,
              (long long)(now - canceller.at));
    json_decref(e2b_stage_tell(&s, "POST", "end", "{}"));
}

Test(e2b_hostile, a_cancel_does_not_wait_for_the_list_of_what_may_be_left)
{
    struct canceller canceller = {.on = "create", .fd = eventfd(0, EFD_CLOEXEC)};
    pthread_t thread;

    e2b_stage_fault(&s, "{\"on\":\"create\",\"late_ms\":20000}");
    e2b_stage_fault(&s, "{\"on\":\"list\",\"delay_ms\":20000}");
    cr_assert(zero(int, pthread_create(&thread, NULL, cancel_later, &canceller)));
    enum sp_code rc =
        e2b_stage_run(&s, &(struct sp_provider_job){.code = "1", .cancel_fd = canceller.fd});
    int64_t now = sp_mono_ms();
    pthread_join(thread, NULL);
    close(canceller.fd);

    cr_expect(eq(int, rc, SP_E_CANCELLED), "%s", s.err.msg);
    cr_expect(lt(i64, now - canceller.at, ANSWERED_MS), "%lld ms", (long long)(now - canceller.at));
    cr_expect(eq(int, test_leases_count(&s.leases), 1));
    json_decref(e2b_stage_tell(&s, "POST", "end", "{}"));
}

/* ---- lost answers ---- */

Test(e2b_hostile, a_folder_whose_making_was_not_answered_is_found)
{
    e2b_stage_open(&s, "\"mode\":\"kernel\"");
    e2b_stage_fault(&s, "{\"on\":\"filesystem.MakeDir\",\"work\":true,\"answer\":{\"status\":503,"
                        "\"body\":\"\"}}");

    cr_assert(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
}

Test(e2b_hostile, a_service_with_the_first_version_alone_is_searched_too)
{
    e2b_stage_fault(&s, "{\"on\":\"create\",\"cut_at\":\"body\"}");
    e2b_stage_fault(&s, "{\"on\":\"list\",\"answer\":{\"status\":404,\"body\":\"\"}}");

    cr_expect(eq(int, e2b_stage_run_python(&s, "1"), SP_E_UNAVAILABLE), "%s", s.err.msg);

    cr_expect(eq(int, e2b_stage_count(&s, "created"), 1));
    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(eq(int, test_leases_count(&s.leases), 1), "a sweep looks once more");
    test_leases_expire(&s.leases);
    sp_provider_sweep(s.provider);
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(e2b_hostile, the_other_endpoint_is_not_asked_while_a_sandbox_may_have_been_made)
{
    e2b_stage_fault(&s,
                    "{\"on\":\"create\",\"work\":true,\"answer\":{\"status\":502,\"body\":\"\"}}");
    e2b_stage_fault(&s, "{\"on\":\"create\",\"answer\":{\"status\":404,\"body\":\"\"}}");

    cr_expect(eq(int, e2b_stage_run_python(&s, "1"), SP_E_INVALID), "%s", s.err.msg);

    cr_expect(eq(int, e2b_stage_requests(&s, "create"), 2));
    cr_expect(zero(int, e2b_stage_alive(&s)));
}

Test(e2b_hostile, both_of_a_making_that_was_doubled_are_ended)
{
    json_decref(e2b_stage_tell(&s, "POST", "config", "{\"idempotency\":0}"));
    e2b_stage_fault(&s,
                    "{\"on\":\"create\",\"work\":true,\"answer\":{\"status\":504,\"body\":\"\"}}");

    cr_assert(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, e2b_stage_count(&s, "created"), 2));
    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(e2b_hostile, a_making_that_was_given_up_is_swept_soon)
{
    e2b_stage_fault(&s, "{\"on\":\"create\",\"delay_ms\":3000}");

    enum sp_code rc = e2b_stage_run(&s, &(struct sp_provider_job){.code = "1", .setup_ms = 1000});

    cr_expect(eq(int, rc, SP_E_TIMEOUT), "%s", s.err.msg);
    json_t *lease = json_object_iter_value(json_object_iter(s.leases.records));
    int64_t until = json_integer_value(json_object_get(lease, "until"));
    cr_expect(lt(i64, sp_mono_ms(), until));
    cr_expect(lt(i64, until, sp_mono_ms() + 60001));
}

/* Blank lines up to the byte behind which nothing comes any more. */
Test(e2b_hostile, a_cell_s_end_is_not_held_back_by_the_connection)
{
    e2b_stage_open(&s, "\"mode\":\"kernel\"");
    e2b_stage_fault(&s, "{\"on\":\"execute\",\"stall_after\":5000,\"insert\":{\"after\":"
                        "\"end_of_execution\",\"text\":\"\\n\",\"repeat\":5000}}");

    cr_assert(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
    cr_expect(lt(i64, s.took_ms, 19000));
}

/* ---- secrets ---- */

Test(e2b_hostile, a_service_that_repeats_the_key_is_not_quoted)
{
    e2b_stage_fault(
        &s, "{\"on\":\"create\",\"answer\":{\"status\":400,\"body\":{\"code\":400,\"message\":"
            "\"no team has e2b_0000000000000000000000000000000000000000\"}}}");

    cr_expect(eq(int, e2b_stage_run_python(&s, "1"), SP_E_INVALID));

    cr_expect(strstr(s.err.msg, "e2b_000") == NULL, "%s", s.err.msg);
    cr_expect(strstr(s.err.msg, "create: HTTP 400") != NULL, "%s", s.err.msg);
}

/* Two runs and a check, with everything going wrong that is logged. */
static void run_badly(void)
{
    e2b_stage_fault(
        &s, "{\"on\":\"create\",\"times\":0,\"patch\":{\"envdAccessToken\":\"TOKEN-WORD\"}}");
    e2b_stage_fault(&s, "{\"on\":\"list\",\"times\":0,\"answer\":{\"status\":500,\"body\":"
                        "{\"code\":500,\"message\":\"PEER-WORD\"}}}");
    e2b_stage_fault(&s, "{\"on\":\"delete\",\"times\":2,\"answer\":{\"status\":500,\"body\":"
                        "{\"code\":500,\"message\":\"PEER-WORD\"}}}");
    (void)e2b_stage_run_python(
        &s, "print('OUTPUT-' + 'WORD', flush=True)\nraise ValueError('CODE-WORD')");
    (void)e2b_stage_check(&s);
    test_leases_expire(&s.leases);
    s.leases.away = true;
    sp_provider_sweep(s.provider);
    s.leases.away = false;
    sp_provider_sweep(s.provider);
    cr_expect(strstr(s.err.msg, "WORD") == NULL, "%s", s.err.msg);
}

static const struct {
    const char *settings;
} quiet[] = {{"\"secure\":false"}, {"\"secure\":false,\"mode\":\"kernel\""}};

SP_TABLE_TEST(e2b_hostile, no_secret_code_output_or_peer_s_word_is_logged, quiet, row)
{
    static const char *const secrets[] = {"e2b_0000000000", "WORD"};
    static char text[1 << 18];
    int log = memfd_create("log", MFD_CLOEXEC), kept = dup(2);

    e2b_stage_open(&s, row->settings);
    sp_log_setup(SP_DEBUG, true);
    dup2(log, 2);
    run_badly();
    dup2(kept, 2);
    close(kept);
    sp_log_setup(SP_ERROR, true);
    ssize_t len = pread(log, text, sizeof text - 1, 0);
    close(log);

    cr_assert(lt(long, 0, (long)len));
    cr_expect(strstr(text, "\"e2b_call\"") != NULL && strstr(text, "destroy_failed") != NULL, "%s",
              text);
    for (size_t i = 0; i < SP_COUNT(secrets); i++)
        cr_expect(strstr(text, secrets[i]) == NULL, "%s: %s", secrets[i], text);
    json_decref(e2b_stage_tell(&s, "POST", "end", "{}"));
}

Test(e2b_hostile, a_message_is_cut_between_characters)
{
    e2b_stage_fault(
        &s, "{\"on\":\"create\",\"answer\":{\"status\":400,\"body\":{\"code\":400,\"error_code\":"
            "\"x\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
            "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\"}}}");

    cr_expect(eq(int, e2b_stage_run_python(&s, "1"), SP_E_INVALID));

    cr_expect(sp_utf8_valid(s.err.msg, strlen(s.err.msg)), "%s", s.err.msg);
}

/* ---- what was asked for ---- */

Test(e2b_hostile, a_sandbox_lives_through_a_long_preparation)
{
    const struct sp_provider_job job = {.code = "", .timeout_ms = 5000, .setup_ms = 200000};
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_instance *instance = NULL;

    cr_assert(eq(int, sp_provider_create(s.provider, &req, &run, &instance, &s.err), SP_OK));
    json_auto_t *state = e2b_stage_tell(&s, "GET", "state", NULL);
    json_t *one = json_array_get(json_object_get(state, "sandboxes"), 0);
    sp_provider_destroy(instance, &run);

    cr_expect(lt(i64, 204, (int64_t)json_integer_value(json_object_get(one, "ttl_s"))));
}

/* ---- programs ---- */

static const struct {
    const char *name, *code;
    int exit_code;
    const char *warning; /* part of it; NULL: there is none */
} tricks[] = {
    {"writes another end",
     "import os\nfd = os.open('../result', os.O_WRONLY)\n"
     "os.write(fd, b'exit 0'.ljust(31) + b'\\n')\nos._exit(3)",
     3, NULL},
    {"writes a refusal",
     "import os\nfd = os.open('../result', os.O_WRONLY)\n"
     "os.write(fd, b'refused limit'.ljust(31) + b'\\n')\nos._exit(3)",
     3, NULL},
    {"empties the record",
     "open('../result', 'w').close()\n"
     "import os\nos.write(3, b'{\"present\":false}' * 3)\nos._exit(3)",
     3, "result channel"},
    {"removes the record", "import os\nos.remove('../result')\nos._exit(3)", 3, NULL},
    {"makes a folder of the record",
     "import os\nos.remove('../result')\nos.makedirs('../result/x')\nos._exit(3)", 3, NULL},
    {"makes a pipe of the record",
     "import os\nos.remove('../result')\nos.mkfifo('../result')\nos._exit(3)", 3, NULL},
    {"makes a link of the record",
     "import os\nos.remove('../result')\nos.symlink('/etc/hostname', '../result')\nos._exit(3)", 3,
     NULL},
    {"makes a pipe of the record and kills the supervisor",
     "import os\nwith open(f'/proc/{os.getppid()}/stat') as f:\n"
     "    parent = int(f.read().rsplit(')')[-1].split()[1])\n"
     "os.remove('../result')\nos.mkfifo('../result')\n"
     "os.kill(parent, 9)\nos.kill(os.getpid(), 9)",
     -9, "supervisor was killed"},
};

SP_TABLE_TEST(e2b_hostile, a_program_that_meddles_has_failed_and_not_we, tricks, row)
{
    cr_assert(eq(int, e2b_stage_run_python(&s, row->code), SP_OK), "%s: %s", row->name, s.err.msg);

    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_EXITED), "%s", row->name);
    cr_expect(eq(int, s.result.exit_code, row->exit_code), "%s: %s", row->name,
              sp_provider_job_err(&s.result));
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_YES), "%s", row->name);
    cr_expect(eq(int, s.result.warning != NULL, row->warning != NULL), "%s: %s", row->name,
              s.result.warning ? s.result.warning : "");
    if (row->warning && s.result.warning)
        cr_expect(strstr(s.result.warning, row->warning) != NULL, "%s", s.result.warning);
    cr_expect(lt(i64, s.took_ms, 19000), "%s", row->name);
}

/* The record is the program's to write, and its words are not quoted in an error. */
Test(e2b_hostile, a_record_s_words_do_not_come_into_an_error)
{
    static const char code[] =
        "import os\nwith open(f'/proc/{os.getppid()}/stat') as f:\n"
        "    parent = int(f.read().rsplit(')')[-1].split()[1])\n"
        "os.kill(parent, 19)\nfd = os.open('../result', os.O_WRONLY)\n"
        "os.write(fd, b'refused secret\\xff'.ljust(31) + b'\\n')\nos.kill(parent, 9)";

    (void)e2b_stage_run_python(&s, code);

    cr_expect(strstr(s.err.msg, "secret") == NULL, "%s", s.err.msg);
}

static long peak_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* A refusal of many small values, from a daemon that a program has put in place of envd. */
Test(e2b_hostile, a_large_refusal_costs_no_memory_beside)
{
    enum { VALUES = 2000000 };
    sp_auto(sp_buf_clear) struct sp_buf json = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(zero(int, sp_buf_adds(&json, "{\"on\":\"files.read\",\"times\":0,\"answer\":{"
                                           "\"status\":500,\"body\":\"[{}")));
    for (int i = 1; i < VALUES; i++)
        cr_assert(zero(int, sp_buf_adds(&json, ",{}")));
    cr_assert(zero(int, sp_buf_adds(&json, "]\"}}")));
    e2b_stage_fault(&s, sp_buf_str(&json));
    long before = peak_kib();

    cr_expect(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_E_INVALID));

    cr_expect(lt(long, peak_kib() - before, 100000), "%ld KiB", peak_kib() - before);
    cr_expect(strstr(s.err.msg, "HTTP 500") != NULL, "%s", s.err.msg);
}

Test(e2b_hostile, a_flood_of_pictures_costs_no_time_beside)
{
    e2b_stage_open(&s, "\"mode\":\"kernel\"");
    e2b_stage_fault(&s, "{\"on\":\"execute\",\"insert\":{\"after\":\"stdout\",\"repeat\":10001,"
                        "\"text\":\"{\\\"type\\\":\\\"result\\\",\\\"html\\\":\\\"x\\\"}\\n\"}}");

    cr_assert(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(sz, s.result.n_artifacts, 20));
    cr_assert(s.result.warning != NULL);
    cr_expect(strstr(s.result.warning, "more than 10000 entries") != NULL, "%s", s.result.warning);
}
