/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleans up for a while when it is cancelled, and relies on the time that it is told. Into the file
 * that it is given it writes how many milliseconds it has left at first; two seconds of these
 * later, that it has cleaned up.
 */
#include <stdio.h>
#include <taskiface.h>
#include <unistd.h>

enum { CLEANING_MS = 2000, STEP_US = 10000 };

int main(int argc, char **argv)
{
	struct taskiface *task;
	char byte;

	if (taskiface_open(&argc, argv, &task) < 0 || argc != 2)
		return 2;
	FILE *book = fopen(argv[1], "w");
	if (!book || taskiface_watch_cancellation(task, NULL, NULL) < 0)
		return 2;
	taskiface_progress(task, 0, "ready", NULL);
	while (!taskiface_cancelled(task))
		if (taskiface_read(task, &byte, 1, TASKIFACE_FOREVER) == 0)
			usleep(STEP_US);
	int64_t first = taskiface_time_left_ms(task), left = first;
	fprintf(book, "%lld\n", (long long)first);
	fflush(book);
	while (left > 0 && left > first - CLEANING_MS) {
		usleep(STEP_US);
		left = taskiface_time_left_ms(task);
	}
	fputs("cleaned up\n", book);
	fclose(book);
	taskiface_close(task);
	return 0;
}
