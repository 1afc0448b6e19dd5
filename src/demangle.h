/* SPDX-License-Identifier: MIT */
/* C++ symbol names as people write them, without parameters and template arguments:
 * '_ZN2os15PlatformMonitor4waitEl' is 'os::PlatformMonitor::wait'. Pure, bounded. */
#ifndef REQTRAP_DEMANGLE_H
#define REQTRAP_DEMANGLE_H

#include "util.h"

/* False (buf untouched) when the name is no C++ name, or of a kind that is not known
 * here: show it as it is. */
bool demangle(const char *name, char *buf, size_t size);

#endif
