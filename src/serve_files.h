/* SPDX-License-Identifier: MIT */
/* The style sheet and the script of the daemon's pages, as text. */
#ifndef REQTRAP_SERVE_FILES_H
#define REQTRAP_SERVE_FILES_H

extern const char serve_style[], serve_script[]; /* src/web/page.css, page.js */

#endif
