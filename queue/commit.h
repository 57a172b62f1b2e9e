/*
 * What is committed, with the map of what is complete above it, and what was committed before us.
 * Only by rd_kafka_commit() with a list: what is stored for librdkafka to commit loses its metadata
 * before 2.2. The broker takes any offset of any member, so that only partitions of the assignment
 * are ever named. Thread: the consumer's.
 */
#pragma once

#include "queue/assignment.h"

struct sp_commits {
    struct sp_assignment *assignment;
    bool under_way;
    int64_t sent_ms;         /* when one was last sent */
    int64_t done, failed;    /* partitions in answers */
    int64_t last_ms;         /* when one was last answered well; 0: never */
    size_t map_chars;        /* the broker takes with a commit */
    struct sp_mark *scratch; /* SP_OFFSET_MAP_MARKS */
};

void sp_commits_init(struct sp_commits *commits, struct sp_assignment *assignment);
void sp_commits_clear(struct sp_commits *commits);
/* Commits what is due, five times a second at most. */
void sp_commits_serve(struct sp_commits *commits);
/* Commits and waits for the answer, limit_ms at most. With a list, only its partitions. */
void sp_commits_now(struct sp_commits *commits, const rd_kafka_topic_partition_list_t *only,
                    int64_t limit_ms);
/* The answer to a commit. A partition that was refused is tried again at the next turn. */
void sp_commits_answer(struct sp_commits *commits, rd_kafka_resp_err_t err,
                       const rd_kafka_topic_partition_list_t *offsets);
/*
 * Asks for what the group committed for these partitions, limit_ms at most, and makes it what their
 * trackers begin with; the list gets the offsets to start at. Where there is no answer librdkafka
 * asks by itself, and nothing is known of what is complete above.
 */
void sp_commits_read(struct sp_commits *commits, rd_kafka_topic_partition_list_t *list,
                     int64_t limit_ms);
