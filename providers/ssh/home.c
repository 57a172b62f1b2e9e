#include "providers/ssh/home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"
#include "providers/protocol.h"
#include "providers/supervisor.h"

enum { FOLDER_MODE = 0700 };

static enum sp_code no_memory(struct sp_error *err)
{
    return sp_error_set(err, SP_E_NOMEM, "out of memory");
}

enum sp_code sp_ssh_home_init(struct sp_ssh_home *home, const char *work_dir, const char *id,
                              struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf path = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    size_t len = strlen(work_dir);

    while (len > 0 && work_dir[len - 1] == '/')
        len--;
    *home = (struct sp_ssh_home){.work_dir = work_dir};
    if (sp_buf_addf(&path, "%.*s/" SP_SUPERVISOR_HOME "%s", (int)len, work_dir, id))
        return no_memory(err);
    home->path = sp_buf_take(&path, NULL);
    return home->path ? SP_OK : no_memory(err);
}

static void clear_tasks(struct sp_ssh_home *home)
{
    for (size_t i = 0; i < home->n_tasks; i++)
        free((char *)(uintptr_t)home->tasks[i].path);
    free(home->tasks);
    home->tasks = NULL;
    home->n_tasks = 0;
}

void sp_ssh_home_clear(struct sp_ssh_home *home)
{
    clear_tasks(home);
    free(home->path);
    home->path = NULL;
}

/* Takes the path. */
static enum sp_code add_task(struct sp_ssh_home *home, enum sp_ssh_verb verb, char *path,
                             struct sp_bytes data)
{
    struct sp_ssh_task *grown = sp_grow(home->tasks, home->n_tasks, sizeof *grown);

    if (!grown) {
        free(path);
        return SP_E_NOMEM;
    }
    home->tasks = grown;
    home->tasks[home->n_tasks++] = (struct sp_ssh_task){.verb = verb, .path = path, .data = data};
    return SP_OK;
}

/* "<home>/<folder>/<name>"; folder and name may be "". */
static enum sp_code add_path(struct sp_ssh_home *home, enum sp_ssh_verb verb, const char *folder,
                             const char *name, struct sp_bytes data)
{
    char *path = NULL;

    if (asprintf(&path, "%s%s%s%s%s", home->path, *folder ? "/" : "", folder, *name ? "/" : "",
                 name) < 0)
        return SP_E_NOMEM;
    return add_task(home, verb, path, data);
}

static enum sp_code add_folder(struct sp_ssh_home *home, const char *folder, const char *name)
{
    return add_path(home, SP_SSH_MAKE_FOLDER, folder, name, (struct sp_bytes){0});
}

static enum sp_code add_file(struct sp_ssh_home *home, const char *folder, const char *name,
                             const char *data, size_t len)
{
    return add_path(home, SP_SSH_PUT, folder, name, (struct sp_bytes){data, len});
}

/* As `mkdir -p`; a folder that cannot be made shows when the home is. */
static enum sp_code make_work_dir(const struct sp_ssh_home *home, struct sp_ssh_link *link,
                                  const struct sp_ssh_wait *wait, struct sp_error *err)
{
    sp_auto(sp_free_str) char *path = sp_strdup(home->path);
    enum sp_code rc = SP_E_INVALID;

    if (!path)
        return no_memory(err);
    for (char *slash = strchr(path + 1, '/'); slash && rc == SP_E_INVALID;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = sp_ssh_mkdir(link, path, FOLDER_MODE, wait, err);
        rc = rc ? rc : SP_E_INVALID;
        *slash = '/';
    }
    return rc == SP_E_INVALID ? SP_OK : rc;
}

/* Whether a file before this one lies below the same folder. */
static bool is_made(const struct sp_request *req, size_t file, size_t folder_len)
{
    const char *name = req->files[file].name;

    for (size_t i = 0; i < file; i++) {
        if (!strncmp(req->files[i].name, name, folder_len + 1))
            return true;
    }
    return false;
}

static enum sp_code add_given_file(struct sp_ssh_home *home, const struct sp_request *req, size_t i)
{
    const struct sp_file *file = &req->files[i];
    enum sp_code rc = SP_OK;

    for (const char *slash = strchr(file->name, '/'); slash && !rc;
         slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - file->name);
        sp_auto(sp_free_str) char *folder = sp_memdup(file->name, len);

