/* SPDX-License-Identifier: MIT */
/* What the parts of the PHP reader share: its stacks (lang_php.c), the request that it
 * works on (lang_php_request.c) and the values that its functions were called with
 * (lang_php_values.c). Everything read is hostile. */
#ifndef REQTRAP_LANG_PHP_H
#define REQTRAP_LANG_PHP_H

#include "lang.h"

struct php_row {
	uint8_t major, minor;
	uint16_t current; /* executor_globals.current_execute_data */
	uint16_t prev;	  /* execute_data.prev_execute_data */
	uint16_t file;	  /* op_array.filename */
	uint16_t line;	  /* op_array.line_start; line_end follows */
	uint16_t run;	  /* zend_generator.execute_data; 0: not known */
	uint16_t node;	  /* zend_generator.node */
};

struct php {
	const struct php_row *row;
	uint64_t executor_globals;
	uint64_t sapi_globals, sapi_module; /* 0: not exported */
};

/* A zend_string as a heap string, at most max bytes of it; ret_len, if not NULL: how long
 * it is. NULL: not a string. */
char *php_string(const struct memory *mem, uint64_t addr, size_t max, uint64_t *ret_len);

/* What the function of frame 'ex' was called with: '1, "x", array(3)'. NULL: not readable. */
char *php_arguments(const struct php *php, const struct memory *mem, uint64_t ex, uint64_t func, bool internal);

/* 'request' of struct language. */
const char *php_request(const void *state, const struct memory *mem, struct variable **ret_variable, size_t *ret_count);

#endif
