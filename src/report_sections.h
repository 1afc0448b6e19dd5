/* SPDX-License-Identifier: MIT */
/* The sections of a page. Each draws itself with the pen, its title first, and draws
 * nothing when it has nothing to say; their order is the table in report_page.c. To add
 * one: a function and a row there. Texts from outside go to the pen raw. */
#ifndef REQTRAP_REPORT_SECTIONS_H
#define REQTRAP_REPORT_SECTIONS_H

#include "buf.h"
#include "report_page.h"

#define PAGE_PARTS_MAX (64u << 20) /* of a value put together; what is shown is clipped */

int section_request(const struct incident *incident, struct pen *pen); /* all of them: 0, -ENOMEM */
int section_variables(const struct incident *incident, struct pen *pen);
int section_calls(const struct incident *incident, struct pen *pen);
int section_time(const struct incident *incident, struct pen *pen);
int section_holder(const struct incident *incident, struct pen *pen);
int section_locks(const struct incident *incident, struct pen *pen);
int section_chain(const struct incident *incident, struct pen *pen);
int section_tasks(const struct incident *incident, struct pen *pen);
int section_others(const struct incident *incident, struct pen *pen);
int section_ends(const struct incident *incident, struct pen *pen); /* descriptors */
int section_pool(const struct incident *incident, struct pen *pen);
int section_cpu(const struct incident *incident, struct pen *pen);
int section_host(const struct incident *incident, struct pen *pen);
int section_capture(const struct incident *incident, struct pen *pen);
int section_action(const struct incident *incident, struct pen *pen);
int section_samples(const struct incident *incident, struct pen *pen);
int section_losses(const struct incident *incident, struct pen *pen);
int section_trace(const struct incident *incident, struct pen *pen);
int section_grave(const struct incident *incident, struct pen *pen); /* errors and warnings of the trace */
int section_performance(const struct incident *incident, struct pen *pen);
int section_details(const struct incident *incident, struct pen *pen);

/* One of the views of report_views.c instead of the whole page. */
int page_draw_view(const struct incident *incident, const char *view, struct pen *pen);

/* The pen's field, line and warn, with a format; what is too long is cut with a mark. */
void PRINTF(3, 4) page_field(struct pen *pen, const char *label, const char *fmt, ...);
void PRINTF(2, 3) page_line(struct pen *pen, const char *fmt, ...);
void PRINTF(2, 3) page_warn(struct pen *pen, const char *fmt, ...);

const char *page_known(const char *text); /* 'unknown' for none */
char *page_clip(char *text);		  /* cuts in place to PAGE_TEXT_MAX, with a mark */

/* A thread's stack, script frames first, then what the machine does below them. */
void page_stack(struct pen *pen, const struct thread *thread, size_t most);
/* 'in futex (S), waits for mutex 0x..' */
void page_doing(const struct thread *thread, struct buf *out);
/* A step of the chain beyond the holder: 'php-fpm 20214 (GET /report, 41.0 s old) holds flock
 * /x; in recvfrom (S), waits for fd 9 (tcp ..)'. Not escaped. */
void beyond_words(const struct beyond *b, struct buf *out);
/* The user's command; nothing when there was none. */
void page_action(const struct action_facts *action, struct pen *pen);
const char *page_why_no_stacks(const struct incident *incident);

#endif
