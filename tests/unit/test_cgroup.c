/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups: made, ended with all that hides in them, found again when their runner is dead;
 * and processes that are born in them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "runner/cgroup.h"
#include "runner/signals.h"
#include "runner/spawn.h"
#include "tests/unit/apart.h"
#include "tests/unit/roles.h"

enum { SOON_MS = 30000 };

static struct cgroup groups;
static char instance[32];
static int null_fd;

static int make_groups(void **state)
{
	static unsigned serial;
	struct error err = { 0 };
	(void)state;
	snprintf(instance, sizeof(instance), "u%d-%u", (int)getpid(), ++serial);
	if (cgroup_open(&groups, instance, &err) == 0)
		return 0;
	print_error(
		"this test needs a control group of version 2 (be root; in a container, one that "
		"may write to /sys/fs/cgroup): %s\n",
		err.text);
	return -1;
}

static int remove_groups(void **state)
{
	char *directory = groups.directory ? strdup(groups.directory) : NULL;
	(void)state;
	cgroup_close(&groups);
	if (directory)
		assert_int_equal(access(directory, F_OK), -1);
	free(directory);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return 0;
}

static const char *path_of(uint64_t serial, const char *file)
{
	static char path[600];
	snprintf(path, sizeof(path), "%s/%llu%s", groups.directory, (unsigned long long)serial,
		file);
	return path;
}

static bool exists(uint64_t serial)
{
	return access(path_of(serial, ""), F_OK) == 0;
}

/* Starts what pauses, in the group; it has no mark, and its session is its own. */
static pid_t start_in(uint64_t serial)
{
	char *const argv[] = { (char *)roles_self(), (char *)"role", (char *)"pause", NULL };
	char *const none[] = { NULL };
	struct spawn_result result = { 0 };
	int group = cgroup_make(&groups, serial);
	assert_true(group > 0);
	const struct spawn_request request = { argv[0], argv, none, "/", null_fd, null_fd, null_fd,
		group };
	assert_int_equal(spawn(&request, &result), 0);
	assert_int_equal(result.group_error, 0);
	close(group);
	return result.pid;
}

static void expect_killed(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void end_soon(uint64_t serial)
{
	int r;
	for (unsigned waited = 0; (r = cgroup_end(&groups, serial)) == 1; waited += 2) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(2);
	}
	assert_int_equal(r, 0);
	assert_false(exists(serial));
}

/* ---- groups ---- */

static void a_group_is_made_and_removed(void **state)
{
	(void)state;
	int fd = cgroup_make(&groups, 7);
	assert_true(fd > 0);
	assert_true(exists(7));
	assert_int_equal(cgroup_end(&groups, 7), 0);
	assert_false(exists(7));
	assert_int_equal(cgroup_end(&groups, 7), 0); /* harmless */
	close(fd);
}

static void what_is_in_it_is_killed(void **state)
{
	(void)state;
	pid_t pid = start_in(1), other = start_in(2);
	assert_int_equal(cgroup_owner(&groups, pid), 1);
	assert_int_equal(cgroup_owner(&groups, other), 2);
	assert_int_equal(cgroup_owner(&groups, getpid()), 0);
	assert_int_equal(cgroup_owner(&groups, 0x7ffffff), 0);
	assert_true(cgroup_end(&groups, 1) >= 0); /* it may be gone at once */
	expect_killed(pid);
	end_soon(1);
	assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
	cgroup_end(&groups, 2);
	expect_killed(other);
	end_soon(2);
}

static void groups_within_are_ended_too(void **state)
{
	char procs[700], number[32];
	(void)state;
	pid_t pid = start_in(1);
	assert_int_equal(mkdir(path_of(1, "/a"), 0755), 0);
	assert_int_equal(mkdir(path_of(1, "/a/b"), 0755), 0);
	snprintf(procs, sizeof(procs), "%s", path_of(1, "/a/b/cgroup.procs"));
	int fd = open(procs, O_WRONLY);
	int len = snprintf(number, sizeof(number), "%d", (int)pid);
	assert_int_equal(write(fd, number, (size_t)len), len);
	close(fd);
	assert_int_equal(cgroup_owner(&groups, pid), 1);
	assert_true(cgroup_end(&groups, 1) >= 0); /* it may be gone at once */
	expect_killed(pid);
	end_soon(1);
}

