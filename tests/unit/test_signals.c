/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as events of a loop. Each part runs in a process of its own and sends itself real
 * signals; it gives 0, or the line where it went wrong, or 128 + the signal that ended it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/signals.h"
#include "tests/unit/apart.h"

/* A status has one byte, and 128 and more are signals. */
#define CHECK(condition)                           \
	do {                                       \
		if (!(condition))                  \
			return __LINE__ % 125 + 1; \
	} while (0)

static const int ours[] = { SIGTERM, SIGINT, SIGHUP };
#define N_OURS (sizeof(ours) / sizeof(*ours))

/* What was heard. */
struct heard {
	struct signals signals;
	sd_event *loop;
	int stops[8];
	unsigned nth[8], n_stops, n_reloads;
};

static void on_stop(void *userdata, int signal, unsigned nth)
{
	struct heard *heard = userdata;
	heard->stops[heard->n_stops % 8] = signal;
	heard->nth[heard->n_stops++ % 8] = nth;
}

static void on_reload(void *userdata)
{
	struct heard *heard = userdata;
	heard->n_reloads++;
}

/* 0 or a negative errno. */
static int listen_to(struct heard *heard, signals_reload_fn reload)
{
	int r = sd_event_new(&heard->loop);
	return r < 0 ? r : signals_listen(&heard->signals, heard->loop, on_stop, reload, heard);
}

/* Runs the loop until nothing more is there. */
static void hear(struct heard *heard)
{
	while (sd_event_run(heard->loop, 0) > 0)
		;
}

static void forget(struct heard *heard)
{
	signals_forget(&heard->signals);
	sd_event_unref(heard->loop);
}

static struct sigaction disposition(int signal)
{
	struct sigaction action = { 0 };
	sigaction(signal, NULL, &action);
	return action;
}

static bool is_blocked(int signal)
{
	sigset_t mask;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	return sigismember(&mask, signal) == 1;
}

static void handler(int signal)
{
	(void)signal;
}

/* ---- signals_prepare ---- */

/* All of it set otherwise than it should be, as a careless parent may leave it. */
static void inherit_a_mess(void)
{
	sigset_t all;
	for (size_t i = 0; i < N_OURS; i++)
		signal(ours[i], i % 2 ? SIG_IGN : handler);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, handler);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static int prepare_part(void *data)
{
	(void)data;
	inherit_a_mess();
	signals_prepare();
	for (size_t i = 0; i < N_OURS; i++) {
		CHECK(disposition(ours[i]).sa_handler == SIG_DFL);
		CHECK(is_blocked(ours[i]));
	}
	CHECK(disposition(SIGCHLD).sa_handler == SIG_DFL);
	CHECK(is_blocked(SIGCHLD));
	CHECK(disposition(SIGPIPE).sa_handler == SIG_IGN);
	CHECK(!is_blocked(SIGPIPE) && !is_blocked(SIGUSR1) && !is_blocked(SIGSEGV));
	return 0;
}

static void whatever_was_inherited_is_set_right(void **state)
{
	(void)state;
	assert_int_equal(apart(prepare_part, NULL), 0);
}

/* With SIGCHLD ignored the kernel would keep no status for us. */
static int status_part(void *data)
{
	int status;
	(void)data;
	signal(SIGCHLD, SIG_IGN);
	signals_prepare();
	pid_t pid = fork();
	if (pid == 0)
		_exit(42);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	return 0;
}

static void children_keep_their_status(void **state)
{
	(void)state;
	assert_int_equal(apart(status_part, NULL), 0);
}

static int pipe_part(void *data)
{
	int fds[2];
	(void)data;
	signal(SIGPIPE, SIG_DFL);
	signals_prepare();
	CHECK(pipe(fds) == 0);
	close(fds[0]);
	CHECK(write(fds[1], "x", 1) == -1 && errno == EPIPE);
	return 0;
}

static void a_write_to_nobody_is_an_error_and_no_end(void **state)
{
	(void)state;
	assert_int_equal(apart(pipe_part, NULL), 0);
}

/* ---- signals_listen ---- */

static int stops_part(void *data)
{
	struct heard heard = { 0 };
	(void)data;
	signals_prepare();
	CHECK(listen_to(&heard, on_reload) == 0);
	hear(&heard);
	CHECK(heard.n_stops == 0);
	/* One after the other: what is pending at once has no order. */
	kill(getpid(), SIGTERM);
	hear(&heard);
	kill(getpid(), SIGINT);
	hear(&heard);
	kill(getpid(), SIGTERM);
	hear(&heard);
	CHECK(heard.n_stops == 3 && heard.n_reloads == 0);
	CHECK(heard.stops[0] == SIGTERM && heard.nth[0] == 1);
	CHECK(heard.stops[1] == SIGINT && heard.nth[1] == 2);
	CHECK(heard.stops[2] == SIGTERM && heard.nth[2] == 3);
	forget(&heard);
	return 0;
}

