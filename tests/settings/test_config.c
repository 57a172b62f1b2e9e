#include "settings/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/support.h"

#define SAMPLE SP_SOURCE_DIR "/conf/sandpiper.conf"

static char path[64];

static void make_file(void)
{
    snprintf(path, sizeof path, "/tmp/sandpiper-conf-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(ge(int, fd, 0));
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
}

TestSuite(config, .init = make_file, .fini = remove_file);

static enum sp_code load(const char *text, const char *override, struct sp_config **out,
                         struct sp_error *err)
{
    FILE *file = fopen(path, "w");

    cr_assert(ne(ptr, file, NULL));
    cr_assert(ge(int, fputs(text, file), 0));
    fclose(file);
    return sp_config_load(path, &override, override ? 1 : 0, out, err);
}

static struct sp_config *load_good(const char *text)
{
    struct sp_config *config = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, load(text, NULL, &config, &err), SP_OK), "%s", err.msg);
    return config;
}

Test(config, an_empty_file_gives_the_defaults_of_the_contract)
{
    sp_auto(sp_config_free) struct sp_config *c = load_good("");

    cr_expect(eq(str, c->queue.request_topics, "sandpiper.requests"));
    cr_expect(eq(str, c->queue.reply_topic, "sandpiper.results"));
    cr_expect(eq(str, c->queue.dlq_topic, ""));
    cr_expect(eq(str, c->queue.control_topic, "sandpiper.control"));
    cr_expect(eq(str, c->queue.reply_allow, "sandpiper.reply.*"));
    cr_expect(eq(i64, c->queue.window, 10000));
    cr_expect(eq(i64, c->queue.window_bytes, 64 << 20));
    cr_expect(eq(str, c->redis.url, ""));
    cr_expect(eq(str, c->redis.host, "127.0.0.1"));
    cr_expect(eq(i64, c->redis.port, 6379));
    cr_expect(eq(str, c->redis.prefix, "sandpiper"));
    cr_expect(eq(str, c->redis.outage, "continue"));
    cr_expect(eq(i64, c->worker.concurrency, 16));
    cr_expect(eq(i64, c->worker.drain, 30000));
    cr_expect(eq(i64, c->worker.setup_timeout, 60000));
    cr_expect(eq(i64, c->worker.hold, 300000));
    cr_expect(eq(str, c->worker.order, "none"));
    cr_expect(eq(i64, c->worker.max_attempts, 3));
    cr_expect(eq(i64, c->worker.liveness, 10000));
    cr_expect(eq(i64, c->limits.code_bytes, 1 << 20));
    cr_expect(eq(i64, c->limits.files_bytes, 1 << 20));
    cr_expect(eq(i64, c->limits.reply_bytes, 900000));
    cr_expect(eq(i64, c->limits.output_bytes, 1 << 20));
    cr_expect(eq(i64, c->limits.response_bytes, 64 << 20));
    cr_expect(eq(i64, c->limits.artifacts, 20));
    cr_expect(eq(i64, c->limits.artifact_bytes, 10 << 20));
    cr_expect(eq(i64, c->limits.artifacts_total, 50 << 20));
    cr_expect(eq(i64, c->limits.timeout_ms, 600000));
    cr_expect(eq(i64, c->results.ttl, 3600000));
    cr_expect(eq(i64, c->cancel.ttl, 86400000));
    cr_expect(eq(str, c->http.listen, "127.0.0.1:9464"));
    cr_expect(eq(str, c->log.level, "info"));
    cr_expect(eq(str, c->log.format, "json"));
    cr_expect(eq(str, (char *)sp_config_kafka(c, "bootstrap.servers"), "localhost:9092"));
    cr_expect(eq(ptr, (void *)sp_config_kafka(c, "group.id"), NULL));
}

