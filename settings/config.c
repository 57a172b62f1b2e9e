/* Reads the configuration file and what overrides it, by the tables of settings/config_fields.c. */
#include "settings/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/grow.h"
#include "base/text.h"
#include "settings/redis.h"
#include "settings/secret.h"

#define ENV_PREFIX "SANDPIPER_"

enum { MAX_FILE = 1 << 20, MAX_LINE = 64 << 10, MAX_ID = 64 };

static void *section_at(struct sp_config *config, const struct sp_config_section *section)
{
    return (char *)config + section->offset;
}

static const struct sp_config_section *find_section(const char *name, size_t len)
{
    for (size_t i = 0; i < sp_config_n_sections; i++) {
        if (strlen(sp_config_sections[i].name) == len &&
            !strncasecmp(sp_config_sections[i].name, name, len))
            return &sp_config_sections[i];
    }
    return NULL;
}

/* Names that go into Redis keys, headers and URIs as they are. */
static enum sp_code check_name(const char *key, const char *text, struct sp_error *err)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    if (text[len] || len > MAX_ID) {
        return sp_error_set(err, SP_E_INVALID,
                            "%s: use letters, digits, '.', '_' and '-', %d at most", key, MAX_ID);
    }
    return SP_OK;
}

static enum sp_code check_listen(const char *key, const char *text, struct sp_error *err)
{
    const char *colon = strrchr(text, ':');
    int64_t port;

    if (*text && (!colon || colon == text || !sp_parse_i64(colon + 1, 0, 65535, &port))) {
        return sp_error_set(err, SP_E_INVALID,
                            "%s: expected host:port, such as 127.0.0.1:9464, or nothing", key);
    }
    return SP_OK;
}

/* A reference is looked at when it is resolved. */
static enum sp_code check_url(const char *key, const char *text, struct sp_error *err)
{
    (void)key;
    return *text && !sp_secret_is_reference(text) ? sp_redis_check_url(text, err) : SP_OK;
}

/* What the field tables cannot say. */
static const struct {
    const char *section, *key;
    enum sp_code (*check)(const char *key, const char *text, struct sp_error *err);
} checks[] = {
    {"redis", "url", check_url},
    {"redis", "prefix", check_name},
    {"worker", "id", check_name},
    {"http", "listen", check_listen},
};

static enum sp_code check_text(const char *section, const char *key, const char *text,
                               struct sp_error *err)
{
    for (size_t i = 0; i < SP_COUNT(checks); i++) {
        if (!strcmp(checks[i].section, section) && !strcmp(checks[i].key, key))
            return checks[i].check(key, text, err);
    }
    return SP_OK;
}

static void free_property(struct sp_property *p)
{
    free(p->key);
    if (p->value)
        explicit_bzero(p->value, strlen(p->value)); /* it may be a password */
    free(p->value);
    *p = (struct sp_property){0};
}

static struct sp_property *find_property(const struct sp_config *config, const char *key)
{
    for (size_t i = 0; i < config->kafka.n; i++) {
        if (!strcmp(config->kafka.properties[i].key, key))
            return &config->kafka.properties[i];
    }
    return NULL;
}

/* The last one given wins. */
static enum sp_code set_property(struct sp_config *config, const char *key, const char *value,
                                 struct sp_error *err)
{
    struct sp_property *old = find_property(config, key);
    struct sp_property made = {.key = sp_strdup(key), .value = sp_strdup(value)};

