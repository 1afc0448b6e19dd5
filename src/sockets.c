// SPDX-License-Identifier: MIT
/* A TCP socket tells its queues itself; of a unix socket, and for the socket at the other
 * end, the kernel's tables are asked for that one entry. Rejected: /proc/net/tcp and unix
 * (milliseconds in the kernel per 10,000 sockets), SO_PEERCRED (it names who called listen,
 * not who accepted). Trap: the tables are those of one network name space. */
#include "sockets.h"

#include "waits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

int socket_diag_open(int proc_dir_fd)
{
	CLEAN(fd) int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CLEAN(fd) int theirs = openat(proc_dir_fd, "ns/net", O_RDONLY | O_CLOEXEC);
	struct stat a, b;
	int fd, error;
	bool away;

	if (ours < 0 || theirs < 0 || fstat(ours, &a) < 0 || fstat(theirs, &b) < 0)
		return -errno;
	away = a.st_ino != b.st_ino;
	if (away && setns(theirs, CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	error = errno;
	/* the kernel answers at once: there is no other process that might be late */
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_usec = 100000 }, sizeof(struct timeval));
	if (away && setns(ours, CLONE_NEWNET) < 0)
		abort(); /* nothing else of ours may run there */
	return fd < 0 ? -error : fd;
}

/* Asks for one socket. */
static ssize_t ask(int diag, const void *request, size_t len, void *answer, size_t size)
{
	struct {
		struct nlmsghdr head;
		char body[128];
	} msg = { .head = { .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST } };
	const struct nlmsghdr *head = answer;
	ssize_t n;

	msg.head.nlmsg_len = (uint32_t)NLMSG_LENGTH(len);
	memcpy(msg.body, request, len);
	if (send(diag, &msg, msg.head.nlmsg_len, MSG_NOSIGNAL) < 0)
		return -errno;
	n = recv(diag, answer, size, 0);
	if (n < (ssize_t)sizeof(*head) || !NLMSG_OK(head, (uint32_t)n))
		return n < 0 ? -errno : -EPROTO;
	return head->nlmsg_type == SOCK_DIAG_BY_FAMILY ? n : -ENOENT;
}

static void read_unix(int diag, struct socket_facts *f)
{
	struct unix_diag_req request = { .sdiag_family = AF_UNIX,
					 .udiag_states = ~0u,
					 .udiag_ino = (uint32_t)f->ino,
					 .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN,
					 .udiag_cookie = { ~0u, ~0u } };
	_Alignas(8) char answer[1024];
	ssize_t n = ask(diag, &request, sizeof(request), answer, sizeof(answer));
	size_t at = NLMSG_LENGTH(sizeof(struct unix_diag_msg));

	while (n > 0 && at + sizeof(struct rtattr) <= (size_t)n) {
		struct unix_diag_rqlen queue;
		struct rtattr a;
		uint32_t peer;

		memcpy(&a, answer + at, sizeof(a));
		if (a.rta_len < sizeof(a) || at + a.rta_len > (size_t)n)
			return;
		if (a.rta_type == UNIX_DIAG_PEER && a.rta_len >= RTA_LENGTH(sizeof(peer))) {
			memcpy(&peer, answer + at + RTA_LENGTH(0), sizeof(peer));
			f->peer_ino = peer;
			f->unaccepted = !peer && f->connected;
		} else if (a.rta_type == UNIX_DIAG_RQLEN && a.rta_len >= RTA_LENGTH(sizeof(queue))) {
			memcpy(&queue, answer + at + RTA_LENGTH(0), sizeof(queue));
			f->queues_known = true;
			f->recv_queue = queue.udiag_rqueue;
			f->send_queue = queue.udiag_wqueue;
		}
		at += RTA_ALIGN(a.rta_len);
	}
}

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage all;
};

static uint16_t port_of(const union address *a)
{
	return a->sa.sa_family == AF_INET    ? ntohs(a->in.sin_port)
	       : a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port)
					     : 0;
}

/* As IPv6. */
static void put_address(const union address *a, uint32_t addr[4])
{
	if (a->sa.sa_family == AF_INET)
		memcpy(addr, (uint32_t[]){ 0, 0, htonl(0xffff), a->in.sin_addr.s_addr }, 16);
	else
		memcpy(addr, &a->in6.sin6_addr, 16);
}

static void put_end(const union address *a, bool plain, uint32_t addr[4])
{
	if (a->sa.sa_family == AF_INET)
		addr[0] = a->in.sin_addr.s_addr;
	else if (plain)
		memcpy(addr, &a->in6.sin6_addr.s6_addr[12], sizeof(*addr));
	else
		memcpy(addr, &a->in6.sin6_addr, sizeof(a->in6.sin6_addr));
}

