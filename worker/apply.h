/* How a settings document becomes an open provider: the watcher's functions over the registry. */
#pragma once

#include "providers/provider.h"
#include "settings/watcher.h"

/* The context of sp_apply_ops. Zeroed but for the first two, which are borrowed. Used by the
 * settings thread only. */
struct sp_apply {
    const struct sp_host *host;
    int cancel_fd; /* readable: a check under way ends at once, and so does every later one; -1:
                      never */
    const struct sp_provider *swept;
};

/* Values are struct sp_provider. */
extern const struct sp_apply_ops sp_apply_ops;
