// SPDX-License-Identifier: MIT
/* What of a request's values is a secret, by its name and by what a URL has where. */
#include "../../src/mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state UNUSED)
{
	static const char *const secret[] = { "Authorization", "HTTP_AUTHORIZATION", "Cookie",	  "HTTP_COOKIE",
					      "Set-Cookie",    "DB_PASSWORD",	     "X-Api-Key", "AWS_SECRET_ACCESS",
					      "csrf_token",    "PHP_AUTH_PW" };
	static const char *const open[] = {
		"HTTP_HOST", "REMOTE_ADDR", "HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "REQUEST_METHOD", "AUTH_TYPE", ""
	};

	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		assert_true(mask_is_secret(secret[i]));
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		assert_false(mask_is_secret(open[i]));
}

static void expect(const char *name, const char *value, const char *shown)
{
	bool masked;
	char *text = mask_value(name, value, &masked);

	assert_non_null(text);
	assert_string_equal(text, shown);
	assert_int_equal(masked, strcmp(value, shown) != 0);
	free(text);
}

static void test_values(void **state UNUSED)
{
	expect("HTTP_COOKIE", "a=b; c=d", "***");
	expect("HTTP_COOKIE", "", "");
	expect("HTTP_ACCEPT", "text/html, */*", "text/html, */*");
	expect("QUERY_STRING", "user=7&token=abc", "user=***&token=***");
	expect("QUERY_STRING", "abc", "***");
	expect("QUERY_STRING", "a=&b", "a=&***");
	expect("QUERY_STRING", "a&&b=1&", "***&&b=***&");
	expect("QUERY_STRING", "a=b=c", "a=***");
	expect("QUERY_STRING", "", "");
	expect("REDIRECT_QUERY_STRING", "x=1", "x=***");
	expect("REQUEST_URI", "/cart?id=7;s=9#top", "/cart?id=***;s=***#top");
	expect("REQUEST_URI", "/cart", "/cart");
	expect("REQUEST_URI", "/cart?", "/cart?");
	expect("HTTP_REFERER", "https://me:pass@shop.example/x?y=1", "https://***@shop.example/x?y=***");
	expect("DATABASE_URL", "postgres://u:p@ss@db:5432/x", "postgres://***@db:5432/x");
	expect("X", "https://shop.example/a@b", "https://shop.example/a@b");
	expect("X", "a:b?", "a:b?");
	expect("X", "", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
