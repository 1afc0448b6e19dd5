// SPDX-License-Identifier: MIT
/* Who may ask the daemon: every way in that a page of another site, a name that points
 * here, or somebody without the token could try. */
#include "../../src/web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOKEN "0123456789abcdef0123456789abcdef"

static void judged(void **state)
{
	static const struct {
		struct web_head head;
		enum web_verdict expected;
	} rows[] = {
		/* the socket: root asks; only names of the loopback, through a tunnel */
		{ { .local = true }, WEB_OK },
		{ { .local = true, .host = "localhost" }, WEB_OK },
		{ { .local = true, .host = "localhost:8080" }, WEB_OK },
		{ { .local = true, .host = "[::1]:8080" }, WEB_OK },
		{ { .local = true, .host = "localhost.evil.example" }, WEB_WRONG_HOST },
		{ { .local = true, .host = "localhost:80x" }, WEB_WRONG_HOST },
		{ { .local = true, .host = "evil.example:8080" }, WEB_WRONG_HOST },
		{ { .local = true, .host = "localhost:8080", .fetch_site = "cross-site" }, WEB_FOREIGN },
		{ { .local = true, .host = "localhost:8080", .fetch_site = "same-site" }, WEB_FOREIGN },
		{ { .local = true, .post = true, .host = "localhost:8080", .fetch_site = "none" }, WEB_FOREIGN },
		{ { .local = true, .post = true, .host = "localhost:8080", .origin = "http://evil.example" },
		  WEB_FOREIGN },
		{ { .local = true, .post = true, .host = "localhost:8080", .origin = "null" }, WEB_FOREIGN },
		{ { .local = true, .post = true, .host = "localhost:8080", .origin = "http://localhost:8080" },
		  WEB_OK },
		{ { .local = true, .post = true, .origin = "http://localhost:8080" }, WEB_FOREIGN },
		/* the port: a name of the loopback, and a token */
		{ { .post = false }, WEB_WRONG_HOST },
		{ { .host = "127.0.0.1" }, WEB_NO_TOKEN },
		{ { .host = "127.0.0.1:1235", .query_token = TOKEN }, WEB_OK }, /* through a tunnel */
		{ { .host = "[::1]:1235", .query_token = TOKEN }, WEB_OK },
		{ { .host = "127.0.0.1:", .query_token = TOKEN }, WEB_WRONG_HOST },
		{ { .host = "127.0.0.1:123456", .query_token = TOKEN }, WEB_WRONG_HOST },
		{ { .host = "127.0.0.1:80@evil.example", .query_token = TOKEN }, WEB_WRONG_HOST },
		{ { .host = "127.0.0.11:1234", .query_token = TOKEN }, WEB_WRONG_HOST },
		{ { .host = "127.0.0.1.evil.example", .query_token = TOKEN }, WEB_WRONG_HOST },
		{ { .host = "evil.example:1234", .query_token = TOKEN }, WEB_WRONG_HOST },
		{ { .host = "127.0.0.1:1234" }, WEB_NO_TOKEN },
		{ { .host = "127.0.0.1:1234", .query_token = TOKEN }, WEB_OK },
		{ { .host = "127.0.0.1:1234", .query_token = TOKEN "0" }, WEB_NO_TOKEN },
		{ { .host = "127.0.0.1:1234", .query_token = "" }, WEB_NO_TOKEN },
		{ { .host = "127.0.0.1:1234", .query_token = "0123" }, WEB_NO_TOKEN },
		{ { .host = "localhost:1234", .authorization = "Bearer " TOKEN }, WEB_OK },
		{ { .host = "localhost:1234", .authorization = "Basic " TOKEN }, WEB_NO_TOKEN },
		{ { .host = "localhost:1234", .authorization = "Bearer" }, WEB_NO_TOKEN },
		{ { .host = "localhost:1234", .cookie = "a=b; reqtrap-token-1234=" TOKEN "; c=d" }, WEB_OK },
		{ { .host = "localhost:1234", .cookie = "reqtrap-token-1234=" TOKEN }, WEB_OK },
		{ { .host = "localhost:1234", .cookie = "reqtrap-token-1234=" TOKEN "0" }, WEB_NO_TOKEN },
		{ { .host = "localhost:1234", .cookie = "xreqtrap-token-1234=" TOKEN }, WEB_NO_TOKEN },
		{ { .host = "localhost:1234", .cookie = "reqtrap-token-1234=0" }, WEB_NO_TOKEN },
		{ { .host = "localhost:1235", .cookie = "reqtrap-token-1234=" TOKEN }, WEB_NO_TOKEN },
		{ { .host = "localhost:123", .cookie = "reqtrap-token-1234=" TOKEN }, WEB_NO_TOKEN },
		{ { .host = "localhost:1235", .cookie = "reqtrap-token-1234=0; reqtrap-token-1235=" TOKEN }, WEB_OK },
		{ { .host = "localhost", .cookie = "reqtrap-token-80=" TOKEN }, WEB_OK },
		/* a change: a cookie alone is sent by any page */
		{ { .post = true, .host = "localhost:1234", .cookie = "reqtrap-token-1234=" TOKEN }, WEB_NO_TOKEN },
		{ { .post = true, .host = "localhost:1234", .query_token = TOKEN }, WEB_NO_TOKEN },
		{ { .post = true,
		    .host = "localhost:1234",
		    .cookie = "reqtrap-token-1234=" TOKEN,
		    .fetch_site = "same-origin" },
		  WEB_OK },
		{ { .post = true,
		    .host = "localhost:1234",
		    .cookie = "reqtrap-token-1234=" TOKEN,
		    .origin = "http://localhost:1234" },
		  WEB_OK },
		{ { .post = true,
		    .host = "localhost:1234",
		    .cookie = "reqtrap-token-1234=" TOKEN,
		    .origin = "http://127.0.0.1:1234" },
		  WEB_FOREIGN },
		{ { .post = true,
		    .host = "localhost:1234",
		    .cookie = "reqtrap-token-1234=" TOKEN,
		    .fetch_site = "cross-site",
		    .origin = "http://localhost:1234" },
		  WEB_FOREIGN },
		{ { .post = true, .host = "localhost:1234", .authorization = "Bearer " TOKEN }, WEB_OK },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (web_judge(&rows[i].head, TOKEN) != rows[i].expected)
			fail_msg("row %zu: %d, not %d", i, (int)web_judge(&rows[i].head, TOKEN), (int)rows[i].expected);
	}
}

static void field_is(const char *body, const char *key, const char *expected)
{
	char *value = web_field(body, key);

	if (expected)
		assert_string_equal(value, expected);
	else
		assert_null(value);
	free(value);
}

static void fields(void **state)
{
	(void)state;
	field_is("a=1&b=x+y%2Bz", "b", "x y+z");
	field_is("a=1&b=x", "a", "1");
	field_is("ab=1&b=x", "b", "x");
	field_is("b=", "b", "");
	field_is("a=b=c&d", "a", "b=c");
	field_is("a=1", "b", NULL);
	field_is("", "b", NULL);
	field_is("b", "b", NULL);
	field_is("b=%", "b", "%");
	field_is("b=%4", "b", "%4");
	field_is("b=%zz", "b", "%zz");
	field_is("b=x%00y", "b", "xy"); /* a text has no NUL */
	field_is("b=%0d%0a", "b", "\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(judged), cmocka_unit_test(fields) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
