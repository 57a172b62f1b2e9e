/* Jobs in a row, as they wait for an executor, for another try, or for the one before them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sp_job;

/* Linked by `next`, so a job is in one list at a time. Zero is empty; a copy takes its place. */
struct sp_job_list {
    struct sp_job *first, *last; /* last: of no meaning where there is no first */
};

typedef bool (*sp_job_wanted_fn)(void *ctx, const struct sp_job *job);

void sp_jobs_add(struct sp_job_list *list, struct sp_job *job);
/* Takes the first one out; NULL: there is none. */
struct sp_job *sp_jobs_take(struct sp_job_list *list);
/* Moves those that are wanted to the end of `to`; all keep their order. How many. */
size_t sp_jobs_move(struct sp_job_list *from, sp_job_wanted_fn wanted, void *ctx,
                    struct sp_job_list *to);
