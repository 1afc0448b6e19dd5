/* SPDX-License-Identifier: MIT */
/* An incident with every field set, for the tests of what reads incidents. */
#ifndef REQTRAP_SAMPLE_H
#define REQTRAP_SAMPLE_H

#include "incident.h"

#include <string.h>

#define SAMPLE_MS 1000000ull

static inline void sample_frame(struct stack *stack, const char *function, const char *file, uint32_t line,
				const char *module, uint64_t pc, bool script)
{
	struct frame *f = list_add(&stack->frame, &stack->count, sizeof(*f));

	text_set(&f->function, function);
	text_set(&f->file, file);
	text_set(&f->module, module);
	f->line = line;
	f->pc = pc;
	f->script = script;
}

static inline void sample_event(struct incident *i, uint64_t at_ns, uint64_t dur_ns, const char *kind, const char *name,
				const char *detail)
{
	struct trace_event *e = list_add(&i->trace, &i->trace_count, sizeof(*e));

	*e = (struct trace_event){ .at_ns = at_ns, .dur_ns = dur_ns, .pid = 19957, .tid = 19957, .count = 1 };
	text_set(&e->kind, kind);
	text_set(&e->name, name);
	text_set(&e->detail, detail);
}

static inline void sample_spending(struct incident *i, enum spend kind, uint64_t ns, uint64_t count, const char *call,
				   const char *object)
{
	struct spending *s = list_add(&i->spending, &i->spending_count, sizeof(*s));

	*s = (struct spending){ .kind = kind, .ns = ns, .count = count, .open = kind == SPEND_WAIT };
	text_set(&s->call, call);
	text_set(&s->object, object);
}

static inline void sample_hop(struct incident *i, pid_t pid, const char *process, const char *via)
{
	struct hop *h = list_add(&i->chain, &i->chain_count, sizeof(*h));

	h->pid = h->tid = pid;
	text_set(&h->process, process);
	text_set(&h->via, via);
}

static inline void sample_analysis(struct analysis *a)
{
	struct thread *t = list_add(&a->thread, &a->thread_count, sizeof(*t));
	struct lock *l = list_add(&a->lock, &a->lock_count, sizeof(*l));
	struct variable *v;
	struct task *task;
	pid_t *waiter;

	*t = (struct thread){ .tid = 19957, .state = 'S', .waits_for_tid = 20214, .holder = true };
	text_set(&t->comm, "php-fpm");
	text_set(&t->call, "flock");
	text_set(&t->waits_for, "flock /var/lib/php/sessions/sess_abc123 held by 20214");
	sample_frame(&t->script, "session_start", NULL, 0, "php", 0, true);
	sample_frame(&t->script, "Cart::open", "/srv/shop/Cart.php", 44, "php", 0, true);
	text_set(&t->script.frame[1].arguments, "44, \"x\"");
	sample_frame(&t->stack, "flock", NULL, 0, "libc.so.6", 0x7f0012345678, false);
	sample_frame(&t->stack, "execute_ex", "zend_execute.c", 12, "php-fpm8.2", 0x55d0c0ffee00, false);
	text_set(&t->stack.unavailable, "ends early: no unwind information at 0x1234");
	t = list_add(&a->thread, &a->thread_count, sizeof(*t));
	*t = (struct thread){ .tid = 19958, .state = 'R' };
	text_set(&t->comm, "helper");

	text_set(&l->name, "flock /var/lib/php/sessions/sess_abc123");
	l->owner = 20214;
	text_set(&l->owner_name, "php-fpm");
	waiter = list_add(&l->waiter, &l->waiter_count, sizeof(*waiter));
	*waiter = 19957;
	waiter = list_add(&l->waiter, &l->waiter_count, sizeof(*waiter));
	*waiter = 19961;
	task = list_add(&a->task, &a->task_count, sizeof(*task));
	text_set(&task->name, "Task-4");
	text_set(&task->waits_for, "task Task-3");
	sample_frame(&task->stack, "query", "/srv/shop/db.py", 12, "python", 0, true);
	v = list_add(&a->variable, &a->variable_count, sizeof(*v));
	text_set(&v->name, "REQUEST_METHOD");
	text_set(&v->value, "GET");
	v = list_add(&a->variable, &a->variable_count, sizeof(*v));
	text_set(&v->name, "HTTP_COOKIE");
	text_set(&v->value, "***");
	v->masked = true;
	strings_add(&a->deadlock, "5689 -> 5690 -> 5689");
	strings_add(&a->note, "no debug files for php-fpm: static functions have no name");
	text_set(&a->language, "PHP 8.2.30");
	text_set(&a->failed, "only half of it could be read");
}

