#include "worker/digest.h"

#include <string.h>

#include "tests/support.h"

static struct sp_request plain(void)
{
    static char id[] = "a", code[] = "print(1)", arguments[] = "{\"n\":1}";
    return (struct sp_request){.id = id,
                               .code = code,
                               .code_len = strlen(code),
                               .arguments = arguments,
                               .arguments_len = strlen(arguments),
                               .timeout_ms = 30000};
}

static struct sp_file file(char *name, char *data, size_t len)
{
    return (struct sp_file){.name = name, .data = data, .len = len};
}

static bool same(const struct sp_request *a, const struct sp_request *b)
{
    char x[SP_DIGEST_SIZE], y[SP_DIGEST_SIZE];
    cr_assert(zero(int, sp_request_digest(a, x)));
    cr_assert(zero(int, sp_request_digest(b, y)));
    return strcmp(x, y) == 0;
}

Test(digest, is_64_hex_digits_and_stays_the_same_from_version_to_version)
{
    struct sp_request req = plain();
    char digest[SP_DIGEST_SIZE];

    cr_assert(zero(int, sp_request_digest(&req, digest)));

    cr_expect(eq(str, digest, "07cd43c743a872296ffea807d3fb0f8a703a6a52db9347a0e0a648a20e91b2ca"));
}

Test(digest, what_a_run_does_not_depend_on_does_not_count)
{
    struct sp_request a = plain(), b = plain();
    char id[] = "b", metadata[] = "{}", reply_to[] = "elsewhere";

    b.id = id;
    b.metadata = metadata;
    b.metadata_len = 2;
    b.reply_to = reply_to;
    b.deadline_ms = 5;
    b.queue_ttl_ms = 5;
    b.delivery = SP_AT_MOST_ONCE;

    cr_expect(same(&a, &b));
}

static char other_code[] = "print(2)", other_arguments[] = "{\"n\": 1}", nothing[] = "";

static void change_language(struct sp_request *r)
{
    r->language = SP_JAVASCRIPT;
}

static void change_code(struct sp_request *r)
{
    r->code = other_code;
}

static void change_spelling_of_arguments(struct sp_request *r)
{
    r->arguments = other_arguments;
    r->arguments_len = strlen(other_arguments);
}

static void drop_arguments(struct sp_request *r)
{
    r->arguments = NULL;
    r->arguments_len = 0;
}

static void empty_arguments(struct sp_request *r)
{
    r->arguments = nothing;
    r->arguments_len = 0;
}

static void change_timeout(struct sp_request *r)
{
    r->timeout_ms = 30001;
}

static void want_result_in_stdout(struct sp_request *r)
{
    r->result_in_stdout = SP_YES;
}

static void want_no_result_in_stdout(struct sp_request *r)
{
    r->result_in_stdout = SP_NO;
}

static void want_strict_result(struct sp_request *r)
{
    r->strict_result = true;
}

static const struct {
    void (*change)(struct sp_request *);
} changes[] = {{change_language},
               {change_code},
               {change_spelling_of_arguments},
               {drop_arguments},
               {empty_arguments},
               {change_timeout},
               {want_result_in_stdout},
               {want_no_result_in_stdout},
               {want_strict_result}};

Test(digest, each_part_of_the_content_counts)
{
    for (size_t i = 0; i < SP_COUNT(changes); i++) {
        struct sp_request a = plain();
        changes[i].change(&a);
        for (size_t k = 0; k < i; k++) {
            struct sp_request b = plain();
            changes[k].change(&b);
            cr_expect(not(same(&a, &b)), "changes %zu and %zu", i, k);
        }
        struct sp_request b = plain();
        cr_expect(not(same(&a, &b)), "change %zu", i);
    }
}

Test(digest, files_count_by_name_and_bytes_wherever_one_ends)
{
    char a[] = "a", ab[] = "ab", d[] = "d", bytes[] = "bcd\0e";
    struct sp_file files[][2] = {
        {file(ab, bytes + 1, 1), file(d, bytes + 4, 1)}, /* ab: c, d: e */
        {file(a, bytes, 2), file(d, bytes + 4, 1)},      /* a: bc, d: e */
        {file(ab, bytes + 1, 2), file(d, bytes, 0)},     /* ab: cd, d: "" */
        {file(ab, bytes + 2, 2), file(d, bytes + 4, 1)}, /* ab: d NUL, d: e */
        {file(d, bytes + 4, 1), file(ab, bytes + 1, 1)}, /* the first in another order */
    };

    for (size_t i = 0; i < SP_COUNT(files); i++) {
        for (size_t k = 0; k < i; k++) {
            struct sp_request x = plain(), y = plain();
            x.files = files[i];
            y.files = files[k];
            x.n_files = y.n_files = 2;
            cr_expect(not(same(&x, &y)), "files %zu and %zu", i, k);
        }
    }
}