Test(config, a_file_is_read_with_its_comments_and_blanks)
{
    sp_auto(sp_config_free) struct sp_config *c =
        load_good("\xEF\xBB\xBF# ours\n\n[queue]\n  window = 5   ; few\n  reply_allow=a,b.*\n"
                  "[kafka]\nbootstrap.servers = a:1, b:2\nssl.ca.location=\r\n; end\n"
                  "[HTTP]\nlisten =\n[log]\nformat: text");

    cr_expect(eq(i64, c->queue.window, 5));
    cr_expect(eq(str, c->queue.reply_allow, "a,b.*"));
    cr_expect(eq(str, (char *)sp_config_kafka(c, "bootstrap.servers"), "a:1, b:2"));
    cr_expect(eq(str, (char *)sp_config_kafka(c, "ssl.ca.location"), ""));
    cr_expect(eq(str, c->http.listen, ""));
    cr_expect(eq(str, c->log.format, "text"));
}

Test(config, the_last_one_given_wins)
{
    struct sp_config *c = NULL;

    setenv("SANDPIPER_QUEUE_WINDOW", "6", 1);
    setenv("SANDPIPER_WORKER_SETUP_TIMEOUT", "5s", 1);
    setenv("SANDPIPER_WORKER_DRAIN", "", 1);
    setenv("SANDPIPER_KAFKA_SASL_PASSWORD", "from the environment", 1);
    setenv("SANDPIPER_KAFKA_GROUP_ID", "mine", 1);
    setenv("SANDPIPER_VERSION_OF_SOMETHING", "1", 1);
    enum sp_code rc = load("[queue]\nwindow=5\nwindow_bytes=2M\n[worker]\ndrain=7s\n"
                           "[kafka]\ngroup.id=a\ngroup.id=b\n",
                           "kafka.group.id=over=all", &c, NULL);

    cr_assert(eq(int, rc, SP_OK));
    cr_expect(eq(i64, c->queue.window, 6));
    cr_expect(eq(i64, c->queue.window_bytes, 2 << 20));
    cr_expect(eq(i64, c->worker.setup_timeout, 5000));
    cr_expect(eq(i64, c->worker.drain, 7000));
    cr_expect(eq(str, (char *)sp_config_kafka(c, "sasl.password"), "from the environment"));
    cr_expect(eq(str, (char *)sp_config_kafka(c, "group.id"), "over=all"));
    cr_expect(eq(sz, c->kafka.n, 3));
    sp_config_free(c);
}

Test(config, the_file_of_the_environment_is_used)
{
    struct sp_config *c = NULL;
    FILE *file = fopen(path, "w");

    fputs("[queue]\nwindow=5\n", file);
    fclose(file);
    setenv("SANDPIPER_CONF", path, 1);
    cr_assert(eq(int, sp_config_load(NULL, NULL, 0, &c, NULL), SP_OK));

    cr_expect(eq(i64, c->queue.window, 5));
    sp_config_free(c);
}

Test(config, no_file_at_all_is_fine)
{
    struct sp_config *c = NULL;

    cr_assert(zero(chdir("/proc")));
    cr_assert(eq(int, sp_config_load(NULL, NULL, 0, &c, NULL), SP_OK));

    cr_expect(eq(i64, c->queue.window, 10000));
    sp_config_free(c);
}

