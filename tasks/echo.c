/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives back its input. The input is any bytes; where it is a JSON object, these members matter:
 *
 *	"include_progress"	five progress messages, {"progress": 0} to {"progress": 4}
 *	"should_fail"		exit status 1 and no output
 *	"pause_ms": N		so many milliseconds after each of the five steps, else none
 *
 * As with the echo task of Terarium's task runner, it is the presence of the first two that counts,
 * whatever their value.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <taskiface.h>

#include "json_number.h"

enum { STEPS = 5 };

/* false when the task was cancelled. */
static bool take_steps(struct taskiface *task, const char *input)
{
	const bool report = strstr(input, "\"include_progress\"");
	const int pause_ms = (int)json_number(input, "pause_ms", 0);
	struct pollfd cancel = { .fd = taskiface_cancel_fd(task), .events = POLLIN };

	for (int i = 0; i < STEPS; i++) {
		char record[32];
		int len = snprintf(record, sizeof(record), "{\"progress\":%d}\n", i);

		if (report)
			taskiface_progress_raw(task, record, (size_t)len);
		if (poll(&cancel, 1, pause_ms) > 0)
			return false;
	}
	return true;
}

static int echo(struct taskiface *task)
{
	char *input;
	size_t len;
	int r = taskiface_read_all(task, 0, TASKIFACE_FOREVER, &input, &len);

	if (r < 0)
		return r;
	if (strstr(input, "\"should_fail\"") || !take_steps(task, input))
		r = -1;
	else
		r = taskiface_write_all(task, input, len, TASKIFACE_FOREVER);
	free(input);
	return r;
}

int main(int argc, char **argv)
{
	struct taskiface *task;
	int r;

	if (taskiface_open(&argc, argv, &task) < 0)
		return 2;
	printf("task %s, attempt %d\n", taskiface_id(task), taskiface_attempt(task));
	taskiface_watch_cancellation(task, NULL, NULL);
	r = echo(task);
	taskiface_close(task);
	return r < 0;
}
