#include "providers/aliyun_codeinterpreter/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

enum {
    HASH = 32,
    HASH_HEX = 2 * HASH + 1,
    DATE = 21,
    PAIRS_MAX = 8,
    SIGNED_MAX = 10,
    TO_SIGN = 96
};

#define UNSIGNED "UNSIGNED-PAYLOAD"
#define CONTROL_ALGORITHM "ACS3-HMAC-SHA256"
#define DATA_ALGORITHM "AGENTRUN4-HMAC-SHA256"

/* Signed headers, in the order of their names. */
struct line {
    const char *name, *value; /* value NULL: not there */
};

struct lines {
    struct line at[SIGNED_MAX];
    size_t n;
};

static void add_line(struct lines *lines, const char *name, const char *value)
{
    if (value && *value)
        lines->at[lines->n++] = (struct line){name, value};
}

static int by_key(const void *a, const void *b)
{
    const struct sp_aliyun_pair *left = a, *right = b;
    return strcmp(left->key, right->key);
}

enum sp_code sp_aliyun_query(const struct sp_aliyun_call *call, struct sp_buf *out)
{
    struct sp_aliyun_pair sorted[PAIRS_MAX];
    enum sp_code rc = call->n_query > PAIRS_MAX ? SP_E_LIMIT : SP_OK;

    if (rc || call->n_query == 0)
        return rc;
    memcpy(sorted, call->query, call->n_query * sizeof(sorted[0]));
    qsort(sorted, call->n_query, sizeof(sorted[0]), by_key);
    for (size_t i = 0; i < call->n_query && !rc; i++) {
        rc = i > 0 ? sp_buf_addc(out, '&') : SP_OK;
        if (!rc)
            rc = sp_url_encode(sorted[i].key, "", out);
        if (!rc)
            rc = sp_buf_addc(out, '=');
        if (!rc)
            rc = sp_url_encode(sorted[i].value, "", out);
    }
    return rc;
}

static enum sp_code add_names(const struct lines *lines, struct sp_buf *out)
{
    enum sp_code rc = SP_OK;
    for (size_t i = 0; i < lines->n && !rc; i++)
        rc = sp_buf_addf(out, "%s%s", i > 0 ? ";" : "", lines->at[i].name);
    return rc;
}

static enum sp_code add_canonical(const struct sp_aliyun_call *call, const struct lines *lines,
                                  const char *payload, struct sp_buf *out)
{
    enum sp_code rc = sp_buf_addf(out, "%s\n%s\n", call->method, *call->path ? call->path : "/");
    if (!rc)
        rc = sp_aliyun_query(call, out);
    if (!rc)
        rc = sp_buf_addc(out, '\n');
    for (size_t i = 0; i < lines->n && !rc; i++)
        rc = sp_buf_addf(out, "%s:%s\n", lines->at[i].name, lines->at[i].value);
    if (!rc)
        rc = sp_buf_addc(out, '\n');
    if (!rc)
        rc = add_names(lines, out);
    return rc ? rc : sp_buf_addf(out, "\n%s", payload);
}

static enum sp_code hmac(const void *key, size_t key_len, const char *text, unsigned char out[HASH])
{
    unsigned len = HASH;
    bool done =
        HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out, &len);
    return done ? SP_OK : SP_E_NOMEM;
}

/* The key of one day, region and service. */
static enum sp_code derive_key(const struct sp_aliyun_key *key, const char *day,
                               unsigned char out[HASH])
{
    const char *const steps[] = {key->region, "agentrun", "aliyun_v4_request"};
    sp_auto(sp_buf_clear) struct sp_buf first = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    enum sp_code rc = sp_buf_addf(&first, "aliyun_v4%s", key->secret);
    if (rc)
        return rc;
    rc = hmac(first.data, first.len, day, out);
    OPENSSL_cleanse(first.data, first.len);
    for (size_t i = 0; i < SP_COUNT(steps) && !rc; i++)
        rc = hmac(out, HASH, steps[i], out);
    return rc;
}

static enum sp_code add_header(struct sp_aliyun_headers *out, const char *name, const char *value)
{
    char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0)
        return SP_E_NOMEM;
    out->lines[out->n++] = line;
    return SP_OK;
}

static enum sp_code add_headers(const struct lines *lines, struct sp_aliyun_headers *out)
{
    enum sp_code rc = SP_OK;
    for (size_t i = 0; i < lines->n && !rc; i++)
        rc = add_header(out, lines->at[i].name, lines->at[i].value);
    return rc;
}

/* Hex of the canonical request's hash. */
static enum sp_code hash_call(const struct sp_aliyun_call *call, const struct lines *lines,
                              const char *payload, char out[HASH_HEX])
{
    sp_auto(sp_buf_clear) struct sp_buf canonical = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = add_canonical(call, lines, payload, &canonical);
    if (!rc)
        sp_sha256_hex(canonical.data, canonical.len, out);
    return rc;
}

