/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a process is, and that the right ones are killed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "runner/tree.h"
#include "tests/unit/apart.h"
#include "tests/unit/roles.h"

enum { SOON_MS = 30000 };

/* ---- processes to look for ---- */

static char mark_variable[128];

/* Starts the role `pause` in a session of its own if @session, with @mark in its environment. */
static pid_t start(bool session, const char *mark)
{
	char *const argv[] = { (char *)roles_self(), (char *)"role", (char *)"pause", NULL };
	char *environment[] = { NULL, NULL };
	int ready[2];
	char byte;
	snprintf(mark_variable, sizeof(mark_variable), TREE_MARK "=%s", mark ? mark : "");
	if (mark)
		environment[0] = mark_variable;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (session)
			setsid();
		execve(argv[0], argv, environment);
		_exit(127);
	}
	/* The end of file comes with the exec. */
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
	return pid;
}

static int wait_for_death(pid_t pid)
{
	int status = 0;
	for (int waited = 0; waited < SOON_MS; waited += 2) {
		pid_t r = waitpid(pid, &status, WNOHANG);
		assert_true(r >= 0);
		if (r == pid)
			return status;
		clock_sleep_ms(2);
	}
	fail_msg("process %d lives on", (int)pid);
	return 0;
}

static void expect_killed(pid_t pid)
{
	int status = wait_for_death(pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void expect_alive(pid_t pid)
{
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	wait_for_death(pid);
}

/* ---- the view ---- */

static pid_t own;
static const char *live_mark;

static bool is_own(void *userdata, pid_t pid)
{
	(void)userdata;
	return pid == own;
}

static bool is_live_mark(void *userdata, const char *mark)
{
	(void)userdata;
	return live_mark && strcmp(mark, live_mark) == 0;
}

static pid_t grouped;

static int is_in_group(void *userdata, pid_t pid)
{
	return pid == grouped ? *(int *)userdata : -1;
}

static const struct tree_view view = { .is_own = is_own, .is_live_mark = is_live_mark };

static int reset(void **state)
{
	(void)state;
	own = 0;
	live_mark = NULL;
	grouped = 0;
	return 0;
}

static void without_children_there_is_nothing_to_kill(void **state)
{
	(void)state;
	assert_int_equal(tree_kill_strays(&view, 1, "i/1"), 0);
}

static void a_stray_is_known_by_its_mark(void **state)
{
	(void)state;
	pid_t pid = start(true, "i/1");
	live_mark = "i/1";
	assert_int_equal(tree_kill_strays(&view, 99999, "i/2"), 0); /* another task lives */
	assert_int_equal(tree_kill_strays(&view, 99999, "i/1"), 1);
	expect_killed(pid);
}

static void a_stray_is_known_by_its_session(void **state)
{
	(void)state;
	pid_t pid = start(true, NULL);
	live_mark = "i/1";
	own = pid; /* the program itself is nobody's stray */
	assert_int_equal(tree_kill_strays(&view, pid, "i/1"), 0);
	own = 0;
	assert_int_equal(tree_kill_strays(&view, pid, "i/1"), 1);
	expect_killed(pid);
}

/* Its session says whose it is, whatever it did to its environment. */
static void a_member_of_a_living_session_is_left_alone(void **state)
{
	(void)state;
	own = getsid(0);
	pid_t unmarked = start(false, NULL), foreign = start(false, "x/1");
	assert_int_equal(tree_kill_strays(&view, 99999, "i/1"), 0);
	expect_alive(unmarked);
	expect_alive(foreign);
}

static void what_is_nobodys_is_killed(void **state)
{
	(void)state;
	pid_t unmarked = start(true, NULL), of_the_past = start(true, "i/1"), odd = start(true, "");
	live_mark = "i/2";
	assert_int_equal(tree_kill_strays(&view, 0, "i/3"), 3);
	expect_killed(unmarked);
	expect_killed(of_the_past);
	expect_killed(odd);
}

/* Neither its session nor its environment says anything, or both say something else. */
static void a_stray_is_known_by_its_group(void **state)
{
	int is_ours = 0;
	const struct tree_view with_groups = { is_own, is_in_group, is_live_mark, &is_ours };
	(void)state;
	pid_t pid = grouped = start(true, NULL);
	live_mark = "i/1";
	assert_int_equal(tree_kill_strays(&with_groups, 99999, "i/1"), 0); /* another's */
	is_ours = 1;
	assert_int_equal(tree_kill_strays(&with_groups, 99999, "i/1"), 1);
	expect_killed(pid);
	pid = grouped = start(true, "i/1");
	assert_int_equal(tree_kill_strays(&with_groups, 99999, "i/2"), 1);
	expect_killed(pid);
}

/* ---- all processes ---- */

static void all_processes_are_told(void **state)
{
	cleanup_free struct tree_process *list = NULL;
	size_t n = 0;
	(void)state;
	pid_t pid = start(true, NULL);
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	assert_int_equal(tree_list(&list, &n), 0);
	for (size_t i = 1; i < n; i++)
		assert_true(list[i - 1].pid < list[i].pid);
	const struct tree_process *child = tree_find(list, n, pid),
				  *own_one = tree_find(list, n, getpid());
	assert_non_null(child);
	assert_non_null(own_one);
	assert_int_equal(child->parent, getpid());
	assert_int_equal(child->session, pid);
	assert_int_equal(child->state, 'T');
	assert_true(own_one->bytes > 0);
	assert_int_equal(own_one->session, getsid(0));
	assert_int_equal(own_one->state, 'R');
	assert_null(tree_find(list, n, 0x7fffffff));
	assert_null(tree_find(NULL, 0, pid));
	kill(pid, SIGKILL);
	expect_killed(pid);
}

/* Also that of children which are gone. */
static void time_of_children_counts(void **state)
{
	uint64_t used = 0;
	(void)state;
	for (int rounds = 0; used < 100000 && rounds < 1000; rounds++) {
		cleanup_free struct tree_process *list = NULL;
		size_t n = 0;
		pid_t pid = fork();
		if (pid == 0) {
			for (volatile int i = 0; i < 20000000; i++)
				;
			_exit(0);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(tree_list(&list, &n), 0);
		used = tree_find(list, n, getpid())->cpu_us;
	}
	assert_true(used >= 100000);
}

/* Marks are compared whole. */
static void a_mark_that_begins_alike_is_another(void **state)
{
	(void)state;
	pid_t pid = start(true, "i/11");
	live_mark = "i/11";
	assert_int_equal(tree_kill_strays(&view, 99999, "i/1"), 0);
	expect_alive(pid);
}

/* A number that means nothing any more must not match by chance (getsid gives -1 for nobody). */
static void no_leader_matches_no_session(void **state)
{
	(void)state;
	pid_t pid = start(true, "i/1");
	live_mark = "i/1";
	assert_int_equal(tree_kill_strays(&view, 0, "i/2"), 0);
	assert_int_equal(tree_kill_strays(&view, -1, "i/2"), 0);
	expect_alive(pid);
}

static void the_dead_are_counted_until_they_are_reaped(void **state)
{
	(void)state;
	pid_t pid = start(true, "i/1");
	siginfo_t info;
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(tree_kill_strays(&view, 99999, "i/1"), 1);
	expect_killed(pid);
	assert_int_equal(tree_kill_strays(&view, 99999, "i/1"), 0);
}

static void hundreds_are_found(void **state)
{
	pid_t pids[300];
	(void)state;
	for (int i = 0; i < 300; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			setsid();
			for (;;)
				pause();
		}
	}
	assert_int_equal(tree_kill_strays(&view, 0, "i/1"), 300);
	for (int i = 0; i < 300; i++)
		expect_killed(pids[i]);
}

static void a_group_is_signalled_as_long_as_it_has_members(void **state)
{
	(void)state;
	pid_t pid = start(true, NULL);
	assert_true(tree_signal_group(pid, 0));
	assert_true(tree_signal_group(pid, SIGKILL));
	expect_killed(pid);
	assert_false(tree_signal_group(pid, SIGKILL));
}

/* ---- orphans ---- */

static int become_parent_of_orphans(void *data)
{
	int ends[2];
	pid_t orphan = 0;
	(void)data;
	if (tree_become_subreaper() < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return 1;
	pid_t child = fork();
	if (child == 0) {
		pid_t grandchild = fork();
		if (grandchild == 0) {
			setsid();
			for (;;)
				pause();
		}
		_exit(write(ends[1], &grandchild, sizeof(grandchild)) != sizeof(grandchild));
	}
	if (read(ends[0], &orphan, sizeof(orphan)) != sizeof(orphan) ||
		waitpid(child, NULL, 0) != child)
		return 2;
	if (tree_kill_strays(&view, 0, "i/1") != 1)
		return 3;
	return waitpid(orphan, NULL, 0) == orphan ? 0 : 4;
}

static void orphans_become_ours(void **state)
{
	(void)state;
	assert_int_equal(apart(become_parent_of_orphans, NULL), 0);
}

/* ---- all that carries a mark ---- */

static void whatever_carries_our_mark_is_killed(void **state)
{
	(void)state;
	char instance[64], mark[128], alike[128];
	snprintf(instance, sizeof(instance), "test%d", (int)getpid());
	snprintf(mark, sizeof(mark), "%s/7", instance);
	snprintf(alike, sizeof(alike), "%s9/7", instance);
	pid_t marked = start(true, mark), spared = start(true, mark), other = start(true, alike),
	      bare = start(true, NULL), odd = start(true, instance);
	assert_int_equal(tree_kill_marked(instance, spared), 1);
	expect_killed(marked);
	assert_int_equal(tree_kill_marked(instance, 0), 1);
	expect_killed(spared);
	assert_int_equal(tree_kill_marked(instance, 0), 0);
	expect_alive(other);
	expect_alive(bare);
	expect_alive(odd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(without_children_there_is_nothing_to_kill, reset),
		cmocka_unit_test_setup(a_stray_is_known_by_its_mark, reset),
		cmocka_unit_test_setup(a_stray_is_known_by_its_session, reset),
		cmocka_unit_test_setup(a_member_of_a_living_session_is_left_alone, reset),
		cmocka_unit_test_setup(what_is_nobodys_is_killed, reset),
		cmocka_unit_test_setup(a_mark_that_begins_alike_is_another, reset),
		cmocka_unit_test_setup(no_leader_matches_no_session, reset),
		cmocka_unit_test_setup(a_stray_is_known_by_its_group, reset),
		cmocka_unit_test_setup(all_processes_are_told, reset),
		cmocka_unit_test_setup(time_of_children_counts, reset),
		cmocka_unit_test_setup(the_dead_are_counted_until_they_are_reaped, reset),
		cmocka_unit_test_setup(hundreds_are_found, reset),
		cmocka_unit_test_setup(a_group_is_signalled_as_long_as_it_has_members, reset),
		cmocka_unit_test_setup(orphans_become_ours, reset),
		cmocka_unit_test_setup(whatever_carries_our_mark_is_killed, reset),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	/* The session that the test was started in is not ours to look at. */
	setsid();
	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
