// SPDX-License-Identifier: MIT
/* First bytes as clients send them. */
#include "query.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SAID(port, values, literal, protocol, text) said(port, values, literal, sizeof(literal) - 1, protocol, text)

static void said(uint16_t port, bool values, const char *bytes, size_t len, const char *protocol, const char *text)
{
	struct query q;

	if (!protocol) {
		assert_false(query_read((const uint8_t *)bytes, len, port, values, &q));
		return;
	}
	assert_true(query_read((const uint8_t *)bytes, len, port, values, &q));
	assert_string_equal(q.protocol, protocol);
	assert_string_equal(q.text, text);
}

static void test_postgres(void **state UNUSED)
{
	SAID(5432, false, "Q\0\0\0\x26SELECT pg_sleep(3), 'secret word'\0", "PostgreSQL", "SELECT pg_sleep(?), ?");
	SAID(5432, true, "Q\0\0\0\x26SELECT pg_sleep(3), 'secret word'\0", "PostgreSQL",
	     "SELECT pg_sleep(3), 'secret word'");
	/* at another port, and over a pooler */
	SAID(6432, false, "Q\0\0\0\x0dSELECT 1\0", "PostgreSQL", "SELECT ?");
	/* libpq's PQexecParams: Parse, Bind, Describe, Execute, Sync */
	SAID(5432, false,
	     "P\0\0\0\x24\0SELECT * FROM t WHERE id = $1\0\0\0B\0\0\0\x13\0\0\0\0\0\1\0\0\0\2"
	     "42\0\0D\0\0\0\6P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\4",
	     "PostgreSQL", "SELECT * FROM t WHERE id = $1");
	SAID(5432, false,
	     "B\0\0\0\x13\0s1\0\0\0\0\1\0\0\0\2"
	     "42\0\0",
	     "PostgreSQL", "(a prepared statement)");
	SAID(5432, false, "\0\0\0\x08\x04\xd2\x16\x2f", "PostgreSQL", "(connecting)");
	SAID(5432, false, "\0\0\0\x21\0\3\0\0user\0shop\0database\0shop\0\0", "PostgreSQL", "(connecting)");
	/* cut in the midst of a literal: nothing of it is shown */
	SAID(5432, false, "Q\0\0\1\0SELECT 'half of a sec", "PostgreSQL", "SELECT ?");
	SAID(80, false, "Q\0\0\0\3x", NULL, NULL);
	SAID(5432, false, "Q\0\0", NULL, NULL);
}

static void test_mysql(void **state UNUSED)
{
	SAID(3306, false, "\x1f\0\0\0\3SELECT SLEEP(2.5), \"it\", name9", "MySQL", "SELECT SLEEP(?), ?, name9");
	SAID(3306, false, "\x0b\0\0\0\3\0\1SELECT 7", "MySQL", "SELECT ?");
	SAID(3307, false, "\x09\0\0\0\3SELECT 1", "MySQL", "SELECT ?");
	SAID(3306, false, "\x15\0\0\0\x16SELECT a WHERE b = ?", "MySQL", "SELECT a WHERE b = ?");
	SAID(3306, false, "\x0a\0\0\0\x17\1\0\0\0\0\1\0\0\0", "MySQL", "(a prepared statement)");
	SAID(3306, false, "\1\0\0\0\x0e", "MySQL", "(ping)");
	SAID(3306, false, "\x54\0\0\1\x8d\xa6\x0f\0", "MySQL", "(logging in)");
}

static void test_redis(void **state UNUSED)
{
	SAID(6379, false, "*3\r\n$5\r\nBLPOP\r\n$4\r\njobs\r\n$1\r\n0\r\n", "Redis", "BLPOP ? ?");
	SAID(6379, true, "*3\r\n$5\r\nBLPOP\r\n$4\r\njobs\r\n$1\r\n0\r\n", "Redis", "BLPOP jobs 0");
	SAID(7000, true, "*2\r\n$3\r\nGET\r\n$900\r\nhalf", "Redis", "GET half");
	SAID(6379, false, "*2\r\n$99999999999999999999\r\n", NULL, NULL);
	SAID(6379, false, "*\r\n", NULL, NULL);
}

static void test_http(void **state UNUSED)
{
	SAID(80, false, "GET /price?card=4711 HTTP/1.1\r\nHost: x\r\n", "HTTP", "GET /price?...");
	SAID(8080, true, "POST /price?card=4711 HTTP/1.1\r\n", "HTTP", "POST /price?card=4711");
	SAID(443, false, "\x16\3\1\2\0\1\0\1\xfc\3\3", "TLS", "");
	SAID(80, false, "get / HTTP/1.1", NULL, NULL);
}

static void test_dns(void **state UNUSED)
{
	SAID(53, false, "\x12\x34\1\0\0\1\0\0\0\0\0\0\4shop\7example\0\0\1\0\1", "DNS", "A shop.example");
	SAID(53, false, "\x12\x34\1\0\0\1\0\0\0\0\0\1\4shop\7example\0\0\x1c\0\1\0\0\x29", "DNS", "AAAA shop.example");
	/* an answer, a name that leads nowhere, one that is cut */
	SAID(53, false, "\x12\x34\x81\x80\0\1\0\0\0\0\0\0\4shop\7example\0\0\1\0\1", NULL, NULL);
	SAID(53, false, "\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\0\1\0\1", NULL, NULL);
	SAID(53, false, "\x12\x34\1\0\0\1\0\0\0\0\0\0\x3fshop", NULL, NULL);
	SAID(54, false, "\x12\x34\1\0\0\1\0\0\0\0\0\0\4shop\7example\0\0\1\0\1", NULL, NULL);
}

static void test_usual(void **state UNUSED)
{
	assert_string_equal(query_usual(3306), "MySQL");
	assert_null(query_usual(4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_postgres), cmocka_unit_test(test_mysql), cmocka_unit_test(test_redis),
		cmocka_unit_test(test_http),	 cmocka_unit_test(test_dns),   cmocka_unit_test(test_usual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
