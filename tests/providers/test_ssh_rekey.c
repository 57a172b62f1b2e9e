/* The server wants new keys in the middle of everything: by default after 1 GB or more, here after
 * every MB. */
#include "tests/providers/ssh_stage.h"

#include <pthread.h>

/* libssh2 1.10 loses its copy of the host key at each exchange. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libssh2";
}

static void set_up(void)
{
    start_server("RekeyLimit 1M none");
    open_pool();
}

TestSuite(ssh_rekey, .init = set_up, .fini = close_all);

enum { THREADS = 6, OUT = 6000000, ERRORS = 3000000, FILE_BYTES = 3 << 20 };

Test(ssh_rekey, keys_change_while_commands_print_and_files_move)
{
    struct reader runners[THREADS] = {0};
    sp_auto(sp_buf_clear) struct sp_buf back = SP_BUF_INIT(FILE_BYTES);
    sp_auto(sp_free_str) char *data = calloc(1, FILE_BYTES);
    sp_auto(sp_ssh_give) struct sp_ssh_link *files = take();
    const struct sp_ssh_wait wait = within(90000);
    struct sp_error err = {0};
    char path[128];

    snprintf(path, sizeof path, "%s/file", server.dir);
    for (int i = 0; i < THREADS; i++) {
        runners[i].link = take();
        start(runners[i].link, "head -c 6000000 /dev/zero; head -c 3000000 /dev/zero >&2");
        pthread_create(&runners[i].thread, NULL, read_much, &runners[i]);
    }
    cr_expect(eq(int, sp_ssh_put(files, path, data, FILE_BYTES, 0600, &wait, &err), SP_OK), "%s",
              err.msg);
    cr_expect(eq(int, sp_ssh_get(files, path, &back, &wait, &err), SP_OK), "%s", err.msg);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(runners[i].thread, NULL);
        cr_expect(eq(sz, runners[i].out, OUT), "%s", runners[i].err.msg);
        cr_expect(eq(sz, runners[i].errors, ERRORS));
        sp_ssh_give(runners[i].link);
    }

    cr_expect(eq(sz, back.len, FILE_BYTES));
    cr_expect(eq(int, sp_ssh_server_connections(&server), 1));
}
