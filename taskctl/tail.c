/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/tail.h"

#include <string.h>

/* The longest end of @a that is the beginning of @b. */
static size_t overlap(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;

	while (n > 0 && memcmp(a.data + a.len - n, b.data, n) != 0)
		n--;
	return n;
}

struct slice tail_news(struct tail *t, struct slice text)
{
	struct slice seen = buf_slice(&t->seen), none = { "", 0 };
	size_t n;

	if (text.len == 0 ||
		(seen.len >= text.len && memmem(seen.data, seen.len, text.data, text.len)))
		return none;
	n = overlap(seen, text);
	if (overlap(text, seen) > n) /* an answer that was overtaken */
		return none;
	buf_clear(&t->seen);
	(void)buf_append(&t->seen, text.data, text.len);
	return (struct slice){ text.data + n, text.len - n };
}

void tail_restart(struct tail *t)
{
	buf_clear(&t->seen);
}

void tail_deinit(struct tail *t)
{
	buf_deinit(&t->seen);
}
