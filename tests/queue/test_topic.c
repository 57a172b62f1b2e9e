#include "queue/topic.h"

#include <string.h>

#include "tests/support.h"

#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define NAME_249 FIFTY FIFTY FIFTY FIFTY "0123456789012345678901234567890123456789012345678"
#define NAME_246 FIFTY FIFTY FIFTY FIFTY "0123456789012345678901234567890123456789012345"

static const struct {
    const char *name;
    bool valid;
} names[] = {
    {"a", true},    {"A.b_c-9", true},   {"...", true},  {NAME_249, true}, {NAME_249 "0", false},
    {"", false},    {".", false},        {"..", false},  {"a b", false},   {"a/b", false},
    {"a,b", false}, {"\xc3\xa9", false}, {"a\n", false}, {"a:b", false},
};

SP_TABLE_TEST(topic, names_follow_kafkas_rules, names, row)
{
    cr_expect(eq(int, sp_topic_name_valid(row->name, strlen(row->name)), row->valid), "%s",
              row->name);
}

Test(topic, a_name_with_nul_is_illegal)
{
    cr_expect(not(sp_topic_name_valid("a\0b", 3)));
}

static const struct {
    struct sp_topic_names names;
    const char *fault; /* NULL: good */
} configurations[] = {
    {{"req", "res", "ctl", "", ""}, NULL},
    {{" req , more ,, ", "res", "ctl", NULL, "a.*, b ,*"}, NULL},
    {{"req", "res", "ctl", "dead", ""}, NULL},
    {{"req", "res", "ctl", "req-dlq", ""}, NULL},
    {{"", "res", "ctl", "", ""}, "queue.request_topics: name at least one"},
    {{" , ", "res", "ctl", "", ""}, "queue.request_topics: name at least one"},
    {{"r q", "res", "ctl", "", ""}, "queue.request_topics: 'r?q' is not a topic name"},
    {{"req", "", "ctl", "", ""}, "queue.reply_topic: '' is not"},
    {{"req", "res", "..", "", ""}, "queue.control_topic: '..' is not"},
    {{"req", "res", "ctl", "d/d", ""}, "queue.dlq_topic: 'd/d' is not"},
    {{"req", "res", "ctl", "", "a*b"}, "queue.reply_allow: 'a*b' is not"},
    {{"req", "res", "ctl", "", "a?*"}, "queue.reply_allow: 'a?*' is not"},
    {{"req,res", "res", "ctl", "", ""}, "queue.reply_topic: 'res' is also a request topic"},
    {{"req,ctl", "res", "ctl", "", ""}, "queue.control_topic: 'ctl' is also a request topic"},
    {{"req,dead", "res", "ctl", "dead", ""}, "queue.dlq_topic: 'dead' is also a request topic"},
    {{"req,req-dlq", "res", "ctl", "", ""}, "queue.request_topics: 'req-dlq' is the DLQ of 'req'"},
    {{"req", "req-dlq", "ctl", "", ""}, "queue.reply_topic: 'req-dlq' is also the DLQ"},
    {{"req", "res", "dead", "dead", ""}, "queue.control_topic: 'dead' is also the DLQ"},
    {{"req", "ctl", "ctl", "", ""}, "queue.reply_topic: 'ctl' is also the control topic"},
    {{"req", "__res", "ctl", "", ""}, "queue.reply_topic: '__res' belongs to Kafka"},
    {{NAME_246, "res", "ctl", "", ""}, "queue.request_topics: '0123"},
    {{NAME_246, "res", "ctl", "dead", ""}, NULL},
};

SP_TABLE_TEST(topic, a_wrong_configuration_is_named, configurations, row)
{
    sp_auto(sp_topics_clear) struct sp_topics topics = {0};
    struct sp_error err = {0};

    enum sp_code rc = sp_topics_init(&topics, &row->names, &err);

    cr_expect(eq(int, rc, row->fault ? SP_E_INVALID : SP_OK), "%s", err.msg);
    if (row->fault)
        cr_expect(eq(int, strncmp(err.msg, row->fault, strlen(row->fault)), 0), "%s", err.msg);
}

