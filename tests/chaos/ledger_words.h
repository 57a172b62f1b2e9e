/*
 * What a job of the chaos cases does: its code is a few words, carried out in turn, not Python.
 *
 *   sleep MS      waits; ends early when the run is cancelled or its time is up
 *   flood BYTES   prints so many bytes
 *   exit CODE     ends with it
 *   kill-worker   SIGKILL to the process it runs in
 */
#pragma once

#include "providers/provider.h"

/* SP_OK: *out tells how the program ended; SP_E_INVALID names the word that is none, and the words
 * before it have been carried out. */
SP_MUST_CHECK enum sp_code ledger_words_run(const char *code, const struct sp_run *run,
                                            struct sp_result *out, struct sp_error *err);
