// SPDX-License-Identifier: MIT
/* HotSpot's thread dump, versions 8 to 25, as 'threaddump -l' answers it. Rejected: its
 * structures in memory (see jvm.c). Traps: a thread's name is anything, line ends and quotes
 * too, so what is after the last quote counts, and a thread that is told twice is not
 * believed; nid is the id in the JVM's own pid name space, hexadecimal up to Java 20, decimal
 * from 21 on; a thread in Object.wait() is still told to have the monitor locked. */
#include "lang_java.h"

#include <ctype.h>

#define VERSION_MAX 32

/* --- which one it is --- */

/* '... JRE (17.0.15+6-Debian-1), built on ...', '... JRE (1.8.0_342-b07), ...' */
static bool find_version(const struct image *image, char *version)
{
	static const char before[] = ") for linux-", mark[] = " JRE (";
	const char *end = (const char *)image->file + image->file_len, *at = image->file;
	size_t n = 0;

	while ((at = memmem(at, (size_t)(end - at), before, strlen(before)))) {
		const char *jre = memmem(at, MIN((size_t)(end - at), 64u), mark, strlen(mark));

		at += strlen(before);
		if (!jre)
			continue;
		for (jre += strlen(mark); jre < end && n < VERSION_MAX - 1; jre++) {
			if (!isdigit((unsigned char)*jre) && *jre != '.' && *jre != '_')
				break;
			version[n++] = *jre;
		}
		version[n] = '\0';
		return n > 0;
	}
	return false;
}

static int java_find(const struct images *images, void **ret_state, char **ret_title, char **ret_why UNUSED)
{
	for (size_t i = 0; i < images_count(images); i++) {
		const struct image *image = images_get(images, i);
		char version[VERSION_MAX] = "";

		if (strcmp(image->name, "libjvm.so") != 0)
			continue;
		*ret_state = malloc(1);
		if (!*ret_state)
			return 0;
		find_version(image, version);
		text_setf(ret_title, version[0] ? "Java %s" : "Java", version);
		return 1;
	}
	return 0;
}

/* --- pieces of text --- */

static struct piece take_line(struct piece *text)
{
	const char *end = memchr(text->at, '\n', text->len);
	struct piece line = { text->at, end ? (size_t)(end - text->at) : text->len };
	size_t step = line.len + (end != NULL);

	text->at += step;
	text->len -= step;
	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static struct piece skip(struct piece p, size_t n)
{
	n = MIN(n, p.len);
	return (struct piece){ p.at + n, p.len - n };
}

/* What comes after 'mark'; at NULL: it is not there. */
static struct piece after(struct piece p, const char *mark)
{
	const char *at = p.len ? memmem(p.at, p.len, mark, strlen(mark)) : NULL;

	return at ? skip(p, (size_t)(at - p.at) + strlen(mark)) : (struct piece){ NULL, 0 };
}

/* 0: no number, or too large a one. */
static uint64_t number(struct piece p, unsigned int base)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p.len; i++) {
		int c = tolower((unsigned char)p.at[i]);
		unsigned int digit = isdigit(c)		    ? (unsigned int)(c - '0')
				     : c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a') + 10
							    : 99;

		if (digit >= base)
			break;
		if (n > (UINT64_MAX - digit) / base)
			return 0;
		n = n * base + digit;
	}
	return n;
}

static uint64_t any_number(struct piece p)
{
	return piece_starts(p, "0x") ? number(skip(p, 2), 16) : number(p, 10);
}

/* 'cpu=1950.54ms', 'elapsed=1.95s': in nanoseconds. 0: none. */
static uint64_t duration(struct piece head, const char *key)
{
	struct piece p = after(head, key);
	uint64_t whole, part = 0, unit = 1;

	if (!p.at)
		return 0;
	whole = number(p, 10);
	while (p.len && isdigit((unsigned char)*p.at))
		p = skip(p, 1);
	if (p.len && *p.at == '.') {
		for (p = skip(p, 1); p.len && isdigit((unsigned char)*p.at) && unit < 1000000; p = skip(p, 1)) {
			part = part * 10 + (uint64_t)(*p.at - '0');
			unit *= 10;
		}
	}
	if (whole > UINT32_MAX || (!piece_starts(p, "ms") && !piece_starts(p, "s")))
		return 0;
	return (whole * 1000000000 + part * 1000000000 / unit) / (piece_starts(p, "ms") ? 1000 : 1);
}

