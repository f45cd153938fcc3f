/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/engine_fixture.h"

#include <dirent.h>

#include "common/clock.h"
#include "runner/cgroup.h"
#include "runner/spawn.h"
#include "tests/unit/roles.h"

/* ---- what the engine tells ---- */

/* No assertions here: cmocka would jump out of the loop. */
static struct seen *seen_of(struct task *task)
{
	return task_front_data(task);
}

static void on_running(void *userdata, struct task *task)
{
	struct world *w = userdata;
	struct seen *seen = seen_of(task);
	seen->task = task;
	seen->pid = task_pid(task);
	seen->n_running++;
	w->n_running++;
	if (++w->running_now > w->running_most)
		w->running_most = w->running_now;
	if (w->on_running)
		w->on_running(w, seen);
}

static void on_progress(
	void *userdata, struct task *task, struct slice record, enum progress_kind kind)
{
	struct world *w = userdata;
	struct seen *seen = seen_of(task);
	(void)kind;
	seen->n_progress++;
	/* Bounded: some programs flood. */
	if (seen->progress.len < 16 << 20) {
		buf_append(&seen->progress, record.data, record.len);
		buf_append(&seen->progress, "\n", 1);
	}
	if (w->on_progress)
		w->on_progress(w, seen);
}

static void on_text(void *userdata, struct task *task, enum pipe_end end, struct slice text)
{
	struct world *w = userdata;
	struct seen *seen = seen_of(task);
	/* Bounded: some programs flood. */
	if (seen->text[end - PIPE_STDOUT].len < 1 << 20)
		buf_append(&seen->text[end - PIPE_STDOUT], text.data, text.len);
	if (w->on_text)
		w->on_text(w, seen);
}

static void on_cancelling(void *userdata, struct task *task)
{
	struct world *w = userdata;
	struct seen *seen = seen_of(task);
	seen->n_cancelling++;
	if (w->on_cancelling)
		w->on_cancelling(w, seen);
}

static void on_paused(void *userdata, struct task *task)
{
	struct world *w = userdata;
	struct seen *seen = seen_of(task);
	seen->n_paused++;
	if (w->on_paused)
		w->on_paused(w, seen);
}

static void on_resumed(void *userdata, struct task *task)
{
	struct world *w = userdata;
	struct seen *seen = seen_of(task);
	seen->n_resumed++;
	if (w->on_resumed)
		w->on_resumed(w, seen);
}

static void on_final(
	void *userdata, struct task *task, const struct outcome *outcome, struct slice output)
{
	struct world *w = userdata;
	struct seen *seen = seen_of(task);
	seen->n_final++;
	seen->task = NULL;
	seen->outcome = *outcome;
	seen->has_output = output.data != NULL;
	buf_append(&seen->output, output.data, output.len);
	w->n_final++;
	if (seen->n_running)
		w->running_now--;
	if (w->on_final)
		w->on_final(w, seen);
}

/* ---- the world ---- */

struct world *world_prepare(void)
{
	static unsigned serial;
	struct world *w = calloc(1, sizeof(*w));
	assert_non_null(w);
	w->n_fds = count_fds();
	strcpy(w->directory, "/tmp/test-engine-XXXXXX");
	assert_non_null(mkdtemp(w->directory));
	snprintf(w->instance, sizeof(w->instance), "t%d-%u", (int)getpid(), ++serial);
	w->config.limits.grace_us = 10 * 1000000;
	w->config.limits.drain_us = 5 * 1000000;
	w->config.limits.input = w->config.limits.output = 64 << 20;
	w->config.limits.progress_record = 1 << 20;
	w->config.limits.stdout_tail = w->config.limits.stderr_tail = 64 << 10;
	return w;
}

void world_start(struct world *w)
{
	const struct engine_options options = {
		.config = &w->config,
		.run_directory = w->directory,
		.instance = w->instance,
	};
	const struct engine_front front = {
		.on_running = on_running,
		.on_progress = on_progress,
		.on_text = on_text,
		.on_cancelling = on_cancelling,
		.on_paused = on_paused,
		.on_resumed = on_resumed,
		.on_final = on_final,
		.userdata = w,
	};
	assert_true(sd_event_new(&w->loop) >= 0);
	assert_int_equal(engine_new(w->loop, &options, &front, &w->engine), 0);
}

int world_open(void **state)
{
	struct world *w = world_prepare();
	world_start(w);
	*state = w;
	return 0;
}

int world_open_bare(void **state)
{
	struct world *w = world_prepare();
	w->config.no_cgroups = true;
	world_start(w);
	*state = w;
	return 0;
}

bool try_find_group(const char *instance, char *ret, size_t size, struct error *err)
{
	struct cgroup probe;
	if (cgroup_open(&probe, "probe", err) < 0)
		return false;
	snprintf(ret, size, "%.*s-%s", (int)(strlen(probe.directory) - strlen("-probe")),
		probe.directory, instance);
	cgroup_close(&probe);
	return true;
}

