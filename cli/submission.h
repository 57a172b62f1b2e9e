/* A request as `run` and `submit` make it of their options: CONTRACT.md 2. */
#pragma once

#include "base/buf.h"
#include "cli/command.h"

struct sp_submission_options {
    struct sp_common_options common;
    const char *language, *args_json, *metadata, *reply_to, *id, *key;
    struct sp_list arg, arg_text, file;
    int64_t timeout, deadline, queue_ttl; /* ms; 0: none; the deadline counts from now */
    bool result_in_stdout, strict_result;
    const char *artifacts; /* run only */
    int64_t wait;          /* run only */
};

#define SP_SUBMISSION_OPTIONS(owner)                                                               \
    SP_TEXT_OPTION(owner, language, "language", .letter = 'l', .value = "NAME",                    \
                   .help = "python or javascript (else by the file's ending)"),                    \
        SP_LIST_OPTION(owner, arg, "arg", .letter = 'a', .value = "NAME=VALUE",                    \
                       .help = "argument of main: JSON if it reads as JSON, else text"),           \
        SP_LIST_OPTION(owner, arg_text, "arg-text", .value = "NAME=TEXT",                          \
                       .help = "argument of main, always text"),                                   \
        SP_TEXT_OPTION(owner, args_json, "args-json", .value = "FILE|{...}",                       \
                       .help = "arguments of main as one JSON object"),                            \
        SP_LIST_OPTION(owner, file, "file", .letter = 'f', .value = "PATH[=NAME]",                 \
                       .help = "input file for the program, under NAME"),                          \
        SP_DURATION_OPTION(owner, timeout, "timeout", .letter = 't', .value = "TIME",              \
                           .help = "longest run of the program (30s, 1m30s)"),                     \
        SP_DURATION_OPTION(owner, deadline, "deadline", .value = "TIME",                           \
                           .help = "all must be done this long from now"),                         \
        SP_DURATION_OPTION(owner, queue_ttl, "queue-ttl", .value = "TIME",                         \
                           .help = "the program must have begun this long from now"),              \
        SP_TEXT_OPTION(owner, reply_to, "reply-to", .value = "TOPIC",                              \
                       .help = "topic of the reply (else queue.reply_topic)"),                     \
        SP_TEXT_OPTION(owner, id, "id", .value = "ID", .help = "request id (else a new UUID)"),    \
        SP_TEXT_OPTION(owner, key, "key", .letter = 'k', .value = "KEY",                           \
                       .help = "key of the Kafka record (else none)"),                             \
        SP_FLAG_OPTION(owner, result_in_stdout, "result-in-stdout",                                \
                       .help = "the value also as the last line of the output"),                   \
        SP_FLAG_OPTION(owner, strict_result, "strict-result",                                      \
                       .help = "a main that returns undefined is an error"),                       \
        SP_TEXT_OPTION(owner, metadata, "metadata", .letter = 'm', .value = "JSON",                \
                       .help = "any JSON; comes back as `echo`")

/*
 * Appends the request's JSON for the program in `path` ("-": standard input); id is the request's.
 * Names and raw JSON go through as given. SP_E_INVALID names the option, or the file.
 */
SP_MUST_CHECK enum sp_code sp_submission_write(const struct sp_submission_options *options,
                                               const char *path, const char *id, struct sp_buf *out,
                                               struct sp_error *err);
