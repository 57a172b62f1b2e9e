/*
 * `sandpiper worker` for the chaos cases: with the provider `ledger`, and with options of its own
 * among the -X ones that take something from the process.
 *
 *   ledger_worker worker --ready-fd N [-X SECTION.KEY=VALUE ...]
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "providers/registry.h"
#include "tests/chaos/ledger_provider.h"
#include "tests/chaos/stepped_clock.h"
#include "worker/worker.h"

#define ARGUMENTS_BEFORE_OPTIONS 4
#define OPTIONS_MAX 64

/* The log goes to this file. */
static bool log_to(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return fd >= 0 && dup2(fd, STDERR_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0;
}

static bool limit_descriptors(const char *text)
{
    int64_t n = 0;
    if (!sp_parse_i64(text, 1, 1 << 20, &n))
        return false;
    struct rlimit limit = {.rlim_cur = (rlim_t)n, .rlim_max = (rlim_t)n};
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* A file system of 256 KiB over this folder, which only this process and its children see. */
static bool small_disk_at(const char *path)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", path, "tmpfs", 0, "size=256k") == 0;
}

static const struct {
    const char *name;
    bool (*take)(const char *value);
} hardships[] = {
    {"chaos.log=", log_to},
    {"chaos.descriptors=", limit_descriptors},
    {"chaos.small_disk=", small_disk_at},
    {"chaos.clock=", stepped_clock_follow},
};

/* True: the option is one of ours, and done. */
static bool is_hardship(const char *option)
{
    for (size_t i = 0; i < SP_COUNT(hardships); i++) {
        size_t len = strlen(hardships[i].name);
        if (strncmp(option, hardships[i].name, len) != 0)
            continue;
        if (!hardships[i].take(option + len)) {
            fprintf(stderr, "ledger_worker: %s: %s\n", option, strerror(errno));
            exit(EXIT_FAILURE);
        }
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    const char *options[OPTIONS_MAX];
    size_t n = 0;
    struct sp_config *config = NULL;
    struct sp_error err = {0};
    if (argc < ARGUMENTS_BEFORE_OPTIONS) {
        fprintf(stderr, "usage: ledger_worker worker --ready-fd N [-X SECTION.KEY=VALUE ...]\n");
        return EXIT_FAILURE;
    }
    for (int i = ARGUMENTS_BEFORE_OPTIONS + 1; i < argc && n < OPTIONS_MAX; i += 2) {
        if (!is_hardship(argv[i]))
            options[n++] = argv[i];
    }
    json_object_seed(0);
    sp_registry_add(&ledger_provider);
    if (sp_config_load("/dev/null", options, n, &config, &err)) {
        fprintf(stderr, "ledger_worker: %s\n", err.msg);
        return EXIT_FAILURE;
    }
    int code = sp_worker_run(config, (int)strtol(argv[3], NULL, 10));
    sp_config_free(config);
    return code;
}
