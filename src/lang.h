/* SPDX-License-Identifier: MIT */
/* The language readers: from interpreter memory to frames of the script. A language
 * is one file and one row here. A reader is handed hostile memory: every pointer,
 * length and type is checked, depth and bytes have a limit, nothing can loop; when
 * in doubt it says why in stack.unavailable and keeps what it is sure of. */
#ifndef REQTRAP_LANG_H
#define REQTRAP_LANG_H

#include "incident.h"
#include "stack.h"

#define LANG_FRAMES_MAX 256
#define LANG_NAME_MAX 256 /* bytes of a function's or class's name that are shown */
#define LANG_PATH_MAX 4096
#define LANG_LOCKS_MAX 64

/* A lock of the interpreter's own: whoever is in a futex call inside it waits for it. */
struct lang_lock {
	uint64_t addr, len;
	char name[48]; /* 'the GIL' */
	size_t owner;  /* which of the threads has it; SIZE_MAX: none, or not known */
};

/* What a thread does, as its process itself tells it. */
struct lang_said {
	struct stack script;
	char *wait;   /* what for: 'monitor 0x6c.. (shop.Cart)'; NULL: it does not say */
	size_t owner; /* of that lock: which of the threads; SIZE_MAX: none, or not known */
	bool is_lock;
	uint64_t cpu_ns, over_ns; /* CPU that it used, and since when; over_ns 0: not told */
};

struct language {
	const char *name; /* 'php': the module of its frames */

	/* Before the stop: is this interpreter in the process? Finds what 'walk' needs in
	 * the files alone. 1 with state and title ('PHP 8.2.30', both owned by the caller),
	 * 0 no. With 'ret_why' set there is one whose memory cannot be read, and why. */
	int (*find)(const struct images *images, void **ret_state, char **ret_title, char **ret_why);

	/* While memory stands still: fills the threads' scripts (zeroed, one per thread), with
	 * what functions were called with if 'arguments' and the reader can, and at most
	 * LANG_LOCKS_MAX locks. Returns the number of locks. NULL: memory says nothing. */
	size_t (*walk)(const void *state, const struct memory *mem, pid_t pid, const struct capture_thread *threads,
		       size_t count, bool arguments, struct stack *ret_scripts, struct lang_lock *ret_locks);

	/* The same, may be NULL: what the interpreter itself knows of the request that it
	 * works on, secrets masked. Nothing: it works on none. Returns what is wrong or to be
	 * said of it, in words; NULL: nothing. */
	const char *(*request)(const void *state, const struct memory *mem, struct variable **ret_variable,
			       size_t *ret_count);

	/* The same, may be NULL: pieces of work that wait without a thread, such as asyncio's
	 * tasks; ret_more: so many were not looked at. Returns why not, in words; NULL: it did. */
	const char *(*tasks)(const void *state, const struct memory *mem, struct task **ret_task, size_t *ret_count,
			     size_t *ret_more);

	/* May be NULL: what the process answered when it ran again (envoy.h), hostile text, into
	 * ret_said, zeroed, one per thread. Returns what is wrong with it, in words; NULL: nothing. */
	const char *(*told)(const char *text, size_t len, const struct capture_thread *threads, size_t count,
			    struct lang_said *ret_said);
	void (*free_state)(void *state);
};

/* Reads the envoy's answer (analyst.h) to its end, and has the language read it: so many
 * ret_said, on the heap; NULL: there are none. Returns what is wrong, in words. */
struct analyst_told;
const char *said_hear(int fd, const struct language *language, const struct capture_thread *threads, size_t count,
		      struct analyst_told *ret_told, struct lang_said **ret_said);
void said_done(struct lang_said *said);

extern const struct language lang_php, lang_python, lang_java, lang_go, lang_ruby;

#define LANGUAGES &lang_php, &lang_python, &lang_java, &lang_go, &lang_ruby

#endif