static void stops_are_told_and_counted(void **state)
{
	(void)state;
	assert_int_equal(apart(stops_part, NULL), 0);
}

/* Between signals_prepare and the loop nothing is lost. */
static int early_part(void *data)
{
	struct heard heard = { 0 };
	(void)data;
	signals_prepare();
	kill(getpid(), SIGINT);
	CHECK(listen_to(&heard, on_reload) == 0);
	hear(&heard);
	CHECK(heard.n_stops == 1 && heard.stops[0] == SIGINT);
	forget(&heard);
	return 0;
}

static void what_came_early_is_told_later(void **state)
{
	(void)state;
	assert_int_equal(apart(early_part, NULL), 0);
}

static int reload_part(void *data)
{
	struct heard heard = { 0 };
	signals_prepare();
	CHECK(listen_to(&heard, data ? on_reload : NULL) == 0);
	kill(getpid(), SIGHUP);
	hear(&heard);
	if (data) {
		CHECK(heard.n_reloads == 1 && heard.n_stops == 0);
	} else {
		CHECK(heard.n_stops == 1 && heard.stops[0] == SIGHUP && heard.nth[0] == 1);
	}
	forget(&heard);
	return 0;
}

static void a_hangup_reloads_or_stops(void **state)
{
	(void)state;
	assert_int_equal(apart(reload_part, "reload"), 0);
	assert_int_equal(apart(reload_part, NULL), 0);
}

/* Under nohup: a daemon still reloads, a command is not stopped. */
static int nohup_part(void *data)
{
	struct heard heard = { 0 };
	signal(SIGHUP, SIG_IGN);
	signals_prepare();
	CHECK(listen_to(&heard, data ? on_reload : NULL) == 0);
	kill(getpid(), SIGHUP);
	hear(&heard);
	CHECK(heard.n_stops == 0 && heard.n_reloads == (data ? 1 : 0));
	kill(getpid(), SIGTERM);
	hear(&heard);
	CHECK(heard.n_stops == 1 && heard.stops[0] == SIGTERM);
	forget(&heard);
	/* Nor is it ended by it while it only waits. */
	signals_release();
	kill(getpid(), SIGHUP);
	signals_prepare();
	return 0;
}

static void an_ignored_hangup_stops_nothing(void **state)
{
	(void)state;
	assert_int_equal(apart(nohup_part, "reload"), 0);
	assert_int_equal(apart(nohup_part, NULL), 0);
}

/* Whoever forgot hears no more, and the loop can be freed. */
static int forget_part(void *data)
{
	struct heard heard = { 0 };
	(void)data;
	signals_prepare();
	CHECK(listen_to(&heard, on_reload) == 0);
	signals_forget(&heard.signals);
	signals_forget(&heard.signals);
	kill(getpid(), SIGTERM);
	hear(&heard);
	CHECK(heard.n_stops == 0);
	sd_event_unref(heard.loop);
	return 0;
}

static void what_was_forgotten_is_not_told(void **state)
{
	(void)state;
	assert_int_equal(apart(forget_part, NULL), 0);
}

/* ---- signals_release ---- */

static int release_part(void *data)
{
	const int *signal = data;
	signals_prepare();
	signals_release();
	kill(getpid(), *signal);
	return 0;
}

/* It came while it was blocked and nobody listened. */
static int release_late_part(void *data)
{
	const int *signal = data;
	signals_prepare();
	kill(getpid(), *signal);
	signals_release();
	return 0;
}

static void released_signals_end_the_process(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OURS; i++) {
		int signal = ours[i];
		assert_int_equal(apart(release_part, &signal), 128 + signal);
		assert_int_equal(apart(release_late_part, &signal), 128 + signal);
	}
}

static int again_part(void *data)
{
	struct heard heard = { 0 };
	(void)data;
	signals_prepare();
	signals_release();
	CHECK(is_blocked(SIGCHLD)); /* stays an event */
	signals_prepare();
	kill(getpid(), SIGINT);
	CHECK(listen_to(&heard, NULL) == 0);
	hear(&heard);
	CHECK(heard.n_stops == 1);
	forget(&heard);
	return 0;
}

static void released_signals_can_be_taken_again(void **state)
{
	(void)state;
	assert_int_equal(apart(again_part, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_was_inherited_is_set_right),
		cmocka_unit_test(children_keep_their_status),
		cmocka_unit_test(a_write_to_nobody_is_an_error_and_no_end),
		cmocka_unit_test(stops_are_told_and_counted),
		cmocka_unit_test(what_came_early_is_told_later),
		cmocka_unit_test(a_hangup_reloads_or_stops),
		cmocka_unit_test(an_ignored_hangup_stops_nothing),
		cmocka_unit_test(what_was_forgotten_is_not_told),
		cmocka_unit_test(released_signals_end_the_process),
		cmocka_unit_test(released_signals_can_be_taken_again),
	};

	/* Whoever starts us, nohup for example, may ignore some, and that is inherited. */
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		signal(ours[i], SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