/* --- threads --- */

static int by_ns_tid(const void *a, const void *b)
{
	const struct java_place *x = a, *y = b;

	return x->ns_tid < y->ns_tid ? -1 : x->ns_tid > y->ns_tid;
}

static size_t find_thread(const struct java *java, uint64_t nid)
{
	const struct java_place key = { .ns_tid = (pid_t)nid };
	const struct java_place *place;

	if (!nid || nid > INT32_MAX)
		return SIZE_MAX;
	place = bsearch(&key, java->place, java->count, sizeof(key), by_ns_tid);
	return place ? place->index : SIZE_MAX;
}

/* '"NAME" #12 daemon prio=5 os_prio=0 cpu=0.40ms elapsed=2.26s tid=0x.. nid=0x3add ...': which
 * thread it begins; SIZE_MAX: none that is known. */
static size_t begin_thread(struct java *java, struct piece line)
{
	const char *quote = memrchr(line.at, '"', line.len);
	struct piece head = skip(line, (size_t)(quote - line.at)), nid = after(head, " nid=");
	size_t i = nid.at ? find_thread(java, any_number(nid)) : SIZE_MAX;

	if (i == SIZE_MAX)
		return i;
	if (java->thread[i].told)
		java->thread[i].twice = true;
	java->thread[i].told = true;
	java->said[i].over_ns = duration(head, " elapsed=");
	java->said[i].cpu_ns = java->said[i].over_ns ? duration(head, " cpu=") : 0;
	return i;
}

static void set_piece(char **at, struct piece p, size_t max)
{
	*at = strndup(p.at, MIN(p.len, max));
}

/* 'shop.Cart.add(Cart.java:12)', '...(java.base@17.0.15/Thread.java:840)', '(Native Method)' */
static const char *add_frame(struct java_thread *t, struct lang_said *said, struct piece p)
{
	const char *open = memrchr(p.at, '(', p.len), *slash, *colon;
	struct piece name = { p.at, open ? (size_t)(open - p.at) : p.len };
	struct piece where = open ? skip(p, name.len + 1) : (struct piece){ p.at, 0 };
	struct frame *frame;

	if (!said->script.count)
		t->frame = name;
	if (said->script.count == LANG_FRAMES_MAX)
		return "there are more frames than are shown";
	frame = list_add(&said->script.frame, &said->script.count, sizeof(*frame));
	if (!frame)
		return "out of memory";
	frame->script = true;
	set_piece(&frame->function, name, LANG_NAME_MAX);
	text_set(&frame->module, "java");
	if (where.len && where.at[where.len - 1] == ')')
		where.len--;
	slash = where.at ? memrchr(where.at, '/', where.len) : NULL;
	if (slash)
		where = skip(where, (size_t)(slash - where.at) + 1);
	if (!where.at || !where.len || piece_starts(where, "Native Method") || piece_starts(where, "Unknown Source"))
		return NULL;
	colon = memrchr(where.at, ':', where.len);
	if (colon) {
		uint64_t line = number(skip(where, (size_t)(colon - where.at) + 1), 10);

		frame->line = line < INT32_MAX ? (uint32_t)line : 0;
		where.len = (size_t)(colon - where.at);
	}
	set_piece(&frame->file, where, LANG_PATH_MAX);
	return NULL;
}

/* '<0x00000000ffd19578> (a java.lang.Object)' */
static uint64_t object(struct piece p, struct piece *ret_class)
{
	struct piece address = after(p, "<0x"), class = after(p, "> (a ");

	if (!address.at)
		return 0;
	if (class.at && class.len && class.at[class.len - 1] == ')')
		*ret_class = (struct piece){ class.at, class.len - 1 };
	return number(address, 16);
}

static void add_owned(struct java *java, size_t i, struct piece p, bool monitor)
{
	struct piece class;
	uint64_t addr = object(p, &class);
	struct java_owned *more;

	if (!addr || java->owned_count == JAVA_OWNED_MAX)
		return;
	if (!(java->owned_count & (java->owned_count - 1))) {
		more = realloc(java->owned, MAX(2 * java->owned_count, (size_t)1) * sizeof(*more));
		if (!more)
			return;
		java->owned = more;
	}
	java->owned[java->owned_count++] = (struct java_owned){ addr, i, monitor };
}