void find_group(const char *instance, char *ret, size_t size)
{
	struct error err = { 0 };
	if (!try_find_group(instance, ret, size, &err))
		fail_msg("this test needs a control group of version 2 (be root; in a container, "
			 "one that may write to /sys/fs/cgroup): %s",
			err.text);
}

static unsigned count_groups(struct world *w)
{
	char path[512];
	struct stat st;
	unsigned n = 0;
	DIR *dir = try_find_group(w->instance, path, sizeof(path), NULL) ? opendir(path) : NULL;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		n += entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
		     S_ISDIR(st.st_mode);
	if (dir)
		closedir(dir);
	return n;
}

static void seen_free(struct seen *seen)
{
	buf_deinit(&seen->progress);
	buf_deinit(&seen->text[0]);
	buf_deinit(&seen->text[1]);
	buf_deinit(&seen->output);
	free(seen->program.name);
	free(seen);
}

static void assert_nothing_left(struct world *w)
{
	char mark[64];
	snprintf(mark, sizeof(mark), "TASKRUNNER_TASK=%s/", w->instance);
	assert_int_equal(count_processes_with(mark), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(count_entries(w->directory), 0);
	assert_int_equal(count_fds(), w->n_fds);
	for (struct seen *seen = w->tasks; seen; seen = seen->next)
		assert_int_equal(seen->n_final, 1);
}

int world_close(void **state)
{
	struct world *w = *state;
	/* Only after a test that failed is there anything to end. */
	bool failed = engine_count(w->engine) > 0;
	w->on_running = w->on_progress = w->on_text = w->on_cancelling = w->on_final =
		w->on_paused = w->on_resumed = NULL;
	engine_pause_relay(w->engine, false);
	if (failed) {
		engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, true);
		run_until_all_final(w);
	}
	unsigned n_groups = count_groups(w);
	engine_free(w->engine);
	sd_event_unref(w->loop);
	if (!failed)
		assert_nothing_left(w);
	assert_int_equal(n_groups, 0);
	assert_int_equal(rmdir(w->directory), 0);
	for (struct seen *next; w->tasks; w->tasks = next) {
		next = w->tasks->next;
		seen_free(w->tasks);
	}
	free(w);
	return 0;
}

/* ---- submitting ---- */

static const char *fill_argv(struct seen *seen, const struct job *job)
{
	int n = 0;
	if (job->sh) {
		seen->argv[n++] = (char *)"/bin/sh";
		seen->argv[n++] = (char *)"-c";
		seen->argv[n++] = (char *)job->sh;
		seen->argv[n++] = (char *)"sh";
	} else if (job->role[0]) {
		seen->argv[n++] = (char *)roles_self();
		seen->argv[n++] = (char *)"role";
		for (int i = 0; i < 8 && job->role[i]; i++)
			seen->argv[n++] = (char *)job->role[i];
	} else {
		seen->argv[n++] = (char *)job->path;
	}
	return seen->argv[0];
}

static struct seen *seen_new(struct world *w, const struct job *job, struct launch *launch)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	assert_non_null(seen);
	if (job->id)
		snprintf(seen->id, sizeof(seen->id), "%s", job->id);
	else
		snprintf(seen->id, sizeof(seen->id), "task-%u", w->n_jobs++);
	launch->path = strdup(fill_argv(seen, job));
	launch->program = &seen->program;
	launch->rank = job->rank;
	seen->program = (struct program){
		.name = strdup(job->name ? job->name : seen->id),
		.argv = seen->argv,
		.directory = (char *)job->directory,
		.environment = job->environment,
		.silence_timeout_us = job->silence_ms * 1000,
		.slots = job->slots,
		.labels = job->program_labels,
		.pipe_arguments = job->pipe_arguments,
	};
	assert_non_null(launch->path);
	assert_non_null(seen->program.name);
	return seen;
}

int try_submit(struct world *w, const struct job *job, struct seen **ret)
{
	struct launch launch = { 0 };
	struct seen *seen = seen_new(w, job, &launch);
	struct request request = {
		.id = strdup(seen->id),
		.script = strdup(seen->program.name),
		.timeout_ms = job->timeout_ms,
		.labels = job->labels ? strdup(job->labels) : NULL,
	};
	assert_int_equal(buf_append(&request.input, job->input.data, job->input.len), 0);
	int r = engine_submit(w->engine, &request, &launch, 1, seen);
	if (r < 0) {
		assert_string_equal(request.id, seen->id); /* still ours */
		request_deinit(&request);
		launch_deinit(&launch);
		seen_free(seen);
		return r;
	}
	assert_null(request.id);
	assert_null(launch.path);
	seen->next = w->tasks;
	w->tasks = seen;
	w->n_tasks++;
	if (!seen->n_final)
		seen->task = engine_find(w->engine, seen->id);
	*ret = seen;
	return 0;
}

struct seen *submit(struct world *w, const struct job *job)
{
	struct seen *seen = NULL;
	assert_int_equal(try_submit(w, job, &seen), 0);
	return seen;
}

