/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Text of unknown origin: is it UTF-8, make it so, quote it for a log. Any thread.
 */

#include <stdbool.h>

#include "common/buf.h"

/* Bytes of the character that @s (not empty) begins with: 1 to 4. Where it is ill-formed, minus the
 * number of bytes (1 to 3) that one U+FFFD stands for. */
int text_char_len(struct slice s);
/* How many bytes follow the first byte @lead of a character (0 to 3), and within what range the
 * next one must be (those after it: 0x80 to 0xBF). -1 where no character begins so. */
int text_follow(unsigned char lead, unsigned char *ret_low, unsigned char *ret_high);
/* A number as JSON writes it, with up to ten digits, whatever the locale of the program says; a
 * program that uses libtaskclient may have any. */
#define TEXT_NUMBER_SIZE 40
void text_from_number(double number, char ret[TEXT_NUMBER_SIZE]);
/* All of @text. False (*@ret is as it was) where it is no finite number. */
bool text_to_number(const char *text, double *ret);

/* How many bytes at the beginning of @s are ASCII, or well-formed UTF-8. */
size_t text_ascii_len(struct slice s);
size_t text_utf8_len(struct slice s);
/* @s without the rest of a character that was cut at its very start (a tail may begin with one). */
struct slice text_skip_cut(struct slice s);

/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF). */
bool text_is_utf8(struct slice s);
/* A label: 1 to 64 letters, digits, '_', '.', ':' or '-'. */
bool text_is_label(const char *text);
/* Appends @s to @out with each ill-formed sequence replaced by U+FFFD. A sequence that was cut at
 * the very start (continuation bytes of a tail) is dropped. 0, -ENOMEM or -EMSGSIZE. */
int text_append_utf8(struct buf *out, struct slice s);
/* Appends @s fit for one line on a terminal: well-formed, without control characters (spaces stand
 * in for them), at most @max bytes and then an ellipsis. 0, -ENOMEM or -EMSGSIZE. */
int text_append_clean(struct buf *out, struct slice s, size_t max);
/* Appends @s as a value of a log line: bare if it is plain, else in double quotes with \n \t \" \\
 * and \xHH escapes; at most @max bytes of @s, then an ellipsis. Absent: "-". Never longer than
 * 4 * @max + 5 bytes. 0, -ENOMEM or -EMSGSIZE. */
int text_append_quoted(struct buf *out, struct slice s, size_t max);
