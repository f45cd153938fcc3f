/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mq/internal.h"

amqp_bytes_t mq_bytes(const char *text)
{
	return text ? amqp_cstring_bytes(text) : amqp_empty_bytes;
}

bool mq_is_short(const char *text)
{
	return !text || strnlen(text, MQ_SHORT_MAX + 1) <= MQ_SHORT_MAX;
}

static bool has_nul(amqp_bytes_t bytes)
{
	return bytes.len > 0 && memchr(bytes.bytes, '\0', bytes.len);
}

char *mq_text_dup(amqp_bytes_t bytes)
{
	if (has_nul(bytes))
		return NULL;
	return slice_dup((struct slice){ bytes.len > 0 ? bytes.bytes : "", bytes.len });
}

void mq_copy_text(char *buffer, size_t size, amqp_bytes_t bytes)
{
	snprintf(buffer, size, "%.*s", (int)(bytes.len > 65535 ? 65535 : bytes.len),
		bytes.len > 0 ? (const char *)bytes.bytes : "");
}

static amqp_field_value_t header_value(const struct mq_header *header)
{
	amqp_field_value_t value = { 0 };

	switch (header->kind) {
	case MQ_HEADER_INT:
		value.kind = AMQP_FIELD_KIND_I64;
		value.value.i64 = header->number;
		break;
	case MQ_HEADER_BOOL:
		value.kind = AMQP_FIELD_KIND_BOOLEAN;
		value.value.boolean = header->number != 0;
		break;
	case MQ_HEADER_TEXT:
		value.kind = AMQP_FIELD_KIND_UTF8;
		value.value.bytes = mq_bytes(header->text);
		break;
	}
	return value;
}

static void set_text(
	amqp_basic_properties_t *to, amqp_flags_t flag, amqp_bytes_t *field, const char *text)
{
	if (!text)
		return;
	to->_flags |= flag;
	*field = mq_bytes(text);
}

void mq_properties_to_amqp(
	const struct mq_properties *p, amqp_table_entry_t *entries, amqp_basic_properties_t *ret)
{
	*ret = (amqp_basic_properties_t){ ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG };
	ret->delivery_mode = p->persistent ? AMQP_DELIVERY_PERSISTENT : AMQP_DELIVERY_NONPERSISTENT;
	set_text(ret, AMQP_BASIC_CONTENT_TYPE_FLAG, &ret->content_type, p->content_type);
	set_text(ret, AMQP_BASIC_CORRELATION_ID_FLAG, &ret->correlation_id, p->correlation_id);
	set_text(ret, AMQP_BASIC_REPLY_TO_FLAG, &ret->reply_to, p->reply_to);
	set_text(ret, AMQP_BASIC_MESSAGE_ID_FLAG, &ret->message_id, p->message_id);
	set_text(ret, AMQP_BASIC_TYPE_FLAG, &ret->type, p->type);
	set_text(ret, AMQP_BASIC_APP_ID_FLAG, &ret->app_id, p->app_id);
	if (p->priority >= 0) {
		ret->_flags |= AMQP_BASIC_PRIORITY_FLAG;
		ret->priority = (uint8_t)(p->priority > 255 ? 255 : p->priority);
	}
	if (p->timestamp > 0) {
		ret->_flags |= AMQP_BASIC_TIMESTAMP_FLAG;
		ret->timestamp = p->timestamp;
	}
	if (p->n_headers == 0)
		return;
	for (unsigned i = 0; i < p->n_headers; i++) {
		entries[i].key = mq_bytes(p->headers[i].name);
		entries[i].value = header_value(&p->headers[i]);
	}
	ret->_flags |= AMQP_BASIC_HEADERS_FLAG;
	ret->headers = (amqp_table_t){ .num_entries = (int)p->n_headers, .entries = entries };
}

