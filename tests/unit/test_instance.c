/* SPDX-License-Identifier: Apache-2.0 */
/* One life of a runner: its directory, and the guardian that sees it out. */
#include "tests/unit/engine_fixture.h"

#include "common/clock.h"
#include "common/log.h"
#include "runner/cgroup.h"
#include "runner/instance.h"
#include "runner/signals.h"
#include "runner/spawn.h"
#include "runner/tree.h"
#include "tests/unit/apart.h"
#include "tests/unit/roles.h"

static char place[64];

static int place_make(void **state)
{
	(void)state;
	strcpy(place, "/tmp/test-instance-XXXXXX");
	return mkdtemp(place) ? 0 : -1;
}

static int place_remove(void **state)
{
	(void)state;
	return rmdir(place);
}

static void wait_until_gone(const char *path)
{
	for (unsigned waited = 0; access(path, F_OK) == 0; waited += 5) {
		if (waited > SOON_MS)
			fail_msg("%s is still there", path);
		clock_sleep_ms(5);
	}
}

static void a_life_begins_and_ends(void **state)
{
	struct instance a, b;
	struct error err = { 0 };
	struct stat st;
	unsigned fds = count_fds();
	(void)state;
	umask(0);
	assert_int_equal(instance_start(&a, place, &err), 0);
	assert_int_equal(instance_start(&b, place, &err), 0);
	umask(022);
	assert_string_not_equal(a.id, b.id);
	assert_true(strlen(a.id) >= 16);
	assert_int_equal(stat(a.directory, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_true(process_lives(a.guardian));
	char *directory = strdup(a.directory);
	pid_t guardian = a.guardian;
	instance_stop(&a);
	assert_int_equal(access(directory, F_OK), -1);
	assert_int_equal(kill(guardian, 0), -1); /* reaped, too */
	assert_true(process_lives(b.guardian));
	instance_stop(&b);
	instance_stop(&b); /* harmless */
	assert_int_equal(count_entries(place), 0);
	assert_int_equal(count_fds(), fds);
	free(directory);
}

static void the_directory_is_removed_with_all_in_it(void **state)
{
	struct instance instance;
	char path[256];
	(void)state;
	assert_int_equal(instance_start(&instance, place, NULL), 0);
	snprintf(path, sizeof(path), "%s/task", instance.directory);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/task/input", instance.directory);
	assert_int_equal(mkfifo(path, 0600), 0);
	instance_stop(&instance);
	assert_int_equal(count_entries(place), 0);
}

static void a_missing_base_is_made(void **state)
{
	struct instance instance;
	char base[128];
	(void)state;
	snprintf(base, sizeof(base), "%s/base", place);
	assert_int_equal(instance_start(&instance, base, NULL), 0);
	instance_stop(&instance);
	assert_int_equal(rmdir(base), 0);
}

static void expect_refused(const char *base, int r)
{
	struct instance instance;
	struct error err = { 0 };
	unsigned fds = count_fds();
	assert_int_equal(instance_start(&instance, base, &err), r);
	assert_non_null(strstr(err.text, base));
	assert_non_null(strstr(err.text, "cannot be used"));
	assert_int_equal(instance.guardian, 0);
	assert_null(instance.directory);
	assert_int_equal(count_fds(), fds);
	instance_stop(&instance);
}

static int start_unprivileged(void *data)
{
	struct instance instance;
	struct error err = { 0 };
	(void)data;
	return instance_start(&instance, "/proc", &err) < 0 &&
			       instance_start(&instance, "/", &err) == -EACCES
		       ? 0
		       : 1;
}

static void a_base_that_is_of_no_use_is_refused(void **state)
{
	(void)state;
	expect_refused("/dev/null", -ENOTDIR);
	expect_refused("/nonexistent/deeper", -ENOENT);
	assert_int_equal(apart_unprivileged(start_unprivileged, NULL), 0);
}

static void without_a_base_the_first_that_can_be_written_is_taken(void **state)
{
	struct instance instance;
	char *before = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
	(void)state;
	setenv("RUNTIME_DIRECTORY", "/nonexistent/deeper", 1);
	setenv("TMPDIR", place, 1);
	assert_int_equal(instance_start(&instance, NULL, NULL), 0);
	assert_int_equal(strncmp(instance.directory, place, strlen(place)), 0);
	instance_stop(&instance);
	setenv("RUNTIME_DIRECTORY", place, 1);
	setenv("TMPDIR", "relative", 1); /* would not be found from elsewhere */
	assert_int_equal(instance_start(&instance, NULL, NULL), 0);
	assert_int_equal(strncmp(instance.directory, place, strlen(place)), 0);
	instance_stop(&instance);
	unsetenv("RUNTIME_DIRECTORY");
	assert_int_equal(instance_start(&instance, NULL, NULL), 0);
	assert_int_equal(instance.directory[0], '/');
	instance_stop(&instance);
	if (before)
		setenv("TMPDIR", before, 1);
	else
		unsetenv("TMPDIR");
	free(before);
}

/* ---- the guardian ---- */

static bool has_open(pid_t pid, ino_t inode)
{
	char path[64];
	struct stat st;
	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		if (stat(path, &st) == 0 && st.st_ino == inode)
			return true;
	}
	return false;
}

static void the_guardian_holds_nothing_of_ours(void **state)
{
	struct instance instance;
	struct stat st;
	int ends[2];
	(void)state;
	assert_int_equal(pipe(ends), 0); /* not close-on-exec, and it does not exec */
	assert_int_equal(fstat(ends[0], &st), 0);
	assert_true(has_open(getpid(), st.st_ino));
	assert_int_equal(instance_start(&instance, place, NULL), 0);
	/* It closes some time after the fork. */
	for (unsigned waited = 0; has_open(instance.guardian, st.st_ino); waited += 2) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(2);
	}
	assert_int_equal(getsid(instance.guardian), instance.guardian);
	close(ends[0]);
	close(ends[1]);
	instance_stop(&instance);
}

