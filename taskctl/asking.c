/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/asking.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/clock.h"
#include "taskctl/human.h"

#define WAIT_MAX 1000000000u

struct asked {
	uint64_t number;
	bool is_open;
	bool is_to_many;
};

struct told {
	UT_hash_handle hh;
	char key[]; /* instance, slash, id; the first holds no slash */
};

static void complain(struct asking *a, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void complain(struct asking *a, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(a->trouble, sizeof(a->trouble), format, args);
	va_end(args);
	if (!a->keeps_quiet)
		say("%s", a->trouble);
}

/* ---- asking ---- */

static unsigned patience_ms(const struct asking *a)
{
	return a->wait_ms > WAIT_MAX ? WAIT_MAX : (unsigned)a->wait_ms;
}

static int ask(struct asking *a, const struct taskclient_control *control, unsigned quiet_ms,
	uint64_t *ret)
{
	struct taskclient_control question = *control;
	struct taskclient_error err = { 0 };
	int r;

	question.patience_ms = patience_ms(a);
	question.quiet_ms = quiet_ms;
	r = taskclient_ask(a->client, &question, ret, &err);
	if (r == 0)
		return 0;
	complain(a, "%s", err.text);
	return r == -EINVAL ? EXIT_USAGE : r == -ENOMEM ? EXIT_LOCAL : EXIT_BROKER;
}

int asking_put(struct asking *a, const struct taskclient_control *control)
{
	unsigned quiet_ms = a->calls_roll ? patience_ms(a) : ASKING_QUIET_MS;
	struct asked *more = reallocarray(a->asked, a->n + 1, sizeof(*more));
	int r;

	if (!more) {
		complain(a, "out of memory");
		return EXIT_LOCAL;
	}
	a->asked = more;
	more[a->n] = (struct asked){ .is_open = true, .is_to_many = !control->id };
	r = ask(a, control, quiet_ms, &more[a->n].number);
	if (r == 0) {
		a->n++;
		a->n_open++;
	}
	return r;
}

int asking_call_roll(struct asking *a, const char *runner)
{
	const struct taskclient_control ping = { .op = "ping", .runner = runner };
	int r = ask(a, &ping, ASKING_QUIET_MS, &a->roll);

	a->roll_is_open = r == 0;
	return r;
}

/* ---- who answers ---- */

static struct asking_runner *add_runner(struct asking *a, const char *name, const char *instance)
{
	struct asking_runner *more = reallocarray(a->runners, a->n_runners + 1, sizeof(*more));

	if (!more)
		return NULL;
	a->runners = more;
	more[a->n_runners] = (struct asking_runner){ strdup(name), strdup(instance), 0 };
	if (more[a->n_runners].name && more[a->n_runners].instance)
		return &more[a->n_runners++];
	free(more[a->n_runners].name);
	free(more[a->n_runners].instance);
	return NULL;
}

/* NULL: it does not say who it is, or memory is short. */
static struct asking_runner *runner_of(struct asking *a, const struct taskclient_answer *answer)
{
	const char *name = taskclient_answer_text(answer, "runner");
	const char *instance = taskclient_answer_text(answer, "instance");

	if (!name)
		return NULL;
	instance = instance ? instance : name;
	for (size_t i = 0; i < a->n_runners; i++)
		if (strcmp(a->runners[i].instance, instance) == 0)
			return &a->runners[i];
	return add_runner(a, name, instance);
}

/* A question whose answer was late was put again, and answered again. */
static bool is_repeated(struct asking *a, const struct asking_runner *runner, const char *id)
{
	size_t size = strlen(runner->instance) + strlen(id) + 2;
	struct told *found, *t = malloc(sizeof(*t) + size);

	if (!t)
		return false;
	snprintf(t->key, size, "%s/%s", runner->instance, id);
	HASH_FIND_STR(a->told, t->key, found);
	if (found)
		free(t);
	else
		HASH_ADD_STR(a->told, key, t);
	return found;
}

/* Whether it is to be told, too. */
static bool take_of_many(struct asking *a, size_t index, const struct taskclient_answer *answer)
{
	struct asking_runner *runner = runner_of(a, answer);
	const char *id = taskclient_answer_text(answer, "id"),
		   *result = taskclient_answer_text(answer, "result");
	char last_word[32];
	int64_t count = 0;

	if (!runner)
		return true;
	if (id && !taskclient_answer_text(answer, "error")) {
		if (is_repeated(a, runner, id))
			return false;
		runner->n_told++;
		return true;
	}
	snprintf(last_word, sizeof(last_word), "/%zu", index); /* no id begins so */
	if (is_repeated(a, runner, last_word))
		return false;
	runner->has_ended = true;
	if (!result || strcmp(result, TASKCLIENT_END) != 0)
		return true;
	if (taskclient_answer_int(answer, "count", &count) && count > 0)
		runner->n_said = (uint64_t)count;
	return false;
}

static void take_roll(struct asking *a, const struct taskclient_event *event)
{
	struct asking_runner *runner;

	if (event->kind != TASKCLIENT_ANSWER) {
		a->roll_is_open = event->kind == TASKCLIENT_BAD_ANSWER;
		return;
	}
	runner = runner_of(a, event->answer);
	if (!runner || runner->is_there)
		return;
	runner->is_there = true;
	if (a->on_roll)
		a->on_roll(a->userdata, event->answer);
}

/* ---- what comes of a question ---- */

static void close_question(struct asking *a, struct asked *asked)
{
	asked->is_open = false;
	a->n_open--;
}

static void on_answer(struct asking *a, struct asked *asked, const struct taskclient_event *event)
{
	size_t index = (size_t)(asked - a->asked);

	a->heard_us = clock_now_us();
	if (!asked->is_to_many || take_of_many(a, index, event->answer))
		a->on_answer(a->userdata, index, event->answer);
	if (!asked->is_to_many && asked->is_open)
		close_question(a, asked);
}

static int on_no_answer(struct asking *a, struct asked *asked, const struct taskclient_event *event)
{
	close_question(a, asked);
	if (event->error.code == -ENOENT) {
		complain(a,
			"there is no control exchange '%s': either no runner has ever run here, or "
			"--control must name another: %s",
			a->exchange ? a->exchange : TASKCLIENT_CONTROL, event->error.text);
		return EXIT_NO_QUEUE;
	}
	if (event->error.code == -EACCES) {
		complain(a, "%s", event->error.text);
		return EXIT_BROKER;
	}
	a->on_answer(a->userdata, (size_t)(asked - a->asked), NULL);
	return 0;
}

/* Numbers of questions rise, but not by one where others ask, too. */
static struct asked *find(struct asking *a, uint64_t number)
{
	size_t low = 0, high = a->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (a->asked[middle].number == number)
			return &a->asked[middle];
		if (a->asked[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool is_about_question(const struct taskclient_event *event)
{
	return event->kind == TASKCLIENT_ANSWER || event->kind == TASKCLIENT_ANSWERED ||
	       event->kind == TASKCLIENT_BAD_ANSWER || event->kind == TASKCLIENT_NO_ANSWER;
}

bool asking_take(struct asking *a, const struct taskclient_event *event, int *ret_status)
{
	struct asked *asked;

	if (!is_about_question(event))
		return false;
	if (a->roll && event->question == a->roll) {
		take_roll(a, event);
		return true;
	}
	asked = find(a, event->question);
	if (!asked)
		return false;
	a->was_noted = a->was_noted || event->is_noted;
	if (event->kind == TASKCLIENT_ANSWER)
		on_answer(a, asked, event);
	else if (event->kind == TASKCLIENT_ANSWERED)
		close_question(a, asked);
	else if (event->kind == TASKCLIENT_NO_ANSWER)
		*ret_status = on_no_answer(a, asked, event);
	return true;
}

/* ---- how long ---- */

/* All that are there have said their last word. Tasks of which they tell may come behind it: on
 * another connection, or not at all, where it was too much for them. */
static bool is_complete(const struct asking *a, bool *ret_is_quiet)
{
	*ret_is_quiet = true;
	for (size_t i = 0; i < a->n_runners; i++) {
		const struct asking_runner *r = &a->runners[i];

		if (!r->has_ended)
			return *ret_is_quiet = false;
		if (r->n_told < r->n_said)
			*ret_is_quiet = false;
	}
	return true;
}

static uint64_t quiet_us(const struct asking *a)
{
	return a->heard_us + ASKING_QUIET_MS * 1000ull;
}

bool asking_is_over(const struct asking *a)
{
	bool is_quiet;

	if (a->n_open == 0)
		return true;
	if (!a->calls_roll || a->roll_is_open || a->n_runners == 0 || !a->asked[0].is_to_many)
		return false;
	return is_complete(a, &is_quiet) && (is_quiet || clock_now_us() >= quiet_us(a));
}

int asking_wait_ms(const struct asking *a)
{
	int ms = taskclient_wait_ms(a->client);

	return ms < ASKING_QUIET_MS / 3 ? ms : ASKING_QUIET_MS / 3;
}

int asking_wait(struct asking *a)
{
	int status = 0;

	while (status == 0 && !asking_is_over(a)) {
		struct pollfd p = { .fd = taskclient_fd(a->client), .events = POLLIN };
		struct taskclient_event *event;
		struct taskclient_error err = { 0 };
		int r = taskclient_next(a->client, &event, &err);

		if (r < 0) {
			say("lost the connection to the broker: %s", err.text);
			return EXIT_BROKER;
		}
		if (r == 0) {
			(void)poll(&p, 1, asking_wait_ms(a));
			continue;
		}
		(void)asking_take(a, event, &status);
		if (event->kind == TASKCLIENT_BLOCKED)
			say("the broker takes no messages for now: %s", event->error.text);
		if (event->kind == TASKCLIENT_BAD_ANSWER)
			say("an answer that is not understood: %s", event->error.text);
		taskclient_event_free(event);
	}
	return status;
}

/* ---- afterwards ---- */

size_t asking_answered(const struct asking *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_runners; i++)
		n += a->runners[i].is_there || a->runners[i].has_ended;
	return n;
}

int asking_tell_silent(const struct asking *a)
{
	int status = 0;

	for (size_t i = 0; i < a->n_runners; i++) {
		const struct asking_runner *r = &a->runners[i];

		if (!r->has_ended) {
			say("runner %s is there, but has not said all in time; --wait TIME waits "
			    "longer",
				r->name);
			status = EXIT_TOO_LATE;
		} else if (r->n_told < r->n_said) {
			say("runner %s has told of %llu of %llu only: it or the broker was too "
			    "busy "
			    "for more",
				r->name, (unsigned long long)r->n_told,
				(unsigned long long)r->n_said);
			status = EXIT_TOO_LATE;
		}
	}
	return status;
}

void asking_tell_nobody(const struct asking *a)
{
	struct buf time = { 0 };

	(void)human_duration(&time, (int64_t)patience_ms(a));
	say("no runner has answered within %.*s: is one running, and connected to this broker? "
	    "--wait TIME waits longer",
		(int)time.len, time.len > 0 ? time.data : "");
	buf_deinit(&time);
}

void asking_deinit(struct asking *a)
{
	struct told *t, *next;

	HASH_ITER (hh, a->told, t, next) {
		HASH_DEL(a->told, t);
		free(t);
	}
	for (size_t i = 0; i < a->n_runners; i++) {
		free(a->runners[i].name);
		free(a->runners[i].instance);
	}
	free(a->runners);
	free(a->asked);
	a->asked = NULL;
	a->runners = NULL;
	a->n = a->n_open = a->n_runners = 0;
	a->roll = 0;
	a->roll_is_open = false;
}
