// SPDX-License-Identifier: MIT
/* A shop with honest troubles: the thread of a slow request really sleeps, computes,
 * waits for a mutex or for an answer. Rejected: one sleep() with different labels (it
 * would prove nothing). Trap: a function that is inlined, cloned or left by a tail
 * call is not in the stack, so those that a page should name are kept whole. */
#include "demo_server.h"

#include "ktime.h"
#include "log.h"

#include <microhttpd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define PARENT_FD 3
#define CLIENTS 10
#define CLIENT_PAUSE_MS 30
#define ONE_SLOW_IN 12 /* requests to a path, by chance */
#define SLOW_MS 1200
#define SPIN_MS 800

#if defined(__clang__)
#define IN_STACK __attribute__((noinline, used))
#else
#define IN_STACK __attribute__((noinline, noclone, used))
#endif

/* After a call: makes it something other than the last thing its caller does. */
static inline void stay(void)
{
	__asm__ volatile("" ::: "memory");
}

const struct demo_kind demo_kinds[] = {
	{ "/lock", "waits for a lock that another request holds", "checkout_wait_for_inventory_lock", false },
	{ "/upstream", "waits for another server's answer", "price_ask_tax_office", false },
	{ "/spin", "computes", "search_score_every_product", false },
	{ "/sleep", "sleeps", "report_wait_for_printer", false },
	{ "/fail", "answers 503", NULL, true },
};
const size_t demo_kind_count = ARRAY_LEN(demo_kinds);

static pthread_mutex_t inventory_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int items_in_stock = 1000;
static uint16_t tax_office_port;

static bool once_in(unsigned int times)
{
	return arc4random_uniform(times) == 0;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int listen_anywhere(uint16_t *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*ret_port = ntohs(at.sin_port);
	return fd;
}

/* ---- the tax office: the other server, in threads of this process ---- */

static void *tax_office_serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char line[64];

	if (recv(fd, line, sizeof(line), 0) > 0) {
		if (line[0] == 'L')
			usleep(SLOW_MS * 1000);
		if (send(fd, "19%\n", 4, MSG_NOSIGNAL) < 0)
			stay(); /* the asker has gone: its loss */
	}
	close(fd);
	return NULL;
}

static void *tax_office_main(void *arg)
{
	int listen_fd = (int)(intptr_t)arg;

	for (;;) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (fd < 0)
			continue;
		if (pthread_create(&thread, NULL, tax_office_serve_one, (void *)(intptr_t)fd) != 0)
			close(fd);
		else
			pthread_detach(thread);
	}
	return NULL;
}

/* ---- what the shop does for a request: returns the status ---- */

IN_STACK static int front_page_show(void)
{
	return 200;
}

IN_STACK static int report_wait_for_printer(void)
{
	usleep(once_in(ONE_SLOW_IN) ? SLOW_MS * 1000 : 1000);
	stay();
	return 200;
}

IN_STACK static int report_print(void)
{
	int status = report_wait_for_printer();

	stay();
	return status;
}

IN_STACK static uint64_t search_score_every_product(uint64_t until_ns)
{
	uint64_t score = 0x9e3779b97f4a7c15ull;

	do {
		for (unsigned int product = 0; product < 10000; product++) {
			score ^= score << 13;
			score ^= score >> 7;
			score ^= score << 17;
		}
	} while (now_ns() < until_ns);
	return score;
}

IN_STACK static int search_find_products(void)
{
	uint64_t ms = once_in(ONE_SLOW_IN) ? SPIN_MS : 0;
	uint64_t best = search_score_every_product(now_ns() + ms * NSEC_PER_MSEC);

	stay();
	return best ? 200 : 204;
}

IN_STACK static int checkout_wait_for_inventory_lock(void)
{
	int r = pthread_mutex_lock(&inventory_lock);

	stay();
	return r;
}

IN_STACK static int checkout_reserve_item(void)
{
	if (checkout_wait_for_inventory_lock() != 0)
		return 500;
	items_in_stock -= items_in_stock > 0;
	pthread_mutex_unlock(&inventory_lock);
	return 200;
}

IN_STACK static void restock_count_shelves(void)
{
	/* Not too often: all who want the lock stand still meanwhile. */
	usleep(once_in(2 * ONE_SLOW_IN) ? SLOW_MS * 1000 : 1000);
	stay();
}

/* The cause of a slow checkout: counts while it holds the lock. */
IN_STACK static int restock_inventory(void)
{
	pthread_mutex_lock(&inventory_lock);
	restock_count_shelves();
	items_in_stock = 1000;
	pthread_mutex_unlock(&inventory_lock);
	return 200;
}

