/* SPDX-License-Identifier: Apache-2.0 */
#include "taskiface/internal.h"

#include <errno.h>

ssize_t taskiface_write(struct taskiface *t, const void *data, size_t len, int timeout_ms)
{
	size_t done;
	int r;

	if (t->output_ended)
		return -EALREADY;
	t->output_begun = true;
	r = ti_write_until(&t->output, data, len, ti_deadline(timeout_ms), &done);
	return r < 0 && done == 0 ? r : (ssize_t)done;
}

int taskiface_finish(struct taskiface *t)
{
	t->output_ended = true;
	ti_pipe_close(&t->output);
	return 0;
}

int taskiface_write_all(struct taskiface *t, const void *data, size_t len, int timeout_ms)
{
	size_t done;
	int r;

	if (t->output_begun || t->output_ended)
		return -EALREADY;
	t->output_begun = true;
	r = ti_write_until(&t->output, data, len, ti_deadline(timeout_ms), &done);
	taskiface_finish(t);
	return r;
}
