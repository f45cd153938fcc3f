/* SPDX-License-Identifier: Apache-2.0 */
/* Which task starts when: caps of programs and labels, what waits for them, and in which order. */
#include "tests/unit/engine_fixture.h"

#include <sys/resource.h>

#include "common/log.h"
#include "runner/signals.h"
#include "tests/unit/roles.h"

#define OUT  "\"$TASKIFACE_OUTPUT_PIPE\""
#define HANG "exec sleep 300"

/* ---- the world ---- */

/* The ids of the tasks that started, each of one letter. */
static char order[64];

static void note_start(struct world *w, struct seen *seen)
{
	size_t n = strlen(order);
	(void)w;
	if (n + 1 < sizeof(order))
		order[n] = seen->id[0];
}

static int open_with_labels(void **state)
{
	static struct label_cap caps[] = { { (char *)"gpu", 1 }, { (char *)"matlab", 2 },
		{ (char *)"disk", 1 } };
	struct world *w = world_prepare();
	w->config.labels = (struct label_caps){ caps, sizeof(caps) / sizeof(*caps) };
	world_start(w);
	w->on_running = note_start;
	memset(order, 0, sizeof(order));
	*state = w;
	return 0;
}

#define WITH_LABELS(test) cmocka_unit_test_setup_teardown(test, open_with_labels, world_close)

/* A task that runs until it is ended, in a program of its own. */
static struct seen *hang(struct world *w, const char *id, const char *labels)
{
	return submit(w, &(struct job){ .sh = HANG, .id = id, .labels = labels });
}

static struct seen *hang_at(struct world *w, const char *id, const char *labels, int rank)
{
	return submit(w, &(struct job){ .sh = HANG, .id = id, .labels = labels, .rank = rank });
}

static const char *waits_for(struct seen *seen)
{
	struct task_view view;
	task_look(seen->task, &view);
	assert_string_equal(view.state, view.waits_for ? "waiting" : "running");
	return view.waits_for ? view.waits_for : "";
}

static bool has_started(void *seen)
{
	return ((struct seen *)seen)->n_running > 0;
}

/* Until there is nothing more to do at once. */
static void settle(struct world *w)
{
	while (sd_event_run(w->loop, 0) > 0)
		;
}

/* Gives the next one its turn: ends @seen, and whatever that frees is given away. */
static void end(struct world *w, struct seen *seen)
{
	engine_kill(seen->task, CAUSE_CANCELLED);
	run_until_final(w, seen);
	settle(w);
}

static void end_all(struct world *w)
{
	engine_stop_all(w->engine, CAUSE_CANCELLED, true);
	run_until_all_final(w);
}

/* ---- caps ---- */

static void a_label_is_for_all_programs(void **state)
{
	struct world *w = *state;
	struct seen *a = hang(w, "a", "gpu"), *b = hang(w, "b", "gpu"), *c = hang(w, "c", "gpu");
	assert_string_equal(order, "a");
	assert_string_equal(waits_for(a), "");
	assert_string_equal(waits_for(b), "gpu");
	end(w, a);
	assert_string_equal(order, "ab");
	assert_string_equal(waits_for(c), "gpu");
	end(w, b);
	assert_string_equal(order, "abc");
	assert_string_equal(waits_for(c), "");
	end_all(w);
}

static void a_label_may_be_had_several_times(void **state)
{
	struct world *w = *state;
	struct seen *a = hang(w, "a", "matlab");
	hang(w, "b", "matlab");
	hang(w, "c", "matlab");
	hang(w, "d", "matlab");
	assert_string_equal(order, "ab");
	end(w, a);
	assert_string_equal(order, "abc");
	end_all(w);
}

static void labels_of_the_program_count_too(void **state)
{
	struct world *w = *state;
	char *gpu[] = { (char *)"gpu", NULL }, *both[] = { (char *)"disk", (char *)"gpu", NULL };
	struct seen *a = submit(w, &(struct job){ .sh = HANG, .id = "a", .program_labels = gpu });
	struct seen *b = submit(w, &(struct job){ .sh = HANG, .id = "b", .program_labels = both });
	struct seen *c = submit(w,
		&(struct job){ .sh = HANG, .id = "c", .labels = "matlab", .program_labels = both });
	assert_string_equal(order, "a");
	assert_string_equal(waits_for(b), "gpu");
	end(w, a);
	assert_string_equal(order, "ab");
	assert_string_equal(waits_for(c), "disk");
	end_all(w);
}

