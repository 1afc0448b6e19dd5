// SPDX-License-Identifier: MIT
#include "sentry.h"

#include <signal.h>

uint64_t sentry_crashes(void)
{
	return sentry_bit(SIGSEGV) | sentry_bit(SIGBUS) | sentry_bit(SIGFPE) | sentry_bit(SIGILL) |
	       sentry_bit(SIGABRT) | sentry_bit(SIGTRAP);
}
