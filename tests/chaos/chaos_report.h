/*
 * What a case came to: one line for each, and one for all of them. The outcomes cross from the
 * processes of the cases to that of the summary through a file.
 */
#pragma once

#include "tests/chaos/checker.h"

/* In place of a limit. */
#define CHAOS_ANY (-1)     /* none */
#define CHAOS_CUT (-2)     /* the number of runs cut */
#define CHAOS_IN_HAND (-3) /* the number of jobs that can have been in hand */

struct chaos_outcome {
    char name[32];
    bool passed, too_many[CHECKER_COUNT];
    uint64_t seed;
    int64_t seconds;
    struct checker_numbers numbers;
};

/* Fills passed and too_many. most: 0 allows no fault, and is no limit of what is none. */
void chaos_report_judge(struct chaos_outcome *outcome, const int64_t most[CHECKER_COUNT]);
/* "name: passed, seed 7, 31 s: jobs=50 lost=0 re-run=2(!) ..."; the caller frees. NULL: no memory.
 * Numbers that are 0 and in order are left out, save jobs, lost, re-run, doubled, reordered. */
char *chaos_report_line(const struct chaos_outcome *outcome);
/* Prints the line and adds the outcome to the file. */
void chaos_report_add(const char *path, const struct chaos_outcome *outcome);
/* Prints the sums; false: not all of n cases passed, or are there at all. */
bool chaos_report_sum(const char *path, size_t n);
