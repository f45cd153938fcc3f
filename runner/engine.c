/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/engine.h"

#include <assert.h>
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

/* How many children are reaped before others get their turn. */
#define REAP_TURNS 256

/* ---- the table at work ---- */

void task_dispatch(struct task *task, int event)
{
	while (event != NO_EVENT) {
		struct task_step step = task_step(task->state, (enum task_event)event);
		if (step.next != task->state)
			log_debug("task.state", LOG_S("task", task->request.id),
				LOG_S("from", task_state_name(task->state)),
				LOG_S("on", task_event_name((enum task_event)event)),
				LOG_S("to", task_state_name(step.next)));
		task->state = step.next;
		/* After TASK_DO_FINISH the task is gone, and no event follows. */
		event = task_act(task, step.action);
	}
}

static int on_timer(sd_event_source *source, uint64_t now, void *userdata)
{
	struct task *task = userdata;
	(void)source;
	/* Pipes that we do not read ourselves cannot come to their end. Of a task that was stopped,
	 * nobody waits for the rest. */
	if (task->state == TASK_DRAINING && !task->cause && task->engine->relay_paused)
		task_set_timer(task, now + task->engine->options.config->limits.drain_us);
	else
		task_dispatch(task, TASK_ON_TIMER);
	return 0;
}

void task_set_timer(struct task *task, uint64_t at_us)
{
	int r;
	if (!task->timer)
		r = sd_event_add_time(task->engine->loop, &task->timer, CLOCK_BOOTTIME, at_us, 1000,
			on_timer, task);
	else if ((r = sd_event_source_set_time(task->timer, at_us)) >= 0)
		r = sd_event_source_set_enabled(task->timer, SD_EVENT_ONESHOT);
	if (r < 0)
		log_error("task.no-timer", LOG_S("task", task->request.id), LOG_ERRNO(r));
}

/* ---- children ---- */

