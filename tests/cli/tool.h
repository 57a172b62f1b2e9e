/* Calls a command as main() does and keeps what it printed. */
#pragma once

#include <stdio.h>

#include "cli/command.h"

struct tool {
    char *out, *err;
    size_t out_len, err_len;
    int code;
};

/* words: NULL-terminated, without "sandpiper"; "settings", "get", ... */
struct tool tool_call(const char *const *words);
void tool_clear(struct tool *tool);

#define TOOL(...) tool_call((const char *const[]){__VA_ARGS__, NULL})
