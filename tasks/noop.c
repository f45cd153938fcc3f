/* SPDX-License-Identifier: Apache-2.0 */
/* Does nothing with its input and has an empty output: what a task costs before it does any work.
 */
#include <taskiface.h>

int main(int argc, char **argv)
{
	struct taskiface *task;
	char bytes[65536];
	ssize_t n;

	if (taskiface_open(&argc, argv, &task) < 0)
		return 2;
	do
		n = taskiface_read(task, bytes, sizeof(bytes), TASKIFACE_FOREVER);
	while (n > 0);
	return taskiface_close(task) < 0 || n < 0;
}
