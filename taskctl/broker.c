/* SPDX-License-Identifier: Apache-2.0 */
/* Where the broker is, and who we are to it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskctl/taskctl.h"

#define FILE_MAX     (64 * 1024)
#define PAUSE_MAX_MS 3000

/* A value, or the file that holds it, and what to call them in messages. */
struct given {
	const char *value, *file;
	const char *value_name, *file_name;
};

/* Who names the broker: what comes first of those that do. */
static enum origin find_broker(const struct broker_options *options)
{
	enum origin origin = 0;

	while (origin < ORIGINS && !options->from[origin].broker &&
		!options->from[origin].broker_file)
		origin++;
	return origin;
}

/* How a person knows them. The file's names are with its path, in @names. */
struct names {
	char broker[PATH_MAX + 32], broker_file[PATH_MAX + 32], password_file[PATH_MAX + 32];
};

static void name_all(const struct broker_options *options, enum origin origin, struct names *ret)
{
	static const char *const forms[ORIGINS][3] = {
		[FROM_OPTION] = { "--broker", "--broker-file", "--password-file" },
		[FROM_ENVIRONMENT] = { "TASKCTL_BROKER", "TASKCTL_BROKER_FILE",
			"TASKCTL_PASSWORD_FILE" },
		[FROM_FILE] = { "broker", "broker_file", "password_file" },
	};
	char *const to[] = { ret->broker, ret->broker_file, ret->password_file };

	for (size_t i = 0; i < 3; i++)
		snprintf(to[i], sizeof(ret->broker), "%s%s%s",
			origin == FROM_FILE ? options->path : "", origin == FROM_FILE ? ": " : "",
			origin < ORIGINS ? forms[origin][i] : "");
}

static struct given broker_of(
	const struct broker_options *options, enum origin origin, const struct names *names)
{
	if (origin == FROM_NOWHERE)
		return (struct given){ 0 };
	return (struct given){ options->from[origin].broker, options->from[origin].broker_file,
		names->broker, names->broker_file };
}

/* A password belongs to the broker that is named in the same place; another one never sees it. That
 * of an option is for whichever broker, that is why it is given. Where nobody names a broker, it
 * is the one on this machine, and all are about that. */
static enum origin find_password(const struct broker_options *options, enum origin broker)
{
	for (enum origin origin = 0; origin < ORIGINS; origin++)
		if (options->from[origin].password_file &&
			(origin == FROM_OPTION || origin == broker || broker == FROM_NOWHERE))
			return origin;
	return FROM_NOWHERE;
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

/* @list stays with @connection. */
static int take_addresses(
	struct taskclient_options *connection, const char *list, const char *from, const char *file)
{
	struct taskclient_error err = { 0 };

	connection->broker = list;
	if (taskclient_options_check(connection, &err) == 0)
		return 0;
	say("%s: %s%s%s", from, file ? file : "", file ? ": " : "", err.text);
	return EXIT_USAGE;
}

/* @text is what was read, and stays with @connection, too. */
static int read_addresses(
	const struct given *given, struct taskclient_options *connection, struct buf *text)
{
	int r;

	if (given->value && given->file) {
		say("%s and %s exclude each other", given->value_name, given->file_name);
		return EXIT_USAGE;
	}
	if (!given->file)
		return take_addresses(connection, given->value, given->value_name, NULL);
	r = read_secret(given, text);
	return r != 0 ? r : take_addresses(connection, text->data, given->file_name, given->file);
}

static int read_password(
	const struct given *given, struct taskclient_options *connection, struct buf *text)
{
	int r = given->file ? read_secret(given, text) : 0;

	connection->password = text->data;
	return r;
}

static void give_hint(int r, const struct given *given, const struct given *password)
{
	const char *where = given->file ? given->file_name : given->value_name;

	if (r == -EACCES && password->file)
		say("check user and vhost in %s, and the password in %s", where, password->file);
	else if (r == -EACCES && (given->value || given->file))
		say("check user, password and vhost in %s", where);
	else if (!given->value && !given->file)
		say("tell where it is with --broker URL, TASKCTL_BROKER=URL, or broker: URL in "
		    "~/.config/taskctl.yaml");
	else if (given->file)
		say("this address is from %s (%s); is the broker up, or is another meant? --broker "
		    "URL counts more",
			where, given->file);
	else if (strcmp(where, "--broker") == 0)
		say("this address is from --broker; is the broker up, or is another meant?");
	else
		say("this address is from %s; is the broker up, or is another meant? --broker URL "
		    "counts more",
			where);
}

static struct given password_of(
	const struct broker_options *options, enum origin origin, const struct names *names)
{
	if (origin == FROM_NOWHERE)
		return (struct given){ 0 };
	return (struct given){ .file = options->from[origin].password_file,
		.file_name = names->password_file };
}

/* What is wrong is told, unless it is that no connection can be had and @is_quiet. */
static int connect_broker(const struct broker_options *options, bool is_quiet,
	int (*open)(const struct taskclient_options *connection, void *userdata,
		struct taskclient_error *err),
	void *userdata)
{
	cleanup_with(forget) struct buf addresses = { 0 }, secret = { 0 };
	enum origin from = find_broker(options), password_from = find_password(options, from);
	struct taskclient_options connection = {
		.name = "taskctl",
		.control = options->control,
		.responses = options->responses,
		.cancels = options->cancels,
	};
	struct names names, password_names;
	struct given given, password;
	struct taskclient_error err = { 0 };
	int r;

	name_all(options, from, &names);
	name_all(options, password_from, &password_names);
	given = broker_of(options, from, &names);
	password = password_of(options, password_from, &password_names);
	r = read_addresses(&given, &connection, &addresses);
	if (r == 0)
		r = read_password(&password, &connection, &secret);
	if (r != 0)
		return r;
	r = open(&connection, userdata, &err);
	if (r == 0)
		return 0;
	if (!is_quiet) {
		say("no connection to the broker: %s", err.text);
		give_hint(r, &given, &password);
	}
	return EXIT_BROKER;
}

int open_broker(const struct broker_options *options,
	int (*open)(const struct taskclient_options *connection, void *userdata,
		struct taskclient_error *err),
	void *userdata)
{
	return connect_broker(options, false, open, userdata);
}

static int take_client(
	const struct taskclient_options *connection, void *userdata, struct taskclient_error *err)
{
	return taskclient_open(connection, userdata, err);
}

static int connect_client(
	const struct broker_options *options, bool is_quiet, struct taskclient **ret)
{
	return connect_broker(options, is_quiet, take_client, ret);
}

int open_client(const struct broker_options *options, struct taskclient **ret)
{
	return connect_client(options, false, ret);
}

int retry_client(const struct broker_options *options, struct taskclient **ret)
{
	return connect_client(options, true, ret);
}

int reopen_client(const struct broker_options *options, const struct taskclient_error *err,
	uint64_t deadline_us, struct taskclient **client)
{
	unsigned pause_ms = 100;
	int r;

	say("lost the connection to the broker: %s; connecting again", err->text);
	*client = taskclient_close(*client);
	do {
		clock_sleep_ms(pause_ms);
		pause_ms = pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : pause_ms;
		r = retry_client(options, client);
	} while (r == EXIT_BROKER && clock_now_us() < deadline_us);
	return r;
}
