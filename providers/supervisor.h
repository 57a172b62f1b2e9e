/*
 * The supervisor at the far end of a provider that has a shell there: it starts one program, ends
 * what the program left running, and writes down how it ended (CONTRACT.md 3.5). The script itself,
 * wrappers/sandpiper_supervise.sh, says how it is called. It needs a POSIX shell, the small usual
 * tools and Linux's /proc; nothing has to be installed.
 *
 * A run has a folder of its own, its home: the supervisor, the wrapper, the arguments and the
 * result lie there, the program with artifacts/ in the folder `work` below it, so that no name of
 * the program's is one of ours.
 */
#pragma once

#include "base/defs.h"

/* A home's name is this and a UUID. The sweep looks for such names only. */
#define SP_SUPERVISOR_HOME "ragflow-codeexec."
#define SP_SUPERVISOR_FILE "sandpiper_supervise.sh"
#define SP_SUPERVISOR_WORK "work"
#define SP_SUPERVISOR_ARGUMENTS "arguments" /* need not be there */
#define SP_SUPERVISOR_RESULT "result"
#define SP_SUPERVISOR_SAID "said"   /* the shell's own messages */
#define SP_SUPERVISOR_GROUP "group" /* of the program's processes */
enum { SP_SUPERVISOR_HEAD = 32 };   /* bytes of the result file before the document */

/* The script. Static. */
struct sp_bytes sp_supervisor(void);

/* How the program ended. */
enum sp_far_end {
    SP_FAR_UNKNOWN, /* nothing was written down: the supervisor was killed, or never ran */
    SP_FAR_EXIT,
    SP_FAR_SIGNAL,
    SP_FAR_REFUSED, /* the program was not started */
};
struct sp_supervisor_end {
    enum sp_far_end how;
    int number;   /* exit code, 0 to 255; signal, 1 to 64 */
    char why[24]; /* for SP_FAR_REFUSED: "interpreter", "limit", "folder"; nothing else */
};

/* Reads the content of the result file, of any bytes. *document is what the program wrote to
 * SP_FD_RESULT, within `file`. */
void sp_supervisor_read(const char *file, size_t len, struct sp_supervisor_end *end,
                        struct sp_bytes *document);
