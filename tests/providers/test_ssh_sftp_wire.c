/* The packets of SFTP: what goes out to the byte, and answers as a server may send them. */
#include <string.h>

#include "providers/ssh/sftp_wire.h"
#include "tests/support.h"

#define BYTES(text) ((struct sp_bytes){(text), sizeof(text) - 1})

Test(ssh_sftp_wire, requests_are_what_the_draft_says)
{
    static const char expected[] = "\0\0\0\x16\x03\0\0\0\x07\0\0\0\x01"
                                   "a\0\0\0\x1A\0\0\0\x04\0\0\x01\x80"
                                   "\0\0\0\x18\x06\0\0\0\x08\0\0\0\x01h\0\0\0\0\0\0\0\x09"
                                   "\0\0\0\x02xy";
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_sftp_add(&out, SP_SFTP_OPEN, 7, BYTES("a"), SP_SFTP_TO_BE_REPLACED, 0600),
                 SP_OK));
    cr_assert(eq(int, sp_sftp_add_write(&out, 8, BYTES("h"), 9, BYTES("xy")), SP_OK));

    cr_assert(eq(sz, out.len, sizeof(expected) - 1));
    cr_expect(memcmp(out.data, expected, out.len) == 0);
}

static const struct {
    const char *name, *bytes;
    size_t len;
    enum sp_code rc;
    bool whole;
    int kind;
} answers[] = {
#define ANSWER(text) .bytes = (text), .len = sizeof(text) - 1
    {"nothing yet", ANSWER("\0\0"), SP_OK, false, 0},
    {"a status", ANSWER("\0\0\0\x11\x65\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0"), SP_OK, true,
     SP_SFTP_STATUS},
    {"half of it", ANSWER("\0\0\0\x11\x65\0\0\0\x01\0\0"), SP_OK, false, 0},
    {"a handle", ANSWER("\0\0\0\x0A\x66\0\0\0\x01\0\0\0\x01h"), SP_OK, true, SP_SFTP_HANDLE},
    {"a handle of no bytes", ANSWER("\0\0\0\x09\x66\0\0\0\x01\0\0\0\0"), SP_E_INVALID, false, 0},
    {"data", ANSWER("\0\0\0\x0A\x67\0\0\0\x01\0\0\0\x01x"), SP_OK, true, SP_SFTP_DATA},
    {"data that is longer than its packet", ANSWER("\0\0\0\x0A\x67\0\0\0\x01\xFF\xFF\xFF\xFFx"),
     SP_E_INVALID, false, 0},
    {"attributes without any", ANSWER("\0\0\0\x09\x69\0\0\0\x01\0\0\0\0"), SP_OK, true,
     SP_SFTP_ATTRIBUTES},
    {"attributes with more pairs than bytes",
     ANSWER("\0\0\0\x0D\x69\0\0\0\x01\x80\0\0\0\xFF\xFF\xFF\xFF"), SP_E_INVALID, false, 0},
    {"a packet beyond sense", ANSWER("\x7F\xFF\xFF\xFF\x65"), SP_E_INVALID, false, 0},
    {"a packet of nothing", ANSWER("\0\0\0\0\0"), SP_E_INVALID, false, 0},
    {"a type of requests", ANSWER("\0\0\0\x09\x03\0\0\0\x01\0\0\0\0"), SP_E_INVALID, false, 0},
};

SP_TABLE_TEST(ssh_sftp_wire, an_answer_is_read_whole_or_not_at_all, answers, row)
{
    struct sp_sftp_answer answer;
    size_t used = 99;

    enum sp_code rc = sp_sftp_read((struct sp_bytes){row->bytes, row->len}, &answer, &used);

    cr_assert(eq(int, rc, row->rc), "%s", row->name);
    cr_expect(rc || used == (row->whole ? row->len : 0), "%s: %zu", row->name, used);
    if (row->whole) {
        cr_expect(eq(int, (int)answer.kind, row->kind), "%s", row->name);
        cr_expect(eq(u32, answer.id, 1), "%s", row->name);
    }
}

static const struct {
    const char *bytes;
    size_t len;
    bool entry;
} names[] = {
    {ANSWER("a.csv"), true}, {ANSWER("..."), true},   {ANSWER("."), false}, {ANSWER(".."), false},
    {ANSWER("a/b"), false},  {ANSWER("/etc"), false}, {ANSWER(""), false},  {ANSWER("a\0b"), false},
};

SP_TABLE_TEST(ssh_sftp_wire, a_name_leads_nowhere_but_into_its_folder, names, row)
{
    cr_expect(eq(int, sp_sftp_is_entry((struct sp_bytes){row->bytes, row->len}), row->entry), "%s",
              row->bytes);
}

Test(ssh_sftp_wire, more_names_than_there_are_end_the_list)
{
    struct sp_bytes list = BYTES("\0\0\0\x01"
                                 "a\0\0\0\0\0\0\0\0\0\0\0\x05"
                                 "b");
    struct sp_ssh_attributes attributes;
    struct sp_bytes name;

    cr_assert(sp_sftp_next_name(&list, &name, &attributes));
    cr_expect(eq(sz, name.len, 1));
    cr_expect(eq(int, (int)attributes.type, SP_SSH_OTHER));
    cr_expect(not(sp_sftp_next_name(&list, &name, &attributes)));
}
