// SPDX-License-Identifier: MIT
/* The PHP reader on memory that is the input, repeated over the whole address space so
 * that most pointers lead somewhere: it must end, within its bounds. */
#include "../../src/lang_php.c"
#include "../../src/lang_php_request.c"

#include <assert.h>

#include "input.h"

#define NAME_AT 0xffff000000000000ull /* no address of the input's */

/* The input, and the name of the server that leads to FastCGI's part. */
static ssize_t read_named(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct {
		uint64_t at;
		char name[64];
	} module = { NAME_AT + 8, "fpm-fcgi" };

	if (addr < NAME_AT)
		return read_input(arg, addr, buf, len);
	addr -= NAME_AT;
	len = addr < sizeof(module) ? MIN(len, sizeof(module) - addr) : 0;
	memcpy(buf, (char *)&module + (len ? addr : 0), len);
	return (ssize_t)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data + 24, .size = size - 24 };
	struct memory mem = { .read = read_input, .arg = &in };
	struct capture_thread thread = { .tid = 1, .stopped = 1 };
	struct stack script = { 0 };
	struct variable *variable = NULL;
	size_t count = 0;
	struct php php;

	if (size < 32)
		return 0;
	php.row = &php_rows[data[0] % ARRAY_LEN(php_rows)];
	memcpy(&php.executor_globals, data + 8, 8);
	memcpy(&thread.reg[REG_R14], data + 16, 8);
	memcpy(&thread.reg[REG_R15], data + 1, 8);
	php_walk(&php, &mem, 1, &thread, 1, data[23] & 1, &script, NULL);
	assert(script.count <= LANG_FRAMES_MAX);
	assert(in.reads <= 1 + LANG_FRAMES_MAX * (30 + 8 * 10));
	for (size_t i = 0; i < script.count; i++)
		assert(script.frame[i].function && strlen(script.frame[i].function) <= 2 * LANG_NAME_MAX + 2);
	stack_done(&script);
	memcpy(&php.sapi_globals, data + 9, 8);
	php.sapi_module = data[22] & 1 ? NAME_AT : 0;
	mem.read = read_named;
	in.reads = 0;
	php_request(&php, &mem, &variable, &count);
	assert(in.reads <= 16 + 3 * PARAMS_MAX && count <= PARAMS_MAX + 4);
	for (size_t i = 0; i < count; i++) {
		free(variable[i].name);
		free(variable[i].value);
	}
	free(variable);
	return 0;
}
