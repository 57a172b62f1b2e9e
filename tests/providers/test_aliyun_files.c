/* Artifacts of a program that runs at AgentRun: files that it left, and rich results. */
#include "tests/providers/agentrun_stage.h"

TestSuite(aliyun_files, .fini = clear_stage);

#define ENTRIES(list) "{\"path\":\"p\",\"entries\":[" list "]}"
#define FILE_OF(name, size) "{\"name\":\"" name "\",\"type\":\"file\",\"size\":" size "}"
#define FOLDER(name) "{\"name\":\"" name "\",\"type\":\"directory\"}"

static void expect_artifact(size_t i, const char *name, const char *data)
{
    cr_assert(i < stage.result.n_artifacts, "%s is missing", name);
    const struct sp_artifact *a = &stage.result.artifacts[i];
    cr_expect(eq(str, a->name, (char *)(uintptr_t)name));
    cr_expect(eq(sz, a->len, strlen(data)), "%s", name);
    cr_expect(eq(int, strncmp(a->data, data, a->len), 0), "%s", name);
}

static void expect_refused(size_t i, const char *name, int64_t size, const char *reason)
{
    cr_assert(i < stage.result.n_refused, "%s is missing", name);
    const struct sp_artifact_refused *r = &stage.result.refused[i];
    cr_expect(eq(str, r->name, (char *)(uintptr_t)name));
    cr_expect(eq(i64, r->size, size), "%s", name);
    cr_expect(strstr(r->reason, reason) != NULL, "%s: %s", name, r->reason);
}

Test(aliyun_files, files_of_all_folders_are_fetched)
{
    static const struct step steps[] = {
        {LIST, 200,
         ENTRIES(FOLDER("sub dir") "," FILE_OF("b.csv", "3") "," FILE_OF("a.png", "\"3\"")), NULL,
         NULL},
        {LIST, 200, ENTRIES(FILE_OF("c+d.json", "17")), NULL, NULL},
        {FETCH, 200, "png", NULL, NULL},
        {FETCH, 200, "1,2", NULL, NULL},
        {FETCH, 200, "{\"code\":\"mine\"}", NULL, NULL},
        {0}};
    char target[256];
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    expect_artifact(0, "a.png", "png");
    expect_artifact(1, "b.csv", "1,2");
    expect_artifact(2, "sub dir/c+d.json", "{\"code\":\"mine\"}");
    cr_expect(eq(sz, stage.result.n_refused, 0));
    snprintf(
        target, sizeof(target),
        "/sandboxes/%s/filesystem/download?path=%%2Fhome%%2Fuser%%2Fartifacts%%2Fsub%%20dir%%2F"
        "c%%2Bd.json",
        stage.instance->id);
    cr_expect(eq(str, find_request(FETCH, 2)->target, target));
}

Test(aliyun_files, the_folder_is_the_context_s)
{
    static const struct step steps[] = {
        {CONTEXT, 200, "{\"id\":\"c\",\"cwd\":\"/work/it\"}", NULL, NULL}, {0}};
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(strstr(find_request(LIST, 0)->target, "path=%2Fwork%2Fit%2Fartifacts") != NULL);
}

Test(aliyun_files, what_is_no_plain_file_is_refused_by_name)
{
    static const struct step steps[] = {
        {LIST, 200,
         ENTRIES(
             "{\"name\":\"l.png\",\"type\":\"symlink\"},{\"name\":\"d\",\"type\":\"device\"},"
             "{\"name\":\"no type\"}," FILE_OF("x.txt", "5") "," FILE_OF(
                 "big.png", "99") "," FILE_OF("lies.png",
                                              "1") ",{\"name\":\"..\",\"type\":\"directory\"},"
                                                   "{\"name\":\"a/"
                                                   "b\",\"type\":\"file\"},7,{\"type\":\"file\"}"),
         NULL, NULL},
        {FETCH, 200, "123456789", NULL, NULL},
        {0}};
    set_stage(steps, "");
    stage.limits.artifact_bytes = 8;

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(sz, stage.result.n_artifacts, 0));
    expect_refused(0, "l.png", 0, "symlinks are not allowed");
    expect_refused(1, "d", 0, "not a regular file");
    expect_refused(2, "no type", 0, "not a regular file");
    expect_refused(3, "big.png", 99, "exceeds 8 bytes");
    expect_refused(4, "lies.png", 9, "exceeds 8 bytes");
    expect_refused(5, "x.txt", 5, "Unsupported artifact type");
    cr_expect(eq(sz, stage.result.n_refused, 6));
    cr_expect(eq(int, asked(FETCH), 1));
}

