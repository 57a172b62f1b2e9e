#include "providers/settings_check.h"

#include <string.h>

const char *sp_setting_text(json_t *settings, const char *key)
{
    const char *text = json_string_value(json_object_get(settings, key));
    return text ? text : "";
}

enum sp_code sp_setting_check_url(json_t *settings, const char *key, struct sp_error *err)
{
    const char *url = sp_setting_text(settings, key);
    if (!*url || strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID,
                        "%s: Invalid endpoint format \"%.100s\", it must start with http:// or "
                        "https://",
                        key, url);
}

enum sp_code sp_setting_check_ranges(json_t *settings, const struct sp_field *fields,
                                     const struct sp_setting_range *rows, size_t n,
                                     struct sp_error *err)
{
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_object_get(settings, rows[i].key);
        const struct sp_field *f = fields;
        while (strcmp(f->key, rows[i].key) != 0)
            f++;
        json_int_t number = json_integer_value(value);
        if (json_is_integer(value) && (number < f->min || number > f->max)) {
            return sp_error_set(err, SP_E_INVALID, "%s: %s must be between %lld and %lld%s", f->key,
                                rows[i].what, (long long)f->min, (long long)f->max, rows[i].unit);
        }
    }
    return SP_OK;
}
