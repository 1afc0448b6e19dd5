// SPDX-License-Identifier: MIT
/* A process for the disk. Rejected: a thread (the program has none, and a hang of the
 * disk must not hold our exit's clean-up), io_uring (rename and fsync of many small
 * files is not its strength). Trap: fsync may take seconds on a busy disk, so even
 * the request to write is a message, never a call. */
#include "scribe.h"

#include "child.h"
#include "facts.h"
#include "ktime.h"
#include "parcel.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SOCKET_FD 3
#define JSON_MAX (64u << 20)
#define LOG_NAME "action.log"
#define END_NS (20 * NSEC_PER_SEC) /* for a hung disk: a service has 90 s to stop */

enum order_kind { ORDER_PAGES, ORDER_KEEP, ORDER_STATE };

struct order {
	enum order_kind kind;
	uint64_t number;
	struct store_keep keep; /* ORDER_KEEP */
	char name[32];		/* ORDER_STATE */
	struct store_ticket ticket;
};

struct answer {
	uint64_t number;
	int32_t code;
	bool looked; /* 'pruned' says what was found */
	struct store_pruned pruned;
	char text[512];
};

struct waiting {
	struct waiting *next;
	uint64_t number;
	void (*done)(void *arg, int code, const char *text);
	void *arg;
};

struct scribe {
	struct loop *loop;
	struct source *source;
	struct child child;
	int fd;
	uint64_t number;
	struct waiting *waiting;
	char *store_dir;
	struct store_keep keep; /* a scribe that is started anew is told again */
	void (*pruned)(void *arg, const struct store_pruned *pruned);
	void *pruned_arg;
};

/* ---- the asking side ---- */

/* More than this on its way is more than a socket's buffer is sure to take. */
#define ORDERS_MAX 16

static void answered(struct scribe *scribe, uint64_t number, int code, const char *text)
{
	for (struct waiting **at = &scribe->waiting; *at; at = &(*at)->next) {
		struct waiting *w = *at;

		if (w->number != number)
			continue;
		*at = w->next;
		if (w->done)
			w->done(w->arg, code, text);
		free(w);
		return;
	}
}

static void closed(struct scribe *scribe)
{
	loop_remove(scribe->loop, scribe->source);
	scribe->source = NULL;
	if (scribe->fd >= 0)
		close(scribe->fd);
	scribe->fd = -1;
	if (scribe->child.pid > 0)
		child_reap(&scribe->child, true);
	while (scribe->waiting)
		answered(scribe, scribe->waiting->number, -EIO, "the process that writes the pages has died");
}

static void on_answer(void *arg, uint32_t events UNUSED)
{
	struct scribe *scribe = arg;
	struct answer answer;
	ssize_t n = recv(scribe->fd, &answer, sizeof(answer), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(answer)) {
		answer.text[sizeof(answer.text) - 1] = '\0';
		if (answer.looked && scribe->pruned)
			scribe->pruned(scribe->pruned_arg, &answer.pruned);
		answered(scribe, answer.number, answer.code, answer.text);
	} else if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
		closed(scribe);
	}
}

static bool keeps(const struct store_keep *keep)
{
	return keep->files || keep->max_bytes || keep->max_age_ns || keep->free_bytes || keep->free_percent;
}

static int send_keep(struct scribe *scribe)
{
	struct order order = { .kind = ORDER_KEEP, .keep = scribe->keep };

	return parcel_send(scribe->fd, &order, sizeof(order), NULL, 0, MSG_DONTWAIT);
}

static int open_process(struct scribe *scribe, struct err *err)
{
	char *argv[] = { (char *)(uintptr_t) "reqtrap", (char *)(uintptr_t) "--scribe", scribe->store_dir, NULL };
	CLEAN(fd) int ours = -1;
	CLEAN(fd) int theirs = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "cannot start the process that writes the pages");
	ours = pair[0];
	theirs = pair[1];
	r = child_start(&(struct child_spec){ .argv = argv,
					      .fds = (struct child_fd[]){ { theirs, SOCKET_FD }, { 2, 2 } },
					      .fd_count = 2,
					      /* Ctrl-C is for us: it ends when our socket does */
					      .own_session = true },
			&scribe->child, err);
	if (r < 0)
		return r;
	r = loop_add_fd(scribe->loop, ours, EPOLLIN, on_answer, scribe, &scribe->source);
	if (r < 0) {
		child_kill(&scribe->child);
		child_reap(&scribe->child, true);
		return err_sys(err, r, "cannot start the process that writes the pages");
	}
	scribe->fd = take_fd(&ours);
	if (keeps(&scribe->keep))
		send_keep(scribe);
	return 0;
}