static const struct {
    const char *text, *message; /* behind the path */
} bad_files[] = {
    {"[queue]\n\nwindow = 0\n", ":3: section [queue]: window: 0 is out of range (1 to 1000000)"},
    {"[queue]\nwindow = many\n", ":2: section [queue]: window: expected an integer"},
    {"[queue]\nrequest_topics =\n", ":2: section [queue]: request_topics: required"},
    {"[cancel]\ntll = 1d\n", ":2: section [cancel]: tll: unknown setting; known are ttl"},
    {"[cancel]\nttl = 1d\n",
     ":2: section [cancel]: ttl: expected a duration such as 30s, 1m30s or 500ms"},
    {"[limits]\ntimeout = 25h\n", ":2: section [limits]: timeout: 25h is out of range (1s to 24h)"},
    {"[worker]\norder = any\n", ":2: section [worker]: order: must be one of none, key"},
    {"[worker]\nid = a b\n",
     ":2: section [worker]: id: use letters, digits, '.', '_' and '-', 64 at most"},
    {"[redis]\nurl = http://u:secret@h\n",
     ":2: section [redis]: redis url: unknown scheme; expected "
     "redis://[user[:password]@]host[:port][/db], rediss://... or unix:///path?db=n"},
    {"[redis]\nprefix = a:*\n",
     ":2: section [redis]: prefix: use letters, digits, '.', '_' and '-', 64 at most"},
    {"[http]\nlisten = 9464\n",
     ":2: section [http]: listen: expected host:port, such as 127.0.0.1:9464, or nothing"},
    {"[http]\nlisten = host:99999\n",
     ":2: section [http]: listen: expected host:port, such as 127.0.0.1:9464, or nothing"},
    {"[log]\nlevel = info\n[rdis]\nhost = x\n",
     ":4: unknown section \"rdis\"; known are kafka, queue, redis, worker, limits, results, "
     "cancel, http, log"},
    {"window = 5\n", ":1: \"window\" stands before any [section]"},
    {"[queue]\nwindow 5\n", ":2: expected \"key = value\" or [section]"},
    {"[queue\n", ":1: expected \"key = value\" or [section]"},
    {"[queue]\nwindow 5\nwindow = x\n", ":2: expected \"key = value\" or [section]"},
    {"[queue]\nwindow = x\nwindow 5\n", ":2: section [queue]: window: expected an integer"},
};

SP_TABLE_TEST(config, a_bad_file_is_refused_with_its_line, bad_files, row)
{
    struct sp_config *c = NULL;
    struct sp_error err = {0};
    char want[256];

    enum sp_code rc = load(row->text, NULL, &c, &err);

    snprintf(want, sizeof want, "%s%.180s", path, row->message);
    cr_assert(eq(int, rc, SP_E_INVALID), "for %s", row->text);
    cr_expect(eq(str, err.msg, want));
}

Test(config, a_long_line_is_one_line_or_an_error)
{
    struct sp_config *c = NULL;
    struct sp_error err = {0};
    char text[1024] = "[kafka]\nbootstrap.servers = ";

    memset(text + strlen(text), 'h', 500);
    enum sp_code rc = load(text, NULL, &c, &err);

    if (rc)
        cr_expect(ne(ptr, strstr(err.msg, ":2: line is longer than "), NULL), "%s", err.msg);
    else
        cr_expect(eq(sz, strlen(sp_config_kafka(c, "bootstrap.servers")), 500));
    sp_config_free(c);
}

Test(config, a_file_that_cannot_be_read_is_named)
{
    struct sp_config *c = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_config_load("/nowhere/x.conf", NULL, 0, &c, &err), SP_E_INVALID));

    cr_expect(eq(str, err.msg, "cannot open /nowhere/x.conf: No such file or directory"));
}

static const struct {
    const char *name, *value, *message;
} bad_variables[] = {
    {"SANDPIPER_QUEUE_WINDOW", "-1",
     "SANDPIPER_QUEUE_WINDOW: window: -1 is out of range "
     "(1 to 1000000)"},
    {"SANDPIPER_HTTP_LISTN", "x", "SANDPIPER_HTTP_LISTN: listn: unknown setting; known are listen"},
    {"SANDPIPER_WORKER_ID", "a/b",
     "SANDPIPER_WORKER_ID: id: use letters, digits, '.', '_' and '-', 64 at most"},
    {"SANDPIPER_REDIS_PASSWORD", "env:SP_TEST_NOT_SET",
     "redis.password: environment variable SP_TEST_NOT_SET is not set"},
};

SP_TABLE_TEST(config, a_bad_variable_is_named, bad_variables, row)
{
    struct sp_config *c = NULL;
    struct sp_error err = {0};

    setenv(row->name, row->value, 1);
    cr_assert(eq(int, load("", NULL, &c, &err), SP_E_INVALID));

    cr_expect(eq(str, err.msg, (char *)row->message));
}

