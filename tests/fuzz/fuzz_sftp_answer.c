/* The input as what an SFTP server sends: packet after packet, and the names in each. */
#include <string.h>

#include "providers/ssh/sftp_wire.h"
#include "tests/fuzz/fuzz.h"

static void check_inside(struct sp_bytes part, struct sp_bytes all)
{
    CHECK(part.len <= all.len);
    CHECK(part.data >= all.data && part.data + part.len <= all.data + all.len);
}

static void check_names(struct sp_bytes names, uint32_t n, struct sp_bytes all)
{
    struct sp_ssh_attributes attributes;
    struct sp_bytes name;

    for (uint32_t i = 0; i < n && sp_sftp_next_name(&names, &name, &attributes); i++) {
        check_inside(name, all);
        check_inside(names, all);
        CHECK(attributes.size >= 0 && (attributes.mode & ~07777U) == 0);
        CHECK(!sp_sftp_is_entry(name) || !memchr(name.data, '/', name.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sp_bytes in = {(const char *)data, size};
    struct sp_sftp_answer answer;
    size_t used = 1;

    while (used > 0 && !sp_sftp_read(in, &answer, &used)) {
        CHECK(used <= in.len);
        if (used > 0 && answer.bytes.len > 0)
            check_inside(answer.bytes, in);
        if (used > 0 && answer.kind == SP_SFTP_NAMES)
            check_names(answer.bytes, answer.n_names, in);
        in.data += used;
        in.len -= used;
    }
    return 0;
}
