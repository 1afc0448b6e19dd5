// SPDX-License-Identifier: MIT
/* The Ruby reader on memory that is the input, repeated over the whole address space so that
 * most pointers lead somewhere: it must end, within its bounds. */
#include "../../src/lang_ruby.c"

#include <assert.h>

#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data + 16, .size = size - 16 };
	struct memory mem = { .read = read_input, .arg = &in };
	struct capture_thread thread = { .tid = 1, .stopped = 1 };
	struct stack script = { 0 };
	struct lang_lock locks[LANG_LOCKS_MAX];
	struct ruby ruby = { .row = ruby_rows };

	if (size < 32)
		return 0;
	ruby.row += data[0] % ARRAY_LEN(ruby_rows);
	/* Addresses below the size of the input are read as they stand in it. */
	ruby.vm = data[1] * 8u;
	ruby.data_len = data[3] * 8u;
	thread.reg[REG_FS_BASE] = data[2];
	thread.stopped = data[4] & 1;
	assert(ruby_walk(&ruby, &mem, 1, &thread, 1, false, &script, locks) <= LANG_LOCKS_MAX);
	assert(script.count <= LANG_FRAMES_MAX);
	for (size_t i = 0; i < script.count; i++)
		assert(script.frame[i].function && strlen(script.frame[i].function) <= LANG_NAME_MAX);
	stack_done(&script);
	return 0;
}