static void each_label_counts_once(void **state)
{
	struct world *w = *state;
	char *twice[] = { (char *)"matlab", (char *)"gpu", (char *)"gpu", NULL };
	submit(w,
		&(struct job){
			.sh = HANG, .id = "a", .labels = "gpu,gpu,gpu", .program_labels = twice });
	hang(w, "b", "matlab,matlab");
	assert_string_equal(order, "ab");
	assert_string_equal(waits_for(hang(w, "c", "gpu")), "gpu");
	end_all(w);
}

static void a_label_that_is_not_configured_has_no_cap(void **state)
{
	struct world *w = *state;
	char *strange[] = { (char *)"gp", (char *)"gpus", NULL };
	for (int i = 0; i < 5; i++)
		submit(w, &(struct job){
				  .sh = HANG, .labels = "other,GPU,g", .program_labels = strange });
	assert_int_equal(w->n_running, 5);
	end_all(w);
}

static void slots_of_the_program_and_labels_both_count(void **state)
{
	struct world *w = *state;
	const struct job one = { .sh = HANG, .name = "p", .slots = 1, .labels = "matlab" };
	struct seen *a = submit(w, &one), *b = submit(w, &one);
	struct seen *other = hang(w, "o", "matlab");
	assert_int_equal(w->n_running, 1);
	assert_string_equal(waits_for(b), "program");
	/* The second of two is for the one that waited before. */
	settle(w);
	assert_string_equal(waits_for(other), "matlab");
	end(w, a);
	assert_string_equal(waits_for(b), "");
	assert_string_equal(waits_for(other), "");
	end_all(w);
}

/* However a task ended, or did not start. */
static void every_end_frees_its_labels(void **state)
{
	struct world *w = *state;
	const struct job jobs[] = {
		{ .sh = "exit 3", .labels = "gpu,disk" },
		{ .path = "/nonexistent", .labels = "gpu" },
		{ .sh = "kill -KILL $$", .labels = "disk" },
		{ .sh = HANG, .labels = "gpu,disk", .timeout_ms = 20 },
		{ .path = "/nonexistent", .labels = "gpu,disk" },
		{ .sh = "printf last >" OUT, .labels = "disk,gpu" },
	};
	struct seen *seen = NULL;
	for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++)
		seen = submit(w, &jobs[i]);
	expect_success(w, seen, "last");
	assert_int_equal(w->n_final, 6);
}

/* ---- who goes past whom ---- */

static void others_go_past_what_waits(void **state)
{
	struct world *w = *state;
	hang(w, "a", "gpu");
	hang(w, "b", "gpu");
	hang(w, "c", "matlab");
	hang(w, "d", NULL);
	hang(w, "e", "disk");
	assert_string_equal(order, "acde"); /* at once */
	end_all(w);
}

/* B has the disk for itself once it is its turn; else C and those like it could have one of the
 * two at any time, and B never both. */
static void what_waits_keeps_what_it_could_have(void **state)
{
	struct world *w = *state;
	struct seen *a = hang(w, "a", "gpu"), *b = hang(w, "b", "gpu,disk");
	struct seen *c = hang(w, "c", "disk"), *d = hang(w, "d", "matlab");
	settle(w);
	assert_string_equal(order, "ad");
	assert_string_equal(waits_for(b), "gpu");
	assert_string_equal(waits_for(c), "disk");
	end(w, d); /* it changes nothing */
	assert_string_equal(order, "ad");
	end(w, a);
	assert_string_equal(order, "adb");
	end(w, b);
	assert_string_equal(order, "adbc");
	end_all(w);
}

static void whoever_needs_two_gets_them_in_the_end(void **state)
{
	struct world *w = *state;
	struct seen *gpu = hang(w, "g", "gpu"), *disk = hang(w, "d", "disk");
	struct seen *both = hang(w, "b", "disk,gpu");
	struct seen *later = hang(w, "e", "disk"), *last = hang(w, "h", "gpu");
	assert_string_equal(waits_for(both), "disk");
	end(w, disk);
	assert_string_equal(order, "gd");
	assert_string_equal(waits_for(both), "gpu");
	assert_string_equal(waits_for(later), "disk");
	end(w, gpu);
	assert_string_equal(order, "gdb");
	assert_string_equal(waits_for(last), "gpu");
	end(w, both);
	assert_int_equal(strlen(order), 5);
	end_all(w);
}

