/* SPDX-License-Identifier: MIT */
/* Marks of an application, shown by reqtrap in the trace of the request that the
 * calling thread works on. Header only, C and C++ (GCC, clang; x86-64 and arm64).
 *
 *     REQTRAP_MARK(REQTRAP_WARNING, "cache miss", key);   a moment
 *     REQTRAP_BEGIN("render", page);                      a span, and within it others
 *     REQTRAP_END();                                      of this thread's newest span
 *     if (REQTRAP_LISTENED()) ...                         is somebody looking?
 *
 * Each is one nop with its arguments at hand: nothing is called, nothing is linked.
 * 'text' is a NUL-terminated string that must still be valid when the line runs; the
 * first 167 bytes of it are kept. 'number' is any integer. Elsewhere, and with
 * REQTRAP_NONE defined, the macros evaluate their arguments and do nothing.
 *
 * Looked at by 'reqtrap watch --areas mark'. The probes are ordinary USDT ones:
 * reqtrap:mark, reqtrap:begin (severity, text, number) and reqtrap:end. */
#ifndef REQTRAP_MARKS_H
#define REQTRAP_MARKS_H

#define REQTRAP_CRITICAL 1
#define REQTRAP_ERROR 2
#define REQTRAP_WARNING 3
#define REQTRAP_INFORMATION 4
#define REQTRAP_VERBOSE 5

#if !defined(REQTRAP_NONE) && defined(__ELF__) && (defined(__x86_64__) || defined(__aarch64__))

/* The kernel adds one for each listener. Weak and hidden: one for each program or
 * library, however many files include this. */
#ifdef __cplusplus
extern "C" {
#endif
__attribute__((weak, visibility("hidden"), section(".probes"), used)) volatile unsigned short reqtrap_semaphore = 0;
#ifdef __cplusplus
}
#endif
#define REQTRAP_LISTENED() (reqtrap_semaphore != 0)

/* How a 64-bit register is printed: what finds the probe reads the note's text. */
#ifdef __x86_64__
#define REQTRAP_SEVERITY_ "-8@%q[severity]"
#define REQTRAP_TEXT_ "8@%q[text]"
#define REQTRAP_NUMBER_ "-8@%q[number]"
#else
#define REQTRAP_SEVERITY_ "-8@%x[severity]"
#define REQTRAP_TEXT_ "8@%x[text]"
#define REQTRAP_NUMBER_ "-8@%x[number]"
#endif

/* A note of the kind that SystemTap made up (version 3): where the nop is, where
 * .stapsdt.base was when that was written (a prelinker may move both), the semaphore,
 * and three strings. The '?' keeps the note with its function, if that is dropped. */
#define REQTRAP_NOTE_(name, arguments)                                         \
	"990:	nop\n"                                                           \
	"	.pushsection .note.stapsdt,\"?\",%%note\n"                           \
	"	.balign 4\n"                                                         \
	"	.4byte 992f-991f, 994f-993f, 3\n"                                    \
	"991:	.asciz \"stapsdt\"\n"                                            \
	"992:	.balign 4\n"                                                     \
	"993:	.8byte 990b\n"                                                   \
	"	.8byte _.stapsdt.base\n"                                             \
	"	.8byte reqtrap_semaphore\n"                                          \
	"	.asciz \"reqtrap\"\n"                                                \
	"	.asciz \"" name "\"\n"                                         \
	"	.asciz \"" arguments "\"\n"                                    \
	"994:	.balign 4\n"                                                     \
	"	.popsection\n"                                                       \
	"	.ifndef _.stapsdt.base\n"                                            \
	"	.pushsection .stapsdt.base,\"aG\",%%progbits,.stapsdt.base,comdat\n" \
	"	.weak _.stapsdt.base\n"                                              \
	"	.hidden _.stapsdt.base\n"                                            \
	"_.stapsdt.base:	.space 1\n"                                           \
	"	.size _.stapsdt.base, 1\n"                                           \
	"	.popsection\n"                                                       \
	"	.endif\n"

/* The memory clobber: the text's bytes must have been written by now. */
#define REQTRAP_PROBE_(name, severity_, text_, number_)                                                               \
	__asm__ __volatile__(                                                                                         \
		REQTRAP_NOTE_(name, REQTRAP_SEVERITY_ " " REQTRAP_TEXT_ " " REQTRAP_NUMBER_)                          \
		:                                                                                                     \
		: [severity] "r"((long)(severity_)), [text] "r"((const char *)(text_)), [number] "r"((long)(number_)) \
		: "memory")

#define REQTRAP_MARK(severity, text, number) REQTRAP_PROBE_("mark", severity, text, number)
#define REQTRAP_BEGIN(text, number) REQTRAP_PROBE_("begin", REQTRAP_INFORMATION, text, number)
#define REQTRAP_END() REQTRAP_PROBE_("end", REQTRAP_INFORMATION, 0, 0)

#else

#define REQTRAP_LISTENED() 0
#define REQTRAP_MARK(severity, text, number) ((void)(severity), (void)(text), (void)(number))
#define REQTRAP_BEGIN(text, number) ((void)(text), (void)(number))
#define REQTRAP_END() ((void)0)

#endif

#endif
