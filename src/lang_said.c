// SPDX-License-Identifier: MIT
/* What a process says of its own threads, as the envoy brings it. Trap: the stream ends when
 * the envoy does, in whatever way; the worker has set how long a read of it may take. */
#include "analyst.h"
#include "lang.h"

void said_done(struct lang_said *said)
{
	stack_done(&said->script);
	free(said->wait);
	*said = (struct lang_said){ 0 };
}

static size_t read_all(int fd, void *to, size_t len)
{
	size_t done = 0;
	ssize_t n = 0;

	while (done < len && (n = read(fd, (char *)to + done, len - done)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		done += (size_t)MAX(n, 0);
	}
	return done;
}

const char *said_hear(int fd, const struct language *language, const struct capture_thread *threads, size_t count,
		      struct analyst_told *told, struct lang_said **ret_said)
{
	CLEAN(free) char *text = NULL;
	size_t len;

	if (fd < 0)
		return "it was not asked for them";
	if (read_all(fd, told, sizeof(*told)) != sizeof(*told) || told->size != sizeof(*told))
		return "who asked it for them gave no answer";
	told->why[sizeof(told->why) - 1] = '\0';
	if (told->why[0])
		return told->why;
	text = malloc(ANALYST_TOLD_MAX);
	*ret_said = calloc(count + 1, sizeof(**ret_said));
	if (!text || !*ret_said)
		return "out of memory";
	len = read_all(fd, text, ANALYST_TOLD_MAX);
	return language->told(text, len, threads, count, *ret_said);
}
