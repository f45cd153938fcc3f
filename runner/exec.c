/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/text.h"
#include "runner/engine.h"
#include "runner/exec_console.h"
#include "runner/exec_launch.h"
#include "runner/instance.h"
#include "runner/signals.h"

#define REASON_MAX 2000
#define CHUNK      (64 * 1024)

struct exec {
	const struct exec_options *options;
	const char *id;
	struct console console;
	struct instance instance;
	struct signals signals;
	sd_event *loop;
	struct engine *engine;
	struct request request;
	struct launch launch;
	struct program adapted; /* the program as the command line wants it */
	int status;
};

static int complain(struct exec *exec, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int complain(struct exec *exec, int status, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	console_say(&exec->console, "%s", text);
	return status;
}

static int write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.data, s.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
			continue;
		}
		if (n < 0)
			return -errno;
		s.data += n;
		s.len -= (size_t)n;
	}
	return 0;
}

/* ---- what the engine tells ---- */

static void on_running(void *userdata, struct task *task)
{
	(void)userdata;
	(void)task;
}

static void on_progress(
	void *userdata, struct task *task, struct slice record, enum progress_kind kind)
{
	struct exec *exec = userdata;
	(void)task;
	(void)kind;
	console_progress(&exec->console, record);
}

static void on_text(void *userdata, struct task *task, enum pipe_end end, struct slice text)
{
	struct exec *exec = userdata;
	(void)task;
	(void)end;
	console_text(&exec->console, text);
}

static void on_cancelling(void *userdata, struct task *task)
{
	struct exec *exec = userdata;
	(void)task;
	console_say(&exec->console, "cancelling; once more to end it at once");
}

/* Only a program that ended by itself passes its own status on. */
static int status_of(const struct exec *exec, const struct outcome *outcome)
{
	switch (outcome->cause) {
	case CAUSE_NONE:
		return 0;
	case CAUSE_EXITED: /* with 0, if it declared its failure */
		return outcome->exit_code > 0 ? outcome->exit_code : EXEC_FAILED;
	case CAUSE_KILLED:
	case CAUSE_OUT_OF_MEMORY:
		return 128 + outcome->signal;
	case CAUSE_CANCELLED:
	case CAUSE_SHUTTING_DOWN:
		return exec->console.is_lost ? EXEC_FAILED : EXEC_CANCELLED;
	case CAUSE_TIMED_OUT:
	case CAUSE_SILENT:
		return EXEC_TIMED_OUT;
	case CAUSE_EXEC_FAILED:
		return outcome->error == ENOENT ? EXEC_NOT_FOUND : EXEC_NOT_EXECUTABLE;
	default:
		return EXEC_FAILED;
	}
}

static void append_usage(struct buf *out, const struct outcome *outcome)
{
	if (outcome->peak_memory > 0) /* else it never ran */
		(void)buf_printf(out, "; wall %.3f s, cpu %.3f s, memory %.1f MiB",
			(double)outcome->wall_us / 1e6, (double)outcome->cpu_us / 1e6,
			(double)outcome->peak_memory / 1048576);
}

/* As taskctl tells it. */
static void tell(struct exec *exec, const struct outcome *outcome)
{
	struct buf text = { 0 };
	if (outcome->status == STATUS_SUCCESS)
		(void)buf_append_text(&text, "the task succeeded");
	else if (outcome->status == STATUS_CANCELLED)
		(void)buf_append_text(&text, "the task was cancelled");
	else
		(void)buf_printf(&text, "the task failed (%s): ", cause_name(outcome->cause));
	if (outcome->status == STATUS_FAILED)
		(void)text_append_clean(&text, slice_of(outcome->text), REASON_MAX);
	if (outcome->kind[0]) {
		(void)buf_append_text(&text, " [");
		(void)text_append_clean(&text, slice_of(outcome->kind), sizeof(outcome->kind));
		(void)buf_append_text(&text, "]");
	}
	append_usage(&text, outcome);
	console_say(&exec->console, "%.*s", (int)text.len, text.data ? text.data : "");
	buf_deinit(&text);
}

static void deliver(struct exec *exec, const struct outcome *outcome, struct slice output)
{
	if (isatty(STDOUT_FILENO))
		console_make_way(&exec->console, output);
	int r = write_all(STDOUT_FILENO, output);
	if (r < 0)
		exec->status = complain(exec, EXEC_FAILED,
			"the task succeeded, but its output cannot be written: %s", strerror(-r));
	else if (isatty(STDERR_FILENO))
		tell(exec, outcome);
}

static void on_final(
	void *userdata, struct task *task, const struct outcome *outcome, struct slice output)
{
	struct exec *exec = userdata;
	(void)task;
	exec->status = status_of(exec, outcome);
	/* Whoever reads may be slow. Nothing is left to be cancelled, so a signal ends us; what is
	 * left to tidy up then, the guardian does. */
	signals_forget(&exec->signals);
	signals_release();
	console_finish(&exec->console);
	if (outcome->status == STATUS_SUCCESS)
		deliver(exec, outcome, output);
	else
		tell(exec, outcome);
	signals_prepare();
	sd_event_exit(exec->loop, 0);
}

/* ---- what ends it early ---- */

