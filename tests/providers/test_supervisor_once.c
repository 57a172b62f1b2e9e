/* The far-end supervisor's form for machines that are thrown away with their run, by each shell
 * that it is written for. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "providers/supervisor.h"
#include "tests/support.h"

static char root[64], home[160];

static void enter(void)
{
    struct sp_bytes script = sp_supervisor();
    char uuid[37], path[256];

    snprintf(root, sizeof root, "/tmp/sp-once-XXXXXX");
    cr_assert(mkdtemp(root) != NULL);
    sp_random_uuid(uuid);
    snprintf(home, sizeof home, "%s/" SP_SUPERVISOR_HOME "%s", root, uuid);
    cr_assert(zero(int, mkdir(home, 0700)));
    snprintf(path, sizeof path, "%s/" SP_SUPERVISOR_FILE, home);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL && fwrite(script.data, 1, script.len, file) == script.len);
    fclose(file);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void leave(void)
{
    nftw(root, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

TestSuite(supervisor_once, .init = enter, .fini = leave);

/* Runs a script as the program, with an empty standard input; its standard output. */
static void run(const char *shell, const char *script, char *out, size_t size)
{
    char command[1024];

    cr_assert(zero(int, setenv("GIVEN", "by the machine", 1)));
    snprintf(command, sizeof command, "%s %s/" SP_SUPERVISOR_FILE " once 30 sh -c '%s' </dev/null",
             shell, home, script);
    FILE *pipe = popen(command, "r"); /* the texts are this file's */
    cr_assert(pipe != NULL);
    out[fread(out, 1, size - 1, pipe)] = '\0';
    cr_assert(zero(int, pclose(pipe)));
}

/* document_len may be NULL. */
static struct sp_supervisor_end read_record(size_t *document_len)
{
    struct sp_supervisor_end end;
    struct sp_bytes document;
    char path[256], text[256];

    snprintf(path, sizeof path, "%s/" SP_SUPERVISOR_RESULT, home);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    size_t len = fread(text, 1, sizeof text, file);
    fclose(file);
    sp_supervisor_read(text, len, &end, &document);
    if (document_len)
        *document_len = document.len;
    return end;
}

static struct sp_supervisor_end read_end(void)
{
    size_t len = 0;
    struct sp_supervisor_end end = read_record(&len);

    cr_expect(eq(sz, len, 3));
    return end;
}

static const struct {
    const char *shell;
} shells[] = {{"dash"}, {"busybox sh"}};

SP_TABLE_TEST(supervisor_once, a_program_runs_in_the_machine_s_own_environment, shells, row)
{
    char out[512], want[512];

    cr_assert(zero(int, unsetenv("LC_ALL")));
    run(row->shell, "pwd; ls; echo $GIVEN $LC_ALL; setsid sleep 100 & printf doc >&3; kill -9 $$",
        out, sizeof out);
    struct sp_supervisor_end end = read_end();

    snprintf(want, sizeof want, "%s/work\nartifacts\nby the machine\n", home);
    cr_expect(eq(str, out, want));
    cr_expect(eq(int, (int)end.how, SP_FAR_SIGNAL));
    cr_expect(eq(int, end.number, 9));
}

Test(supervisor_once, the_machine_s_locale_is_the_program_s)
{
    char out[64];

    cr_assert(zero(int, setenv("LC_ALL", "de_DE.UTF-8", 1)));
    run("dash", "echo $LC_ALL; printf doc >&3", out, sizeof out);
    (void)read_end();

    cr_expect(eq(str, out, (char *)"de_DE.UTF-8\n"));
}

/* What a program does to the record of its end. */
static const struct {
    const char *shell, *script;
} tricks[] = {
    {"dash", "printf \"refused limit                  \\n\" 1<>../result"},
    {"busybox sh", "printf \"refused limit                  \\n\" 1<>../result"},
    {"dash", "printf \"exit 0                         \\n\" 1<>../result"},
    {"busybox sh", "printf \"exit 0                         \\n\" 1<>../result"},
    {"dash", ": >../result"},
    {"busybox sh", ": >../result"},
};

SP_TABLE_TEST(supervisor_once, the_record_of_the_end_is_ours, tricks, row)
{
    char script[128], out[64];

    snprintf(script, sizeof script, "printf doc >&3; %s; exit 5", row->script);
    run(row->shell, script, out, sizeof out);
    struct sp_supervisor_end end = read_record(NULL);

    cr_expect(eq(int, (int)end.how, SP_FAR_EXIT), "%s: %s", row->shell, row->script);
    cr_expect(eq(int, end.number, 5), "%s: %s", row->shell, row->script);
}
