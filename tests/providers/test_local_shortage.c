/* A machine that is short of something: what did not start says so and may be tried again. */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "tests/providers/local_stage.h"

enum { OWN_IDS = 1 << 20 }; /* plus our pid: a user whose processes nobody else adds to */

static struct stage stage;

static void open_stage(void)
{
    stage_open(&stage, "");
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(local_shortage, .init = open_stage, .fini = close_stage);

/* True when it ran; else it has to be held and surely did not start. */
static bool ran_or_unavailable(const char *code)
{
    struct sp_provider_job job = {.code = code};
    struct sp_result r = {0};
    struct sp_error err = {0};
    enum sp_code rc = sp_provider_job_run(stage.provider, &job, &r, &err);

    if (rc) {
        cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", err.msg);
        cr_expect(eq(int, r.started, SP_STARTED_NO), "%s", err.msg);
    } else {
        cr_expect(eq(int, r.exit_code, 0), "%s", r.err.text);
    }
    sp_result_clear(&r);
    return rc == SP_OK;
}

Test(local_shortage, descriptors_may_run_out_at_every_step)
{
    struct rlimit now, few;
    int before = stage_count("/proc/self/fd"), next = dup(0);
    bool ran = false;

    close(next);
    getrlimit(RLIMIT_NOFILE, &now);

    for (int more = 0; more < 40 && !ran; more++) {
        few = (struct rlimit){(rlim_t)(next + more), now.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
        ran = ran_or_unavailable("pass");
        setrlimit(RLIMIT_NOFILE, &now);
    }

    cr_expect(ran);
    cr_expect(eq(int, stage_count("/proc/self/fd"), before));
}

static bool opened(void)
{
    json_auto_t *settings = json_pack("{s:s,s:s}", "isolation", "none", "work_dir", stage.work_dir);
    struct sp_error err = {0};
    enum sp_code rc =
        sp_provider_open(sp_registry_find("local"), settings, &stage.host, &stage.provider, &err);

    if (rc)
        cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", err.msg);
    return rc == SP_OK;
}

/* First the guardian cannot be started, then its keeper, then the program. */
Test(local_shortage, processes_may_run_out_at_every_step)
{
    bool refused_open = false, refused_run = false, ran = false;

    stage_close(&stage);
    if (geteuid() == 0) { /* root has no such limit */
        uid_t own = OWN_IDS + (uid_t)getpid();
        cr_assert(setgroups(0, NULL) == 0 && setresgid(own, own, own) == 0 &&
                  setresuid(own, own, own) == 0);
        prctl(PR_SET_DUMPABLE, 1);
    }
    stage_prepare(&stage);

    for (rlim_t n = 0; n < 4096 && !ran; n++) {
        struct rlimit few = {n, 4096};

        cr_assert(eq(int, setrlimit(RLIMIT_NPROC, &few), 0));
        if (!opened()) {
            refused_open = true;
            continue;
        }
        ran = ran_or_unavailable("pass");
        refused_run |= !ran;
        sp_provider_close(stage.provider);
        stage.provider = NULL;
    }

    cr_expect(refused_open);
    cr_expect(refused_run);
    cr_expect(ran);
}

static const struct {
    const char *options;
    size_t code_bytes;
} disks[] = {{"size=64k", 200000}, {"size=64k,nr_inodes=9", 10}};

/* A small disk of our own, in a mount namespace of our own. */
SP_TABLE_TEST(local_shortage, a_full_disk_is_unavailable, disks, row)
{
    char *code = malloc(row->code_bytes + 1), other[128];
    bool ran = true;

    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        free(code);
        cr_skip_test("no mount namespace for this user");
    }
    stage_close(&stage);
    stage_prepare(&stage);
    cr_assert(eq(int, mount("none", stage.work_dir, "tmpfs", 0, row->options), 0));
    stage_open_in(&stage, "");
    memset(code, '#', row->code_bytes);
    code[row->code_bytes] = 0;

    for (int i = 0; i < 9 && ran; i++) {
        ran = ran_or_unavailable(code);
        snprintf(other, sizeof other, "%s/f%d", stage.work_dir, i);
        close(open(other, O_CREAT | O_WRONLY, 0600));
    }

    cr_expect(not(ran));
    sp_provider_close(stage.provider);
    stage.provider = NULL;
    umount(stage.work_dir);
    free(code);
}
