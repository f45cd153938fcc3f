/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "runner/engine_private.h"

#define SECOND 1000000ULL

/* An input or output that shows in our own peak memory, in bytes. */
#define LARGE (1 << 20)

/* Above this many tasks, pipes are asked to be small (pipes.h). */
#define MANY_TASKS 150
/* Starting again when the machine had no room: 0.2 s, doubling to 5 s. */
#define RETRY_MIN_US 200000ULL
#define RETRY_MAX_US (5 * SECOND)
/* Looking again whether a killed tree is gone: 1 ms, doubling to 50 ms; said once after 10 s; not
 * waited for any longer after 60 s (a process can hang in the kernel). */
#define CLEAR_MIN_US  1000ULL
#define CLEAR_MAX_US  50000ULL
#define CLEAR_GIVE_UP (60 * SECOND)

static uint64_t backoff(unsigned tries, uint64_t from, uint64_t to)
{
	uint64_t us = tries < 20 ? from << tries : to;
	return us < to ? us : to;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- what a program is started with ---- */

struct strings {
	char **list; /* owned list of strings */
	size_t n, cap;
	bool failed;
};

static void strings_add(struct strings *s, char *taken)
{
	if (!taken || s->failed || s->n + 1 >= s->cap) {
		s->failed = true;
		free(taken);
		return;
	}
	s->list[s->n++] = taken;
	s->list[s->n] = NULL;
}

static void strings_copy(struct strings *s, const char *text)
{
	strings_add(s, strdup(text));
}

static void strings_set(struct strings *s, const char *name, const char *value)
{
	char *text;
	strings_add(s, asprintf(&text, "%s=%s", name, value) < 0 ? NULL : text);
}

static void strings_set_number(struct strings *s, const char *name, uint64_t value)
{
	char number[32];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
	strings_set(s, name, number);
}

static void strings_init(struct strings *s, size_t max)
{
	*s = (struct strings){ .cap = max + 1, .list = calloc(max + 1, sizeof(char *)) };
	s->failed = !s->list;
}

static void strings_deinit(struct strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->list[i]);
	free(s->list);
}

static size_t count(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

static void add_pipe_arguments(struct strings *argv, const struct task *task)
{
	static const char *const words[][4] = {
		[PIPE_ARGUMENTS_HYPHENS] = { "--id", "--input-pipe", "--output-pipe",
			"--progress-pipe" },
		[PIPE_ARGUMENTS_UNDERSCORES] = { "--id", "--input_pipe", "--output_pipe",
			"--progress_pipe" },
	};
	const char *const values[4] = { task->request.id, task->pipes.input_path,
		task->pipes.output_path, task->pipes.progress_path };
	enum pipe_arguments spelling = task->launch.program->pipe_arguments;
	if (spelling == PIPE_ARGUMENTS_NONE)
		return;
	for (int i = 0; i < 4; i++) {
		strings_copy(argv, words[spelling][i]);
		strings_copy(argv, values[i]);
	}
}

static void make_argv(struct strings *argv, const struct task *task)
{
	const struct launch *launch = &task->launch;
	strings_init(argv, count(launch->program->argv) + 12);
	if (launch->program->argv) {
		for (char **at = launch->program->argv; *at; at++)
			strings_copy(argv, *at);
	} else {
		strings_copy(argv, launch->path);
		if (launch->script)
			strings_copy(argv, launch->script);
	}
	add_pipe_arguments(argv, task);
}

static bool names_same(const char *a, const char *b)
{
	size_t len = strcspn(a, "=");
	return strncmp(a, b, len + 1) == 0;
}

static bool is_overridden(char *const *by, const char *variable)
{
	for (; by && *by; by++)
		if (names_same(*by, variable))
			return true;
	return false;
}

static void make_environ(struct strings *env, const struct task *task)
{
	const struct engine *engine = task->engine;
	char **own = task->launch.program->environment;
	strings_init(env, count(engine->environ) + count(own) + 12);
	for (char **at = engine->environ; *at; at++)
		if (!is_overridden(own, *at))
			strings_copy(env, *at);
	for (char **at = own; at && *at; at++)
		strings_copy(env, *at);
	strings_set(env, "TASKIFACE_ID", task->request.id);
	strings_set(env, "TASKIFACE_INPUT_PIPE", task->pipes.input_path);
	strings_set(env, "TASKIFACE_OUTPUT_PIPE", task->pipes.output_path);
	strings_set(env, "TASKIFACE_PROGRESS_PIPE", task->pipes.progress_path);
	strings_set(env, "TASKIFACE_ENCODING",
		task->request.encoding == WIRE_JSON ? "json" : "msgpack");
	strings_set_number(env, "TASKIFACE_ATTEMPT", task->attempt);
	strings_set_number(
		env, "TASKIFACE_GRACE_MS", engine->options.config->limits.grace_us / 1000);
	if (task->timeout_us)
		strings_set_number(env, "TASKIFACE_TIMEOUT_MS", task->timeout_us / 1000);
	strings_set(env, TREE_MARK, task->mark);
}

/* ---- starting ---- */

static int make_pipes(struct task *task)
{
	const struct engine *engine = task->engine;
	int r = pipes_open(&task->pipes, engine->options.run_directory, task->request.id,
		engine_count(engine) > MANY_TASKS);
	if (r < 0)
		return r;
	task->ends_open = PIPE_ENDS;
	task->output.max = engine->options.config->limits.output;
	task->progress = progress_reader_new(engine->options.config->limits.progress_record);
	tail_init(&task->text[0], engine->options.config->limits.stdout_tail);
	tail_init(&task->text[1], engine->options.config->limits.stderr_tail);
	return task->progress ? 0 : -ENOMEM;
}

static const char *working_directory(const struct task *task)
{
	const char *configured = task->launch.program->directory;
	if (configured)
		return configured;
	/* The ancestor ran its tasks where it stood itself. */
	return task->engine->options.config->terarium ? "." : task->pipes.directory;
}

/* The kernel counts a program's peak memory from that of the process it came from, ours. After a
 * large input or output ours is lowered to what it is now. */
static void forget_own_peak(struct engine *engine)
{
	if (!engine->had_large)
		return;
	engine->had_large = false;
	cleanup_close int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "5", 1) != 1)
		log_debug("engine.peak-kept", LOG_ERRNO(errno));
}

