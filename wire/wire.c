/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/wire.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char *const status_names[] = {
	[STATUS_QUEUED] = "QUEUED",
	[STATUS_RUNNING] = "RUNNING",
	[STATUS_SUCCESS] = "SUCCESS",
	[STATUS_FAILED] = "FAILED",
	[STATUS_CANCELLING] = "CANCELLING",
	[STATUS_CANCELLED] = "CANCELLED",
};

static const char *const cause_names[CAUSE_COUNT] = {
	[CAUSE_NONE] = "",
	[CAUSE_REFUSED] = "refused",
	[CAUSE_NOT_FOUND] = "not-found",
	[CAUSE_EXEC_FAILED] = "exec-failed",
	[CAUSE_EXITED] = "exited",
	[CAUSE_KILLED] = "killed",
	[CAUSE_OUT_OF_MEMORY] = "out-of-memory",
	[CAUSE_TIMED_OUT] = "timed-out",
	[CAUSE_SILENT] = "silent",
	[CAUSE_OUTPUT_TOO_LARGE] = "output-too-large",
	[CAUSE_PROTOCOL_ERROR] = "protocol-error",
	[CAUSE_CANCELLED] = "cancelled",
	[CAUSE_SHUTTING_DOWN] = "shutting-down",
	[CAUSE_CRASH_LIMIT] = "crash-limit",
};

#define N_NAMES(table) (sizeof(table) / sizeof(*(table)))

/* The place of @name in @table, or -EINVAL. */
static int find(const char *const *table, size_t n, struct slice name)
{
	for (size_t i = 0; i < n; i++)
		if (slice_equal(name, table[i]))
			return (int)i;
	return -EINVAL;
}

const char *status_name(enum status status)
{
	return status_names[status];
}

int status_parse(struct slice name, enum status *ret)
{
	int at = find(status_names, N_NAMES(status_names), name);

	if (at < 0)
		return at;
	*ret = (enum status)at;
	return 0;
}

bool status_is_final(enum status status)
{
	return status == STATUS_SUCCESS || status == STATUS_FAILED || status == STATUS_CANCELLED;
}

const char *cause_name(enum cause cause)
{
	return cause_names[cause];
}

int cause_parse(struct slice name, enum cause *ret)
{
	int at = find(cause_names, N_NAMES(cause_names), name);

	if (at < 0)
		return at;
	*ret = (enum cause)at;
	return 0;
}

bool id_is_valid(struct slice id)
{
	if (id.len == 0 || id.len > ID_MAX || slice_equal(id, ".") || slice_equal(id, ".."))
		return false;
	return !memchr(id.data, '/', id.len) && !memchr(id.data, '\0', id.len);
}

const char *wire_content_type(enum wire_encoding encoding)
{
	return encoding == WIRE_MSGPACK ? "application/msgpack" : "application/json";
}

/* Whether the media type [@type, @type + @len) ends in @suffix (or is it, with @whole). */
static bool media_is(const char *type, size_t len, const char *suffix, bool whole)
{
	size_t n = strlen(suffix);

	if (len < n || (whole && len != n))
		return false;
	return strncasecmp(type + len - n, suffix, n) == 0;
}

/* What the content type says; false where it says nothing. */
static bool detect_by_type(const char *type, enum wire_encoding *ret)
{
	size_t len;

	type += strspn(type, " \t");
	len = strcspn(type, "; \t");
	if (media_is(type, len, "application/json", true) ||
		media_is(type, len, "text/json", true) || media_is(type, len, "+json", false)) {
		*ret = WIRE_JSON;
		return true;
	}
	if (media_is(type, len, "application/msgpack", true) ||
		media_is(type, len, "application/x-msgpack", true) ||
		media_is(type, len, "application/vnd.msgpack", true) ||
		media_is(type, len, "+msgpack", false)) {
		*ret = WIRE_MSGPACK;
		return true;
	}
	return false;
}

enum wire_encoding wire_detect(const char *content_type, struct slice body)
{
	enum wire_encoding encoding;

	if (content_type && detect_by_type(content_type, &encoding))
		return encoding;
	for (size_t i = 0; i < body.len; i++) {
		unsigned char c = (unsigned char)body.data[i];

		if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
			continue;
		return (c & 0xF0) == 0x80 || c == 0xDE || c == 0xDF ? WIRE_MSGPACK : WIRE_JSON;
	}
	return WIRE_JSON;
}
