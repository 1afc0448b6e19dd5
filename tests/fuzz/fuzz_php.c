// SPDX-License-Identifier: MIT
/* The PHP reader on memory that is the input, repeated over the whole address space so
 * that most pointers lead somewhere: it must end, within its bounds. */
#include "../../src/lang_php.c"

#include <assert.h>

#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data + 24, .size = size - 24 };
	struct memory mem = { .read = read_input, .arg = &in };
	struct capture_thread thread = { .tid = 1, .stopped = 1 };
	struct stack script = { 0 };
	struct php php;

	if (size < 32)
		return 0;
	php.row = &php_rows[data[0] % ARRAY_LEN(php_rows)];
	memcpy(&php.executor_globals, data + 8, 8);
	memcpy(&thread.reg[REG_R14], data + 16, 8);
	memcpy(&thread.reg[REG_R15], data + 1, 8);
	php_walk(&php, &mem, 1, &thread, 1, &script, NULL);
	assert(script.count <= LANG_FRAMES_MAX);
	assert(in.reads <= 1 + LANG_FRAMES_MAX * 30);
	for (size_t i = 0; i < script.count; i++)
		assert(script.frame[i].function && strlen(script.frame[i].function) <= 2 * LANG_NAME_MAX + 2);
	stack_done(&script);
	return 0;
}