struct seen *submit_sh(struct world *w, const char *script)
{
	return submit(w, &(struct job){ .sh = script });
}

/* ---- running the loop ---- */

void run_until(struct world *w, bool (*is_so)(void *data), void *data)
{
	uint64_t deadline = clock_now_us() + SOON_MS * 1000ULL;
	while (!is_so(data)) {
		assert_true(sd_event_run(w->loop, 100000) >= 0);
		if (clock_now_us() > deadline)
			fail_msg("it did not come about in %d s", SOON_MS / 1000);
	}
}

static bool is_final(void *seen)
{
	return ((struct seen *)seen)->n_final > 0;
}

void run_until_final(struct world *w, struct seen *seen)
{
	run_until(w, is_final, seen);
}

struct awaited {
	struct seen *seen;
	unsigned n;
};

static bool has_progress(void *data)
{
	struct awaited *awaited = data;
	return awaited->seen->n_progress >= awaited->n || awaited->seen->n_final;
}

void run_until_progress(struct world *w, struct seen *seen, unsigned n)
{
	run_until(w, has_progress, &(struct awaited){ seen, n });
	if (seen->n_progress < n)
		fail_msg("it ended after %u of %u records: %s", seen->n_progress, n,
			seen->outcome.text);
}

static bool is_empty(void *data)
{
	return engine_count(((struct world *)data)->engine) == 0;
}

void run_until_all_final(struct world *w)
{
	run_until(w, is_empty, w);
}

void run_for_ms(struct world *w, unsigned ms)
{
	uint64_t end = clock_now_us() + ms * 1000ULL;
	for (uint64_t now; (now = clock_now_us()) < end;)
		assert_true(sd_event_run(w->loop, end - now) >= 0);
}

void expect_success(struct world *w, struct seen *seen, const char *output)
{
	run_until_final(w, seen);
	assert_string_equal(seen->outcome.text, "");
	assert_int_equal(seen->outcome.status, STATUS_SUCCESS);
	assert_int_equal(seen->outcome.cause, CAUSE_NONE);
	assert_int_equal(seen->outcome.exit_code, 0);
	assert_int_equal(seen->n_running, 1);
	assert_true(seen->has_output);
	if (!output)
		return;
	buf_append(&seen->output, "", 1);
	assert_string_equal(seen->output.data, output);
}

void expect_failure(struct world *w, struct seen *seen, enum cause cause, const char *text)
{
	run_until_final(w, seen);
	if (!strstr(seen->outcome.text, text))
		fail_msg("'%s' is not in '%s'", text, seen->outcome.text);
	assert_int_equal(
		seen->outcome.status, cause == CAUSE_CANCELLED ? STATUS_CANCELLED : STATUS_FAILED);
	assert_int_equal(seen->outcome.cause, cause);
	assert_false(seen->has_output);
}

/* ---- looking around ---- */

unsigned count_entries(const char *directory)
{
	DIR *dir = opendir(directory);
	unsigned n = 0;
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

unsigned count_fds(void)
{
	return count_entries("/proc/self/fd");
}

static bool process_has(const char *pid, const char *text)
{
	char path[300];
	static char environment[256 << 10];
	snprintf(path, sizeof(path), "/proc/%s/environ", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = 0, n;
	if (fd < 0)
		return false;
	while ((n = read(fd, environment + len, sizeof(environment) - (size_t)len)) > 0)
		len += n;
	close(fd);
	return memmem(environment, (size_t)len, text, strlen(text)) != NULL;
}

unsigned count_processes_with(const char *text)
{
	DIR *proc = opendir("/proc");
	unsigned n = 0;
	assert_non_null(proc);
	for (struct dirent *entry; (entry = readdir(proc));)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			n += process_has(entry->d_name, text);
	closedir(proc);
	return n;
}

char process_state(pid_t pid)
{
	char path[64], line[512], *state;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	bool read = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	state = read ? strrchr(line, ')') : NULL;
	return state ? state[2] : 0;
}

bool process_lives(pid_t pid)
{
	char state = process_state(pid);
	return state && state != 'Z' && state != 'X';
}

void wait_until_dead(pid_t pid)
{
	uint64_t deadline = clock_now_us() + SOON_MS * 1000ULL;
	while (process_lives(pid)) {
		if (clock_now_us() > deadline)
			fail_msg("process %d lives on", (int)pid);
		clock_sleep_ms(5);
	}
}

char *noise(size_t len)
{
	char *data = malloc(len + 1);
	uint32_t x = 2463534242;
	assert_non_null(data);
	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		data[i] = (char)x;
	}
	return data;
}

bool exec_errors_are_lost(void)
{
	char *const argv[] = { (char *)"program", NULL };
	const struct spawn_request request = { "/nonexistent", argv, argv + 1, "/", 0, 1, 2 };
	struct spawn_result result;
	if (spawn(&request, &result) < 0)
		return false;
	assert_int_equal(waitpid(result.pid, NULL, 0), result.pid);
	return true;
}
