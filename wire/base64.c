/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <openssl/evp.h>

/* The library counts in int; pieces of this size (a multiple of 3 and 4) also stay in the cache. */
#define PIECE ((size_t)3 << 14)

static size_t n_padding(struct slice text)
{
	size_t n = 0;

	while (n < 2 && n < text.len && text.data[text.len - 1 - n] == '=')
		n++;
	return n;
}

size_t base64_decoded_len(struct slice text)
{
	return text.len / 4 * 3 - (text.len < 4 ? 0 : n_padding(text));
}

size_t base64_encoded_len(size_t len)
{
	return (len / 3 + (len % 3 != 0)) * 4;
}

static bool is_digit(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '+' || c == '/';
}

/* EVP_DecodeBlock skips white space and '-' at both ends, and takes '=' anywhere for a zero. */
static bool ends_are_digits(struct slice text)
{
	return is_digit(text.data[0]) && is_digit(text.data[text.len - 1]);
}

/* The group of four that holds the padding: decoded apart, so that bits which are not part of any
 * byte can be checked. They must be zero, else two texts would mean the same. */
static int decode_last(const char *group, size_t padding, char *at)
{
	unsigned char in[4], out[3];

	memcpy(in, group, 4);
	memset(in + 4 - padding, 'A', padding);
	if (!ends_are_digits((struct slice){ (const char *)in, 4 }) || memchr(in, '=', 4) ||
		EVP_DecodeBlock(out, in, 4) != 3)
		return -EINVAL;
	for (size_t i = 3 - padding; i < 3; i++)
		if (out[i] != 0)
			return -EINVAL;
	memcpy(at, out, 3 - padding);
	return 0;
}

static int decode_whole(struct slice text, char *at)
{
	if (text.len > 0 && memchr(text.data, '=', text.len))
		return -EINVAL;
	while (text.len > 0) {
		struct slice piece = { text.data, text.len < PIECE ? text.len : PIECE };

		if (!ends_are_digits(piece) ||
			EVP_DecodeBlock((unsigned char *)at, (const unsigned char *)piece.data,
				(int)piece.len) < 0)
			return -EINVAL;
		at += piece.len / 4 * 3;
		text.data += piece.len;
		text.len -= piece.len;
	}
	return 0;
}

int base64_decode(struct buf *out, struct slice text)
{
	size_t padding, whole;
	char *at;
	int r;

	if (text.len % 4 != 0)
		return -EINVAL;
	padding = n_padding(text);
	whole = text.len - (padding > 0 ? 4 : 0);
	r = buf_reserve(out, base64_decoded_len(text), &at);
	if (r < 0)
		return r;
	r = decode_whole((struct slice){ text.data, whole }, at);
	if (r == 0 && padding > 0)
		r = decode_last(text.data + whole, padding, at + whole / 4 * 3);
	if (r == 0)
		out->len += base64_decoded_len(text);
	return r;
}

int base64_encode_quoted(struct buf *out, struct slice bytes)
{
	size_t len;
	char *at;
	int r;

	if (bytes.len > SIZE_MAX / 2)
		return -ENOMEM;
	len = base64_encoded_len(bytes.len) + 2;
	r = buf_reserve(out, len, &at);
	if (r < 0)
		return r;
	*at++ = '"';
	while (bytes.len > 0) {
		size_t n = bytes.len < PIECE ? bytes.len : PIECE;

		/* Puts a NUL after its output, where the next piece or the closing quote goes. */
		at += EVP_EncodeBlock(
			(unsigned char *)at, (const unsigned char *)bytes.data, (int)n);
		bytes.data += n;
		bytes.len -= n;
	}
	*at = '"';
	out->len += len;
	return 0;
}
