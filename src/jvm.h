/* SPDX-License-Identifier: MIT */
/* A HotSpot JVM asked for its threads, by the door that jstack uses: a file beside its
 * socket says that somebody wants to attach, SIGQUIT has it look, then it listens. Knows
 * nothing of what the answer means. SIGQUIT is sent only to a JVM that is seen to be able
 * to take it: to others it is the end, or a page of text in their log. */
#ifndef REQTRAP_JVM_H
#define REQTRAP_JVM_H

#include "buf.h"
#include "proc.h"

#define JVM_WHY_MAX 200

struct jvm {
	const struct proc *proc;
	struct proc_status status;
	uid_t uid;
	gid_t gid;	 /* effective: it talks to nobody else but root */
	int tmp_fd;	 /* its own /tmp, O_PATH; owned */
	char socket[40]; /* names there: what it listens on ... */
	char wish[40];	 /* ... and what asks it to */
};

/* Is this the JVM's own library? Told by the name of what is mapped. */
bool jvm_is_mapped(const struct proc_maps *maps);

/* What needs privilege: its ids and its /tmp. Negative, with a reason in words. */
int jvm_open(struct jvm *jvm, const struct proc *proc, char *why);
void jvm_close(struct jvm *jvm);

/* May it be sent SIGQUIT? NULL: yes; else why not. Needs privilege. */
const char *jvm_deaf(const struct jvm *jvm);

/* Everything else is done as its own user, without privilege. The socket if it listens
 * already; -ENOENT if not. */
int jvm_connect(const struct jvm *jvm, char *why);

/* How far jvm_wake is; told before each step, for whoever has to tidy up if we die in it. */
enum jvm_step { JVM_NOTHING, JVM_WISH, JVM_SIGNAL };
typedef void jvm_step_fn(void *arg, enum jvm_step step);

/* Leaves the file, signals, waits until it listens. The file is gone afterwards, unless the
 * JVM may still come to look for it: then the last step told is JVM_SIGNAL. */
int jvm_wake(const struct jvm *jvm, uint64_t until_ns, jvm_step_fn *tell, void *arg, char *why);

/* What is left to do after that step: waits until the JVM has looked, or will not any more,
 * and takes the file away. */
void jvm_settle(const struct jvm *jvm, enum jvm_step step);

/* All its threads with their locks. ret_first_ns: from the question to the answer's first
 * byte, which is at least as long as it stood still for it. Closes nothing. */
int jvm_threads(int sock, uint64_t until_ns, struct buf *ret_text, uint64_t *ret_first_ns, char *why);

#endif
