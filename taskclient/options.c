/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "common/cleanup.h"
#include "taskclient/internal.h"

#define NAME "taskclient"

static int copy_texts(const struct taskclient_options *from, struct mq_options *to)
{
	const struct {
		char **field;
		const char *text;
	} texts[] = {
		{ &to->username, from->user },
		{ &to->password, from->password },
		{ &to->vhost, from->vhost },
		{ &to->connection_name, from->name ? from->name : NAME },
		{ &to->tls.ca_file, from->ca_file },
		{ &to->tls.cert_file, from->cert_file },
		{ &to->tls.key_file, from->key_file },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(*texts); i++)
		r = mq_properties_set(texts[i].field, texts[i].text);
	return r;
}

int options_read(
	const struct taskclient_options *options, struct mq_options *ret, struct error *err)
{
	int r;

	mq_options_init(ret);
	if (!options->cert_file != !options->key_file)
		return error_set(err, -EINVAL, "a certificate and its key belong together");
	r = mq_options_add_addresses(
		ret, options->broker ? options->broker : TASKCLIENT_BROKER, err);
	if (r < 0)
		return r;
	if (copy_texts(options, ret) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	ret->tls.insecure = options->insecure;
	if (options->heartbeat_s > 0)
		ret->heartbeat_s = options->heartbeat_s;
	if (options->no_heartbeat)
		ret->heartbeat_s = 0;
	if (options->connect_timeout_s > 0)
		ret->connect_timeout_s = options->connect_timeout_s;
	return 0;
}

int taskclient_options_check(const struct taskclient_options *options, struct taskclient_error *err)
{
	cleanup_with(mq_options_deinit) struct mq_options read;

	return options_read(options, &read, error_of(err));
}

int options_connect(
	const struct taskclient_options *options, struct mq_connection **ret, struct error *err)
{
	cleanup_with(mq_options_deinit) struct mq_options read;
	int r = options_read(options, &read, err);

	return r < 0 ? r : mq_connect(&read, ret, err);
}