/* "YYYY-MM-DDTHH:MM:SSZ" */
static void write_date(int64_t at, char out[DATE])
{
    time_t seconds = (time_t)at;
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(out, DATE, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* value: algorithm and credential; what both put behind them is added. */
static enum sp_code add_signature(const char *name, struct sp_buf *value, const struct lines *lines,
                                  const unsigned char signature[HASH],
                                  struct sp_aliyun_headers *out)
{
    char hex[HASH_HEX];

    sp_hex(signature, HASH, hex);
    enum sp_code rc = sp_buf_adds(value, ",SignedHeaders=");
    if (!rc)
        rc = add_names(lines, value);
    if (!rc)
        rc = sp_buf_addf(value, ",Signature=%s", hex);
    return rc ? rc : add_header(out, name, sp_buf_str(value));
}

static enum sp_code sign_control(const struct sp_aliyun_key *key, const struct sp_aliyun_call *call,
                                 struct sp_aliyun_headers *out)
{
    char date[DATE], payload[HASH_HEX], hash[HASH_HEX], text[TO_SIGN];
    unsigned char signature[HASH];
    struct lines lines = {.n = 0};
    sp_auto(sp_buf_clear) struct sp_buf value = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    bool temporary = key->token && *key->token;

    write_date(call->at, date);
    sp_sha256_hex(call->body ? call->body : "", call->body_len, payload);
    add_line(&lines, "content-type", call->content_type);
    add_line(&lines, "host", call->host);
    add_line(&lines, "x-acs-accesskey-id", temporary ? key->id : NULL);
    add_line(&lines, "x-acs-action", call->action);
    add_line(&lines, "x-acs-content-sha256", payload);
    add_line(&lines, "x-acs-date", date);
    add_line(&lines, "x-acs-security-token", key->token);
    add_line(&lines, "x-acs-signature-nonce", call->nonce);
    add_line(&lines, "x-acs-version", call->version);
    enum sp_code rc = hash_call(call, &lines, payload, hash);
    if (rc)
        return rc;
    snprintf(text, sizeof(text), CONTROL_ALGORITHM "\n%s", hash);
    rc = hmac(key->secret, strlen(key->secret), text, signature);
    if (!rc)
        rc = sp_buf_addf(&value, CONTROL_ALGORITHM " Credential=%s", key->id);
    if (!rc)
        rc = add_headers(&lines, out);
    return rc ? rc : add_signature("Authorization", &value, &lines, signature, out);
}

static enum sp_code sign_data(const struct sp_aliyun_key *key, const struct sp_aliyun_call *call,
                              struct sp_aliyun_headers *out)
{
    char date[DATE], day[9], hash[HASH_HEX], text[TO_SIGN];
    unsigned char day_key[HASH], signature[HASH];
    struct lines lines = {.n = 0};
    sp_auto(sp_buf_clear) struct sp_buf value = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    write_date(call->at, date);
    snprintf(day, sizeof(day), "%.4s%.2s%.2s", date, date + 5, date + 8);
    add_line(&lines, "content-type", call->content_type);
    add_line(&lines, "host", call->host);
    add_line(&lines, "x-acs-content-sha256", UNSIGNED);
    add_line(&lines, "x-acs-date", date);
    add_line(&lines, "x-acs-security-token", key->token);
    enum sp_code rc = hash_call(call, &lines, UNSIGNED, hash);
    if (!rc)
        rc = derive_key(key, day, day_key);
    if (rc)
        return rc;
    snprintf(text, sizeof(text), DATA_ALGORITHM "\n%s", hash);
    rc = hmac(day_key, sizeof(day_key), text, signature);
    OPENSSL_cleanse(day_key, sizeof(day_key));
    if (!rc) {
        rc = sp_buf_addf(&value, DATA_ALGORITHM " Credential=%s/%s/%s/agentrun/aliyun_v4_request",
                         key->id, day, key->region);
    }
    if (!rc)
        rc = add_headers(&lines, out);
    return rc ? rc : add_signature("Agentrun-Authorization", &value, &lines, signature, out);
}

static enum sp_code finish(enum sp_code rc, struct sp_aliyun_headers *out, struct sp_error *err)
{
    if (!rc)
        return SP_OK;
    sp_aliyun_headers_clear(out);
    return sp_error_set(err, rc, "cannot sign a request: %s", sp_code_name(rc));
}

enum sp_code sp_aliyun_sign_control(const struct sp_aliyun_key *key,
                                    const struct sp_aliyun_call *call,
                                    struct sp_aliyun_headers *out, struct sp_error *err)
{
    return finish(sign_control(key, call, out), out, err);
}

enum sp_code sp_aliyun_sign_data(const struct sp_aliyun_key *key, const struct sp_aliyun_call *call,
                                 struct sp_aliyun_headers *out, struct sp_error *err)
{
    return finish(sign_data(key, call, out), out, err);
}

void sp_aliyun_headers_clear(struct sp_aliyun_headers *headers)
{
    for (size_t i = 0; i < headers->n; i++) {
        OPENSSL_cleanse(headers->lines[i], strlen(headers->lines[i]));
        free(headers->lines[i]);
    }
    *headers = (struct sp_aliyun_headers){.n = 0};
}
