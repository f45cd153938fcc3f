/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The signals that a person or a supervisor sends, as events of the loop: SIGTERM and SIGINT ask
 * for an end, SIGHUP for a reload. Main thread.
 */

#include <systemd/sd-event.h>

typedef void (*signals_stop_fn)(void *userdata, int signal, unsigned nth);
typedef void (*signals_reload_fn)(void *userdata);

struct signals {
	sd_event_source *sources[3];
	signals_stop_fn on_stop;
	signals_reload_fn on_reload;
	unsigned n_stops;
	void *userdata;
};

/* First of all, before there are threads: default dispositions, whatever we inherited; SIGPIPE
 * ignored; those above and SIGCHLD blocked, so that the loop receives them. */
void signals_prepare(void);
/* The way back, for work that may wait long and leaves nothing behind: those above end the process
 * again, also those that came while they were blocked. signals_prepare takes them once more. */
void signals_release(void);
/* @on_reload NULL: SIGHUP ends as SIGTERM does, and nothing happens on it if it was ignored when we
 * were started, as under nohup(1). 0 or a negative errno. */
int signals_listen(struct signals *signals, sd_event *loop, signals_stop_fn on_stop,
	signals_reload_fn on_reload, void *userdata);
void signals_forget(struct signals *signals);
