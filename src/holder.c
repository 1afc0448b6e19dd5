// SPDX-License-Identifier: MIT
/* The last thread that moved bytes for a request is at work on it, unless it has left:
 * it waits for events of any kind, or works on another request. Then the threads that it
 * woke or made meanwhile are asked where they are: one that is back where it was woken
 * from has nothing to do with it (any more). Rejected: to name the likeliest and keep
 * silent about the rest. Trap: an event loop that waits for time to pass looks like a
 * reader that has handed its request over, but for those threads. */
#include "holder.h"

#include "buildid.h"
#include "ktime.h"
#include "proc.h"
#include "request.h"
#include "waits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MANY_CALLS 8   /* seen in what is kept of the trace */
#define PLACE_BYTES 48 /* words of one condition variable, which are waited on in turn */
#define CANDIDATES_MAX 32
#define THREADS_LOOKED_AT 256
#define LAST_BYTES "moved the last bytes for it"

struct inflight { /* a request that is in flight */
	uint64_t gen, begin_ns, parent_gen;
	uint32_t slot, parent_slot;
	pid_t pid, tid;
	uint32_t flags;
	bool away; /* its thread is at another one */
};

struct look {
	struct trap *trap;
	struct tracer *tracer;
	struct incident *in;
	struct inflight *flight;
	size_t count;
	int dir_fd; /* of the process that got the last call */
	bool go;
};

/* ---- the chain ---- */

bool holder_hop(struct trap *trap, uint32_t slot, uint64_t gen)
{
	struct hop_ref *hop = &trap->hop[trap->hop_count];

	if (trap->hop_count == TRAP_HOPS)
		return false;
	tracer_usage(trap->world->tracer, slot, gen);
	if (!tracer_slot(trap->world->tracer, slot, gen, &hop->copy))
		return false;
	if (!tracer_loop(trap->world->tracer, hop->copy.loop, &hop->loop))
		hop->loop.tid = 0;
	hop->copied_ns = now_ns();
	hop->slot = slot;
	hop->gen = gen;
	hop->held = true;
	hop->ended = hop->copy.state == SLOT_ENDED;
	hop->notes = tracer_notes(trap->world->tracer, slot, gen);
	trap->hop_count++;
	return true;
}

static void flights_read(struct look *look)
{
	const struct slot *s;

	for (uint32_t i = 0; (s = tracer_next(look->tracer, &i)); i++) {
		struct inflight *f = list_add(&look->flight, &look->count, sizeof(*f));

		if (!f)
			return;
		*f = (struct inflight){ .gen = s->gen,
					.slot = i,
					.begin_ns = s->begin_ns,
					.parent_gen = s->parent_gen,
					.parent_slot = s->parent_slot,
					.pid = (pid_t)s->pid,
					.tid = (pid_t)s->tid,
					.flags = s->flags,
					.away = s->seg_kind == SEGMENT_AWAY };
	}
}

static bool made_for(const struct inflight *f, const struct hop_ref *hop)
{
	return f->parent_slot == hop->slot && f->parent_gen == hop->gen && f->gen;
}

static struct inflight *oldest_call(const struct look *look, const struct hop_ref *hop)
{
	struct inflight *oldest = NULL;

	for (struct inflight *f = look->flight; f < look->flight + look->count; f++) {
		if (made_for(f, hop) && (!oldest || f->begin_ns < oldest->begin_ns))
			oldest = f;
	}
	return oldest;
}

static bool hop_down(struct look *look, uint32_t slot, uint64_t gen)
{
	struct trap *trap = look->trap;

	if (!holder_hop(trap, slot, gen)) {
		tracer_release(look->tracer, slot, gen);
		return false;
	}
	/* It has read the call: that is who the answer is waited for. */
	trap->hop[trap->hop_count - 2].copy.up_pid = trap->hop[trap->hop_count - 1].copy.pid;
	return true;
}

/* One of many calls made one after the other, and it has just begun: what is slow is that
 * there are so many, and whoever makes them holds the request. */
static bool one_of_many(const struct hop_ref *caller, const struct inflight *f, uint64_t now)
{
	unsigned int calls = 0;

	for (size_t i = 0; i < SLOT_EVENTS; i++)
		calls += caller->copy.event[i].kind == EVENT_UPSTREAM;
	return calls >= MANY_CALLS && f->begin_ns > caller->copy.begin_ns && now > f->begin_ns &&
	       (now - f->begin_ns) * 10 < now - caller->copy.begin_ns;
}

