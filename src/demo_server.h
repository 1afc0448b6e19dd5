/* SPDX-License-Identifier: MIT */
/* The demo's two children: a small threaded shop that is slow by chance, each time
 * for another reason, and the clients that ask it. Both end when the socket on fd 3
 * does. libmicrohttpd is used here alone. They know nothing of tracing. */
#ifndef REQTRAP_DEMO_SERVER_H
#define REQTRAP_DEMO_SERVER_H

#include "util.h"

#define DEMO_SERVER_VERB "--demo-server"
#define DEMO_LOAD_VERB "--demo-load"
#define DEMO_LIMIT_MS 400 /* what slow means: healthy requests stay far below, slow ones far above */

/* Why a request can be slow; one path each. */
struct demo_kind {
	const char *path;
	const char *why;      /* for people: 'waits for a lock that another request holds' */
	const char *function; /* in the stack of the trapped thread; NULL: returned from already */
	bool fails;	      /* answers 503 instead of being slow */
};

extern const struct demo_kind demo_kinds[]; /* the most telling first */
extern const size_t demo_kind_count;

/* Entry of '--demo-server': writes its port as a line of text to fd 3. */
int demo_server_main(int argc, char **argv);

/* Entry of '--demo-load PORT': asks until fd 3 ends, at most some hundred requests
 * a second. */
int demo_load_main(int argc, char **argv);

#endif
