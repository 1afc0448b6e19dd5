/* SPDX-License-Identifier: MIT */
/* Numbers and moments in the words of the pages, and threads that do the same thing
 * put together. Pure. A 'struct word' is a value: use it inside one expression. */
#ifndef REQTRAP_REPORT_WORDS_H
#define REQTRAP_REPORT_WORDS_H

#include "buf.h"
#include "incident.h"

struct word {
	char s[64];
};

struct word word_duration(uint64_t ns); /* '12.4 s' '501 ms' '3.20 ms' '340 us' */
struct word word_ms(uint64_t ns);	/* '501.250', milliseconds to the microsecond */
struct word word_bytes(uint64_t bytes); /* '700 B' '1.2 KiB' */
struct word word_count(uint64_t count); /* '1,234,567' */
struct word word_fd(int fd);		/* 'fd 7' */
struct word word_percent(unsigned int permille);
struct word word_wall(uint64_t wall_ns); /* '2026-11-22 15:15:46.600 UTC' */
const char *word_plural(uint64_t count); /* '' or 's' */

/* 'SLOW REQUEST', 'FAILED REQUEST 503' ... */
struct word word_title(const struct incident *incident);

/* The request's thread; NULL: none was captured. */
const struct thread *holder_thread(const struct incident *incident);
char *event_words(const struct trace_event *event); /* 'poll: the answer of ..', 'futex 0x7f..'; on the heap */
char *thread_name(const struct incident *incident, pid_t tid); /* 'nginx 20211', 'thread 7'; on the heap */
const char *frame_function(const struct frame *frame);	       /* never NULL */
char *frame_called(const struct frame *frame);		       /* with its arguments, if they are known; on the heap */

struct thread_group {
	size_t *member; /* indexes into analysis.thread, ascending */
	size_t count;
	bool apart; /* they wait for different objects of one kind: each for a lock or a client of its own */
};

/* All threads but the holder, by state, call, the kind of what they wait for and stack; the
 * largest group first. -ENOMEM. */
int threads_group(const struct incident *incident, struct thread_group **ret_groups, size_t *ret_count);
void thread_groups_free(struct thread_group *groups, size_t count);

/* Adds text from outside: buf_add_escaped, but a '\' stays one where that cannot be
 * mistaken (PHP's 'App\Cart'): only in front of 'xHH' it becomes '\x5c'. */
void add_clean(struct buf *out, const char *text, size_t len);

/* The text escaped, its end or its begin within so many columns, the rest as '...'. */
void add_tail(struct buf *out, const char *text, size_t columns_most);
void add_head(struct buf *out, const char *text, size_t columns_most);

/* A paragraph behind 'lead', within 80 columns where it has blanks; its lines after the
 * first begin at 'indent'. The text is escaped already. */
void add_wrapped(struct buf *out, const char *lead, const char *text, size_t indent);

void add_html(struct buf *out, const char *text, size_t len); /* and for a text node or attribute */

/* Display columns of the UTF-8 text: wide characters are 2, combining ones 0. */
size_t text_columns(const char *text, size_t len);

/* Bytes of the first character at p, and its columns. Broken bytes are one each. */
size_t char_columns(const char *p, size_t left, size_t *ret_columns);

/* Tasks that do the same: how many there are of that one's sort; 0: an earlier one has been
 * asked for. */
bool task_equal(const struct task *a, const struct task *b);
size_t task_equals(const struct analysis *analysis, size_t index);

#endif
