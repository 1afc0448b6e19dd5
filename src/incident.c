// SPDX-License-Identifier: MIT
/* Owning and freeing the one data model. Nothing here knows what the parts mean. */
#include "incident.h"

#include <stdarg.h>
#include <string.h>
#include <sys/random.h>

const char *reason_name(enum reason reason)
{
	static const char *const name[] = { "TIME_TAKEN", "STATUS_CODE", "ABORTED", "RESPONSE_SIZE", "APP_MARK" };

	return name[reason];
}

const char *severity_name(uint32_t severity)
{
	static const char *const name[] = { "", "critical", "error", "warning", "information", "verbose" };

	return severity < ARRAY_LEN(name) ? name[severity] : "";
}

const char *protocol_name(enum protocol protocol)
{
	static const char *const name[] = { "HTTP/1.1", "FastCGI" };

	return name[protocol];
}

const char *capture_method_name(enum capture_method method)
{
	static const char *const name[] = { "none", "clone", "stop" };

	return name[method];
}

const char *core_kind_name(enum core_kind kind)
{
	static const char *const name[] = { "none", "full", "mini" };

	return name[kind];
}

const char *action_state_name(enum action_state state)
{
	static const char *const name[] = { "none", "ran", "failed", "timed out", "limit", "disabled" };

	return name[state];
}

struct incident *incident_new(void)
{
	struct incident *i = calloc(1, sizeof(*i));
	unsigned char raw[INCIDENT_ID_LEN / 2];

	if (!i)
		return NULL;
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw)) {
		free(i);
		return NULL;
	}
	for (size_t k = 0; k < sizeof(raw); k++)
		snprintf(i->id + 2 * k, 3, "%02x", raw[k]);
	return i;
}

void *list_add(void *pointer_to_array, size_t *count, size_t element_size)
{
	char *old, *more;

	memcpy(&old, pointer_to_array, sizeof(old));
	/* Grows by doubling: the capacity is the next power of two. */
	if ((*count & (*count - 1)) == 0) {
		size_t cap = *count ? *count * 2 : 1;

		more = reallocarray(old, cap, element_size);
		if (!more)
			return NULL;
		memcpy(pointer_to_array, &more, sizeof(more));
		old = more;
	}
	more = old + *count * element_size;
	memset(more, 0, element_size);
	(*count)++;
	return more;
}

