// SPDX-License-Identifier: MIT
/* The request that a PHP process works on, as it knows it itself: sapi_globals has method
 * and URI, and under FastCGI its server_context leads to the record with every parameter
 * that the web server sent, client and trace ids among them. The layout of that record has
 * been the same since 7.0. Rejected: the array $_SERVER (it is made only when a script
 * asks for it, and a script may change it).
 * Trap: sapi_globals keeps the last request's fields; what is over is told by the record's
 * list being empty, its socket closed, or no function being run. */
#include "lang_php.h"

#include "mask.h"

#include <ctype.h>
#include <string.h>

#define PARAMS_MAX 256
#define NAME_MAX_BYTES 128
#define VALUE_MAX 1024

/* of sapi_globals_struct; the same in all these versions */
enum { SERVER_CONTEXT = 0, METHOD = 8, QUERY = 16, SCRIPT = 40, URI = 48, REQUEST_TIME = 440 };
/* of fcgi_request and its buckets */
enum { FCGI_FD = 8, FCGI_LIST = 9320, BUCKET_WORDS = 6, VAR_LEN = 0, VAR, VAL_LEN, VAL, NEXT_IN_HASH, NEXT };

struct params {
	const struct memory *mem;
	struct variable *variable;
	size_t count;
};

static bool add_variable(struct params *p, const char *name, const char *value)
{
	struct variable *v = list_add(&p->variable, &p->count, sizeof(*v));

	if (!v)
		return false;
	text_set(&v->name, name);
	v->value = mask_value(name, value, &v->masked);
	return v->name && v->value;
}

static bool is_name(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("_-.", text[i]))
			return false;
	}
	return len > 0;
}

static const char *add_param(struct params *p, const uint64_t *bucket)
{
	static const char *const bad = "its FastCGI parameters cannot be read";
	uint32_t var_len = (uint32_t)(bucket[VAR_LEN] >> 32), val_len = (uint32_t)bucket[VAL_LEN];
	char name[NAME_MAX_BYTES + 1], value[VALUE_MAX + 64];
	size_t kept = MIN((size_t)val_len, (size_t)VALUE_MAX);

	if (!bucket[VAL]) /* taken out again */
		return NULL;
	if (var_len > NAME_MAX_BYTES)
		return "a FastCGI parameter's name is longer than is read";
	if (memory_get(p->mem, bucket[VAR], name, var_len) < 0 || !is_name(name, var_len) ||
	    memory_get(p->mem, bucket[VAL], value, kept) < 0)
		return bad;
	name[var_len] = value[kept] = '\0';
	if (val_len > kept)
		snprintf(value + kept, sizeof(value) - kept, " [%u more bytes]", val_len - (uint32_t)kept);
	return add_variable(p, name, value) ? NULL : "out of memory";
}

/* The list has the last one first. */
static const char *add_params(struct params *p, uint64_t bucket_at)
{
	uint64_t bucket[PARAMS_MAX][BUCKET_WORDS];
	const char *why = NULL;
	size_t count = 0;

	for (; bucket_at && count < PARAMS_MAX; count++) {
		if (memory_get(p->mem, bucket_at, bucket[count], sizeof(bucket[count])) < 0)
			return "its FastCGI parameters cannot be read";
		bucket_at = bucket[count][NEXT];
	}
	while (count > 0 && !why)
		why = add_param(p, bucket[--count]);
	return why ? why : bucket_at ? "it has more FastCGI parameters than are shown" : NULL;
}

static bool is_fastcgi(const struct php *php, const struct memory *mem)
{
	uint64_t name;
	char text[16];

	return php->sapi_module && memory_u64(mem, php->sapi_module, &name) &&
	       memory_string(mem, name, text, sizeof(text)) >= 0 &&
	       (!strcmp(text, "fpm-fcgi") || !strcmp(text, "cgi-fcgi"));
}

static bool add_global(struct params *p, const struct php *php, unsigned int at, const char *name)
{
	char value[VALUE_MAX];
	uint64_t addr;

	if (!memory_u64(p->mem, php->sapi_globals + at, &addr) || !addr ||
	    memory_string(p->mem, addr, value, sizeof(value)) < 0)
		return false;
	return add_variable(p, name, value);
}

static void add_time(struct params *p, const struct php *php)
{
	uint64_t bits;
	char text[32];
	double when;

	if (!memory_u64(p->mem, php->sapi_globals + REQUEST_TIME, &bits))
		return;
	memcpy(&when, &bits, sizeof(when));
	if (!(when > 0 && when < 1e11)) /* nobody has asked for it yet */
		return;
	snprintf(text, sizeof(text), "%.6f", when);
	add_variable(p, "REQUEST_TIME_FLOAT", text);
}

const char *php_request(const void *state, const struct memory *mem, struct variable **ret_variable, size_t *ret_count)
{
	const struct php *php = state;
	struct params p = { .mem = mem };
	uint64_t context, list, running;
	const char *why = NULL;
	uint32_t fd;

	if (!php->sapi_globals || !memory_u64(mem, php->executor_globals + php->row->current, &running))
		return NULL;
	if (!is_fastcgi(php, mem)) {
		if (running && add_global(&p, php, METHOD, "REQUEST_METHOD")) {
			add_global(&p, php, URI, "REQUEST_URI");
			add_global(&p, php, QUERY, "QUERY_STRING");
			add_global(&p, php, SCRIPT, "SCRIPT_FILENAME");
			add_time(&p, php);
		}
	} else if (memory_u64(mem, php->sapi_globals + SERVER_CONTEXT, &context) && context) {
		if (!memory_u32(mem, context + FCGI_FD, &fd) || !memory_u64(mem, context + FCGI_LIST, &list))
			return "its FastCGI request cannot be read";
		if (!list || (fd >> 31 && !running))
			return NULL; /* between two requests */
		why = add_params(&p, list);
		add_time(&p, php);
		if (!why && fd >> 31)
			why = "PHP has answered this request, its script goes on";
	}
	*ret_variable = p.variable;
	*ret_count = p.count;
	return why;
}