int scribe_start(struct loop *loop, const char *store_dir, struct scribe **ret_scribe, struct err *err)
{
	struct scribe *scribe = calloc(1, sizeof(*scribe));
	int r;

	if (!scribe)
		return err_sys(err, -ENOMEM, "cannot start the process that writes the pages");
	*scribe = (struct scribe){ .loop = loop, .fd = -1, .child.pidfd = -1 };
	text_set(&scribe->store_dir, store_dir);
	r = scribe->store_dir ? open_process(scribe, err) : -ENOMEM;
	if (r < 0) {
		free(scribe->store_dir);
		free(scribe);
		return r;
	}
	*ret_scribe = scribe;
	return 0;
}

static int text_memfd(const struct buf *text, int *ret_fd, struct err *err)
{
	CLEAN(fd) int fd = memfd_create("incident", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : write_all(fd, text->data, text->len);

	if (r < 0)
		return err_sys(err, r, "cannot hand over the incident");
	*ret_fd = take_fd(&fd);
	return 0;
}

static int json_memfd(const struct incident *incident, int *ret_fd, struct err *err)
{
	struct buf json;
	int r;

	buf_init(&json, JSON_MAX);
	r = facts_write(incident, &json, err);
	if (r == 0)
		r = text_memfd(&json, ret_fd, err);
	buf_done(&json);
	return r;
}

int scribe_keep(struct scribe *scribe, const struct store_keep *keep,
		void (*pruned)(void *arg, const struct store_pruned *pruned), void *arg, struct err *err)
{
	int r;

	scribe->keep = *keep;
	scribe->pruned = pruned;
	scribe->pruned_arg = arg;
	if (scribe->fd < 0)
		return open_process(scribe, err); /* which tells it */
	r = send_keep(scribe);
	return r < 0 ? err_sys(err, r, "cannot look through the store") : 0;
}

static struct waiting *wait_for(struct scribe *scribe, uint64_t number,
				void (*done)(void *arg, int code, const char *text), void *arg)
{
	struct waiting **at = &scribe->waiting, *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct waiting){ .number = number, .done = done, .arg = arg };
	while (*at)
		at = &(*at)->next;
	*at = w;
	return w;
}

int scribe_state(struct scribe *scribe, const char *name, const struct buf *text,
		 void (*done)(void *arg, int code, const char *text), void *arg, struct err *err)
{
	struct order order = { .kind = ORDER_STATE, .number = ++scribe->number };
	CLEAN(fd) int fd = -1;
	int r = scribe->fd < 0 ? open_process(scribe, err) : 0;

	if (r == 0)
		r = text_memfd(text, &fd, err);
	if (r < 0)
		return r;
	snprintf(order.name, sizeof(order.name), "%s", name);
	r = parcel_send(scribe->fd, &order, sizeof(order), &fd, 1, MSG_DONTWAIT);
	if (r == 0 && !wait_for(scribe, order.number, done, arg))
		r = -ENOMEM;
	return r < 0 ? err_sys(err, r, "cannot hand over the state") : 0;
}

int scribe_write(struct scribe *scribe, struct store_entry *entry, const struct incident *incident,
		 void (*done)(void *arg, int code, const char *text), void *arg, struct err *err)
{
	struct order order = { .number = ++scribe->number };
	CLEAN(fd) int json_fd = -1;
	unsigned int under_way = 0;
	int r = scribe->fd < 0 ? open_process(scribe, err) : 0;

	for (const struct waiting *w = scribe->waiting; w; w = w->next)
		under_way++;
	if (r == 0 && under_way >= ORDERS_MAX && done)
		return err_sys(err, -EAGAIN, "the pages of other incidents are still being written");
	if (r == 0)
		r = json_memfd(incident, &json_fd, err);
	if (r < 0)
		return r;
	store_entry_ticket(entry, &order.ticket);
	r = parcel_send(scribe->fd, &order, sizeof(order), (int[2]){ store_entry_fd(entry), json_fd }, 2, MSG_DONTWAIT);
	if (r == 0 && !wait_for(scribe, order.number, done, arg))
		r = -ENOMEM;
	return r < 0 ? err_sys(err, r, "cannot hand over the incident") : 0;
}

void scribe_forget(struct scribe *scribe, void *arg)
{
	for (struct waiting *w = scribe->waiting; w; w = w->next) {
		if (w->arg == arg)
			w->done = NULL;
	}
}

