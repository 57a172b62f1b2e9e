/* Records in one allocation: the struct, its headers, then all bytes, each piece NUL-terminated. */
#include "queue/record.h"

#include <stdlib.h>
#include <string.h>

static char *put(char **at, const char *data, size_t len)
{
    if (!data)
        return NULL;
    char *piece = *at;
    if (len > 0)
        memcpy(piece, data, len);
    piece[len] = '\0';
    *at += len + 1;
    return piece;
}

static size_t bytes_of(const struct sp_record *view)
{
    size_t bytes = sizeof(*view) + (view->n_headers * sizeof(struct sp_header));
    bytes += view->key ? view->key_len + 1 : 0;
    bytes += view->value ? view->value_len + 1 : 0;
    for (size_t i = 0; i < view->n_headers; i++) {
        const struct sp_header *header = &view->headers[i];
        bytes += strlen(header->name) + 1 + (header->value ? header->len + 1 : 0);
    }
    return bytes;
}

struct sp_record *sp_record_copy(const struct sp_record *view)
{
    size_t bytes = bytes_of(view);
    struct sp_record *record = malloc(bytes);
    if (!record)
        return NULL;
    *record = *view;
    record->bytes = bytes;
    record->headers = (struct sp_header *)(record + 1);
    char *at = (char *)(record->headers + view->n_headers);
    for (size_t i = 0; i < view->n_headers; i++) {
        const struct sp_header *header = &view->headers[i];
        record->headers[i] = (struct sp_header){
            .name = put(&at, header->name, strlen(header->name)),
            .value = put(&at, header->value, header->len),
            .len = header->len,
        };
    }
    record->key = put(&at, view->key, view->key_len);
    record->value = put(&at, view->value, view->value_len);
    return record;
}

void sp_record_free(struct sp_record *record)
{
    if (!record)
        return;
    if (record->owner)
        sp_partition_unref(record->owner);
    free(record);
}

const struct sp_header *sp_record_header(const struct sp_record *record, const char *name)
{
    for (size_t i = record->n_headers; i-- > 0;) {
        if (strcmp(record->headers[i].name, name) == 0)
            return &record->headers[i];
    }
    return NULL;
}

bool sp_record_is_ours(const struct sp_record *record)
{
    return !record->owner || sp_partition_is_ours(record->owner);
}
