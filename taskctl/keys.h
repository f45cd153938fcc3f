/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Keys, out of the bytes that a terminal in raw mode sends. What it sends for a key may come in
 * pieces; Escape alone is known by that nothing follows it. Zeroed it is usable; one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key {
	KEY_NONE, /* of which nothing is known */
	KEY_TEXT, /* one character: bytes */
	KEY_UP,
	KEY_DOWN,
	KEY_PAGE_UP,
	KEY_PAGE_DOWN,
	KEY_HOME,
	KEY_END,
	KEY_ENTER,
	KEY_BACKSPACE,
	KEY_ESCAPE,
	KEY_INTERRUPT, /* Ctrl-C */
	KEY_SUSPEND,   /* Ctrl-Z */
	KEY_REDRAW,    /* Ctrl-L */
	KEY_CLEAR,     /* Ctrl-U */
};

#define KEYS_ESCAPE_MS 50

struct keys {
	char bytes[256];
	size_t n;
	uint64_t fed_us;
};

struct pressed {
	enum key key;
	char text[5]; /* of KEY_TEXT: one character, well-formed */
};

/* How many of @len were taken: less than all where keys_next was not called for long. */
size_t keys_feed(struct keys *keys, const char *bytes, size_t len, uint64_t now_us);
/* True: a key is in @ret. */
bool keys_next(struct keys *keys, uint64_t now_us, struct pressed *ret);
/* A part of a key is there: it must be asked again after KEYS_ESCAPE_MS. */
bool keys_waits(const struct keys *keys);