    if (!old && made.key && made.value) {
        struct sp_property *more = sp_grow(config->kafka.properties, config->kafka.n, sizeof *more);
        if (more) {
            config->kafka.properties = more;
            old = &more[config->kafka.n++];
            *old = (struct sp_property){0};
        }
    }
    if (!old || !made.key || !made.value) {
        free_property(&made);
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    free_property(old);
    *old = made;
    return SP_OK;
}

static enum sp_code set_value(struct sp_config *config, const struct sp_config_section *section,
                              const char *key, const char *text, struct sp_error *err)
{
    if (!section->fields)
        return set_property(config, key, text, err);
    enum sp_code rc = sp_fields_set_text(section->fields, section->n_fields,
                                         section_at(config, section), key, text, err);
    return rc ? rc : check_text(section->name, key, text, err);
}

static enum sp_code unknown_section(const char *name, size_t len, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf known = SP_BUF_INIT(sizeof err->msg);

    for (size_t i = 0; i < sp_config_n_sections; i++)
        sp_buf_addf(&known, "%s%s", i ? ", " : "", sp_config_sections[i].name);
    return sp_error_set(err, SP_E_INVALID, "unknown section \"%.*s\"; known are %s", (int)len, name,
                        sp_buf_str(&known));
}

/* The file on its way through inih, whose handler is not told the line. */
struct reading {
    struct sp_config *config;
    const char *path;
    const char *rest; /* not read yet */
    int line;
    int bad_line; /* the first one that we refused; 0: none */
    struct sp_error *err;
};

static enum sp_code refuse(struct reading *r, enum sp_code rc)
{
    r->bad_line = r->line;
    return sp_error_wrap(r->err, rc, "%s:%d", r->path, r->line);
}

/*
 * inih's fgets. It gives lines without their leading blanks, as inih would take an indented one for
 * more of the value above, and refuses one that inih would split.
 */
static char *next_line(char *out, int size, void *stream)
{
    struct reading *r = stream;
    size_t len = strcspn(r->rest, "\n"), blanks = strspn(r->rest, " \t");

    if (!*r->rest || r->bad_line)
        return NULL;
    r->line++;
    blanks = blanks < len ? blanks : len;
    if (len - blanks + 2 > (size_t)size) {
        sp_error_set(r->err, SP_E_INVALID,
                     "line is longer than %d bytes; set it by its environment variable", size - 2);
        refuse(r, SP_E_INVALID);
        return NULL;
    }
    memcpy(out, r->rest + blanks, len - blanks);
    memcpy(out + len - blanks, "\n", sizeof "\n");
    r->rest += len + (r->rest[len] == '\n');
    return out;
}

static int on_pair(void *user, const char *name, const char *key, const char *value)
{
    struct reading *r = user;
    const struct sp_config_section *section = find_section(name, strlen(name));
    enum sp_code rc;

    if (r->bad_line)
        return 0;
    if (section) {
        rc = set_value(r->config, section, key, value ? value : "", r->err);
        if (rc)
            sp_error_wrap(r->err, rc, "section [%s]", section->name);
    } else if (*name) {
        rc = unknown_section(name, strlen(name), r->err);
    } else {
        rc = sp_error_set(r->err, SP_E_INVALID, "\"%.60s\" stands before any [section]", key);
    }
    return rc ? (refuse(r, rc), 0) : 1;
}

static enum sp_code parse_ini(struct reading *r)
{
#ifdef SP_INI_RUNTIME_OPTIONS
    ini_use_stack = false;
    ini_initial_alloc = MAX_LINE;
    ini_max_line = MAX_LINE;
#endif
    int line = ini_parse_stream(next_line, r, on_pair, r);

    if (r->bad_line && (line <= 0 || line >= r->bad_line))
        return r->err->code;
    if (line > 0) {
        return sp_error_set(r->err, SP_E_INVALID, "%s:%d: expected \"key = value\" or [section]",
                            r->path, line);
    }
    return line ? sp_error_set(r->err, SP_E_NOMEM, "%s: out of memory", r->path) : SP_OK;
}

static enum sp_code load_text(const char *path, struct sp_buf *text, struct sp_error *err)
{
    FILE *file = fopen(path, "re");
    char chunk[4096];
    size_t n;
    enum sp_code rc = SP_OK;

    if (!file)
        return sp_error_errno(err, SP_E_INVALID, errno, "cannot open %s", path);
    while (!rc && (n = fread(chunk, 1, sizeof chunk, file)) > 0)
        rc = sp_buf_add(text, chunk, n);
    if (rc) {
        sp_error_set(err, rc, "%s: larger than 1 MiB", path);
    } else if (ferror(file)) {
        rc = sp_error_errno(err, SP_E_INVALID, errno, "cannot read %s", path);
    } else if (text->data && strlen(text->data) != text->len) {
        rc = sp_error_set(err, SP_E_INVALID, "%s: is not text", path);
    }
    explicit_bzero(chunk, sizeof chunk);
    (void)fclose(file);
    return rc;
}

static enum sp_code load_file(struct sp_config *config, const char *path, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(MAX_FILE);
    enum sp_code rc = load_text(path, &text, err);
    struct reading r = {.config = config, .path = path, .rest = sp_buf_str(&text), .err = err};

    return rc ? rc : parse_ini(&r);
}

static const char *default_path(void)
{
    static const char *const places[] = {"conf/sandpiper.conf", "/etc/sandpiper/sandpiper.conf"};
    const char *given = secure_getenv(ENV_PREFIX "CONF");

    if (given && *given)
        return given;
    for (size_t i = 0; i < SP_COUNT(places); i++) {
        if (!access(places[i], F_OK))
            return places[i];
    }
    return NULL;
}

/* "QUEUE_WINDOW" is window of [queue]; NULL where it begins with no section's name. */
static const struct sp_config_section *split_variable(const char *name, size_t len, char *key,
                                                      size_t size)
{
    size_t head = strcspn(name, "_=");
    const struct sp_config_section *section = name[head] == '_' ? find_section(name, head) : NULL;
    size_t n = 0;

    for (size_t i = head + 1; section && i < len && n + 1 < size; i++) {
        char c = (char)tolower((unsigned char)name[i]);
        if (c == '_' && !section->fields) {
            c = '.';
        }
        key[n++] = c;
    }
    key[n] = '\0';
    return section;
}

static enum sp_code set_variable(struct sp_config *config, const char *name, struct sp_error *err)
{
    char key[128];
    size_t len = strcspn(name, "=");
    const struct sp_config_section *section = split_variable(name, len, key, sizeof key);