/* From the outer request down to who holds it now: the oldest call that is still being
 * answered on this host, and so on. A status that just fired names its sender. */
static void follow(struct look *look, const struct record *record)
{
	struct trap *trap = look->trap;
	struct inflight *f;

	if (record->inner_gen && !hop_down(look, record->inner_slot, record->inner_gen))
		return;
	while ((f = oldest_call(look, &trap->hop[trap->hop_count - 1]))) {
		if (one_of_many(&trap->hop[trap->hop_count - 1], f, record->at_ns))
			return;
		if (trap->hop_count == TRAP_HOPS) {
			look->in->holder.certain = false;
			text_setf(&look->in->holder.why, "the calls go on behind %d processes: followed no further",
				  TRAP_HOPS);
			return;
		}
		if (!tracer_hold(look->tracer, f->slot, f->gen) || !hop_down(look, f->slot, f->gen))
			f->gen = 0; /* over meanwhile */
	}
}

static struct hop *chain_add(struct incident *in, pid_t pid, pid_t tid)
{
	struct hop *hop = list_add(&in->chain, &in->chain_count, sizeof(*hop));
	char text[256];

	if (!hop)
		return NULL;
	hop->pid = pid;
	hop->tid = tid;
	proc_name(hop->pid, text, sizeof(text));
	text_set(&hop->process, text);
	return hop;
}

static struct hop *chain_last(struct incident *in)
{
	return in->chain_count ? &in->chain[in->chain_count - 1] : NULL;
}

static void chain_via(struct incident *in, const struct slot *s)
{
	char text[256];

	request_endpoint(&s->up, s->up_path, text, sizeof(text));
	if (in->chain_count)
		text_set(&chain_last(in)->via, text);
}

static void candidate(struct incident *in, pid_t pid, pid_t tid, const char *why)
{
	struct candidate *c;

	for (size_t i = 0; i < in->holder.candidate_count; i++) {
		if (in->holder.candidate[i].tid == tid)
			return;
	}
	if (in->holder.candidate_count == CANDIDATES_MAX)
		return;
	c = list_add(&in->holder.candidate, &in->holder.candidate_count, sizeof(*c));
	if (!c)
		return;
	c->pid = pid;
	c->tid = tid;
	text_set(&c->why, why);
}

static void doubt(struct incident *in, const char *why)
{
	if (in->holder.certain)
		text_set(&in->holder.why, why);
	in->holder.certain = false;
}

/* The thread of this hop had other requests, too, before that moment: whom it called or
 * woke then may have got one of those. */
static bool has_others(const struct look *look, const struct hop_ref *hop, uint64_t before_ns)
{
	for (const struct inflight *f = look->flight; f < look->flight + look->count; f++) {
		if (f->pid == (pid_t)hop->copy.pid && f->tid == (pid_t)hop->copy.tid && f->begin_ns < before_ns &&
		    (f->slot != hop->slot || f->gen != hop->gen))
			return true;
	}
	return false;
}

static const char *link_doubt(const struct look *look, size_t callee)
{
	const struct hop_ref *hop = &look->trap->hop[callee];

	if (hop->copy.flags & SLOT_LINK_GUESSED)
		return "the thread that made this call was only woken or made by the one that had the request";
	if (hop->copy.flags & SLOT_LINK_LATE && has_others(look, hop - 1, hop->copy.begin_ns))
		return "the thread that made this call has several requests and had waited for events in between";
	return NULL;
}

/* A failing status that a proxy only passes on: the process that made it has just
 * handed it over and is the one to look at. */
static void answered_by(struct trap *trap)
{
	const struct slot *last = &trap->hop[trap->hop_count - 1].copy;
	struct incident *in = trap->incident;

	if (in->reason != REASON_STATUS_CODE || !last->child_pid || last->child_status != in->status)
		return;
	chain_via(in, last);
	chain_add(in, (pid_t)last->child_pid, (pid_t)last->child_tid);
}