static int spawn_program(struct task *task, int group)
{
	struct strings argv, env;
	struct spawn_result result = { 0 };
	make_argv(&argv, task);
	make_environ(&env, task);
	const struct spawn_request request = {
		.path = task->launch.path,
		.argv = argv.list,
		.environ = env.list,
		.directory = working_directory(task),
		.stdin_fd = task->engine->null_fd,
		.stdout_fd = task->pipes.child_fd[0],
		.stderr_fd = task->pipes.child_fd[1],
		.group = group,
	};
	forget_own_peak(task->engine);
	int r = argv.failed || env.failed ? -ENOMEM : spawn(&request, &result);
	strings_deinit(&argv);
	strings_deinit(&env);
	task->spawn_stage = result.stage;
	if (r == 0)
		task->pid = result.pid;
	if (r < 0 || result.group_error)
		task_leave_group(task, r < 0 ? 0 : result.group_error);
	return r;
}

static int spawn_in_group(struct task *task)
{
	int group = task_make_group(task);
	int r = group < 0 ? group : spawn_program(task, group);
	if (group > 0)
		close_fd(group);
	return r;
}

static void undo_start(struct task *task)
{
	task_unlisten(task);
	task_unwatch(task);
	task->progress = progress_reader_free(task->progress);
	pipes_close(&task->pipes);
}

static int not_started(struct task *task, int error)
{
	task->spawn_error = -error;
	undo_start(task);
	if (spawn_error_is_hosts(error))
		return TASK_ON_NO_ROOM;
	task->cause = CAUSE_EXEC_FAILED;
	return TASK_ON_NOT_SPAWNED;
}

/* A number is given again only when nobody bears it any more: a task whose program had it before,
 * and which still drains or clears, has neither program nor group left to be found by it. */
static void take_pid(struct task *task)
{
	struct engine *engine = task->engine;
	struct task *before;
	HASH_FIND(hh_pid, engine->by_pid, &task->pid, sizeof(task->pid), before);
	if (before) {
		HASH_DELETE(hh_pid, engine->by_pid, before);
		before->pid_is_gone = true;
	}
	HASH_ADD(hh_pid, engine->by_pid, pid, sizeof(task->pid), task);
}

static int do_start(struct task *task)
{
	task->spawn_stage = SPAWN_PIPES;
	int r = make_pipes(task);
	if (r == 0)
		r = task_listen(task);
	if (r < 0)
		return not_started(task, r);
	task_watch(task);
	task->had_large_input = task->request.input.len > LARGE;
	/* What fits into the pipe is there before the program is: most inputs are written by this.
	 */
	task_write_input(task);
	r = spawn_in_group(task);
	if (r < 0)
		return not_started(task, r);
	pipes_close_childs(&task->pipes);
	take_pid(task);
	return TASK_ON_SPAWNED;
}

