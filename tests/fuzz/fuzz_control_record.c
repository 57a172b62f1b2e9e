/* Any bytes as a record of the control topic: it is refused with a reason, or what was read makes a
 * record that reads the same. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tests/fuzz/fuzz.h"
#include "worker/control_record.h"

static const struct sp_position position = {7, 8};

static void check_again(const struct sp_control_settings *first)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings second = {0};
    json_auto_t *providers = json_object();
    struct sp_change change = sp_document_change(&first->doc);
    const char *name;
    json_t *text;
    json_object_foreach (first->doc.providers, name, text) {
        json_t *settings = NULL;
        if (sp_document_provider(&first->doc, name, &settings, NULL))
            abort();
        (void)json_object_set_new(providers, name, settings);
    }
    change.providers = providers;
    sp_auto(sp_free_str) char *record = sp_control_settings_write(&change, &first->doc);
    if (!record ||
        sp_control_settings_read(record, strlen(record), &position, NULL, &second, NULL) ||
        strcmp(first->doc.digest, second.doc.digest) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings settings = {0};
    const char *text = (const char *)data;
    struct sp_error err = {0};
    struct sp_bytes id = {0};
    char secret[32];
    (void)sp_control_kind(text, size, &id);
    enum sp_code cancel = sp_control_cancel_check(text, size, &err);
    CHECK(!cancel || err.msg[0]);
    err = (struct sp_error){0};
    if (!sp_control_settings_read(text, size, &position, NULL, &settings, &err)) {
        (void)sp_control_settings_plain_secret(&settings.doc, secret, sizeof(secret));
        check_again(&settings);
    } else {
        CHECK(err.msg[0] && !settings.doc.present);
    }
    return 0;
}