static void chain_words(struct look *look)
{
	struct incident *in = look->in;
	const struct hop_ref *hop = look->trap->hop;
	const char *why;
	struct hop *caller;

	for (size_t i = 0; i < look->trap->hop_count; i++, hop++) {
		caller = chain_last(in);
		if (caller)
			chain_via(in, &hop[-1].copy);
		why = caller ? link_doubt(look, i) : NULL;
		if (why) {
			text_set(&caller->doubt, why);
			doubt(in, why);
		}
		chain_add(in, (pid_t)hop->copy.pid, (pid_t)hop->copy.tid);
	}
	answered_by(look->trap);
}

/* ---- where a thread is ---- */

static int thread_call(const struct look *look, pid_t tid, struct proc_syscall *ret)
{
	char path[48];

	snprintf(path, sizeof(path), "task/%d/syscall", tid);
	return proc_syscall_read(look->dir_fd, path, ret);
}

static bool is_accept(const char *call)
{
	return call && !strncmp(call, "accept", 6);
}

/* It waits for work of any kind; of a futex nobody knows. */
static bool waits_for_any(long nr)
{
	const char *call = syscall_name(nr);
	enum wait_kind kind = wait_kind_of(call);

	return kind == WAIT_EVENTS || kind == WAIT_POLL || kind == WAIT_SIGNAL || is_accept(call);
}

static bool is_futex(long nr)
{
	return wait_kind_of(syscall_name(nr)) == WAIT_FUTEX;
}

static bool back_home(const struct hand *hand, const struct proc_syscall *now)
{
	uint64_t apart = hand->a > now->arg[0] ? hand->a - now->arg[0] : now->arg[0] - hand->a;

	return now->nr == hand->nr && (waits_for_any(now->nr) || apart < PLACE_BYTES);
}

/* It moved the last bytes of another request, and is still at it. */
static bool has_another(const struct look *look, pid_t tid)
{
	const struct hop_ref *last = &look->trap->hop[look->trap->hop_count - 1];

	for (const struct inflight *f = look->flight; f < look->flight + look->count; f++) {
		if (f->tid == tid && !f->away && !(f->flags & SLOT_GUESSED) &&
		    (f->slot != last->slot || f->gen != last->gen))
			return true;
	}
	return false;
}

/* ---- to whom it was handed ---- */

/* The likelier first. */
static int likelier_first(const void *a, const void *b)
{
	const struct hand *x = a, *y = b;

	if (x->busy != y->busy)
		return x->busy - y->busy;
	if ((x->how == HAND_PASSED) != (y->how == HAND_PASSED))
		return x->how == HAND_PASSED ? 1 : -1;
	return x->at_ns < y->at_ns ? 1 : x->at_ns > y->at_ns ? -1 : 0;
}

enum { AT_REST, AT_A_LOCK, AT_WORK };

/* A futex other than where it was woken from is a lock, or where it waits for work now. */
static int at_work(const struct look *look, const struct hand *hand, const struct slot *s)
{
	struct proc_syscall now;

	if (hand->tid == s->tid || hand->pid != s->pid || has_another(look, (pid_t)hand->tid) ||
	    thread_call(look, (pid_t)hand->tid, &now) < 0 || back_home(hand, &now))
		return AT_REST;
	return is_futex(now.nr) ? AT_A_LOCK : AT_WORK;
}

static void hand_words(const struct hand *hand, const struct slot *s, char *buf, size_t size)
{
	uint64_t at = hand->at_ns > s->begin_ns ? hand->at_ns - s->begin_ns : 0;

	snprintf(buf, size, "%s at %.1f ms by %s%s", hand->how == HAND_MADE ? "started" : "woken", ns_to_ms(at),
		 hand->how == HAND_PASSED ? "one that was woken itself" : "the thread that had the request",
		 hand->busy ? ", in the midst of another" : "");
}

/* Those that are not where they were woken from. Returns how many. */
static size_t handed_to(struct look *look, const struct hop_ref *hop)
{
	struct hands hands;
	char text[128];
	size_t found = 0;

	if (!tracer_hands(look->tracer, hop->slot, hop->gen, &hands))
		return 0;
	qsort(hands.hand, hands.count, sizeof(hands.hand[0]), likelier_first);
	for (int how = AT_WORK; how > AT_REST; how--) {
		for (uint32_t i = 0; i < hands.count; i++) {
			const struct hand *h = &hands.hand[i];

			if (at_work(look, h, &hop->copy) != how)
				continue;
			hand_words(h, &hop->copy, text, sizeof(text));
			candidate(look->in, (pid_t)h->pid, (pid_t)h->tid, text);
			found++;
		}
	}
	return found;
}

