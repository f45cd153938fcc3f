/* SPDX-License-Identifier: Apache-2.0 */
#include "taskiface/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ti_buf_reserve(struct ti_buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 256;
	char *data;

	if (more >= SIZE_MAX / 2 - b->len)
		return -ENOMEM;
	if (b->len + more < b->cap)
		return 0;
	while (cap <= b->len + more)
		cap *= 2;
	data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int ti_buf_append(struct ti_buf *b, const void *data, size_t len)
{
	int r = ti_buf_reserve(b, len);

	if (r < 0)
		return r;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int ti_buf_append_text(struct ti_buf *b, const char *text)
{
	return ti_buf_append(b, text, strlen(text));
}