Test(topic, lists_are_split_at_commas_without_blanks)
{
    sp_auto(sp_topics_clear) struct sp_topics topics = {0};

    enum sp_code rc = sp_topics_init(
        &topics, &(struct sp_topic_names){" a,b\t, c", "res", "ctl", "", "x.*,y"}, NULL);

    cr_assert(eq(int, rc, SP_OK));
    cr_assert(eq(sz, topics.n_requests, 3));
    cr_expect(eq(str, topics.requests[1], (char *)"b"));
    cr_expect(eq(str, topics.requests[2], (char *)"c"));
    cr_assert(eq(sz, topics.n_allow, 2));
    cr_expect(eq(str, topics.allow[0], (char *)"x.*"));
    cr_expect(eq(ptr, topics.dlq, NULL));
}

static const struct {
    const char *dlq; /* of the configuration */
    const char *name;
    enum sp_code rc;
    const char *text;
} replies[] = {
    {"", "res", SP_OK, ""},
    {"", "agents.reply.7", SP_OK, ""},
    {"", "agents.reply.", SP_OK, ""},
    {"", "exact", SP_OK, ""},
    {"", "exactly", SP_E_DENIED, "replies to 'exactly' are not allowed: it is not in "},
    {"", "agents.repl", SP_E_DENIED, "replies to 'agents.repl' are not allowed: it is not in "},
    {"", "a b", SP_E_INVALID, "'a?b' is not a topic name"},
    {"", "", SP_E_INVALID, "'' is not a topic name"},
    {"", "..", SP_E_INVALID, "'..' is not a topic name"},
    {"", "__internal", SP_E_DENIED, "replies to '__internal' are not allowed: it belongs to Kafka"},
    {"", "all.req", SP_E_DENIED, "replies to 'all.req' are not allowed: it is a request topic"},
    {"", "all.req-dlq", SP_E_DENIED, "replies to 'all.req-dlq' are not allowed: it is a DLQ"},
    {"all.dead", "all.dead", SP_E_DENIED, "replies to 'all.dead' are not allowed: it is a DLQ"},
    {"all.dead", "all.req-dlq", SP_OK, ""},
    {"", "all.ctl", SP_E_DENIED, "replies to 'all.ctl' are not allowed: it is the control topic"},
};

SP_TABLE_TEST(topic, replies_go_only_where_it_is_allowed, replies, row)
{
    sp_auto(sp_topics_clear) struct sp_topics topics = {0};
    struct sp_error err = {0};
    cr_assert(eq(int,
                 sp_topics_init(&topics,
                                &(struct sp_topic_names){"all.req", "res", "all.ctl", row->dlq,
                                                         "agents.reply.*,exact,all.*,__*"},
                                NULL),
                 SP_OK));

    enum sp_code rc = sp_topic_reply_allowed(&topics, row->name, strlen(row->name), &err);

    cr_expect(eq(int, rc, row->rc), "%s", row->name);
    cr_expect(eq(int, strncmp(err.msg, row->text, strlen(row->text)), 0), "%s", err.msg);
}

Test(topic, the_dlq_is_the_request_topics_own_or_the_configured_one)
{
    sp_auto(sp_topics_clear) struct sp_topics topics = {0};
    char name[254];
    cr_assert(eq(
        int, sp_topics_init(&topics, &(struct sp_topic_names){"a,b", "res", "ctl", "", ""}, NULL),
        SP_OK));

    sp_topic_dlq(&topics, "b", name, sizeof(name));
    cr_expect(eq(str, name, (char *)"b-dlq"));

    sp_topics_clear(&topics);
    cr_assert(
        eq(int,
           sp_topics_init(&topics, &(struct sp_topic_names){"a,b", "res", "ctl", "dead", ""}, NULL),
           SP_OK));
    sp_topic_dlq(&topics, "b", name, sizeof(name));
    cr_expect(eq(str, name, (char *)"dead"));
}
