/* The published and computed vectors of the reference, aliyun-agentrun 5. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "providers/aliyun_codeinterpreter/sign.h"
#include "tests/support.h"

#define SANDBOX "/sandboxes/01KAAAAAAAAAAAAAAAAAAAAAAA"
#define CONTROL_HOST "agentrun.cn-hangzhou.aliyuncs.com"
#define DATA_HOST "1234567890123456-ram.agentrun-data.cn-hangzhou.aliyuncs.com"
#define NONCE "0123456789abcdef0123456789abcdef"
#define TOKEN "fake-sts-token=="
#define CREATE_BODY                                                                                \
    "{\"templateName\":\"ragflow-python-default\",\"templateType\":\"CodeInterpreter\",\"cpu\":2," \
    "\"memory\":4096,\"diskSize\":512,\"sandboxIdleTimeoutInSeconds\":1800,"                       \
    "\"sandboxTTLInSeconds\":21600,\"networkConfiguration\":{\"networkMode\":\"PUBLIC\"}}"

struct vector {
    const char *name;
    bool control;
    const char *method, *host, *path;
    struct sp_aliyun_pair query[2];
    size_t n_query;
    const char *content_type, *body, *date, *token;
    const char *action, *version, *nonce, *id, *secret;
    const char *names, *signature;
};

static const struct vector vectors[] = {
    {.name = "A0, published",
     .control = true,
     .method = "POST",
     .host = "ecs.cn-shanghai.aliyuncs.com",
     .path = "/",
     .query = {{"RegionId", "cn-shanghai"},
               {"ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"}},
     .n_query = 2,
     .date = "2023-10-26T10:22:32Z",
     .action = "RunInstances",
     .version = "2014-05-26",
     .nonce = "3156853299f313e23d1673dc12e1703d",
     .id = "YourAccessKeyId",
     .secret = "YourAccessKeySecret",
     .names = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;"
              "x-acs-version",
     .signature = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"},
    {.name = "A1, list templates",
     .control = true,
     .method = "GET",
     .host = CONTROL_HOST,
     .path = "/2025-09-10/templates",
     .query = {{"pageNumber", "1"}, {"pageSize", "10"}},
     .n_query = 2,
     .action = "ListTemplates",
     .names = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;"
              "x-acs-version",
     .signature = "ee5a417579e7779798dc4f9fd1e65128448cac2bb8885595bc9bd76bf36eb998"},
    {.name = "A2, create a template",
     .control = true,
     .method = "POST",
     .host = CONTROL_HOST,
     .path = "/2025-09-10/templates",
     .content_type = "application/json; charset=utf-8",
     .body = CREATE_BODY,
     .action = "CreateTemplate",
     .names = "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;"
              "x-acs-signature-nonce;x-acs-version",
     .signature = "4107a871bb93737ec32222e451905a578ad795330d998a61fe64785d68aa9ba9"},
    {.name = "A3, temporary credentials",
     .control = true,
     .method = "GET",
     .host = CONTROL_HOST,
     .path = "/2025-09-10/templates/my%20tpl%2B1",
     .token = TOKEN,
     .action = "GetTemplate",
     .names = "host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;"
              "x-acs-security-token;x-acs-signature-nonce;x-acs-version",
     .signature = "d1c0b73b754236c8a8cb7bb9cb7df432a339eab970cbd86395f3dca131891d46"},
    {.name = "D1, create a sandbox",
     .method = "POST",
     .host = DATA_HOST,
     .path = "/sandboxes",
     .names = "host;x-acs-content-sha256;x-acs-date",
     .signature = "5e4860cbfc243eee516b9c18b69bac3e425bfbaa0d1039c7cd436a0129211553"},
    {.name = "D2, execute",
     .method = "POST",
     .host = DATA_HOST,
     .path = SANDBOX "/contexts/execute",
     .body = "what the body is does not matter",
     .names = "host;x-acs-content-sha256;x-acs-date",
     .signature = "956b0525e28950a38316202446a06051275fa96e9b468bfdcd741eefb4814793"},
    {.name = "D2b, with the content type",
     .method = "POST",
     .host = DATA_HOST,
     .path = SANDBOX "/contexts/execute",
     .content_type = "application/json",
     .names = "content-type;host;x-acs-content-sha256;x-acs-date",
     .signature = "6ce319b3c3047e5445ff35aed91c10b4bf28a9e0ca369c9e6a24deea3ab217d1"},
    {.name = "D3, a query to encode, temporary credentials",
     .method = "GET",
     .host = DATA_HOST,
     .path = SANDBOX "/filesystem/download",
     .query = {{"path", "/home/user/art facts+\xC3\xA9~*.png"}},
     .n_query = 1,
     .token = TOKEN,
     .names = "host;x-acs-content-sha256;x-acs-date;x-acs-security-token",
     .signature = "39dd5afe47a225ec130b20e67881e96d3371a218535a3b42af90098fef574051"},
    {.name = "D4, delete",
     .method = "DELETE",
     .host = DATA_HOST,
     .path = SANDBOX,
     .names = "host;x-acs-content-sha256;x-acs-date",
     .signature = "6f669bcf1c460697300232e3798653be9f4749bfd71f6f74d4dd45dc8d5d6bff"},
    {.name = "D5, another host",
     .method = "POST",
     .host = "127.0.0.1:18080",
     .path = "/sandboxes",
     .names = "host;x-acs-content-sha256;x-acs-date",
     .signature = "89d13d518b180fce47dee4bdebfa47f1df99c3fd5987a37bcc0aac9de542776c"},
    {.name = "D6, a query to sort",
     .method = "GET",
     .host = DATA_HOST,
     .path = SANDBOX "/filesystem",
     .query = {{"path", "/home/user"}, {"depth", "2"}},
     .n_query = 2,
     .names = "host;x-acs-content-sha256;x-acs-date",
     .signature = "8cae35fa2fd2b4582063714020ed48d9d0ec5e1016c57265732b20c0f19b96eb"},
    {.name = "D7, the last second of a year",
     .method = "DELETE",
     .host = DATA_HOST,
     .path = SANDBOX,
     .date = "2026-12-31T23:59:59Z",
     .names = "host;x-acs-content-sha256;x-acs-date",
     .signature = "fb1d51031b172384b6043e6bb80bdd9bb072b11834e1caacc05d5fb5eb90e139"},
};

static const char * or (const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

static int64_t epoch_of(const char *date)
{
    struct tm utc = {0};
    strptime(date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return timegm(&utc);
}

static struct sp_aliyun_key key_of(const struct vector *v)
{
    return (struct sp_aliyun_key){.id = or (v->id, "LTAI-FAKE-0001"),
                                  .secret = or (v->secret, "fake-secret-0001"),
                                  .token = v->token,
                                  .region = "cn-hangzhou"};
}

static enum sp_code sign(const struct vector *v, struct sp_aliyun_headers *out)
{
    const struct sp_aliyun_key key = key_of(v);
    const struct sp_aliyun_call call = {
        .method = v->method,
        .host = v->host,
        .path = v->path,
        .query = v->query,
        .n_query = v->n_query,
        .content_type = v->content_type,
        .body = v->body,
        .body_len = v->body ? strlen(v->body) : 0,
        .at = epoch_of(or (v->date, "2026-01-02T03:04:05Z")),
        .action = v->action,
        .version = or (v->version, "2025-09-10"),
        .nonce = or (v->nonce, NONCE),
    };
    struct sp_error err = {0};
    return v->control ? sp_aliyun_sign_control(&key, &call, out, &err)
                      : sp_aliyun_sign_data(&key, &call, out, &err);
}

static const char *header(const struct sp_aliyun_headers *headers, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < headers->n; i++) {
        if (strncmp(headers->lines[i], name, len) == 0 && headers->lines[i][len] == ':')
            return headers->lines[i] + len + 2;
    }
    return "";
}

SP_TABLE_TEST(aliyun_sign, every_vector_of_the_reference_is_met, vectors, row)
{
    sp_auto(sp_aliyun_headers_clear) struct sp_aliyun_headers headers = {.n = 0};
    char expected[600];
    const char *name = row->control ? "Authorization" : "Agentrun-Authorization";
    const struct sp_aliyun_key key = key_of(row);
    char day[9] = {0};
    const char *date = or (row->date, "2026-01-02T03:04:05Z");
    snprintf(day, sizeof(day), "%.4s%.2s%.2s", date, date + 5, date + 8);

    cr_assert(eq(int, sign(row, &headers), SP_OK), "for %s", row->name);

    if (row->control) {
        snprintf(expected, sizeof(expected),
                 "ACS3-HMAC-SHA256 Credential=%s,SignedHeaders=%s,Signature=%s", key.id, row->names,
                 row->signature);
    } else {
        snprintf(expected, sizeof(expected),
                 "AGENTRUN4-HMAC-SHA256 Credential=%s/%s/cn-hangzhou/agentrun/aliyun_v4_request,"
                 "SignedHeaders=%s,Signature=%s",
                 key.id, day, row->names, row->signature);
    }
    cr_expect(eq(str, (char *)header(&headers, name), expected), "for %s", row->name);
    cr_expect(eq(str, (char *)header(&headers, "host"), (char *)row->host), "for %s", row->name);
    cr_expect(eq(str, (char *)header(&headers, "x-acs-date"), (char *)date), "for %s", row->name);
    cr_expect(
        eq(str, (char *)header(&headers, "x-acs-security-token"), (char *) or (row->token, "")),
        "for %s", row->name);
}

Test(aliyun_sign, a_query_in_the_url_is_the_one_that_was_signed)
{
    const struct sp_aliyun_pair query[] = {{"path", "/a b"}, {"depth", "2"}, {"empty", ""}};
    const struct sp_aliyun_call call = {.query = query, .n_query = 3};
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_aliyun_query(&call, &out), SP_OK));

    cr_expect(eq(str, out.data, "depth=2&empty=&path=%2Fa%20b"));
}

/* Longer than any that is given out, and still sent whole. */
SP_TABLE_TEST(aliyun_sign, a_long_key_id_is_not_cut, vectors, row)
{
    static char id[2000];
    char start[2100];
    sp_auto(sp_aliyun_headers_clear) struct sp_aliyun_headers headers = {.n = 0};
    struct vector v = *row;
    memset(id, 'x', sizeof(id) - 1);
    v.id = id;

    cr_assert(eq(int, sign(&v, &headers), SP_OK), "for %s", row->name);

    snprintf(start, sizeof(start), "Credential=%s%s", id, row->control ? ",Signed" : "/202");
    cr_expect(strstr(header(&headers, row->control ? "Authorization" : "Agentrun-Authorization"),
                     start) != NULL,
              "for %s", row->name);
}

static bool is_refused;

static void *take(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return is_refused ? NULL : malloc(size);
}

static void *grow(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return is_refused ? NULL : realloc(old, size);
}

static void give(void *old, const char *file, int line)
{
    (void)file, (void)line;
    free(old);
}

/* OpenSSL takes it before its first allocation only. */
__attribute__((constructor)) static void set_memory(void)
{
    (void)CRYPTO_set_mem_functions(take, grow, give);
}

/* What was on the stack is no signature. */
SP_TABLE_TEST(aliyun_sign, without_memory_nothing_is_signed, vectors, row)
{
    sp_auto(sp_aliyun_headers_clear) struct sp_aliyun_headers headers = {.n = 0};
    is_refused = true;
    enum sp_code rc = sign(row, &headers);
    is_refused = false;

    cr_expect(eq(int, rc, SP_E_NOMEM), "for %s", row->name);
    cr_expect(zero(sz, headers.n), "for %s", row->name);
}
