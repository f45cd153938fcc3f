/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "runner/engine.h"
#include "runner/instance.h"
#include "runner/signals.h"

struct exec {
	const struct exec_options *options;
	struct instance instance;
	struct signals signals;
	sd_event *loop;
	struct engine *engine;
	struct program_set set;
	struct request request;
	struct launch launch;
	struct program extended; /* the program with the arguments of the command line */
	int status;
};

static int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int complain(int status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("taskrunner: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return status;
}

static int write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.data, s.len);
		if (n < 0 && errno == EINTR)
			continue;
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
	struct progress_report report = { 0 };
	(void)userdata;
	(void)task;
	bool decoded = kind == PROGRESS_MAP && progress_report_decode(record, &report) == 0;
	const char *message = report.message ? report.message : "";
	if (decoded && report.has_fraction)
		fprintf(stderr, "progress: %.0f%% %s\n", report.fraction * 100, message);
	else if (decoded)
		fprintf(stderr, "progress: %s\n", message);
	else
		fprintf(stderr, "progress: %.*s\n", (int)record.len, record.data);
	progress_report_deinit(&report);
}

static void on_text(void *userdata, struct task *task, enum pipe_end end, struct slice text)
{
	(void)userdata;
	(void)task;
	(void)end;
	write_all(STDERR_FILENO, text);
}

static void on_cancelling(void *userdata, struct task *task)
{
	(void)userdata;
	(void)task;
	fputs("taskrunner: cancelling\n", stderr);
}

static int status_of(const struct outcome *outcome)
{
	switch (outcome->cause) {
	case CAUSE_NONE:
		return 0;
	case CAUSE_CANCELLED:
	case CAUSE_SHUTTING_DOWN:
		return EXEC_CANCELLED;
	case CAUSE_TIMED_OUT:
	case CAUSE_SILENT:
		return EXEC_TIMED_OUT;
	case CAUSE_EXEC_FAILED:
		return outcome->error == ENOENT ? EXEC_NOT_FOUND : EXEC_NOT_EXECUTABLE;
	default:
		break;
	}
	if (outcome->signal)
		return 128 + outcome->signal;
	return outcome->exit_code > 0 ? outcome->exit_code : EXEC_FAILED;
}

static void on_final(
	void *userdata, struct task *task, const struct outcome *outcome, struct slice output)
{
	struct exec *exec = userdata;
	(void)task;
	exec->status = status_of(outcome);
	if (outcome->status != STATUS_SUCCESS)
		complain(0, "%s: %s%s%s%s (wall %.3f s, CPU %.3f s, memory %.1f MiB)",
			status_name(outcome->status), outcome->text, outcome->kind[0] ? " [" : "",
			outcome->kind, outcome->kind[0] ? "]" : "", (double)outcome->wall_us / 1e6,
			(double)outcome->cpu_us / 1e6, (double)outcome->peak_memory / 1048576);
	int r = write_all(STDOUT_FILENO, output);
	if (r < 0)
		exec->status =
			complain(EXEC_FAILED, "the output could not be written: %s", strerror(-r));
	sd_event_exit(exec->loop, 0);
}

/* The first signal cancels, the second kills. */
static void on_stop_signal(void *userdata, int signal, unsigned nth)
{
	struct exec *exec = userdata;
	(void)signal;
	engine_stop_all(exec->engine, CAUSE_CANCELLED, nth > 1, UINT64_MAX);
}

/* ---- what goes in ---- */

