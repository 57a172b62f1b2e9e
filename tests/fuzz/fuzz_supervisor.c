/* What a program can make of its result file at the far end: how it ended stays within its bounds,
 * and the document lies within the file. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/supervisor.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_auto(sp_free_str) char *file = sp_memdup(data, size); /* its end is seen by the sanitizer */
    struct sp_supervisor_end end;
    struct sp_bytes document;

    sp_supervisor_read(file, size, &end, &document);

    CHECK(end.how != SP_FAR_EXIT || (end.number >= 0 && end.number <= 255));
    CHECK(end.how != SP_FAR_SIGNAL || (end.number >= 1 && end.number <= 64));
    CHECK(strlen(end.why) < sizeof end.why);
    CHECK((end.why[0] == '\0') == (end.how != SP_FAR_REFUSED));
    CHECK(document.len == (size < SP_SUPERVISOR_HEAD ? 0 : size - SP_SUPERVISOR_HEAD));
    return 0;
}
