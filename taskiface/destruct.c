/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Self-destruction: a thread of its own, since the program is to end even if all of its own threads
 * hang, and since a failure must be told before: a bare SIGKILL looks like a shortage of memory.
 */
#include "taskiface/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct ti_destruct {
	pthread_t thread;
	int stop_fd; /* an eventfd: readable when the thread should end */
	int64_t timeout_ms;
	int64_t deadline;
	const char *progress_path; /* of the handle, which outlives us */
};

/* Tries once, beside the pipe that the program may be using: the lock may be what hangs. */
static void tell_failure(const struct ti_destruct *d)
{
	struct ti_pipe pipe = { .path = (char *)d->progress_path, .fd = d->progress_path ? -1 : 2 };
	struct ti_buf record = { 0 };
	char message[96];
	size_t done;

	snprintf(message, sizeof(message),
		"the program ended itself: it was still running after %" PRId64 ".%03d s",
		d->timeout_ms / 1000, (int)(d->timeout_ms % 1000));
	if (ti_failure_record(&record, "self-destruct", message) == 0)
		(void)ti_write_until(&pipe, record.data, record.len, ti_now_ms(), &done);
	free(record.data);
	ti_pipe_close(&pipe);
}

static void *run(void *arg)
{
	struct ti_destruct *d = arg;

	if (ti_wait(d->stop_fd, POLLIN, d->deadline, -1) != -ETIMEDOUT)
		return NULL;
	tell_failure(d);
	kill(getpgrp() == getpid() ? 0 : getpid(), SIGKILL);
	return NULL;
}

static int start_thread(struct ti_destruct *d)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&d->thread, NULL, run, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

struct ti_destruct *ti_destruct_stop(struct ti_destruct *d)
{
	const uint64_t one = 1;

	if (!d)
		return NULL;
	if (write(d->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(d->thread, NULL);
	close(d->stop_fd);
	free(d);
	return NULL;
}

static int start(const char *progress_path, int64_t timeout_ms, struct ti_destruct **ret)
{
	struct ti_destruct *d = malloc(sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	*d = (struct ti_destruct){
		.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.timeout_ms = timeout_ms,
		.deadline = ti_deadline(timeout_ms),
		.progress_path = progress_path,
	};
	r = d->stop_fd < 0 ? -errno : start_thread(d);
	if (r < 0) {
		if (d->stop_fd >= 0)
			close(d->stop_fd);
		free(d);
		return r;
	}
	*ret = d;
	return 0;
}

int taskiface_self_destruct(struct taskiface *t, int64_t timeout_ms)
{
	struct ti_destruct *next = NULL;
	int r = timeout_ms > 0 ? start(t->progress.path, timeout_ms, &next) : 0;

	if (r < 0)
		return r;
	ti_destruct_stop(t->destruct);
	t->destruct = next;
	return 0;
}
