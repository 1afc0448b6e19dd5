/* SPDX-License-Identifier: MIT */
/* The words of options, rules and their files: durations, sizes, statuses, globs; from
 * text and back. Pure; knows nothing of what they are for. */
#ifndef REQTRAP_VALUE_H
#define REQTRAP_VALUE_H

#include "buf.h"
#include "err.h"

#define RULE_STATUS_MAX 32
#define RULE_LIMIT_MAX 1000000u

enum capture_bits { CAPTURE_TRACE = 1, CAPTURE_STACKS = 2, CAPTURE_FULL = 4, CAPTURE_MINI = 8 };
#define CAPTURE_CORE (CAPTURE_FULL | CAPTURE_MINI)
#define CAPTURE_STOPS (CAPTURE_STACKS | CAPTURE_CORE) /* the process stands still for it */

struct status_range {
	uint16_t from, to; /* inclusive */
};

/* A text that does not fit gives -EINVAL and a text with an example. */
int parse_duration(const char *text, uint64_t *ret_ns, struct err *err); /* '500ms' '2s' '1m' '00:01:30' */
int parse_size(const char *text, uint64_t *ret_bytes, struct err *err);	 /* '512M', K M G T = KiB ... */
int parse_space(const char *text, uint64_t *ret_bytes, uint32_t *ret_percent, struct err *err); /* '5G' or '10%' */
int parse_status(const char *text, struct status_range *ret, size_t max, size_t *ret_count, struct err *err);
int parse_capture(const char *text, uint32_t *ret_bits, struct err *err); /* 'trace,stacks,mini' */
int parse_limit(const char *text, uint32_t *ret_limit, uint64_t *ret_window_ns, struct err *err); /* 'N[/D]' */
int parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err);

/* '*' is any run of bytes, '?' one. In a pattern with '**' these two end at a slash, '**'
 * does not, and slash-'**'-slash is also one slash. */
bool glob_match(const char *pattern, const char *text, bool fold_case);
bool glob_run(const char *pattern, const char *text, size_t len, bool fold_case);

/* Who asks: an address, all of a network, or anybody on a unix socket. */
struct network {
	uint8_t family; /* AF_INET, AF_INET6, AF_UNIX */
	uint8_t bits;	/* of the address that count */
	uint8_t addr[16];
};

int parse_network(const char *text, struct network *ret, struct err *err); /* '10.0.0.0/8' '::1' 'unix' */
/* client: 'ADDRESS:PORT', '[ADDRESS]:PORT' or 'unix', as request_info has it. */
bool network_has(const struct network *network, const char *client);
void format_network(const struct network *network, struct buf *out);

void format_duration(uint64_t ns, char *buf, size_t size); /* the shortest that parses back */
void format_size(uint64_t bytes, char *buf, size_t size);  /* the shortest that parses back, if it is whole KiB */
void format_status(const struct status_range *status, size_t count, struct buf *out); /* '404,500-599' */
void format_capture(uint32_t bits, struct buf *out);				      /* 'trace,stacks' */

#endif
