/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "runner/engine_private.h"

/* What one look at a pipe may take: enough to be quick, little enough that others get their turn.
 */
#define READ_SIZE   (64 * 1024)
#define READ_TURNS  4
#define RECORD_KEPT 4096
/* How often opens are looked for where inotify cannot tell. */
#define POLL_US 20000

static struct slice input_of(const struct task *task)
{
	return buf_slice(&task->request.input);
}

/* ---- input ---- */

static int on_input_writable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	task_dispatch(userdata, task_write_input(userdata));
	return 0;
}

static void stop_writing(struct task *task)
{
	task->input_source = sd_event_source_unref(task->input_source);
	if (task->pipes.input_fd < 0)
		buf_deinit(&task->request.input);
}

int task_write_input(struct task *task)
{
	int r = pipes_write_input(&task->pipes, input_of(task));
	if (r == 1 && !task->input_source)
		r = sd_event_add_io(task->engine->loop, &task->input_source, task->pipes.input_fd,
			EPOLLOUT, on_input_writable, task);
	else if (r == 0)
		stop_writing(task);
	if (r < 0)
		log_warn("task.input-failed", LOG_S("task", task->request.id), LOG_ERRNO(r));
	return NO_EVENT;
}

static void on_input_opened(struct task *task)
{
	pipes_input_opened(&task->pipes, input_of(task));
	if (task->pipes.input_fd < 0)
		stop_writing(task);
}

/* ---- what the kernel tells about the pipes ---- */

static void on_progress_closed(struct task *task);

static void forget_input_watch(struct task *task)
{
	if (task->input_watch >= 0)
		HASH_DELETE(hh_input_watch, task->engine->by_input_watch, task);
	task->input_watch = -1;
}

static void forget_progress_watch(struct task *task)
{
	if (task->progress_watch >= 0)
		HASH_DELETE(hh_progress_watch, task->engine->by_progress_watch, task);
	task->progress_watch = -1;
}

static void handle_watch(struct engine *engine, const struct inotify_event *event)
{
	struct task *task;
	if (event->mask & IN_OPEN) {
		HASH_FIND(hh_input_watch, engine->by_input_watch, &event->wd, sizeof(event->wd),
			task);
		if (task) {
			forget_input_watch(task);
			on_input_opened(task);
		}
	} else if (event->mask & IN_CLOSE_WRITE) {
		HASH_FIND(hh_progress_watch, engine->by_progress_watch, &event->wd,
			sizeof(event->wd), task);
		if (task)
			on_progress_closed(task);
	}
}

static void start_polling(struct engine *engine)
{
	sd_event_source_set_time(engine->poll_source, clock_now_us() + POLL_US);
	sd_event_source_set_enabled(engine->poll_source, SD_EVENT_ONESHOT);
}

static int on_poll(sd_event_source *source, uint64_t now, void *userdata)
{
	struct engine *engine = userdata;
	struct task *task, *tmp;
	bool again = false;
	(void)source;
	(void)now;
	HASH_ITER (hh_id, engine->by_id, task, tmp) {
		if (!task->pid || task->pipes.input_opened)
			continue;
		if (pipes_poll_input(&task->pipes, input_of(task)))
			on_input_opened(task);
		else
			again = true;
	}
	if (again)
		start_polling(engine);
	return 0;
}

static int on_inotify(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct engine *engine = userdata;
	char buffer[2048] __attribute__((aligned(__alignof__(struct inotify_event))));
	(void)source;
	(void)events;
	ssize_t n = read(fd, buffer, sizeof(buffer));
	for (char *at = buffer; n > 0 && at < buffer + n;) {
		const struct inotify_event *event = (const void *)at;
		at += sizeof(*event) + event->len;
		/* Somebody opens and closes faster than we read: an open may have gone unseen. */
		if (event->mask & IN_Q_OVERFLOW)
			start_polling(engine);
		else
			handle_watch(engine, event);
	}
	return 0;
}

int engine_watch_init(struct engine *engine)
{
	int r = sd_event_add_time(engine->loop, &engine->poll_source, CLOCK_BOOTTIME, UINT64_MAX,
		1000, on_poll, engine);
	if (r < 0 || (r = sd_event_source_set_enabled(engine->poll_source, SD_EVENT_OFF)) < 0)
		return r;
	engine->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (engine->inotify_fd < 0) {
		log_warn("engine.no-inotify", LOG_ERRNO(errno),
			LOG_S("proceeding", "opens are polled for"));
		return 0;
	}
	r = sd_event_add_io(engine->loop, &engine->inotify_source, engine->inotify_fd, EPOLLIN,
		on_inotify, engine);
	return r < 0 ? r : 0;
}

