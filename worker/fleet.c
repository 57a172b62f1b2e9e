#include "worker/fleet.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/log.h"
#include "worker/thread.h"

enum { RENEW_MS = 4000, RECORD_MAX = 256 * 1024, WARNING_SIZE = 160 };
#define RECORD_TTL "15" /* seconds */

struct sp_fleet {
    struct sp_fleet_options with;
    struct sp_redis *redis;
    pthread_t thread;
    int poke_fd;
    atomic_bool ended;
    int64_t started_wall_ms;
    char host[256];
    char key[512];
    uint64_t policy_seen_at; /* the connection on which the policy was asked for */
    pthread_mutex_t lock;    /* guards policy_warning */
    char policy_warning[WARNING_SIZE];
};

/* A record of the control topic never got a version. */
static void write_error(struct sp_json_out *j, const struct sp_settings_status *settings)
{
    bool of_record = settings->control_message[0] != '\0';
    char version[40];
    if (!of_record && settings->message[0] == '\0') {
        sp_json_null(j, "settings_error");
        return;
    }
    sp_json_object(j, "settings_error");
    if (of_record) {
        (void)snprintf(version, sizeof version, "control:%lld",
                       (long long)settings->control_offset);
        sp_json_str(j, "version", version);
    } else {
        sp_json_int(j, "version", settings->error_version);
    }
    sp_json_str(j, "message", of_record ? settings->control_message : settings->message);
    sp_json_object_end(j);
}

static void write_settings(struct sp_json_out *j, const struct sp_settings_status *settings)
{
    if (settings->provider[0]) {
        sp_json_str(j, "provider", settings->provider);
    } else {
        sp_json_null(j, "provider");
    }
    if (settings->version > 0) {
        sp_json_int(j, "settings_version", settings->version);
    } else {
        sp_json_null(j, "settings_version");
    }
    write_error(j, settings);
}

static void write_partitions(struct sp_json_out *j, struct sp_queue *queue)
{
    struct sp_queue_status status = {0};
    sp_queue_status(queue, &status);
    sp_json_array(j, "partitions");
    for (size_t i = 0; i < status.n_partitions; i++)
        sp_json_str(j, NULL, status.partitions[i].name);
    sp_json_array_end(j);
    free(status.partitions);
}

static enum sp_code write_record(const struct sp_fleet *fleet, struct sp_buf *out)
{
    const struct sp_fleet_options *with = &fleet->with;
    struct sp_settings_status settings;
    struct sp_json_out j = SP_JSON_OUT(out);
    sp_watcher_status(with->watcher, &settings);

    sp_json_object(&j, NULL);
    sp_json_str(&j, "id", with->worker_id);
    sp_json_str(&j, "host", fleet->host);
    sp_json_int(&j, "pid", getpid());
    sp_json_int(&j, "started", fleet->started_wall_ms);
    sp_json_str(&j, "version", SP_VERSION);
    sp_json_str(&j, "state", atomic_load(with->stopping) ? "stopping" : "running");
    write_settings(&j, &settings);
    sp_json_int(&j, "concurrency", with->concurrency);
    sp_json_int(&j, "running", (int64_t)sp_executors_running(with->executors));
    write_partitions(&j, with->queue);
    sp_json_object_end(&j);
    return j.rc;
}

static enum sp_code publish(struct sp_fleet *fleet, struct sp_error *err)
{
    struct sp_buf record = SP_BUF_INIT(RECORD_MAX);
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = write_record(fleet, &record);
    if (!rc) {
        rc = sp_redis_command(fleet->redis, &reply, err, "SET %s %b EX " RECORD_TTL, fleet->key,
                              record.data, record.len);
    }
    sp_buf_clear(&record);
    return rc;
}

