/* `settings watch`: a line for every change of the hash, and one when the fleet has followed. */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "cli/settings.h"

enum { LOOK_EVERY_MS = 200 };

struct watch {
    const struct sp_call *call;
    struct sp_admin *admin;
    char digest[65];
    int64_t version; /* shown last; -1: none */
    size_t followed; /* workers that have it, as shown last */
    size_t workers;
};

static bool as_json(const struct watch *w)
{
    const struct sp_settings_options *options = w->call->options;
    return options->common.json;
}

static void print_line(const struct watch *w, const json_t *line)
{
    (void)json_dumpf(line, w->call->out, JSON_COMPACT);
    (void)fputc('\n', w->call->out);
}

static void show_change(const struct watch *w)
{
    const struct sp_document *doc = &w->admin->doc;
    FILE *out = w->call->out;
    if (as_json(w)) {
        json_auto_t *line = json_pack(
            "{s:s, s:I, s:s, s:s?, s:s?}", "event", "change", "version", (json_int_t)doc->version,
            "provider", sp_admin_active(w->admin), "author", doc->author, "comment", doc->comment);
        print_line(w, line);
        return;
    }
    fprintf(out, "version %lld: %s", (long long)doc->version, sp_admin_active(w->admin));
    if (doc->author)
        fprintf(out, ", by %s", doc->author);
    if (doc->comment)
        fprintf(out, " (%s)", doc->comment);
    (void)fputc('\n', out);
}

static void show_fleet(const struct watch *w)
{
    if (as_json(w)) {
        json_auto_t *line =
            json_pack("{s:s, s:I, s:I, s:I}", "event", "fleet", "version", (json_int_t)w->version,
                      "applied", (json_int_t)w->followed, "workers", (json_int_t)w->workers);
        print_line(w, line);
    } else {
        fprintf(w->call->out, "  %zu of %zu workers have version %lld\n", w->followed, w->workers,
                (long long)w->version);
    }
}

static void look_at_fleet(struct watch *w, json_t *workers)
{
    size_t followed = 0, i;
    json_t *worker;
    json_array_foreach (workers, i, worker) {
        if (json_integer_value(json_object_get(worker, "settings_version")) == w->version)
            followed++;
    }
    if (followed == w->followed && json_array_size(workers) == w->workers)
        return;
    w->followed = followed;
    w->workers = json_array_size(workers);
    show_fleet(w);
}

static enum sp_code look(struct watch *w, struct sp_error *err)
{
    const struct sp_document *doc = &w->admin->doc;
    json_auto_t *workers = NULL;
    enum sp_code rc = sp_admin_read(w->admin, err);
    if (!rc)
        rc = sp_admin_fleet(w->admin, &workers, err);
    if (rc)
        return rc;
    if (doc->present && (doc->version != w->version || strcmp(doc->digest, w->digest) != 0)) {
        w->version = doc->version;
        memcpy(w->digest, doc->digest, sizeof(w->digest));
        w->followed = w->workers = 0;
        show_change(w);
    }
    look_at_fleet(w, workers);
    (void)fflush(w->call->out);
    return SP_OK;
}

int sp_settings_watch(const struct sp_call *call)
{
    const struct sp_settings_options *options = call->options;
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    struct watch w = {.call = call, .admin = &admin, .version = -1};
    struct sp_error err = {0};
    const int64_t end = options->during ? sp_deadline_in(options->during) : SP_NEVER;
    if (sp_admin_open(call, &admin, &err))
        return sp_call_fail(call, &err);
    do { /* once, however long it took to get here */
        if (look(&w, &err))
            return sp_call_fail(call, &err);
        (void)poll(NULL, 0, LOOK_EVERY_MS);
    } while (sp_deadline_left(end) != 0 && !ferror(call->out));
    return SP_EXIT_OK;
}