static void a_frozen_group_is_killed_at_once(void **state)
{
	(void)state;
	pid_t pid = start_in(1);
	assert_int_equal(cgroup_freeze(&groups, 1, true), 0);
	assert_true(cgroup_end(&groups, 1) >= 0); /* it may be gone at once */
	expect_killed(pid);
	end_soon(1);
}

/* As before Linux 5.14: the file is there, but cannot be written. */
static int end_without_kill(void *data)
{
	char path[700];
	pid_t pid = *(pid_t *)data;
	snprintf(path, sizeof(path), "%s", path_of(1, "/cgroup.kill"));
	if (mount(path, path, NULL, MS_BIND, NULL) < 0 ||
		mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return 1;
	if (cgroup_end(&groups, 1) < 0)
		return 2;
	return kill(pid, 0) == 0 ? 0 : 3;
}

static void without_kill_each_is_killed(void **state)
{
	(void)state;
	pid_t pid = start_in(1);
	assert_int_equal(apart_with_mounts(end_without_kill, &pid), 0);
	expect_killed(pid);
	end_soon(1);
}

static void its_time_is_told(void **state)
{
	struct cgroup_usage usage;
	(void)state;
	pid_t pid = start_in(1);
	assert_int_equal(cgroup_look(&groups, 1, &usage), 0);
	assert_true(usage.cpu_us > 0);
	assert_int_equal(usage.oom_kills, 0);
	if (groups.has_memory)
		assert_true(usage.memory > 0);
	cgroup_end(&groups, 1);
	expect_killed(pid);
	end_soon(1);
	assert_int_equal(cgroup_look(&groups, 1, &usage), -ENOENT);
}

/* ---- where there is none ---- */

static int open_read_only(void *data)
{
	struct cgroup g;
	struct error err = { 0 };
	char point[600];
	(void)data;
	/* The directory that we are in. */
	snprintf(point, sizeof(point), "%s/..", groups.directory);
	if (mount(point, point, NULL, MS_BIND, NULL) < 0 ||
		mount(NULL, point, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return 1;
	if (cgroup_open(&g, "readonly", &err) != -EROFS || g.fd != -1)
		return 2;
	cgroup_close(&g);
	return strstr(err.text, "no group can be made in ") &&
			       strstr(err.text, "Read-only file system")
		       ? 0
		       : 3;
}

static void a_read_only_hierarchy_is_told(void **state)
{
	(void)state;
	assert_int_equal(apart_with_mounts(open_read_only, NULL), 0);
}

static int open_hidden(void *data)
{
	struct cgroup g;
	struct error err = { 0 };
	(void)data;
	if (mount("none", "/sys/fs/cgroup", "tmpfs", 0, NULL) < 0)
		return 1;
	return cgroup_open(&g, "hidden", &err) < 0 && err.text[0] && g.fd == -1 ? 0 : 2;
}

static void a_hidden_hierarchy_is_told(void **state)
{
	(void)state;
	assert_int_equal(apart_with_mounts(open_hidden, NULL), 0);
}

/* ---- starting in a group ---- */

static int forbid_clone3(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(*code), code };
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0;
}

/* The program says by its status whether it found itself in the group. */
static int start_and_ask(int group, struct spawn_result *result)
{
	char script[128];
	int status = -1;
	snprintf(script, sizeof(script), "grep -q '^0::.*/taskrunner-%s/5$' /proc/self/cgroup",
		instance);
	char *const argv[] = { (char *)"sh", (char *)"-c", script, NULL };
	char *const environment[] = { (char *)"PATH=/usr/bin:/bin", NULL };
	const struct spawn_request request = { "/bin/sh", argv, environment, "/", null_fd, null_fd,
		null_fd, group };
	if (spawn(&request, result) < 0 || waitpid(result->pid, &status, 0) != result->pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

static int start_in_group(void *forbids)
{
	struct spawn_result result = { 0 };
	if (forbids && forbid_clone3())
		return 10;
	int group = cgroup_make(&groups, 5);
	int r = group < 0 ? 11 : start_and_ask(group, &result);
	if (r == 0 && result.group_error)
		r = 12;
	if (r == 0 && (start_and_ask(0, &result) != 1 || result.group_error))
		r = 13;
	return r ? r : cgroup_end(&groups, 5);
}

static void a_program_begins_in_its_group(void **state)
{
	(void)state;
	assert_int_equal(apart(start_in_group, NULL), 0);
}

/* As under Docker's seccomp profile. */
static void also_where_clone3_is_forbidden(void **state)
{
	(void)state;
	assert_int_equal(apart(start_in_group, &groups), 0);
}

static void a_group_that_is_none_is_told_and_the_program_runs(void **state)
{
	struct spawn_result result = { 0 };
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)state;
	assert_int_equal(start_and_ask(fd, &result), 1);
	assert_int_equal(result.group_error, ENOENT);
	close(fd);
}

static void a_program_that_cannot_be_executed_leaves_the_group_empty(void **state)
{
	char *const argv[] = { (char *)"x", NULL };
	struct spawn_result result = { 0 };
	(void)state;
	int group = cgroup_make(&groups, 1);
	const struct spawn_request request = { "/nonexistent", argv, argv + 1, "/", null_fd,
		null_fd, null_fd, group };
	assert_int_equal(spawn(&request, &result), -ENOENT);
	assert_int_equal(result.stage, SPAWN_EXEC);
	close(group);
	assert_int_equal(cgroup_end(&groups, 1), 0);
}

/* ---- what the dead left ---- */

static void what_a_dead_instance_left_is_cleared(void **state)
{
	(void)state;
	pid_t a = start_in(1), b = start_in(2);
	cgroup_clear(instance);
	expect_killed(a);
	expect_killed(b);
	for (unsigned waited = 0; cgroup_clear(instance); waited += 2) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(2);
	}
	assert_int_equal(access(groups.directory, F_OK), -1);
	assert_false(cgroup_clear(instance));
	assert_false(cgroup_clear("nobody"));
}

/* It ran in another group than who clears: here, in that of a task. */
static void it_is_found_wherever_it_was(void **state)
{
	char inner[700];
	(void)state;
	close(cgroup_make(&groups, 3));
	snprintf(inner, sizeof(inner), "%s/taskrunner-inner%s", path_of(3, ""), instance);
	assert_int_equal(mkdir(inner, 0755), 0);
	snprintf(inner, sizeof(inner), "inner%s", instance);
	assert_false(cgroup_clear(inner));
	assert_int_equal(cgroup_end(&groups, 3), 0);
}

/* ---- want of memory ---- */

static void kills_for_want_of_memory_are_counted_somewhere(void **state)
{
	char text[64];
	(void)state;
	int fd = cgroup_open_oom_kills();
	assert_true(fd >= 0);
	uint64_t n = cgroup_read_oom_kills(fd);
	assert_int_equal(cgroup_read_oom_kills(fd), n); /* it can be read again */
	close(fd);
	assert_int_equal(cgroup_read_oom_kills(-1), 0);
	/* Whole words count. */
	FILE *f = tmpfile();
	assert_non_null(f);
	snprintf(text, sizeof(text), "oom_kill_disable 8\nunder_oom 9\noom_kill 5\n");
	fputs(text, f);
	fflush(f);
	assert_int_equal(cgroup_read_oom_kills(fileno(f)), 5);
	fclose(f);
}

int main(int argc, char **argv)
{
#define WITH_GROUPS(test) cmocka_unit_test_setup_teardown(test, make_groups, remove_groups)
	const struct CMUnitTest tests[] = {
		WITH_GROUPS(a_group_is_made_and_removed),
		WITH_GROUPS(what_is_in_it_is_killed),
		WITH_GROUPS(groups_within_are_ended_too),
		WITH_GROUPS(a_frozen_group_is_killed_at_once),
		WITH_GROUPS(without_kill_each_is_killed),
		WITH_GROUPS(its_time_is_told),
		WITH_GROUPS(a_read_only_hierarchy_is_told),
		cmocka_unit_test(a_hidden_hierarchy_is_told),
		WITH_GROUPS(a_program_begins_in_its_group),
		WITH_GROUPS(also_where_clone3_is_forbidden),
		WITH_GROUPS(a_group_that_is_none_is_told_and_the_program_runs),
		WITH_GROUPS(a_program_that_cannot_be_executed_leaves_the_group_empty),
		WITH_GROUPS(what_a_dead_instance_left_is_cleared),
		WITH_GROUPS(it_is_found_wherever_it_was),
		cmocka_unit_test(kills_for_want_of_memory_are_counted_somewhere),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	signals_prepare();
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
