/* When things happen: the bounds of CONTRACT.md 3.4, and ends that come while a run is starting. */
#include <fcntl.h>
#include <sys/timerfd.h>

#include "tests/providers/local_stage.h"

static struct stage stage;

static void open_stage(void)
{
    stage_open(&stage, "\"max_output_bytes\":10485760");
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(local_time, .init = open_stage, .fini = close_stage);

enum { TRIES = 5 }; /* a busy machine may be late once; what we do late, is late each time */

/* A daemon that writes the time to a file for as long as it lives; the clock is the worker's. */
#define SURVIVOR                                                                                   \
    "import os, time\n"                                                                            \
    "r, w = os.pipe()\n"                                                                           \
    "if os.fork() == 0:\n"                                                                         \
    "    os.setsid()\n"                                                                            \
    "    if os.fork() == 0:\n"                                                                     \
    "        fd = os.open('%s', os.O_CREAT | os.O_WRONLY)\n"                                       \
    "        while True:\n"                                                                        \
    "            os.pwrite(fd, b'%%15d' %% (time.monotonic_ns() // 1000), 0)\n"                    \
    "            os.write(w, b'x')\n"                                                              \
    "            time.sleep(0.001)\n"                                                              \
    "    os._exit(0)\n"                                                                            \
    "os.read(r, 1)\n"                                                                              \
    "print(time.monotonic_ns() // 1000, flush=True)\n"

static const struct {
    const char *rest;
    int64_t timeout_ms; /* 0: the program ends by itself */
    int64_t bound_us;
} survivors[] = {
    {"", 0, 100000},
    {"os._exit(3)\n", 0, 100000},
    {"while True: os.read(r, 65536)\n", 2000, 1000000},
    {"while True: os.read(r, 65536)\n", 2001, 100000}, /* ours: nothing has to be waited for */
};

/* How long the survivor lived after the end, or the deadline, of the program. */
static int64_t survived_us(const char *rest, int64_t timeout_ms)
{
    char path[128], code[1024];
    struct sp_result r = {0};
    long long last = 0;
    int64_t end;
    FILE *file;

    snprintf(path, sizeof path, "%s.time", stage.work_dir);
    snprintf(code, sizeof code, SURVIVOR "%s", path, rest);
    stage_run(&stage, &(struct sp_provider_job){.code = code, .timeout_ms = timeout_ms}, &r);
    end = strtoll(r.out.text, NULL, 10);
    if (timeout_ms > 0) { /* the deadline is a little before, as the start is */
        cr_expect(eq(int, r.outcome, SP_OUTCOME_TIMEOUT), "%s", r.err.text);
        end += timeout_ms * 1000;
    }
    file = fopen(path, "r");
    cr_assert(file && fscanf(file, "%lld", &last) == 1);
    fclose(file);
    unlink(path);
    sp_result_clear(&r);
    return last - end;
}

SP_TABLE_TEST(local_time, what_is_left_is_killed_in_time, survivors, row)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < TRIES && least > row->bound_us; i++) {
        int64_t lived = survived_us(row->rest, row->timeout_ms);

        least = lived < least ? lived : least;
    }

    cr_expect(le(i64, least, row->bound_us), "%s", row->rest);
}

/* The program fills its pipe and is gone before a byte of it may have been read. */
Test(local_time, what_a_program_left_in_the_pipe_is_read)
{
    struct sp_result r = {0};

    stage_run(&stage,
              &(struct sp_provider_job){
                  .code = "import fcntl, os\nfcntl.fcntl(1, 1031, 1 << 20)\n"
                          "n = os.write(1, b'x' * (1 << 20))\nos.write(2, str(n).encode())\n"
                          "os.kill(os.getpid(), 9)"},
              &r);

    cr_expect(eq(int, r.exit_code, -9));
    cr_expect(eq(i64, r.out.bytes, 1 << 20));
    cr_expect(eq(sz, r.out.len, 1 << 20));
    cr_expect(eq(str, r.err.text, "1048576"));
    sp_result_clear(&r);
}

enum ending { CANCEL, DEADLINE };
static const enum ending endings[] = {CANCEL, DEADLINE};

/* One run that is ended `after_us` from now. What is reported as not started has not run. */
static void end_early(enum ending ending, int64_t after_us, const char *code, const char *ran)
{
    struct itimerspec in = {.it_value = {.tv_nsec = after_us * 1000 + 1}};
    struct sp_provider_job job = {.code = code};
    struct sp_result r = {0};
    struct sp_error err = {0};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int64_t began = sp_mono_ms();
    enum sp_code rc;

    timerfd_settime(timer, 0, &in, NULL);
    job.cancel_fd = ending == CANCEL ? timer : 0;
    job.deadline = ending == DEADLINE ? began + after_us / 1000 : 0;
    rc = sp_provider_job_run(stage.provider, &job, &r, &err);

    cr_expect(lt(i64, sp_mono_ms() - began, 10000));
    if (rc) {
        cr_expect(eq(int, rc, ending == CANCEL ? SP_E_CANCELLED : SP_E_TIMEOUT), "%s", err.msg);
        cr_expect(eq(int, r.started, SP_STARTED_NO));
        cr_expect(access(ran, F_OK) != 0, "not started, but it ran");
    } else {
        cr_expect(eq(int, r.outcome, ending == CANCEL ? SP_OUTCOME_CANCELLED : SP_OUTCOME_TIMEOUT));
        cr_expect(eq(int, r.exit_code, -1));
    }
    unlink(ran);
    sp_result_clear(&r);
    close(timer);
}

SP_TABLE_TEST(local_time, an_end_may_come_at_every_moment_of_the_start, endings, row)
{
    char ran[128], code[256];

    snprintf(ran, sizeof ran, "%s.ran", stage.work_dir);
    snprintf(code, sizeof code, "open('%s', 'w')\nwhile True: pass", ran);

    for (int64_t after_us = 0; after_us < 50000; after_us += after_us < 4000 ? 250 : 5000)
        end_early(*row, after_us, code, ran);
    cr_expect(eq(int, stage_count(stage.work_dir), 1));
}