        if (!folder) {
            rc = SP_E_NOMEM;
        } else if (!is_made(req, i, len)) {
            rc = add_folder(home, SP_SUPERVISOR_WORK, folder);
        }
    }
    return rc ? rc : add_file(home, SP_SUPERVISOR_WORK, file->name, file->data, file->len);
}

static enum sp_code add_run(struct sp_ssh_home *home, const struct sp_request *req)
{
    const struct sp_wrapper *wrapper = sp_wrapper(req->language);
    enum sp_code rc = add_folder(home, SP_SUPERVISOR_WORK, "artifacts");

    if (!rc)
        rc = add_file(home, "", wrapper->file, wrapper->text, wrapper->len);
    if (!rc)
        rc = add_file(home, SP_SUPERVISOR_WORK, wrapper->program, req->code, req->code_len);
    if (!rc && req->arguments)
        rc = add_file(home, "", SP_SUPERVISOR_ARGUMENTS, req->arguments, req->arguments_len);
    for (size_t i = 0; i < req->n_files && !rc; i++)
        rc = add_given_file(home, req, i);
    return rc;
}

/* The home itself comes first. */
static enum sp_code add_all(struct sp_ssh_home *home, const struct sp_request *req)
{
    struct sp_bytes supervisor = sp_supervisor();

    clear_tasks(home);
    enum sp_code rc = add_folder(home, "", "");
    if (!rc)
        rc = add_folder(home, "", SP_SUPERVISOR_WORK);
    if (!rc)
        rc = add_file(home, "", SP_SUPERVISOR_FILE, supervisor.data, supervisor.len);
    return rc || !req ? rc : add_run(home, req);
}

static enum sp_code try_make(struct sp_ssh_home *home, struct sp_ssh_link *link,
                             const struct sp_ssh_wait *wait, struct sp_error *err)
{
    for (size_t i = 0; i < home->n_tasks; i++)
        home->tasks[i].rc = SP_OK;
    home->begun = true; /* as far as we know, should the answer get lost */
    enum sp_code rc = sp_ssh_batch(link, home->tasks, home->n_tasks, wait, err);
    if (rc)
        return rc;
    home->begun = home->tasks[0].rc == SP_OK;
    return sp_ssh_batch_check(link, home->tasks, home->n_tasks, err);
}

enum sp_code sp_ssh_home_make(struct sp_ssh_home *home, struct sp_ssh_link *link,
                              const struct sp_request *req, const struct sp_ssh_wait *wait,
                              struct sp_error *err)
{
    if (add_all(home, req))
        return no_memory(err);
    enum sp_code rc = try_make(home, link, wait, err);
    if (rc == SP_E_INVALID && home->tasks[0].no_such_file) {
        rc = make_work_dir(home, link, wait, err);
        if (!rc)
            rc = try_make(home, link, wait, err);
    }
    return rc == SP_E_INVALID ? sp_error_wrap(err, rc, "work_dir %.100s", home->work_dir) : rc;
}

/* What a folder holds was made after it, so it goes before it. */
enum sp_code sp_ssh_home_unmake(struct sp_ssh_home *home, struct sp_ssh_link *link,
                                const struct sp_ssh_wait *wait, struct sp_error *err)
{
    static const char *const added[] = {SP_SUPERVISOR_RESULT, SP_SUPERVISOR_SAID,
                                        SP_SUPERVISOR_GROUP};
    struct sp_ssh_task *tasks;
    enum sp_code rc = SP_OK;

    for (size_t i = 0; i < SP_COUNT(added) && !rc; i++)
        rc = add_path(home, SP_SSH_REMOVE, "", added[i], (struct sp_bytes){0});
    if (rc)
        return no_memory(err);
    tasks = calloc(home->n_tasks, sizeof *tasks);
    if (!tasks)
        return no_memory(err);
    for (size_t i = 0; i < home->n_tasks; i++) {
        const struct sp_ssh_task *from = &home->tasks[home->n_tasks - 1 - i];
        bool folder = from->verb == SP_SSH_MAKE_FOLDER;

        tasks[i] = (struct sp_ssh_task){.verb = folder ? SP_SSH_REMOVE_FOLDER : SP_SSH_REMOVE,
                                        .path = from->path};
    }
    rc = sp_ssh_batch(link, tasks, home->n_tasks, wait, err);
    if (!rc)
        home->begun = tasks[home->n_tasks - 1].rc != SP_OK;
    free(tasks);
    return rc;
}