/* A process that was forked meanwhile and has the connection, which its parent has closed:
 * that settles it. */
static bool forked_to(struct look *look, const struct hop_ref *hop)
{
	bool parent_has = tracer_socket_open((pid_t)hop->copy.pid, hop->copy.fd, hop->copy.ino);
	struct incident *in = look->in;
	struct hop *caller = chain_last(in);
	pid_t child[HANDS];
	size_t count = 0;
	struct hands hands;

	if (hop->copy.fd < 0 || !caller || !tracer_hands(look->tracer, hop->slot, hop->gen, &hands))
		return false;
	for (uint32_t i = 0; i < hands.count; i++) {
		const struct hand *h = &hands.hand[i];

		if (h->how == HAND_FORKED && tracer_socket_open((pid_t)h->pid, hop->copy.fd, hop->copy.ino))
			child[count++] = (pid_t)h->pid;
	}
	if (!count)
		return false;
	text_set(&caller->via, "fork");
	chain_add(in, child[0], child[0]);
	if (!parent_has && count == 1) {
		text_set(&in->holder.why, "forked by the process that read the request, it alone has the connection");
		return true;
	}
	doubt(in, "processes that were forked meanwhile have the request's connection, too");
	for (size_t i = 0; i < count; i++)
		candidate(in, child[i], child[i], "forked by the process that had the request");
	if (parent_has)
		candidate(in, (pid_t)hop->copy.pid, (pid_t)hop->copy.tid, LAST_BYTES);
	return true;
}

struct homes {
	struct hand *hand;
	size_t count;
};

/* Where the threads of this process wait for work, as far as it was seen. */
static void homes_read(const struct look *look, pid_t pid, struct homes *homes)
{
	struct hands hands;

	for (const struct inflight *f = look->flight; f < look->flight + look->count; f++) {
		if (f->pid != pid || !tracer_hands(look->tracer, f->slot, f->gen, &hands))
			continue;
		for (uint32_t i = 0; i < hands.count; i++) {
			struct hand *home = list_add(&homes->hand, &homes->count, sizeof(*home));

			if (home)
				*home = hands.hand[i];
		}
	}
}

static bool looks_busy(const struct look *look, const struct homes *homes, pid_t tid)
{
	struct proc_syscall now;
	bool known = false;

	if (has_another(look, tid) || thread_call(look, tid, &now) < 0)
		return false;
	for (size_t i = 0; i < homes->count; i++) {
		if (homes->hand[i].tid == (uint32_t)tid && back_home(&homes->hand[i], &now))
			return false;
		known |= homes->hand[i].tid == (uint32_t)tid;
	}
	if (now.nr < 0)
		return true;
	if (waits_for_any(now.nr) || (is_futex(now.nr) && !known))
		return false;
	return !(look->go && wait_kind_of(syscall_name(now.nr)) == WAIT_SLEEP); /* its own clock */
}

static size_t busy_threads(struct look *look, const struct slot *s)
{
	struct homes homes = { 0 };
	CLEAN(free) pid_t *tid = NULL;
	size_t count = 0, found = 0;

	if (proc_threads(look->dir_fd, &tid, &count) < 0)
		return 0;
	homes_read(look, (pid_t)s->pid, &homes);
	for (size_t i = 0; i < MIN(count, (size_t)THREADS_LOOKED_AT); i++) {
		if (tid[i] == (pid_t)s->tid || !looks_busy(look, &homes, tid[i]))
			continue;
		candidate(look->in, (pid_t)s->pid, tid[i], "at work, and on no other request that is known");
		found++;
	}
	free(homes.hand);
	return found;
}

