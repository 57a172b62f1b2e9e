#include "queue/record.h"

#include <string.h>

#include "tests/support.h"

static struct sp_header headers[] = {
    {.name = "a", .value = "first", .len = 5},
    {.name = "b", .value = NULL, .len = 0},
    {.name = "c", .value = "", .len = 0},
    {.name = "a", .value = "x\0y", .len = 3},
};

static struct sp_record view(void)
{
    return (struct sp_record){
        .topic = "t",
        .partition = 2,
        .offset = 7,
        .timestamp_ms = 5,
        .key = "k",
        .key_len = 1,
        .value = "{\0}",
        .value_len = 3,
        .headers = headers,
        .n_headers = SP_COUNT(headers),
    };
}

Test(record, a_copy_holds_every_byte_and_its_size)
{
    const struct sp_record original = view();

    sp_auto(sp_record_free) struct sp_record *copy = sp_record_copy(&original);

    cr_assert(ne(ptr, copy, NULL));
    cr_expect(eq(int, copy->partition, 2));
    cr_expect(eq(i64, copy->offset, 7));
    cr_expect(ne(ptr, (void *)copy->value, (void *)original.value));
    cr_expect(zero(memcmp(copy->value, "{\0}", 4)));
    cr_expect(eq(str, (char *)copy->key, (char *)"k"));
    cr_assert(eq(sz, copy->n_headers, 4));
    cr_expect(eq(ptr, (void *)copy->headers[1].value, NULL));
    cr_expect(ne(ptr, (void *)copy->headers[2].value, NULL));
    cr_expect(zero(memcmp(copy->headers[3].value, "x\0y", 4)));
    cr_expect(lt(sz, sizeof(*copy) + sizeof(headers), copy->bytes));
}

Test(record, a_tombstone_without_a_key_stays_one)
{
    const struct sp_record original = {.topic = "t"};

    sp_auto(sp_record_free) struct sp_record *copy = sp_record_copy(&original);

    cr_assert(ne(ptr, copy, NULL));
    cr_expect(eq(ptr, (void *)copy->key, NULL));
    cr_expect(eq(ptr, (void *)copy->value, NULL));
}

Test(record, the_last_header_of_a_name_counts)
{
    const struct sp_record record = view();

    cr_expect(eq(ptr, (void *)sp_record_header(&record, "a"), &headers[3]));
    cr_expect(eq(ptr, (void *)sp_record_header(&record, "b"), &headers[1]));
    cr_expect(eq(ptr, (void *)sp_record_header(&record, "A"), NULL));
}

Test(record, without_a_partition_it_is_always_ours)
{
    const struct sp_record record = view();

    cr_expect(sp_record_is_ours(&record));
}
