/* SPDX-License-Identifier: MIT */
/* A look over a rules file before libconfuse parses it: finds all unknown and double
 * keys, unclosed quotes and sections, and what libconfuse would drop without a word.
 * It only diagnoses: the values come from libconfuse, which stays strict, so that a
 * slip here can cost a good message, never a silently ignored key. No I/O. */
#ifndef REQTRAP_CONFIG_SCAN_H
#define REQTRAP_CONFIG_SCAN_H

#include "util.h"

/* A kind of section and the keys it knows. */
struct config_section {
	const char *name; /* NULL: the top of the file */
	bool titled;
	const char *const *keys;		      /* NULL-terminated; sections are named apart */
	const struct config_section *const *sections; /* NULL-terminated, or NULL */
};

struct config_scan_calls {
	void (*problem)(void *arg, unsigned int line, const char *text);
	/* a section that is known and stays, by the line it begins at, in the file's order */
	void (*section)(void *arg, unsigned int line, const struct config_section *section);
	void *arg;
};

/* Blanks what it complained about in 'text' (NUL-terminated; the newlines stay), so
 * that libconfuse sees the rest. Returns false when the structure itself is broken
 * and was told: libconfuse has nothing to add then. */
bool config_scan(const struct config_section *top, char *text, size_t len, const struct config_scan_calls *calls);

#endif
