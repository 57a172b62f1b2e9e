/* Commits. A map alone, above a watermark that stands, is committed less often than the watermark.
 */
#include "queue/commit.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/kafka.h"
#include "queue/offset_map.h"

#define COMMIT_EVERY_MS 200
#define MAP_EVERY_MS 1000
#define COMMIT_LOST_MS 10000 /* an answer that did not come by then is not waited for */

void sp_commits_init(struct sp_commits *commits, struct sp_assignment *assignment)
{
    *commits = (struct sp_commits){
        .assignment = assignment,
        .map_chars = SP_OFFSET_MAP_CHARS,
        .scratch = sp_kafka_must(calloc(SP_OFFSET_MAP_MARKS, sizeof(struct sp_mark))),
    };
}

void sp_commits_clear(struct sp_commits *commits)
{
    free(commits->scratch);
}

/* Before the first record of an assignment whose committed offset could not be read nobody knows
 * what others committed meanwhile. */
static bool is_dirty(const struct sp_partition *partition, int64_t map_before_ms)
{
    if (partition->tracker.position < 0)
        return false;
    if (partition->tracker.watermark > partition->committed)
        return true;
    return partition->changes != partition->sent_changes && partition->sent_ms <= map_before_ms &&
           partition->tracker.in[SP_TRACKED_COMPLETE] > 0;
}

static void add(struct sp_commits *commits, rd_kafka_topic_partition_list_t *list,
                struct sp_partition *partition)
{
    const struct sp_tracker *tracker = &partition->tracker;
    rd_kafka_topic_partition_t *row =
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
    row->offset = tracker->watermark;
    partition->sent_changes = partition->changes;
    partition->sent_ms = sp_mono_ms();
    size_t n = sp_tracker_marks(tracker, commits->scratch, SP_OFFSET_MAP_MARKS);
    struct sp_buf text = SP_BUF_INIT(commits->map_chars);
    if (n > 0)
        sp_offset_map_encode(tracker->watermark, commits->scratch, n, &text);
    if (text.len > 0)
        row->metadata = sp_buf_take(&text, &row->metadata_size);
    sp_buf_clear(&text);
}

/* NULL: nothing to commit. */
static rd_kafka_topic_partition_list_t *dirty(struct sp_commits *commits,
                                              const rd_kafka_topic_partition_list_t *only,
                                              int64_t map_before_ms)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < commits->assignment->n; i++) {
        struct sp_partition *p = commits->assignment->partitions[i];
        if (!is_dirty(p, map_before_ms) ||
            (only && !rd_kafka_topic_partition_list_find(only, p->topic, p->number)))
            continue;
        if (!list)
            list = rd_kafka_topic_partition_list_new((int)commits->assignment->n);
        add(commits, list, p);
    }
    return list;
}

static void refused(struct sp_commits *commits, const rd_kafka_topic_partition_t *row,
                    rd_kafka_resp_err_t err)
{
    struct sp_partition *partition =
        sp_assignment_find(commits->assignment, row->topic, row->partition);
    commits->failed++;
    if (partition)
        partition->sent_changes = -1;
    if (err == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE) /* offset.metadata.max.bytes */
        commits->map_chars /= 2;
    sp_log(SP_WARN, "commit_failed", sp_s("topic", row->topic), sp_i("partition", row->partition),
           sp_i("offset", row->offset), sp_s("error", rd_kafka_err2str(err)));
}

void sp_commits_answer(struct sp_commits *commits, rd_kafka_resp_err_t err,
                       const rd_kafka_topic_partition_list_t *offsets)
{
    commits->under_way = false;
    for (int i = 0; offsets && i < offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *row = &offsets->elems[i];
        if (err || row->err) {
            refused(commits, row, err ? err : row->err);
            continue;
        }
        struct sp_partition *partition =
            sp_assignment_find(commits->assignment, row->topic, row->partition);
        /* The answer may belong to what was before the offsets went back. */
        if (partition && row->offset <= partition->tracker.watermark) {
            partition->committed = row->offset;
            sp_tracker_committed(&partition->tracker, row->offset);
        }
        commits->done++;
        commits->last_ms = sp_mono_ms();
    }
}