Test(aliyun_files, a_name_that_no_reply_can_carry_is_told_in_a_clean_form)
{
    static const struct step steps[] = {{LIST, 200,
                                         ENTRIES(FILE_OF("a\\nb.csv", "1") "," FILE_OF(
                                             "\\u0085.csv", "1") "," FOLDER("\\u001b[2J")),
                                         NULL, NULL},
                                        {0}};
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(sz, stage.result.n_artifacts, 0));
    expect_refused(0, "a?b.csv", 0, "control characters");
    expect_refused(1, "??.csv", 0, "control characters");
    expect_refused(2, "?[2J", 0, "control characters");
    cr_expect(zero(int, asked(FETCH)));
    cr_expect(eq(int, asked(LIST), 1));
}

static void *cancel_the_listing(void *arg)
{
    (void)arg;
    sp_http_server_wait_requests(&stage.server, 6);
    cancel_now();
    return NULL;
}

Test(aliyun_files, a_cancellation_ends_the_fetching)
{
    static const struct step steps[] = {{LIST, -1, NULL, NULL, NULL}, {0}};
    pthread_t thread;
    set_stage(steps, "");
    cr_assert(eq(int, pthread_create(&thread, NULL, cancel_the_listing, NULL), 0));

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);
    int64_t answered = sp_mono_ms();

    pthread_join(thread, NULL);
    cr_expect(answered - service.cancelled_at < 1000);
    cr_expect(eq(int, stage.result.exit_code, 0));
    cr_expect(stage.result.warning != NULL);
    sp_http_server_release(&stage.server);
}

static const struct {
    const char *name;
    struct step step;
    const char *warning; /* NULL: none */
    const char *reason;  /* of a refused one; NULL: none */
} troubles[] = {
    {"the program removed the folder",
     {LIST, 404, "{\"code\":\"NOT_FOUND\"}", NULL, NULL},
     NULL,
     NULL},
    {"the service refuses", {LIST, 400, "{\"code\":\"X\"}", NULL, NULL}, NULL, "HTTP 400 X"},
    {"no listing", {LIST, 200, "{}", NULL, NULL}, NULL, "lists no entries"},
    {"a file that may not be read",
     {FETCH, 403, "{\"code\":\"ERR_FORBIDDEN\"}", NULL, NULL},
     NULL,
     "HTTP 403"},
    {"a file is gone", {FETCH, 404, "{\"code\":\"NOT_FOUND\"}", NULL, NULL}, NULL, "HTTP 404"},
};

SP_TABLE_TEST(aliyun_files, trouble_with_files_does_not_fail_a_run, troubles, row)
{
    const struct step steps[] = {
        row->step, {LIST, 200, ENTRIES(FILE_OF("a.png", "1")), NULL, NULL}, {0}};
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s: %s", row->name, stage.err.msg);

    cr_expect(eq(int, stage.result.exit_code, 0), "%s", row->name);
    cr_expect(eq(sz, stage.result.n_refused, row->reason != NULL), "%s", row->name);
    if (row->reason && stage.result.n_refused)
        cr_expect(strstr(stage.result.refused[0].reason, row->reason) != NULL, "%s: %s", row->name,
                  stage.result.refused[0].reason);
}

Test(aliyun_files, one_file_that_may_not_be_read_does_not_hide_the_others)
{
    static const struct step steps[] = {
        {LIST, 200, ENTRIES(FILE_OF("a.csv", "1") "," FILE_OF("b.csv", "1")), NULL, NULL},
        {FETCH, 403, "{\"code\":\"ERR_FORBIDDEN\"}", NULL, NULL},
        {0}};
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(sz, stage.result.n_artifacts, 1));
    expect_artifact(0, "b.csv", "x");
    expect_refused(0, "a.csv", 0, "HTTP 403 ERR_FORBIDDEN");
    cr_expect(stage.result.warning == NULL, "%s", stage.result.warning);
}

Test(aliyun_files, a_listing_without_end_is_named)
{
    enum { BYTES = 9 << 20 };
    char *body = malloc(BYTES + 1);
    memset(body, ' ', BYTES);
    body[BYTES] = '\0';
    const struct step steps[] = {{LIST, 200, body, NULL, NULL}, {0}};
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(stage.result.warning == NULL, "%s", stage.result.warning);
    expect_refused(0, "artifacts", 0, "the folder's listing is too long");
    free(body);
}

Test(aliyun_files, fetching_ends_with_the_teardown)
{
    static const struct step steps[] = {{LIST, -1, NULL, NULL, NULL}, {0}};
    set_stage(steps, "");
    stage.run.teardown_ms = 300;

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, stage.result.exit_code, 0));
    cr_expect(
        eq(str, stage.result.warning, "collecting artifacts took too long, the rest is missing"));
    sp_http_server_release(&stage.server);
}

