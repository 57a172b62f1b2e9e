/* See load_answers.h. A job's shares come to 1000 in each service. */
#include "tests/support/load_answers.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define BODY(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define ENVELOPE "{\"code\":\"SUCCESS\",\"requestId\":\"REQ-1\",\"data\":"
#define TEMPLATE                                                                                   \
    "{\"templateId\":\"tpl-1\",\"templateName\":\"ragflow-python-default\",\"templateType\":"      \
    "\"CodeInterpreter\",\"status\":\"READY\",\"cpu\":2,\"memory\":4096,\"diskSize\":512}"
/* base64 of {"present":true,"value":"hello","exit":0,"us":200} */
#define CELL_END "eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6ImhlbGxvIiwiZXhpdCI6MCwidXMiOjIwMH0="

/* ---- what is repeated ---- */

/* What follows mark, up to a quote. */
static bool copy_text(struct sp_bytes from, const char *mark, char out[SP_LOAD_REPEATED])
{
    const char *at = memmem(from.data, from.len, mark, strlen(mark));
    if (!at)
        return false;
    at += strlen(mark);
    const char *end = memchr(at, '"', (size_t)(from.data + from.len - at));
    if (!end || end - at >= SP_LOAD_REPEATED)
        return false;
    snprintf(out, SP_LOAD_REPEATED, "%.*s", (int)(end - at), at);
    return true;
}

static bool repeat_id(struct sp_bytes request, long long number, char out[SP_LOAD_REPEATED])
{
    (void)number;
    return copy_text(request, "\"sandboxId\":\"", out);
}

static bool repeat_file(struct sp_bytes request, long long number, char out[SP_LOAD_REPEATED])
{
    (void)number;
    return copy_text(request, "filename=\"", out);
}

static bool new_id(struct sp_bytes request, long long number, char out[SP_LOAD_REPEATED])
{
    (void)request;
    snprintf(out, SP_LOAD_REPEATED, "i%020lld", number);
    return true;
}

/* A program's end comes behind the marker that its code has along (providers/cell.h). */
static bool repeat_marker(struct sp_bytes request, long long number, char out[SP_LOAD_REPEATED])
{
    static const char before[] = "'JOB': '";
    sp_auto(sp_buf_clear) struct sp_buf job = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    (void)number;

    const char *at = memmem(request.data, request.len, before, sizeof before - 1);
    if (!at)
        return false;
    at += sizeof before - 1;
    const char *end = memchr(at, '\'', (size_t)(request.data + request.len - at));
    return end && sp_base64_decode(at, (size_t)(end - at), &job) == SP_OK &&
           copy_text((struct sp_bytes){sp_buf_str(&job), job.len}, "\"marker\":\"", out);
}

/* ---- answers ---- */