void task_watch(struct task *task)
{
	struct engine *engine = task->engine;
	if (engine->inotify_fd >= 0) {
		task->input_watch = inotify_add_watch(
			engine->inotify_fd, task->pipes.input_path, IN_OPEN | IN_ONESHOT);
		task->progress_watch = inotify_add_watch(
			engine->inotify_fd, task->pipes.progress_path, IN_CLOSE_WRITE);
	}
	if (task->input_watch >= 0)
		HASH_ADD(hh_input_watch, engine->by_input_watch, input_watch, sizeof(int), task);
	else
		start_polling(engine);
	if (task->progress_watch >= 0)
		HASH_ADD(hh_progress_watch, engine->by_progress_watch, progress_watch, sizeof(int),
			task);
}

void task_unwatch(struct task *task)
{
	/* The kernel drops watches when their files go; but a program may have moved them
	 * elsewhere. */
	if (task->input_watch >= 0)
		inotify_rm_watch(task->engine->inotify_fd, task->input_watch);
	if (task->progress_watch >= 0)
		inotify_rm_watch(task->engine->inotify_fd, task->progress_watch);
	forget_input_watch(task);
	forget_progress_watch(task);
}

/* ---- progress ---- */

static void keep_failure(struct task *task, const struct progress_failure *failure)
{
	if (!task->failure)
		task->failure = malloc(sizeof(*failure));
	if (task->failure)
		*task->failure = *failure;
}

/* For who looks (task_look). Programs may report without end, so what it says is found out only
 * then; but a long record is not kept. */
static void keep_record(struct task *task, struct slice record)
{
	struct progress_report *report = &task->last_report;
	buf_clear(&task->last_record);
	progress_report_deinit(report);
	if (record.len <= RECORD_KEPT) {
		(void)buf_append(&task->last_record, record.data, record.len);
	} else if (progress_report_decode(record, report) == 0 && report->message) {
		char *whole = report->message;
		report->message = strndup(whole, RECORD_KEPT);
		free(whole);
	}
}

static void handle_record(struct task *task, struct slice record, enum progress_kind kind)
{
	const struct engine *engine = task->engine;
	struct progress_failure failure;
	task->last_progress_us = clock_now_us();
	switch (progress_meaning(record, kind, engine->options.any_done, &failure)) {
	case PROGRESS_DONE:
		task->progress_over = true;
		break;
	case PROGRESS_FAIL:
		keep_failure(task, &failure);
		break;
	case PROGRESS_FOR_REQUESTER:
		if (task->progress_over)
			break;
		keep_record(task, record);
		engine->front.on_progress(engine->front.userdata, task, record, kind);
	}
}

static int take_records(struct task *task)
{
	struct slice record;
	enum progress_kind kind;
	enum progress_outcome outcome;
	while ((outcome = progress_next(task->progress, &record, &kind)) == PROGRESS_RECORD)
		handle_record(task, record, kind);
	if (outcome == PROGRESS_NONE)
		return NO_EVENT;
	task->progress_broken = true;
	task->cause = task->cause ? task->cause : CAUSE_PROTOCOL_ERROR;
	return TASK_ON_OVERFLOW;
}

static int take_progress(struct task *task, struct slice bytes)
{
	if (task->progress_broken)
		return NO_EVENT;
	int r = progress_feed(task->progress, bytes);
	if (r < 0) {
		log_error("task.progress-lost", LOG_S("task", task->request.id), LOG_ERRNO(r));
		return NO_EVENT;
	}
	return take_records(task);
}

/* The pipe is empty: a close that was told before came behind all that we have read. */
static int take_close(struct task *task)
{
	if (!task->progress_closed || task->progress_broken)
		return NO_EVENT;
	task->progress_closed = false;
	progress_writer_closed(task->progress);
	return take_records(task);
}

int task_end_progress(struct task *task)
{
	if (!task->progress || task->progress_broken)
		return NO_EVENT;
	progress_end(task->progress);
	return take_records(task);
}

static void on_progress_closed(struct task *task)
{
	int unread = 0, fd = task->pipes.read_fd[PIPE_PROGRESS];
	if (fd < 0)
		return;
	task->progress_closed = true;
	if (!task->engine->relay_paused) {
		task_dispatch(task, task_read_end(task, PIPE_PROGRESS));
	} else if (ioctl(fd, FIONREAD, &unread) == 0 && unread == 0) {
		/* What follows must not join what we have; the record itself waits for the relay.
		 */
		progress_writer_closed(task->progress);
		task->progress_closed = false;
	}
}

/* ---- output and texts ---- */