int scribe_end(struct scribe *scribe)
{
	int r = 0;

	if (!scribe)
		return 0;
	loop_remove(scribe->loop, scribe->source);
	/* It goes on with what is queued and ends at the end of file. */
	if (scribe->fd >= 0)
		close(scribe->fd);
	if (scribe->child.pid > 0)
		r = child_reap_until(&scribe->child, now_ns() + END_NS) == -ETIMEDOUT ? -ETIMEDOUT : 0;
	if (r < 0)
		child_leave(&scribe->child); /* it goes on by itself */
	for (struct waiting *w = scribe->waiting, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	free(scribe->store_dir);
	free(scribe);
	return r;
}

/* ---- the writing side ---- */

/* Returns 1, or 0: the asking side has gone. */
static int take_order(int fd, struct order *order, int fds[2])
{
	static const size_t wanted[] = { [ORDER_PAGES] = 2, [ORDER_KEEP] = 0, [ORDER_STATE] = 1 };
	size_t count;
	ssize_t n;

	fds[0] = fds[1] = -1;
	n = parcel_receive(fd, order, sizeof(*order), fds, 2, &count);
	if (n <= 0)
		return (int)n;
	return n == (ssize_t)sizeof(*order) && (size_t)order->kind < ARRAY_LEN(wanted) && count == wanted[order->kind]
		       ? 1
		       : -EPROTO;
}

static int read_incident(int fd, struct incident **ret_incident, struct err *err)
{
	off_t size = lseek(fd, 0, SEEK_END);
	void *map = size > 0 && size <= JSON_MAX ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	int r;

	if (map == MAP_FAILED)
		return err_say(err, -EPROTO, "the incident did not come over");
	r = facts_read(map, (size_t)size, ret_incident, err);
	munmap(map, (size_t)size);
	return r;
}

static int write_one(struct store *store, const struct order *order, const int fds[2], struct err *err)
{
	struct incident *incident = NULL;
	struct store_entry *entry = NULL;
	int r = read_incident(fds[1], &incident, err);

	if (r == 0)
		r = store_entry_adopt(store, &order->ticket, fds[0], &entry, err);
	if (r == 0)
		r = store_write_pages(entry, incident, err);
	if (r == 0 && incident->action.output)
		r = store_write(entry, LOG_NAME, incident->action.output, strlen(incident->action.output), err);
	if (r == 0 && !order->ticket.published)
		r = store_publish(entry, err);
	store_entry_drop(entry);
	incident_free(incident);
	return r;
}

static int write_state(struct store *store, const struct order *order, int fd, struct err *err)
{
	off_t size = lseek(fd, 0, SEEK_END);
	void *map = size > 0 && size <= JSON_MAX ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	int r;

	if (map == MAP_FAILED)
		return err_say(err, -EPROTO, "the state did not come over");
	r = store_state_write(store, order->name, map, (size_t)size, err);
	munmap(map, (size_t)size);
	return r;
}

/* What has come may be more than stays. */
static void look_through(struct store *store, const struct store_keep *keep, struct answer *answer)
{
	static struct store_clock clock;
	uint64_t now = store_clock_now(&clock, wall_ns(), time_of(CLOCK_BOOTTIME));

	answer->looked = keeps(keep) && store_prune(store, keep, now, &answer->pruned, NULL) == 0;
}

int scribe_main(int argc, char **argv)
{
	struct store_keep keep = { 0 };
	struct store *store = NULL;
	struct err err = { "" };
	struct order order;
	int fds[2], r;

	if (argc < 2 || store_open(argv[1], true, &store, &err) < 0)
		return 3;
	while ((r = take_order(SOCKET_FD, &order, fds)) > 0) {
		struct answer answer = { .number = order.number };

		err.text[0] = '\0';
		if (order.kind == ORDER_PAGES)
			answer.code = write_one(store, &order, fds, &err);
		else if (order.kind == ORDER_STATE)
			answer.code = write_state(store, &order, fds[0], &err);
		else
			keep = order.keep;
		if (order.kind != ORDER_STATE)
			look_through(store, &keep, &answer);
		snprintf(answer.text, sizeof(answer.text), "%s", err.text);
		for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
			if (fds[i] >= 0)
				close(fds[i]);
		}
		/* Nobody may be there to hear it any more: what is queued is written all the same. */
		if (send(SOCKET_FD, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			continue;
	}
	store_free(store);
	return r < 0 ? 3 : 0;
}