/* Do threads of this process hand requests to each other? Seen so far, or now. */
static bool hands_over(const struct look *look, pid_t pid)
{
	struct hands hands;

	if (tracer_handing(look->tracer, pid))
		return true;
	for (const struct inflight *f = look->flight; f < look->flight + look->count; f++) {
		if (f->pid != pid || !tracer_hands(look->tracer, f->slot, f->gen, &hands))
			continue;
		for (uint32_t i = 0; i < hands.count; i++) {
			struct proc_syscall now;

			if (hands.hand[i].pid == (uint32_t)pid && !hands.hand[i].busy &&
			    thread_call(look, (pid_t)hands.hand[i].tid, &now) == 0 &&
			    !back_home(&hands.hand[i], &now) && hands.hand[i].tid != (uint32_t)f->tid)
				return true;
		}
	}
	return false;
}

/* ---- judging ---- */

static void name_instead(struct incident *in, size_t n)
{
	struct candidate first = in->holder.candidate[n];

	memmove(&in->holder.candidate[1], &in->holder.candidate[0], n * sizeof(first));
	in->holder.candidate[0] = first;
	chain_last(in)->pid = first.pid;
	chain_last(in)->tid = first.tid;
}

static bool program_is_go(int dir_fd)
{
	CLEAN(fd) int fd = openat(dir_fd, "exe", O_RDONLY | O_CLOEXEC);
	struct memory mem;

	if (fd < 0)
		return false;
	mem = memory_of_fd(&fd);
	return buildid_is_go(&mem);
}

/* Go's scheduler moves requests between its threads as it likes: who moved the last bytes
 * says little. */
static void judge_go(struct look *look, const struct slot *s)
{
	size_t found = busy_threads(look, s), count = look->in->holder.candidate_count;
	struct proc_syscall now;
	bool working = thread_call(look, (pid_t)s->tid, &now) == 0 && !waits_for_any(now.nr) && !is_futex(now.nr);

	doubt(look->in,
	      "Go moves requests between its threads: which one runs this one, if any does now, is not known");
	candidate(look->in, (pid_t)s->pid, (pid_t)s->tid, LAST_BYTES);
	if (working || found != 1)
		name_instead(look->in, count);
}

/* Calls that may be this request's: its thread made them after it had waited, or a thread
 * that was handed some request of this process. */
static size_t stray_calls(struct look *look, const struct hop_ref *hop)
{
	size_t found = 0;

	for (const struct inflight *f = look->flight; f < look->flight + look->count; f++) {
		if (!(f->flags & (SLOT_LINK_LATE | SLOT_LINK_GUESSED)) || f->begin_ns < hop->copy.begin_ns)
			continue;
		for (const struct inflight *p = look->flight; p < look->flight + look->count; p++) {
			if (p->slot != f->parent_slot || p->gen != f->parent_gen || p->pid != (pid_t)hop->copy.pid ||
			    (f->flags & SLOT_LINK_LATE && p->tid != (pid_t)hop->copy.tid))
				continue;
			candidate(look->in, f->pid, f->tid, "answers a call that may be this request's");
			found++;
		}
	}
	return found;
}

static void judge_left(struct look *look, const struct hop_ref *hop)
{
	struct incident *in = look->in;
	const struct slot *s = &hop->copy;
	size_t strays;

	if (forked_to(look, hop))
		return;
	if (handed_to(look, hop)) {
		doubt(in,
		      "the thread that had the request now waits for whatever comes next, and woke or started others before");
		name_instead(in, 0);
		if (has_others(look, hop, UINT64_MAX))
			busy_threads(look, s);
		candidate(in, (pid_t)s->pid, (pid_t)s->tid, LAST_BYTES);
		return;
	}
	strays = s->up_waiting ? 0 : stray_calls(look, hop);
	if (hands_over(look, (pid_t)s->pid)) {
		busy_threads(look, s);
		doubt(in, "the threads of this process hand requests to each other: who has this one, or whether it "
			  "still waits for one of them, is not known");
	} else if (strays) {
		doubt(in, "the thread that has the request has others, too, and whose call is whose is not known");
	} else {
		return;
	}
	candidate(in, (pid_t)s->pid, (pid_t)s->tid, LAST_BYTES);
	name_instead(in, in->holder.candidate_count - 1);
}

