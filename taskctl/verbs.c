/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/verbs.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "taskctl/display.h"
#include "taskctl/taskctl.h"

#define HELP_WIDTH  80
#define HELP_INDENT 28 /* where the meaning of an option begins */

const struct verb *const verbs[] = {
	&verb_run,
	&verb_submit,
	&verb_wait,
	&verb_result,
	&verb_logs,
	&verb_follow,
	&verb_batch,
	&verb_cancel,
	&verb_kill,
	&verb_pause,
	&verb_resume,
	&verb_hold,
	&verb_play,
	&verb_signal,
	&verb_ps,
	&verb_status,
	&verb_top,
	&verb_runners,
	&verb_programs,
	&verb_drain,
	&verb_undrain,
	&verb_slots,
	&verb_reload,
	&verb_history,
	&verb_stats,
	&verb_events,
	&verb_queues,
	&verb_completion,
	NULL,
};

static const struct verb_option broker_options[] = {
	{ "broker", 'b', "URL", NULL,
		"amqp://user:password@host:port/vhost or amqps://…, several with commas. Default: "
		"$TASKCTL_BROKER, else a broker on this machine" },
	{ "broker-file", OPTION_BROKER_FILE, "FILE", NULL,
		"the same, from a file; default: $TASKCTL_BROKER_FILE" },
	{ "password-file", OPTION_PASSWORD_FILE, "FILE", NULL,
		"the password alone; default: $TASKCTL_PASSWORD_FILE" },
	{ "control", OPTION_CONTROL, "EXCHANGE", NULL,
		"where messages to runners go; default: $TASKCTL_CONTROL, "
		"else " TASKCLIENT_CONTROL },
	{ 0 },
};

static const struct verb_option output_options[] = {
	{ "output", 'o', "FORM", "table json msgpack",
		"table (default), json (one object in a line), or msgpack (one map after the "
		"other)" },
	{ "no-header", OPTION_NO_HEADER, NULL, NULL, "a table without its first line" },
	{ "color", OPTION_COLOR, "WHEN", "auto always never",
		"auto (default: on a terminal, unless NO_COLOR is set), always or never" },
	{ 0 },
};

static const struct verb_option queue_options[] = {
	{ "queue", OPTION_QUEUE, "NAME", NULL,
		"the request queue; default: $TASKCTL_QUEUE, else " TASKCLIENT_QUEUE },
	{ 0 },
};

static const struct verb_option cancels_options[] = {
	{ "cancels", OPTION_CANCELS, "STREAM", NULL,
		"where a cancel is noted that no runner answers; default: $TASKCTL_CANCELS, "
		"else " TASKCLIENT_CANCELS },
	{ 0 },
};

static const struct verb_option responses_options[] = {
	{ "responses", OPTION_RESPONSES, "EXCHANGE", NULL,
		"where runners publish responses; default: $TASKCTL_RESPONSES, "
		"else " TASKCLIENT_RESPONSES },
	{ 0 },
};

static const struct verb_option help_options[] = {
	{ "help", 'h', NULL, NULL, "this text" },
	{ 0 },
};

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; verbs[i]; i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

const char *verb_group_title(enum verb_group group)
{
	static const char *const titles[] = {
		[VERBS_ASK] = "Ask for work",
		[VERBS_STEER] = "Steer tasks",
		[VERBS_LOOK] = "Look at tasks",
		[VERBS_RUNNERS] = "Runners and queues",
		[VERBS_OTHER] = "Other",
	};

	return titles[group];
}

