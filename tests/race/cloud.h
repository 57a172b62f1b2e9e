/*
 * Many threads on one provider of sandboxes, some made ahead, with its service in memory: the pool,
 * leases, sweeps, and the close that ends what is left. Every fifth making is refused.
 */
#pragma once

#include "providers/provider.h"

/* The first row that has the method and whose path is part of the target counts. What is made and
 * ended is in the rows of /sandboxes: a sandbox is known by its label without dashes. */
struct cloud_answer {
    const char *method, *path;
    int status;
    const char *body;
    enum { CLOUD_TEXT, CLOUD_MAKE, CLOUD_END, CLOUD_LIST } kind;
};

struct cloud {
    const struct sp_provider_ops *ops;
    const char *settings, *urls[2]; /* an object; its members for addresses */
    const struct cloud_answer *answers;
    size_t n_answers;
    int exit_code; /* of a run, and what it prints */
    const char *out;
};

/* 0: every run ended as the service says, every sandbox is gone, and no lease is left. */
int cloud_race(const struct cloud *cloud);
