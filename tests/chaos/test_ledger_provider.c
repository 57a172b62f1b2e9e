/* The provider that the chaos cases rest on. */
#include "tests/chaos/ledger_provider.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/chaos/checker.h"
#include "tests/support.h"
#include "tests/support/until.h"

struct stage {
    char dir[40], ledger[64], outage[64];
    struct sp_provider *provider;
    struct sp_run run;
};

static struct stage stage;

static void set_up(void)
{
    snprintf(stage.dir, sizeof stage.dir, "/tmp/sandpiper-chaos-XXXXXX");
    cr_assert(mkdtemp(stage.dir) != NULL);
    snprintf(stage.ledger, sizeof stage.ledger, "%s/ledger", stage.dir);
    snprintf(stage.outage, sizeof stage.outage, "%s/outage", stage.dir);
    json_auto_t *settings = json_pack("{s:s, s:s}", "ledger", stage.ledger, "outage", stage.outage);
    struct sp_host host = {0};
    struct sp_error err = {0};
    cr_assert(sp_provider_open(&ledger_provider, settings, &host, &stage.provider, &err) == SP_OK,
              "%s", err.msg);
    stage.run = (struct sp_run){.setup_deadline = SP_NEVER,
                                .deadline = SP_NEVER,
                                .timeout_ms = 10000,
                                .cancel_fd = eventfd(0, EFD_CLOEXEC)};
}

static void tear_down(void)
{
    sp_provider_close(stage.provider);
    close(stage.run.cancel_fd);
    sp_remove_tree(stage.dir);
}

static enum sp_code run(const char *code, struct sp_result *out, struct sp_error *err)
{
    struct sp_request req = {
        .id = (char *)(uintptr_t) "j1", .code = (char *)(uintptr_t)code, .code_len = strlen(code)};
    struct sp_instance *i = NULL;
    enum sp_code rc = sp_provider_create(stage.provider, &req, &stage.run, &i, err);
    if (!rc)
        rc = sp_provider_execute(i, &req, &stage.run, out, err);
    sp_provider_destroy(i, &stage.run);
    return rc;
}

/* The events of the ledger as "begin end exited" and so on. */
static const char *noted(void)
{
    static char text[256];
    sp_auto(ledger_clear) struct ledger ledger = {0};
    size_t len = 0;
    text[0] = '\0';
    cr_assert(ledger_read(stage.ledger, &ledger, NULL) == SP_OK);
    for (size_t i = 0; i < ledger.n; i++) {
        const struct ledger_event *e = &ledger.events[i];
        cr_expect(e->pid == getpid() && strcmp(e->id, "j1") == 0);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s",
                                e->kind == LEDGER_BEGIN ? "begin " : "end ", e->what);
    }
    return text;
}

static const struct {
    const char *code;
    int exit_code;
    size_t printed;
} programs[] = {
    {"", 0, 0},
    {"sleep 1", 0, 0},
    {"exit 3 flood 9", 3, 0},
    {"flood 5 sleep 1 flood 2", 0, 7},
};

SP_TABLE_TEST(ledger_provider, a_program_of_words_is_carried_out, programs, row)
{
    set_up();
    sp_auto(sp_result_clear) struct sp_result out = {0};

    enum sp_code rc = run(row->code, &out, NULL);

    cr_expect(eq(int, rc, SP_OK));
    cr_expect(eq(int, out.exit_code, row->exit_code), "%s", row->code);
    cr_expect(eq(sz, out.out.len, row->printed), "%s", row->code);
    cr_expect(eq(str, (char *)(uintptr_t)noted(), (char *)(uintptr_t) "begin end exited"));
    tear_down();
}

Test(ledger_provider, another_word_is_named, .init = set_up, .fini = tear_down)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    struct sp_error err = {0};

    cr_expect(run("fly 3", &out, &err) == SP_E_INVALID && strstr(err.msg, "fly"), "%s", err.msg);
}

Test(ledger_provider, a_cancelled_program_ends_and_says_so, .init = set_up, .fini = tear_down)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    eventfd_write(stage.run.cancel_fd, 1);

    cr_expect(run("sleep 60000", &out, NULL) == SP_OK);

    cr_expect(out.outcome == SP_OUTCOME_CANCELLED);
    cr_expect(eq(str, (char *)(uintptr_t)noted(), (char *)(uintptr_t) "begin end cancelled"));
}

Test(ledger_provider, a_program_ends_when_its_time_is_up, .init = set_up, .fini = tear_down)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    stage.run.timeout_ms = 5;

    cr_expect(run("sleep 60000", &out, NULL) == SP_OK);

    cr_expect(out.outcome == SP_OUTCOME_TIMEOUT);
    cr_expect(eq(str, (char *)(uintptr_t)noted(), (char *)(uintptr_t) "begin end timeout"));
}

Test(ledger_provider, is_unavailable_while_its_outage_is_on, .init = set_up, .fini = tear_down)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    close(open(stage.outage, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));

    cr_expect(sp_provider_check(stage.provider, &stage.run, NULL) == SP_E_UNAVAILABLE);
    cr_expect(run("exit 0", &out, NULL) == SP_E_UNAVAILABLE);
    cr_expect(eq(str, (char *)(uintptr_t)noted(), (char *)(uintptr_t) ""));

    unlink(stage.outage);
    cr_expect(sp_provider_check(stage.provider, &stage.run, NULL) == SP_OK);
    cr_expect(run("exit 0", &out, NULL) == SP_OK);
}

Test(ledger_provider, a_word_kills_the_worker_and_leaves_the_begin, .init = set_up,
     .fini = tear_down)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct sp_result out = {0};
        (void)run("kill-worker", &out, NULL);
        _exit(0);
    }
    int status = 0;
    cr_assert(waitpid(pid, &status, 0) == pid);

    sp_auto(ledger_clear) struct ledger ledger = {0};
    cr_assert(ledger_read(stage.ledger, &ledger, NULL) == SP_OK);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    cr_expect(killed);
    cr_expect(ledger.n == 1 && ledger.events[0].pid == pid);
}