static void judge(struct look *look)
{
	const struct hop_ref *hop = &look->trap->hop[look->trap->hop_count - 1];
	const struct slot *s = &hop->copy;
	bool parked = (s->seg_kind & (SEGMENTS - 1)) == SEGMENT_WAIT && is_futex(s->wait_nr);
	bool left = (s->seg_kind & (SEGMENTS - 1)) == SEGMENT_AWAY || (s->turn_over && !s->up_waiting);
	struct incident *in = look->in;

	look->dir_fd = proc_dir_open((pid_t)s->pid);
	if (look->dir_fd < 0)
		return;
	look->go = program_is_go(look->dir_fd);
	if (look->go && !s->up_waiting) {
		judge_go(look, s);
	} else if (s->flags & SLOT_GUESSED) {
		doubt(in,
		      "another thread read the request and woke or started this one, which has called somebody since");
		candidate(in, (pid_t)s->pid, (pid_t)s->tid, "made the latest call");
		handed_to(look, hop);
	} else if (left) {
		judge_left(look, hop);
	} else if (parked && handed_to(look, hop)) {
		doubt(in, "the thread that had the request waits for a lock or for work, and woke others before");
		candidate(in, (pid_t)s->pid, (pid_t)s->tid,
			  "moved the last bytes for it; waits for a lock or for work");
		name_instead(in, in->holder.candidate_count - 1);
	}
}

/* Several calls at the same time: the oldest was followed. */
static void other_calls(struct look *look)
{
	const struct trap *trap = look->trap;
	size_t others = 0;

	for (size_t i = 0; i + 1 < trap->hop_count; i++) {
		for (const struct inflight *f = look->flight; f < look->flight + look->count; f++) {
			if (!made_for(f, &trap->hop[i]) || f->slot == trap->hop[i + 1].slot)
				continue;
			candidate(look->in, f->pid, f->tid, "answers another call of the request");
			others++;
		}
	}
	if (others && look->in->holder.certain)
		text_setf(&look->in->holder.why, "the oldest of %zu calls that it has under way", others + 1);
}

/* ---- whom it waits for ---- */

/* An address that a socket could be bound to is one of this host's own, as we see it. */
static bool on_this_host(const struct endpoint *at)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = at->addr[0] };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	bool v4 = at->family == AF_INET;
	CLEAN(fd) int fd = socket(at->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(&in6.sin6_addr, at->addr, sizeof(in6.sin6_addr));
	return fd < 0 ||
	       bind(fd, v4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6, v4 ? sizeof(in) : sizeof(in6)) == 0;
}

static void call_words(struct trap *trap)
{
	const struct slot *s = &trap->hop[trap->hop_count - 1].copy;
	struct holder_facts *holder = &trap->incident->holder;
	char text[256];

	if (!s->up_waiting || trap->incident->reason != REASON_TIME_TAKEN)
		return;
	request_endpoint(&s->up, s->up_path, text, sizeof(text));
	text_set(&holder->call, text[0] ? text : "another service");
	holder->call_pid = (pid_t)s->up_pid;
	holder->call_outside = !s->up_pid && s->up.family != AF_UNIX && !on_this_host(&s->up);
}

/* Not certain: the one that is named comes first, and who may have made a call of the
 * chain for another request is named, too. */
static void candidates_complete(struct look *look)
{
	struct incident *in = look->in;
	size_t n = 0;

	if (in->holder.certain)
		return;
	candidate(in, chain_last(in)->pid, chain_last(in)->tid, "got the latest call");
	while (n + 1 < in->holder.candidate_count && in->holder.candidate[n].tid != chain_last(in)->tid)
		n++;
	name_instead(in, n);
	for (size_t i = 0; i < in->chain_count; i++) {
		if (in->chain[i].doubt)
			candidate(in, in->chain[i].pid, in->chain[i].tid, "the call that was followed may not be its");
	}
}

void holder_find(struct trap *trap, const struct record *record)
{
	struct look look = { .trap = trap, .tracer = trap->world->tracer, .in = trap->incident, .dir_fd = -1 };
	struct incident *in = trap->incident;

	in->holder.certain = true;
	flights_read(&look);
	follow(&look, record);
	chain_words(&look);
	if (chain_last(in)) {
		if (in->reason == REASON_TIME_TAKEN) {
			judge(&look);
			other_calls(&look);
		}
		candidates_complete(&look);
		in->holder_pid = chain_last(in)->pid;
		in->holder_tid = chain_last(in)->tid;
	}
	call_words(trap);
	if (look.dir_fd >= 0)
		close(look.dir_fd);
	free(look.flight);
}
