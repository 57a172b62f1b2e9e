/*
 * How a command changes the settings (DESIGN.md 3): a record on the control topic with the whole
 * document first, then the same script in Redis that every worker runs.
 */
#pragma once

#include "cli/admin.h"
#include "queue/control.h"
#include "queue/topic.h"

/* Zero is empty; the caller clears it also after a failure. */
struct sp_publisher {
    struct sp_admin *admin; /* borrowed */
    struct sp_topics topics;
    struct sp_queue_property *kafka; /* borrows from admin's configuration */
    struct sp_control_log *log;
    char plain_secret[96]; /* the first secret of the record sent that is no reference; "": none */
};

/* Connects in the background. */
SP_MUST_CHECK enum sp_code sp_publisher_open(struct sp_admin *admin, struct sp_publisher *out,
                                             struct sp_error *err);
void sp_publisher_clear(struct sp_publisher *p);
SP_AUTO_CLEAR(struct sp_publisher, sp_publisher_clear)

/*
 * Reads the topic to its end, brings Redis up to its last valid settings record, and reads
 * admin->doc anew: what a change has to be made from, whether a worker runs or not.
 * SP_E_UNAVAILABLE: Kafka or Redis; SP_E_INVALID: there is no topic and none can be made, or it may
 * not be read; SP_E_DENIED: Redis. Blocks: 15 s, and Redis.
 */
SP_MUST_CHECK enum sp_code sp_publisher_sync(struct sp_publisher *p, struct sp_error *err);

/*
 * Publishes the change of admin->doc and applies it. *stored is SP_STORED_NOT where another
 * administrator's record came between: sync and make it again. Where Redis fails after the record
 * is written, workers apply it, and the text says so. Blocks: 15 s until the record is there, 15 s
 * more until it is read back, and Redis.
 */
SP_MUST_CHECK enum sp_code sp_publisher_send(struct sp_publisher *p, const struct sp_change *change,
                                             int64_t *version, enum sp_stored *stored,
                                             struct sp_error *err);
