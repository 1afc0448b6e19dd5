/* SPDX-License-Identifier: MIT */
/* Stands between us and a user's command: this binary re-executed with the hidden verb
 * '--warden' is the parent of the command and of whatever that leaves behind, also of
 * what made a session of its own. It knows nothing of requests. */
#ifndef REQTRAP_WARDEN_H
#define REQTRAP_WARDEN_H

#include <stdbool.h>
#include <stdint.h>

#define WARDEN_VERB "--warden"
#define WARDEN_CONTROL_FD 3		  /* SOCK_SEQPACKET; its end of file: end the command now */
#define WARDEN_OUTPUT_FD 4		  /* stdout and stderr of the command */
#define WARDEN_END_NS (2 * 1000000000ull) /* what SIGKILL was sent to may take so long */

/* Its one message, when nothing of the command is left. */
struct warden_word {
	int32_t exit_code; /* 0-255, 128 + signal */
	uint32_t left;	   /* processes that did not end */
	bool timed_out;
	char failed[512]; /* it could not be started, and why; "" else */
};

/* Entry of the hidden verb: LIMIT_NS GRACE_NS USER PROGRAM ARG...; a limit of 0 is none, a
 * user of '' is ours. At the limit the command's process group gets SIGTERM, after the
 * grace all that descends from it SIGKILL; at the command's own end, too. */
int warden_main(int argc, char **argv);

#endif