static int take_output(struct task *task, struct slice bytes)
{
	/* What will not be sent need not be kept. */
	if (task->cause)
		return NO_EVENT;
	int r = buf_append(&task->output, bytes.data, bytes.len);
	if (r == 0)
		return NO_EVENT;
	if (r == -ENOMEM)
		log_error("task.no-memory-for-output", LOG_S("task", task->request.id));
	task->cause = CAUSE_OUTPUT_TOO_LARGE;
	buf_deinit(&task->output);
	return TASK_ON_OVERFLOW;
}

static int take_text(struct task *task, enum pipe_end end, struct slice bytes)
{
	const struct engine_front *front = &task->engine->front;
	tail_write(&task->text[end - PIPE_STDOUT], bytes.data, bytes.len);
	if (front->on_text)
		front->on_text(front->userdata, task, end, bytes);
	return NO_EVENT;
}

static int take(struct task *task, enum pipe_end end, struct slice bytes)
{
	switch (end) {
	case PIPE_OUTPUT:
		return take_output(task, bytes);
	case PIPE_PROGRESS:
		return take_progress(task, bytes);
	default:
		return take_text(task, end, bytes);
	}
}

static int on_end_of_file(struct task *task, enum pipe_end end)
{
	task->sources[end] = sd_event_source_unref(task->sources[end]);
	pipes_close_end(&task->pipes, end);
	task->ends_open--;
	int event = end == PIPE_PROGRESS ? task_end_progress(task) : NO_EVENT;
	if (event == NO_EVENT && task->ends_open == 0)
		event = TASK_ON_DRAINED;
	return event;
}

int task_give_up_progress(struct task *task)
{
	return on_end_of_file(task, PIPE_PROGRESS);
}

int task_read_end(struct task *task, enum pipe_end end)
{
	char bytes[READ_SIZE];
	int fd = task->pipes.read_fd[end];
	for (int turn = 0; turn < READ_TURNS; turn++) {
		ssize_t n = read(fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return end == PIPE_PROGRESS ? take_close(task) : NO_EVENT;
		if (n <= 0)
			return on_end_of_file(task, end);
		int event = take(task, end, (struct slice){ bytes, (size_t)n });
		if (event != NO_EVENT)
			return event;
		/* Room for the publisher is bounded; what we do not read waits in the pipe. */
		if (end == PIPE_PROGRESS && task->engine->relay_paused)
			return NO_EVENT;
	}
	return NO_EVENT;
}

static int on_readable(struct task *task, enum pipe_end end)
{
	task_dispatch(task, task_read_end(task, end));
	return 0;
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *task)
{
	(void)source, (void)fd, (void)events;
	return on_readable(task, PIPE_OUTPUT);
}

static int on_progress(sd_event_source *source, int fd, uint32_t events, void *task)
{
	(void)source, (void)fd, (void)events;
	return on_readable(task, PIPE_PROGRESS);
}

static int on_stdout(sd_event_source *source, int fd, uint32_t events, void *task)
{
	(void)source, (void)fd, (void)events;
	return on_readable(task, PIPE_STDOUT);
}

static int on_stderr(sd_event_source *source, int fd, uint32_t events, void *task)
{
	(void)source, (void)fd, (void)events;
	return on_readable(task, PIPE_STDERR);
}

int task_listen(struct task *task)
{
	static const sd_event_io_handler_t handlers[PIPE_ENDS] = {
		[PIPE_OUTPUT] = on_output,
		[PIPE_PROGRESS] = on_progress,
		[PIPE_STDOUT] = on_stdout,
		[PIPE_STDERR] = on_stderr,
	};
	for (int end = 0; end < PIPE_ENDS; end++) {
		int r = sd_event_add_io(task->engine->loop, &task->sources[end],
			task->pipes.read_fd[end], EPOLLIN, handlers[end], task);
		if (r < 0)
			return r;
	}
	if (task->engine->relay_paused)
		task_pause_relay(task, true);
	return 0;
}

void task_unlisten(struct task *task)
{
	task->input_source = sd_event_source_unref(task->input_source);
	for (int end = 0; end < PIPE_ENDS; end++)
		task->sources[end] = sd_event_source_unref(task->sources[end]);
}

void task_pause_relay(struct task *task, bool paused)
{
	for (int end = PIPE_PROGRESS; end < PIPE_ENDS; end++) {
		/* Of a task that is being ended the text is read: its end must be seen. */
		bool waits =
			end == PIPE_PROGRESS || (task->engine->options.pauses_text && !task->cause);
		if (task->sources[end])
			sd_event_source_set_enabled(
				task->sources[end], paused && waits ? SD_EVENT_OFF : SD_EVENT_ON);
	}
}
