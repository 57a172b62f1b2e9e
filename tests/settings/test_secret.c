#include "settings/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support.h"

struct sample {
    char *api_key, *password, *note;
};

static const struct sp_field fields[] = {
    SP_ROW_STR(struct sample, api_key, .flags = SP_SECRET),
    SP_ROW_STR(struct sample, password, .flags = SP_SECRET),
    SP_ROW_STR(struct sample, note),
};

static char dir[64], path[80];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/sandpiper-secret-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    snprintf(path, sizeof path, "%s/secret", dir);
}

static void remove_dir(void)
{
    unlink(path);
    rmdir(dir);
}

TestSuite(secret, .init = make_dir, .fini = remove_dir);

static void write_file(const void *data, size_t len)
{
    FILE *file = fopen(path, "w");

    cr_assert(ne(ptr, file, NULL));
    cr_assert(eq(sz, fwrite(data, 1, len, file), len));
    fclose(file);
}

static char *reference(void)
{
    static char text[96];

    snprintf(text, sizeof text, "file:%s", path);
    return text;
}

Test(secret, references_of_secrets_are_resolved_and_nothing_else)
{
    json_auto_t *obj = json_pack("{s:s, s:s, s:s, s:i}", "api_key", "env:SP_TEST_KEY", "password",
                                 "plain", "note", "env:SP_TEST_KEY", "more", 1);
    json_t *out = NULL;

    setenv("SP_TEST_KEY", "k3y", 1);
    cr_assert(eq(int, sp_secret_resolve(fields, SP_COUNT(fields), obj, &out, NULL), SP_OK));

    json_auto_t *want = json_pack("{s:s, s:s, s:s, s:i}", "api_key", "k3y", "password", "plain",
                                  "note", "env:SP_TEST_KEY", "more", 1);
    cr_expect(json_equal(out, want));
    cr_expect(
        eq(str, (char *)json_string_value(json_object_get(obj, "api_key")), "env:SP_TEST_KEY"),
        "the stored settings keep the reference");
    json_decref(out);
}

static const struct {
    const char *content, *secret;
} files[] = {
    {"s3cret", "s3cret"},       {"s3cret\n", "s3cret"}, {"s3cret\r\n", "s3cret"},
    {"s3cret\n\n", "s3cret\n"}, {" s ", " s "},         {"line 1\nline 2\n", "line 1\nline 2"},
};

SP_TABLE_TEST(secret, a_file_is_the_secret_without_its_last_newline, files, row)
{
    char *out = NULL;

    write_file(row->content, strlen(row->content));
    cr_assert(eq(int, sp_secret_get(reference(), &out, NULL), SP_OK));

    cr_expect(eq(str, out, (char *)row->secret));
    free(out);
}

static void expect_refused(const char *value, const char *message)
{
    json_auto_t *obj = json_pack("{s:s}", "password", value);
    struct sp_error err = {0};
    char want[240];
    json_t *out = NULL;

    snprintf(want, sizeof want, message, path);
    cr_assert(eq(int, sp_secret_resolve(fields, SP_COUNT(fields), obj, &out, &err), SP_E_INVALID));
    cr_expect(eq(str, err.msg, want));
}

Test(secret, a_variable_that_is_not_set_is_named)
{
    expect_refused("env:SP_TEST_NONE", "password: environment variable SP_TEST_NONE is not set");
}

Test(secret, a_variable_that_is_empty_is_named)
{
    setenv("SP_TEST_NONE", "", 1);

    expect_refused("env:SP_TEST_NONE", "password: environment variable SP_TEST_NONE is not set");
}

Test(secret, a_variable_that_is_no_text_is_refused)
{
    setenv("SP_TEST_NONE", "\xff", 1);

    expect_refused("env:SP_TEST_NONE", "password: environment variable SP_TEST_NONE is not UTF-8 "
                                       "text");
}

Test(secret, a_file_that_is_not_there_is_named)
{
    expect_refused(reference(), "password: cannot open %s: No such file or directory");
}

Test(secret, an_empty_file_is_refused)
{
    write_file("\n", 1);

    expect_refused(reference(), "password: file %s is empty");
}

Test(secret, a_file_that_is_no_text_is_refused)
{
    write_file("a\0b", 3);

    expect_refused(reference(), "password: file %s is not UTF-8 text");
}

Test(secret, a_large_file_is_refused)
{
    static const char large[64 * 1024 + 1] = {'x'};

    write_file(large, sizeof large);

    expect_refused(reference(), "password: file %s is larger than 64 KiB");
}

Test(secret, a_pipe_does_not_block)
{
    cr_assert(zero(mkfifo(path, 0600)));

    expect_refused(reference(), "password: %s is not a regular file");
}

static int allocations_left;

static void *take(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

/* An endpoint that got lost would send the key to the usual one. */
Test(secret, without_memory_no_setting_gets_lost)
{
    json_auto_t *obj = json_pack("{s:s, s:s, s:s}", "host", "h", "user", "u", "endpoint", "e");
    enum sp_code rc = SP_E_NOMEM;

    for (int n = 0; rc; n++) {
        json_auto_t *out = NULL;
        allocations_left = n;
        json_set_alloc_funcs(take, free);
        rc = sp_secret_resolve(NULL, 0, obj, &out, NULL);
        json_set_alloc_funcs(malloc, free);
        cr_assert(rc == SP_OK || rc == SP_E_NOMEM);
        cr_assert(rc || json_equal(out, obj), "with %d allocations", n);
    }
}
