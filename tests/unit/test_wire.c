// SPDX-License-Identifier: MIT
/* Heads out of captured bytes: whole, cut at every byte, and hostile. */
#include "fastcgi.h"
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char get[] =
	"GET /cart?id=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent:\tcurl/8 \r\nX: host: no\r\n\r\n";

static void is_span(struct span span, const char *text)
{
	assert_non_null(span.data);
	assert_int_equal(span.len, strlen(text));
	assert_memory_equal(span.data, text, span.len);
}

static void http_head_whole(void **state UNUSED)
{
	struct http_head head;

	assert_int_equal(http_head_parse((const uint8_t *)get, strlen(get), &head), 0);
	is_span(head.method, "GET");
	is_span(head.target, "/cart?id=7");
	is_span(head.host, "shop.example");
	is_span(head.user_agent, "curl/8");
	assert_true(head.complete);
}

/* A copy of exactly 'len' bytes on the heap: one byte too far is seen by the sanitizer. */
static void http_head_cut_anywhere(void **state UNUSED)
{
	for (size_t len = 0; len < strlen(get); len++) {
		uint8_t *bytes = malloc(len ? len : 1);
		struct http_head head = { 0 };

		memcpy(bytes, get, len);
		if (http_head_parse(bytes, len, &head) == 0) {
			assert_true(len >= 4);
			assert_false(head.complete);
			assert_true(head.target.len <= strlen("/cart?id=7"));
			assert_true(!head.host.data || head.host.len == strlen("shop.example"));
		}
		free(bytes);
	}
}

static void http_head_of_others(void **state UNUSED)
{
	static const char *const not_http[] = {
		"", "\r\n", " GET / HTTP/1.1\r\n", "\x16\x03\x01\x02 x", "GET\r\n", "G\x01T / HTTP/1.1\r\n"
	};
	static const char lf[] = "PROPFIND /dav HTTP/1.1\nHOST:a\n\nrest";
	static const char nul[] = "GET /a\0b HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n";
	struct http_head head;

	for (size_t i = 0; i < ARRAY_LEN(not_http); i++)
		assert_int_equal(http_head_parse((const uint8_t *)not_http[i], strlen(not_http[i]), &head), -EINVAL);
	assert_int_equal(http_head_parse((const uint8_t *)lf, strlen(lf), &head), 0);
	is_span(head.method, "PROPFIND");
	is_span(head.host, "a");
	assert_true(head.complete);
	assert_int_equal(http_head_parse((const uint8_t *)nul, sizeof(nul) - 1, &head), 0);
	assert_int_equal(head.target.len, 4); /* the NUL is a byte like others */
	is_span(head.host, "x");	      /* the first one counts */
}

struct wire {
	uint8_t data[8192];
	size_t len;
};

static void put(struct wire *w, const void *data, size_t len)
{
	if (len)
		memcpy(w->data + w->len, data, len);
	w->len += len;
}

static void put_record(struct wire *w, uint8_t type, const void *content, size_t len, uint8_t padding)
{
	uint8_t head[8] = { 1, type, 0, 1, (uint8_t)(len >> 8), (uint8_t)len, padding, 0 };
	uint8_t zeros[255] = { 0 };

	put(w, head, sizeof(head));
	put(w, content, len);
	put(w, zeros, padding);
}

static void put_pair(struct wire *w, const char *name, const char *value, bool wide)
{
	size_t n = strlen(name), v = strlen(value);
	uint8_t lengths[8];
	size_t k = 0;

	lengths[k++] = (uint8_t)n;
	if (v > 127 || wide) {
		lengths[k++] = (uint8_t)(0x80 | v >> 24);
		lengths[k++] = (uint8_t)(v >> 16);
		lengths[k++] = (uint8_t)(v >> 8);
	}
	lengths[k++] = (uint8_t)v;
	put(w, lengths, k);
	put(w, name, n);
	put(w, value, v);
}

static void make_request(struct wire *w, size_t split)
{
	static const uint8_t begin[8] = { 0, 1, 0 };
	struct wire params = { .len = 0 };
	char query[300];

	memset(query, 'q', sizeof(query) - 1);
	query[sizeof(query) - 1] = '\0';
	put_pair(&params, "QUERY_STRING", query, false);
	put_pair(&params, "REQUEST_METHOD", "POST", true);
	put_pair(&params, "REQUEST_URI", "/slow.php?a=b", false);
	put_pair(&params, "HTTP_HOST", "shop", false);
	put_pair(&params, "REMOTE_ADDR", "10.0.0.9", false);
	put_pair(&params, "REMOTE_PORT", "4711", false);
	put_record(w, 1, begin, sizeof(begin), 0);
	put_record(w, 4, params.data, split, 3); /* a pair may straddle two records */
	put_record(w, 4, params.data + split, params.len - split, 0);
	put_record(w, 4, NULL, 0, 0);
	put_record(w, 5, NULL, 0, 0);
}

static void fastcgi_head_whole(void **state UNUSED)
{
	for (size_t split = 1; split < 400; split += 7) {
		struct wire w = { .len = 0 };
		struct fastcgi_head head;

		make_request(&w, split);
		assert_int_equal(fastcgi_head_parse(w.data, w.len, &head), 0);
		is_span(head.method, "POST");
		is_span(head.uri, "/slow.php?a=b");
		is_span(head.host, "shop");
		is_span(head.remote_addr, "10.0.0.9");
		is_span(head.remote_port, "4711");
		assert_int_equal(head.query.len, 299);
		assert_true(head.complete);
	}
}

static void fastcgi_head_cut_anywhere(void **state UNUSED)
{
	struct wire w = { .len = 0 };

	make_request(&w, 20);
	for (size_t len = 0; len < w.len; len++) {
		uint8_t *bytes = malloc(len ? len : 1);
		struct fastcgi_head head;
		int r;

		memcpy(bytes, w.data, len);
		r = fastcgi_head_parse(bytes, len, &head);
		assert_int_equal(r, len < 8 ? -EINVAL : 0);
		if (r == 0 && head.uri.data)
			is_span(head.uri, "/slow.php?a=b");
		free(bytes);
	}
	w.data[1] = 2; /* not BEGIN_REQUEST */
	assert_int_equal(fastcgi_head_parse(w.data, w.len, &(struct fastcgi_head){ .complete = false }), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_head_whole),	     cmocka_unit_test(http_head_cut_anywhere),
		cmocka_unit_test(http_head_of_others),	     cmocka_unit_test(fastcgi_head_whole),
		cmocka_unit_test(fastcgi_head_cut_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
