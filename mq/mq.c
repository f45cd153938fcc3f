/* SPDX-License-Identifier: Apache-2.0 */
#include "mq/mq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "mq/internal.h"

#define SEPARATORS ", \t\r\n"

void mq_options_init(struct mq_options *options)
{
	*options = (struct mq_options){ .heartbeat_s = 20, .connect_timeout_s = 10 };
}

/* Passwords do not stay behind in freed memory. */
static void free_secret_of(char *text, size_t len)
{
	if (text)
		explicit_bzero(text, len);
	free(text);
}

static void free_secret(char *text)
{
	free_secret_of(text, text ? strlen(text) : 0);
}

void mq_options_deinit(struct mq_options *options)
{
	if (!options)
		return;
	for (unsigned i = 0; i < options->n_addresses; i++)
		free_secret(options->addresses[i]);
	free(options->username);
	free_secret(options->password);
	free(options->vhost);
	free(options->connection_name);
	free(options->tls.ca_file);
	free(options->tls.cert_file);
	free(options->tls.key_file);
	*options = (struct mq_options){ 0 };
}

static int check_scheme(const char *url, struct error *err)
{
	if (strncmp(url, "amqp://", 7) == 0 || strncmp(url, "amqps://", 8) == 0)
		return 0;
	return error_set(err, -EINVAL, "a broker address must begin with amqp:// or amqps://");
}

int mq_address_parse(const char *url, struct mq_address *ret, struct error *err)
{
	int r = check_scheme(url, err);

	if (r < 0)
		return r;
	*ret = (struct mq_address){ .text = strdup(url), .len = strlen(url) };
	if (!ret->text)
		return error_set(err, -ENOMEM, "out of memory");
	if (amqp_parse_url(ret->text, &ret->info) != AMQP_STATUS_OK || ret->info.port == 0) {
		mq_address_deinit(ret);
		return error_set(err, -EINVAL,
			"a broker address must look like amqp://user:password@host:port/vhost, "
			"with "
			"other characters than letters, digits and -._~ as %%XX");
	}
	/* "amqp://host/" means the default to everybody, though strictly it names the vhost "". */
	if (ret->info.vhost[0] == '\0')
		ret->info.vhost = (char *)"/";
	return 0;
}

void mq_address_deinit(struct mq_address *address)
{
	free_secret_of(address->text, address->len); /* the parser wrote NULs between the parts */
	*address = (struct mq_address){ 0 };
}

static int add_address(struct mq_options *options, struct slice url, struct error *err)
{
	struct mq_address address;
	char *text;
	int r;

	if (options->n_addresses >= MQ_ADDRESS_MAX)
		return error_set(err, -E2BIG, "more than %d broker addresses", MQ_ADDRESS_MAX);
	text = slice_dup(url);
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	r = mq_address_parse(text, &address, err);
	if (r < 0) {
		free_secret(text);
		return r;
	}
	mq_address_deinit(&address);
	options->addresses[options->n_addresses++] = text;
	return 0;
}

int mq_options_add_addresses(struct mq_options *options, const char *list, struct error *err)
{
	unsigned before = options->n_addresses;
	int r;

	for (const char *at = list; *at; at += strcspn(at, SEPARATORS)) {
		at += strspn(at, SEPARATORS);
		if (!*at)
			break;
		r = add_address(options, (struct slice){ at, strcspn(at, SEPARATORS) }, err);
		if (r < 0)
			return r;
	}
	if (options->n_addresses == before)
		return error_set(err, -EINVAL, "no broker address in an empty list");
	return 0;
}

const char *mq_options_describe(
	const struct mq_options *options, unsigned i, char *buffer, size_t size)
{
	struct mq_address address;
	const char *vhost;

	if (i >= options->n_addresses ||
		mq_address_parse(options->addresses[i], &address, NULL) < 0) {
		snprintf(buffer, size, "?");
		return buffer;
	}
	vhost = options->vhost ? options->vhost : address.info.vhost;
	snprintf(buffer, size, strchr(address.info.host, ':') ? "[%s]:%d/%s" : "%s:%d/%s",
		address.info.host, address.info.port, vhost[0] == '/' ? vhost + 1 : vhost);
	mq_address_deinit(&address);
	return buffer;
}