void sp_commits_serve(struct sp_commits *commits)
{
    int64_t now = sp_mono_ms(), since = now - commits->sent_ms;
    if (since < COMMIT_EVERY_MS || (commits->under_way && since < COMMIT_LOST_MS))
        return;
    rd_kafka_topic_partition_list_t *list = dirty(commits, NULL, now - MAP_EVERY_MS);
    if (!list)
        return;
    commits->sent_ms = now;
    commits->under_way = true;
    rd_kafka_resp_err_t failed = rd_kafka_commit(commits->assignment->rk, list, 1);
    if (failed)
        sp_commits_answer(commits, failed, list);
    /* Every element refers to its partition, and a leaked list hangs the end of the handle. */
    rd_kafka_topic_partition_list_destroy(list);
}

static void on_answer(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    (void)rk;
    sp_commits_answer(opaque, err, offsets);
}

/* Waits on a queue of its own, because rd_kafka_commit() may wait for ever. */
void sp_commits_now(struct sp_commits *commits, const rd_kafka_topic_partition_list_t *only,
                    int64_t limit_ms)
{
    rd_kafka_t *rk = commits->assignment->rk;
    rd_kafka_topic_partition_list_t *list = dirty(commits, only, SP_NEVER);
    if (!list)
        return;
    rd_kafka_queue_t *answers = rd_kafka_queue_new(rk);
    rd_kafka_resp_err_t failed = rd_kafka_commit_queue(rk, list, answers, on_answer, commits);
    if (failed) {
        sp_commits_answer(commits, failed, list);
    } else if (rd_kafka_queue_poll_callback(answers, (int)limit_ms) == 0) {
        sp_log(SP_WARN, "commit_unanswered", sp_i("waited_ms", limit_ms));
    }
    rd_kafka_queue_destroy(answers);
    rd_kafka_topic_partition_list_destroy(list);
}

/* What stands above the committed offset: nothing, if the map is not ours or without memory. */
static size_t restore(struct sp_commits *commits, struct sp_partition *partition,
                      const rd_kafka_topic_partition_t *row)
{
    size_t n =
        sp_offset_map_decode(row->metadata, row->metadata_size, row->offset, commits->scratch);
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        if (!sp_tracker_restore(&partition->tracker, &commits->scratch[i]))
            break;
        done += commits->scratch[i].done;
    }
    return done;
}

static void begin(struct sp_commits *commits, rd_kafka_topic_partition_t *row,
                  const rd_kafka_topic_partition_t *committed)
{
    struct sp_partition *partition =
        sp_assignment_find(commits->assignment, row->topic, row->partition);
    if (committed->err || committed->offset < 0 || !partition)
        return; /* nothing was committed: auto.offset.reset decides */
    row->offset = committed->offset;
    sp_partition_begin(partition, committed->offset);
    size_t done = committed->metadata ? restore(commits, partition, committed) : 0;
    if (done > 0) {
        sp_log(SP_INFO, "offset_map_read", sp_s("topic", row->topic),
               sp_i("partition", row->partition), sp_i("offset", row->offset),
               sp_i("done", (int64_t)done));
    }
}

void sp_commits_read(struct sp_commits *commits, rd_kafka_topic_partition_list_t *list,
                     int64_t limit_ms)
{
    rd_kafka_topic_partition_list_t *committed = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t failed =
        rd_kafka_committed(commits->assignment->rk, committed, (int)limit_ms);
    if (failed) {
        sp_log(SP_WARN, "committed_offsets_unread", sp_i("partitions", list->cnt),
               sp_s("error", rd_kafka_err2str(failed)));
    }
    for (int i = 0; !failed && i < list->cnt; i++)
        begin(commits, &list->elems[i], &committed->elems[i]);
    rd_kafka_topic_partition_list_destroy(committed);
}
