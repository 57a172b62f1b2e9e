/* Programs that attack what runs share: no later run may suffer from them. As a user without
 * rights, since permissions mean nothing to root. */
#include <grp.h>
#include <sys/prctl.h>

#include "tests/providers/local_stage.h"

enum { NOBODY = 65534 };

static struct stage stage;

static void drop_rights(void)
{
    if (geteuid() != 0)
        return;
    cr_assert(setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
              setresuid(NOBODY, NOBODY, NOBODY) == 0);
    prctl(PR_SET_DUMPABLE, 1); /* else /proc/self stays root's */
}

static void open_stage(void)
{
    drop_rights();
    stage_open(&stage, "");
}

static void close_stage(void)
{
    chmod(stage.work_dir, 0700);
    stage_close(&stage);
}

TestSuite(local_hostile, .init = open_stage, .fini = close_stage);

static const char *const attacks[] = {
    "import os, shutil\nshutil.rmtree(os.getcwd())",
    "import os, shutil\nshutil.rmtree(os.path.dirname(os.getcwd()))",
    "import os, shutil\nshutil.rmtree(os.path.dirname(os.path.dirname(os.getcwd())), True)",
    "import os\nos.rename('../../' + os.path.basename(os.path.dirname(os.getcwd())), '../../x')",
    "import os\nfolder = os.path.dirname(os.getcwd())\nos.rename(folder, folder + 'x')\n"
    "os.symlink('/tmp', folder)",
    "import os\nfolder = os.path.dirname(os.getcwd())\nos.rename(folder, folder + "
    "'x')\nopen(folder, 'w')",
    "import os\nos.chmod('.', 0)",
    "import os\nos.chmod('..', 0)",
    "import os\nos.chmod('..', 0o500)",
    "import os\nos.chmod('../..', 0)",
    "import os\nfor f in os.listdir('..'):\n    if 'run.' in f: os.unlink('../' + f)",
    "import os\nfor f in os.listdir('..'):\n    if 'run.' in f: os.chmod('../' + f, 0)",
    "import os\nfor f in os.listdir('..'):\n    if 'run.' in f:\n"
    "        os.chmod('../' + f, 0o600)\n        open('../' + f, 'w').write('x')",
    "import os\nfor f in os.listdir('..'):\n    if 'run.' in f:\n"
    "        os.unlink('../' + f)\n        os.symlink('/dev/null', '../' + f)",
    "import os\nopen('evil', 'w').write('raise SystemExit(9)')\n"
    "for f in os.listdir('..'):\n    if 'run.' in f: os.rename('evil', '../' + f); break",
    "for name in ('json', 'ast', 'os', 're', 'asyncio', 'sitecustomize', 'usercustomize'):\n"
    "    open('../%s.py' % name, 'w').write('raise SystemExit(9)')",
};

SP_TABLE_TEST(local_hostile, no_later_run_suffers, attacks, row)
{
    static const struct sp_provider_job next[] = {
        {.code = "async def main(a): return a", .arguments = "{\"a\":1}"},
        {.code = "function main({ a }) { return a; }",
         .arguments = "{\"a\":1}",
         .language = SP_JAVASCRIPT},
    };
    struct sp_result r = {0};

    stage_run(&stage, &(struct sp_provider_job){.code = *row}, &r);
    cr_expect(eq(int, r.exit_code, 0), "%s: %s", *row, r.err.text);
    sp_result_clear(&r);

    for (size_t i = 0; i < SP_COUNT(next); i++) {
        stage_run(&stage, &next[i], &r);
        cr_expect(eq(int, r.exit_code, 0), "%s: %s", *row, r.err.text);
        cr_expect(eq(str, r.result_value ? r.result_value : "", "1"), "%s", *row);
        sp_result_clear(&r);
    }
}