enum sp_code sp_ssh_quote(struct sp_buf *out, const char *text)
{
    enum sp_code rc = sp_buf_addc(out, '\'');

    for (; *text && !rc; text++)
        rc = *text == '\'' ? sp_buf_adds(out, "'\\''") : sp_buf_addc(out, *text);
    return rc ? rc : sp_buf_addc(out, '\'');
}

static enum sp_code add_supervisor(const struct sp_ssh_home *home, struct sp_buf *out)
{
    sp_auto(sp_buf_clear) struct sp_buf path = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = sp_buf_addf(&path, "%s/" SP_SUPERVISOR_FILE, home->path);

    return rc ? rc : sp_ssh_quote(out, sp_buf_str(&path));
}

enum sp_code sp_ssh_home_command(const struct sp_ssh_home *home, const char *verb,
                                 struct sp_buf *out)
{
    enum sp_code rc = sp_buf_adds(out, "exec sh ");

    if (!rc)
        rc = add_supervisor(home, out);
    return rc ? rc : sp_buf_addf(out, " %s", verb);
}

/* What does not fit is read and dropped. */
static enum sp_code read_out(struct sp_ssh_link *link, const struct sp_ssh_wait *wait,
                             struct sp_buf *out, struct sp_error *err)
{
    struct sp_ssh_part part = {.stream = SP_SSH_STDOUT};
    char bytes[4096];
    enum sp_code rc = SP_OK;

    while (!rc && part.stream != SP_SSH_END) {
        rc = sp_ssh_read(link, bytes, sizeof bytes, wait, &part, err);
        if (!rc && out && part.stream == SP_SSH_STDOUT)
            (void)sp_buf_add(out, bytes, part.len);
    }
    return rc;
}

/* All of a command's standard input. One that takes no more has ended: its exit status says why. */
static enum sp_code give_input(struct sp_ssh_link *link, struct sp_bytes input,
                               const struct sp_ssh_wait *wait, struct sp_error *err)
{
    enum sp_code rc = sp_ssh_write(link, input.data, input.len, wait, err);

    if (!rc)
        rc = sp_ssh_write_eof(link, wait, err);
    return rc == SP_E_INVALID ? SP_OK : rc;
}

static enum sp_code call(struct sp_ssh_link *link, const char *command, struct sp_bytes input,
                         const struct sp_ssh_wait *wait, struct sp_buf *out, struct sp_error *err)
{
    enum sp_started started;
    struct sp_ssh_exit end = {.status = -1};
    enum sp_code rc = sp_ssh_exec(link, command, wait, &started, err);

    if (!rc)
        rc = give_input(link, input, wait, err);
    if (!rc)
        rc = read_out(link, wait, out, err);
    if (!rc)
        rc = sp_ssh_wait_exit(link, wait, &end, err);
    if (rc || end.status == 0)
        return rc;
    return sp_error_set(err, SP_E_INVALID,
                        "the account's shell did not run our script: exit status %d%s%s",
                        end.status, *end.signal ? ", signal " : "", end.signal);
}

/* The script itself comes by standard input: a program may have removed that of its home, and a
 * failed upload left none. */
enum sp_code sp_ssh_home_call(const struct sp_ssh_home *home, struct sp_ssh_link *link,
                              const char *verb, const struct sp_ssh_wait *wait, struct sp_buf *out,
                              struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf command = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = sp_buf_adds(&command, "exec sh -c 'eval \"$(cat)\"' ");

    if (!rc)
        rc = add_supervisor(home, &command);
    if (!rc)
        rc = sp_buf_addf(&command, " %s", verb);
    return rc ? no_memory(err) : call(link, sp_buf_str(&command), sp_supervisor(), wait, out, err);
}

enum sp_code sp_ssh_home_remove(struct sp_ssh_home *home, struct sp_ssh_link *link,
                                const struct sp_ssh_wait *wait, struct sp_error *err)
{
    enum sp_code rc = sp_ssh_home_call(home, link, "remove", wait, NULL, err);

    home->begun = rc != SP_OK;
    return rc;
}
