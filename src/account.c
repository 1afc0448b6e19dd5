// SPDX-License-Identifier: MIT
/* Lines of text in a result of fixed size. Rejected: a list that grows: a hostile process
 * has as many ranges as it likes. Trap: names of mappings are hostile: escaped. */
#include "account.h"

#include <string.h>

void account_omit(void *arg, uint64_t start, uint64_t end, const char *name, const char *why, bool lost)
{
	const struct account *account = arg;
	struct dump_result *result = account->result;
	struct buf line;
	size_t used = strlen(result->omitted);

	buf_init(&line, sizeof(result->omitted));
	buf_addf(&line, "%llx-%llx%s", (unsigned long long)start, (unsigned long long)end, *name ? " " : "");
	buf_add_escaped(&line, name, strlen(name));
	buf_addf(&line, "\t%s\n", why);
	if (!line.full && used + line.len < sizeof(result->omitted)) {
		memcpy(result->omitted + used, line.data, line.len + 1);
		result->omitted_count++;
	} else {
		result->omitted_more++;
	}
	buf_done(&line);
	if (lost)
		result->complete = 0;
}

void account_flush(struct account *account)
{
	const struct proc_map *map = proc_maps_find(account->maps, account->lost_start);

	if (account->lost_end > account->lost_start)
		account_omit(account, account->lost_start, account->lost_end,
			     map ? proc_map_name(account->maps, map) : "", account->lost_why, true);
	account->lost_start = account->lost_end = 0;
}

void account_unread(struct account *account, uint64_t start, uint64_t end, const char *why)
{
	if (start != account->lost_end || why != account->lost_why) {
		account_flush(account);
		account->lost_start = start;
		account->lost_why = why;
	}
	account->lost_end = end;
}

/* What the core says of itself, for people and for verify.c: 'key: value' lines, the
 * ranges left out last. Pages that turn out to be unreadable come too late for it. */
void account_note(const struct account *account, const struct dump_order *order, struct buf *ret_note)
{
	const struct dump_result *result = account->result;
	struct buf *note = ret_note;

	buf_init(note, 4 * sizeof(order->comment) + sizeof(*result) + 1024);
	if (order->comment[0]) {
		buf_adds(note, "comment: ");
		buf_add_escaped(note, order->comment, strlen(order->comment));
		buf_adds(note, "\n");
	}
	buf_addf(note, "kind: %s\n", order->kinds & DUMP_MINI ? "mini" : "full");
	buf_addf(note, "method: %s\n", result->method == METHOD_CLONE ? "clone" : "stop");
	if (result->pause_ns) /* not yet over otherwise */
		buf_addf(note, "pause_ns: %llu\n", (unsigned long long)result->pause_ns);
	buf_addf(note, "estimate_ns: %llu\n", (unsigned long long)result->estimate_ns);
	if (result->why_not_clone[0])
		buf_addf(note, "no_clone: %s\n", result->why_not_clone);
	buf_addf(note, "threads: %u\nnot_stopped: %u\n", result->threads, result->threads_not_stopped);
	buf_addf(note, "left_in_files_bytes: %llu\n", (unsigned long long)result->in_files_bytes);
	buf_addf(note, "omitted: %u\n%s", result->omitted_count + result->omitted_more, result->omitted);
}
