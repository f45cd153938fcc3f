/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails, and says why: the requester gets FAILED with the first line of the input as the reason.
 *
 * The exit status would be enough for FAILED, but it tells a person nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <taskiface.h>

enum { TIMEOUT_MS = 10000, INPUT_MAX = 1 << 20 };

int main(int argc, char **argv)
{
	struct taskiface *task;
	char *input = NULL;
	size_t len;
	int r;

	if (taskiface_open(&argc, argv, &task) < 0)
		return 2;
	r = taskiface_read_all(task, INPUT_MAX, TIMEOUT_MS, &input, &len);
	if (r == 0) {
		input[strcspn(input, "\r\n")] = '\0';
		fprintf(stderr, "about to fail\n");
		r = taskiface_fail(
			task, "example", *input ? input : "this program always fails", TIMEOUT_MS);
	}
	if (r < 0)
		fprintf(stderr, "fail: %s\n", strerror(-r));
	free(input);
	taskiface_close(task);
	return 1;
}
