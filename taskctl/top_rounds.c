/* SPDX-License-Identifier: Apache-2.0 */
/* Again and again all runners are asked what they have; and told what is to be done to a task. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "taskctl/top_private.h"

#define PATIENCE_MS       3000 /* of a round; runners that were there may be busy */
#define ORDER_PATIENCE_MS 10000

static void round_deinit(struct top_round *round)
{
	for (size_t i = 0; i < round->n_tasks; i++)
		taskclient_answer_free(round->tasks[i]);
	free(round->tasks);
	*round = (struct top_round){ 0 };
}

/* ---- answers ---- */

static void on_task(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct top *top = userdata;
	struct taskclient_answer **more, *copy;

	(void)index;
	if (!answer || !taskclient_answer_text(answer, "id") ||
		taskclient_answer_text(answer, "error"))
		return;
	more = reallocarray(top->next.tasks, top->next.n_tasks + 1, sizeof(*more));
	if (more)
		top->next.tasks = more;
	copy = more ? taskclient_answer_copy(answer) : NULL;
	if (copy)
		more[top->next.n_tasks++] = copy;
	else
		top_leave(top, EXIT_LOCAL, "out of memory");
}

static void on_runner(void *userdata, const struct taskclient_answer *answer)
{
	struct top *top = userdata;
	int64_t slots = 0, used = 0;

	(void)taskclient_answer_int(answer, "slots", &slots);
	(void)taskclient_answer_int(answer, "used", &used);
	top->next.n_runners++;
	top->next.slots += slots;
	top->next.used += used;
}

/* ---- rounds ---- */

static void fail(struct top *top, const struct asking *asking, int status)
{
	if (status != 0)
		top_leave(top, status, "%s", asking->trouble);
}

static void begin_round(struct top *top)
{
	int r;

	top->asking = (struct asking){
		.client = top->client,
		.exchange = top->options.broker.control,
		.wait_ms = PATIENCE_MS,
		.calls_roll = true,
		.keeps_quiet = true,
		.on_answer = on_task,
		.on_roll = on_runner,
		.userdata = top,
	};
	top->is_asking = true;
	top->asked_us = clock_now_us();
	r = asking_put(&top->asking, &top->list);
	if (r == 0)
		r = asking_call_roll(&top->asking, top->list.runner);
	fail(top, &top->asking, r);
}

static void end_round(struct top *top)
{
	top->is_silent = asking_answered(&top->asking) == 0;
	round_deinit(&top->shown);
	top->shown = top->next;
	top->next = (struct top_round){ 0 };
	top->has_shown = true;
	asking_deinit(&top->asking);
	top->is_asking = false;
	top_fill(top);
}

static uint64_t next_us(const struct top *top)
{
	return top->asked_us + top->interval_ms * 1000;
}

void top_tick(struct top *top)
{
	if (top->is_asking && asking_is_over(&top->asking))
		end_round(top);
	if (!top->is_asking && !top->is_over && clock_now_us() >= next_us(top))
		begin_round(top);
}

int top_wait_ms(const struct top *top)
{
	uint64_t now = clock_now_us(), next = next_us(top);
	uint64_t ms = next > now ? (next - now) / 1000 + 1 : 1;

	if (top->is_asking)
		return asking_wait_ms(&top->asking);
	return ms < (uint64_t)taskclient_wait_ms(top->client) ? (int)ms
							      : taskclient_wait_ms(top->client);
}

/* ---- orders ---- */

static void on_order(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct top *top = userdata;
	const char *result = taskclient_answer_text(answer, "result");
	const char *error = taskclient_answer_text(answer, "error");
	const char *runner = taskclient_answer_text(answer, "runner");
	const char *op = top->op;

	(void)index;
	runner = runner ? runner : "a runner";
	if (!answer)
		top_say(top, "%s: no runner has answered in time", op);
	else if (result && strcmp(result, TASKCLIENT_ACCEPTED) == 0)
		top_say(top, "%s: accepted by %s", op, runner);
	else if (result && strcmp(result, TASKCLIENT_GONE) == 0)
		top_say(top, "%s: it has ended already, says %s", op, runner);
	else if (result && strcmp(result, TASKCLIENT_NOT_RUNNING) == 0)
		top_say(top, "%s: it is in no state for it, says %s", op, runner);
	else
		top_say(top, "%s: %s", op, error ? error : "an answer that says nothing");
	top->asked_us = 0; /* what has come of it is to be seen soon */
}

void top_order(struct top *top, const char *op)
{
	const struct taskclient_control control = { .op = op, .id = top->selected_id };

	if (!top->selected_id)
		return;
	asking_deinit(&top->order); /* it went out; who answers to it is not waited for */
	top->op = op;
	top->order = (struct asking){
		.client = top->client,
		.exchange = top->options.broker.control,
		.wait_ms = ORDER_PATIENCE_MS,
		.keeps_quiet = true,
		.on_answer = on_order,
		.userdata = top,
	};
	top_say(top, "%s %s: asked", op, top->selected_id);
	fail(top, &top->order, asking_put(&top->order, &control));
}

void top_take(struct top *top, const struct taskclient_event *event)
{
	int status = 0;

	if (event->kind == TASKCLIENT_BLOCKED)
		top_say(top, "the broker takes no messages for now: %s", event->error.text);
	else if (event->kind == TASKCLIENT_UNBLOCKED)
		top_say(top, "the broker takes messages again");
	else if (event->kind == TASKCLIENT_BAD_ANSWER)
		top_say(top, "an answer that is not understood: %s", event->error.text);
	if (asking_take(&top->asking, event, &status))
		fail(top, &top->asking, status);
	else if (asking_take(&top->order, event, &status))
		fail(top, &top->order, status);
}

void top_rounds_deinit(struct top *top)
{
	asking_deinit(&top->asking);
	asking_deinit(&top->order);
	round_deinit(&top->next);
	round_deinit(&top->shown);
}
