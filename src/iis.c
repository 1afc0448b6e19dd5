// SPDX-License-Identifier: MIT
/* One table says which elements matter and which attributes they have; the rest goes by.
 * Elements are known by their name and their parent's, wherever they stand: people hand
 * over whole files, fragments and what a configSource names. Trap: <add> is a rule, an
 * area or a thousand other things, by its parent only. */
#include "iis.h"

#include "incident.h"

#include <expat.h>
#include <limits.h>
#include <string.h>

#define DEPTH_MAX 64
#define VALUE_MAX (32u << 10)
#define ITEMS_MAX 16384

static const struct row {
	const char *parent, *element; /* parent NULL: any */
	enum iis_kind kind;
	bool strict; /* other attributes are a mistake worth telling */
	const char *attribute[IIS_ATTRIBUTES];
} rows[] = {
	{ NULL, "traceFailedRequests", IIS_RULES, false, { "configSource" } },
	{ "traceFailedRequests",
	  "add",
	  IIS_RULE,
	  true,
	  { "path", "customActionExe", "customActionParams", "customActionTriggerLimit" } },
	{ "traceFailedRequests", "remove", IIS_REMOVE, true, { "path" } },
	{ "traceFailedRequests", "clear", IIS_CLEAR, true, { NULL } },
	{ "traceAreas", "add", IIS_AREA, true, { "provider", "areas", "verbosity" } },
	{ "add",
	  "failureDefinitions",
	  IIS_FAILURE,
	  true,
	  { "timeTaken", "statusCodes", "verbosity", "traceAllAfterTimeout" } },
	{ NULL,
	  "traceFailedRequestsLogging",
	  IIS_LOGGING,
	  true,
	  { "enabled", "directory", "maxLogFiles", "maxLogFileSizeKB", "customActionsEnabled" } },
	{ "sites", "site", IIS_SITE, false, { "name" } },
	{ "bindings", "binding", IIS_BINDING, false, { "bindingInformation" } },
	{ NULL, "location", IIS_LOCATION, false, { "path" } },
};

struct reader {
	XML_Parser parser;
	const char *file;
	struct iis *iis;
	const char *open[DEPTH_MAX]; /* names of 'rows', or ''; never expat's own memory */
	size_t depth;
	char *site, *location; /* what is open now */
	size_t site_depth, location_depth;
	int code; /* of 'say', which ended it */
	char say[200];
};

static void stop(struct reader *r, int code, const char *text)
{
	if (r->code == 0) {
		r->code = code;
		snprintf(r->say, sizeof(r->say), "%s", text);
	}
	XML_StopParser(r->parser, XML_FALSE);
}

/* The name as the table has it, for this element may be a parent. */
static const char *known_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].element, name) == 0)
			return rows[i].element;
		if (rows[i].parent && strcmp(rows[i].parent, name) == 0)
			return rows[i].parent;
	}
	return "";
}

static struct iis_item *add_item(struct reader *r, enum iis_kind kind)
{
	struct iis_item *item = NULL;

	if (r->iis->count < ITEMS_MAX)
		item = list_add(&r->iis->item, &r->iis->count, sizeof(*item));
	if (!item) {
		stop(r, -E2BIG, "there is more of Failed Request Tracing in it than any server has");
		return NULL;
	}
	item->kind = kind;
	item->line = (unsigned int)MIN(XML_GetCurrentLineNumber(r->parser), UINT_MAX);
	text_set(&item->file, r->file);
	text_set(&item->site, r->site);
	text_set(&item->location, r->location);
	return item;
}

static size_t attribute_of(const struct row *row, const char *name)
{
	size_t i = 0;

	while (i < IIS_ATTRIBUTES && (!row->attribute[i] || strcmp(row->attribute[i], name) != 0))
		i++;
	return i;
}

