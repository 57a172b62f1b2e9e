/* An open provider `local` in a folder of its own, and runs on it. For the tests of local only. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "providers/registry.h"
#include "tests/support.h"
#include "tests/support/provider_job.h"
#include "tests/support/until.h"

#pragma GCC diagnostic ignored "-Wunused-function"

struct stage {
    struct sp_limits limits;
    struct sp_host host;
    char work_dir[64];
    struct sp_provider *provider;
};

static void stage_prepare(struct stage *s)
{
    *s = (struct stage){.limits = sp_usual_limits, .work_dir = "/tmp/sp-local-XXXXXX"};
    s->limits.response_bytes = 8 << 20; /* a value that is kept beyond its limit shows in memory */
    s->host = (struct sp_host){.worker_id = "test", .limits = &s->limits};
    cr_assert(mkdtemp(s->work_dir) != NULL);
}

/* Opens with isolation none and `more` ("\"timeout\":5", or ""). */
static enum sp_code stage_open_with(struct stage *s, const char *settings, struct sp_error *err)
{
    json_auto_t *obj = json_loads(settings, 0, NULL);

    cr_assert(obj != NULL, "settings of the test: %s", settings);
    if (!json_object_get(obj, "work_dir"))
        json_object_set_new(obj, "work_dir", json_string(s->work_dir));
    return sp_provider_open(sp_registry_find("local"), obj, &s->host, &s->provider, err);
}

/* The same in the folder of stage_prepare(). */
static void stage_open_in(struct stage *s, const char *more)
{
    char settings[4096];
    struct sp_error err = {0};

    snprintf(settings, sizeof settings, "{\"isolation\":\"none\"%s%s}", *more ? "," : "", more);
    cr_assert(eq(int, stage_open_with(s, settings, &err), SP_OK), "%s", err.msg);
}

static void stage_open(struct stage *s, const char *more)
{
    stage_prepare(s);
    stage_open_in(s, more);
}

static void stage_close(struct stage *s)
{
    sp_provider_close(s->provider);
    s->provider = NULL;
    sp_remove_tree(s->work_dir);
}

static void stage_run(struct stage *s, const struct sp_provider_job *job, struct sp_result *out)
{
    struct sp_error err = {0};

    cr_assert(eq(int, sp_provider_job_run(s->provider, job, out, &err), SP_OK), "%s", err.msg);
}

/* The number of entries of a folder, save for "." and "..". */
static int stage_count(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

/* The one folder that the provider has in work_dir. */
static void stage_folder(const struct stage *s, char *out, size_t size)
{
    DIR *dir = opendir(s->work_dir);
    struct dirent *entry;

    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            snprintf(out, size, "%s/%s", s->work_dir, entry->d_name);
    }
    closedir(dir);
}

static bool stage_gone(int pid)
{
    return kill(pid, 0) && errno == ESRCH;
}
