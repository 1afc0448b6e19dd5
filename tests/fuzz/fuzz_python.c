// SPDX-License-Identifier: MIT
/* The Python reader on memory that is the input, repeated over the whole address space so
 * that most pointers lead somewhere: it must end, within its bounds. */
#include "../../src/lang_python.c"

#include <assert.h>

#include "input.h"

/* The same bytes as what the tasks are found by. */
static void fuzz_tasks(const struct python *py, const struct memory *mem, struct input *in)
{
	struct analysis analysis = { 0 };
	size_t more = 0;

	in->bytes = 0;
	python_all_tasks(py, mem, &analysis.task, &analysis.task_count, &more);
	assert(analysis.task_count <= TASKS_MAX * (size_t)INTERPRETERS_MAX);
	assert(in->bytes <= 256u << 20);
	for (size_t i = 0; i < analysis.task_count; i++)
		assert(analysis.task[i].stack.count <= 64);
	analysis_done(&analysis);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data + 16, .size = size - 16 };
	struct memory mem = { .read = read_input, .arg = &in };
	struct capture_thread thread = { .tid = 1, .stopped = 1 };
	struct stack script = { 0 };
	struct lang_lock locks[LANG_LOCKS_MAX];
	struct python py = { .minor = 8 };

	if (size < 32)
		return 0;
	py.minor += data[0] % 7;
	py.at = layout_of(py.minor);
	py.words = words_of(py.minor);
	/* Addresses below the size of the input are read as they stand in it. */
	py.runtime = data[1] * 8u;
	thread.reg[REG_FS_BASE] = data[2];
	thread.ns_tid = data[3];
	thread.stopped = data[4] & 1;
	assert(python_walk(&py, &mem, 1, &thread, 1, false, &script, locks) <= LANG_LOCKS_MAX);
	assert(script.count <= LANG_FRAMES_MAX);
	assert(in.bytes <= TABLES_MAX + (uint64_t)LANG_FRAMES_MAX * 2 * (512 + 4 * (LANG_NAME_MAX + LANG_PATH_MAX)) +
				   (uint64_t)THREADS_MAX * 64 + 65536);
	for (size_t i = 0; i < script.count; i++)
		assert(script.frame[i].function && strlen(script.frame[i].function) <= 4 * LANG_NAME_MAX);
	stack_done(&script);
	fuzz_tasks(&py, &mem, &in);
	return 0;
}
