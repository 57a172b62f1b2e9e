/* Short calls of the far-end supervisor that run no program: what the machine can do, and what
 * earlier workers left there. */
#pragma once

#include "providers/ssh/link.h"
#include "providers/ssh/settings.h"

/*
 * SP_OK: a program of at least one language can run. SP_E_INVALID: the message names the setting,
 * or what the machine lacks; else as link.h says.
 */
SP_MUST_CHECK enum sp_code sp_ssh_probe(struct sp_ssh_pool *pool,
                                        const struct sp_ssh_settings *settings,
                                        const struct sp_ssh_wait *wait, struct sp_error *err);
/* Removes homes that are older, by the far machine's clock, and ends what still runs of them. */
SP_MUST_CHECK enum sp_code sp_ssh_sweep(struct sp_ssh_pool *pool,
                                        const struct sp_ssh_settings *settings, int minutes,
                                        const struct sp_ssh_wait *wait, struct sp_error *err);
