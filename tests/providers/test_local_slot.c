/* A slot on its own: a process that is never given its job, a keeper that is gone early. */
#include <fcntl.h>
#include <sys/socket.h>

#include "providers/local/fd.h"
#include "providers/local/run.h"
#include "providers/protocol.h"
#include "tests/providers/local_stage.h"

static const struct {
    enum sp_language language;
    const char *interpreter, *code;
} programs[] = {
    {SP_PYTHON, "/usr/bin/python3", "open('ran', 'w')"},
    {SP_JAVASCRIPT, "/usr/bin/node", "require('fs').writeFileSync('ran', '')"},
};

static void put(const char *folder, const char *name, const char *text, size_t len)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "w");
    cr_assert(file != NULL);
    cr_assert(eq(sz, fwrite(text, 1, len, file), len));
    fclose(file);
}

/* The one child of a process; 0: none. */
static int child_of(int pid)
{
    char path[64];
    FILE *file;
    int child = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    file = fopen(path, "r");
    if (!file || fscanf(file, "%d", &child) != 1)
        child = 0;
    if (file)
        fclose(file);
    return child;
}

/* Nobody waits for it, so it stays as a zombie. */
static bool has_ended(int pid)
{
    char path[64], state = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (!file)
        return true;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(file);
    return state == 'Z';
}

/*
 * The keeper is stopped, so nobody ends the process: it has to see by itself that its job will not
 * come. So it is when the worker dies in this moment.
 */
SP_TABLE_TEST(local_slot, a_program_without_its_job_never_runs, programs, row)
{
    const struct sp_wrapper *wrapper = sp_wrapper(row->language);
    const char *args[] = {row->interpreter, wrapper->file, wrapper->program, NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", NULL};
    struct sp_launch launch = {.args = args, .env = env, .limits = {{-1, 0, 0}}};
    struct sp_run run = {
        .setup_deadline = sp_deadline_in(20000), .deadline = SP_NEVER, .cancel_fd = -1};
    struct sp_launcher *launcher = NULL;
    struct sp_slot slot = SP_SLOT_INIT;
    struct sp_error err = {0};
    char ran[256];
    struct stage s;
    int folder, keeper, program;

    stage_prepare(&s);
    put(s.work_dir, wrapper->file, wrapper->text, wrapper->len);
    put(s.work_dir, wrapper->program, row->code, strlen(row->code));
    folder = open(s.work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert(eq(int, sp_launcher_open(&launcher, &err), SP_OK), "%s", err.msg);
    cr_assert(eq(int, sp_slot_start(launcher, &launch, folder, &run, &slot, &err), SP_OK), "%s",
              err.msg);
    keeper = child_of(child_of(getpid()));
    program = child_of(keeper);
    cr_assert(ne(int, program, 0));

    kill(keeper, SIGSTOP);
    sp_slot_clear(&slot);

    cr_expect(SP_UNTIL(20000, has_ended(program)));
    kill(keeper, SIGCONT);
    cr_expect(SP_UNTIL(20000, stage_gone(program)));
    snprintf(ran, sizeof ran, "%s/ran", s.work_dir);
    cr_expect(access(ran, F_OK) != 0, "the program ran");
    sp_launcher_close(launcher);
    close(folder);
    stage_close(&s);
}

/* It does not read what it is told while it ends a run. */
Test(local_slot, what_a_keeper_reported_counts_although_it_went_without_reading)
{
    const struct guardian_report reports[] = {
        {.kind = GUARDIAN_EXITED, .wait_status = 7 << 8, .by_itself = true, .at_us = sp_mono_us()},
        {.kind = GUARDIAN_CLEAN},
    };
    const struct sp_slot_job job = {.max_output = 1024, .max_result = 1024};
    const struct sp_run run = {.timeout_ms = 20000, .deadline = SP_NEVER, .cancel_fd = -1};
    sp_auto(sp_slot_clear) struct sp_slot slot = SP_SLOT_INIT;
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_error err = {0};
    int out, errors, result, program, keeper;

    slot.started_us = sp_mono_us();
    cr_assert(zero(int, sp_fd_pipe(&slot.out, &out, &err) || sp_fd_pipe(&slot.err, &errors, &err) ||
                            sp_fd_pipe(&slot.result, &result, &err)));
    cr_assert(zero(int, sp_fd_sockets(SOCK_STREAM, &slot.job, &program, &err) ||
                            sp_fd_sockets(SOCK_SEQPACKET, &slot.control, &keeper, &err)));
    cr_assert(eq(int, (int)send(slot.control, "k", 1, 0), 1));
    for (size_t i = 0; i < SP_COUNT(reports); i++)
        cr_assert(send(keeper, &reports[i], sizeof reports[i], 0) > 0);
    for (size_t i = 0; i < 5; i++)
        close((const int[]){out, errors, result, program, keeper}[i]);
    enum sp_code rc = sp_slot_run(NULL, &slot, &job, &run, &r, &err);

    cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
    cr_expect(eq(int, (int)r.outcome, SP_OUTCOME_EXITED));
    cr_expect(eq(int, r.exit_code, 7));
}