size_t strings_count(char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

int strings_add(char ***list, const char *text)
{
	size_t n = strings_count(*list);
	char *copy = strdup(text);
	char **more = copy ? reallocarray(*list, n + 2, sizeof(*more)) : NULL;

	if (!more) {
		free(copy);
		return -ENOMEM;
	}
	more[n] = copy;
	more[n + 1] = NULL;
	*list = more;
	return 0;
}

void strings_free(char **list)
{
	for (size_t n = 0; list && list[n]; n++)
		free(list[n]);
	free(list);
}

void text_set(char **at, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	free(*at);
	*at = copy;
}

void text_setf(char **at, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	free(*at);
	*at = text;
}

int module_add(struct analysis *a, const struct module_id *module)
{
	struct module_id *at = NULL;

	for (size_t n = 0; n < a->module_count && !at; n++) {
		if (a->module[n].pid == module->pid && !strcmp(a->module[n].name, module->name))
			at = &a->module[n];
	}
	if (at) {
		/* Two files of one name: which of them a frame is in is not kept. */
		if (at->bias != module->bias)
			text_set(&at->build_id, NULL);
		return 0;
	}
	at = list_add(&a->module, &a->module_count, sizeof(*at));
	if (!at)
		return -ENOMEM;
	at->pid = module->pid;
	at->bias = module->bias;
	text_set(&at->name, module->name);
	text_set(&at->build_id, module->build_id);
	return at->name ? 0 : -ENOMEM;
}

void stack_done(struct stack *stack)
{
	for (size_t n = 0; n < stack->count; n++) {
		free(stack->frame[n].function);
		free(stack->frame[n].file);
		free(stack->frame[n].module);
		free(stack->frame[n].arguments);
	}
	free(stack->frame);
	free(stack->unavailable);
	*stack = (struct stack){ 0 };
}

static void thread_done(struct thread *t)
{
	free(t->comm);
	free(t->call);
	free(t->waits_for);
	stack_done(&t->stack);
	stack_done(&t->script);
}

void analysis_done(struct analysis *a)
{
	for (size_t n = 0; n < a->thread_count; n++)
		thread_done(&a->thread[n]);
	free(a->thread);
	for (size_t n = 0; n < a->lock_count; n++) {
		free(a->lock[n].name);
		free(a->lock[n].owner_name);
		free(a->lock[n].waiter);
	}
	free(a->lock);
	for (size_t n = 0; n < a->variable_count; n++) {
		free(a->variable[n].name);
		free(a->variable[n].value);
	}
	free(a->variable);
	for (size_t n = 0; n < a->own_count; n++)
		free(a->own[n].name);
	free(a->own);
	for (size_t n = 0; n < a->task_count; n++) {
		free(a->task[n].name);
		free(a->task[n].waits_for);
		stack_done(&a->task[n].stack);
	}
	free(a->task);
	for (size_t n = 0; n < a->module_count; n++) {
		free(a->module[n].name);
		free(a->module[n].build_id);
	}
	free(a->module);
	strings_free(a->deadlock);
	strings_free(a->note);
	free(a->language);
	free(a->failed);
	*a = (struct analysis){ 0 };
}

static void capture_done(struct capture_facts *c)
{
	free(c->why_not_clone);
	free(c->failed);
	free(c->core_file);
	for (size_t n = 0; n < c->omitted_count; n++) {
		free(c->omitted[n].range);
		free(c->omitted[n].why);
	}
	free(c->omitted);
}

void spending_done(struct spending *s)
{
	free(s->call);
	free(s->what);
	free(s->object);
	free(s->peer);
	free(s->waker);
	free(s->who);
}

static void trace_done(struct incident *i)
{
	for (size_t n = 0; n < i->trace_count; n++) {
		free(i->trace[n].kind);
		free(i->trace[n].name);
		free(i->trace[n].detail);
		free(i->trace[n].waker_name);
	}
	free(i->trace);
	for (size_t n = 0; n < i->spending_count; n++)
		spending_done(&i->spending[n]);
	free(i->spending);
	for (size_t n = 0; n < i->chain_count; n++) {
		free(i->chain[n].process);
		free(i->chain[n].via);
		free(i->chain[n].doubt);
	}
	free(i->chain);
}

static void holder_done(struct holder_facts *h)
{
	free(h->why);
	free(h->call);
	for (size_t n = 0; n < h->candidate_count; n++)
		free(h->candidate[n].why);
	free(h->candidate);
}

static void action_done(struct action_facts *a)
{
	strings_free(a->argv);
	free(a->output);
	free(a->why);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_stack(const struct stack *a, const struct stack *b)
{
	if (a->count != b->count)
		return false;
	for (size_t n = 0; n < a->count; n++) {
		const struct frame *x = &a->frame[n], *y = &b->frame[n];

		if (x->line != y->line || !same_text(x->function, y->function) || !same_text(x->file, y->file))
			return false;
	}
	return true;
}

bool thread_same_place(const struct thread *a, const struct thread *b)
{
	return (a->stack.count || a->script.count) && same_text(a->call, b->call) && same_stack(&a->stack, &b->stack) &&
	       same_stack(&a->script, &b->script);
}

static void samples_done(struct incident *i)
{
	for (size_t n = 0; n < i->thread_use_count; n++)
		free(i->thread_use[n].comm);
	free(i->thread_use);

	for (size_t n = 0; n < i->sample_count; n++) {
		free(i->sample[n].rule);
		free(i->sample[n].failed);
		thread_done(&i->sample[n].thread);
		action_done(&i->sample[n].action);
	}
	free(i->sample);
}

void request_info_done(struct request_info *info)
{
	free(info->method);
	free(info->url);
	free(info->host);
	free(info->user_agent);
	free(info->client);
	*info = (struct request_info){ 0 };
}

void beyond_done(struct beyond *b)
{
	free(b->process);
	free(b->how);
	free(b->request);
	free(b->failed);
	thread_done(&b->thread);
	*b = (struct beyond){ 0 };
}

void scene_done(struct scene *s)
{
	for (size_t n = 0; n < s->end_count; n++) {
		free(s->end[n].what);
		free(s->end[n].peer);
		free(s->end[n].peer_request);
		free(s->end[n].protocol);
		free(s->end[n].statement);
	}
	free(s->end);
	free(s->pool.name);
	free(s->pool.listen);
	for (size_t n = 0; n < s->pool.group_count; n++) {
		free(s->pool.group[n].what);
		free(s->pool.group[n].place);
	}
	free(s->pool.group);
	strings_free(s->note);
	*s = (struct scene){ 0 };
}

void incident_free(struct incident *i)
{
	if (!i)
		return;
	free(i->host_name);
	free(i->kernel);
	free(i->version);
	free(i->rule);
	strings_free(i->also_matched);
	free(i->suppressed);
	request_info_done(&i->request);
	free(i->process.comm);
	free(i->process.exe);
	free(i->process.cmdline);
	free(i->process.cgroup);
	free(i->process.language);
	free(i->end_note);
	trace_done(i);
	holder_done(&i->holder);
	capture_done(&i->capture);
	analysis_done(&i->analysis);
	free(i->verdict);
	strings_free(i->evidence);
	free(i->cause);
	free(i->confidence);
	free(i->advice);
	action_done(&i->action);
	free(i->losses.shed);
	samples_done(i);
	for (size_t n = 0; n < i->beyond_count; n++)
		beyond_done(&i->beyond[n]);
	free(i->beyond);
	scene_done(&i->scene);
	free(i);
}