void task_add_usage(struct task *task, const struct rusage *usage)
{
	task->cpu_us += (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
			(uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
	uint64_t peak = (uint64_t)usage->ru_maxrss * 1024;
	if (peak > task->peak_memory)
		task->peak_memory = peak;
}

static struct task *find_by_pid(struct engine *engine, pid_t pid)
{
	struct task *task;
	HASH_FIND(hh_pid, engine->by_pid, &pid, sizeof(pid), task);
	return task;
}

static bool reap_one(struct engine *engine)
{
	siginfo_t info = { 0 };
	struct rusage usage;
	int status;
	/* A look first: the session of a stray tells whose it was, and is gone with it. */
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
		return false;
	struct task *task = find_by_pid(engine, info.si_pid);
	struct task *owner = task ? task : find_by_pid(engine, getsid(info.si_pid));
	if (wait4(info.si_pid, &status, WNOHANG, &usage) != info.si_pid)
		return false;
	if (owner)
		task_add_usage(owner, &usage);
	if (task && !task->exited) {
		task->exited = true;
		task->pid_is_gone = !tree_signal_group(task->pid, 0);
		task->wait_status = status;
		task->ended_us = clock_now_us();
		task_dispatch(task, TASK_ON_EXITED);
	}
	return true;
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	(void)source;
	(void)info;
	/* One signal may stand for many children. */
	for (int turn = 0; turn < REAP_TURNS; turn++)
		if (!reap_one(userdata))
			return 0;
	raise(SIGCHLD); /* blocked: it brings us back here, after others had their turn */
	return 0;
}

uint64_t engine_oom_kills(struct engine *engine, bool exactly)
{
	uint64_t now = clock_now_us();
	if (exactly || !engine->oom_looked_us || now - engine->oom_looked_us >= SECOND) {
		engine->oom_kills = cgroup_read_oom_kills(engine->oom_fd);
		engine->oom_looked_us = now;
	}
	return engine->oom_kills;
}

/* ---- life of the engine ---- */

/* What concerns the runner alone, and above all its secrets, is not for its programs. */
static bool is_for_programs(const char *variable)
{
	static const char *const ours[] = { "TASKRUNNER_", "TERARIUM_MQ_", "TASKIFACE_",
		"NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_", "RUNTIME_DIRECTORY=" };
	if (strncmp(variable, "TASKRUNNER_DEBUG=", 17) == 0)
		return true;
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		if (strncmp(variable, ours[i], strlen(ours[i])) == 0)
			return false;
	return true;
}

static int copy_environ(struct engine *engine)
{
	size_t n = 0;
	for (char **at = environ; *at; at++)
		n++;
	engine->environ = calloc(n + 1, sizeof(char *));
	if (!engine->environ)
		return -ENOMEM;
	n = 0;
	for (char **at = environ; *at; at++)
		if (is_for_programs(*at) && !(engine->environ[n++] = strdup(*at)))
			return -ENOMEM;
	return 0;
}

static int add_sources(struct engine *engine)
{
	int r = sd_event_add_signal(engine->loop, &engine->child_source, SIGCHLD, on_child, engine);
	if (r < 0)
		return r;
	r = engine_slots_init(engine);
	if (r >= 0)
		r = engine_memory_init(engine);
	if (r >= 0)
		r = engine_tend_init(engine);
	return r < 0 ? r : engine_watch_init(engine);
}

int engine_new(sd_event *loop, const struct engine_options *options,
	const struct engine_front *front, struct engine **ret)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	*engine = (struct engine){
		.loop = sd_event_ref(loop),
		.options = *options,
		.front = *front,
		.inotify_fd = -1,
		.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
		.groups = CGROUP_NONE,
		.oom_fd = cgroup_open_oom_kills(),
	};
	int r = engine->null_fd < 0 ? -errno : copy_environ(engine);
	if (r == 0)
		r = tree_become_subreaper();
	if (r == 0)
		r = add_sources(engine);
	if (r < 0) {
		engine_free(engine);
		return r;
	}
	engine_make_groups(engine);
	*ret = engine;
	return 0;
}

struct engine *engine_free(struct engine *engine)
{
	if (!engine)
		return NULL;
	assert(!engine->by_id);
	engine_slots_deinit(engine);
	sd_event_source_unref(engine->child_source);
	sd_event_source_unref(engine->inotify_source);
	sd_event_source_unref(engine->poll_source);
	sd_event_source_unref(engine->memory_source);
	sd_event_source_unref(engine->tend_source);
	cgroup_close(&engine->groups);
	close_fd(engine->null_fd);
	if (engine->oom_fd >= 0)
		close_fd(engine->oom_fd);
	close_fd(engine->inotify_fd);
	for (char **at = engine->environ; at && *at; at++)
		free(*at);
	free(engine->environ);
	sd_event_unref(engine->loop);
	free(engine);
	return NULL;
}

/* ---- tasks ---- */

/* A request may ask for less than what is configured, not for more; but under terarium the general
 * limit is only what holds where a request names none, as it was there. */
static uint64_t effective_timeout(const struct engine *engine, const struct task *task)
{
	const struct config *config = engine->options.config;
	uint64_t asked = task->request.timeout_ms * 1000;
	uint64_t entry = task->launch.program->timeout_us;
	uint64_t most = entry ? entry : config->limits.timeout_us;
	if (!asked)
		return most;
	if (!most || (!entry && config->terarium))
		return asked;
	return asked < most ? asked : most;
}

static struct task *task_new(
	struct engine *engine, struct request *request, struct launch *launch, void *front_data)
{
	struct task *task = calloc(1, sizeof(*task));
	if (!task)
		return NULL;
	task->engine = engine;
	task->request = *request;
	task->launch = *launch;
	/* An entry that stands for a file lives in the launch, which has just moved. */
	if (launch->program == &launch->found)
		task->launch.program = &task->launch.found;
	*request = (struct request){ 0 };
	*launch = (struct launch){ 0 };
	task->front_data = front_data;
	task->pipes = PIPES_NONE;
	task->input_watch = task->progress_watch = -1;
	task->timeout_us = effective_timeout(engine, task);
	task->serial = ++engine->last_serial;
	snprintf(task->mark, sizeof(task->mark), "%s/%llu", engine->options.instance,
		(unsigned long long)task->serial);
	return task;
}

int engine_submit(struct engine *engine, struct request *request, struct launch *launch,
	unsigned attempt, void *front_data)
{
	if (engine_find(engine, request->id))
		return -EEXIST;
	struct cap **caps = engine_find_caps(engine, request, launch->program);
	struct task *task = caps ? task_new(engine, request, launch, front_data) : NULL;
	if (!task) {
		engine_drop_caps(engine, caps);
		return -ENOMEM;
	}
	HASH_ADD_KEYPTR(hh_id, engine->by_id, task->request.id, strlen(task->request.id), task);
	task->attempt = attempt;
	task->caps = caps;
	task_start_in_turn(task);
	return 0;
}

void task_free(struct task *task)
{
	struct engine *engine = task->engine;
	HASH_DELETE(hh_id, engine->by_id, task);
	if (task->pid && find_by_pid(engine, task->pid) == task)
		HASH_DELETE(hh_pid, engine->by_pid, task);
	sd_event_source_unref(task->timer);
	progress_reader_free(task->progress);
	buf_deinit(&task->output);
	buf_deinit(&task->last_record);
	progress_report_deinit(&task->last_report);
	tail_deinit(&task->text[0]);
	tail_deinit(&task->text[1]);
	free(task->failure);
	request_deinit(&task->request);
	launch_deinit(&task->launch);
	free(task);
}

struct task *engine_find(struct engine *engine, const char *id)
{
	struct task *task;
	HASH_FIND(hh_id, engine->by_id, id, strlen(id), task);
	return task;
}

size_t engine_count(const struct engine *engine)
{
	return HASH_CNT(hh_id, engine->by_id);
}

/* Nothing ends it yet. */
static bool can_be_stopped(const struct task *task)
{
	return task->state == TASK_WAITING || task->state == TASK_RUNNING ||
	       task->state == TASK_PAUSED;
}

bool engine_stop(struct engine *engine, struct task *task, enum cause cause)
{
	(void)engine;
	if (task->state == TASK_STOPPING || task->state == TASK_KILLING)
		return task->cause == cause;
	if (!can_be_stopped(task))
		return false;
	task->cause = cause;
	task_dispatch(task, TASK_ON_STOP);
	return true;
}

void engine_kill(struct task *task, enum cause cause)
{
	if (can_be_stopped(task))
		task->cause = cause;
	task_dispatch(task, TASK_ON_KILL);
}

void engine_stop_all(struct engine *engine, enum cause cause, bool at_once)
{
	struct task *task, *tmp;
	HASH_ITER (hh_id, engine->by_id, task, tmp) {
		if (can_be_stopped(task))
			task->cause = cause;
		task_dispatch(task, at_once ? TASK_ON_KILL : TASK_ON_STOP);
	}
}

void engine_stop_waiting(struct engine *engine, enum cause cause)
{
	struct task *task, *tmp;
	HASH_ITER (hh_id, engine->by_id, task, tmp)
		if (task->state == TASK_WAITING)
			engine_stop(engine, task, cause);
}

static bool has_program(const struct task *task)
{
	return task->state == TASK_RUNNING || task->state == TASK_PAUSED;
}

bool engine_pause(struct engine *engine, struct task *task)
{
	(void)engine;
	if (!has_program(task))
		return false;
	task_dispatch(task, TASK_ON_PAUSE);
	return true;
}

bool engine_resume(struct engine *engine, struct task *task)
{
	(void)engine;
	if (!has_program(task))
		return false;
	task_dispatch(task, TASK_ON_RESUME);
	return true;
}

/* A paused program would go on, but for its control group, and its clocks would not. */
bool engine_signal(struct task *task, int signal)
{
	if (!has_program(task) || signal < 1 || signal > SIGRTMAX)
		return false;
	if (task->state == TASK_PAUSED && signal == SIGCONT)
		return false;
	return kill(-task->pid, signal) == 0;
}

void engine_pause_relay(struct engine *engine, bool paused)
{
	struct task *task, *tmp;
	if (engine->relay_paused == paused)
		return;
	engine->relay_paused = paused;
	HASH_ITER (hh_id, engine->by_id, task, tmp)
		task_pause_relay(task, paused);
}

const struct request *task_request(const struct task *task)
{
	return &task->request;
}

const struct program *task_program(const struct task *task)
{
	return task->launch.program;
}

void *task_front_data(const struct task *task)
{
	return task->front_data;
}

pid_t task_pid(const struct task *task)
{
	return task->pid;
}

uint64_t task_running_us(const struct task *task)
{
	uint64_t until = task->ended_us          ? task->ended_us
			 : task->paused_since_us ? task->paused_since_us
						 : clock_now_us();
	return until - task->started_us - task->paused_us;
}

int task_text(const struct task *task, enum pipe_end end, struct buf *out)
{
	assert(end == PIPE_STDOUT || end == PIPE_STDERR);
	return tail_copy(&task->text[end - PIPE_STDOUT], out);
}