/* '- waiting to lock <..> (a X)' and its like, below the frame that does so. */
static void add_lock(struct java *java, size_t i, struct piece p)
{
	static const struct {
		const char *words;
		enum java_want want;
	} rows[] = {
		{ "waiting to lock ", WANT_MONITOR },
		{ "waiting to re-lock in wait() ", WANT_MONITOR },
		{ "waiting on ", WANT_NOTIFY },
		{ "parking to wait for ", WANT_UNPARK },
	};
	struct java_thread *t = &java->thread[i];

	if (piece_starts(p, "locked ")) {
		add_owned(java, i, p, true);
		return;
	}
	if (piece_starts(p, "<")) {
		add_owned(java, i, p, false); /* of 'Locked ownable synchronizers' */
		return;
	}
	for (size_t k = 0; k < ARRAY_LEN(rows) && t->want == WANT_NOTHING; k++) {
		if (!piece_starts(p, rows[k].words))
			continue;
		t->want = rows[k].want;
		t->addr = object(p, &t->of);
	}
}

static enum java_state state_of(struct piece p)
{
	return piece_starts(p, "RUNNABLE")	      ? JAVA_RUNNABLE
	       : piece_starts(p, "TIMED_WAITING (sl") ? JAVA_SLEEPING
	       : after(p, "WAITING (parking)").at     ? JAVA_PARKED
						      : JAVA_OTHER;
}

static void read_lines(struct java *java, struct piece text)
{
	size_t i = SIZE_MAX; /* whose lines these are */

	while (text.len) {
		struct piece line = take_line(&text), state;
		const char *why = NULL;

		if (piece_starts(line, "\""))
			i = begin_thread(java, line);
		else if (piece_starts(line, "JNI global ref") || piece_starts(line, "Found "))
			i = SIZE_MAX;
		if (i == SIZE_MAX || java->thread[i].twice)
			continue;
		state = after(line, "   java.lang.Thread.State: ");
		if (state.at)
			java->thread[i].state = state_of(state);
		else if (piece_starts(line, "\tat "))
			why = add_frame(&java->thread[i], &java->said[i], skip(line, 4));
		else if (piece_starts(line, "\t- "))
			add_lock(java, i, skip(line, 3));
		if (why)
			text_setf(&java->said[i].script.unavailable, "Java stack incomplete: %s", why);
	}
}

/* Of a thread that is told twice nothing is believed. */
static void drop_twice(struct java *java)
{
	size_t kept = 0;

	for (size_t i = 0; i < java->count; i++) {
		if (!java->thread[i].twice)
			continue;
		said_done(&java->said[i]);
		java->thread[i].want = WANT_NOTHING;
		java->thread[i].state = JAVA_OTHER;
		text_set(&java->said[i].script.unavailable, "Java stack unavailable: the JVM tells this thread twice");
	}
	for (size_t k = 0; k < java->owned_count; k++) {
		if (!java->thread[java->owned[k].thread].twice)
			java->owned[kept++] = java->owned[k];
	}
	java->owned_count = kept;
}

static const char *java_told(const char *text, size_t len, const struct capture_thread *threads, size_t count,
			     struct lang_said *ret_said)
{
	struct piece all = { text, len };
	struct java java = { .threads = threads, .count = count, .said = ret_said };
	const char *why = NULL;

	if (!after((struct piece){ text, MIN(len, 4096u) }, "Full thread dump ").at)
		return "its answer is no list of threads";
	java.place = calloc(count + 1, sizeof(*java.place));
	java.thread = calloc(count + 1, sizeof(*java.thread));
	for (size_t i = 0; i < count; i++)
		ret_said[i].owner = SIZE_MAX;
	if (java.place && java.thread) {
		for (size_t i = 0; i < count; i++)
			java.place[i] = (struct java_place){ threads[i].ns_tid, i };
		qsort(java.place, count, sizeof(*java.place), by_ns_tid);
		read_lines(&java, all);
		drop_twice(&java);
		java_waits(&java);
	} else {
		why = "out of memory";
	}
	free(java.place);
	free(java.thread);
	free(java.owned);
	return why;
}

const struct language lang_java = {
	.name = "java",
	.find = java_find,
	.told = java_told,
	.free_state = free,
};
