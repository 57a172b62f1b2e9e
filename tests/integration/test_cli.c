/* The command as a user meets it: the real binary against real servers. Addresses and names come by
 * environment variables, as they would in a container. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support.h"
#include "tests/support/stage.h"
#include "tests/support/until.h"

static struct sp_stage *s;
static char root[] = "/tmp/sandpiper-cli-XXXXXX";
static char out[8192]; /* what the last shell() printed on standard output */
static char err[8192]; /* and on standard error */

static void read_text(FILE *f, char *text, size_t size)
{
    cr_assert(f != NULL);
    text[fread(text, 1, size - 1, f)] = '\0';
}

/* Runs a line of the shell with $S as the program; its exit code. */
static int shell(const char *line)
{
    char command[1024];
    snprintf(command, sizeof(command), "S=%s; { %s; } 2>err", SP_BINARY, line);
    FILE *f = popen(command, "r");
    read_text(f, out, sizeof(out));
    int status = pclose(f);
    f = fopen("err", "r");
    read_text(f, err, sizeof(err));
    fclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool says(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

static void write_program(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void open_stage(void)
{
    s = sp_stage_new(2);
    sp_stage_environment(s);
    cr_assert(mkdtemp(root) != NULL && chdir(root) == 0);
    write_program("hello.py", "def main(name, count):\n"
                              "    print('to', name)\n"
                              "    return {'text': name * count}\n");
    write_program("exit.py", "import sys\nprint('partial')\nsys.exit(7)\n");
}

static void close_stage(void)
{
    sp_stage_free(s);
    sp_remove_tree(root);
}

TestSuite(cli, .init = open_stage, .fini = close_stage);

static void start_worker(void)
{
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);
}

Test(cli, run_shows_output_and_value_and_exits_with_the_programs_code)
{
    start_worker();
    write_program("hello.js", "function main({name, count}) { return name.repeat(count); }\n");

    cr_expect(shell("$S run hello.py --arg name=ab --arg count=2") == 0, "%s", err);
    cr_expect(eq(str, out, "to ab\n{\"text\": \"abab\"}\n"));
    cr_expect(eq(str, err, ""));
    cr_expect(shell("$S run hello.js --arg name=ab --arg count=2") == 0, "%s", err);
    cr_expect(eq(str, out, "\"abab\"\n"));
    cr_expect(shell("$S run exit.py") == 7, "%s", err);
    cr_expect(eq(str, out, "partial\n"));
    cr_expect(shell("echo 'import os; os.kill(os.getpid(), 15)' | $S run -l python -") == 143);
    cr_expect(shell("echo 'while True: pass' | $S run -l python -t 1s -") == 124);
    cr_expect(shell("$S run hello.py --queue-ttl 1ms --arg name=a --arg count=1") == 125);
    cr_expect(says(err, "expired (SB010)"), "%s", err);
}

Test(cli, wait_finds_a_reply_after_the_fact_as_often_as_asked)
{
    start_worker();

    cr_expect(shell("$S submit --id first exit.py") == 0, "%s", err);
    cr_expect(eq(str, out, "first\n"));
    sp_stage_reply(s, "first", 120000);
    for (int i = 0; i < 2; i++) {
        cr_expect(shell("$S wait first") == 7, "%s", err);
        cr_expect(eq(str, out, "partial\n"));
    }
    cr_expect(shell("$S wait first --json") == 7, "%s", err);
    json_auto_t *reply = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
    const char *status = json_string_value(json_object_get(reply, "status"));
    cr_expect(status && strcmp(status, "failed") == 0, "%s", out);
    cr_expect(shell("$S wait second --timeout 5s") == 1);
    cr_expect(says(err, "no reply yet"), "%s", err);
}

Test(cli, run_fetches_what_did_not_fit_the_reply)
{
    start_worker();
    write_program("big.py", "def main():\n    print('x' * 700000)\n    return 'v' * 700000\n");

    cr_expect(shell("$S run big.py >all; tr -d xv <all; wc -c <all") == 0, "%s", err);

    cr_expect(eq(str, out, "\n\"\"\n1400004\n"));
    cr_expect(eq(str, err, ""));
}

Test(cli, run_writes_artifacts_and_names_those_left_out)
{
    start_worker();
    write_program("files.py", "import os\n"
                              "os.makedirs('artifacts/a', exist_ok=True)\n"
                              "open('artifacts/a/data.csv', 'w').write('1,2')\n"
                              "open('artifacts/evil\\n\\x1b[31m.csv', 'w').write('x')\n");

    cr_expect(shell("$S run files.py -o got && cat got/a/data.csv && ls got") == 0, "%s", err);

    cr_expect(eq(str, out, "1,2a\n"));
    cr_expect(says(err, "was left out"), "%s", err);
    cr_expect(not(says(err, "\x1b")), "%s", err);
}

Test(cli, without_a_worker_waiting_ends_by_its_limit_and_by_an_interrupt)
{
    cr_expect(shell("$S run exit.py --id lonely --wait 5s") == 1);
    cr_expect(says(err, "'sandpiper wait lonely'"), "%s", err);
    cr_expect(shell("timeout --preserve-status -s INT 3 $S wait lonely") == 130, "%s", err);
    cr_expect(shell("$S workers") == 0 && says(out, "No worker is running"), "%s", out);
}

Test(cli, what_is_not_there_is_named)
{
    cr_expect(shell("$S run exit.py -X queue.reply_topic=not.there") == 1);
    cr_expect(says(err, "not.there"), "%s", err);
    cr_expect(shell("$S submit exit.py -X queue.request_topics=not.there") == 1);
    cr_expect(says(err, "not.there"), "%s", err);
    cr_expect(shell("$S settings get -X redis.url=unix:///not/there.sock") == 1);
    cr_expect(says(err, "/not/there.sock"), "%s", err);
}

Test(cli, settings_reach_the_worker_and_the_replies)
{
    start_worker();

    cr_expect(shell("$S settings set local timeout=77 --wait 120s --author me") == 0, "%s", err);
    cr_expect(eq(str, out, "version 2\n"));
    cr_expect(says(err, "1 worker has applied it."), "%s", err);
    cr_expect(shell("$S run hello.py --arg name=a --arg count=1 --json") == 0, "%s", err);
    json_auto_t *reply = json_loads(out, 0, NULL);
    cr_expect(json_integer_value(json_object_get(reply, "settings_version")) == 2, "%s", out);
    cr_expect(shell("$S settings get") == 0 && says(out, "me\n"), "%s", out);
    cr_expect(shell("$S settings set local timeout=0") == 1 && says(err, "timeout"), "%s", err);
    cr_expect(shell("$S settings test") == 0 && says(out, "PASSED"), "%s%s", out, err);
    cr_expect(shell("$S providers") == 0 && says(out, "in force on 1 of 1 worker"), "%s", out);
}

static bool refusal_is_shown(void *arg)
{
    (void)arg;
    return shell("$S workers") == 0 && says(out, "settings were not applied: ");
}

Test(cli, workers_tell_which_change_was_refused)
{
    start_worker();
    cr_assert(shell("$S run hello.py --arg name=a --arg count=1") == 0, "%s", err);

    free(sp_stage_redis(s, "HSET %s:settings sandbox.local {}", s->prefix));

    sp_stage_until(refusal_is_shown, NULL, 120000, "the refusal in the list of workers");
    cr_expect(says(out, "isolation"), "%s", out);
    cr_expect(shell("$S run hello.py --arg name=a --arg count=1") == 0, "the old ones hold: %s",
              err);
}

Test(cli, one_of_two_imports_if_absent_wins)
{
    cr_expect(shell("echo '{\"sandbox.provider_type\":\"local\",\"sandbox.local\":"
                    "{\"isolation\":\"none\"}}' >all.json; for i in 1 2 3 4; do "
                    "$S settings import --if-absent all.json & done; wait") == 0,
              "%s", err);

    cr_expect(shell("$S settings get --json") == 0);
    json_auto_t *document = json_loads(out, 0, NULL);
    cr_expect(json_integer_value(json_object_get(document, "version")) == 1, "%s", out);
}

/* The word behind "position": of a line of `dlq list --json`. */
static void read_position(char *position, size_t size)
{
    const char *begin = strstr(out, "\"position\": \"");
    cr_assert(begin != NULL, "%s", out);
    begin += strlen("\"position\": \"");
    snprintf(position, size, "%.*s", (int)strcspn(begin, "\""), begin);
}

Test(cli, dead_letters_are_listed_shown_and_sent_again)
{
    char position[200], line[400];
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);
    cr_expect(eq(int, shell("$S dlq list"), 0), "%s", err);
    cr_expect(says(out, "No dead letter"), "%s", out);
    const struct sp_stage_header id = {.name = "sandpiper_request_id", .value = "broken"};
    sp_stage_send(s, -1, "k", "no json at all", &id, 1);
    cr_assert(sp_stage_wait(s, 2, 120000), "the reply and the dead letter");

    cr_expect(eq(int, shell("$S dlq list"), 0), "%s", err);
    cr_expect(says(out, "broken") && says(out, "expected a JSON object"), "%s", out);
    cr_expect(eq(int, shell("$S dlq list --json --id broken --since 1h"), 0));
    read_position(position, sizeof(position));
    cr_expect(eq(int, shell("$S dlq list --json --id other"), 0));
    cr_expect(not(says(out, "position")), "%s", out);

    snprintf(line, sizeof(line), "$S dlq show %s", position);
    cr_expect(eq(int, shell(line), 0), "%s", err);
    cr_expect(says(out, "kafka_dlt-original-topic") && !says(out, "no json at all"), "%s", out);
    snprintf(line, sizeof(line), "$S dlq show --value %s", position);
    cr_expect(eq(int, shell(line), 0), "%s", err);
    cr_expect(says(out, "no json at all"), "%s", out);

    snprintf(line, sizeof(line), "$S dlq replay --dry-run %s", position);
    cr_expect(eq(int, shell(line), 0), "%s", err);
    cr_expect(eq(sz, sp_stage_count(s, "broken"), 1));
    snprintf(line, sizeof(line), "$S dlq replay %s", position);
    cr_expect(eq(int, shell(line), 0), "%s", err);
    cr_expect(says(out, "1 sent again, 0 failed"), "%s", out);
    cr_assert(sp_stage_wait(s, 4, 120000), "it is answered and dead again");
    cr_expect(eq(int, shell("$S dlq list --json"), 0));
    cr_expect(says(out, "\"replays\": 1"), "%s", out);
}

/* Anybody may have written it. */
Test(cli, a_hostile_dead_letter_is_shown_as_text)
{
    cr_assert(not(rd_kafka_producev(
        s->producer, RD_KAFKA_V_TOPIC(s->dlq), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_VALUE("{}", 2), RD_KAFKA_V_HEADER("sandpiper_dlq_reason", "\xff\x1b[2Jwhy", 8),
        RD_KAFKA_V_HEADER("sandpiper_dlq_value", "mine", 4), RD_KAFKA_V_END)));
    sp_stage_flush(s);

    cr_expect(eq(int, shell("$S dlq list"), 0), "%s", err);
    cr_expect(says(out, "?[2Jwhy") && !strchr(out, '\x1b'), "%s", out);
    cr_expect(eq(int, shell("$S dlq list --json --reason why"), 0), "%s", err);
    cr_expect(says(out, "\"value_dropped\": false"), "%s", out);
    cr_expect(eq(int, shell("$S dlq replay --all"), 1));
    cr_expect(says(err, "queue.request_topics"), "%s", err);
}

Test(cli, a_wrong_use_of_dlq_is_told)
{
    cr_expect(eq(int, shell("$S dlq replay"), 2));
    cr_expect(says(err, "--all"), "%s", err);
    cr_expect(eq(int, shell("$S dlq show nowhere/0/5"), 1));
    cr_expect(says(err, "dlq list"), "%s", err);
    cr_expect(eq(int, shell("$S dlq list --topic no-such-topic"), 1));
    cr_expect(says(err, "no-such-topic"), "%s", err);
    cr_expect(eq(int, shell("$S dlq list --topic $(printf %0600d 7)"), 1));
    cr_expect(says(err, "topic \"000"), "%s", err);
}
