/* SPDX-License-Identifier: MIT */
/* Configuration files of IIS (libexpat): what they say of Failed Request Tracing, as it
 * stands there, in the file's order. Refuses to know what any of it means. Hostile:
 * a DTD is refused, so no entity but the five of XML exists; depth, length and number
 * are bounded. */
#ifndef REQTRAP_IIS_H
#define REQTRAP_IIS_H

#include "err.h"

#define IIS_BYTES_MAX (16u << 20)
#define IIS_ATTRIBUTES 5

enum iis_kind {
	IIS_RULES,   /* <traceFailedRequests>: configSource */
	IIS_RULE,    /* its <add>: path, customActionExe, customActionParams, customActionTriggerLimit */
	IIS_REMOVE,  /* path */
	IIS_CLEAR,   /* what was inherited and added before */
	IIS_AREA,    /* of the rule before: provider, areas, verbosity */
	IIS_FAILURE, /* of the rule before: timeTaken, statusCodes, verbosity, traceAllAfterTimeout */
	IIS_LOGGING, /* enabled, directory, maxLogFiles, maxLogFileSizeKB, customActionsEnabled */
	IIS_SITE,    /* name */
	IIS_BINDING, /* of the site before: bindingInformation */
	IIS_LOCATION,
	IIS_UNKNOWN, /* an attribute that no version of the schema has: its name and its value */
};

/* Indexes of 'value', per kind. */
enum { ADD_PATH, ADD_EXE, ADD_PARAMS, ADD_TRIGGER_LIMIT };
enum { TRACE_PROVIDER, TRACE_AREAS, TRACE_VERBOSITY };
enum { FAILURE_TIME, FAILURE_STATUS, FAILURE_VERBOSITY, FAILURE_TRACE_ALL };
enum { LOGGING_ENABLED, LOGGING_DIRECTORY, LOGGING_FILES, LOGGING_FILE_KB, LOGGING_ACTIONS };

struct iis_item {
	enum iis_kind kind;
	char *file;
	unsigned int line;
	char *site;		     /* the <site> it stands in; NULL */
	char *location;		     /* path of the <location> it stands in; NULL */
	char *value[IIS_ATTRIBUTES]; /* NULL: not given */
};

struct iis {
	struct iis_item *item;
	size_t count;
};

/* Appends what the text says. Pure. 'FILE:LINE:COLUMN: text' and -EINVAL when it is not
 * XML, or holds a DTD; -E2BIG. On failure 'iis' holds a part. */
int iis_parse(const char *file, const char *text, size_t len, struct iis *iis, struct err *err);
void iis_done(struct iis *iis);

#endif
