// SPDX-License-Identifier: MIT
/* What a JVM says of its threads, as anybody may have it say: read within its bounds. */
#include "../../src/lang_java.c"

#include <assert.h>

#include <stdlib.h>

#define THREADS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char head[] = "Full thread dump OpenJDK:\n";
	struct capture_thread thread[THREADS] = { 0 };
	struct lang_said said[THREADS] = { 0 };
	size_t len = strlen(head) + size;
	char *text = malloc(len); /* to the byte */

	memcpy(text, head, strlen(head));
	memcpy(text + strlen(head), data, size);
	for (int i = 0; i < THREADS; i++)
		thread[i] = (struct capture_thread){
			.tid = 9 - i, .ns_tid = 1 + i, .state = i ? 'S' : 'R', .comm = "VM Thread"
		};
	java_told(text, len, thread, THREADS, said);
	for (size_t i = 0; i < THREADS; i++) {
		assert(said[i].script.count <= LANG_FRAMES_MAX);
		assert(said[i].owner < THREADS || said[i].owner == SIZE_MAX);
		assert(said[i].owner != i || !said[i].is_lock || said[i].wait);
		assert(!said[i].wait || strlen(said[i].wait) < LANG_NAME_MAX);
		for (size_t n = 0; n < said[i].script.count; n++)
			assert(said[i].script.frame[n].function &&
			       strlen(said[i].script.frame[n].function) <= LANG_NAME_MAX);
		said_done(&said[i]);
	}
	free(text);
	return 0;
}
