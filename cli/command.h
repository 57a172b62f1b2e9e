/*
 * What every subcommand is: one row with its options. The row alone drives parsing, --help and the
 * checks of the command line, so that all commands behave alike.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "settings/config.h"

/* Exit codes; `run` and `wait` give the program's own otherwise, and 128 + n for a signal n. */
enum sp_exit {
    SP_EXIT_OK = 0,
    SP_EXIT_FAILURE = 1,
    SP_EXIT_USAGE = 2,
    SP_EXIT_TIMEOUT = 124,    /* the program's time passed */
    SP_EXIT_NO_PROGRAM = 125, /* there is a reply, but no program ended by itself */
    SP_EXIT_SIGNAL = 128,
};

/* An option that may be given several times. The items are borrowed from argv. */
struct sp_list {
    const char **items;
    size_t n;
};

enum sp_option_type {
    SP_OPTION_FLAG,
    SP_OPTION_TEXT,
    SP_OPTION_LIST,
    SP_OPTION_INT,      /* not negative */
    SP_OPTION_DURATION, /* int64_t milliseconds; "30", "30s", "1m30s" */
};

struct sp_option {
    const char *name; /* without the dashes */
    char letter;      /* '\0': none */
    enum sp_option_type type;
    size_t offset;     /* in the command's struct of options */
    const char *value; /* what stands for the value in the help; NULL for a flag */
    const char *help;  /* one line */
};

/* A row that disagrees with its member about the type does not compile. */
#define SP_OPTION_(owner, member, kind, want, text, ...)                                           \
    {                                                                                              \
        .type = (kind), .offset = SP_OFFSET_OF(owner, member, want), .name = (text), __VA_ARGS__   \
    }
#define SP_FLAG_OPTION(owner, member, text, ...)                                                   \
    SP_OPTION_(owner, member, SP_OPTION_FLAG, bool, text, __VA_ARGS__)
#define SP_TEXT_OPTION(owner, member, text, ...)                                                   \
    SP_OPTION_(owner, member, SP_OPTION_TEXT, const char *, text, __VA_ARGS__)
#define SP_LIST_OPTION(owner, member, text, ...)                                                   \
    SP_OPTION_(owner, member, SP_OPTION_LIST, struct sp_list, text, __VA_ARGS__)
#define SP_INT_OPTION(owner, member, text, ...)                                                    \
    SP_OPTION_(owner, member, SP_OPTION_INT, int64_t, text, __VA_ARGS__)
#define SP_DURATION_OPTION(owner, member, text, ...)                                               \
    SP_OPTION_(owner, member, SP_OPTION_DURATION, int64_t, text, __VA_ARGS__)

/* The first member, `common`, of every command's struct of options. */
struct sp_common_options {
    const char *config;
    struct sp_list set;
    bool json;
};
#define SP_CONFIG_OPTIONS(owner)                                                                   \
    SP_TEXT_OPTION(owner, common.config, "config", .letter = 'c', .value = "FILE",                 \
                   .help = "configuration (else $SANDPIPER_CONF, conf/sandpiper.conf, /etc/...)"), \
        SP_LIST_OPTION(owner, common.set, "set", .letter = 'X', .value = "SECTION.KEY=VALUE",      \
                       .help = "override one key of the configuration; repeatable")
#define SP_JSON_OPTION(owner)                                                                      \
    SP_FLAG_OPTION(owner, common.json, "json", .help = "print JSON, for programs to read")

struct sp_call;

struct sp_command {
    const char *name;
    const char *operands; /* in the usage line: "FILE"; "" for none */
    const char *summary;  /* one line */
    const char *details;  /* further text of --help; NULL: none */
    size_t min_operands, max_operands;
    const struct sp_option *options;
    size_t n_options, options_size;
    int (*run)(const struct sp_call *call);   /* returns the exit code */
    const struct sp_command *const *commands; /* a group instead: NULL-terminated; run is NULL */
};

/* One call of a command. Output goes to out and err, so that tests can read it. */
struct sp_call {
    const struct sp_command *command;
    char path[64]; /* "sandpiper settings set" */
    void *options; /* the command's struct of options */
    const char **operands;
    size_t n_operands;
    FILE *out, *err;
};

/* Finds the command that argv names below `root`, parses, calls it, returns the exit code. */
int sp_command_main(const struct sp_command *root, int argc, char **argv, FILE *out, FILE *err);

/* Print "<path>: <what>" and return the exit code: a failure, or a wrong use with a hint at --help.
 */
int sp_call_fail(const struct sp_call *call, const struct sp_error *error);
int sp_call_misuse(const struct sp_call *call, const struct sp_error *error);
/* What --json prints: indented, with a newline. */
void sp_call_print_json(const struct sp_call *call, const json_t *value);
/* The configuration that -c and -X name. */
SP_MUST_CHECK enum sp_code sp_call_config(const struct sp_call *call, struct sp_config **out,
                                          struct sp_error *err);

/* For the parser's tests: fills the zeroed `call` (options of its own, operands) from argv[1..].
 * *help: --help is among them. sp_call_clear() frees. SP_E_INVALID: wrong use. */
SP_MUST_CHECK enum sp_code sp_call_parse(const struct sp_command *command, int argc, char **argv,
                                         struct sp_call *call, bool *help, struct sp_error *err);
void sp_call_clear(struct sp_call *call);
