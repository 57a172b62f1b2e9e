/* The table of cancellations: one thread that fills and clears it, executors that ask. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "worker/cancels.h"

enum { ROUNDS = 20000, IDS = 64, ASKERS = 3 };

static struct sp_cancels *cancels;
static atomic_bool ended;

static void name(char id[16], int i)
{
    (void)snprintf(id, 16, "job-%d", i % IDS);
}

static void *ask(void *arg)
{
    size_t *found = arg;
    char id[16];
    for (int i = 0; !atomic_load(&ended); i++) {
        name(id, i);
        *found += sp_cancels_has(cancels, id);
        *found += sp_cancels_count(cancels) > IDS;
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[ASKERS];
    size_t found[ASKERS] = {0};
    char id[16], due[SP_CANCEL_ID_SIZE];
    cancels = sp_cancels_new(IDS / 2);
    for (int i = 0; i < ASKERS; i++)
        pthread_create(&threads[i], NULL, ask, &found[i]);
    for (int i = 0; i < ROUNDS; i++) {
        name(id, i);
        if (sp_cancels_put(cancels, id, sp_wall_ms() + (i % 3 - 1) * 100000, NULL))
            return 1;
        name(id, i * 7);
        if (i % 2)
            sp_cancels_remove(cancels, id);
        (void)sp_cancels_expire(cancels, due);
    }
    atomic_store(&ended, true);
    for (int i = 0; i < ASKERS; i++)
        pthread_join(threads[i], NULL);
    sp_cancels_free(cancels);
    puts("ok");
    return 0;
}