/* ---- rich results ---- */

#define RICH(data) "{\"type\":\"result\",\"data\":{" data "},\"executionCount\":1}"

static enum sp_code run_with(const char *items)
{
    static char body[8192];
    static struct step steps[2] = {{EXECUTE, 200, body, NULL, NULL}, {0}};
    snprintf(body, sizeof(body), "{\"results\":[%s," END_ITEM "]}", items);
    set_stage(steps, "");
    return SP_OK;
}

Test(aliyun_files, rich_results_are_artifacts)
{
    run_with(RICH(
        "\"text/plain\":\"<Figure>\",\"image/png\":\"aVZC\\nTw==\\n\"") ","
                                                                        "{\"type\":\"result\","
                                                                        "\"text\":\"42\"}"
                                                                        "," RICH(
                                                                            "\"image/"
                                                                            "svg+xml\":\"<"
                                                                            "svg>\\u00e9</"
                                                                            "svg>\","
                                                                            "\"text/"
                                                                            "html\":\"<b>"
                                                                            "\"") "," RICH("\"appli"
                                                                                           "cation/"
                                                                                           "json\":"
                                                                                           "{\"n\":"
                                                                                           " "
                                                                                           "1180591"
                                                                                           "6207174"
                                                                                           "1130"
                                                                                           "3424},"
                                                                                           "\"image"
                                                                                           "/"
                                                                                           "jpeg\":"
                                                                                           "\"aVZC"
                                                                                           "\","
                                                                                           "\"appli"
                                                                                           "cation/"
                                                                                           "pdf\":"
                                                                                           "\"aVZC"
                                                                                           "\","
                                                                                           "\"text/"
                                                                                           "csv\":"
                                                                                           "\"a,"
                                                                                           "b\","
                                                                                           "\"image"
                                                                                           "/"
                                                                                           "gif\":"
                                                                                           "\"aVZC"
                                                                                           "\""));

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_assert(eq(sz, stage.result.n_artifacts, 7));
    expect_artifact(0, "result-1.png", "iVBO");
    expect_artifact(1, "result-3.svg", "<svg>\xC3\xA9</svg>");
    expect_artifact(2, "result-3.html", "<b>");
    expect_artifact(3, "result-4.jpeg", "iVB");
    expect_artifact(4, "result-4.pdf", "iVB");
    expect_artifact(5, "result-4.csv", "a,b");
    expect_artifact(6, "result-4.json", "{\"n\": 1180591620717411303424}");
    cr_expect(eq(str, (char *)(uintptr_t)stage.result.artifacts[0].mime_type, "image/png"));
}

Test(aliyun_files, rich_results_keep_the_limits)
{
    run_with(RICH("\"image/png\":\"no base64\"") "," RICH("\"image/png\":[1]") "," RICH(
        "\"text/"
        "csv\":"
        "\"12345678"
        "9\"") "," RICH("\"text/csv\":\"1234567\"") "," RICH("\"text/csv\":\"123456\"") "," RICH("\"text/"
                                                                                                 "c"
                                                                                                 "s"
                                                                                                 "v"
                                                                                                 "\":\"1\"") "," RICH("\"text/csv\":\"2\""));
    stage.limits.artifact_bytes = 8;
    stage.limits.artifacts_total = 12;
    stage.limits.artifacts = 2;

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_assert(eq(sz, stage.result.n_artifacts, 2));
    expect_artifact(0, "result-4.csv", "1234567");
    expect_artifact(1, "result-6.csv", "1");
    expect_refused(0, "result-1.png", 11, "the content is not what its type says");
    expect_refused(1, "result-2.png", 3, "the content is not what its type says");
    expect_refused(2, "result-3.csv", 9, "exceeds 8 bytes");
    expect_refused(3, "result-5.csv", 6, "exceeds 12 bytes in all artifacts together");
    expect_refused(4, "result-7.csv", 1, "more than 2 artifacts");
}

Test(aliyun_files, a_file_stands_before_a_result_of_its_name)
{
    static const struct step steps[] = {
        {EXECUTE, 200, RESULTS(RICH("\"text/csv\":\"rich\"") "," END_ITEM), NULL, NULL},
        {LIST, 200, ENTRIES(FILE_OF("result-1.csv", "4")), NULL, NULL},
        {FETCH, 200, "file", NULL, NULL},
        {0}};
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_assert(eq(sz, stage.result.n_artifacts, 1));
    expect_artifact(0, "result-1.csv", "file");
    expect_refused(0, "result-1.csv", 4, "the program left a file of this name");
}
