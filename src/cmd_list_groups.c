// SPDX-License-Identifier: MIT
/* Of each incident only the key and a few numbers are kept: a store may hold thousands.
 * Rejected: groups by URL (one cause has many, one URL has several). Trap: the order of
 * groups must not depend on chance, two runs print the same. */
#include "cmd_list_groups.h"

#include "alike.h"
#include "facts.h"
#include "report_words.h"

#include <string.h>

#define REQUESTS_SHOWN 3
#define REQUESTS_KEPT 100 /* different ones of a group; more are only counted */
#define TEXT_INDENT 6

struct asked_for {
	char *what; /* 'GET /cart' */
	uint64_t count;
};

struct alike_group {
	struct alike key;
	uint64_t count, first_ns, last_ns, slowest_ns;
	char first[INCIDENT_ID_LEN + 1], last[INCIDENT_ID_LEN + 1], slowest[INCIDENT_ID_LEN + 1];
	char *verdict; /* of the last */
	char **rule;   /* that trapped them */
	struct asked_for *request;
	size_t request_count;
	uint64_t requests_left; /* incidents of requests that are not kept */
};

struct list_groups {
	struct alike_group *group;
	size_t count;
};

struct list_groups *list_groups_new(void)
{
	return calloc(1, sizeof(struct list_groups));
}

void list_groups_free(struct list_groups *g)
{
	for (size_t n = 0; g && n < g->count; n++) {
		struct alike_group *one = &g->group[n];

		alike_done(&one->key);
		free(one->verdict);
		strings_free(one->rule);
		for (size_t k = 0; k < one->request_count; k++)
			free(one->request[k].what);
		free(one->request);
	}
	if (g)
		free(g->group);
	free(g);
}

/* ---- an incident more ---- */

static struct alike_group *group_of(struct list_groups *g, struct alike *key)
{
	struct alike_group *one;

	for (size_t n = 0; n < g->count; n++) {
		if (alike_same(&g->group[n].key, key)) {
			alike_done(key);
			return &g->group[n];
		}
	}
	one = list_add(&g->group, &g->count, sizeof(*one));
	if (one)
		one->key = *key;
	else
		alike_done(key);
	return one;
}

static void add_request(struct alike_group *one, const struct request_info *request)
{
	CLEAN(free) char *what = NULL;
	struct asked_for *asked;

	text_setf(&what, "%s %.*s", request->method ? request->method : "?",
		  request->url ? (int)MIN(strcspn(request->url, "?"), (size_t)1000) : 1,
		  request->url ? request->url : "?");
	for (size_t n = 0; what && n < one->request_count; n++) {
		if (!strcmp(one->request[n].what, what)) {
			one->request[n].count++;
			return;
		}
	}
	asked = what && one->request_count < REQUESTS_KEPT
			? list_add(&one->request, &one->request_count, sizeof(*asked))
			: NULL;
	if (!asked) {
		one->requests_left++;
		return;
	}
	*asked = (struct asked_for){ .what = what, .count = 1 };
	what = NULL;
}

static void add_rule(struct alike_group *one, const char *rule)
{
	for (char **r = one->rule; r && *r && rule; r++) {
		if (!strcmp(*r, rule))
			return;
	}
	if (rule)
		strings_add(&one->rule, rule);
}

int list_groups_add(struct list_groups *g, const struct incident *i)
{
	uint64_t at_ns = i->trapped_wall_ns ? i->trapped_wall_ns : i->started_wall_ns;
	uint64_t took_ns = i->ended ? i->time_taken_ns : i->elapsed_ns;
	struct alike_group *one;
	struct alike key;

	alike_of(i, &key);
	one = group_of(g, &key);
	if (!one)
		return -ENOMEM;
	if (!one->count++ || at_ns < one->first_ns) {
		one->first_ns = at_ns;
		memcpy(one->first, i->id, sizeof(one->first));
	}
	if (!one->last[0] || at_ns > one->last_ns) {
		one->last_ns = at_ns;
		memcpy(one->last, i->id, sizeof(one->last));
		text_set(&one->verdict, i->verdict);
	}
	if (!one->slowest[0] || took_ns > one->slowest_ns) {
		one->slowest_ns = took_ns;
		memcpy(one->slowest, i->id, sizeof(one->slowest));
	}
	add_request(one, &i->request);
	add_rule(one, i->rule);
	return 0;
}

/* ---- told ---- */

static int larger_first(const void *a, const void *b)
{
	const struct alike_group *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	if (x->last_ns != y->last_ns)
		return x->last_ns < y->last_ns ? 1 : -1;
	return strcmp(x->last, y->last);
}

