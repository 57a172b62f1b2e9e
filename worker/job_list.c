#include "worker/job_list.h"

#include "worker/job.h"

void sp_jobs_add(struct sp_job_list *list, struct sp_job *job)
{
    job->next = NULL;
    *(list->first ? &list->last->next : &list->first) = job;
    list->last = job;
}

struct sp_job *sp_jobs_take(struct sp_job_list *list)
{
    struct sp_job *job = list->first;
    if (job)
        list->first = job->next;
    return job;
}

size_t sp_jobs_move(struct sp_job_list *from, sp_job_wanted_fn wanted, void *ctx,
                    struct sp_job_list *to)
{
    struct sp_job_list stay = {0};
    struct sp_job *job = NULL;
    size_t n = 0;
    while ((job = sp_jobs_take(from))) {
        bool goes = wanted(ctx, job);
        sp_jobs_add(goes ? to : &stay, job);
        n += goes;
    }
    *from = stay;
    return n;
}
