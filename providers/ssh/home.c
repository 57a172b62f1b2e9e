#include "providers/ssh/home.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/protocol.h"
#include "providers/supervisor.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

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

void sp_ssh_home_clear(struct sp_ssh_home *home)
{
    free(home->path);
    home->path = NULL;
}

/* One step of filling a home. */
struct filling {
    const struct sp_ssh_home *home;
    struct sp_ssh_link *link;
    const struct sp_ssh_wait *wait;
    struct sp_error *err;
    enum sp_code rc; /* the first failure; nothing is done after it */
};

/* "<home>/<folder>/<name>". Also where memory runs out: then f->rc says so. */
static const char *path_of(struct filling *f, struct sp_buf *path, const char *folder,
                           const char *name)
{
    if (!f->rc && sp_buf_addf(path, "%s/%s%s%s", f->home->path, folder, *folder ? "/" : "", name))
        f->rc = no_memory(f->err);
    return sp_buf_str(path);
}

static void add_folder(struct filling *f, const char *folder, const char *name)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    const char *path = path_of(f, &buf, folder, name);

    if (!f->rc)
        f->rc = sp_ssh_mkdir(f->link, path, FOLDER_MODE, f->wait, f->err);
}

static void add_file(struct filling *f, const char *folder, const char *name, const void *data,
                     size_t len)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    const char *path = path_of(f, &buf, folder, name);

    if (!f->rc)
        f->rc = sp_ssh_put(f->link, path, data, len, FILE_MODE, f->wait, f->err);
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

static enum sp_code make_folder(struct sp_ssh_home *home, struct sp_ssh_link *link,
                                const struct sp_ssh_wait *wait, struct sp_error *err)
{
    enum sp_code rc = sp_ssh_mkdir(link, home->path, FOLDER_MODE, wait, err);

    home->begun = rc != SP_E_INVALID;
    if (rc != SP_E_INVALID || !sp_ssh_no_such_file(link))
        return rc;
    rc = make_work_dir(home, link, wait, err);
    if (!rc)
        rc = sp_ssh_mkdir(link, home->path, FOLDER_MODE, wait, err);
    home->begun = rc != SP_E_INVALID;
    return rc;
}

enum sp_code sp_ssh_home_make(struct sp_ssh_home *home, struct sp_ssh_link *link,
                              const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct filling f = {.home = home, .link = link, .wait = wait, .err = err};
    struct sp_bytes supervisor = sp_supervisor();
    enum sp_code rc = make_folder(home, link, wait, err);

    if (rc == SP_E_INVALID)
        return sp_error_wrap(err, rc, "work_dir %.100s", home->work_dir);
    if (rc)
        return rc;
    add_folder(&f, "", SP_SUPERVISOR_WORK);
    add_file(&f, "", SP_SUPERVISOR_FILE, supervisor.data, supervisor.len);
    return f.rc;
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

static void add_given_file(struct filling *f, const struct sp_request *req, size_t i)
{
    const struct sp_file *file = &req->files[i];

    for (const char *slash = strchr(file->name, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - file->name);
        sp_auto(sp_free_str) char *folder = sp_memdup(file->name, len);

        if (!folder)
            f->rc = no_memory(f->err);
        else if (!is_made(req, i, len))
            add_folder(f, SP_SUPERVISOR_WORK, folder);
    }
    add_file(f, SP_SUPERVISOR_WORK, file->name, file->data, file->len);
}

enum sp_code sp_ssh_home_fill(struct sp_ssh_home *home, struct sp_ssh_link *link,
                              const struct sp_request *req, const struct sp_ssh_wait *wait,
                              struct sp_error *err)
{
    const struct sp_wrapper *wrapper = sp_wrapper(req->language);
    struct filling f = {.home = home, .link = link, .wait = wait, .err = err};

    add_folder(&f, SP_SUPERVISOR_WORK, "artifacts");
    add_file(&f, "", wrapper->file, wrapper->text, wrapper->len);
    add_file(&f, SP_SUPERVISOR_WORK, wrapper->program, req->code, req->code_len);
    if (req->arguments)
        add_file(&f, "", SP_SUPERVISOR_ARGUMENTS, req->arguments, req->arguments_len);
    for (size_t i = 0; i < req->n_files && !f.rc; i++)
        add_given_file(&f, req, i);
    return f.rc;
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

static enum sp_code call(struct sp_ssh_link *link, const char *command,
                         const struct sp_ssh_wait *wait, struct sp_buf *out, struct sp_error *err)
{
    enum sp_started started;
    struct sp_ssh_exit end;
    enum sp_code rc = sp_ssh_exec(link, command, wait, &started, err);

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

enum sp_code sp_ssh_home_call(const struct sp_ssh_home *home, struct sp_ssh_link *link,
                              const char *verb, const struct sp_ssh_wait *wait, struct sp_buf *out,
                              struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf command = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (sp_ssh_home_command(home, verb, &command))
        return no_memory(err);
    return call(link, sp_buf_str(&command), wait, out, err);
}

/* A program may have removed the supervisor; a failed upload left none. */
enum sp_code sp_ssh_home_remove(struct sp_ssh_home *home, struct sp_ssh_link *link,
                                const struct sp_ssh_wait *wait, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf command = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = sp_buf_adds(&command, "sh ");

    if (!rc)
        rc = add_supervisor(home, &command);
    if (!rc)
        rc = sp_buf_adds(&command, " remove || exec rm -rf -- ");
    if (!rc)
        rc = sp_ssh_quote(&command, home->path);
    if (rc)
        return no_memory(err);
    rc = call(link, sp_buf_str(&command), wait, NULL, err);
    home->begun = rc != SP_OK;
    return rc;
}