    if (!section || !name[len] || !name[len + 1])
        return SP_OK;
    enum sp_code rc = set_value(config, section, key, name + len + 1, err);
    return rc ? sp_error_wrap(err, rc, ENV_PREFIX "%.*s", (int)len, name) : SP_OK;
}

static enum sp_code load_environment(struct sp_config *config, struct sp_error *err)
{
    enum sp_code rc = SP_OK;

    for (char **var = environ; !rc && *var; var++) {
        if (!strncmp(*var, ENV_PREFIX, strlen(ENV_PREFIX)))
            rc = set_variable(config, *var + strlen(ENV_PREFIX), err);
    }
    return rc;
}

/* "section.key=value"; messages never show the value. */
static enum sp_code set_override(struct sp_config *config, const char *text, struct sp_error *err)
{
    size_t name = strcspn(text, ".="), all = strcspn(text, "=");
    const struct sp_config_section *section = find_section(text, name);
    sp_auto(sp_free_str) char *key = name < all ? sp_memdup(text + name + 1, all - name - 1) : NULL;
    enum sp_code rc;

    if (!text[all] || !key || !*key) {
        return sp_error_set(err, SP_E_INVALID, "-X %.*s: expected section.key=value", (int)all,
                            text);
    }
    rc = section ? set_value(config, section, key, text + all + 1, err)
                 : unknown_section(text, name, err);
    return rc ? sp_error_wrap(err, rc, "-X %.*s", (int)all, text) : SP_OK;
}

static enum sp_code set_defaults(struct sp_config *config, struct sp_error *err)
{
    enum sp_code rc = set_property(config, "bootstrap.servers", "localhost:9092", err);

    for (size_t i = 0; !rc && i < sp_config_n_sections; i++) {
        const struct sp_config_section *s = &sp_config_sections[i];
        rc = sp_fields_defaults(s->fields, s->n_fields, section_at(config, s), err);
    }
    return rc;
}

/* "<host>-<random>", of the characters that check_name() allows. */
static enum sp_code invent_id(struct sp_config *config, struct sp_error *err)
{
    char host[MAX_ID - 8] = "", random[9], id[MAX_ID + 1];

    if (gethostname(host, sizeof host - 1) || !*host)
        snprintf(host, sizeof host, "worker");
    for (char *c = host; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            *c = '-';
    }
    sp_random_hex(random, 4);
    snprintf(id, sizeof id, "%s-%s", host, random);
    free(config->worker.id);
    config->worker.id = sp_strdup(id);
    return config->worker.id ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

static enum sp_code resolve(char **text, const char *name, struct sp_error *err)
{
    char *resolved = NULL;
    enum sp_code rc = sp_secret_get(*text, &resolved, err);

    if (rc)
        return sp_error_wrap(err, rc, "%s", name);
    explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = resolved;
    return SP_OK;
}

static enum sp_code load_all(struct sp_config *config, const char *path,
                             const char *const *overrides, size_t n, struct sp_error *err)
{
    enum sp_code rc = set_defaults(config, err);

    if (!path)
        path = default_path();
    if (!rc && path)
        rc = load_file(config, path, err);
    if (!rc)
        rc = load_environment(config, err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = set_override(config, overrides[i], err);
    assert(rc || (config->redis.url && config->redis.password && config->worker.id)); /* fields.h */
    if (!rc)
        rc = resolve(&config->redis.url, "redis.url", err);
    if (!rc)
        rc = resolve(&config->redis.password, "redis.password", err);
    if (!rc && !*config->worker.id)
        rc = invent_id(config, err);
    return rc;
}

enum sp_code sp_config_load(const char *path, const char *const *overrides, size_t n,
                            struct sp_config **out, struct sp_error *err)
{
    struct sp_config *config = calloc(1, sizeof *config);
    struct sp_error local = {0};

    if (!config)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    enum sp_code rc = load_all(config, path, overrides, n, err ? err : &local);
    if (rc) {
        sp_config_free(config);
    } else {
        *out = config;
    }
    return rc;
}

void sp_config_free(struct sp_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->kafka.n; i++)
        free_property(&config->kafka.properties[i]);
    free(config->kafka.properties);
    for (size_t i = 0; i < sp_config_n_sections; i++) {
        const struct sp_config_section *s = &sp_config_sections[i];
        sp_fields_clear(s->fields, s->n_fields, section_at(config, s));
    }
    free(config);
}

const char *sp_config_kafka(const struct sp_config *config, const char *key)
{
    const struct sp_property *p = find_property(config, key);

    return p ? p->value : NULL;
}
