/*
 * The two signatures of Aliyun AgentRun (reference aliyun-agentrun 4): ACS3-HMAC-SHA256 for the
 * control plane, AGENTRUN4-HMAC-SHA256 for the data plane.
 */
#pragma once

#include "base/buf.h"

/* Borrowed. Never shown. */
struct sp_aliyun_key {
    const char *id, *secret;
    const char *token; /* of temporary credentials; NULL or "": none */
    const char *region;
};

/* A pair of the query, not encoded. Keys must differ. */
struct sp_aliyun_pair {
    const char *key, *value;
};

/* What is signed. All borrowed. */
struct sp_aliyun_call {
    const char *method;
    const char *host; /* as in the Host header: with the port where that is not the default */
    const char *path; /* as sent */
    const struct sp_aliyun_pair *query;
    size_t n_query;
    const char *content_type; /* NULL: not signed, and not among the headers */
    const void *body;
    size_t body_len;
    int64_t at; /* epoch seconds */
    /* Control plane only: */
    const char *action, *version;
    const char *nonce; /* unique to each request */
};

enum { SP_ALIYUN_HEADERS_MAX = 12 };

/* Header lines for struct sp_http_request, NULL-terminated. */
struct sp_aliyun_headers {
    char *lines[SP_ALIYUN_HEADERS_MAX];
    size_t n;
};

/* Both fill *out (empty before the call) with all headers that the signature covers, Host among
 * them, and the signature. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_aliyun_sign_control(const struct sp_aliyun_key *key,
                                                  const struct sp_aliyun_call *call,
                                                  struct sp_aliyun_headers *out,
                                                  struct sp_error *err);
SP_MUST_CHECK enum sp_code sp_aliyun_sign_data(const struct sp_aliyun_key *key,
                                               const struct sp_aliyun_call *call,
                                               struct sp_aliyun_headers *out, struct sp_error *err);
/* Wipes and frees. */
void sp_aliyun_headers_clear(struct sp_aliyun_headers *headers);
SP_AUTO_CLEAR(struct sp_aliyun_headers, sp_aliyun_headers_clear)

/* Appends the query, sorted and encoded: in the URL it stands as it is signed. */
enum sp_code sp_aliyun_query(const struct sp_aliyun_call *call, struct sp_buf *out);
