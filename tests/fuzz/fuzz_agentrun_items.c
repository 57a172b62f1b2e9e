/*
 * What AgentRun answers to execute, part of which is the program's: once as it is, once with a
 * cell's marker in it. Texts come out as valid UTF-8, and artifacts within the limits.
 */
#include <string.h>

#include "base/text.h"
#include "providers/aliyun_codeinterpreter/items.h"
#include "providers/cell.h"
#include "tests/fuzz/fuzz.h"

static const struct sp_artifact_rules rules = {.max_count = 2, .max_bytes = 16, .max_total = 24};

static void check_artifacts(const struct sp_items *items)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    size_t total = 0;

    CHECK(sp_items_take_results(items, &rules, &r) == SP_OK);
    CHECK(r.n_artifacts <= 2 && r.n_refused <= 200);
    for (size_t i = 0; i < r.n_artifacts; i++) {
        CHECK(r.artifacts[i].mime_type && r.artifacts[i].len <= 16);
        total += r.artifacts[i].len;
    }
    CHECK(total <= 24);
}

static void read_cell(struct sp_items *items)
{
    static const struct sp_cell cell = {.marker = "__RAGFLOW_RESULT_s__:"};
    sp_auto(sp_result_clear) struct sp_result r = {0};
    struct sp_error err = {0};
    size_t before = items->out.len;
    bool ended = false;

    enum sp_code rc = sp_cell_read(&cell, &items->out, &r, &ended, &err);
    CHECK(rc == SP_OK || (rc == SP_E_INVALID && err.msg[0]));
    CHECK(items->out.len <= before && (ended || items->out.len == before));
    CHECK(r.exit_code >= -1 && r.exit_code <= 255 && r.execution_us >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_auto(sp_free_str) char *text = sp_memdup(data, size); /* its end is seen by the sanitizer */
    sp_auto(sp_items_clear) struct sp_items items = {0};
    struct sp_error err = {0};

    enum sp_code rc = sp_items_read(text, size, &items, &err);
    CHECK(rc == SP_OK || (rc == SP_E_INVALID && err.msg[0]));
    if (rc)
        return 0;
    CHECK(sp_utf8_valid(sp_buf_str(&items.out), items.out.len));
    CHECK(sp_utf8_valid(sp_buf_str(&items.err), items.err.len));
    check_artifacts(&items);
    read_cell(&items);
    return 0;
}