/* The socket with the same two ends the other way round. A listening one fits, too, where
 * the connection itself is gone. */
static void find_tcp_peer(int diag, const union address *here, const union address *there, struct socket_facts *f)
{
	bool plain = here->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&there->in6.sin6_addr);
	struct inet_diag_req_v2 request = { .sdiag_family = plain ? AF_INET : AF_INET6,
					    .sdiag_protocol = IPPROTO_TCP,
					    .idiag_states = ~0u,
					    .id = { .idiag_sport = htons(f->peer_port),
						    .idiag_dport = htons(f->port),
						    .idiag_cookie = { ~0u, ~0u } } };
	_Alignas(8) char answer[2048];
	const struct inet_diag_msg *msg;
	ssize_t n;

	put_end(there, plain, request.id.idiag_src);
	put_end(here, plain, request.id.idiag_dst);
	n = ask(diag, &request, sizeof(request), answer, sizeof(answer));
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*msg)))
		return;
	msg = NLMSG_DATA((const struct nlmsghdr *)answer);
	if (msg->id.idiag_dport != request.id.idiag_dport)
		return;
	f->peer_ino = msg->idiag_inode;
	/* one that was closed has no inode either */
	f->unaccepted = !msg->idiag_inode && msg->idiag_state == TCP_ESTABLISHED;
}

static void read_tcp_queues(int sock, struct socket_facts *f)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int in = 0, out = 0;

	if (f->listening) {
		if (getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
			return;
		f->queues_known = true;
		f->recv_queue = info.tcpi_unacked; /* of a listening socket, these two are its queue */
		f->send_queue = info.tcpi_sacked;
	} else if (ioctl(sock, SIOCINQ, &in) == 0 && ioctl(sock, SIOCOUTQ, &out) == 0) {
		f->queues_known = true;
		f->recv_queue = (uint32_t)MAX(in, 0);
		f->send_queue = (uint32_t)MAX(out, 0);
	}
}

static void put_path(const union address *a, socklen_t len, char *buf, size_t size)
{
	size_t from = offsetof(struct sockaddr_un, sun_path),
	       n = len > from ? MIN(len - from, sizeof(a->un.sun_path)) : 0;
	const char *path = a->un.sun_path;

	buf[0] = '\0';
	if (n && path[0])
		snprintf(buf, size, "%.*s", (int)n, path);
	else if (n > 1)
		snprintf(buf, size, "@%.*s", (int)n - 1, path + 1);
}

