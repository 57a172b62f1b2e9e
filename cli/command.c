/* Command lines: finding the command, reading its options, printing its help. */
#include "cli/command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"

static const struct sp_option help_option = {
    .name = "help",
    .letter = 'h',
    .type = SP_OPTION_FLAG,
    .help = "show this help",
};

/* How many letters have to change to make one word of the other; words longer than the table are
 * never near. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    size_t row[LONGEST + 1];
    size_t len_a = strlen(a);
    size_t len_b = strlen(b);
    if (len_a > LONGEST || len_b > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[len_b];
}

/* Near enough to be meant. */
static bool resembles(const char *typed, const char *name)
{
    size_t len = strlen(typed);
    return distance(typed, name) <= (len < 5 ? 1 : 2) ||
           (len >= 2 && strncmp(typed, name, len) == 0);
}

static const char *suggest_option(const struct sp_command *command, const char *typed)
{
    for (size_t i = 0; i < command->n_options; i++) {
        if (resembles(typed, command->options[i].name))
            return command->options[i].name;
    }
    return NULL;
}

static const char *suggest_command(const struct sp_command *group, const char *typed)
{
    for (const struct sp_command *const *c = group->commands; *c; c++) {
        if (resembles(typed, (*c)->name))
            return (*c)->name;
    }
    return NULL;
}