static int more_often_first(const void *a, const void *b)
{
	const struct asked_for *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->what, y->what);
}

/* 'session-lock in load_session() in /srv/session.php, waiting in flock for ...' */
static void put_because(struct buf *out, const struct alike *key)
{
	buf_addf(out, "%s, %s", key->cause, key->wait ? key->wait : "not known");
	buf_addf(out, key->place ? ", %s" : ", no stack of them", key->place ? key->place : "");
}

static void add_paragraph(struct buf *out, const char *lead, const char *text)
{
	struct buf clean;

	buf_init(&clean, 1u << 16);
	add_clean(&clean, text, strlen(text));
	add_wrapped(out, lead, clean.data ? clean.data : "", TEXT_INDENT);
	buf_done(&clean);
}

static void add_requests(struct buf *out, const struct alike_group *one)
{
	uint64_t left = one->requests_left;
	struct buf line;

	buf_init(&line, 1u << 14);
	for (size_t n = 0; n < one->request_count; n++) {
		const struct asked_for *asked = &one->request[n];

		if (n >= REQUESTS_SHOWN)
			left += asked->count;
		else
			buf_addf(&line, "%s%s (%llu)", n ? ", " : "", asked->what, (unsigned long long)asked->count);
	}
	if (left)
		buf_addf(&line, ", others (%llu)", (unsigned long long)left);
	if (line.len)
		add_paragraph(out, "      ", line.data);
	buf_done(&line);
}

static void add_group(struct buf *out, const struct alike_group *one)
{
	struct buf because;

	buf_init(&because, 1u << 14);
	put_because(&because, &one->key);
	buf_addf(out, "%5llu  %.19s  %.19s  %8s  %s\n", (unsigned long long)one->count, word_wall(one->first_ns).s,
		 word_wall(one->last_ns).s, word_duration(one->slowest_ns).s, one->last);
	add_paragraph(out, "      grouped because: ", because.data);
	add_requests(out, one);
	add_paragraph(out, "      ", one->verdict ? one->verdict : "no verdict");
	buf_done(&because);
}

static void add_strings(struct buf *out, const char *key, char *const *list)
{
	buf_addf(out, ",\"%s\":[", key);
	for (size_t n = 0; list && list[n]; n++) {
		buf_adds(out, n ? "," : "");
		facts_add_string(out, list[n]);
	}
	buf_adds(out, "]");
}

static void add_json(struct buf *out, const struct alike_group *one)
{
	struct buf because;
	const struct {
		const char *key, *text;
	} row[] = { { "cause", one->key.cause }, { "wait", one->key.wait },  { "place", one->key.place },
		    { "grouped_because", NULL }, { "first", one->first },    { "last", one->last },
		    { "slowest", one->slowest }, { "verdict", one->verdict } };

	buf_init(&because, 1u << 14);
	put_because(&because, &one->key);
	buf_addf(out, "{\"event\":\"group\",\"count\":%llu", (unsigned long long)one->count);
	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		buf_addf(out, ",\"%s\":", row[n].key);
		facts_add_string(out, strcmp(row[n].key, "grouped_because") ? row[n].text : because.data);
	}
	buf_done(&because);
	buf_addf(out, ",\"first_wall_ns\":%llu,\"last_wall_ns\":%llu,\"slowest_ms\":%s",
		 (unsigned long long)one->first_ns, (unsigned long long)one->last_ns, word_ms(one->slowest_ns).s);
	add_strings(out, "rules", one->rule);
	buf_adds(out, ",\"requests\":[");
	for (size_t n = 0; n < one->request_count; n++) {
		buf_adds(out, n ? ",{\"request\":" : "{\"request\":");
		facts_add_string(out, one->request[n].what);
		buf_addf(out, ",\"count\":%llu}", (unsigned long long)one->request[n].count);
	}
	buf_addf(out, "],\"other_requests\":%llu}\n", (unsigned long long)one->requests_left);
}

void list_groups_tell(struct list_groups *g, bool json, struct buf *out)
{
	if (g->count)
		qsort(g->group, g->count, sizeof(g->group[0]), larger_first);
	if (!json && g->count)
		buf_addf(out, "%5s  %-19s  %-19s  %8s  %s\n", "COUNT", "FIRST (UTC)", "LAST", "SLOWEST", "LAST ID");
	for (size_t n = 0; n < g->count; n++) {
		struct alike_group *one = &g->group[n];

		if (one->request_count)
			qsort(one->request, one->request_count, sizeof(one->request[0]), more_often_first);
		if (json)
			add_json(out, one);
		else
			add_group(out, one);
	}
}