static int read_input(const struct exec_options *options, struct buf *ret)
{
	const char *file = options->input_file;
	if (!file)
		return 0;
	bool is_stdin = strcmp(file, "-") == 0;
	cleanup_close int fd = is_stdin ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret->max = options->config->limits.input;
	for (;;) {
		char *at;
		int r = buf_reserve(ret, 65536, &at);
		/* The bound may leave less room than we ask for, and yet be kept. */
		char probe[1];
		bool full = r == -EMSGSIZE;
		if (r < 0 && !full)
			return r;
		ssize_t n = read(fd, full ? probe : at, full ? 1 : 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (!full)
			ret->len += (size_t)n;
		else if ((r = buf_append(ret, probe, 1)) < 0)
			return r;
	}
}

static int make_request(struct exec *exec)
{
	const struct exec_options *options = exec->options;
	struct request *request = &exec->request;
	struct buf input = { 0 };
	int r = read_input(options, &input);
	if (r < 0) {
		buf_deinit(&input);
		if (r == -EMSGSIZE)
			return complain(EXEC_FAILED, "the input %s is larger than limits.input",
				options->input_file);
		return complain(EXEC_FAILED, "the input %s could not be read: %s",
			options->input_file, strerror(-r));
	}
	request->input = input;
	request->id = strdup(options->id ? options->id : "exec");
	request->script = strdup(options->program);
	request->timeout_ms = options->timeout_us / 1000;
	request->use_cache = true;
	return request->id && request->script ? 0 : complain(EXEC_FAILED, "no memory");
}

/* What is not in the catalogue is looked for as a person would: a path, or a name in PATH. */
static int resolve_by_hand(struct exec *exec)
{
	const struct exec_options *options = exec->options;
	char *path = strchr(options->program, '/') ? realpath(options->program, NULL)
						   : find_in_path(options->program);
	if (!path)
		return complain(EXEC_NOT_FOUND, "program '%s' was not found", options->program);
	struct program_set set = { .search_path = true, .pipe_arguments = options->pipe_arguments };
	struct catalogue *catalogue = catalogue_new(&set);
	struct error err = { 0 };
	int r = catalogue ? catalogue_resolve(catalogue, path, &exec->launch, &err) : -ENOMEM;
	catalogue_unref(catalogue);
	free(path);
	return r == CATALOGUE_FOUND ? 0 : complain(EXEC_NOT_FOUND, "%s", err.text);
}

static int resolve(struct exec *exec)
{
	struct error err = { 0 };
	struct catalogue *catalogue = catalogue_new(&exec->options->config->catalogue);
	if (!catalogue)
		return complain(EXEC_FAILED, "no memory");
	int r = catalogue_resolve(catalogue, exec->options->program, &exec->launch, &err);
	catalogue_unref(catalogue);
	if (r == CATALOGUE_FOUND)
		return 0;
	launch_deinit(&exec->launch);
	return resolve_by_hand(exec);
}

/* Puts the arguments of the command line behind those of the program. */
static int add_arguments(struct exec *exec)
{
	char *const *more = exec->options->arguments;
	char *const *base = exec->launch.program->argv;
	size_t n_base = 0, n_more = 0;
	while (base && base[n_base])
		n_base++;
	while (more && more[n_more])
		n_more++;
	if (n_more == 0)
		return 0;
	char **argv = calloc(n_base + n_more + 3, sizeof(char *));
	if (!argv)
		return complain(EXEC_FAILED, "no memory");
	size_t n = 0;
	for (size_t i = 0; i < n_base; i++)
		argv[n++] = base[i];
	if (n_base == 0) {
		argv[n++] = exec->launch.path;
		if (exec->launch.script)
			argv[n++] = exec->launch.script;
	}
	memcpy(argv + n, more, n_more * sizeof(*argv));
	exec->extended = *exec->launch.program;
	exec->extended.argv = argv;
	exec->launch.program = &exec->extended;
	return 0;
}

/* ---- one run ---- */

static int start_engine(struct exec *exec)
{
	static const struct engine_front calls = { on_running, on_progress, on_text, on_cancelling,
		on_final, NULL };
	struct engine_front front = calls;
	front.userdata = exec;
	const struct engine_options options = {
		.config = exec->options->config,
		.run_directory = exec->instance.directory,
		.instance = exec->instance.id,
		.guardian = exec->instance.guardian,
	};
	int r = sd_event_new(&exec->loop);
	if (r >= 0)
		r = engine_new(exec->loop, &options, &front, &exec->engine);
	if (r >= 0)
		r = signals_listen(&exec->signals, exec->loop, on_stop_signal, NULL, exec);
	return r < 0 ? complain(EXEC_FAILED, "cannot start: %s", strerror(-r)) : 0;
}

static int run(struct exec *exec)
{
	struct error err = { 0 };
	int status;
	if ((status = resolve(exec)) || (status = add_arguments(exec)) ||
		(status = make_request(exec)))
		return status;
	if (instance_start(&exec->instance, exec->options->config->run_directory, &err) < 0)
		return complain(EXEC_FAILED, "%s", err.text);
	if ((status = start_engine(exec)))
		return status;
	const char *id = exec->request.id;
	if (!id_is_valid(slice_of(id)))
		return complain(
			EXEC_USAGE, "'%s' cannot be an id: 1 to %d bytes, no '/'", id, ID_MAX);
	int r = engine_submit(exec->engine, &exec->request, &exec->launch, 1, NULL);
	if (r < 0)
		return complain(EXEC_FAILED, "cannot start: %s", strerror(-r));
	sd_event_loop(exec->loop);
	return exec->status;
}

int exec_run(const struct exec_options *options)
{
	struct exec exec = { .options = options, .instance = { .guardian_fd = -1 } };
	int status = run(&exec);
	request_deinit(&exec.request);
	launch_deinit(&exec.launch);
	free(exec.extended.argv);
	signals_forget(&exec.signals);
	engine_free(exec.engine);
	sd_event_unref(exec.loop);
	instance_stop(&exec.instance);
	return status;
}
