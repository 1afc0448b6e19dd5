// SPDX-License-Identifier: MIT
/* uring PORT: a server that receives and sends with io_uring only: a thread and a ring for
 * each connection, plain requests without a body, all answered alike. No library needed. */
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
	int fd;
	uint32_t *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};

static int ring_open(struct ring *r)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;

	r->fd = (int)syscall(SYS_io_uring_setup, 4, &p);
	if (r->fd < 0)
		return -1;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*r->cqe), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		  IORING_OFF_CQ_RING);
	r->sqe = mmap(NULL, p.sq_entries * sizeof(*r->sqe), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->sqe == MAP_FAILED)
		return -1;
	r->sq_tail = (uint32_t *)(sq + p.sq_off.tail);
	r->sq_mask = (uint32_t *)(sq + p.sq_off.ring_mask);
	r->sq_array = (uint32_t *)(sq + p.sq_off.array);
	r->cq_head = (uint32_t *)(cq + p.cq_off.head);
	r->cq_tail = (uint32_t *)(cq + p.cq_off.tail);
	r->cq_mask = (uint32_t *)(cq + p.cq_off.ring_mask);
	r->cqe = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	return 0;
}

/* One operation, waited for. */
static int ring_do(struct ring *r, int op, int fd, void *data, size_t size)
{
	uint32_t tail = *r->sq_tail, head = *r->cq_head;
	int result;

	r->sqe[tail & *r->sq_mask] = (struct io_uring_sqe){
		.opcode = (uint8_t)op, .fd = fd, .addr = (uint64_t)(uintptr_t)data, .len = (uint32_t)size
	};
	r->sq_array[tail & *r->sq_mask] = tail & *r->sq_mask;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	while (__atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) == head)
		;
	result = r->cqe[head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return result;
}

static void *serve(void *arg)
{
	static char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nuring\n";
	int fd = (int)(intptr_t)arg, n, at = 0;
	char head[8192];
	struct ring ring;

	if (ring_open(&ring) < 0)
		exit(1);
	while ((n = ring_do(&ring, IORING_OP_RECV, fd, head + at, sizeof(head) - 1 - (size_t)at)) > 0) {
		at += n;
		head[at] = '\0';
		if (!strstr(head, "\r\n\r\n"))
			continue;
		at = 0;
		if (ring_do(&ring, IORING_OP_SEND, fd, answer, sizeof(answer) - 1) != sizeof(answer) - 1)
			break;
	}
	close(ring.fd);
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, conn;
	struct ring probe;
	pthread_t thread;

	at.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ring_open(&probe) < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0) {
		perror("uring");
		return 1;
	}
	while ((conn = accept(fd, NULL, NULL)) >= 0) {
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)conn) == 0)
			pthread_detach(thread);
	}
	return 0;
}
