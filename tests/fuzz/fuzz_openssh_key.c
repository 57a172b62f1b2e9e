/* The input as a private key in OpenSSH's format: what is found lies inside what was decoded. */
#include <string.h>

#include "base/text.h"
#include "providers/ssh/openssh_key.h"
#include "tests/fuzz/fuzz.h"

static void check_inside(struct sp_bytes part, const struct sp_buf *bytes)
{
    CHECK(part.data >= bytes->data && part.len <= bytes->len);
    CHECK((size_t)(part.data - bytes->data) <= bytes->len - part.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = sp_memdup(data, size);
    struct sp_openssh_key key;

    CHECK(text);
    if (sp_openssh_key_parse(text, &key)) {
        CHECK(sp_openssh_key_is(text));
        CHECK(memchr(key.type, '\0', sizeof key.type));
        if (!key.encrypted && strcmp(key.type, "ssh-rsa") == 0) {
            check_inside(key.n, &key.bytes);
            check_inside(key.e, &key.bytes);
            check_inside(key.d, &key.bytes);
        }
    }
    sp_openssh_key_clear(&key);
    free(text);
    return 0;
}