int socket_read(int proc_dir_fd, int fd, int diag, struct socket_facts *ret_facts)
{
	CLEAN(fd) int sock = fd_borrow(proc_dir_fd, fd);
	union address here = { 0 }, there = { 0 };
	socklen_t here_len = sizeof(here), there_len = sizeof(there), len = sizeof(int);
	struct socket_facts f = { 0 };
	int listening = 0;
	struct stat st;

	if (sock < 0 || fstat(sock, &st) < 0 || getsockname(sock, &here.sa, &here_len) < 0 ||
	    getsockopt(sock, SOL_SOCKET, SO_TYPE, &f.type, &len) < 0)
		return sock < 0 ? sock : -errno;
	len = sizeof(listening);
	getsockopt(sock, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	f.ino = st.st_ino;
	f.family = here.sa.sa_family;
	f.listening = listening;
	f.connected = getpeername(sock, &there.sa, &there_len) == 0;
	f.port = port_of(&here);
	f.peer_port = port_of(&there);
	if (f.family == AF_UNIX) {
		put_path(&here, here_len, f.path, sizeof(f.path));
		if (f.connected)
			put_path(&there, there_len, f.peer_path, sizeof(f.peer_path));
		if (diag >= 0)
			read_unix(diag, &f);
	} else if ((f.family == AF_INET || f.family == AF_INET6) && f.type == SOCK_STREAM) {
		read_tcp_queues(sock, &f);
		if (diag >= 0 && f.connected)
			find_tcp_peer(diag, &here, &there, &f);
		put_address(&there, f.peer_addr);
	}
	*ret_facts = f;
	return 0;
}

/* ---- listening sockets ---- */

struct search {
	const struct socket_facts *for_it;
	struct socket_facts found;
	bool is;
};

static void look_unix(const struct nlmsghdr *head, struct search *s)
{
	const struct unix_diag_msg *msg = NLMSG_DATA(head);
	struct socket_facts f = { .ino = msg->udiag_ino, .family = AF_UNIX, .listening = true };
	size_t at = NLMSG_LENGTH(sizeof(*msg));

	while (at + sizeof(struct rtattr) <= head->nlmsg_len) {
		const struct rtattr *a = (const struct rtattr *)((const char *)head + at);
		const char *data = RTA_DATA(a);

		if (a->rta_len < sizeof(*a) || at + a->rta_len > head->nlmsg_len)
			break;
		if (a->rta_type == UNIX_DIAG_NAME) {
			int n = (int)RTA_PAYLOAD(a);

			if (n > 1 && !data[0])
				snprintf(f.path, sizeof(f.path), "@%.*s", n - 1, data + 1);
			else
				snprintf(f.path, sizeof(f.path), "%.*s", n, data);
		} else if (a->rta_type == UNIX_DIAG_RQLEN && RTA_PAYLOAD(a) >= sizeof(struct unix_diag_rqlen)) {
			const struct unix_diag_rqlen *queue = RTA_DATA(a);

			f.queues_known = true;
			f.recv_queue = queue->udiag_rqueue;
			f.send_queue = queue->udiag_wqueue;
		}
		at += RTA_ALIGN(a->rta_len);
	}
	if (!s->is && f.path[0] && !strcmp(f.path, s->for_it->peer_path)) {
		s->found = f;
		s->is = true;
	}
}

static void look_inet(const struct nlmsghdr *head, struct search *s)
{
	static const uint32_t any[4] = { 0 };
	const struct inet_diag_msg *msg = NLMSG_DATA(head);
	union address at = { .sa.sa_family = msg->idiag_family };
	uint32_t addr[4];

	if (head->nlmsg_len < NLMSG_LENGTH(sizeof(*msg)) || ntohs(msg->id.idiag_sport) != s->for_it->peer_port)
		return;
	if (msg->idiag_family == AF_INET)
		at.in.sin_addr.s_addr = msg->id.idiag_src[0];
	else
		memcpy(&at.in6.sin6_addr, msg->id.idiag_src, 16);
	put_address(&at, addr);
	if (memcmp(msg->id.idiag_src, any, msg->idiag_family == AF_INET ? 4 : 16) != 0 &&
	    memcmp(addr, s->for_it->peer_addr, 16) != 0)
		return;
	if (!s->is)
		s->found = (struct socket_facts){ .ino = msg->idiag_inode,
						  .family = msg->idiag_family,
						  .type = SOCK_STREAM,
						  .listening = true,
						  .port = s->for_it->peer_port,
						  .queues_known = true,
						  .recv_queue = msg->idiag_rqueue,
						  .send_queue = msg->idiag_wqueue };
	s->is = true;
}

/* All that listen of one family. */
static void dump(int diag, const void *request, size_t len, void (*look)(const struct nlmsghdr *, struct search *),
		 struct search *s)
{
	struct {
		struct nlmsghdr head;
		char body[128];
	} msg = { .head = { .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	_Alignas(8) char answer[32768];

	msg.head.nlmsg_len = (uint32_t)NLMSG_LENGTH(len);
	memcpy(msg.body, request, len);
	if (send(diag, &msg, msg.head.nlmsg_len, MSG_NOSIGNAL) < 0)
		return;
	for (;;) {
		ssize_t n = recv(diag, answer, sizeof(answer), 0);
		size_t left = (size_t)MAX(n, 0);

		for (const struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
				return;
			look(h, s);
		}
		if (n <= 0)
			return;
	}
}

bool socket_listener(int diag, const struct socket_facts *facts, struct socket_facts *ret_listener)
{
	const struct unix_diag_req of_unix = { .sdiag_family = AF_UNIX,
					       .udiag_states = 1u << TCP_LISTEN,
					       .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN };
	struct inet_diag_req_v2 of_inet = { .sdiag_family = AF_INET,
					    .sdiag_protocol = IPPROTO_TCP,
					    .idiag_states = 1u << TCP_LISTEN };
	struct search s = { .for_it = facts };

	if (diag < 0)
		return false;
	if (facts->family == AF_UNIX) {
		dump(diag, &of_unix, sizeof(of_unix), look_unix, &s);
	} else {
		dump(diag, &of_inet, sizeof(of_inet), look_inet, &s);
		of_inet.sdiag_family = AF_INET6;
		if (!s.is)
			dump(diag, &of_inet, sizeof(of_inet), look_inet, &s);
	}
	*ret_listener = s.found;
	return s.is;
}
