/* Rebalances. librdkafka 2.0.2 goes on sending heartbeats while it waits for the un-assignment, and
 * asks for nothing else before it. */
#include "queue/rebalance.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/kafka.h"

#define DRAIN_MS 1000 /* for jobs about to end; the group's other members wait for us meanwhile */
#define COMMIT_MS 5000
#define COMMITTED_MS 3000

static void log_error(rd_kafka_error_t *error)
{
    if (!error)
        return;
    sp_log(SP_ERROR, "rebalance_failed", sp_s("error", rd_kafka_error_string(error)));
    rd_kafka_error_destroy(error);
}

static bool is_cooperative(rd_kafka_t *rk)
{
    return sp_kafka_protocol_is(rk, "COOPERATIVE");
}

/* Answers librdkafka, as the group's protocol wants it. */
static void answer(struct sp_rebalance *r, bool assign, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_t *rk = r->assignment->rk;
    if (r->closed && !SP_TAKE(r->owed))
        return;
    if (r->closed ? r->cooperative : is_cooperative(rk)) {
        log_error(assign ? rd_kafka_incremental_assign(rk, list)
                         : rd_kafka_incremental_unassign(rk, list));
        return;
    }
    rd_kafka_resp_err_t failed = rd_kafka_assign(rk, assign ? list : NULL);
    if (failed)
        sp_log(SP_ERROR, "rebalance_failed", sp_s("error", rd_kafka_err2str(failed)));
}

static void assign(struct sp_rebalance *r, rd_kafka_topic_partition_list_t *list)
{
    if (r->closed)
        return;
    for (int i = 0; i < list->cnt; i++)
        (void)sp_assignment_add(r->assignment, list->elems[i].topic, list->elems[i].partition);
    if (list->cnt > 0 && !r->closing)
        sp_commits_read(r->commits, list, COMMITTED_MS);
    answer(r, true, list);
}

static struct sp_partition *find(const struct sp_rebalance *r,
                                 const rd_kafka_topic_partition_t *row)
{
    return sp_assignment_find(r->assignment, row->topic, row->partition);
}

/* Records that are out, of the partitions that are to go. */
static size_t out(const struct sp_rebalance *r)
{
    size_t n = 0;
    for (int i = 0; i < r->leaving->cnt; i++) {
        const struct sp_partition *partition = find(r, &r->leaving->elems[i]);
        n += partition ? partition->tracker.in[SP_TRACKED_OUT] : 0;
    }
    return n;
}

static void let_go(struct sp_rebalance *r)
{
    rd_kafka_t *rk = r->assignment->rk;
    if (rd_kafka_assignment_lost(rk)) {
        sp_log(SP_WARN, "assignment_lost", sp_i("partitions", r->leaving->cnt));
    } else {
        sp_commits_now(r->commits, r->leaving, COMMIT_MS);
    }
    for (int i = 0; i < r->leaving->cnt; i++) {
        struct sp_partition *partition = find(r, &r->leaving->elems[i]);
        if (partition)
            sp_assignment_remove(r->assignment, partition);
    }
    answer(r, false, r->leaving);
    rd_kafka_topic_partition_list_destroy(SP_TAKE(r->leaving));
}

void sp_rebalance_serve(struct sp_rebalance *rebalance)
{
    if (!rebalance->leaving)
        return;
    if (rebalance->closing || rd_kafka_assignment_lost(rebalance->assignment->rk) ||
        sp_deadline_left(rebalance->until_ms) == 0 || out(rebalance) == 0)
        let_go(rebalance);
}

static void revoke(struct sp_rebalance *r, const rd_kafka_topic_partition_list_t *list)
{
    r->leaving = rd_kafka_topic_partition_list_copy(list);
    r->until_ms = sp_deadline_in(DRAIN_MS);
    for (int i = 0; i < list->cnt; i++) {
        struct sp_partition *partition = find(r, &list->elems[i]);
        if (partition)
            atomic_store(&partition->leaving, true);
    }
    sp_rebalance_serve(r);
}

void sp_rebalance_on(struct sp_rebalance *rebalance, rd_kafka_resp_err_t event,
                     rd_kafka_topic_partition_list_t *list)
{
    rebalance->count++;
    if (rebalance->leaving) /* not to be expected; then the first one is settled first */
        let_go(rebalance);
    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assign(rebalance, list);
    } else {
        revoke(rebalance, list);
    }
}

void sp_rebalance_close(struct sp_rebalance *rebalance)
{
    rebalance->closing = true;
    sp_rebalance_serve(rebalance);
}

void sp_rebalance_closed(struct sp_rebalance *rebalance)
{
    rebalance->cooperative = is_cooperative(rebalance->assignment->rk);
    rebalance->owed = rebalance->assignment->n > 0;
    rebalance->closed = true;
}
