/* An open provider `ssh` whose far machine is a private sshd on this one, and runs on it. What it
 * leaves can so be looked for. For the tests of ssh only. */
#pragma once

#include <dirent.h>
#include <libssh2.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "providers/registry.h"
#include "tests/support.h"
#include "tests/support/provider_job.h"
#include "tests/support/ssh_server.h"
#include "tests/support/tcp_proxy.h"
#include "tests/support/until.h"

#pragma GCC diagnostic ignored "-Wunused-function"

struct far {
    struct sp_ssh_server server;
    struct sp_tcp_proxy proxy; /* not started: port 0 */
    struct sp_limits limits;
    struct sp_host host;
    char work_dir[64];
    struct sp_provider *provider;
};

static const struct sp_limits far_limits = {.output_bytes = 1 << 20,
                                            .response_bytes = 8 << 20,
                                            .artifacts = 20,
                                            .artifact_bytes = 10 << 20,
                                            .artifacts_total = 20 << 20,
                                            .timeout_ms = 600000};

/* The server, and a work_dir of the account's. config: more lines for sshd, or NULL. */
static void far_start(struct far *f, const char *config)
{
    char lines[512];
    const struct sp_ssh_server_options how = {.config = lines};

    snprintf(lines, sizeof lines, "PasswordAuthentication yes\n%s", config ? config : "");
    *f = (struct far){.limits = far_limits, .work_dir = "/tmp/sp-far-XXXXXX"};
    f->host = (struct sp_host){.worker_id = "test", .limits = &f->limits};
    cr_assert(eq(int, libssh2_init(0), 0));
    cr_assert(sp_ssh_server_start(&f->server, &how));
    cr_assert(mkdtemp(f->work_dir) != NULL);
    if (geteuid() == 0)
        cr_assert(zero(int, chown(f->work_dir, f->server.account_id, f->server.account_id)));
}

/* Settings that let the provider in, with `more` members as JSON text ("\"timeout\":5", or "");
 * those stand over the usual ones. */
static json_t *far_settings(struct far *f, const char *more)
{
    char fingerprint[64], key[128], text[4096];
    json_t *settings;

    cr_assert(sp_ssh_server_fingerprint(&f->server, "ed25519", fingerprint));
    settings = json_pack("{s:s, s:i, s:s, s:s}", "host", "127.0.0.1", "port",
                         f->proxy.port ? f->proxy.port : f->server.port, "host_key_fingerprint",
                         fingerprint, "work_dir", f->work_dir);
    if (geteuid() == 0) {
        json_object_set_new(settings, "username", json_string(SP_SSH_ACCOUNT));
        json_object_set_new(settings, "password", json_string(SP_SSH_PASSWORD));
    } else {
        cr_assert(sp_ssh_server_make_key(&f->server, "ed25519", "RFC4716", "", key));
        json_object_set_new(settings, "username", json_string(f->server.user));
        json_object_set_new(settings, "private_key", json_string(key));
    }
    snprintf(text, sizeof text, "{%s}", more);
    json_auto_t *extra = json_loads(text, 0, NULL);
    cr_assert(extra != NULL, "settings of the test: %s", more);
    json_object_update(settings, extra);
    return settings;
}

static enum sp_code far_try_open(struct far *f, const char *more, struct sp_error *err)
{
    json_auto_t *settings = far_settings(f, more);

    return sp_provider_open(sp_registry_find("ssh"), settings, &f->host, &f->provider, err);
}

static void far_open_on(struct far *f, const char *more)
{
    struct sp_error err = {0};

    cr_assert(eq(int, far_try_open(f, more, &err), SP_OK), "%s", err.msg);
}

static void far_open(struct far *f, const char *more)
{
    far_start(f, NULL);
    far_open_on(f, more);
}

static void far_close(struct far *f)
{
    sp_provider_close(f->provider);
    f->provider = NULL;
    sp_tcp_proxy_stop(&f->proxy);
    sp_ssh_server_stop(&f->server);
    sp_remove_tree(f->work_dir);
}

static void far_run(struct far *f, const struct sp_provider_job *job, struct sp_result *out)
{
    struct sp_error err = {0};

    cr_assert(eq(int, sp_provider_job_run(f->provider, job, out, &err), SP_OK), "%s", err.msg);
}

/* The homes in work_dir. */
static int far_homes(const struct far *f)
{
    DIR *dir = opendir(f->work_dir);
    int n = 0;

    cr_assert(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static bool far_file_has(const char *path, const char *what)
{
    char text[4096];
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(text, 1, sizeof text, file) : 0;

    if (file)
        fclose(file);
    return n > 0 && memmem(text, n, what, strlen(what)) != NULL;
}

/* The processes that runs have: they stand in a home, or name it. Zombies name nothing. */
static int far_processes(const struct far *f)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int n = 0;

    cr_assert(proc != NULL);
    while ((entry = readdir(proc))) {
        char path[300], cwd[256] = "";

        if (!strspn(entry->d_name, "0123456789"))
            continue;
        snprintf(path, sizeof path, "/proc/%s/cwd", entry->d_name);
        (void)!readlink(path, cwd, sizeof cwd - 1);
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        n += strstr(cwd, f->work_dir) != NULL || far_file_has(path, f->work_dir);
    }
    closedir(proc);
    return n;
}

/* Nothing of any run is there, now or within the time that a supervisor takes to go. */
static bool far_is_clean(const struct far *f)
{
    return SP_UNTIL(20000, far_homes(f) == 0 && far_processes(f) == 0);
}
