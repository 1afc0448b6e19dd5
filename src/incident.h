/* SPDX-License-Identifier: MIT */
/* One trapped request: the data model in the middle. The rooms fill in their part
 * and read the rest; none of them needs to know another. Plain structs.
 *
 * Ownership: every 'char *' and array is on the heap and belongs to the incident;
 * incident_free frees all. NULL means unknown. Strings from outside (URL, frame
 * names, lock names ...) are raw bytes up to a NUL: whoever prints, escapes.
 * Intervals are nanoseconds; moments are CLOCK_REALTIME (…_wall_ns) or, inside the
 * trace, nanoseconds after the request's first byte (at_ns). */
#ifndef REQTRAP_INCIDENT_H
#define REQTRAP_INCIDENT_H

#include "incident_holder.h"
#include "incident_scene.h"
#include "analysis.h"

#define INCIDENT_SCHEMA 1  /* of incident.json; grows when a field changes its meaning */
#define INCIDENT_ID_LEN 12 /* hex digits */
#define STOPPED "stopped " /* begins what a wait is called in which the thread was stopped */

enum reason { REASON_TIME_TAKEN, REASON_STATUS_CODE, REASON_ABORTED, REASON_RESPONSE_SIZE, REASON_APP_MARK };
const char *reason_name(enum reason reason);  /* 'TIME_TAKEN' ... */
const char *severity_name(uint32_t severity); /* 'critical' ... 'verbose'; '' for none */

enum protocol { PROTOCOL_HTTP, PROTOCOL_FASTCGI };
const char *protocol_name(enum protocol protocol); /* 'HTTP/1.1', 'FastCGI' */

/* The request as its sender wrote it. */
struct request_info {
	enum protocol protocol;
	char *method, *url, *host; /* url with its query string, the values masked */
	char *user_agent;	   /* may be NULL */
	char *client;		   /* 'ADDRESS:PORT' or 'unix' */
	bool head_cut;		   /* the head was longer than what is kept */
	bool start_unknown;	   /* it had begun before the watch: times are the least that they can be */
	bool unread_known;	   /* false: 'unread_ns' is not known */
	uint64_t unread_ns;	   /* it lay at the socket before its first byte was read, to a tick */
	uint64_t request_bytes, response_bytes;
};

void request_info_done(struct request_info *info);

/* A process on the request's way, from the first that got it to the holder. */
struct hop {
	pid_t pid, tid;
	char *process; /* comm */
	char *via;     /* how it reached this process's successor: 'unix:/run/php.sock',
			* 'tcp:127.0.0.1:9000', 'fork'; NULL for the last hop, the holder */
	char *doubt;   /* why the call to its successor may be another request's; NULL: it is not */
};

/* Where the holder's time went. The parts add up to 'elapsed_ns' of the request:
 * the rest that nothing explains is SPEND_UNATTRIBUTED, never hidden. */
enum spend {
	SPEND_CPU,
	SPEND_RUNNABLE,
	SPEND_WAIT,
	SPEND_UNATTRIBUTED,
	SPEND_BEHIND, /* the thread worked on another request: 'object' */
	SPEND_LOOP,   /* the thread came from its poll, for whom is not known */
};

struct spending {
	enum spend kind;
	char *call;	    /* SPEND_WAIT: system call, 'page fault'; else NULL */
	char *what;	    /* sort of object: 'socket' 'file' 'pipe' 'futex' 'sleep' 'child' 'block' ... */
	char *object;	    /* what it waited on, if known: 'unix:/run/x.sock', 'mutex 0x7f..' */
	char *peer;	    /* the process at its other end, or that holds it: 'php-fpm 4711' */
	char *waker;	    /* who ended the last of these waits: 'php-fpm 4711' */
	char *who;	    /* not the holder but one before it, until the holder got the request; NULL */
	uint64_t ns;	    /* total */
	uint64_t user_ns;   /* SPEND_CPU: of it in the program; with kernel_ns 0 not known */
	uint64_t kernel_ns; /* ... and in the kernel, by its ticks */
	uint64_t count;	    /* how many waits this is the sum of */
	bool open;	    /* still going on at the trigger */
};

/* One line of the request's trace. */
struct trace_event {
	uint64_t at_ns;	 /* after the request's first byte */
	uint64_t dur_ns; /* 0: a moment */
	pid_t pid, tid;
	char *kind;	/* 'recv' 'send' 'wait' 'runnable' 'call' 'trigger' 'head' 'end' ... */
	char *name;	/* for people: 'futex', 'response head 200', 'php-fpm 4711' */
	char *detail;	/* may be NULL */
	uint64_t bytes; /* of recv and send */
	uint64_t count; /* merged equal events; 1 for a single one */
	pid_t waker;	/* tid that ended the wait, 0 unknown */
	char *waker_name;
	uint32_t severity; /* 1 critical ... 5 verbose, as in Failed Request Tracing; 0 none */
};

struct process_facts {
	pid_t pid;
	char *comm, *exe, *cmdline, *cgroup;
	char *language; /* 'PHP 8.2.30', NULL */
	uint64_t rss_bytes;
	unsigned int thread_count;
	uid_t uid;
	gid_t gid;
};

enum capture_method { METHOD_NONE, METHOD_CLONE, METHOD_STOP };
const char *capture_method_name(enum capture_method method); /* 'none' 'clone' 'stop' */

enum core_kind { CORE_NONE, CORE_FULL, CORE_MINI };
const char *core_kind_name(enum core_kind kind); /* 'none' 'full' 'mini' */

struct omission {
	char *range; /* '7f..-7f.. [heap]' */
	char *why;
};

