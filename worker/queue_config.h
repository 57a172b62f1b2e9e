/* The configuration's [queue] and [kafka] sections in the form that queue/ takes, which knows no
 * settings. */
#pragma once

#include "queue/queue.h"
#include "settings/config.h"

/* As sp_topics_init(). */
SP_MUST_CHECK enum sp_code sp_queue_config_topics(const struct sp_config *config,
                                                  struct sp_topics *out, struct sp_error *err);
/* The config->kafka.n properties; the array is the caller's to free, the texts are borrowed from
 * config. NULL without memory. */
struct sp_queue_property *sp_queue_config_properties(const struct sp_config *config);
