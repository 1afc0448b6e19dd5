// SPDX-License-Identifier: MIT
/* Captured bytes: of HTTP and FastCGI heads what is found must lie inside them, of what was
 * asked of others a text comes out. */
#include "fastcgi.h"
#include "http.h"
#include "query.h"

#include <string.h>

static void inside(struct span span, const uint8_t *from, size_t len)
{
	if (span.data && (span.data < (const char *)from || span.data + span.len > (const char *)from + len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fastcgi_head fcgi;
	struct http_head http;
	struct query query;

	if (http_head_parse(data, size, &http) == 0) {
		inside(http.method, data, size);
		inside(http.target, data, size);
		inside(http.host, data, size);
		inside(http.user_agent, data, size);
	}
	if (fastcgi_head_parse(data, size, &fcgi) == 0) {
		if (fcgi.params_len > sizeof(fcgi.params))
			abort();
		inside(fcgi.method, fcgi.params, fcgi.params_len);
		inside(fcgi.uri, fcgi.params, fcgi.params_len);
		inside(fcgi.host, fcgi.params, fcgi.params_len);
		inside(fcgi.remote_port, fcgi.params, fcgi.params_len);
	}
	for (size_t i = 0; size > 2 && i < 2; i++) {
		if (query_read(data + 2, size - 2, (uint16_t)(data[0] << 8 | data[1]), i, &query) &&
		    (!query.protocol || strnlen(query.text, sizeof(query.text)) == sizeof(query.text)))
			abort();
	}
	return 0;
}