static int do_retry(struct task *task)
{
	if (task->tries == 0)
		log_warn("task.no-room", LOG_S("task", task->request.id),
			LOG_ERRNO(task->spawn_error), LOG_S("proceeding", "it is tried again"));
	task_set_timer(task, clock_now_us() + backoff(task->tries++, RETRY_MIN_US, RETRY_MAX_US));
	return NO_EVENT;
}

/* ---- running ---- */

static void arm_limits(struct task *task)
{
	uint64_t at = UINT64_MAX;
	uint64_t silence = task->launch.program->silence_timeout_us;
	if (task->timeout_us)
		at = task->started_us + task->paused_us + task->timeout_us;
	if (silence)
		at = least(at, task->last_progress_us + silence);
	if (at != UINT64_MAX)
		task_set_timer(task, at);
}

static int do_announce(struct task *task)
{
	const struct engine_front *front = &task->engine->front;
	task->started_us = task->last_progress_us = clock_now_us();
	task->oom_kills = engine_oom_kills(task->engine, false);
	engine_memory_watch(task->engine);
	arm_limits(task);
	front->on_running(front->userdata, task);
	return NO_EVENT;
}

static int do_check(struct task *task)
{
	uint64_t now = clock_now_us();
	uint64_t silence = task->launch.program->silence_timeout_us;
	/* Progress that we do not read for want of room is not silence. */
	if (task->engine->relay_paused)
		task->last_progress_us = now;
	if (task->timeout_us && task_running_us(task) >= task->timeout_us)
		task->cause = CAUSE_TIMED_OUT;
	else if (silence && now >= task->last_progress_us + silence)
		task->cause = CAUSE_SILENT;
	if (task->cause)
		return TASK_ON_STOP;
	arm_limits(task);
	return NO_EVENT;
}

/* ---- pausing ---- */

/* The clocks of the time limits stand still. */
static void stop_clocks(struct task *task)
{
	task->paused_since_us = clock_now_us();
	task_set_timer(task, UINT64_MAX);
}

static void start_clocks(struct task *task)
{
	/* Its end may have come a little before we hear of it. */
	uint64_t now = task->ended_us ? task->ended_us : clock_now_us();
	uint64_t since = task->paused_since_us;
	if (!since)
		return;
	/* What was in the pipe may have been read meanwhile: no silence before the pause. */
	task->last_progress_us =
		task->last_progress_us < since ? task->last_progress_us + (now - since) : now;
	task->paused_us += now - since;
	task->paused_since_us = 0;
}

static int do_pause(struct task *task)
{
	const struct engine_front *front = &task->engine->front;
	stop_clocks(task);
	task_hold(task);
	if (front->on_paused)
		front->on_paused(front->userdata, task);
	return NO_EVENT;
}

static int do_resume(struct task *task)
{
	const struct engine_front *front = &task->engine->front;
	start_clocks(task);
	arm_limits(task);
	task_let_go(task);
	if (front->on_resumed)
		front->on_resumed(front->userdata, task);
	return NO_EVENT;
}

/* It is to go on, to its end. */
static void end_pause(struct task *task)
{
	if (!task->paused_since_us)
		return;
	start_clocks(task);
	task_let_go(task);
}

/* ---- ending ---- */

static void tell_ending(struct task *task)
{
	const struct engine_front *front = &task->engine->front;
	if (front->on_ending)
		front->on_ending(front->userdata, task, task->cause);
}

static int do_terminate(struct task *task)
{
	const struct engine *engine = task->engine;
	/* The same whatever the cause: the program was told it when it started. */
	task->grace_until_us = clock_now_us() + engine->options.config->limits.grace_us;
	task_set_timer(task, task->grace_until_us);
	if (task->cause == CAUSE_CANCELLED)
		engine->front.on_cancelling(engine->front.userdata, task);
	tell_ending(task);
	task_pause_relay(task, engine->relay_paused);
	tree_signal_group(task->pid, SIGTERM);
	/* A stopped process would not see it. */
	tree_signal_group(task->pid, SIGCONT);
	end_pause(task);
	return NO_EVENT;
}

static int do_kill(struct task *task)
{
	start_clocks(task);
	tree_signal_group(task->pid, SIGKILL);
	tell_ending(task);
	return NO_EVENT;
}

static int drain_end(struct task *task, enum pipe_end end)
{
	if (task->pipes.read_fd[end] < 0)
		return NO_EVENT;
	if (end != PIPE_PROGRESS || !task->engine->relay_paused)
		return task_read_end(task, end);
	/* What a task that was stopped still had to report is not waited for. */
	return task->cause ? task_give_up_progress(task) : NO_EVENT;
}

