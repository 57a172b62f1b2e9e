/* Sample requests, each with what becomes of it. The reader and the JSON Schema are both held to
 * them. */
#pragma once

#include "base/status.h"

struct sample {
    const char *json;  /* on one line */
    const char *fault; /* how the rejection's text begins; NULL: it runs */
    enum sp_sb sb;     /* of a fault; SP_SB_NONE stands for SB012 */
    bool blind;        /* JSON Schema cannot see this fault */
};

#define WITH_CODE(rest) "{\"code\":\"print(1)\"," rest "}"
#define FILES(rest) WITH_CODE("\"files\":[" rest "]")
#define NAMED(name) FILES("{\"name\":\"" name "\",\"content_b64\":\"\"}")
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN

static const struct sample samples[] = {
    /* code, code_b64: exactly one; not empty */
    {.json = "{\"code\":\"print(1)\"}"},
    {.json = "{\"code_b64\":\"cHJpbnQoMSk=\"}"},
    {.json = "{\"code_b64\":\"Pz8\\/\"}"},
    {.json = "{\"code\":null,\"code_b64\":\"cA==\"}"},
    {.json = "{\"code\":\"p\",\"code_b64\":null}"},
    {.json = "{\"\\u0063ode\":\"p\"}"},
    {.json = "{\"code\":\"a\\u0000b\"}"},
    {.json = "{\"code\":\"\\ud83d\\ude00 \\\\ud800\"}"},
    {.json = "{}", .fault = "code: missing"},
    {.json = "{\"code\":null}", .fault = "code: missing"},
    {.json = "{\"code\":\"p\",\"code_b64\":\"cA==\"}", .fault = "code_b64: given beside code"},
    {.json = "{\"code\":\"\"}", .fault = "code: empty"},
    {.json = "{\"code_b64\":\"\"}", .fault = "code_b64: empty"},
    {.json = "{\"code\":1}", .fault = "code: expected a string"},
    {.json = "{\"code\":[\"p\"]}", .fault = "code: expected a string"},
    {.json = "{\"code\":\"\\ud83d\"}", .fault = "code: half", .blind = true},
    {.json = "{\"code\":\"\\ude00\\ud83d\"}", .fault = "code: half", .blind = true},
    {.json = "{\"code_b64\":7}", .fault = "code_b64: expected a string"},
    {.json = "{\"code_b64\":\"cA\"}", .fault = "code_b64: not base64"},
    {.json = "{\"code_b64\":\"cHJp bnQ\"}", .fault = "code_b64: not base64"},
    {.json = "{\"code_b64\":\"_-__\"}", .fault = "code_b64: not base64"},
    {.json = "{\"code_b64\":\"gICA\"}", .fault = "code_b64: not UTF-8", .blind = true},

    /* language: spellings, any case, surrounding spaces ignored; absent, null or "" = python */
    {.json = WITH_CODE("\"language\":\"python\"")},
    {.json = WITH_CODE("\"language\":\"python3\"")},
    {.json = WITH_CODE("\"language\":\"py\"")},
    {.json = WITH_CODE("\"language\":\"javascript\"")},
    {.json = WITH_CODE("\"language\":\"nodejs\"")},
    {.json = WITH_CODE("\"language\":\"node\"")},
    {.json = WITH_CODE("\"language\":\"js\"")},
    {.json = WITH_CODE("\"language\":\" PyThOn3 \"")},
    {.json = WITH_CODE("\"language\":\"\"")},
    {.json = WITH_CODE("\"language\":null")},
    {.json = WITH_CODE("\"language\":\"ruby\""), .fault = "language: unknown"},
    {.json = WITH_CODE("\"language\":\"py\\u0000\""), .fault = "language: unknown"},
    {.json = WITH_CODE("\"language\":\"" FIFTY FIFTY FIFTY "\""), .fault = "language: unknown"},
    {.json = WITH_CODE("\"language\":3"), .fault = "language: expected a string"},

    /* timeout: seconds or text; absent, null, "", 0 = default; negative, NaN, other text */
    {.json = WITH_CODE("\"timeout\":30")},
    {.json = WITH_CODE("\"timeout\":1.5")},
    {.json = WITH_CODE("\"timeout\":1e2")},
    {.json = WITH_CODE("\"timeout\":1e400")},
    {.json = WITH_CODE("\"timeout\":0")},
    {.json = WITH_CODE("\"timeout\":-0.0")},
    {.json = WITH_CODE("\"timeout\":null")},
    {.json = WITH_CODE("\"timeout\":\"\"")},
    {.json = WITH_CODE("\"timeout\":\"30\"")},
    {.json = WITH_CODE("\"timeout\":\"30s\"")},
    {.json = WITH_CODE("\"timeout\":\"1m30s\"")},
    {.json = WITH_CODE("\"timeout\":\"1h2m3s4ms\"")},
    {.json = WITH_CODE("\"timeout\":\"500ms\"")},
    {.json = WITH_CODE("\"timeout\":\"0s\"")},
    {.json = WITH_CODE("\"timeout\":-1"), .fault = "timeout: expected seconds"},
    {.json = WITH_CODE("\"timeout\":-0.001"), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":\"-1\""), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":\"NaN\""), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":\"soon\""), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":\"1s1m\""), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":\"30 s\""), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":\"30\\u0000\""), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":true"), .fault = "timeout: "},
    {.json = WITH_CODE("\"timeout\":[30]"), .fault = "timeout: "},

    /* arguments: object or null */
    {.json =
         WITH_CODE("\"arguments\":{\"n\":1180591620717411303424,\"x\":1.10,\"s\":\"\\ud800\"}")},
    {.json = WITH_CODE("\"arguments\":{}")},
    {.json = WITH_CODE("\"arguments\":null")},
    {.json = WITH_CODE("\"arguments\":[1]"), .fault = "arguments: expected an object"},
    {.json = WITH_CODE("\"arguments\":\"{}\""), .fault = "arguments: expected an object"},

    /* files: relative names, no .., no artifacts/, none that the run needs, no duplicates */
    {.json = WITH_CODE("\"files\":null")},
    {.json = FILES("")},
    {.json = FILES("{\"name\":\"a.txt\",\"content_b64\":\"aGk=\",\"mode\":1},"
                   "{\"name\":\"b/c d/\\u00e9.bin\",\"content_b64\":\"\"}")},
    {.json = NAMED("...")},
    {.json = NAMED(".hidden/x")},
    {.json = NAMED("lib/main.py")},
    {.json = NAMED("lib/artifacts/x")},
    {.json = NAMED("artifacts.txt")},
    {.json = NAMED("Main.py")},
    {.json = NAMED("a\\\\b")},
    {.json =
         FILES("{\"name\":\"a\",\"content_b64\":\"\"},{\"name\":\"ab/c\",\"content_b64\":\"\"}")},
    {.json = WITH_CODE("\"files\":{}"), .fault = "files: expected an array"},
    {.json = FILES("null"), .fault = "files[0]: expected an object"},
    {.json = FILES("{\"content_b64\":\"\"}"), .fault = "files[0].name: expected a string"},
    {.json = FILES("{\"name\":3,\"content_b64\":\"\"}"), .fault = "files[0].name: "},
    {.json = FILES("{\"name\":\"a\"}"), .fault = "files[0].content_b64: expected a string"},
    {.json = FILES("{\"name\":\"a\",\"content_b64\":null}"), .fault = "files[0].content_b64: "},
    {.json = FILES("{\"name\":\"a\",\"content_b64\":\"x\"}"),
     .fault = "files[0].content_b64: not base64"},
    {.json = NAMED(""), .fault = "files[0].name: expected a relative path"},
    {.json = NAMED("/etc/passwd"), .fault = "files[0].name: expected a relative path"},
    {.json = NAMED("a//b"), .fault = "files[0].name: expected a relative path"},
    {.json = NAMED("a/"), .fault = "files[0].name: expected a relative path"},
    {.json = NAMED(".."), .fault = "files[0].name: '.' and '..'"},
    {.json = NAMED("../x"), .fault = "files[0].name: '.' and '..'"},
    {.json = NAMED("a/../b"), .fault = "files[0].name: '.' and '..'"},
    {.json = NAMED("./a"), .fault = "files[0].name: '.' and '..'"},
    {.json = NAMED("a/."), .fault = "files[0].name: '.' and '..'"},
    {.json = NAMED("a\\u0000b"), .fault = "files[0].name: control"},
    {.json = NAMED("a\\nb"), .fault = "files[0].name: control"},
    {.json = NAMED("a\\u0085b"), .fault = "files[0].name: control"},
    {.json = NAMED("artifacts"), .fault = "files[0].name: the run itself"},
    {.json = NAMED("artifacts/x"), .fault = "files[0].name: the run itself"},
    {.json = NAMED("main.py"), .fault = "files[0].name: the run itself"},
    {.json = NAMED("main.js"), .fault = "files[0].name: the run itself"},
    {.json = NAMED("main.py/x"), .fault = "files[0].name: the run itself"},
    {.json = NAMED("sandpiper_run.cjs"), .fault = "files[0].name: the run itself"},
    {.json = NAMED(FIFTY FIFTY FIFTY FIFTY FIFTY TEN), .fault = "files[0].name: a part is longer"},
    {.json = NAMED("a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"),
     .fault = "files[0].name: deeper"},
    {.json = FILES("{\"name\":\"a\",\"content_b64\":\"\"},{\"name\":\"\\u0061\",\"content_b64\":"
                   "\"\"}"),
     .fault = "files[1].name: clashes with files[0]",
     .blind = true},
    {.json = FILES("{\"name\":\"a/b\",\"content_b64\":\"\"},{\"name\":\"a\",\"content_b64\":\"\"}"),
     .fault = "files[1].name: clashes with files[0]",
     .blind = true},
    {.json = FILES("{\"name\":\"a\",\"content_b64\":\"\"},{\"name\":\"a/b\",\"content_b64\":\"\"}"),
     .fault = "files[1].name: clashes with files[0]",
     .blind = true},

    /* request_id: 1 to 128 bytes of UTF-8 without control characters */
    {.json = WITH_CODE("\"request_id\":\"j\xc3\xb6"
                       "b 1\"")},
    {.json = WITH_CODE("\"request_id\":\"" FIFTY FIFTY "0123456789012345678901234567\"")},
    {.json = WITH_CODE("\"request_id\":null")},
    {.json = WITH_CODE("\"request_id\":\"\""), .fault = "request_id: expected 1 to 128 bytes"},
    {.json = WITH_CODE("\"request_id\":\"" FIFTY FIFTY "01234567890123456789012345678\""),
     .fault = "request_id: longer than 128 bytes"},
    {.json = WITH_CODE("\"request_id\":\"" FIFTY FIFTY "012345678901234567890123456\xc3\xb6\""),
     .fault = "request_id: longer than 128 bytes",
     .blind = true},
    {.json = WITH_CODE("\"request_id\":\"a\\nb\""), .fault = "request_id: control"},
    {.json = WITH_CODE("\"request_id\":\"a\\u0000\""), .fault = "request_id: control"},
    {.json = WITH_CODE("\"request_id\":\"a\x7f\""), .fault = "request_id: control"},
    {.json = WITH_CODE("\"request_id\":\"a\xc2\x85\""), .fault = "request_id: control"},
    {.json = WITH_CODE("\"request_id\":\"\\ud800\""), .fault = "request_id: half", .blind = true},
    {.json = WITH_CODE("\"request_id\":7"), .fault = "request_id: expected a string"},

    /* reply_to: "" is absent; a wrong type is SB012, an illegal or forbidden topic SB007 */
    {.json = WITH_CODE("\"reply_to\":\"sandpiper.reply.agent-7\"")},
    {.json = WITH_CODE("\"reply_to\":\"\"")},
    {.json = WITH_CODE("\"reply_to\":null")},
    {.json = WITH_CODE("\"reply_to\":5"), .fault = "reply_to: expected a string"},
    {.json = WITH_CODE("\"reply_to\":\"no/topic\""),
     .fault = "reply_to: 'no/topic' is not",
     .sb = SP_SB007_POLICY},
    {.json = WITH_CODE("\"reply_to\":\"..\""), .fault = "reply_to: '..'", .sb = SP_SB007_POLICY},
    {.json = WITH_CODE("\"reply_to\":\"" FIFTY FIFTY FIFTY FIFTY FIFTY "\""),
     .fault = "reply_to: ",
     .sb = SP_SB007_POLICY},
    {.json = WITH_CODE("\"reply_to\":\"sandpiper.requests\""),
     .fault = "reply_to: replies to 'sandpiper.requests' are not allowed",
     .sb = SP_SB007_POLICY,
     .blind = true},
    {.json = WITH_CODE("\"reply_to\":\"elsewhere\""),
     .fault = "reply_to: replies to 'elsewhere' are not allowed",
     .sb = SP_SB007_POLICY,
     .blind = true},

    /* deadline_ms: integer; 0 = none */
    {.json = WITH_CODE("\"deadline_ms\":1763770000000")},
    {.json = WITH_CODE("\"deadline_ms\":1.7e12")},
    {.json = WITH_CODE("\"deadline_ms\":0")},
    {.json = WITH_CODE("\"deadline_ms\":null")},
    {.json = WITH_CODE("\"deadline_ms\":-1"), .fault = "deadline_ms: "},
    {.json = WITH_CODE("\"deadline_ms\":1.5"), .fault = "deadline_ms: "},
    {.json = WITH_CODE("\"deadline_ms\":\"5\""), .fault = "deadline_ms: "},
    {.json = WITH_CODE("\"deadline_ms\":true"), .fault = "deadline_ms: "},

    /* queue_ttl: spelled like timeout; absent, null, "" or 0 = none */
    {.json = WITH_CODE("\"queue_ttl\":60")},
    {.json = WITH_CODE("\"queue_ttl\":\"1m\"")},
    {.json = WITH_CODE("\"queue_ttl\":\"\"")},
    {.json = WITH_CODE("\"queue_ttl\":0")},
    {.json = WITH_CODE("\"queue_ttl\":null")},
    {.json = WITH_CODE("\"queue_ttl\":-60"), .fault = "queue_ttl: "},
    {.json = WITH_CODE("\"queue_ttl\":\"later\""), .fault = "queue_ttl: "},
    {.json = WITH_CODE("\"queue_ttl\":{}"), .fault = "queue_ttl: "},

    /* delivery */
    {.json = WITH_CODE("\"delivery\":\"at_least_once\"")},
    {.json = WITH_CODE("\"delivery\":\"at_most_once\"")},
    {.json = WITH_CODE("\"delivery\":null")},
    {.json = WITH_CODE("\"delivery\":\"exactly_once\""), .fault = "delivery: expected at_least"},
    {.json = WITH_CODE("\"delivery\":\"\""), .fault = "delivery: "},
    {.json = WITH_CODE("\"delivery\":1"), .fault = "delivery: "},

    /* options */
    {.json =
         WITH_CODE("\"options\":{\"result_in_stdout\":true,\"strict_result\":false,\"new\":1}")},
    {.json = WITH_CODE("\"options\":{\"result_in_stdout\":null}")},
    {.json = WITH_CODE("\"options\":null")},
    {.json = WITH_CODE("\"options\":[]"), .fault = "options: expected an object"},
    {.json = WITH_CODE("\"options\":{\"result_in_stdout\":\"yes\"}"),
     .fault = "options.result_in_stdout: expected true or false"},
    {.json = WITH_CODE("\"options\":{\"strict_result\":1}"),
     .fault = "options.strict_result: expected true or false"},

    /* metadata: any JSON; unknown fields are ignored */
    {.json = WITH_CODE("\"metadata\":[1,\"two\",{\"three\":null}]")},
    {.json = WITH_CODE("\"metadata\":\"text\"")},
    {.json = WITH_CODE("\"metadata\":false")},
    {.json = WITH_CODE("\"metadata\":null")},
    {.json = WITH_CODE("\"session\":\"x\",\"Code\":3,\"\":0")},

    /* a duplicate top-level field is rejected */
    {.json = WITH_CODE("\"code\":\"print(2)\""), .fault = "code: given twice", .blind = true},
    {.json = WITH_CODE("\"timeout\":null,\"timeout\":3"),
     .fault = "timeout: given twice",
     .blind = true},
    {.json = WITH_CODE("\"x\":1,\"y\":2,\"x\":1"), .fault = "x: given twice", .blind = true},
    {.json = WITH_CODE("\"x\\/\":1,\"\\u0078/\":1"), .fault = "x/: given twice", .blind = true},
    {.json = WITH_CODE("\"options\":{\"a\":1,\"a\":2},\"arguments\":{\"a\":1,\"a\":2}")},
};
