/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/signals.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

static const int wanted[] = { SIGTERM, SIGINT, SIGHUP };
static bool hangup_was_ignored;

void signals_prepare(void)
{
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		bool was_ignored = signal(wanted[i], SIG_DFL) == SIG_IGN;
		hangup_was_ignored |= was_ignored && wanted[i] == SIGHUP;
		sigaddset(&blocked, wanted[i]);
	}
	/* An inherited "ignore" would make children vanish without a status. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

void signals_release(void)
{
	sigset_t released;
	sigemptyset(&released);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		sigaddset(&released, wanted[i]);
	if (hangup_was_ignored)
		signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_UNBLOCK, &released, NULL);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct signals *signals = userdata;
	(void)source;
	if (info->ssi_signo == SIGHUP && signals->on_reload)
		signals->on_reload(signals->userdata);
	else
		signals->on_stop(signals->userdata, (int)info->ssi_signo, ++signals->n_stops);
	return 0;
}

int signals_listen(struct signals *signals, sd_event *loop, signals_stop_fn on_stop,
	signals_reload_fn on_reload, void *userdata)
{
	*signals = (struct signals){
		.on_stop = on_stop, .on_reload = on_reload, .userdata = userdata
	};
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		if (wanted[i] == SIGHUP && !on_reload && hangup_was_ignored)
			continue;
		int r = sd_event_add_signal(
			loop, &signals->sources[i], wanted[i], on_signal, signals);
		if (r < 0)
			return r;
	}
	return 0;
}

void signals_forget(struct signals *signals)
{
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		signals->sources[i] = sd_event_source_unref(signals->sources[i]);
}
