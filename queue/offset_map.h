/*
 * The completed offsets above a committed one, as the commit's metadata, so that whoever reads the
 * partition next does not run them again although nobody else remembers them. Text: "S1", then in
 * base64 a CRC-32 and the body: the committed offset, and runs of records that are done or not,
 * each record with its timestamp. Records are not named by their offsets alone: where the topic was
 * made anew or its log cut off, the offsets of another record must not pass for done. A timestamp
 * costs a byte or two of a record, so some 3,000 records fit.
 */
#pragma once

#include "base/buf.h"
#include "queue/tracker.h"

#define SP_OFFSET_MAP_CHARS 4096 /* offset.metadata.max.bytes of Kafka, unless set otherwise */
#define SP_OFFSET_MAP_MARKS 3072 /* no text of that length holds more */

/*
 * Appends the text for the commit of `base`, which marks[0] is, in rising order of offsets. What
 * does not fit into SP_OFFSET_MAP_CHARS and the buffer is left out at the end. Nothing when none is
 * done, or without memory.
 */
void sp_offset_map_encode(int64_t base, const struct sp_mark *marks, size_t n, struct sp_buf *out);
/*
 * The marks that belong to the committed offset `base`; marks has SP_OFFSET_MAP_MARKS. 0 for a text
 * that is not ours, of another offset, or damaged: all of it is read again then.
 */
size_t sp_offset_map_decode(const char *text, size_t len, int64_t base, struct sp_mark *marks);
