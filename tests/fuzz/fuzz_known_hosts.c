/* The input as a known_hosts file: every key that is taken from it makes sense, and is found. */
#include "providers/ssh/known_hosts.h"
#include "providers/ssh/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sp_known_hosts known = {0};

    CHECK(sp_known_hosts_add(&known, (const char *)data, size, "host.example", 22) == SP_OK);
    CHECK(sp_known_hosts_add(&known, (const char *)data, size, "host.example", 2222) == SP_OK);
    for (size_t i = 0; i < known.n; i++) {
        struct sp_bytes rest = known.keys[i].blob, type;

        CHECK(sp_ssh_take_string(&rest, &type));
        CHECK(sp_known_hosts_look(&known, known.keys[i].blob) >= SP_KNOWN_REVOKED);
    }
    sp_known_hosts_clear(&known);
    return 0;
}
