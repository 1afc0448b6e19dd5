/* SPDX-License-Identifier: MIT */
/* Small HTTP server (libmicrohttpd) on the caller's loop: a unix socket for root and
 * ourselves, and, if asked for, 127.0.0.1 with a token. Refuses to know what is served.
 * All that comes in is hostile: who may ask, and from which page, is settled here, before
 * the caller sees a request. Never waits. */
#ifndef REQTRAP_WEB_H
#define REQTRAP_WEB_H

#include "buf.h"
#include "err.h"
#include "loop.h"

#include <sys/types.h>

#define WEB_BODY_MAX (2u << 20)
#define WEB_TOKEN_LEN 32

struct web_request {
	const char *method;	/* 'GET' or 'POST', nothing else gets here */
	const char *path;	/* decoded; begins with '/', no NUL inside */
	const char *body;	/* of a POST, '' none */
	bool local;		/* by the unix socket */
	const void *connection; /* web_query's */
};

struct web_reply {
	int status;	  /* 200 unless set */
	const char *type; /* static: 'text/html' ...; NULL: text/plain. All is UTF-8 */
	struct buf body;
	int fd;		    /* instead of the body, to its end; taken over. -1: none */
	const char *policy; /* Content-Security-Policy, static; NULL: the strict one */
	char download[128]; /* file name, if it is to be saved; plain letters */
	char location[256]; /* to go on to; with a status of 303 */
};

struct web_config {
	struct loop *loop;
	const char *socket_path; /* replaced if it is a dead one of ours; NULL: none */
	uint16_t port;		 /* on 127.0.0.1; 0: none */
	const char *token;	 /* that the port wants; NULL only without a port */
	/* By the head alone: 0, or the status of a refusal, 404 or 405. */
	int (*allows)(const char *path, bool post);
	void (*serve)(void *arg, const struct web_request *request, struct web_reply *reply);
	void *arg;
};

struct web;

/* -EADDRINUSE: another one answers there. Creates the socket (0600), not its folder. */
int web_open(const struct web_config *config, struct web **ret_web, struct err *err);
void web_close(struct web *web); /* NULL allowed; removes the socket */

/* Of the URL's query, decoded; NULL: not there. */
const char *web_query(const struct web_request *request, const char *key);

/* A field of an 'application/x-www-form-urlencoded' body, decoded: the caller frees. NULL:
 * not there, or no memory. */
char *web_field(const char *body, const char *key);

/* What a request says of itself, to be judged. NULL: the header was not sent. */
struct web_head {
	bool local, post;
	const char *host, *origin, *fetch_site, *authorization, *cookie, *query_token;
};

enum web_verdict { WEB_OK, WEB_NO_TOKEN, WEB_FOREIGN, WEB_WRONG_HOST };

/* Pure. A page of another origin, or a name that was made to point here (DNS rebinding),
 * gets nothing, whatever it knows. */
enum web_verdict web_judge(const struct web_head *head, const char *token);

#endif
