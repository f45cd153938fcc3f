/* SPDX-License-Identifier: Apache-2.0 */
#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Keeps what fits of @text, cut between characters. */
static void store(struct error *err, const char *text)
{
	size_t len = strlen(text);

	if (len >= sizeof(err->text)) {
		len = sizeof(err->text) - 1;
		while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
			len--;
	}
	memcpy(err->text, text, len);
	err->text[len] = '\0';
}

int error_set(struct error *err, int code, const char *format, ...)
{
	/* One byte more than is kept shows whether it was cut. Formatted apart from err->text, into
	 * which the arguments may point. */
	char text[sizeof(err->text) + 1];
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	store(err, text);
	err->code = code;
	return code;
}

int error_prefix(struct error *err, const char *format, ...)
{
	char prefix[sizeof(err->text)], text[2 * sizeof(err->text) + 2];
	va_list args;

	if (!err)
		return 0;
	va_start(args, format);
	vsnprintf(prefix, sizeof(prefix), format, args);
	va_end(args);
	snprintf(text, sizeof(text), "%s: %s", prefix, err->text);
	store(err, text);
	return err->code;
}
