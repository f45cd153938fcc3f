/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl top: the tasks of all runners, live, and keys to steer them. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskctl/steer.h"
#include "taskctl/top_private.h"

#define VERB        "top"
#define INTERVAL_MS 1000

void top_leave(struct top *top, int status, const char *format, ...)
{
	va_list args;

	if (top->is_over) /* the first reason is it */
		return;
	top->is_over = true;
	top->status = status;
	va_start(args, format);
	vsnprintf(top->why, sizeof(top->why), format, args);
	va_end(args);
}

void top_say(struct top *top, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(top->message, sizeof(top->message), format, args);
	va_end(args);
	top->is_dirty = true;
}

/* ---- signals and keys ---- */

static int catch_signals(struct top *top)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	top->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return top->signal_fd < 0 ? EXIT_LOCAL : 0;
}

static int open_screen(struct top *top)
{
	struct error err = { 0 };

	if (screen_open(&top->screen, &err) == 0)
		return 0;
	top_leave(top, EXIT_LOCAL, "%s", err.text);
	return top->status;
}

/* Until somebody brings it to the foreground again. */
static void suspend(struct top *top)
{
	screen_close(&top->screen);
	raise(SIGSTOP);
	(void)open_screen(top);
	top->is_dirty = true;
}

static void on_signals(struct top *top)
{
	struct signalfd_siginfo info;

	while (read(top->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH)
			top->is_dirty = true;
		else if (info.ssi_signo == SIGTSTP)
			suspend(top);
		else
			top_leave(top, EXIT_CANCELLED, "ended by SIG%s",
				sigabbrev_np((int)info.ssi_signo));
	}
}

static void press_all(struct top *top)
{
	struct pressed pressed;

	while (!top->is_over && keys_next(&top->keys, clock_now_us(), &pressed)) {
		if (pressed.key == KEY_SUSPEND)
			suspend(top);
		else
			top_press(top, &pressed);
	}
}

static void on_keys(struct top *top)
{
	char bytes[64];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n > 0)
		(void)keys_feed(&top->keys, bytes, (size_t)n, clock_now_us());
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		top_leave(top, EXIT_LOCAL, "the terminal is gone");
}

/* ---- the loop ---- */

static void take_events(struct top *top)
{
	struct taskclient_event *event;
	struct taskclient_error err = { 0 };
	int r = 0;

	while (!top->is_over && (r = taskclient_next(top->client, &event, &err)) > 0) {
		top_take(top, event);
		taskclient_event_free(event);
	}
	if (r < 0)
		top_leave(top, EXIT_BROKER, "lost the connection to the broker: %s", err.text);
}

static void wait_for_more(struct top *top)
{
	struct pollfd fds[] = {
		{ .fd = taskclient_fd(top->client), .events = POLLIN },
		{ .fd = top->signal_fd, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	int ms = top_wait_ms(top);

	if (keys_waits(&top->keys) && ms > KEYS_ESCAPE_MS)
		ms = KEYS_ESCAPE_MS;
	(void)poll(fds, 3, ms);
	if (fds[1].revents)
		on_signals(top);
	if (fds[2].revents && !top->is_over)
		on_keys(top);
}

static void follow(struct top *top)
{
	while (!top->is_over) {
		take_events(top);
		top_tick(top);
		press_all(top);
		if (top->is_dirty && !top->is_over)
			top_draw(top);
		if (!top->is_over)
			wait_for_more(top);
	}
}

static int run_top(struct top *top)
{
	struct error err = { 0 };
	int r;

	if (screen_check(&err) < 0)
		return usage_error(VERB,
			"%s: top needs one of both; 'taskctl ps' lists tasks anywhere", err.text);
	r = open_client(&top->options.broker, &top->client);
	if (r != 0)
		return r;
	looking_columns(true, top->columns);
	top->table = table_new(top->columns, LOOKING_COLUMNS);
	top->view = (struct table_view){
		.color = top->options.output.color,
		.selected = TABLE_NONE,
	};
	top->is_dirty = true;
	r = catch_signals(top);
	if (r == 0)
		r = open_screen(top);
	if (r == 0)
		follow(top);
	screen_close(&top->screen);
	if (top->why[0])
		say("%s", top->why);
	return r != 0 ? r : top->status;
}

/* ---- the command line ---- */

static int take_option(void *verb, int c)
{
	struct top *top = verb;
	int r;

	if (filter_take(&top->list, c))
		return GOING_ON;
	r = read_duration(VERB, "--interval", optarg, &top->interval_ms);
	return r == 0 ? GOING_ON : r;
}

static int run(int argc, char **argv)
{
	struct top top = {
		.list.op = "list",
		.interval_ms = INTERVAL_MS,
		.sort = LOOKING_AGE,
		.signal_fd = -1,
	};
	int r = read_options(&verb_top, argc, argv, take_option, &top, &top.options);

	if (r == GOING_ON && optind < argc)
		r = usage_error(VERB, "'%s' is too much", argv[optind]);
	if (r == GOING_ON)
		r = run_top(&top);
	top_rounds_deinit(&top);
	free(top.selected_id);
	free(top.selected_instance);
	table_free(top.table);
	taskclient_close(top.client);
	close_fd(top.signal_fd);
	options_deinit(&top.options);
	return r;
}

static const struct verb_option options[] = {
	FILTER_OPTIONS,
	{ "interval", 'i', "TIME", NULL, "how often runners are asked, default 1s" },
	{ "color", OPTION_COLOR, "WHEN", "auto always never",
		"auto (default: unless NO_COLOR is set), always or never" },
	{ 0 },
};

const struct verb verb_top = {
	.name = VERB,
	.group = VERBS_LOOK,
	.summary = "watch and steer the tasks that runners have",
	.arguments = "[OPTIONS]",
	.about = "Shows the tasks of all runners on the whole terminal, again every second. Keys:\n"
		 "\n"
		 "  arrows, j, k   select a task; Page Up and Down, Home, End\n"
		 "  s, S           sort by the next column; the other way round\n"
		 "  f              show only what holds a text; Enter keeps it, Escape does not\n"
		 "  p              pause what runs, hold what waits; and let it go on again\n"
		 "  c, K           cancel, kill the selected task, after asking\n"
		 "  q              quit; tasks go on",
	.options = options,
	.shares = SHARES_BROKER,
	.exits = "0 ended by q, 2 usage, or this is no terminal, 3 broker trouble, 4 no control "
		 "exchange, 6 the terminal is gone, 130 ended by Ctrl-C or a signal",
	.run = run,
};
