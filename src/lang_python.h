/* SPDX-License-Identifier: MIT */
/* The Python reader's own: where an interpreter's fields lie, and what walks over its
 * threads and over its tasks carry along. For lang_python*.c alone. */
#ifndef REQTRAP_LANG_PYTHON_H
#define REQTRAP_LANG_PYTHON_H

#include "lang.h"

#define INTERPRETERS_MAX 32
#define FUNCTIONS 512  /* kept of those that were read */
#define FRAME_SIZE 128 /* read at once: a frame */

enum lines { LINES_DELTAS, LINES_RANGES, LINES_LOCATIONS }; /* lnotab; 3.10's; 3.11's */

/* 'top' is an address; a count, of values elsewhere; a count, of values in the frame. */
enum top { TOP_ADDRESS, TOP_COUNT, TOP_INSIDE };

/* Offsets. 0 where it says so: there is none. */
struct layout {
	uint32_t interpreters; /* of _PyRuntime */
	uint32_t interp_next, interp_threads;
	uint32_t gil; /* of _PyRuntime, or of the interpreter, which points to it */
	bool gil_of_interp;
	uint16_t next, pthread, native, frame; /* of a thread; native may be 0 */
	bool cframe;			       /* 'frame' leads to a struct that has it */
	uint16_t cframe_frame;
	uint16_t back, code, instr, owner; /* of a frame; owner may be 0 */
	uint8_t owner_shim;		   /* from this owner on it is no function's frame */
	bool lasti;			   /* 'instr' is an index in bytes, not an address */
	uint8_t lasti_unit;
	uint16_t name, file, first, table, bytecode; /* of a code object */
	uint8_t ascii_size, compact_size;	     /* of a str's header */
	enum lines lines;
	/* of tasks: sys.modules in an interpreter; a coroutine's frame, which lies in it or is
	 * pointed to; the values of a suspended frame, and where they end */
	uint32_t modules;
	uint16_t coro, values, top;
	enum top top_kind;
};

/* What the files tell. */
struct python {
	unsigned int minor;
	const struct layout *at;	  /* NULL: it says so itself */
	const struct python_words *words; /* ... and where */
	uint64_t runtime, version;	  /* addresses; version 0: not exported */
};

struct function {
	uint64_t code; /* 0: none */
	char *name, *file;
	uint8_t *table; /* NULL: it could not be read */
	size_t table_len;
	int32_t first;
};

/* What a walk carries along. */
struct reader {
	const struct memory *mem;
	const struct capture_thread *threads;
	struct layout at;
	struct place {
		uint64_t pthread;
		size_t index;
	} * places; /* of the threads with registers, sorted */
	size_t place_count, thread_count;
	uint64_t table_bytes; /* read so far */
	struct lang_lock *locks;
	uint64_t holder[INTERPRETERS_MAX]; /* thread states; 0: nobody has it */
	size_t lock_count;
	unsigned int guesses; /* pointers that may still be tried */
	struct function functions[FUNCTIONS];
};

/* A str as a heap string of at most max characters. NULL: it is none. */
char *python_text(const struct reader *r, uint64_t addr, size_t max);
/* Of a frame's code and instruction; why not, in words. */
const char *python_frame(struct reader *r, uint64_t code, uint64_t instr, struct stack *script);

/* --- lang_python_tasks.c --- */

#define TASKS_MAX 256 /* memory stands still meanwhile */

/* The tasks of asyncio in an interpreter that wait: added to the list. ret_more: those that
 * were not looked at. Why not, in words; NULL also where asyncio is not in use. */
const char *python_tasks(struct reader *r, uint64_t interp, struct task **list, size_t *count, size_t *ret_more);

#endif