const struct verb_option *verb_option(const struct verb *verb, size_t index)
{
	const struct verb_option *const parts[] = {
		verb->options,
		verb->shares & SHARES_QUEUE ? queue_options : NULL,
		verb->shares & SHARES_RESPONSES ? responses_options : NULL,
		verb->shares & SHARES_CANCELS ? cancels_options : NULL,
		verb->shares & SHARES_OUTPUT ? output_options : NULL,
		verb->shares & SHARES_BROKER ? broker_options : NULL,
		help_options,
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		for (const struct verb_option *o = parts[i]; o && o->name; o++)
			if (index-- == 0)
				return o;
	return NULL;
}

/* ---- help ---- */

/* Appends one line of @text, cut at a space where it is longer than @columns; gives what is left.
 */
static struct slice append_line(struct buf *out, struct slice text, size_t columns, int *r)
{
	const char *end = memchr(text.data, '\n', text.len);
	size_t line = end ? (size_t)(end - text.data) : text.len;
	size_t fits = display_prefix((struct slice){ text.data, line }, columns);

	if (fits < line) {
		size_t space = fits;

		while (space > 0 && text.data[space] != ' ')
			space--;
		line = space > 0 ? space : fits;
	}
	*r = buf_append(out, text.data, line);
	text.data += line;
	text.len -= line;
	if (text.len > 0 && (text.data[0] == '\n' || text.data[0] == ' ')) {
		text.data++;
		text.len--;
	}
	return text;
}

/* Appends @text in lines, all but the first after @indent spaces. Of the first, @used columns are
 * taken. */
static int append_wrapped(struct buf *out, const char *text, size_t used, size_t indent)
{
	struct slice rest = slice_of(text);
	int r = 0;

	for (bool first = true; r == 0 && (first || rest.len > 0); first = false) {
		if (!first)
			r = display_spaces(out, rest.data[0] == '\n' ? 0 : indent);
		if (r == 0)
			rest = append_line(out, rest, HELP_WIDTH - (first ? used : indent), &r);
		if (r == 0)
			r = buf_append_text(out, "\n");
	}
	return r;
}

static int append_option(struct buf *out, const struct verb_option *o)
{
	char names[128];
	int len = o->value < 256 ? snprintf(names, sizeof(names), "  -%c, --%s", o->value, o->name)
				 : snprintf(names, sizeof(names), "      --%s", o->name);
	int r;

	if (o->takes)
		len += snprintf(names + len, sizeof(names) - (size_t)len, " %s", o->takes);
	r = buf_append_text(out, names);
	if (r == 0 && len > HELP_INDENT - 2) {
		r = buf_append_text(out, "\n");
		len = 0;
	}
	if (r == 0)
		r = display_spaces(out, HELP_INDENT - (size_t)len);
	return r < 0 ? r : append_wrapped(out, o->help, HELP_INDENT, HELP_INDENT);
}

int verb_help(const struct verb *verb, struct buf *out)
{
	const struct verb_option *o;
	char exits[1024];
	int r = buf_printf(out, "usage: taskctl %s %s\n\n", verb->name, verb->arguments);

	snprintf(exits, sizeof(exits), "Exit status: %s.", verb->exits);
	if (r == 0)
		r = append_wrapped(out, verb->about, 0, 0);
	if (r == 0)
		r = buf_append_text(out, "\n");
	for (size_t i = 0; r == 0 && (o = verb_option(verb, i)); i++)
		r = append_option(out, o);
	if (r == 0)
		r = buf_append_text(out, "\n");
	return r < 0 ? r : append_wrapped(out, exits, 0, 0);
}

static int append_group(struct buf *out, enum verb_group group, int width)
{
	bool any = false;
	int r = 0;

	for (size_t i = 0; verbs[i] && r == 0; i++) {
		if (verbs[i]->group != group)
			continue;
		if (!any)
			r = buf_printf(out, "\n%s\n", verb_group_title(group));
		if (r == 0)
			r = buf_printf(out, "  %-*s  ", width, verbs[i]->name);
		if (r == 0)
			r = append_wrapped(
				out, verbs[i]->summary, (size_t)width + 4, (size_t)width + 4);
		any = true;
	}
	return r;
}

int verbs_help(struct buf *out)
{
	static const char rest[] =
		"'taskctl VERB --help' tells more, taskctl(1) the rest. --version prints the "
		"version. Defaults of options can be given in the environment (TASKCTL_BROKER) and "
		"in ~/.config/taskctl.yaml.";
	int r = buf_append_text(out, "usage: taskctl VERB [OPTIONS] …\n"), width = 0;

	for (size_t i = 0; verbs[i]; i++)
		width = (int)strlen(verbs[i]->name) > width ? (int)strlen(verbs[i]->name) : width;
	for (enum verb_group group = 0; group < VERB_GROUPS && r == 0; group++)
		r = append_group(out, group, width);
	if (r == 0)
		r = buf_append_text(out, "\n");
	return r < 0 ? r : append_wrapped(out, rest, 0, 0);
}
