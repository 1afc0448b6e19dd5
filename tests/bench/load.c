// SPDX-License-Identifier: MIT
/* A load of exactly so many requests, in batches: what CPU the servers used for each
 * request of a batch, the median of the batches. So a burst is short, and what else the
 * machine does in the midst of it falls on few batches.
 *
 *   load [-p PID]... [-r RATE] [-b BATCH] PORT PATH REQUESTS CONNECTIONS
 *
 * Keep-alive, one request at a time on each connection; between two batches nothing is
 * under way but the gauge. Prints the requests a second, then CPU a request as gauge.h tells.
 * Ends with 1 if a reply is not a 200 of the first one's length. */
#include "gauge.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define MOST 256
#define BATCH 100 /* requests; of slow ones fewer, so that it is short beside a host's changes of speed */

static struct pollfd at[MOST];
static size_t got[MOST];
static char request[1024], reply[65536];
static size_t request_len, reply_len;
static int schedstat[MOST], schedstats;
static long rate, batch_requests = BATCH;

static int dial(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		error(1, errno, "cannot connect to port %d", port);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void ask(int fd)
{
	if (send(fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		error(1, errno, "cannot send a request");
}

/* The first reply says how long they all are. */
static void learn(int fd)
{
	char *end = NULL, *length;
	size_t have = 0;

	ask(fd);
	while (!reply_len || have < reply_len) {
		ssize_t n = recv(fd, reply + have, sizeof(reply) - 1 - have, 0);

		if (n <= 0)
			error(1, n ? errno : 0, "no whole reply");
		have += (size_t)n;
		reply[have] = '\0';
		end = strstr(reply, "\r\n\r\n");
		length = strcasestr(reply, "\r\ncontent-length:");
		if (end && length)
			reply_len = (size_t)(end + 4 - reply) + strtoul(length + 17, NULL, 10);
		else if (end)
			error(1, 0, "a reply without a Content-Length");
	}
	if (strncmp(reply, "HTTP/1.1 200", 12) != 0 || have != reply_len || reply_len >= sizeof(reply))
		error(1, 0, "not a reply of the kind that is wanted: %.40s", reply);
}

static void keep_to(uint64_t start_ns, long asked, long rate)
{
	uint64_t due = start_ns + (uint64_t)asked * 1000000000 / (uint64_t)rate;
	struct timespec t = { (time_t)(due / 1000000000), (long)(due % 1000000000) };

	if (due > now_ns())
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* What the servers ran so far, as the scheduler counts. */
static uint64_t cpu_ns(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < schedstats; i++) {
		char text[64];
		ssize_t n = pread(schedstat[i], text, sizeof(text) - 1, 0);

		if (n <= 0)
			error(1, n ? errno : 0, "a server has ended");
		text[n] = '\0';
		sum += strtoull(text, NULL, 10);
	}
	return sum;
}

static void server(const char *pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/schedstat", pid);
	if (schedstats == MOST)
		error(2, 0, "too many servers");
	schedstat[schedstats] = open(path, O_RDONLY | O_CLOEXEC);
	if (schedstat[schedstats++] < 0)
		error(1, errno, "%s", path);
}

/* What has come on a connection; true when that is the whole reply. */
static bool answered(int i)
{
	ssize_t n = recv(at[i].fd, reply, sizeof(reply), 0);

	if (n <= 0)
		error(1, n ? errno : 0, "a connection has ended");
	if (got[i] == 0 && (n < 12 || memcmp(reply + 9, "200", 3) != 0))
		error(1, 0, "not a 200");
	got[i] += (size_t)n;
	if (got[i] > reply_len)
		error(1, 0, "a reply of another length");
	if (got[i] < reply_len)
		return false;
	got[i] = 0;
	return true;
}

static void batch(int count, long requests)
{
	long asked = 0, done = 0;
	uint64_t start_ns = now_ns();

	for (; asked < count && asked < requests; asked++)
		ask(at[asked].fd);
	while (done < requests) {
		if (poll(at, (nfds_t)count, 30000) <= 0)
			error(1, errno, "no reply");
		for (int i = 0; i < count; i++) {
			if (!at[i].revents || !answered(i))
				continue;
			done++;
			if (asked >= requests)
				continue;
			if (rate)
				keep_to(start_ns, asked, rate);
			ask(at[i].fd);
			asked++;
		}
	}
}

int main(int argc, char **argv)
{
	struct batches each;
	uint64_t start_ns;
	long requests, batches;
	double gauge;
	int count, option;

	while ((option = getopt(argc, argv, "p:r:b:")) != -1) {
		if (option == 'p')
			server(optarg);
		else if (option == 'r')
			rate = atol(optarg);
		else if (option == 'b' && atol(optarg) > 0)
			batch_requests = atol(optarg);
		else
			return 2;
	}
	requests = argc - optind == 4 ? atol(argv[optind + 2]) : 0;
	count = requests ? atoi(argv[optind + 3]) : 0;
	batches = requests / batch_requests;
	if (batches <= 0 || count <= 0 || count > MOST)
		error(2, 0, "load [-p PID]... [-r RATE] [-b BATCH] PORT PATH REQUESTS CONNECTIONS");
	request_len = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n",
				       argv[optind + 1], argv[optind]);
	for (int i = 0; i < count; i++)
		at[i] = (struct pollfd){ .fd = dial(atoi(argv[optind])), .events = POLLIN };
	learn(at[0].fd);
	batches_init(&each, (size_t)batches);
	start_ns = now_ns();
	gauge = gauge_ns();
	for (long i = 0; i < batches; i++) {
		uint64_t before = cpu_ns();
		double after, ns;

		batch(count, batch_requests);
		ns = (double)(cpu_ns() - before) / (double)batch_requests;
		after = gauge_ns();
		if (schedstats)
			batch_add(&each, ns, gauge, after);
		gauge = after;
	}
	printf("%.0f ", (double)(batches * batch_requests) * 1e9 / (double)(now_ns() - start_ns));
	if (schedstats)
		batches_print(&each);
	putchar('\n');
	return 0;
}
