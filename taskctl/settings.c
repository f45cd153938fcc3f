/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/document.h"

#define FILE_NAME "taskctl.yaml"
#define FILE_MAX  (64 * 1024)

enum { IS_PATH = 1 };

/* The variable of each is TASKCTL_ and the key in capitals. */
static const struct {
	const char *key;
	int option;
	unsigned flags;
} known[SETTINGS] = {
	[SETTING_BROKER] = { "broker", 'b', 0 },
	[SETTING_BROKER_FILE] = { "broker_file", OPTION_BROKER_FILE, IS_PATH },
	[SETTING_PASSWORD_FILE] = { "password_file", OPTION_PASSWORD_FILE, IS_PATH },
	[SETTING_CONTROL] = { "control", OPTION_CONTROL, 0 },
	[SETTING_QUEUE] = { "queue", OPTION_QUEUE, 0 },
	[SETTING_OUTPUT] = { "output", 'o', 0 },
	[SETTING_COLOR] = { "color", OPTION_COLOR, 0 },
	[SETTING_RESPONSES] = { "responses", OPTION_RESPONSES, 0 },
	[SETTING_CANCELS] = { "cancels", OPTION_CANCELS, 0 },
};

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* "TASKCTL_BROKER_FILE"; 64 bytes are enough. */
static const char *variable_name(enum setting setting, char *buffer, size_t size)
{
	snprintf(buffer, size, "TASKCTL_%s", known[setting].key);
	for (char *p = buffer; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return buffer;
}

bool settings_take(struct settings *settings, int c, const char *value)
{
	if (c == OPTION_NO_HEADER) {
		settings->no_header = true;
		return true;
	}
	for (enum setting i = 0; i < SETTINGS; i++)
		if (known[i].option == c) {
			settings->said[FROM_OPTION][i] = value;
			return true;
		}
	return false;
}

static void take_environment(struct settings *settings)
{
	char name[64];

	for (enum setting i = 0; i < SETTINGS; i++)
		settings->said[FROM_ENVIRONMENT][i] =
			variable(variable_name(i, name, sizeof(name)));
}

/* ---- the file ---- */

static int fault(const char *path, const struct node *node, const char *what)
{
	say("%s:%u: %s: %s", path, node->line, node->key, what);
	return EXIT_USAGE;
}

/* Gives its name in @ret (release with free), or NULL where there can be none. */
static int find_path(char **ret)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n = 0;

	*ret = NULL;
	if (xdg && xdg[0] == '/') /* a relative one is to be ignored, its specification says */
		n = asprintf(ret, "%s/" FILE_NAME, xdg);
	else if (home && home[0] == '/')
		n = asprintf(ret, "%s/.config/" FILE_NAME, home);
	return n < 0 ? EXIT_LOCAL : 0;
}

/* "~/x" is in the home directory; a relative name would be another one in each directory. */
static int expand_path(const char *path, struct node *node)
{
	const char *home = getenv("HOME");
	char *whole;

	if (node->text[0] == '/')
		return 0;
	if (strncmp(node->text, "~/", 2) != 0 || !home || home[0] != '/')
		return fault(path, node, "expected the name of a file that begins with / or ~/");
	if (asprintf(&whole, "%s%s", home, node->text + 1) < 0)
		return EXIT_LOCAL;
	free(node->text);
	node->text = whole;
	return 0;
}

static int take_node(struct settings *settings, const char *path, struct node *node)
{
	enum setting i = 0;
	int r = 0;

	while (i < SETTINGS && strcmp(known[i].key, node->key) != 0)
		i++;
	if (i == SETTINGS)
		return fault(path, node,
			"there is no such key; known are broker, broker_file, password_file, "
			"control, cancels, queue, responses, output and color");
	if (node->kind != NODE_TEXT)
		return fault(path, node, "expected text, not a list or a mapping");
	if (node->len == 0 || strlen(node->text) != node->len)
		return fault(path, node, "expected text that is not empty and holds no NUL");
	if (known[i].flags & IS_PATH)
		r = expand_path(path, node);
	settings->said[FROM_FILE][i] = node->text;
	return r;
}

static int take_tree(struct settings *settings, const char *path, struct node *root)
{
	int r = 0;

	for (struct node *node = root ? root->first : NULL; node && r == 0; node = node->next)
		r = take_node(settings, path, node);
	return r;
}