/* True if @value is a whole number that an int64_t holds. */
static bool whole_number(const amqp_field_value_t *value, int64_t *ret)
{
	switch (value->kind) {
	case AMQP_FIELD_KIND_I8:
		*ret = value->value.i8;
		return true;
	case AMQP_FIELD_KIND_U8:
		*ret = value->value.u8;
		return true;
	case AMQP_FIELD_KIND_I16:
		*ret = value->value.i16;
		return true;
	case AMQP_FIELD_KIND_U16:
		*ret = value->value.u16;
		return true;
	case AMQP_FIELD_KIND_I32:
		*ret = value->value.i32;
		return true;
	case AMQP_FIELD_KIND_U32:
		*ret = value->value.u32;
		return true;
	case AMQP_FIELD_KIND_I64:
		*ret = value->value.i64;
		return true;
	case AMQP_FIELD_KIND_U64:
		*ret = (int64_t)value->value.u64;
		return value->value.u64 <= INT64_MAX;
	default:
		return false;
	}
}

/* 0 also where the value is of a kind that we do not keep. */
static int take_header(const amqp_table_entry_t *entry, const char *name, struct mq_properties *ret)
{
	int64_t number;
	char *text;
	int r;

	if (whole_number(&entry->value, &number))
		return mq_properties_add_int(ret, name, number);
	if (entry->value.kind == AMQP_FIELD_KIND_BOOLEAN)
		return mq_properties_add_bool(ret, name, entry->value.value.boolean);
	if (entry->value.kind != AMQP_FIELD_KIND_UTF8 && entry->value.kind != AMQP_FIELD_KIND_BYTES)
		return 0;
	if (has_nul(entry->value.value.bytes))
		return 0;
	text = mq_text_dup(entry->value.value.bytes);
	if (!text)
		return -ENOMEM;
	r = mq_properties_add_text(ret, name, text);
	free(text);
	return r;
}

static int take_headers(const amqp_table_t *table, struct mq_properties *ret)
{
	for (int i = 0; i < table->num_entries; i++) {
		char name[MQ_SHORT_MAX + 1];
		int r;

		mq_copy_text(name, sizeof(name), table->entries[i].key);
		r = take_header(&table->entries[i], name, ret);
		if (r == -E2BIG) /* more than we keep */
			return 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* A text with a NUL in it counts as absent: no C string can stand for it. */
static int take_text(
	const amqp_basic_properties_t *from, amqp_flags_t flag, amqp_bytes_t bytes, char **field)
{
	if (!(from->_flags & flag) || has_nul(bytes))
		return 0;
	*field = mq_text_dup(bytes);
	return *field ? 0 : -ENOMEM;
}

int mq_properties_from_amqp(const amqp_basic_properties_t *from, struct mq_properties *ret)
{
	const struct {
		amqp_flags_t flag;
		amqp_bytes_t bytes;
		char **field;
	} texts[] = {
		{ AMQP_BASIC_CONTENT_TYPE_FLAG, from->content_type, &ret->content_type },
		{ AMQP_BASIC_CORRELATION_ID_FLAG, from->correlation_id, &ret->correlation_id },
		{ AMQP_BASIC_REPLY_TO_FLAG, from->reply_to, &ret->reply_to },
		{ AMQP_BASIC_MESSAGE_ID_FLAG, from->message_id, &ret->message_id },
		{ AMQP_BASIC_TYPE_FLAG, from->type, &ret->type },
		{ AMQP_BASIC_APP_ID_FLAG, from->app_id, &ret->app_id },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int r = take_text(from, texts[i].flag, texts[i].bytes, texts[i].field);

		if (r < 0)
			return r;
	}
	if (from->_flags & AMQP_BASIC_DELIVERY_MODE_FLAG)
		ret->persistent = from->delivery_mode == AMQP_DELIVERY_PERSISTENT;
	if (from->_flags & AMQP_BASIC_PRIORITY_FLAG)
		ret->priority = from->priority;
	if (from->_flags & AMQP_BASIC_TIMESTAMP_FLAG)
		ret->timestamp = from->timestamp;
	if (from->_flags & AMQP_BASIC_HEADERS_FLAG)
		return take_headers(&from->headers, ret);
	return 0;
}

size_t mq_message_overhead(const struct mq_message *message)
{
	/* The eight short strings of a message, flags, numbers and frame ends. */
	size_t size = 8 * (MQ_SHORT_MAX + 1) + 64;

	for (unsigned i = 0; i < message->properties.n_headers; i++) {
		const struct mq_header *h = &message->properties.headers[i];

		size += strlen(h->name) + 16;
		size += h->kind == MQ_HEADER_TEXT ? strlen(h->text) : 0;
	}
	return size;
}