struct capture_facts {
	enum capture_method method;
	char *why_not_clone;	   /* the refusal and its reason, NULL when cloned or not needed */
	char *failed;		   /* nothing could be captured, and why; NULL otherwise */
	uint64_t started_after_ns; /* from the trigger to the target's stop */
	uint64_t pause_ns;	   /* how long the target stood still, all stops together */
	uint64_t wall_ns;	   /* of the whole capture */
	bool running_at_snapshot;  /* the request had not ended when the threads stood still */
	bool core_complete;
	enum core_kind core_kind;
	char *core_file; /* name inside the incident's folder: 'core.zst'; NULL no core */
	uint64_t core_bytes, core_bytes_on_disk;
	struct omission *omitted;
	size_t omitted_count;
};

enum action_state { ACTION_NONE, ACTION_RAN, ACTION_FAILED, ACTION_TIMED_OUT, ACTION_LIMIT, ACTION_DISABLED };
const char *action_state_name(enum action_state state);

struct action_facts {
	enum action_state state;
	char **argv;   /* NULL-terminated, as run; NULL if not run */
	int exit_code; /* 128 + signal when killed */
	char *output;  /* stdout and stderr together */
	bool output_cut;
	uint64_t took_ns;
	char *why; /* for FAILED, LIMIT, DISABLED: in words */
};

/* A look at the holder after the trap: when another rule's condition came true, or again
 * after a while. */
struct later_look {
	uint64_t at_ns; /* after the request's first byte: when it was asked for */
	char *rule;	/* that asked */
	enum reason reason;
	uint64_t limit_ns; /* time-taken of that rule */
	bool repeat;	   /* no new condition: the rule's 'every' */
	pid_t pid, tid;	   /* who held the request */
	uint64_t pause_ns;
	char *failed;	      /* nothing was taken, and why; NULL */
	struct thread thread; /* tid 0: none was taken */
	struct action_facts action;
};

/* A thread of the holder's process over all looks, the first one too. */
struct thread_use {
	pid_t tid;
	char *comm;
	uint32_t looks, same;	  /* seen in so many; in so many of them where it was at the first */
	uint64_t cpu_ns, over_ns; /* CPU it used, in this time from the first look on; over 0: not known */
};

/* What may be missing. Every field not 0 is shown. */
struct losses {
	uint64_t events_overwritten;	/* of this request's trace */
	uint64_t texts_cut, spans_lost; /* of marks and probes: longer, nested deeper than is kept */
	uint64_t ring_lost;		/* records the kernel could not hand over, while watching */
	uint64_t refused;		/* requests not traced for want of a slot, while watching */
	uint64_t blind_io;		/* socket calls whose bytes could not be read (io_uring, splice) */
	char *shed;			/* detail that was off for some of its time, to stay in the budget; NULL none */
};

struct incident {
	char id[INCIDENT_ID_LEN + 1];
	uint64_t started_wall_ns; /* first byte of the request */
	uint64_t trapped_wall_ns;
	char *host_name, *kernel, *version;

	char *rule;
	enum reason reason;
	uint32_t severity;	 /* of the gravest mark that the application made, as in trace_event */
	char **also_matched;	 /* other rules that would have fired, NULL-terminated; NULL none */
	uint64_t limit_ns;	 /* time-taken of the rule, 0 none */
	bool limit_server;	 /* ... and it counts the server's own time ... */
	uint64_t server_ns;	 /* ... which was so long at the trigger */
	uint64_t elapsed_ns;	 /* at the trigger */
	uint64_t fired_after_ns; /* from first byte to the moment user space had the trigger */
	bool limit_reached;	 /* the rule's limit: logged, not captured */
	char *suppressed;	 /* why not captured (limit, cool-down, another dump running); NULL */

	struct request_info request;
	struct hop *chain; /* the last one is the holder */
	size_t chain_count;
	pid_t holder_pid, holder_tid;
	struct holder_facts holder;
	struct process_facts process; /* of the holder */

	bool ended;
	int status;		/* 0 none sent yet */
	uint64_t time_taken_ns; /* when ended */
	char *end_note;		/* 'aborted by the client', 'still running when the watch ended' */

	struct spending *spending;
	size_t spending_count;
	uint64_t page_faults; /* of the holder, those that had to be read from somewhere */
	struct trace_event *trace;
	size_t trace_count;

	struct capture_facts capture;
	struct analysis analysis;
	struct later_look *sample;
	size_t sample_count;
	struct thread_use *thread_use; /* none without later looks */
	size_t thread_use_count;
	struct beyond *beyond; /* in the order of the chain */
	size_t beyond_count;
	struct scene scene;
	char *verdict;	  /* one sentence */
	char *cause;	  /* the rule behind it, by name: 'session-lock' */
	char **evidence;  /* lines behind it, NULL-terminated */
	char *confidence; /* 'high' 'medium' 'low' */
	char *advice;	  /* one line, NULL none */
	struct action_facts action;
	struct losses losses;
};

struct incident *incident_new(void); /* zeroed, with a fresh random id; NULL: no memory */
void incident_free(struct incident *incident);
void spending_done(struct spending *spending);

/* Appends a zeroed element to a (pointer, count) pair; NULL: no memory. */
void *list_add(void *pointer_to_array, size_t *count, size_t element_size);
int strings_add(char ***list, const char *text); /* keeps it NULL-terminated */
size_t strings_count(char *const *list);
void strings_free(char **list); /* and its strings; NULL is fine */

/* Replaces an owned string by a copy (text NULL: by nothing). */
void text_set(char **at, const char *text);
void text_setf(char **at, const char *fmt, ...) PRINTF(2, 3);

#endif