static const struct sp_load_service services[] = {
    /* An executor_manager: reference 4.1. A plain script that printed what the provider looks for
       in the run of its check. */
    {"self_managed",
     {{.request = "GET /healthz", .body = BODY("{\"status\":\"ok\"}")},
      {.request = "POST /run",
       .share = 1000,
       .body = BODY("{\"status\":\"success\",\"stdout\":\"ready\\n\",\"stderr\":\"\","
                    "\"exit_code\":0,\"detail\":null,\"time_used_ms\":200.0,"
                    "\"memory_used_kb\":null,\"resource_limit_type\":null,"
                    "\"unauthorized_access_type\":null,\"runtime_error_type\":null,"
                    "\"artifacts\":[],\"result\":null}")}}},
    /* AgentRun: reference 2.2, 3.2 to 3.5. */
    {"aliyun_codeinterpreter",
     {{.request = "GET /2025-09-10/templates",
       .body = BODY(ENVELOPE "{\"items\":[" TEMPLATE "],\"pageNumber\":1,\"pageSize\":10,"
                             "\"total\":1}}")},
      {.request = "GET /2025-09-10/templates/<any>", .body = BODY(ENVELOPE TEMPLATE "}")},
      {.request = "POST /sandboxes",
       .share = 300,
       .sandboxes = 1,
       .body = BODY(ENVELOPE "{\"sandboxId\":\""),
       .repeat = repeat_id,
       .rest = "\",\"templateId\":\"tpl-1\",\"templateName\":\"ragflow-python-default\","
               "\"status\":\"READY\",\"sandboxIdleTimeoutSeconds\":60}}"},
      {.request = "GET /sandboxes/<any>/health",
       .share = 50,
       .body = BODY("{\"status\":\"ok\",\"service\":\"code-interpreter\"}")},
      {.request = "POST /sandboxes/<any>/contexts",
       .share = 100,
       .body = BODY("{\"id\":\"ctx-1\",\"language\":\"python\",\"cwd\":\"/home/user\"}")},
      {.request = "POST /sandboxes/<any>/contexts/execute",
       .share = 400,
       .body = BODY("{\"results\":[{\"type\":\"stdout\",\"text\":\"hi\\n\\n"),
       .repeat = repeat_marker,
       .rest = CELL_END "\\n\"},{\"type\":\"endOfExecution\",\"status\":\"ok\"}],"
                        "\"contextId\":\"ctx-1\"}"},
      {.request = "GET /sandboxes/<any>/filesystem",
       .share = 50,
       .body = BODY("{\"path\":\"/home/user/artifacts\",\"entries\":[]}")},
      {.request = "DELETE /sandboxes/<any>",
       .share = 100,
       .sandboxes = -1,
       .body = BODY(ENVELOPE "{\"status\":\"READY\"}}")}}},
    /* E2B: reference 2.2, 2.3, 4.3 to 4.7, 8.2; process mode. */
    {"e2b",
     {{.request = "GET /v2/sandboxes", .body = BODY("[]")},
      {.request = "POST /sandboxes",
       .share = 300,
       .sandboxes = 1,
       .status = "201 Created",
       .body = BODY("{\"templateID\":\"base\",\"sandboxID\":\""),
       .repeat = new_id,
       .rest = "\",\"clientID\":\"c\",\"envdVersion\":\"0.6.13\",\"envdAccessToken\":"
               "\"0123456789abcdef\",\"trafficAccessToken\":null,\"domain\":null}"},
      {.request = "POST /files",
       .share = 100,
       .type = "text/plain; charset=utf-8",
       .body = BODY("[{\"name\":\"supervise\",\"type\":\"file\",\"path\":\"/home/user/"),
       .repeat = repeat_file,
       .rest = "\"}]"},
      {.request = "POST /process.Process/Start",
       .share = 400,
       .type = "application/connect+json",
       .chunked = true,
       .body = BODY("\0\0\0\0\x20"
                    "{\"event\":{\"start\":{\"pid\":1116}}}"
                    "\0\0\0\0\x24"
                    "{\"event\":{\"data\":{\"stdout\":\"aGkK\"}}}"
                    "\0\0\0\0\x3b"
                    "{\"event\":{\"end\":{\"exited\":true, \"status\":\"exit status 0\"}}}"
                    "\x02\0\0\0\x02"
                    "{}")},
      {.request = "GET /files",
       .share = 50,
       .type = "application/octet-stream",
       .body = BODY("exit 0                         \n"
                    "{\"present\":true,\"value\":\"hello\"}")},
      {.request = "POST /filesystem.Filesystem/Stat",
       .share = 25,
       .body = BODY("{\"entry\":{\"name\":\"artifacts\",\"type\":\"FILE_TYPE_DIRECTORY\","
                    "\"size\":\"4096\",\"mode\":493,\"permissions\":\"drwxr-xr-x\","
                    "\"owner\":\"user\",\"group\":\"user\"}}")},
      {.request = "POST /filesystem.Filesystem/ListDir", .share = 25, .body = BODY("{}")},
      {.request = "DELETE /sandboxes/<any>",
       .share = 100,
       .sandboxes = -1,
       .status = "204 No Content"}}},
};

const struct sp_load_service *sp_load_service_find(const char *name)
{
    for (size_t i = 0; i < SP_COUNT(services); i++) {
        if (strcmp(services[i].name, name) == 0)
            return &services[i];
    }
    return NULL;
}

static bool matches(const char *pattern, const char *request)
{
    static const char any[] = "<any>";

    while (*pattern) {
        if (strncmp(pattern, any, sizeof any - 1) == 0) {
            pattern += sizeof any - 1;
            request += strcspn(request, "/?");
        } else if (*pattern++ != *request++) {
            return false;
        }
    }
    return !*request || *request == '?';
}

const struct sp_load_answer *sp_load_answer_find(const struct sp_load_service *service,
                                                 const char *request)
{
    for (size_t i = 0; i < SP_LOAD_ROWS && service->answers[i].request; i++) {
        if (matches(service->answers[i].request, request))
            return &service->answers[i];
    }
    return NULL;
}
