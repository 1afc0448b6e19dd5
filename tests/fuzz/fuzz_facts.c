// SPDX-License-Identifier: MIT
/* incident.json of any bytes. What is accepted must be written so that it is read as
 * the same, and every page of it must be drawn within its bounds. */
#include "facts.h"
#include "report.h"

#include <string.h>

static void write_out(const struct incident *incident, struct buf *out)
{
	struct err err;

	buf_init(out, FACTS_BYTES_MAX);
	if (facts_write(incident, out, &err) != 0)
		abort();
}

static void same_again(const struct incident *incident)
{
	struct incident *again = NULL;
	struct buf first, second;
	struct err err;

	write_out(incident, &first);
	if (facts_read(first.data, first.len, &again, &err) != 0)
		abort();
	write_out(again, &second);
	if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
		abort();
	buf_done(&first);
	buf_done(&second);
	incident_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct analysis analysis = { 0 };
	struct incident *incident = NULL;
	struct err err = { "" };
	int r;

	if (size > 65536)
		return 0;
	r = facts_read((const char *)data, size, &incident, &err);
	if ((r == 0) != (incident != NULL) || (r < 0 && !err.text[0]))
		abort();
	if (incident) {
		same_again(incident);
		for (size_t n = 0; n < report_format_count; n++) {
			struct buf page;

			buf_init(&page, REPORT_BYTES_MAX);
			if (report_formats[n].render(incident, &page, &err) != 0)
				abort();
			for (size_t k = 0; k < page.len; k++) {
				unsigned char c = (unsigned char)page.data[k];

				if ((c < 0x20 && c != '\n') || c == 0x7f)
					abort();
			}
			buf_done(&page);
		}
		incident_free(incident);
	}
	if (analysis_read((const char *)data, size, &analysis, &err) == 0)
		analysis_done(&analysis);
	return 0;
}
