/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeps as many seconds as its input says, {"seconds": 2.5}, and reports ten times a second. When
 * it is cancelled it says how far it got and ends at once.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <taskiface.h>

#include "json_number.h"

enum { STEP_MS = 100, TIMEOUT_MS = 30000, INPUT_MAX = 1 << 20 };

/* Sleeps until the time is over or the task is cancelled. Gives the milliseconds slept. */
static int64_t sleep_reporting(struct taskiface *task, int64_t total_ms)
{
	struct pollfd cancel = { .fd = taskiface_cancel_fd(task), .events = POLLIN };
	int64_t slept_ms = 0;

	while (slept_ms < total_ms) {
		int step = total_ms - slept_ms < STEP_MS ? (int)(total_ms - slept_ms) : STEP_MS;
		char message[64];

		if (poll(&cancel, 1, step) > 0)
			break;
		slept_ms += step;
		snprintf(message, sizeof(message), "slept %.1f of %.1f s", (double)slept_ms / 1000,
			(double)total_ms / 1000);
		taskiface_progress(task, (double)slept_ms / (double)total_ms, message, NULL);
	}
	return slept_ms;
}

static int work(struct taskiface *task)
{
	char *input, output[64];
	size_t len;
	int64_t total_ms, slept_ms;
	int n, r = taskiface_read_all(task, INPUT_MAX, TIMEOUT_MS, &input, &len);

	if (r < 0)
		return r;
	total_ms = (int64_t)(json_number(input, "seconds", 1) * 1000);
	free(input);
	slept_ms = sleep_reporting(task, total_ms);
	if (taskiface_cancelled(task)) {
		fprintf(stderr, "cancelled after %.1f s, with %.1f s left to clean up\n",
			(double)slept_ms / 1000, (double)taskiface_time_left_ms(task) / 1000);
		return -1;
	}
	n = snprintf(output, sizeof(output), "{\"slept\": %g}\n", (double)slept_ms / 1000);
	return taskiface_write_all(task, output, (size_t)n, TIMEOUT_MS);
}

int main(int argc, char **argv)
{
	struct taskiface *task;
	int r;

	if (taskiface_open(&argc, argv, &task) < 0)
		return 2;
	taskiface_watch_cancellation(task, NULL, NULL);
	/* Only the latest report matters, and none should make us late. */
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 1000);
	r = work(task);
	taskiface_close(task);
	return r < 0;
}
