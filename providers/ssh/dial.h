/* A TCP connection to a host by name or address. */
#pragma once

#include "providers/ssh/link.h"

/*
 * Looks the name up and tries its addresses in order, each with its share of the time. *fd does not
 * block and is closed on exec. SP_E_UNAVAILABLE, SP_E_TIMEOUT, SP_E_CANCELLED, SP_E_NOMEM. Thread:
 * any. A look-up that is given up ends by itself later, in a thread of its own.
 */
SP_MUST_CHECK enum sp_code sp_ssh_dial(const char *host, int64_t port, const char *name,
                                       const struct sp_ssh_wait *wait, int *fd,
                                       struct sp_error *err);
