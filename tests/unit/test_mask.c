// SPDX-License-Identifier: MIT
/* What of a request's values is a secret, by its name and by what a URL has where. */
#include "../../src/mask.h"

#include "event.h"
#include "incident_mask.h"
#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state UNUSED)
{
	static const char *const secret[] = { "Authorization",
					      "HTTP_AUTHORIZATION",
					      "Cookie",
					      "HTTP_COOKIE",
					      "Set-Cookie",
					      "DB_PASSWORD",
					      "X-Api-Key",
					      "AWS_SECRET_ACCESS",
					      "csrf_token",
					      "PHP_AUTH_PW",
					      "db_pwd",
					      "PHPSESSID",
					      "sid" };
	static const char *const open[] = { "HTTP_HOST",
					    "REMOTE_ADDR",
					    "HTTP_X_REQUEST_ID",
					    "HTTP_TRACEPARENT",
					    "REQUEST_METHOD",
					    "AUTH_TYPE",
					    "PWD",
					    "OLDPWD",
					    "inside",
					    "" };

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
	expect("HTTP_REFERER", "https://h/a;jsessionid=4711;v=2/b?c=d#e", "https://h/a;jsessionid=***;v=2/b?c=***#e");
	expect("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:1) x;sid=4711 y",
	       "Mozilla/5.0 (X11; Linux x86_64; rv:1) x;sid=*** y");
	expect("X", "", "");
}

static void test_incident_url(void **state UNUSED)
{
	static const char *const row[][2] = {
		{ "/cart", "/cart" },
		{ "/cart?order=77", "/cart?order=***" },
		{ "/cart?order=", "/cart?order=" },
		{ "/cart?a=1&b=x%20y;c=2=3&d", "/cart?a=***&b=***;c=***&***" },
		{ "/cart?", "/cart?" },
		{ "/cart?&&", "/cart?&&" },
		{ "/?s3cret", "/?***" },
		{ "/a?b=s3cret?c#d=s3cret", "/a?b=***" },
		{ "/a#s3cret", "/a#***" },
		{ "/map;v=1/x;jsessionid=s3cret;w=2?y=s3cret", "/map;v=1/x;jsessionid=***;w=2?y=***" },
		{ "/x;PHPSESSID=s3cret/y", "/x;PHPSESSID=***/y" },
		{ "/x;;=;sid", "/x;;=;sid" },
		{ "http://me:s3cret@h/x@y?z=s3cret", "http://***@h/x@y?z=***" },
		{ "http://h", "http://h" },
		{ "http://s3cret@", "http://***@" },
		{ "/go?to=http://u:s3cret@h/", "/go?to=***" },
		{ "*", "*" },
		{ "", "" },
	};

	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		char *told = mask_url(row[n][0]);

		assert_string_equal(told, row[n][1]);
		assert_null(strstr(told, "s3cret"));
		free(told);
		mask_show_values(true);
		told = mask_url(row[n][0]);
		assert_string_equal(told, row[n][0]);
		free(told);
		mask_show_values(false);
	}
}

static void test_incident_cmdline(void **state UNUSED)
{
	static const struct {
		const char *args, *told;
		size_t len;
	} row[] = {
#define ROW(args, told) { args, told, sizeof(args) }
		ROW("php-fpm: pool www\0\0\0\0", "php-fpm: pool www"),
		ROW("app\0--password=s3cret\0-v", "app --password=*** -v"),
		ROW("app\0--password\0s3cret\0-v", "app --password *** -v"),
		ROW("app\0--token\0--port\00080", "app --token --port 80"),
		ROW("env\0PGPASSWORD=s3cret\0psql", "env PGPASSWORD=*** psql"),
		ROW("app\0host=db password=s3cret s3cret", "app host=db password=***"),
		ROW("app\0--db=postgres://me:s3cret@db/x", "app --db=postgres://***@db/x"),
		ROW("app\0--api-key=s3cret\0API_TOKEN:s3cret", "app --api-key=*** API_TOKEN:***"),
		ROW("java\0-Djavax.keyStorePassword=s3cret", "java -Djavax.keyStorePassword=***"),
		ROW("app\0http://h/x:80\0-e\0a=b", "app http://h/x:80 -e a=b"),
		ROW("app\0--password", "app --password"),
		ROW("", ""),
	};

	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		char *told = mask_cmdline(row[n].args, row[n].len);

		assert_string_equal(told, row[n].told);
		free(told);
	}
	mask_show_values(true);
	free(mask_cmdline("", 0));
	{
		char *told = mask_cmdline("a\0--password=x", 15);

		assert_string_equal(told, "a --password=x");
		free(told);
	}
	mask_show_values(false);
}

/* What comes out of a request's head is masked where it comes in. */
static void test_incident_request(void **state UNUSED)
{
	static const char head[] = "GET /cart?order=s3cret HTTP/1.1\r\nHost: a\r\n\r\n";
	struct slot *slot = calloc(1, sizeof(*slot));
	struct request_info info = { 0 };

	memcpy(slot->head, head, sizeof(head) - 1);
	slot->head_len = sizeof(head) - 1;
	request_describe(slot, &info);
	assert_string_equal(info.url, "/cart?order=***");
	free(info.method);
	free(info.url);
	free(info.host);
	free(info.user_agent);
	free(slot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_incident_url),
		cmocka_unit_test(test_incident_cmdline),
		cmocka_unit_test(test_incident_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
