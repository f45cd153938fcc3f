/* SPDX-License-Identifier: Apache-2.0 */
/* ${NAME} and ${NAME:-text} in a value. What they give is never shown in a message: it may be a
 * secret. */

#include "runner/config_internal.h"

#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"

/* All substitutions of one reading together. */
#define SUBSTITUTED_BYTES_MAX (4 * 1024 * 1024)

static bool starts_name(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static size_t name_length(const char *text)
{
	size_t n = 0;

	if (!starts_name(*text))
		return 0;
	while (starts_name(text[n]) || (text[n] >= '0' && text[n] <= '9'))
		n++;
	return n;
}

const char *source_getenv(const struct source *source, const char *name, size_t len)
{
	for (char *const *e = source->environment; e && *e; e++)
		if (!strncmp(*e, name, len) && (*e)[len] == '=')
			return *e + len + 1;
	return NULL;
}

static int append(const struct place *at, struct buf *out, const char *text, size_t len)
{
	return buf_append(out, text, len) < 0 ? config_no_memory(at) : 0;
}

static int append_variable(const struct place *at, struct buf *out, const char *value)
{
	size_t len = strlen(value);

	if (len > SUBSTITUTED_BYTES_MAX - at->source->substituted)
		return config_fault(at, "${…} gave more than 4MiB in all");
	at->source->substituted += len;
	return append(at, out, value, len);
}

/* The text after ":-" up to "}", which it leaves @text behind. Appends it where @out is there. */
static int take_alternative(const struct place *at, const char **text, struct buf *out)
{
	const char *p = *text;
	int r;

	for (; *p && *p != '}'; p++) {
		if (*p == '$' && *++p != '$')
			return config_fault(
				at, "inside ${NAME:-text} a dollar sign is $$, and no ${…}");
		r = out ? append(at, out, p, 1) : 0;
		if (r < 0)
			return r;
	}
	if (!*p)
		return config_fault(at, "a ${ has no }");
	*text = p + 1;
	return 0;
}

/* What follows "${", which it leaves @text behind. */
static int take_variable(const struct place *at, const char **text, struct buf *out)
{
	const char *name = *text;
	size_t len = name_length(name);
	const char *value = len ? source_getenv(at->source, name, len) : NULL;
	const char *p = name + len;
	int r;

	if (len && *p == '}') {
		*text = p + 1;
		if (!value)
			return config_fault(at, "the environment variable %.*s is not set",
				(int)(len < 128 ? len : 128), name);
		return append_variable(at, out, value);
	}
	if (!strchr(p, '}'))
		return config_fault(at, "a ${ has no }");
	if (!len || strncmp(p, ":-", 2))
		return config_fault(at, "expected ${NAME} or ${NAME:-text}");
	*text = p + 2;
	if (!value || !*value)
		return take_alternative(at, text, out);
	r = take_alternative(at, text, NULL);
	return r < 0 ? r : append_variable(at, out, value);
}

int config_substitute(const struct place *at, const char *text, char **ret)
{
	cleanup_with(buf_deinit) struct buf out = { 0 };
	int r = 0;

	while (*text && r == 0) {
		size_t plain = strcspn(text, "$");

		r = append(at, &out, text, plain);
		text += plain;
		if (r < 0 || !*text)
			break;
		if (text[1] == '$') {
			r = append(at, &out, "$", 1);
			text += 2;
		} else if (text[1] == '{') {
			text += 2;
			r = take_variable(at, &text, &out);
		} else {
			r = config_fault(at, "expected ${NAME}, or $$ for a dollar sign");
		}
	}
	if (r == 0)
		r = append(at, &out, "", 1);
	if (r == 0)
		*ret = buf_steal(&out, NULL);
	return r;
}
