// SPDX-License-Identifier: MIT
/* Messages that are right, and the same with bytes changed, cut at random: the kernel's
 * parser says the same as for the whole, and the same as one that is written plainly. */
#include "play_walk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	u8 kind;
	u32 phase;
	const char *text;
} messages[] = {
	{ 0, WALK_OVER, "GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
	{ 0, WALK_OVER, "\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /" },
	{ 0, WALK_OVER, "POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\n05;a\nGET /\n0\nA: b\n\n" },
	{ 0, WALK_OVER, "P / H\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n" },
	{ 0, WALK_LOST, "P / H\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" },
	{ 0, WALK_LOST, "P / H\r\nContent-Length : 5\r\n\r\n" },
	{ 0, WALK_LOST, "P / H\r\nContent-Length:\r\n 5\r\n\r\n" },
	{ 0, WALK_LOST, "P / H\r\nTransfer-Encoding: \vchunked\r\n\r\n" },
	{ 0, WALK_LOST, "P / H\r\nTransfer-Encoding: chunked\r\n\r\nx" },
	{ 1, WALK_OVER, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" },
	{ 1, WALK_OVER, "HTTP/1.1 103 H\r\nLink: x\r\n\r\nHTTP/1.1 204 N\r\nContent-Length: 7\r\n\r\n" },
	{ 1, WALK_CLOSE, "HTTP/1.1 200 OK\r\n\r\nuntil the end" },
	{ 2, WALK_OVER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
	{ 1, WALK_FIRST, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort" },
};

static void right_ones_end_where_they_end(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
		static const u32 kinds[] = { 0, WALK_REPLY, WALK_REPLY | WALK_HEAD };
		size_t len = strlen(messages[i].text);
		struct verdict v = walked((const u8 *)messages[i].text, len, kinds[messages[i].kind], 0, false);

		if (v.phase != messages[i].phase)
			fail_msg("message %zu: phase %u", i, v.phase);
		assert_int_equal(v.end, messages[i].phase == WALK_OVER ? len : 0);
	}
}

static void changed_and_cut_ones_are_read_alike(void **state UNUSED)
{
	static const char letters[] = "\r\n :,;\t05af\vx";
	u32 seed = 1;

	for (u32 round = 0; round < 60000; round++) {
		size_t i = round % ARRAY_LEN(messages), len = strlen(messages[i].text);
		u8 data[256] = { messages[i].kind, (u8)(round * 7) };

		memcpy(data + 2, messages[i].text, len);
		for (u32 k = 0; k < round % 5; k++) {
			seed = seed * 1103515245 + 12345;
			data[2 + (seed >> 8) % len] = (u8)letters[(seed >> 20) % (sizeof(letters) - 1)];
		}
		if (!framing_check(data, len + 2))
			fail_msg("round %u: '%s'", round, (char *)data + 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_ones_end_where_they_end),
		cmocka_unit_test(changed_and_cut_ones_are_read_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