void mq_properties_init(struct mq_properties *properties)
{
	*properties = (struct mq_properties){ .priority = -1 };
}

static void header_deinit(struct mq_header *header)
{
	free(header->name);
	free(header->text);
	*header = (struct mq_header){ 0 };
}

void mq_properties_deinit(struct mq_properties *properties)
{
	free(properties->content_type);
	free(properties->correlation_id);
	free(properties->reply_to);
	free(properties->message_id);
	free(properties->type);
	free(properties->app_id);
	for (unsigned i = 0; i < properties->n_headers; i++)
		header_deinit(&properties->headers[i]);
	mq_properties_init(properties);
}

int mq_properties_set(char **field, const char *text)
{
	char *copy = NULL;

	if (text) {
		copy = strdup(text);
		if (!copy)
			return -ENOMEM;
	}
	free(*field);
	*field = copy;
	return 0;
}

static int add_header(struct mq_properties *properties, const char *name, struct mq_header header)
{
	for (unsigned i = 0; i < properties->n_headers; i++) {
		struct mq_header *old = &properties->headers[i];

		if (strcmp(old->name, name) == 0) {
			header.name = steal_ptr(old->name);
			header_deinit(old);
			*old = header;
			return 0;
		}
	}
	if (properties->n_headers >= MQ_HEADERS_MAX)
		return -E2BIG;
	header.name = strdup(name);
	if (!header.name)
		return -ENOMEM;
	properties->headers[properties->n_headers++] = header;
	return 0;
}

int mq_properties_add_text(struct mq_properties *properties, const char *name, const char *text)
{
	struct mq_header header = { .kind = MQ_HEADER_TEXT, .text = strdup(text) };
	int r;

	if (!header.text)
		return -ENOMEM;
	r = add_header(properties, name, header);
	if (r < 0)
		free(header.text);
	return r;
}

int mq_properties_add_int(struct mq_properties *properties, const char *name, int64_t number)
{
	return add_header(
		properties, name, (struct mq_header){ .kind = MQ_HEADER_INT, .number = number });
}

int mq_properties_add_bool(struct mq_properties *properties, const char *name, bool value)
{
	return add_header(
		properties, name, (struct mq_header){ .kind = MQ_HEADER_BOOL, .number = value });
}

static int add_copy(struct mq_properties *to, const struct mq_header *h)
{
	switch (h->kind) {
	case MQ_HEADER_INT:
		return mq_properties_add_int(to, h->name, h->number);
	case MQ_HEADER_BOOL:
		return mq_properties_add_bool(to, h->name, h->number);
	default:
		return mq_properties_add_text(to, h->name, h->text);
	}
}

static void free_header(struct mq_header *header)
{
	free(header->name);
	if (header->kind == MQ_HEADER_TEXT)
		free(header->text);
	*header = (struct mq_header){ 0 };
}

void mq_properties_cut(struct mq_properties *p, unsigned n)
{
	while (p->n_headers > n)
		free_header(&p->headers[--p->n_headers]);
}

void mq_properties_remove(struct mq_properties *p, const char *prefix)
{
	size_t len = strlen(prefix);
	unsigned kept = 0;

	for (unsigned i = 0; i < p->n_headers; i++) {
		struct mq_header header = p->headers[i];

		if (strncmp(header.name, prefix, len) == 0)
			free_header(&header);
		else
			p->headers[kept++] = header;
	}
	for (unsigned i = kept; i < p->n_headers; i++)
		p->headers[i] = (struct mq_header){ 0 };
	p->n_headers = kept;
}

const struct mq_header *mq_properties_header(
	const struct mq_properties *properties, const char *name)
{
	for (unsigned i = 0; i < properties->n_headers; i++)
		if (strcmp(properties->headers[i].name, name) == 0)
			return &properties->headers[i];
	return NULL;
}

const char *mq_properties_text(const struct mq_properties *properties, const char *name)
{
	const struct mq_header *header = mq_properties_header(properties, name);
	return header && header->kind == MQ_HEADER_TEXT ? header->text : NULL;
}