static void what_waits_keeps_one_of_several(void **state)
{
	struct world *w = *state;
	struct seen *a = hang(w, "a", "gpu"), *b = hang(w, "b", "gpu,matlab");
	struct seen *c = hang(w, "c", "matlab"), *d = hang(w, "d", "matlab");
	settle(w);
	assert_string_equal(order, "ac");
	assert_string_equal(waits_for(d), "matlab");
	end(w, a);
	assert_string_equal(order, "acb");
	end(w, c);
	assert_string_equal(order, "acbd");
	end(w, b);
	end_all(w);
}

/* ---- order ---- */

static void higher_rank_goes_first_then_age(void **state)
{
	struct world *w = *state;
	struct seen *seen[8] = { hang(w, "a", "gpu") };
	const struct {
		const char *id;
		int rank;
	} more[] = { { "b", 0 }, { "c", 5 }, { "d", 128 }, { "e", 5 }, { "f", 0 }, { "g", 129 },
		{ "h", 128 } };
	for (int i = 0; i < 7; i++)
		seen[i + 1] = hang_at(w, more[i].id, "gpu", more[i].rank);
	for (unsigned n = 1; n < 8; n++) {
		end(w, seen[strchr("abcdefgh", order[n - 1]) - "abcdefgh"]);
		assert_int_equal(strlen(order), n + 1);
	}
	assert_string_equal(order, "agdhcebf");
	end_all(w);
}

static void rank_counts_across_programs_and_labels(void **state)
{
	struct world *w = *state;
	const struct job low = { .sh = HANG, .id = "l", .name = "p", .slots = 1 };
	const struct job high = {
		.sh = HANG, .id = "h", .name = "p", .slots = 1, .labels = "gpu", .rank = 1
	};
	struct seen *a = submit(w, &(struct job){ .sh = HANG, .id = "a", .name = "p", .slots = 1 });
	struct seen *g = hang(w, "g", "gpu");
	submit(w, &low);
	submit(w, &high);
	end(w, a);
	/* The slot is for the one with the higher rank, though that waits for more. */
	assert_string_equal(order, "ag");
	end(w, g);
	assert_string_equal(order, "agh");
	end_all(w);
}

/* A thousand, in the order of their rank and then of their coming. */
static void a_thousand_wait(void **state)
{
	struct world *w = *state;
	enum { N = 1000, RANKS = 7 };
	static struct seen *seen[N];
	struct seen *first = hang(w, "first", "gpu");
	for (int i = 0; i < N; i++)
		seen[i] = submit(w, &(struct job){ .path = "/bin/true",
					    .name = "p",
					    .slots = 2,
					    .labels = i % 2 ? "gpu" : "disk,gpu",
					    .rank = i * 5 % RANKS });
	assert_int_equal(w->n_running, 1);
	assert_int_equal(engine_count(w->engine), N + 1);
	engine_kill(first->task, CAUSE_CANCELLED);
	for (int rank = RANKS - 1, n = 1; rank >= 0; rank--)
		for (int i = 0; i < N; i++)
			if (i * 5 % RANKS == rank) {
				run_until_final(w, seen[i]);
				assert_int_equal(w->n_final, ++n);
			}
	assert_int_equal(w->running_most, 1);
}

/* Each change looks at all that wait; of many that end at once none is lost. */
static void a_thousand_are_stopped(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 1000; i++)
		submit(w, &(struct job){ .sh = HANG,
				  .name = i % 2 ? "odd" : "even",
				  .slots = 1,
				  .labels = i % 3 ? "gpu" : "disk",
				  .rank = i % 10 });
	unsigned n = w->n_running;
	assert_in_range(n, 1, 2);
	engine_stop_waiting(w->engine, CAUSE_SHUTTING_DOWN);
	assert_int_equal(w->n_final, 1000 - n);
	assert_int_equal(engine_count(w->engine), n);
	end_all(w);
}

