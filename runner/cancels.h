/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Cancels that outlive the runners that heard them. Whoever hears a cancel writes a note of it into
 * a stream, unless it stands there; whoever has answered the task writes that it is over. All
 * runners read the stream, from its beginning with each connection, and start nothing before they
 * have come to its end, or a few seconds have passed. Without a stream they go on without.
 * docs/protocol.md.
 *
 * Included by daemon_private.h. Main thread.
 */

#include <systemd/sd-event.h>

#include "mq/connection.h"
#include "runner/ledger.h"
#include "runner/sweeps.h"

struct daemon;
struct job;

enum cancels_state {
	CANCELS_OFF,     /* not wanted, or not to be had for now */
	CANCELS_READING, /* our mark has not come yet */
	CANCELS_READ,    /* all is known; what comes is new */
};

struct cancels {
	struct ledger ledger;
	struct sweeps sweeps;
	sd_event_source *timer; /* writes what is to be written */
	bool timer_is_set;
	enum cancels_state state;
	bool holds_back; /* nothing is started before it was read */
	bool channel_is_closed;
	uint64_t since_us;    /* when reading began */
	uint64_t held_us;     /* when holding back began */
	uint64_t retry_us;    /* when to try again while it is off */
	uint64_t retry_in_us; /* how long to wait after the next refusal */
	uint64_t mark;        /* number of the last one written */
	unsigned cut_short;   /* connections that were lost while it was being read, in a row */
	size_t n_notes, n_ignored;
	bool has_complained; /* since the last tick */
	uint64_t last_tag;   /* the last that was read, and how many are not acknowledged */
	unsigned n_unacknowledged;
};

int cancels_init(struct daemon *daemon); /* 0 or a negative errno */
void cancels_deinit(struct daemon *daemon);
void cancels_connected(struct daemon *daemon);
/* To be called before a new connection is asked for. */
void cancels_lost(struct daemon *daemon);
void cancels_tick(struct daemon *daemon);
/* Whether tasks may be started: it was read, or nothing is to be waited for. */
bool cancels_allow(const struct daemon *daemon);

void cancels_on_note(struct daemon *daemon, const struct mq_event *event);
/* Its channel was closed, or its consumer cancelled. */
void cancels_on_closed(struct daemon *daemon, uint16_t code, const char *text);
void cancels_on_deleted(struct daemon *daemon);
/* It was asked for again, and is there. */
void cancels_on_declared(struct daemon *daemon);

/* A cancel has come that is not too late. */
void cancels_heard(struct daemon *daemon, const char *id);
/* One for all that is selected, to hold for so long also for what comes from queues. */
void cancels_sweep(struct daemon *daemon, const struct control_selector *of, int64_t for_ms);
/* Whether such a one is for the request of @job. */
bool cancels_swept(const struct job *job, const struct request *request);
/* One has come that is. */
void cancels_too_late(struct daemon *daemon, const char *id);
/* The final response of the task is safe. */
void cancels_over(struct daemon *daemon, const char *id);
/* Writes what is left to be written, at the end. */
void cancels_flush(struct daemon *daemon);