const char *mq_header_get(size_t index, const char **ret_name, bool *ret_is_text,
	char number[MQ_NUMBER_SIZE], void *properties)
{
	const struct mq_properties *p = properties;
	const struct mq_header *header = &p->headers[index];

	if (index >= p->n_headers)
		return NULL;
	*ret_name = header->name;
	*ret_is_text = header->kind == MQ_HEADER_TEXT;
	if (header->kind == MQ_HEADER_TEXT)
		return header->text;
	if (header->kind == MQ_HEADER_BOOL)
		return header->number ? "true" : "false";
	snprintf(number, MQ_NUMBER_SIZE, "%lld", (long long)header->number);
	return number;
}

int mq_header_put(const char *name, const char *text, void *properties)
{
	return mq_properties_add_text(properties, name, text);
}

void mq_message_init(struct mq_message *message)
{
	*message = (struct mq_message){ 0 };
	mq_properties_init(&message->properties);
}

void mq_message_deinit(struct mq_message *message)
{
	free(message->exchange);
	free(message->routing_key);
	mq_properties_deinit(&message->properties);
	buf_deinit(&message->body);
	mq_message_init(message);
}

static int copy_texts(const struct mq_properties *from, struct mq_properties *to)
{
	const struct {
		char **to;
		const char *from;
	} texts[] = {
		{ &to->content_type, from->content_type },
		{ &to->correlation_id, from->correlation_id },
		{ &to->reply_to, from->reply_to },
		{ &to->message_id, from->message_id },
		{ &to->type, from->type },
		{ &to->app_id, from->app_id },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(*texts); i++)
		r = mq_properties_set(texts[i].to, texts[i].from);
	return r;
}

static int copy_properties(const struct mq_properties *from, struct mq_properties *to)
{
	int r = copy_texts(from, to);

	to->persistent = from->persistent;
	to->priority = from->priority;
	to->timestamp = from->timestamp;
	for (unsigned i = 0; r == 0 && i < from->n_headers; i++)
		r = add_copy(to, &from->headers[i]);
	return r;
}

int mq_message_copy(const struct mq_message *message, struct mq_message *ret)
{
	int r;

	mq_message_init(ret);
	r = mq_properties_set(&ret->exchange, message->exchange);
	if (r == 0)
		r = mq_properties_set(&ret->routing_key, message->routing_key);
	if (r == 0)
		r = copy_properties(&message->properties, &ret->properties);
	if (r == 0 && message->body.len)
		r = buf_append(&ret->body, message->body.data, message->body.len);
	ret->mandatory = message->mandatory;
	ret->once = message->once;
	ret->urgent = message->urgent;
	if (r < 0)
		mq_message_deinit(ret);
	return r < 0 ? -ENOMEM : 0;
}

static int check_short(const char *text, const char *what, struct error *err)
{
	if (mq_is_short(text))
		return 0;
	return error_set(err, -EINVAL, "%s is longer than %d bytes, which AMQP cannot carry", what,
		MQ_SHORT_MAX);
}

int mq_message_check(const struct mq_message *message, struct error *err)
{
	const struct mq_properties *p = &message->properties;
	const struct {
		const char *text, *what;
	} shorts[] = {
		{ message->exchange, "the exchange's name" },
		{ message->routing_key, "the routing key" },
		{ p->content_type, "content_type" },
		{ p->correlation_id, "correlation_id" },
		{ p->reply_to, "reply_to" },
		{ p->message_id, "message_id" },
		{ p->type, "type" },
		{ p->app_id, "app_id" },
	};

	for (size_t i = 0; i < sizeof(shorts) / sizeof(*shorts); i++)
		if (check_short(shorts[i].text, shorts[i].what, err) < 0)
			return -EINVAL;
	for (unsigned i = 0; i < p->n_headers; i++)
		if (check_short(p->headers[i].name, "the name of a header", err) < 0)
			return -EINVAL;
	if (mq_message_overhead(message) > MQ_FRAME_MAX)
		return error_set(err, -EINVAL, "the headers are larger than a frame of %d bytes",
			MQ_FRAME_MAX);
	if (message->body.len > MQ_BODY_MAX)
		return error_set(err, -EINVAL, "the body is larger than %llu bytes", MQ_BODY_MAX);
	return 0;
}
