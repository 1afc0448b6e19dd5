// SPDX-License-Identifier: MIT
/* Preloaded into a worker: HARM_ALLOC=N makes its N-th allocation fail, 'N+' that one and
 * all after it, '=FILE' writes how many there were. Counted from the order on: what goes
 * before is the loader's. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned long at, count;
static int for_ever, ordered;
static const char *told;

/* What dlsym itself asks for while it looks for the real ones. */
static char early[4096];
static size_t early_used;

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int fails(void)
{
	unsigned long n;

	if (!__atomic_load_n(&ordered, __ATOMIC_SEQ_CST))
		return 0;
	n = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
	if (!at || (n != at && !(for_ever && n > at)))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	static void *(*next)(size_t);

	if (!next)
		next = (void *(*)(size_t))real("malloc");
	return fails() ? NULL : next(size);
}

void *calloc(size_t n, size_t size)
{
	static void *(*next)(size_t, size_t);
	static int looking;

	if (!next && looking) {
		void *p = early + early_used;

		early_used += (n * size + 15) & ~(size_t)15;
		return early_used <= sizeof(early) ? p : NULL;
	}
	if (!next) {
		looking = 1;
		next = (void *(*)(size_t, size_t))real("calloc");
	}
	return fails() ? NULL : next(n, size);
}

void *realloc(void *p, size_t size)
{
	static void *(*next)(void *, size_t);

	if (!next)
		next = (void *(*)(void *, size_t))real("realloc");
	return fails() ? NULL : next(p, size);
}

int posix_memalign(void **p, size_t align, size_t size)
{
	static int (*next)(void **, size_t, size_t);

	if (!next)
		next = (int (*)(void **, size_t, size_t))real("posix_memalign");
	return fails() ? ENOMEM : next(p, align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	static void *(*next)(size_t, size_t);

	if (!next)
		next = (void *(*)(size_t, size_t))real("aligned_alloc");
	return fails() ? NULL : next(align, size);
}

void free(void *p)
{
	static void (*next)(void *);

	if ((char *)p >= early && (char *)p < early + sizeof(early))
		return;
	if (!next)
		next = (void (*)(void *))real("free");
	next(p);
}

/* The order comes by it. */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	static ssize_t (*next)(int, struct msghdr *, int);
	ssize_t n;

	if (!next)
		next = (ssize_t(*)(int, struct msghdr *, int))real("recvmsg");
	n = next(fd, msg, flags);
	__atomic_store_n(&ordered, n > 0, __ATOMIC_SEQ_CST);
	return n;
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("HARM_ALLOC");

	if (text && *text == '=')
		told = text + 1;
	else if (text)
		at = strtoul(text, NULL, 10);
	for_ever = text && strchr(text, '+');
}

__attribute__((destructor)) static void end(void)
{
	char text[32];
	int fd = told ? open(told, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

	snprintf(text, sizeof(text), "%lu\n", count);
	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		_exit(1);
}
