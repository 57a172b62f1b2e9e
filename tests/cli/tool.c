#include "tests/cli/tool.h"

#include <stdlib.h>

#include "cli/commands.h"

static const struct sp_command *const commands[] = {
    &sp_command_run,      &sp_command_submit,    &sp_command_wait,    &sp_command_cancel,
    &sp_command_settings, &sp_command_providers, &sp_command_workers, NULL,
};
static const struct sp_command root = {.name = "sandpiper", .summary = "", .commands = commands};

struct tool tool_call(const char *const *words)
{
    struct tool tool = {0};
    char *argv[32] = {(char *)"sandpiper"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    FILE *out = open_memstream(&tool.out, &tool.out_len);
    FILE *err = open_memstream(&tool.err, &tool.err_len);
    tool.code = sp_command_main(&root, argc, argv, out, err);
    fclose(out);
    fclose(err);
    return tool;
}

void tool_clear(struct tool *tool)
{
    free(tool->out);
    free(tool->err);
}
