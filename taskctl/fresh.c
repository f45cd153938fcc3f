/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/fresh.h"

#include <string.h>

/* The longest end of @a that is the beginning of @b. */
static size_t overlap(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;

	while (n > 0 && memcmp(a.data + a.len - n, b.data, n) != 0)
		n--;
	return n;
}

struct slice fresh_part(struct fresh *f, struct slice text)
{
	struct slice seen = buf_slice(&f->seen), none = { "", 0 };
	size_t n;

	if (text.len == 0 ||
		(seen.len >= text.len && memmem(seen.data, seen.len, text.data, text.len)))
		return none;
	n = overlap(seen, text);
	if (overlap(text, seen) > n) /* an answer that was overtaken */
		return none;
	buf_clear(&f->seen);
	(void)buf_append(&f->seen, text.data, text.len);
	return (struct slice){ text.data + n, text.len - n };
}

void fresh_restart(struct fresh *f)
{
	buf_clear(&f->seen);
}

void fresh_deinit(struct fresh *f)
{
	buf_deinit(&f->seen);
}