static int read_settings_file(struct settings *settings, struct common_options *ret)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };
	struct error err = { 0 };
	int r = find_path(&ret->broker.path);

	memset(settings->said[FROM_FILE], 0, sizeof(settings->said[FROM_FILE]));
	if (r != 0 || !ret->broker.path)
		return r;
	if (access(ret->broker.path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	r = read_file("settings", ret->broker.path, FILE_MAX, &text);
	if (r != 0)
		return r;
	if (document_parse(
		    text.data ? text.data : "", text.len, ret->broker.path, &ret->file, &err) < 0) {
		say("%s", err.text);
		return EXIT_USAGE;
	}
	return take_tree(settings, ret->broker.path, ret->file);
}

/* ---- what counts ---- */

static enum origin who_said(const struct settings *settings, enum setting setting)
{
	enum origin origin = 0;

	while (origin < ORIGINS && !settings->said[origin][setting])
		origin++;
	return origin;
}

static const char *value_of(const struct settings *settings, enum setting setting)
{
	enum origin origin = who_said(settings, setting);

	return origin < ORIGINS ? settings->said[origin][setting] : NULL;
}

static unsigned line_of(const struct node *root, const char *key)
{
	const struct node *node = root ? root->first : NULL;

	while (node && strcmp(node->key, key) != 0)
		node = node->next;
	return node ? node->line : 0;
}

/* Tells that the value of @setting is none of @words; where it stands, too. */
static int not_a_word(const struct settings *settings, const struct verb *verb,
	const struct common_options *options, enum setting setting, const char *words)
{
	enum origin origin = who_said(settings, setting);
	const char *value = value_of(settings, setting), *key = known[setting].key;
	char name[64];

	if (origin == FROM_OPTION)
		return usage_error(verb->name, "--%s: '%s' is not one of %s", key, value, words);
	if (origin == FROM_ENVIRONMENT)
		say("%s: '%s' is not one of %s", variable_name(setting, name, sizeof(name)), value,
			words);
	else
		say("%s:%u: %s: '%s' is not one of %s", options->broker.path,
			line_of(options->file, key), key, value, words);
	return EXIT_USAGE;
}

/* The place of the value of @setting in @words, or 0 where nobody said one; -1. */
static int find_word(
	const struct settings *settings, enum setting setting, const char *const *words)
{
	const char *value = value_of(settings, setting);

	if (!value)
		return 0;
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], value) == 0)
			return i;
	return -1;
}

static bool has_colors(void)
{
	const char *terminal = variable("TERM");

	return terminal && strcmp(terminal, "dumb") != 0;
}

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* NO_COLOR is a part of the environment: more than the file, less than what is said to us alone. */
static bool wants_color(const struct settings *settings, int color, bool is_terminal)
{
	enum origin origin = who_said(settings, SETTING_COLOR);

	if (origin > FROM_ENVIRONMENT && variable("NO_COLOR"))
		return false;
	if (color == COLOR_AUTO)
		return is_terminal && has_colors() && !variable("NO_COLOR");
	return color == COLOR_ALWAYS;
}

static int resolve_output(
	const struct settings *settings, const struct verb *verb, struct common_options *ret)
{
	static const char *const formats[] = { "table", "json", "msgpack", NULL };
	static const char *const colors[] = { "auto", "always", "never", NULL };
	int format = find_word(settings, SETTING_OUTPUT, formats);
	int color = find_word(settings, SETTING_COLOR, colors);
	bool is_terminal = isatty(STDOUT_FILENO) == 1;

	if (format < 0)
		return not_a_word(settings, verb, ret, SETTING_OUTPUT, "table, json, msgpack");
	if (color < 0)
		return not_a_word(settings, verb, ret, SETTING_COLOR, "auto, always, never");
	if (format == OUTPUT_MSGPACK && is_terminal && verb->shares & SHARES_OUTPUT)
		return usage_error(verb->name,
			"MessagePack is nothing for a terminal: send it to a file or a pipe");
	ret->output = (struct output_options){
		.format = (enum output_format)format,
		.no_header = settings->no_header,
		.color = wants_color(settings, color, is_terminal),
		.is_terminal = is_terminal,
		.width = is_terminal ? display_columns(STDOUT_FILENO) : 0,
	};
	return GOING_ON;
}

static void resolve_broker(const struct settings *settings, struct broker_options *ret)
{
	for (enum origin origin = 0; origin < ORIGINS; origin++) {
		const char *const *said = settings->said[origin];

		ret->from[origin].broker = said[SETTING_BROKER];
		ret->from[origin].broker_file = said[SETTING_BROKER_FILE];
		ret->from[origin].password_file = said[SETTING_PASSWORD_FILE];
	}
	ret->control = value_of(settings, SETTING_CONTROL);
}

int settings_resolve(struct settings *settings, const struct verb *verb, struct common_options *ret)
{
	int r;

	if (!verb->shares) /* nothing of this is for it */
		return GOING_ON;
	take_environment(settings);
	r = read_settings_file(settings, ret);
	if (r != 0)
		return r;
	resolve_broker(settings, &ret->broker);
	ret->queue = value_of(settings, SETTING_QUEUE);
	ret->broker.responses = value_of(settings, SETTING_RESPONSES);
	ret->broker.cancels = value_of(settings, SETTING_CANCELS);
	return resolve_output(settings, verb, ret);
}

void options_deinit(struct common_options *options)
{
	document_free(options->file);
	free(options->broker.path);
	*options = (struct common_options){ 0 };
}