static void a_lost_guardian_is_survived(void **state)
{
	struct instance instance;
	(void)state;
	assert_int_equal(instance_start(&instance, place, NULL), 0);
	kill(instance.guardian, SIGKILL);
	wait_until_dead(instance.guardian);
	instance_stop(&instance);
	assert_int_equal(count_entries(place), 0);
}

static void signals_do_not_reach_the_guardian(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1 };
	struct instance instance;
	(void)state;
	assert_int_equal(instance_start(&instance, place, NULL), 0);
	/* It blocks them first of all; its new session tells that it has come past that. */
	for (unsigned waited = 0; getsid(instance.guardian) != instance.guardian; waited += 2) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(2);
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		kill(instance.guardian, signals[i]);
	clock_sleep_ms(20);
	assert_true(process_lives(instance.guardian));
	instance_stop(&instance);
}

/* ---- a runner that is killed ---- */

struct life {
	bool hides; /* the stray empties its environment */
	bool no_groups;
	int ends[2];   /* the runner tells through it */
	pid_t pids[4]; /* told: the runner, its guardian, a program, a stray of that */
	char directory[256], id[32];
};

/* No assertions here: it is another process. */
static int live_until_killed(void *data)
{
	struct life *life = data;
	struct instance instance;
	struct config config = { .limits = {
					 .output = 1000, .progress_record = 1000, .input = 1000 } };
	struct error err;
	if (instance_start(&instance, place, &err) < 0)
		return 1;
	struct world *w = world_prepare();
	w->config = config;
	w->config.no_cgroups = life->no_groups;
	rmdir(w->directory);
	snprintf(w->directory, sizeof(w->directory), "%s", instance.directory);
	snprintf(w->instance, sizeof(w->instance), "%s", instance.id);
	world_start(w);
	struct seen *seen = submit(w, &(struct job){ .role = { "escape", "stay", "deaf", "hold",
							     life->hides ? "bare" : NULL } });
	while (seen->n_progress < 1)
		if (sd_event_run(w->loop, 1000000) < 0)
			return 2;
	life->pids[0] = getpid();
	life->pids[1] = instance.guardian;
	life->pids[2] = seen->pid;
	life->pids[3] = atoi(seen->progress.data);
	snprintf(life->id, sizeof(life->id), "%s", instance.id);
	snprintf(life->directory, sizeof(life->directory), "%s", instance.directory);
	if (write(life->ends[1], life, sizeof(*life)) != sizeof(*life))
		return 3;
	for (;;)
		pause();
}

static bool is_bare(pid_t pid)
{
	char path[64], byte;
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t n = read(fd, &byte, 1);
	close(fd);
	return n == 0;
}

/* The first @n_dying of those told are to die of it. */
static void kill_a_runner(struct life life, int n_dying, struct life *ret)
{
	struct life told;
	int status;
	assert_int_equal(pipe2(life.ends, O_CLOEXEC), 0);
	pid_t helper = fork();
	if (helper == 0)
		_exit(apart(live_until_killed, &life));
	assert_int_equal(read(life.ends[0], &told, sizeof(told)), sizeof(told));
	for (int i = 0; i < 4; i++)
		assert_true(process_lives(told.pids[i]));
	assert_int_equal(access(told.directory, F_OK), 0);
	while (life.hides && !is_bare(told.pids[3]))
		clock_sleep_ms(2);
	kill(told.pids[0], SIGKILL);
	for (int i = 0; i < n_dying; i++)
		wait_until_dead(told.pids[i]);
	wait_until_gone(told.directory);
	assert_int_equal(waitpid(helper, &status, 0), helper);
	assert_int_equal(WEXITSTATUS(status), 128 + SIGKILL);
	close(life.ends[0]);
	close(life.ends[1]);
	*ret = told;
}

