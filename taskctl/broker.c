/* SPDX-License-Identifier: Apache-2.0 */
/* Where the broker is, and who we are to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "taskctl/taskctl.h"

#define DEFAULT_BROKER "amqp://guest:guest@127.0.0.1:5672"
#define FILE_MAX       (64 * 1024)

/* A value, or the file that holds it, and what to call them in messages. */
struct given {
	const char *value, *file;
	const char *value_name, *file_name;
};

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static bool names_broker(const struct broker_options *options)
{
	return options->broker || options->broker_file;
}

static struct given find_broker(const struct broker_options *options)
{
	if (names_broker(options))
		return (struct given){ options->broker, options->broker_file, "--broker",
			"--broker-file" };
	return (struct given){ variable("TASKCTL_BROKER"), variable("TASKCTL_BROKER_FILE"),
		"TASKCTL_BROKER", "TASKCTL_BROKER_FILE" };
}

/* The environment's password goes with the environment's broker: another one never sees it. */
static struct given find_password(const struct broker_options *options)
{
	struct given ret = { .file = options->password_file, .file_name = "--password-file" };

	if (!ret.file && !names_broker(options)) {
		ret.file = variable("TASKCTL_PASSWORD_FILE");
		ret.file_name = "TASKCTL_PASSWORD_FILE";
	}
	return ret;
}

static void forget(struct buf *secret)
{
	if (secret->data)
		explicit_bzero(secret->data, secret->cap);
	buf_deinit(secret);
}

/* One line break at the end is not part of it. What the file holds is never told. */
static int read_secret(const struct given *given, struct buf *ret)
{
	int r = read_file(given->file_name, given->file, FILE_MAX, ret);

	if (r != 0)
		return r;
	if (ret->len > 0 && ret->data[ret->len - 1] == '\n')
		ret->len--;
	if (ret->len > 0 && ret->data[ret->len - 1] == '\r')
		ret->len--;
	if (ret->len == 0 || memchr(ret->data, '\0', ret->len)) {
		say("%s: %s is empty or holds a NUL byte", given->file_name, given->file);
		return EXIT_USAGE;
	}
	return buf_append(ret, "", 1) < 0 ? EXIT_LOCAL : 0;
}

static int add_addresses(
	struct mq_options *connection, const char *list, const char *from, const char *file)
{
	struct error err = { 0 };

	if (mq_options_add_addresses(connection, list, &err) == 0)
		return 0;
	say("%s: %s%s%s", from, file ? file : "", file ? ": " : "", err.text);
	return EXIT_USAGE;
}

static int read_addresses(const struct given *given, struct mq_options *connection)
{
	cleanup_with(forget) struct buf text = { 0 };
	int r;

	if (given->value && given->file) {
		say("%s and %s exclude each other", given->value_name, given->file_name);
		return EXIT_USAGE;
	}
	if (!given->file)
		return add_addresses(connection, given->value ? given->value : DEFAULT_BROKER,
			given->value_name, NULL);
	r = read_secret(given, &text);
	return r != 0 ? r : add_addresses(connection, text.data, given->file_name, given->file);
}

static int read_password(const struct given *given, struct mq_options *connection)
{
	cleanup_with(forget) struct buf text = { 0 };
	int r;

	if (!given->file)
		return 0;
	r = read_secret(given, &text);
	if (r != 0)
		return r;
	return mq_properties_set(&connection->password, text.data) < 0 ? EXIT_LOCAL : 0;
}

static void give_hint(int r, const struct given *given, const struct given *password)
{
	const char *where = given->file ? given->file_name : given->value_name;

	if (r == -EACCES && password->file)
		say("check user and vhost in %s, and the password in %s", where, password->file);
	else if (r == -EACCES && (given->value || given->file))
		say("check user, password and vhost in %s", where);
	else if (!given->value && !given->file)
		say("tell where it is with --broker URL or TASKCTL_BROKER=URL");
}

int open_client(const struct broker_options *options, struct taskclient **ret)
{
	cleanup_with(mq_options_deinit) struct mq_options connection;
	const struct given given = find_broker(options), password = find_password(options);
	struct error err = { 0 };
	int r;

	mq_options_init(&connection);
	r = read_addresses(&given, &connection);
	if (r == 0)
		r = read_password(&password, &connection);
	if (r != 0)
		return r;
	if (mq_properties_set(&connection.connection_name, "taskctl") < 0)
		return EXIT_LOCAL;
	r = taskclient_open(&connection, options->control, ret, &err);
	if (r == 0)
		return 0;
	say("no connection to the broker: %s", err.text);
	give_hint(r, &given, &password);
	return EXIT_BROKER;
}
