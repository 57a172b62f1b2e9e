/* The end of a job against claims on a Redis of the test's own; no Kafka answers. */
#include "worker/finish.h"

#include "tests/worker/claims_rig.h"
#include "tests/worker/fixture.h"

TestSuite(finish, .init = open_rig, .fini = close_rig);

static struct sp_queue *open_queue(struct sp_topics *topics)
{
    static const struct sp_queue_property kafka[] = {{"bootstrap.servers", "127.0.0.1:1"},
                                                     {"log_level", "0"}};
    static const struct sp_limits limits = {.reply_bytes = 900000};
    const struct sp_topic_names names = {"requests", "results", "control", "", ""};
    const struct sp_queue_options options = {.kafka = kafka,
                                             .n_kafka = SP_COUNT(kafka),
                                             .topics = topics,
                                             .limits = &limits,
                                             .window = 10,
                                             .window_bytes = 1000,
                                             .worker_id = "a",
                                             .version = "1"};
    struct sp_queue *queue = NULL;
    struct sp_error err = {0};
    cr_assert(not(sp_topics_init(topics, &names, NULL)));
    cr_assert(not(sp_queue_open(&options, &queue, &err)), "%s", err.msg);
    return queue;
}

static const struct {
    bool dead_lettered;
    enum sp_fate fate;
} losses[] = {{false, SP_FATE_PARK}, {true, SP_FATE_SENT}};

/* Its delivery will be told of under the job, which must be there then. */
SP_TABLE_TEST(finish, a_lost_claim_voids_the_answer_unless_its_dead_letter_is_on_its_way, losses,
              row)
{
    struct sp_topics topics = {0};
    struct sp_queue *queue = open_queue(&topics);
    struct sp_claims *claims = start("a");
    const struct sp_finish finish = {.queue = queue, .claims = claims, .worker_id = "a"};
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_claim_request request = request_of("id", 7);
    struct sp_error err = {0};
    job->claim = must_run(claims, &request);
    job->answered = true;
    (void)sp_job_refuse(job, SP_SB014_CRASHED, "dead");
    job->dead_letter = job->answer.message;
    job->sending = job->dead_lettered = row->dead_lettered;
    job->deliveries = row->dead_lettered ? 2 : 0;
    sp_auto(freeReplyObject) redisReply *taken = ask("SET sp:job:id another's");

    cr_expect(eq(int, sp_finish(&finish, job, &buf, &err), row->fate));

    cr_expect(eq(int, job->deliveries, row->dead_lettered ? 2 : 0));
    sp_claims_release(claims, SP_TAKE(job->claim));
    sp_queue_close(queue, 0);
    sp_topics_clear(&topics);
    stop(claims);
}
