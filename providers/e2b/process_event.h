/* What the frames of process.Process/Start say (reference e2b 4.4), and the errors of Connect. */
#pragma once

#include "providers/e2b/connect.h"

enum sp_process_kind {
    SP_PROCESS_OTHER, /* keep-alive messages, and what we do not know */
    SP_PROCESS_START,
    SP_PROCESS_STDOUT,
    SP_PROCESS_STDERR,
    SP_PROCESS_END,       /* of the process */
    SP_PROCESS_STREAM_END /* of the stream: without an error */
};

struct sp_process_event {
    enum sp_process_kind kind;
    struct sp_buf data; /* STDOUT, STDERR: bytes of the program */
    int exit_code;      /* END: -1 for a signal */
    bool exited;        /* END: by itself */
    char status[64];    /* END: "exit status 3", "signal: killed" */
    bool refused;       /* an end of stream with an error that says that nothing was begun */
};
void sp_process_event_clear(struct sp_process_event *event);
SP_AUTO_CLEAR(struct sp_process_event, sp_process_event_clear)

/*
 * Reads one frame into *event (empty before). SP_E_INVALID: it is not what the protocol says. An
 * end of stream with an error returns that error as sp_connect_code() has it, with the peer's
 * message.
 */
SP_MUST_CHECK enum sp_code sp_process_event_read(const struct sp_connect_frame *frame,
                                                 struct sp_process_event *event,
                                                 struct sp_error *err);

/* What a code word of Connect means for us: "deadline_exceeded" is SP_E_TIMEOUT, ... Only sandboxes
 * speak it, so a refused token or user is SP_E_INVALID: no settings of ours are wrong. */
enum sp_code sp_connect_code(const char *word);
/* Whether it says that nothing was begun. */
bool sp_connect_refused(const char *word);