static void nothing_outlives_a_killed_runner(void **state)
{
	struct life told;
	(void)state;
	kill_a_runner((struct life){ .no_groups = true }, 4, &told);
	kill_a_runner((struct life){ 0 }, 4, &told);
}

/* It has left its session and emptied its environment: its control group alone tells whose it was.
 */
static void nor_does_an_orphan_that_hides(void **state)
{
	struct life told;
	char group[512];
	(void)state;
	find_group("x", group, sizeof(group));
	kill_a_runner((struct life){ .hides = true }, 4, &told);
	find_group(told.id, group, sizeof(group));
	wait_until_gone(group);
}

/* The one thing that is known to live on. */
static void an_orphan_that_hides_lives_on_without_a_group(void **state)
{
	struct life told;
	(void)state;
	kill_a_runner((struct life){ .hides = true, .no_groups = true }, 3, &told);
	assert_true(process_lives(told.pids[3]));
	kill(told.pids[3], SIGKILL);
	wait_until_dead(told.pids[3]);
}

/* Nobody was left to do it; the next runner does. */
static void a_dead_instance_is_cleared_by_the_next(void **state)
{
	struct instance dead;
	struct cgroup groups;
	struct spawn_result result;
	char *const argv[] = { (char *)roles_self(), (char *)"role", (char *)"pause", NULL };
	(void)state;
	assert_int_equal(instance_start(&dead, place, NULL), 0);
	char *directory = strdup(dead.directory);
	assert_int_equal(cgroup_open(&groups, dead.id, NULL), 0);
	int group = cgroup_make(&groups, 1), null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct spawn_request request = { argv[0], argv, argv + 3, "/", null_fd, null_fd,
		null_fd, group };
	assert_int_equal(spawn(&request, &result), 0);
	instance_clear_dead(place, dead.id);
	wait_until_dead(result.pid);
	assert_int_equal(waitpid(result.pid, NULL, 0), result.pid);
	assert_int_equal(access(groups.directory, F_OK), -1);
	assert_int_equal(access(directory, F_OK), -1);
	cgroup_close(&groups);
	close(group);
	close(null_fd);
	free(directory);
	instance_stop(&dead);
}

/* It ends well and a marked process lives on: that is none of the guardian's business. */
static void a_good_end_kills_nobody(void **state)
{
	struct instance instance;
	char mark[64];
	(void)state;
	assert_int_equal(instance_start(&instance, place, NULL), 0);
	snprintf(mark, sizeof(mark), "%s/1", instance.id);
	pid_t pid = fork();
	if (pid == 0) {
		char *const argv[] = { (char *)roles_self(), (char *)"role", (char *)"pause",
			NULL };
		setenv(TREE_MARK, mark, 1);
		execv(argv[0], argv);
		_exit(127);
	}
	for (unsigned waited = 0; count_processes_with(mark) == 0; waited += 2) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(2);
	}
	instance_stop(&instance);
	assert_true(process_lives(pid));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_life_begins_and_ends),
		cmocka_unit_test(the_directory_is_removed_with_all_in_it),
		cmocka_unit_test(a_missing_base_is_made),
		cmocka_unit_test(a_base_that_is_of_no_use_is_refused),
		cmocka_unit_test(without_a_base_the_first_that_can_be_written_is_taken),
		cmocka_unit_test(the_guardian_holds_nothing_of_ours),
		cmocka_unit_test(a_lost_guardian_is_survived),
		cmocka_unit_test(signals_do_not_reach_the_guardian),
		cmocka_unit_test(nothing_outlives_a_killed_runner),
		cmocka_unit_test(nor_does_an_orphan_that_hides),
		cmocka_unit_test(an_orphan_that_hides_lives_on_without_a_group),
		cmocka_unit_test(a_dead_instance_is_cleared_by_the_next),
		cmocka_unit_test(a_good_end_kills_nobody),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	log_set_level(LOG_ERROR);
	signals_prepare();
	/* Orphans of the runner that is killed come here, and are reaped. */
	tree_become_subreaper();
	return cmocka_run_group_tests_name("instance", tests, place_make, place_remove);
}
