#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "tests/support.h"

struct options {
    struct sp_common_options common;
    const char *text;
    struct sp_list list;
    int64_t number, time;
    bool flag;
};

static const struct sp_option table[] = {
    SP_TEXT_OPTION(struct options, text, "text", .letter = 't', .value = "TEXT", .help = "a text"),
    SP_LIST_OPTION(struct options, list, "list", .letter = 'l', .value = "ITEM", .help = "a list"),
    SP_INT_OPTION(struct options, number, "number", .value = "N", .help = "a number"),
    SP_DURATION_OPTION(struct options, time, "time", .value = "TIME", .help = "a time"),
    SP_FLAG_OPTION(struct options, flag, "flag", .letter = 'f', .help = "a flag"),
    SP_CONFIG_OPTIONS(struct options),
    SP_JSON_OPTION(struct options),
};

static int print_operands(const struct sp_call *call)
{
    for (size_t i = 0; i < call->n_operands; i++)
        fprintf(call->out, "%s\n", call->operands[i]);
    return 7;
}

static const struct sp_command command = {
    .name = "demo",
    .operands = "FILE",
    .summary = "Shows what options do.",
    .details = "More about it.",
    .min_operands = 1,
    .max_operands = 2,
    .options = table,
    .n_options = SP_COUNT(table),
    .options_size = sizeof(struct options),
    .run = print_operands,
};
static const struct sp_command *const group_table[] = {&command, NULL};
static const struct sp_command group = {
    .name = "group", .summary = "A group.", .commands = group_table};
static const struct sp_command *const root_table[] = {&group, &command, NULL};
static const struct sp_command root = {
    .name = "tool", .summary = "A tool.", .commands = root_table};

static char out[4096], errors[4096];

static int call(int argc, const char **argv)
{
    FILE *o = fmemopen(out, sizeof(out), "w");
    FILE *e = fmemopen(errors, sizeof(errors), "w");
    int code = sp_command_main(&root, argc, (char **)argv, o, e);
    fclose(o);
    fclose(e);
    return code;
}
#define CALL(...)                                                                                  \
    call((int)SP_COUNT(((const char *[]){__VA_ARGS__})), (const char *[]){__VA_ARGS__})

Test(command, every_kind_of_option_is_read_wherever_it_stands)
{
    const char *argv[] = {"demo", "-t",       "one", "a.py",   "--list=x", "-ly",
                          "-f",   "--number", "12",  "--time", "1m30s",    "--json"};
    struct sp_call parsed = {0};
    bool help = false;
    struct sp_error err = {0};

    enum sp_code rc =
        sp_call_parse(&command, (int)SP_COUNT(argv), (char **)argv, &parsed, &help, &err);

    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
    const struct options *o = parsed.options;
    cr_expect(eq(str, (char *)o->text, "one"));
    cr_assert(eq(sz, o->list.n, 2));
    cr_expect(eq(str, (char *)o->list.items[0], "x"));
    cr_expect(eq(str, (char *)o->list.items[1], "y"));
    cr_expect(eq(i64, o->number, 12));
    cr_expect(eq(i64, o->time, 90000));
    cr_expect(o->flag);
    cr_expect(o->common.json);
    cr_assert(eq(sz, parsed.n_operands, 1));
    cr_expect(eq(str, (char *)parsed.operands[0], "a.py"));
    sp_call_clear(&parsed);
}

Test(command, after_two_dashes_everything_is_an_operand)
{
    cr_expect(eq(int, CALL("tool", "demo", "--", "--flag", "-"), 7));

    cr_expect(eq(str, out, "--flag\n-\n"));
}

static const struct {
    const char *words[5];
    const char *message;
} wrong[] = {
    {{"demo", "--txt", "x", "a"}, "tool demo: unknown option --txt (did you mean --text?)\n"},
    {{"demo", "--zebra", "a"}, "tool demo: unknown option --zebra\n"},
    {{"demo", "-z", "a"}, "tool demo: unknown option -z\n"},
    {{"demo", "a", "--text"}, "tool demo: --text needs a value: TEXT\n"},
    {{"demo", "--flag=yes", "a"}, "tool demo: --flag takes no value\n"},
    {{"demo", "--number", "many", "a"},
     "tool demo: --number: expected a whole number, not \"many\"\n"},
    {{"demo", "--time", "soon", "a"},
     "tool demo: --time: expected a time such as 30s, 500ms or 1m30s, not \"soon\"\n"},
    {{"demo"}, "tool demo: expected FILE\n"},
    {{"demo", "a", "b", "c"}, "tool demo: \"c\" is one word too many\n"},
    {{"dmeo"}, "tool: unknown command \"dmeo\"\n"},
    {{"dem"}, "tool: unknown command \"dem\" (did you mean demo?)\n"},
    {{"group", "demp"}, "tool group: unknown command \"demp\" (did you mean demo?)\n"},
    {{"--flag"}, "tool: unknown option \"--flag\"\n"},
};

SP_TABLE_TEST(command, wrong_use_is_named_and_exits_with_2, wrong, row)
{
    const char *argv[6] = {"tool"};
    int argc = 1;
    for (; argc < 6 && row->words[argc - 1]; argc++)
        argv[argc] = row->words[argc - 1];

    int code = call(argc, argv);

    cr_expect(eq(int, code, SP_EXIT_USAGE));
    cr_expect(eq(int, strncmp(errors, row->message, strlen(row->message)), 0), "%s", errors);
    cr_expect(ne(ptr, strstr(errors, "--help'."), NULL));
}

Test(command, help_comes_from_the_same_table)
{
    cr_expect(eq(int, CALL("tool", "demo", "--help"), SP_EXIT_OK));

    cr_expect(ne(ptr,
                 strstr(out, "Usage: tool demo [options] FILE\n\nShows what options do.\n"
                             "\nMore about it.\n"),
                 NULL));
    for (size_t i = 0; i < SP_COUNT(table); i++)
        cr_expect(ne(ptr, strstr(out, table[i].help), NULL), "%s", table[i].name);
    cr_expect(ne(ptr, strstr(out, "  -t, --text TEXT            a text\n"), NULL), "%s", out);
}

Test(command, a_group_lists_its_commands)
{
    cr_expect(eq(int, CALL("tool", "--help"), SP_EXIT_OK));
    cr_expect(ne(ptr, strstr(out, "  demo        Shows what options do.\n"), NULL), "%s", out);

    cr_expect(eq(int, CALL("tool", "group"), SP_EXIT_USAGE));
    cr_expect(ne(ptr, strstr(errors, "Usage: tool group COMMAND"), NULL), "%s", errors);
}
