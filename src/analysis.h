/* SPDX-License-Identifier: MIT */
/* What is found out about the threads of a process that stood still: the part of the
 * model that comes out of hostile memory. Ownership and words as in incident.h. */
#ifndef REQTRAP_ANALYSIS_H
#define REQTRAP_ANALYSIS_H

#include "util.h"

#include <sys/types.h>

struct frame {
	char *function;	 /* 'Cart::open', 'execute_ex', 'module+0x1234' */
	char *file;	 /* source file, NULL if unknown */
	uint32_t line;	 /* 0 unknown */
	char *module;	 /* native: file name of the mapping; script: the language, 'php' */
	char *arguments; /* what it was called with: '1, "x"'; NULL: not asked for, or not known */
	uint64_t pc;	 /* native only */
	bool script;	 /* a frame of the script language, not of the machine */
	bool inlined;	 /* the compiler has put it into the next one: it has no frame of its own */
};

struct stack {
	struct frame *frame; /* innermost first; script frames merged before the native tail */
	size_t count;
	char *unavailable; /* why the walk failed or ended early; NULL if whole */
};

struct thread {
	pid_t tid;
	char *comm;
	char state;
	char *call;	      /* system call it is in, NULL in user mode */
	char *waits_for;      /* object in words: 'mutex 0x55.. held by 5690 "dl-B"' */
	pid_t waits_for_tid;  /* owner of what it waits for, 0 none or unknown */
	bool holder;	      /* the request's thread */
	uint64_t cpu_ns;      /* CPU it used ... */
	uint64_t cpu_over_ns; /* ... in this time before the stop; 0: not measured */
	struct stack stack;   /* native */
	struct stack script;  /* language frames; count 0 if none */
};

/* A piece of work that waits without a thread: a task of asyncio. */
struct task {
	char *name;	    /* 'Task-4' */
	char *waits_for;    /* 'task Task-3', '_asyncio.Future'; NULL unknown */
	struct stack stack; /* of coroutines, the one that waits first */
};

/* A lock somebody waits for. */
struct lock {
	char *name;  /* 'mutex 0x7f..', 'flock /var/lib/php/sessions/sess_x' */
	pid_t owner; /* tid, 0 unknown */
	char *owner_name;
	pid_t *waiter;
	size_t waiter_count;
};

/* What the interpreter knows of the request: 'REQUEST_URI', 'HTTP_X_REQUEST_ID' ... */
struct variable {
	char *name, *value;
	bool masked; /* the value, or a part of it, is replaced */
};

/* A lock of the interpreter's own, whether somebody waits for it or not: a wait that is
 * over by the time of the look is known by its address. */
struct own_lock {
	char *name; /* 'the GIL' */
	uint64_t addr, len;
	pid_t owner; /* tid, 0 none or unknown */
};

/* An ELF file that frames without a source line lie in: what their names can be looked for with
 * later, and elsewhere. */
struct module_id {
	pid_t pid;
	char *name;	/* as in 'frame' */
	char *build_id; /* hex; NULL: it has none, or there are two of that name */
	uint64_t bias;	/* address in the process - address in the file */
};

/* What the analyst finds out: the part of the model that comes out of hostile memory. */
struct analysis {
	struct thread *thread; /* the holder first, then by tid */
	size_t thread_count;
	struct lock *lock;
	size_t lock_count;
	struct own_lock *own;
	size_t own_count;
	char **deadlock;	   /* 'A -> B -> A' in words, NULL-terminated; NULL none */
	struct variable *variable; /* as the process itself has them; count 0: none */
	size_t variable_count;
	struct task *task; /* that wait; of asyncio's loops, or goroutines */
	size_t task_count;
	struct module_id *module; /* no two with one pid and name */
	size_t module_count;
	char *language; /* of the process: 'PHP 8.2.30' */
	char *failed;	/* the analysis itself failed, and why */
	char **note;	/* what was cut or doubtful, NULL-terminated; NULL none */
};

/* Are both at the same place: the same call, the same functions and lines? */
bool thread_same_place(const struct thread *a, const struct thread *b);

/* Adds a copy unless there is one of that pid and name; if that is another file, its build-id
 * goes: which of the two a frame lies in is not kept. */
int module_add(struct analysis *a, const struct module_id *module);

/* What its pieces of work without a thread are called. */
static inline const char *task_word(const struct analysis *a)
{
	return a->language && a->language[0] == 'G' ? "goroutine" : "asyncio task";
}

void stack_done(struct stack *stack);
void analysis_done(struct analysis *analysis);

#endif
