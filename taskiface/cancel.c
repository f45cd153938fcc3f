/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancellation by signal.
 *
 * What the handler touches is static and is never released: it may still be running in another
 * thread while a handle is closed. That is one descriptor per process, from the first watch on.
 */
#include "taskiface/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
	_Atomic(struct taskiface *) owner; /* who watches */
	_Atomic int64_t at_ms;             /* when the first signal came; 0: none did */
	_Atomic int fd;                    /* an eventfd, or -1 */
	_Atomic taskiface_cancel_fn call;
	_Atomic(void *) arg;
} watch = { .fd = -1 };

/* Used by the owner alone. */
static struct sigaction before_term, before_int;

static void on_signal(int number)
{
	const int code = errno;
	const uint64_t one = 1;
	int64_t none = 0;
	taskiface_cancel_fn call;

	(void)number;
	if (atomic_compare_exchange_strong(&watch.at_ms, &none, ti_now_ms())) {
		if (write(watch.fd, &one, sizeof(one)) < 0) {
			/* cannot be: the counter of the descriptor was 0 */
		}
		call = watch.call;
		if (call)
			call(watch.arg);
	}
	errno = code;
}

static int open_descriptor(void)
{
	int fd;

	if (watch.fd >= 0)
		return 0;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	watch.fd = fd;
	return 0;
}

static void install_handlers(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	/* One at a time, so that the callback need not be reentrant. */
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGTERM);
	sigaddset(&action.sa_mask, SIGINT);
	sigaction(SIGTERM, &action, &before_term);
	sigaction(SIGINT, NULL, &before_int);
	if (before_int.sa_handler != SIG_IGN) /* a shell's background job */
		sigaction(SIGINT, &action, NULL);
}

int taskiface_watch_cancellation(struct taskiface *t, taskiface_cancel_fn call, void *arg)
{
	struct taskiface *nobody = NULL;
	int r;

	if (!atomic_compare_exchange_strong(&watch.owner, &nobody, t))
		return nobody == t ? -EALREADY : -EBUSY;
	r = open_descriptor();
	if (r < 0) {
		watch.owner = NULL;
		return r;
	}
	watch.arg = arg;
	watch.call = call;
	install_handlers();
	return 0;
}

void ti_cancel_unwatch(struct taskiface *t)
{
	if (watch.owner != t)
		return;
	sigaction(SIGTERM, &before_term, NULL);
	sigaction(SIGINT, &before_int, NULL);
	watch.call = NULL;
	watch.owner = NULL;
}

int ti_cancel_fd(const struct taskiface *t)
{
	return watch.owner == t ? watch.fd : -1;
}

int64_t ti_cancelled_at_ms(const struct taskiface *t)
{
	return watch.owner == t ? watch.at_ms : 0;
}

bool taskiface_cancelled(const struct taskiface *t)
{
	return ti_cancelled_at_ms(t) != 0;
}

int taskiface_cancel_fd(const struct taskiface *t)
{
	int fd = ti_cancel_fd(t);

	return fd < 0 ? -EINVAL : fd;
}

static int64_t time_left(int64_t since_ms, int64_t allowed_ms, int64_t now_ms)
{
	int64_t used = now_ms - since_ms;

	return used < allowed_ms ? allowed_ms - used : 0;
}

int64_t taskiface_time_left_ms(const struct taskiface *t)
{
	int64_t cancelled_at = ti_cancelled_at_ms(t), now = ti_now_ms();

	/* From the signal on the runner counts nothing but the grace time: where it is the end of
	 * the run that brought the signal, that time is over and the grace begins. */
	if (cancelled_at != 0 && t->grace_ms >= 0)
		return time_left(cancelled_at, t->grace_ms, now);
	if (t->timeout_ms >= 0)
		return time_left(t->opened_ms, t->timeout_ms, now);
	return TASKIFACE_NO_LIMIT;
}