static void take(struct reader *r, const struct row *row, const char **attributes)
{
	struct iis_item *item = add_item(r, row->kind);
	size_t at = r->iis->count - 1;

	for (size_t i = 0; item && attributes[i]; i += 2) {
		size_t n = attribute_of(row, attributes[i]);

		if (strlen(attributes[i]) + strlen(attributes[i + 1]) > VALUE_MAX) {
			stop(r, -E2BIG, "an attribute is longer than 32 KiB");
			return;
		}
		if (n < IIS_ATTRIBUTES) {
			text_set(&r->iis->item[at].value[n], attributes[i + 1]);
		} else if (row->strict && strncmp(attributes[i], "lock", 4) != 0 && (item = add_item(r, IIS_UNKNOWN))) {
			text_set(&item->value[0], attributes[i]);
			text_set(&item->value[1], attributes[i + 1]);
		}
	}
	item = item ? &r->iis->item[at] : NULL;
	if (item && row->kind == IIS_SITE) {
		text_set(&r->site, item->value[0]);
		r->site_depth = r->depth;
	}
	if (item && row->kind == IIS_LOCATION) {
		text_set(&r->location, item->value[0]);
		r->location_depth = r->depth;
	}
}

static void XMLCALL on_start(void *arg, const char *name, const char **attributes)
{
	struct reader *r = arg;
	const char *parent = r->depth ? r->open[r->depth - 1] : "";

	if (r->depth == DEPTH_MAX) {
		stop(r, -E2BIG, "elements are nested deeper than 64");
		return;
	}
	r->open[r->depth++] = known_name(name);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].element, name) == 0 && (!rows[i].parent || strcmp(rows[i].parent, parent) == 0)) {
			take(r, &rows[i], attributes);
			return;
		}
	}
}

static void XMLCALL on_end(void *arg, const char *name UNUSED)
{
	struct reader *r = arg;

	if (r->site && r->depth == r->site_depth)
		text_set(&r->site, NULL);
	if (r->location && r->depth == r->location_depth)
		text_set(&r->location, NULL);
	if (r->depth)
		r->depth--;
}

static void XMLCALL on_doctype(void *arg, const char *name UNUSED, const char *system_id UNUSED,
			       const char *public_id UNUSED, int has_subset UNUSED)
{
	stop(arg, -EINVAL, "a DTD (<!DOCTYPE ...>) is refused: no configuration of IIS has one");
}

int iis_parse(const char *file, const char *text, size_t len, struct iis *iis, struct err *err)
{
	struct reader r = { .file = file, .iis = iis, .parser = XML_ParserCreate(NULL) };
	int code = 0;

	if (!r.parser)
		return err_sys(err, -ENOMEM, "cannot read '%s'", file);
	if (len > IIS_BYTES_MAX) {
		XML_ParserFree(r.parser);
		return err_say(err, -E2BIG, "cannot read '%s': longer than %u MiB", file, IIS_BYTES_MAX >> 20);
	}
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_start, on_end);
	XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
	if (XML_Parse(r.parser, text, (int)len, XML_TRUE) != XML_STATUS_OK)
		code = err_say(err, r.code ? r.code : -EINVAL, "%s:%lu:%lu: %s%s", file,
			       (unsigned long)XML_GetCurrentLineNumber(r.parser),
			       (unsigned long)XML_GetCurrentColumnNumber(r.parser) + 1,
			       r.code ? "" : "not XML: ", r.code ? r.say : XML_ErrorString(XML_GetErrorCode(r.parser)));
	XML_ParserFree(r.parser);
	free(r.site);
	free(r.location);
	return code;
}

void iis_done(struct iis *iis)
{
	for (size_t i = 0; i < iis->count; i++) {
		struct iis_item *item = &iis->item[i];

		free(item->file);
		free(item->site);
		free(item->location);
		for (size_t n = 0; n < IIS_ATTRIBUTES; n++)
			free(item->value[n]);
	}
	free(iis->item);
	*iis = (struct iis){ 0 };
}
