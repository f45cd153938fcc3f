/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What `taskrunner exec` says on stderr, in the order in which it happened: the program's own
 * stdout and stderr as they are, its progress, and sentences of ours, these two on lines of their
 * own.
 *
 * Whoever reads stderr may be slow, or gone. While a loop is attached, nothing here waits: what is
 * not taken is kept, and whoever holds the console is told to bring no more (@on_full), or that
 * nobody reads any more (@on_lost). Without a loop each call waits. Dropped is what cannot be
 * written for another reason, such as a full disk, and text that is brought though there is a lot
 * already.
 */

#include <systemd/sd-event.h>

#include "common/buf.h"

struct console {
	struct buf backlog;
	bool in_line; /* what was said last has no newline */
	bool is_full, is_lost;
	sd_event *loop; /* NULL: none is attached */
	sd_event_source *source;
	void (*on_full)(void *userdata, bool full);
	void (*on_lost)(void *userdata); /* once */
	void *userdata;
};

/* A zeroed console waits for its reader. From this on, until console_finish, it does not. */
void console_attach(struct console *console, sd_event *loop,
	void (*on_full)(void *userdata, bool full), void (*on_lost)(void *userdata),
	void *userdata);
/* Waits until all is written; gives up the loop. */
void console_finish(struct console *console);
void console_deinit(struct console *console);

/* Something else is written to the same terminal, on a line of its own. Before it is. */
void console_make_way(struct console *console, struct slice coming);
void console_text(struct console *console, struct slice text);
void console_progress(struct console *console, struct slice record);
/* "taskrunner: …" */
void console_say(struct console *console, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