static int do_drain(struct task *task)
{
	uint64_t now = clock_now_us();
	/* Killed by somebody else: what it left is drained like that of any other. */
	end_pause(task);
	pipes_close_keepers(&task->pipes);
	for (int end = 0; end < PIPE_ENDS; end++) {
		int event = drain_end(task, end);
		if (event != NO_EVENT)
			return event;
	}
	task_set_timer(task, task->cause ? task->grace_until_us
					 : now + task->engine->options.config->limits.drain_us);
	return NO_EVENT;
}

static int do_clear(struct task *task)
{
	uint64_t now = clock_now_us();
	if (!task->clearing_since_us) {
		task->clearing_since_us = now;
		task->tries = 0;
	}
	int left = task_kill_tree(task);
	if (left == 0)
		return TASK_ON_EMPTY;
	if (now - task->clearing_since_us > CLEAR_GIVE_UP) {
		log_error("task.tree-not-gone", LOG_S("task", task->request.id),
			LOG_I("pid", task->pid), LOG_I("left", left),
			LOG_S("proceeding", "it is not waited for"));
		return TASK_ON_EMPTY;
	}
	task_set_timer(task, now + backoff(task->tries++, CLEAR_MIN_US, CLEAR_MAX_US));
	return NO_EVENT;
}

/* What is still in the pipes: of a killed program, or of what it left behind. */
static void read_last_words(struct task *task)
{
	for (int end = 0; end < PIPE_ENDS; end++)
		if (task->pipes.read_fd[end] >= 0 &&
			(end != PIPE_PROGRESS || !task->engine->relay_paused))
			task_read_end(task, end);
	if (!task->cause)
		task_end_progress(task);
}

/* A group with the memory controller tells of this task alone. */
static bool memory_ran_out(const struct task *task)
{
	return task->exited && WIFSIGNALED(task->wait_status) &&
	       WTERMSIG(task->wait_status) == SIGKILL &&
	       (task->group_knows_memory ? task->group_oom_kills > 0
					 : engine_oom_kills(task->engine, true) > task->oom_kills);
}

static void judge(struct task *task, struct outcome *ret)
{
	struct engine *engine = task->engine;
	const struct evidence evidence = {
		.program = task->request.script,
		.cause = task->cause,
		.spawn = { task->spawn_error, task->spawn_stage, task->launch.path },
		.ran = task->exited,
		.wait_status = task->wait_status,
		.memory_ran_out = memory_ran_out(task),
		.failure = task->failure,
		.timeout_us = task->timeout_us,
		.silence_us = task->launch.program->silence_timeout_us,
		.output_max = engine->options.config->limits.output,
		.progress_max = engine->options.config->limits.progress_record,
	};
	outcome_judge(&evidence, ret);
	ret->wall_us = task->started_us ? task->ended_us - task->started_us : 0;
	ret->cpu_us = task_cpu_us(task);
	ret->peak_memory = task->peak_memory;
}

static int do_finish(struct task *task)
{
	const struct engine_front *front = &task->engine->front;
	struct outcome outcome;
	read_last_words(task);
	judge(task, &outcome);
	/* Gone before it is told: who has the final response finds nothing left of the task. */
	task_unlisten(task);
	task_unwatch(task);
	pipes_close(&task->pipes);
	struct slice output = { 0 };
	if (outcome.status == STATUS_SUCCESS)
		output = (struct slice){ task->output.data ? task->output.data : "",
			task->output.len };
	if (task->output.cap > LARGE || task->had_large_input)
		task->engine->had_large = true;
	task_release_slot(task);
	front->on_final(front->userdata, task, &outcome, output);
	task_free(task);
	return NO_EVENT;
}

static int do_nothing(struct task *task)
{
	(void)task;
	return NO_EVENT;
}

int task_act(struct task *task, enum task_action action)
{
	static int (*const actions[])(struct task *) = {
		[TASK_DO_NOTHING] = do_nothing,
		[TASK_DO_START] = do_start,
		[TASK_DO_RETRY] = do_retry,
		[TASK_DO_ANNOUNCE] = do_announce,
		[TASK_DO_CHECK] = do_check,
		[TASK_DO_PAUSE] = do_pause,
		[TASK_DO_RESUME] = do_resume,
		[TASK_DO_TERMINATE] = do_terminate,
		[TASK_DO_KILL] = do_kill,
		[TASK_DO_DRAIN] = do_drain,
		[TASK_DO_CLEAR] = do_clear,
		[TASK_DO_FINISH] = do_finish,
	};
	return actions[action](task);
}