static const struct {
    const char *override, *message;
} bad_overrides[] = {
    {"queue.window=x", "-X queue.window: window: expected an integer"},
    {"queue=5", "-X queue: expected section.key=value"},
    {"queue.window", "-X queue.window: expected section.key=value"},
    {"queue.=5", "-X queue.: expected section.key=value"},
    {"http.passwort=hush", "-X http.passwort: passwort: unknown setting; known are listen"},
    {"que.window=5", "-X que.window: unknown section \"que\"; known are kafka, queue, redis, "
                     "worker, limits, results, cancel, http, log"},
};

SP_TABLE_TEST(config, a_bad_override_is_named_without_its_value, bad_overrides, row)
{
    struct sp_config *c = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, load("", row->override, &c, &err), SP_E_INVALID));

    cr_expect(eq(str, err.msg, (char *)row->message));
}

Test(config, every_worker_has_an_id_of_its_own_that_fits_keys_and_uris)
{
    sp_auto(sp_config_free) struct sp_config *a = load_good(""), *b = load_good("");
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    cr_expect(ne(str, a->worker.id, b->worker.id));
    cr_expect(eq(sz, strspn(a->worker.id, allowed), strlen(a->worker.id)));
    cr_expect(gt(sz, strlen(a->worker.id), 9));
    cr_expect(le(sz, strlen(a->worker.id), 64));
}

Test(config, a_password_may_be_a_reference)
{
    setenv("SP_TEST_PASSWORD", "s3cret", 1);
    sp_auto(sp_config_free) struct sp_config *c =
        load_good("[redis]\npassword = env:SP_TEST_PASSWORD\n");

    cr_expect(eq(str, c->redis.password, "s3cret"));
}

/* The sample, with the marks of its keys taken away; *keys counts them. */
static char *uncomment_sample(size_t *keys)
{
    FILE *file = fopen(SAMPLE, "r");
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char line[256];

    cr_assert(ne(ptr, file, NULL));
    for (*keys = 0; fgets(line, sizeof line, file);) {
        bool key = line[0] == '#' && line[1] != ' ' && line[1] != '\n';
        *keys += key;
        sp_buf_adds(&text, line + key);
    }
    fclose(file);
    return sp_buf_take(&text, NULL);
}

Test(config, the_sample_shows_every_key_with_its_default)
{
    size_t keys, known = 2; /* of [kafka] */
    sp_auto(sp_free_str) char *text = uncomment_sample(&keys);

    for (size_t i = 0; i < sp_config_n_sections; i++) {
        const struct sp_config_section *s = &sp_config_sections[i];
        char heading[64];
        snprintf(heading, sizeof heading, "\n[%s]\n", s->name);
        const char *at = strstr(text, heading);
        cr_assert(ne(ptr, (void *)at, NULL), "no section %s", s->name);
        const char *end = strstr(at + 2, "\n[");
        for (size_t k = 0; k < s->n_fields; k++, known++) {
            const struct sp_field *f = &s->fields[k];
            char line[160];
            if (f->type == SP_FIELD_INT)
                snprintf(line, sizeof line, "\n%s = %lld\n", f->key, (long long)f->def_int);
            else
                snprintf(line, sizeof line, "\n%s =%s%s\n", f->key, f->def_str ? " " : "",
                         f->def_str ? f->def_str : "");
            const char *found = strstr(at, line);
            cr_expect(found && (!end || found < end), "section %s misses%s", s->name, line);
        }
    }
    cr_expect(eq(sz, keys, known), "keys that are none");
    sp_auto(sp_config_free) struct sp_config *c = load_good(text);
    cr_expect(eq(str, (char *)sp_config_kafka(c, "bootstrap.servers"), "localhost:9092"));
    cr_expect(eq(str, (char *)sp_config_kafka(c, "group.id"), "sandpiper"));
}

Test(config, the_sample_as_it_is_loads)
{
    struct sp_config *c = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_config_load(SAMPLE, NULL, 0, &c, &err), SP_OK), "%s", err.msg);

    sp_config_free(c);
}
