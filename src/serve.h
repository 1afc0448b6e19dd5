/* SPDX-License-Identifier: MIT */
/* The daemon's state: what its pages, its metrics and its log tell. Private to cmd_serve.c
 * and serve_*.c. Nothing here waits for a target, a disk or the network. */
#ifndef REQTRAP_SERVE_H
#define REQTRAP_SERVE_H

#include "engine.h"
#include "web.h"

#define SERVE_ROWS 1000 /* incidents that are kept in mind; the store has them all */
#define SERVE_PAUSES 9

/* An incident, as far as lists show it. */
struct serve_row {
	char id[INCIDENT_ID_LEN + 1];
	char *folder; /* name in the store; NULL: nothing was stored */
	char *rule, *method, *url, *process, *verdict, *not_captured, *core;
	enum reason reason;
	int status;
	pid_t pid;
	uint64_t wall_ns, elapsed_ns, pause_ns;
};

#define HEAT_COLUMNS 360
#define HEAT_NS (10ull * 1000 * 1000 * 1000) /* of one column: the picture is of an hour */

/* How long all requests took, trapped or not, by time. */
struct heat {
	uint32_t cell[HEAT_COLUMNS][LATENCY_BUCKETS]; /* a ring */
	uint64_t seen[LATENCY_BUCKETS];		      /* the kernel's counts at the last column */
	uint64_t columns;			      /* so far; the next is columns % HEAT_COLUMNS */
	uint64_t end_wall_ns;			      /* of the last */
};

/* What a rule did since the daemon began; kept by name over reloads. */
struct serve_rule {
	char *name;
	uint64_t trapped, captured, suppressed, failed;
	uint64_t last_wall_ns;
	char *last_error; /* of a capture; NULL none */
};

struct serve {
	struct loop *loop;
	struct engine *engine;
	struct web *web;
	struct rules *rules; /* in force; on the heap, freed by the engine's word */
	const char *config_path;
	char *store_path;
	struct serve_row *row; /* oldest first */
	size_t row_count;
	struct serve_rule *rule;
	size_t rule_count;
	uint64_t reloads, reload_wall_ns, started_wall_ns;
	uint64_t seen;	    /* config_stamp() of the rules as they were read last */
	char *reload_error; /* of the last try; NULL: it went well */
	struct heat heat;
	uint64_t pauses[SERVE_PAUSES + 1], pause_sum_ns, pause_count;
	bool ending, may_edit; /* rules, over the port */
};

extern const double serve_pause_bounds[SERVE_PAUSES]; /* seconds, as Prometheus counts them */

/* Reads the file and swaps the rules; on failure the old ones stay, and the reason is kept. */
int serve_reload(struct serve *serve, struct err *err);
int serve_read_rules(const char *path, struct rules **ret_rules, struct buf *problems, struct err *err);

struct serve_rule *serve_rule_of(struct serve *serve, const char *name); /* made if new; NULL no memory */
const struct serve_row *serve_row_find(const struct serve *serve, const char *id);

void heat_tick(struct serve *serve); /* each HEAT_NS */
/* The picture, trapped ones marked, and the same in words. */
void heat_draw(const struct serve *serve, struct buf *out);

/* web.h's callbacks: all paths. */
int serve_allows(const char *path, bool post);
void serve_answer(void *arg, const struct web_request *request, struct web_reply *reply);

/* A page of them each. 'in' is what follows the path's first part. */
void serve_live_page(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_live_rows(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_list_page(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_incident(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_rules_page(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_edit_page(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_metrics(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_api_live(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_api_incidents(struct serve *serve, const struct web_request *request, const char *in,
			 struct web_reply *reply);
void serve_api_daemon(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
void serve_api_rules(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);

/* The frame around a page. */
void page_begin(struct buf *out, const char *title, const char *here);
void page_end(struct buf *out);
void page_text(struct buf *out, const char *text); /* escaped for terminal and HTML; NULL: '-' */

#endif