static void ask_policy(struct sp_fleet *fleet)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    struct sp_error err = {0};
    char warning[WARNING_SIZE] = "";
    enum sp_code rc = sp_redis_command(fleet->redis, &reply, &err, "CONFIG GET maxmemory-policy");
    if (rc == SP_E_UNAVAILABLE)
        return;
    const char *policy = !rc && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2
                             ? reply->element[1]->str
                             : NULL;
    if (!policy) {
        snprintf(warning, sizeof warning,
                 "Redis does not tell its maxmemory-policy; it must be noeviction");
    } else if (strcmp(policy, "noeviction") != 0) {
        snprintf(warning, sizeof warning,
                 "Redis has maxmemory-policy %.40s; set it to noeviction, or data may vanish",
                 policy);
    }
    if (warning[0])
        sp_log(SP_WARN, "redis_policy", sp_s("warning", warning));
    pthread_mutex_lock(&fleet->lock);
    memcpy(fleet->policy_warning, warning, sizeof warning);
    pthread_mutex_unlock(&fleet->lock);
    fleet->policy_seen_at = sp_redis_generation(fleet->redis);
}

static void renew(struct sp_fleet *fleet)
{
    struct sp_error err = {0};
    enum sp_code rc = publish(fleet, &err);
    if (rc) {
        sp_log(SP_DEBUG, "fleet_record_failed", sp_s("error", err.msg));
        return;
    }
    if (sp_redis_generation(fleet->redis) != fleet->policy_seen_at)
        ask_policy(fleet);
}

static void *fleet_main(void *arg)
{
    struct sp_fleet *fleet = arg;
    struct pollfd fds[] = {{.fd = sp_watcher_fd(fleet->with.watcher), .events = POLLIN},
                           {.fd = fleet->poke_fd, .events = POLLIN}};
    while (!atomic_load(&fleet->ended)) {
        renew(fleet);
        (void)poll(fds, SP_COUNT(fds), RENEW_MS);
        eventfd_t seen = 0;
        if (fds[0].revents & POLLIN) {
            (void)eventfd_read(fds[0].fd, &seen);
            sp_hold_retry(fleet->with.hold);
            sp_queue_wake(fleet->with.queue);
        }
        if (fds[1].revents & POLLIN)
            (void)eventfd_read(fds[1].fd, &seen);
    }
    return NULL;
}

static void release(struct sp_fleet *fleet)
{
    if (fleet->poke_fd >= 0)
        close(fleet->poke_fd);
    pthread_mutex_destroy(&fleet->lock);
    free(fleet);
}

enum sp_code sp_fleet_start(const struct sp_fleet_options *options, struct sp_redis *redis,
                            struct sp_fleet **out, struct sp_error *err)
{
    struct sp_fleet *fleet = calloc(1, sizeof *fleet);
    if (!fleet)
        return sp_error_set(err, SP_E_NOMEM, "no memory for the fleet record");
    fleet->with = *options;
    fleet->redis = redis;
    fleet->started_wall_ms = sp_wall_ms();
    pthread_mutex_init(&fleet->lock, NULL);
    if (gethostname(fleet->host, sizeof fleet->host - 1))
        snprintf(fleet->host, sizeof fleet->host, "unknown");
    snprintf(fleet->key, sizeof fleet->key, "%s:worker:%s", options->prefix, options->worker_id);
    fleet->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum sp_code rc = fleet->poke_fd < 0
                          ? sp_error_set(err, SP_E_INTERNAL, "no descriptor for the fleet record")
                          : sp_thread_start(&fleet->thread, "fleet", fleet_main, fleet, err);
    if (rc) {
        release(fleet);
        return rc;
    }
    *out = fleet;
    return SP_OK;
}

void sp_fleet_poke(struct sp_fleet *fleet)
{
    (void)eventfd_write(fleet->poke_fd, 1);
}

void sp_fleet_stop(struct sp_fleet *fleet)
{
    if (!fleet)
        return;
    atomic_store(&fleet->ended, true);
    sp_fleet_poke(fleet);
    pthread_join(fleet->thread, NULL);
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    struct sp_error err = {0};
    if (sp_redis_command(fleet->redis, &reply, &err, "DEL %s", fleet->key))
        sp_log(SP_DEBUG, "fleet_record_failed", sp_s("error", err.msg));
    sp_redis_free(fleet->redis);
    release(fleet);
}

void sp_fleet_policy_warning(struct sp_fleet *fleet, char *out)
{
    pthread_mutex_lock(&fleet->lock);
    memcpy(out, fleet->policy_warning, WARNING_SIZE);
    pthread_mutex_unlock(&fleet->lock);
}
