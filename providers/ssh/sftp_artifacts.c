#include "providers/ssh/sftp_artifacts.h"

static const enum sp_artifact_type types[] = {
    [SP_SSH_FILE] = SP_ARTIFACT_FILE,
    [SP_SSH_FOLDER] = SP_ARTIFACT_FOLDER,
    [SP_SSH_SYMLINK] = SP_ARTIFACT_LINK,
    [SP_SSH_OTHER] = SP_ARTIFACT_OTHER,
};

static enum sp_code set_path(struct sp_sftp_artifacts *s, const char *below, struct sp_error *err)
{
    sp_buf_reset(&s->path);
    if (sp_buf_addf(&s->path, "%s%s%s", s->folder, *below ? "/" : "", below))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    return SP_OK;
}

/* What the server refused; its message names the machine, which is not the reader's business. */
static enum sp_code refused(struct sp_error *err, enum sp_code rc)
{
    return rc == SP_E_INVALID ? sp_error_set(err, rc, "cannot be read") : rc;
}

/* A folder is not looked into through a link. *missing: it is not there. */
static enum sp_code check_folder(struct sp_sftp_artifacts *s, bool *missing, struct sp_error *err)
{
    struct sp_ssh_attributes is;
    enum sp_code rc = sp_ssh_lstat(s->link, sp_buf_str(&s->path), s->wait, &is, err);

    *missing = rc == SP_E_INVALID && sp_ssh_no_such_file(s->link);
    if (rc)
        return *missing ? SP_OK : refused(err, rc);
    if (is.type == SP_SSH_SYMLINK)
        return sp_error_set(err, SP_E_INVALID, "symlinks are not allowed");
    if (is.type != SP_SSH_FOLDER)
        return sp_error_set(err, SP_E_INVALID, "cannot be read: not a folder");
    return SP_OK;
}

static enum sp_code add_names(const struct sp_ssh_listing *found, size_t max,
                              struct sp_artifact_names *out, struct sp_error *err)
{
    out->more = found->more || found->n > max;
    for (size_t i = 0; i < found->n && i < max; i++) {
        const struct sp_ssh_entry *entry = &found->entries[i];

        if (sp_artifact_names_add(out, entry->name, types[entry->attributes.type]))
            return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    return SP_OK;
}

static enum sp_code sftp_list(struct sp_artifact_source *source, const char *folder, size_t max,
                              struct sp_artifact_names *out, struct sp_error *err)
{
    struct sp_sftp_artifacts *s = (struct sp_sftp_artifacts *)source;
    sp_auto(sp_ssh_listing_clear) struct sp_ssh_listing found = {0};
    bool missing = false;

    if (!*folder && s->known)
        return add_names(s->known, max, out, err);
    enum sp_code rc = set_path(s, folder, err);
    if (!rc)
        rc = check_folder(s, &missing, err);
    if (rc || missing)
        return rc;
    rc = sp_ssh_list(s->link, sp_buf_str(&s->path), max, s->wait, &found, err);
    return rc ? refused(err, rc) : add_names(&found, max, out, err);
}

static enum sp_code sftp_open(struct sp_artifact_source *source, const char *path,
                              struct sp_artifact_facts *out, struct sp_error *err)
{
    struct sp_sftp_artifacts *s = (struct sp_sftp_artifacts *)source;
    struct sp_ssh_attributes is;
    enum sp_code rc = set_path(s, path, err);

    if (!rc)
        rc = sp_ssh_lstat(s->link, sp_buf_str(&s->path), s->wait, &is, err);
    if (rc)
        return refused(err, rc);
    *out = (struct sp_artifact_facts){.type = types[is.type], .size = is.size, .links = 1};
    return SP_OK;
}

static enum sp_code sftp_read(struct sp_artifact_source *source, struct sp_buf *out,
                              struct sp_error *err)
{
    struct sp_sftp_artifacts *s = (struct sp_sftp_artifacts *)source;

    return refused(err, sp_ssh_get(s->link, sp_buf_str(&s->path), out, s->wait, err));
}

void sp_sftp_artifacts_init(struct sp_sftp_artifacts *s, struct sp_ssh_link *link,
                            const char *folder, const struct sp_ssh_wait *wait)
{
    *s = (struct sp_sftp_artifacts){
        .base = {.list = sftp_list, .open = sftp_open, .read = sftp_read},
        .link = link,
        .folder = folder,
        .wait = wait,
        .path = SP_BUF_INIT(SP_BUF_UNBOUNDED),
    };
}

void sp_sftp_artifacts_clear(struct sp_sftp_artifacts *s)
{
    sp_buf_clear(&s->path);
}