static inline void sample_outcome(struct incident *i)
{
	struct omission *o;

	i->capture = (struct capture_facts){ .method = METHOD_CLONE,
					     .started_after_ns = 400000,
					     .pause_ns = 3 * SAMPLE_MS,
					     .wall_ns = 250 * SAMPLE_MS,
					     .running_at_snapshot = true,
					     .core_complete = true,
					     .core_kind = CORE_MINI,
					     .core_bytes = 64ull << 20,
					     .core_bytes_on_disk = 6ull << 20 };
	text_set(&i->capture.why_not_clone, "seccomp forbids clone");
	text_set(&i->capture.failed, "process gone");
	text_set(&i->capture.core_file, "core.zst");
	o = list_add(&i->capture.omitted, &i->capture.omitted_count, sizeof(*o));
	text_set(&o->range, "7f0000000000-7f0000200000 [vvar]");
	text_set(&o->why, "not readable");
	i->action.state = ACTION_RAN;
	strings_add(&i->action.argv, "/usr/local/bin/tell-us");
	strings_add(&i->action.argv, "19957");
	i->action.exit_code = 3;
	i->action.took_ns = 12 * SAMPLE_MS;
	i->action.output_cut = true;
	text_set(&i->action.output, "told\nyou\n");
	text_set(&i->action.why, "for the test");
	i->losses = (struct losses){ .events_overwritten = 1, .ring_lost = 2, .refused = 3, .blind_io = 4 };
	text_set(&i->losses.shed, "scheduler");
	text_set(&i->verdict, "Blocked 12.4 s waiting for the PHP session lock.");
	strings_add(&i->evidence, "the kernel's lock table names the holder");
	strings_add(&i->evidence, "the same stack in 3 of 3 samples");
	text_set(&i->confidence, "high");
	text_set(&i->advice, "call session_write_close() before slow work");
}

static inline struct incident *sample_incident(void)
{
	struct incident *i = incident_new();

	if (!i)
		abort();
	memcpy(i->id, "0123456789ab", sizeof(i->id));
	i->started_wall_ns = 1795360546600000000ull; /* 2026-11-22 15:15:46.6 UTC */
	i->trapped_wall_ns = i->started_wall_ns + 500 * SAMPLE_MS;
	text_set(&i->host_name, "shop1");
	text_set(&i->kernel, "6.1.0-18-amd64");
	text_set(&i->version, "0.1.0");
	text_set(&i->rule, "slow checkout");
	i->reason = REASON_STATUS_CODE;
	strings_add(&i->also_matched, "everything");
	i->limit_ns = 500 * SAMPLE_MS;
	i->elapsed_ns = 501 * SAMPLE_MS;
	i->fired_after_ns = 502 * SAMPLE_MS;
	i->limit_reached = true;
	text_set(&i->suppressed, "cool-down of 30s");
	i->request = (struct request_info){ .protocol = PROTOCOL_FASTCGI,
					    .head_cut = true,
					    .start_unknown = true,
					    .unread_known = true,
					    .unread_ns = 47000000,
					    .request_bytes = 700,
					    .response_bytes = 1234 };
	text_set(&i->request.method, "GET");
	text_set(&i->request.url, "/cart/checkout?order=77");
	text_set(&i->request.host, "shop.example");
	text_set(&i->request.user_agent, "curl/7.88");
	text_set(&i->request.client, "10.1.2.3:40226");
	sample_hop(i, 20211, "nginx", "unix:/run/php.sock");
	sample_hop(i, 19957, "php-fpm", NULL);
	i->holder_pid = i->holder_tid = 19957;
	i->holder.certain = true;
	i->process = (struct process_facts){
		.pid = 19957, .rss_bytes = 48ull << 20, .thread_count = 2, .uid = 33, .gid = 34
	};
	text_set(&i->process.comm, "php-fpm");
	text_set(&i->process.exe, "/usr/sbin/php-fpm8.2");
	text_set(&i->process.cmdline, "php-fpm: pool www");
	text_set(&i->process.cgroup, "/system.slice/php8.2-fpm.service");
	text_set(&i->process.language, "PHP 8.2.30");
	i->ended = true;
	i->status = 200;
	i->time_taken_ns = 2502 * SAMPLE_MS;
	text_set(&i->end_note, "aborted by the client");
	sample_spending(i, SPEND_WAIT, 480 * SAMPLE_MS, 1, "flock", "/var/lib/php/sessions/sess_abc123");
	text_set(&i->spending[0].what, "file lock");
	text_set(&i->spending[0].peer, "php-fpm 20214");
	text_set(&i->spending[0].waker, "php-fpm 20214");
	sample_spending(i, SPEND_CPU, 15 * SAMPLE_MS, 0, NULL, NULL);
	i->spending[1].user_ns = 14 * SAMPLE_MS;
	i->spending[1].kernel_ns = 1 * SAMPLE_MS;
	sample_spending(i, SPEND_RUNNABLE, 2 * SAMPLE_MS, 3, NULL, NULL);
	sample_spending(i, SPEND_UNATTRIBUTED, 4 * SAMPLE_MS, 0, NULL, NULL);
	sample_event(i, 0, 0, "recv", "request head", "GET /cart/checkout");
	i->trace[0].bytes = 700;
	sample_event(i, 15 * SAMPLE_MS, 480 * SAMPLE_MS, "wait", "flock", NULL);
	i->trace[1].waker = 20214;
	text_set(&i->trace[1].waker_name, "php-fpm");
	i->page_faults = 17;
	i->trace[1].count = 2;
	sample_event(i, 501 * SAMPLE_MS, 0, "trigger", "slow checkout", NULL);
	sample_outcome(i);
	sample_analysis(&i->analysis);
	return i;
}

#endif