/* The first signal cancels, the second kills. */
static void on_stop_signal(void *userdata, int signal, unsigned nth)
{
	struct exec *exec = userdata;
	(void)signal;
	engine_stop_all(exec->engine, CAUSE_CANCELLED, nth > 1);
}

static void on_console_full(void *userdata, bool full)
{
	struct exec *exec = userdata;
	engine_pause_relay(exec->engine, full);
}

/* Nobody reads what the program says: as everywhere in a pipeline, that is its end. */
static void on_console_lost(void *userdata)
{
	struct exec *exec = userdata;
	struct task *task = engine_find(exec->engine, exec->id);
	if (task)
		engine_stop(exec->engine, task, CAUSE_CANCELLED);
}

/* ---- what goes in ---- */

/* All of @fd, as far as it may be. 0 or a negative errno; -EMSGSIZE: there is more than @max. */
static int read_all(int fd, size_t max, struct buf *ret)
{
	for (;;) {
		size_t room = max - ret->len;
		char probe, *at = &probe;
		int r = room > 0 ? buf_reserve(ret, room < CHUNK ? room : CHUNK, &at) : 0;
		if (r < 0)
			return r;
		ssize_t n = read(fd, at, room == 0 ? 1 : room < CHUNK ? room : CHUNK);
		if (n == 0)
			return 0;
		if (n > 0 && room == 0)
			return -EMSGSIZE;
		if (n > 0)
			ret->len += (size_t)n;
		else if (errno == EAGAIN)
			poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
		else if (errno != EINTR)
			return -errno;
	}
}

static int read_input(struct exec *exec)
{
	const char *file = exec->options->input_file;
	size_t max = exec->options->config->limits.input;
	char limit[32];
	if (!file)
		return 0;
	bool is_stdin = strcmp(file, "-") == 0;
	cleanup_close int fd = is_stdin ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : read_all(fd, max, &exec->request.input);
	if (r == 0)
		return 0;
	file = is_stdin ? "stdin" : file;
	if (r == -EMSGSIZE)
		return complain(exec, EXEC_FAILED,
			"%s is too large to be an input: limits.input allows %s", file,
			format_size(max, limit, sizeof(limit)));
	return complain(exec, EXEC_FAILED, "cannot read %s: %s", file, strerror(-r));
}

static int make_request(struct exec *exec)
{
	const struct exec_options *options = exec->options;
	struct request *request = &exec->request;
	request->id = strdup(exec->id);
	request->script = strdup(options->program);
	request->timeout_ms = options->timeout_us / 1000;
	request->use_cache = true;
	if (!request->id || !request->script)
		return complain(exec, EXEC_FAILED, "no memory");
	return read_input(exec);
}

/* ---- one run ---- */

static int start_engine(struct exec *exec)
{
	const struct engine_front front = {
		.on_running = on_running,
		.on_progress = on_progress,
		.on_text = on_text,
		.on_cancelling = on_cancelling,
		.on_final = on_final,
		.userdata = exec,
	};
	const struct engine_options options = {
		.config = exec->options->config,
		.run_directory = exec->instance.directory,
		.instance = exec->instance.id,
		.guardian = exec->instance.guardian,
		.any_done = exec->options->config->terarium,
		.pauses_text = true,
	};
	int r = sd_event_new(&exec->loop);
	if (r >= 0)
		r = engine_new(exec->loop, &options, &front, &exec->engine);
	if (r >= 0)
		r = signals_listen(&exec->signals, exec->loop, on_stop_signal, NULL, exec);
	return r < 0 ? complain(exec, EXEC_FAILED, "the event loop cannot be set up: %s",
			       strerror(-r))
		     : 0;
}

static int prepare(struct exec *exec)
{
	struct error err = { 0 };
	/* stdin may be long in coming, and there is nothing to tidy up yet. */
	signals_release();
	int status = exec_launch(exec->options, &exec->launch, &exec->adapted, &err);
	if (status)
		return complain(exec, status, "%s", err.text);
	if ((status = make_request(exec)))
		return status;
	signals_prepare();
	if (instance_start(&exec->instance, exec->options->config->run_directory, &err) < 0)
		return complain(exec, EXEC_FAILED, "%s", err.text);
	return start_engine(exec);
}

static int run(struct exec *exec)
{
	int status = prepare(exec);
	if (status)
		return status;
	console_attach(&exec->console, exec->loop, on_console_full, on_console_lost, exec);
	int r = engine_submit(exec->engine, &exec->request, &exec->launch, 1, NULL);
	if (r >= 0)
		r = sd_event_loop(exec->loop);
	return r < 0 ? complain(exec, EXEC_FAILED, "it cannot be run: %s", strerror(-r))
		     : exec->status;
}

int exec_run(const struct exec_options *options)
{
	struct exec exec = {
		.options = options,
		.id = options->id ? options->id : "exec",
		.instance = { .guardian_fd = -1 },
	};
	int status = run(&exec);
	request_deinit(&exec.request);
	launch_deinit(&exec.launch);
	free(exec.adapted.argv);
	signals_forget(&exec.signals);
	console_deinit(&exec.console);
	/* A task is left only where the loop failed; it ends with us. */
	if (exec.engine && engine_count(exec.engine) == 0)
		engine_free(exec.engine);
	sd_event_unref(exec.loop);
	instance_stop(&exec.instance);
	return status;
}
