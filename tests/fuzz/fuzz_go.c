// SPDX-License-Identifier: MIT
/* The Go reader: the first half of the input is its table of functions, the second is memory,
 * repeated over the whole address space: it must end, within its bounds. */
#include "../../src/lang_go.c"

#include <assert.h>

#include "input.h"

/* The input as a whole is an executable, too. */
static void fuzz_file(const uint8_t *data, size_t size)
{
	struct image image = { .file = data, .file_len = size };
	struct go go = { 0 };

	find_symbols(&image, &go);
	find_table(&image, &go);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data + size / 2, .size = size - size / 2 };
	struct memory mem = { .read = read_input, .arg = &in };
	struct capture_thread thread = { .tid = 1, .stopped = 1 };
	struct analysis analysis = { 0 };
	struct stack script = { 0 };
	struct go go = { .row = &go_rows[size % ARRAY_LEN(go_rows)], .table = data, .len = size / 2 };
	struct lang_lock locks[LANG_LOCKS_MAX];
	size_t more = 0;

	if (size < 32)
		return 0;
	fuzz_file(data, size);
	go.since_20 = data[0] & 1;
	go.count = data[1] & 31;
	go.units = data[2];
	go.names = go.files = data[3];
	go.values = data[4];
	go.functions = data[5];
	go.funcs = data[6];
	go.reasons = data[7];
	go.allgs = data[8];
	thread.reg[FS_BASE] = data[9] + 8u;
	memcpy(&thread.ns_tid, in.data, MIN(sizeof(thread.ns_tid), in.size));
	assert(go_walk(&go, &mem, 1, &thread, 1, false, &script, locks) == 0);
	assert(script.count <= LANG_FRAMES_MAX);
	for (size_t i = 0; i < script.count; i++)
		assert(script.frame[i].function && strlen(script.frame[i].function) <= LANG_NAME_MAX);
	stack_done(&script);
	go_tasks(&go, &mem, &analysis.task, &analysis.task_count, &more);
	assert(analysis.task_count <= TASKS_KEPT);
	for (size_t i = 0; i < analysis.task_count; i++)
		assert(analysis.task[i].stack.count <= LANG_FRAMES_MAX);
	analysis_done(&analysis);
	return 0;
}