IN_STACK static int price_ask_tax_office(void)
{
	CLEAN(fd) int fd = connect_to(tax_office_port);
	char answer[16];
	ssize_t n;

	if (fd < 0 || send(fd, once_in(ONE_SLOW_IN) ? "LATE?\n" : "RATE?\n", 6, MSG_NOSIGNAL) != 6)
		return 502;
	n = recv(fd, answer, sizeof(answer), 0);
	stay();
	return n > 0 ? 200 : 502;
}

IN_STACK static int price_show(void)
{
	int status = price_ask_tax_office();

	stay();
	return status;
}

IN_STACK static int payment_refuse(void)
{
	return 503;
}

IN_STACK static int payment_take(void)
{
	int status = once_in(ONE_SLOW_IN) ? payment_refuse() : 200;

	stay();
	return status;
}

static const struct {
	const char *path;
	int (*serve)(void);
} endpoints[] = {
	{ "/fast", front_page_show },	    { "/sleep", report_print },	       { "/spin", search_find_products },
	{ "/lock", checkout_reserve_item }, { "/restock", restock_inventory }, { "/upstream", price_show },
	{ "/fail", payment_take },
};

/* ---- HTTP ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, int status)
{
	static char text[] = "thank you\n";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(status == 204 ? 0 : sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	r = MHD_queue_response(connection, (unsigned int)status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_size, void **request)
{
	int status = 404;

	(void)cls, (void)method, (void)version, (void)upload, (void)upload_size;
	if (!*request) { /* the head is here: libmicrohttpd asks again for the answer */
		*request = connection;
		return MHD_YES;
	}
	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
		if (!strcmp(endpoints[i].path, url))
			status = endpoints[i].serve();
	}
	return answer(connection, status);
}

/* Until the parent's end of the socket is gone. */
static void wait_for_parent(void)
{
	struct pollfd pfd = { .fd = PARENT_FD, .events = POLLRDHUP };

	while (poll(&pfd, 1, -1) < 0 && errno == EINTR)
		;
}

static void prepare(const char *name)
{
	/* Ctrl-C in the terminal is for the parent, which ends us in order. */
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, name);
}

int demo_server_main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const union MHD_DaemonInfo *info;
	struct MHD_Daemon *daemon;
	pthread_t tax_office;
	int tax_fd;

	(void)argc, (void)argv;
	prepare("demo-shop");
	tax_fd = listen_anywhere(&tax_office_port);
	if (tax_fd < 0 || pthread_create(&tax_office, NULL, tax_office_main, (void *)(intptr_t)tax_fd) != 0) {
		log_error("the demo's upstream cannot listen: %s", strerror(errno));
		return 1;
	}
	daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL,
				  on_request, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at,
				  MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_END);
	info = daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	if (!info || dprintf(PARENT_FD, "%u\n", info->port) < 0) {
		log_error("the demo's server cannot listen: %s", strerror(errno));
		return 1;
	}
	wait_for_parent();
	_exit(0); /* not MHD_stop_daemon: it would wait for requests that wait for each other */
}

/* ---- the clients ---- */

/* One request on a connection that is kept. False when it is of no more use. */
static bool ask(int fd, const char *path)
{
	char buf[1024];
	size_t len = 0, whole = 0;
	int n = snprintf(buf, sizeof(buf), "GET %s HTTP/1.1\r\nHost: demo.example\r\nUser-Agent: demo-load\r\n\r\n",
			 path);

	if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		return false;
	while (whole == 0 || len < whole) {
		ssize_t got = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);
		const char *end, *length;

		if (got <= 0)
			return false;
		len += (size_t)got;
		buf[len] = '\0';
		end = strstr(buf, "\r\n\r\n");
		length = strcasestr(buf, "\r\nContent-Length: ");
		if (end && whole == 0)
			whole = (size_t)(end + 4 - buf) + (length && length < end ? strtoul(length + 18, NULL, 10) : 0);
		if (whole >= sizeof(buf))
			return false;
	}
	return true;
}

static void *client_main(void *arg)
{
	uint16_t port = (uint16_t)(uintptr_t)arg;
	int fd = -1;

	for (;;) {
		/* The front page is what most people look at. */
		uint32_t pick = arc4random_uniform(2 * ARRAY_LEN(endpoints));
		const char *path = endpoints[pick < ARRAY_LEN(endpoints) ? pick : 0].path;

		if (fd < 0)
			fd = connect_to(port);
		if (fd >= 0 && !ask(fd, path)) {
			close(fd);
			fd = -1;
		}
		usleep((CLIENT_PAUSE_MS + arc4random_uniform(CLIENT_PAUSE_MS)) * 1000);
	}
	return NULL;
}

int demo_load_main(int argc, char **argv)
{
	unsigned long port = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

	if (port == 0 || port > 65535) {
		log_error("the demo's clients were given no port");
		return 2;
	}
	prepare("demo-load");
	for (int i = 0; i < CLIENTS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, client_main, (void *)(uintptr_t)port) != 0)
			return 1;
	}
	wait_for_parent();
	_exit(0);
}