static void print_option(FILE *out, const struct sp_option *option)
{
    char left[64];
    char letter[8] = "    ";
    if (option->letter)
        (void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    (void)snprintf(left, sizeof(left), "  %s--%s%s%s", letter, option->name,
                   option->value ? " " : "", option->value ? option->value : "");
    if (strlen(left) > 28) {
        fprintf(out, "%s\n%-29s%s\n", left, "", option->help);
    } else {
        fprintf(out, "%-29s%s\n", left, option->help);
    }
}

static void print_command_help(const struct sp_command *command, const char *path, FILE *out)
{
    fprintf(out, "Usage: %s [options]%s%s\n\n%s\n", path, *command->operands ? " " : "",
            command->operands, command->summary);
    if (command->details)
        fprintf(out, "\n%s\n", command->details);
    fputs("\nOptions:\n", out);
    for (size_t i = 0; i < command->n_options; i++)
        print_option(out, &command->options[i]);
    print_option(out, &help_option);
}

static void print_group_help(const struct sp_command *group, const char *path, FILE *out)
{
    fprintf(out, "Usage: %s COMMAND [options] ...\n\n%s\n\nCommands:\n", path, group->summary);
    for (const struct sp_command *const *c = group->commands; *c; c++)
        fprintf(out, "  %-12s%s\n", (*c)->name, (*c)->summary);
    fprintf(out, "\n%s%s'%s COMMAND --help' tells more about one.\n",
            group->details ? group->details : "", group->details ? "\n\n" : "", path);
}

static const struct sp_option *find_option(const struct sp_command *command, const char *name,
                                           size_t len)
{
    for (size_t i = 0; i < command->n_options; i++) {
        if (strlen(command->options[i].name) == len &&
            strncmp(command->options[i].name, name, len) == 0)
            return &command->options[i];
    }
    return len == 4 && strncmp(name, help_option.name, len) == 0 ? &help_option : NULL;
}

static const struct sp_option *find_letter(const struct sp_command *command, char letter)
{
    for (size_t i = 0; i < command->n_options; i++) {
        if (command->options[i].letter == letter)
            return &command->options[i];
    }
    return letter == help_option.letter ? &help_option : NULL;
}

static enum sp_code add_item(struct sp_list *list, const char *value, struct sp_error *err)
{
    const char **more = sp_grow(list->items, list->n, sizeof(*list->items));
    if (!more)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    list->items = more;
    list->items[list->n++] = value;
    return SP_OK;
}

static enum sp_code store(const struct sp_option *option, void *options, const char *value,
                          struct sp_error *err)
{
    char *at = (char *)options + option->offset;
    switch (option->type) {
    case SP_OPTION_FLAG:
        *(bool *)at = true;
        return SP_OK;
    case SP_OPTION_TEXT:
        *(const char **)(void *)at = value;
        return SP_OK;
    case SP_OPTION_LIST:
        return add_item((struct sp_list *)(void *)at, value, err);
    case SP_OPTION_INT:
        if (sp_parse_i64(value, 0, INT64_MAX, (int64_t *)(void *)at))
            return SP_OK;
        return sp_error_set(err, SP_E_INVALID, "--%s: expected a whole number, not \"%s\"",
                            option->name, value);
    case SP_OPTION_DURATION:
        if (sp_parse_duration_ms(value, (int64_t *)(void *)at))
            return SP_OK;
        return sp_error_set(err, SP_E_INVALID,
                            "--%s: expected a time such as 30s, 500ms or 1m30s, not \"%s\"",
                            option->name, value);
    }
    return SP_E_INTERNAL;
}

/* Where reading stands. */
struct cursor {
    int argc, at;
    char **argv;
};

/* attached: the value as part of the same word; NULL: the next word. */
static enum sp_code take_option(const struct sp_option *option, struct cursor *cursor,
                                const char *attached, struct sp_call *call, bool *help,
                                struct sp_error *err)
{
    if (option == &help_option) {
        *help = true;
        return SP_OK;
    }
    if (option->type == SP_OPTION_FLAG && attached)
        return sp_error_set(err, SP_E_INVALID, "--%s takes no value", option->name);
    if (option->type != SP_OPTION_FLAG && !attached) {
        if (cursor->at + 1 >= cursor->argc) {
            return sp_error_set(err, SP_E_INVALID, "--%s needs a value: %s", option->name,
                                option->value);
        }
        attached = cursor->argv[++cursor->at];
    }
    return store(option, call->options, attached, err);
}

static enum sp_code read_long(const struct sp_command *command, struct cursor *cursor,
                              struct sp_call *call, bool *help, struct sp_error *err)
{
    const char *name = cursor->argv[cursor->at] + 2;
    size_t len = strcspn(name, "=");
    const struct sp_option *option = find_option(command, name, len);
    if (option)
        return take_option(option, cursor, name[len] ? name + len + 1 : NULL, call, help, err);
    char typed[64];
    (void)snprintf(typed, sizeof(typed), "%.*s", (int)(len < 60 ? len : 60), name);
    const char *near = suggest_option(command, typed);
    return sp_error_set(err, SP_E_INVALID, "unknown option --%s%s%s%s", typed,
                        near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "");
}

static enum sp_code read_letters(const struct sp_command *command, struct cursor *cursor,
                                 struct sp_call *call, bool *help, struct sp_error *err)
{
    const char *word = cursor->argv[cursor->at];
    const struct sp_option *option = find_letter(command, word[1]);
    if (!option)
        return sp_error_set(err, SP_E_INVALID, "unknown option -%c", word[1]);
    return take_option(option, cursor, word[2] ? word + 2 : NULL, call, help, err);
}

static enum sp_code check_operands(const struct sp_command *command, const struct sp_call *call,
                                   struct sp_error *err)
{
    if (call->n_operands < command->min_operands)
        return sp_error_set(err, SP_E_INVALID, "expected %s", command->operands);
    if (call->n_operands > command->max_operands) {
        return sp_error_set(err, SP_E_INVALID, "\"%s\" is one word too many",
                            call->operands[command->max_operands]);
    }
    return SP_OK;
}

enum sp_code sp_call_parse(const struct sp_command *command, int argc, char **argv,
                           struct sp_call *call, bool *help, struct sp_error *err)
{
    call->command = command;
    call->options = calloc(1, command->options_size);
    call->operands = calloc((size_t)argc + 1, sizeof(*call->operands));
    if (!call->options || !call->operands)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    bool only_operands = false;
    enum sp_code rc = SP_OK;
    for (struct cursor c = {argc, 1, argv}; !rc && c.at < argc; c.at++) {
        const char *word = argv[c.at];
        if (only_operands || word[0] != '-' || word[1] == '\0') {
            call->operands[call->n_operands++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (word[1] == '-') {
            rc = read_long(command, &c, call, help, err);
        } else {
            rc = read_letters(command, &c, call, help, err);
        }
    }
    return rc || *help ? rc : check_operands(command, call, err);
}

void sp_call_clear(struct sp_call *call)
{
    char *options = call->options;
    for (size_t i = 0; options && i < call->command->n_options; i++) {
        const struct sp_option *option = &call->command->options[i];
        if (option->type == SP_OPTION_LIST)
            free(((struct sp_list *)(void *)(options + option->offset))->items);
    }
    free(options);
    free(call->operands);
    call->options = NULL;
    call->operands = NULL;
}

int sp_call_fail(const struct sp_call *call, const struct sp_error *error)
{
    fprintf(call->err, "%s: %s\n", call->path, error->msg);
    return SP_EXIT_FAILURE;
}

int sp_call_misuse(const struct sp_call *call, const struct sp_error *error)
{
    fprintf(call->err, "%s: %s\nTry '%s --help'.\n", call->path, error->msg, call->path);
    return SP_EXIT_USAGE;
}

void sp_call_print_json(const struct sp_call *call, const json_t *value)
{
    (void)json_dumpf(value, call->out, JSON_INDENT(2));
    (void)fputc('\n', call->out);
}

enum sp_code sp_call_config(const struct sp_call *call, struct sp_config **out,
                            struct sp_error *err)
{
    const struct sp_common_options *common = call->options;
    return sp_config_load(common->config, common->set.items, common->set.n, out, err);
}

static int call_command(const struct sp_command *command, const char *path, int argc, char **argv,
                        FILE *out, FILE *err_out)
{
    struct sp_call call = {.out = out, .err = err_out};
    struct sp_error err = {0};
    bool help = false;
    int code = SP_EXIT_OK;
    (void)snprintf(call.path, sizeof(call.path), "%s", path);
    if (sp_call_parse(command, argc, argv, &call, &help, &err)) {
        code = sp_call_misuse(&call, &err);
    } else if (help) {
        print_command_help(command, path, out);
    } else {
        code = command->run(&call);
    }
    sp_call_clear(&call);
    return code;
}

static int unknown_command(const struct sp_command *group, const char *path, const char *typed,
                           FILE *err_out)
{
    const char *near = suggest_command(group, typed);
    fprintf(err_out, "%s: unknown %s \"%s\"%s%s%s\nTry '%s --help'.\n", path,
            *typed == '-' ? "option" : "command", typed, near ? " (did you mean " : "",
            near ? near : "", near ? "?)" : "", path);
    return SP_EXIT_USAGE;
}

static const struct sp_command *find_command(const struct sp_command *group, const char *name)
{
    for (const struct sp_command *const *c = group->commands; *c; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}

int sp_command_main(const struct sp_command *root, int argc, char **argv, FILE *out, FILE *err)
{
    char path[64];
    size_t len = (size_t)snprintf(path, sizeof(path), "%s", root->name);
    const struct sp_command *command = root;
    while (command->commands) {
        if (argc < 2) {
            print_group_help(command, path, err);
            return SP_EXIT_USAGE;
        }
        argc--;
        argv++;
        if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
            print_group_help(command, path, out);
            return SP_EXIT_OK;
        }
        const struct sp_command *next = find_command(command, argv[0]);
        if (!next)
            return unknown_command(command, path, argv[0], err);
        command = next;
        len += (size_t)snprintf(path + len, sizeof(path) - len, " %s", command->name);
    }
    return call_command(command, path, argc, argv, out, err);
}
