/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/keys.h"

#include <string.h>

#include "common/text.h"

#define ESCAPE '\033'

size_t keys_feed(struct keys *keys, const char *bytes, size_t len, uint64_t now_us)
{
	size_t room = sizeof(keys->bytes) - keys->n;

	len = len < room ? len : room;
	memcpy(keys->bytes + keys->n, bytes, len);
	keys->n += len;
	keys->fed_us = now_us;
	return len;
}

bool keys_waits(const struct keys *keys)
{
	return keys->n > 0;
}

static enum key control_key(char c)
{
	switch (c) {
	case '\r':
	case '\n':
		return KEY_ENTER;
	case '\b':
	case 0x7f:
		return KEY_BACKSPACE;
	case 0x03:
		return KEY_INTERRUPT;
	case 0x1a:
		return KEY_SUSPEND;
	case 0x0c:
		return KEY_REDRAW;
	case 0x15:
		return KEY_CLEAR;
	default:
		return KEY_NONE;
	}
}

/* What stands between "ESC [" and its end, and the end. */
static enum key sequence_key(const char *bytes, size_t len)
{
	static const struct {
		const char *sequence;
		enum key key;
	} sequences[] = {
		{ "A", KEY_UP },
		{ "B", KEY_DOWN },
		{ "H", KEY_HOME },
		{ "F", KEY_END },
		{ "1~", KEY_HOME },
		{ "7~", KEY_HOME },
		{ "4~", KEY_END },
		{ "8~", KEY_END },
		{ "5~", KEY_PAGE_UP },
		{ "6~", KEY_PAGE_DOWN },
	};

	for (size_t i = 0; i < sizeof(sequences) / sizeof(*sequences); i++)
		if (strlen(sequences[i].sequence) == len &&
			memcmp(sequences[i].sequence, bytes, len) == 0)
			return sequences[i].key;
	return KEY_NONE;
}

/* Each gives how many bytes the key took, 0 where more must come. */

static size_t read_sequence(const struct keys *keys, struct pressed *ret)
{
	size_t end = 2;

	if (keys->n < 3)
		return 0;
	/* Parameters, and then one byte of another range. "ESC O A" has none. */
	while (keys->bytes[1] == '[' && end < keys->n && keys->bytes[end] >= 0x20 &&
		keys->bytes[end] < 0x40)
		end++;
	if (end == keys->n)
		return keys->n == sizeof(keys->bytes) ? keys->n : 0;
	ret->key = sequence_key(keys->bytes + 2, end - 1);
	return end + 1;
}

static size_t read_escape(const struct keys *keys, bool is_late, struct pressed *ret)
{
	size_t n = 0;

	if (keys->n > 1 && keys->bytes[1] != '[' && keys->bytes[1] != 'O') {
		ret->key = KEY_ESCAPE;
		return 1;
	}
	if (keys->n > 1)
		n = read_sequence(keys, ret);
	if (n == 0 && is_late) { /* nothing more will come */
		ret->key = keys->n == 1 ? KEY_ESCAPE : KEY_NONE;
		n = keys->n;
	}
	return n;
}

static size_t read_text(const struct keys *keys, bool is_late, struct pressed *ret)
{
	unsigned char low, high;
	int follow = text_follow((unsigned char)keys->bytes[0], &low, &high), len;

	if (follow > 0 && keys->n <= (size_t)follow && !is_late)
		return 0;
	len = text_char_len((struct slice){ keys->bytes, keys->n });
	if (len < 0)
		return (size_t)-len;
	ret->key = KEY_TEXT;
	memcpy(ret->text, keys->bytes, (size_t)len);
	return (size_t)len;
}

static size_t read_key(const struct keys *keys, bool is_late, struct pressed *ret)
{
	char first = keys->bytes[0];

	if (first == ESCAPE)
		return read_escape(keys, is_late, ret);
	if ((unsigned char)first >= 0x20 && first != 0x7f)
		return read_text(keys, is_late, ret);
	ret->key = control_key(first);
	return 1;
}

bool keys_next(struct keys *keys, uint64_t now_us, struct pressed *ret)
{
	bool is_late = now_us - keys->fed_us >= KEYS_ESCAPE_MS * 1000ull;
	size_t n;

	*ret = (struct pressed){ 0 };
	if (keys->n == 0)
		return false;
	n = read_key(keys, is_late, ret);
	keys->n -= n;
	memmove(keys->bytes, keys->bytes + n, keys->n);
	return n > 0;
}
