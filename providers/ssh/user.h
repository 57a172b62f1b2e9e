/* Lists of waiting threads, under the connection's lock. */
#pragma once

#include <sys/eventfd.h>

#include "providers/ssh/conn.h"

static inline void sp_ssh_wake(const struct sp_ssh_user *user)
{
    eventfd_write(user->wake_fd, 1);
}

static inline void sp_ssh_wake_all(const struct sp_ssh_user *list)
{
    for (; list; list = list->next)
        sp_ssh_wake(list);
}

static inline void sp_ssh_append(struct sp_ssh_user **list, struct sp_ssh_user *user)
{
    while (*list)
        list = &(*list)->next;
    user->next = NULL;
    *list = user;
}

static inline void sp_ssh_take_out(struct sp_ssh_user **list, const struct sp_ssh_user *user)
{
    while (*list && *list != user)
        list = &(*list)->next;
    if (*list)
        *list = user->next;
}