/* ---- what waits is ended ---- */

static void what_waits_can_be_stopped(void **state)
{
	struct world *w = *state;
	struct seen *a = hang(w, "a", "gpu"), *b = hang(w, "b", "gpu"), *c = hang(w, "c", "gpu"),
		    *d = hang(w, "d", "gpu");
	assert_ptr_equal(engine_find(w->engine, "c"), c->task);
	assert_true(engine_stop(w->engine, c->task, CAUSE_CANCELLED));
	assert_int_equal(c->n_final, 1); /* at once */
	assert_int_equal(c->outcome.status, STATUS_CANCELLED);
	assert_int_equal(c->n_running, 0);
	engine_kill(b->task, CAUSE_CANCELLED);
	assert_int_equal(b->n_final, 1);
	assert_string_equal(waits_for(d), "gpu");
	end(w, a);
	assert_string_equal(order, "ad");
	end_all(w);
}

static void the_end_of_what_waits_lets_others_go(void **state)
{
	struct world *w = *state;
	hang(w, "a", "gpu");
	struct seen *b = hang(w, "b", "gpu,disk"), *c = hang(w, "c", "disk");
	settle(w);
	assert_int_equal(c->n_running, 0);
	assert_true(engine_stop(w->engine, b->task, CAUSE_CANCELLED));
	run_until(w, has_started, c);
	assert_string_equal(order, "ac");
	end_all(w);
}

static void submit_another(struct world *w, struct seen *seen)
{
	(void)seen;
	if (w->n_jobs < 20)
		submit(w, &(struct job){
				  .sh = "exit 0", .labels = "gpu", .rank = (int)w->n_jobs % 3 });
}

static void tasks_may_be_submitted_from_within(void **state)
{
	struct world *w = *state;
	w->on_running = w->on_final = submit_another;
	submit(w, &(struct job){ .sh = "exit 0", .labels = "gpu,disk" });
	run_until_all_final(w);
	assert_int_equal(w->n_final, 20);
	assert_int_equal(w->running_most, 1);
}

/* ---- a reload ---- */

static void the_newest_number_of_slots_counts(void **state)
{
	struct world *w = *state;
	const struct job one = { .sh = HANG, .name = "p", .slots = 1 };
	const struct job three = { .sh = HANG, .name = "p", .slots = 3 };
	for (int i = 0; i < 4; i++)
		submit(w, &one);
	settle(w);
	assert_int_equal(w->n_running, 1);
	submit(w, &three);
	settle(w);
	assert_int_equal(w->n_running, 3);
	submit(w, &(struct job){ .sh = HANG, .name = "p" });
	settle(w);
	assert_int_equal(w->n_running, 6);
	struct seen *last = submit(w, &one);
	settle(w);
	assert_string_equal(waits_for(last), "program");
	end_all(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_LABELS(a_label_is_for_all_programs),
		WITH_LABELS(a_label_may_be_had_several_times),
		WITH_LABELS(labels_of_the_program_count_too),
		WITH_LABELS(each_label_counts_once),
		WITH_LABELS(a_label_that_is_not_configured_has_no_cap),
		WITH_LABELS(slots_of_the_program_and_labels_both_count),
		WITH_LABELS(every_end_frees_its_labels),
		WITH_LABELS(others_go_past_what_waits),
		WITH_LABELS(what_waits_keeps_what_it_could_have),
		WITH_LABELS(whoever_needs_two_gets_them_in_the_end),
		WITH_LABELS(what_waits_keeps_one_of_several),
		WITH_LABELS(higher_rank_goes_first_then_age),
		WITH_LABELS(rank_counts_across_programs_and_labels),
		WITH_LABELS(a_thousand_wait),
		WITH_LABELS(a_thousand_are_stopped),
		WITH_LABELS(what_waits_can_be_stopped),
		WITH_LABELS(the_end_of_what_waits_lets_others_go),
		WITH_LABELS(tasks_may_be_submitted_from_within),
		WITH_LABELS(the_newest_number_of_slots_counts),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	log_set_level(LOG_ERROR);
	signals_prepare();
	return cmocka_run_group_tests_name("engine-slots", tests, NULL, NULL);
}
