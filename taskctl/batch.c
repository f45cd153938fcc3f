/* SPDX-License-Identifier: Apache-2.0 */

/*
 * taskctl batch: many tasks, so many at once, results in the order of the file.
 *
 * Responses are kept in a mailbox of the batch, and settled when the result is on the disk: what
 * came, but was not written when we were interrupted, comes again to the next. It gives its tasks
 * the same ids, so that what it finds there is known, and a request for what is still running is
 * recognised by the runner.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "taskctl/batch.h"
#include "wire/fingerprint.h"

#define VERB               "batch"
#define FAULTS_MAX         10     /* so many malformed lines are told */
#define FLUSH_US           100000 /* results are this long in memory */
#define FLUSH_BYTES        (1 << 20)
#define AGAIN_US           500000 /* before what a queue refused is sent again */
#define PAUSE_MAX_MS       3000
#define CANCEL_PATIENCE_MS 10000
#define NAME_MAX_LEN       60
#define WINDOW_MAX         10000

enum {
	OPTION_TABLE = OPTION_OF_VERB,
	OPTION_TEMPLATE,
	OPTION_PROGRAM,
	OPTION_WINDOW,
	OPTION_RESULTS,
	OPTION_RETRY,
	OPTION_NAME,
	OPTION_KEEP,
};

struct batch_verb {
	struct common_options options;
	struct ask ask;
	struct batch_source source;
	struct batch_results results;
	struct slots slots;
	struct taskclient *client;
	struct batch_show show;
	const char *given_name;
	char name[TASKCLIENT_ID_MAX], mailbox[TASKCLIENT_MAILBOX_SIZE];
	uint64_t keep_ms, window;
	bool retry_failed;
	uint64_t n_todo;
	struct batch_counts counts; /* but for what the slots know */
	bool is_read;               /* the file is at its end */
	bool has_next;
	struct batch_task next; /* read, and has no slot yet */
	bool may_repeat;        /* something was sent twice, perhaps */
	uint32_t n_kept;        /* in the mailbox, from before: read first */
	struct strays strays;
	int signal_fd;
	unsigned n_signals;
	uint64_t flush_us, again_us;
};

/* ---- options ---- */

static int take_window(struct batch_verb *v)
{
	int64_t window;

	if (parse_int(optarg, 1, WINDOW_MAX, &window) < 0)
		return usage_error(VERB, "--window: '%s' is not 1 to %d", optarg, WINDOW_MAX);
	v->window = (uint64_t)window;
	return GOING_ON;
}

static int take_name(struct batch_verb *v)
{
	if (!taskclient_id_is_valid(optarg) || strlen(optarg) > NAME_MAX_LEN)
		return usage_error(VERB, "--name: 1 to %d bytes without '/'", NAME_MAX_LEN);
	v->given_name = optarg;
	return GOING_ON;
}

static int take_option(void *verb, int c)
{
	struct batch_verb *v = verb;

	switch (c) {
	case OPTION_TABLE:
		v->source.is_table = true;
		return GOING_ON;
	case OPTION_TEMPLATE:
		v->source.template = optarg;
		return GOING_ON;
	case OPTION_PROGRAM:
		v->ask.request.program = optarg;
		return GOING_ON;
	case OPTION_WINDOW:
		return take_window(v);
	case OPTION_RESULTS:
		v->results.name = optarg;
		return GOING_ON;
	case OPTION_RETRY:
		v->retry_failed = true;
		return GOING_ON;
	case OPTION_NAME:
		return take_name(v);
	case OPTION_KEEP:
		return read_duration(VERB, "--keep", optarg, &v->keep_ms) == 0 ? GOING_ON
									       : EXIT_USAGE;
	case 'q':
		v->show.quiet = true;
		return GOING_ON;
	default:
		return ask_take_option(VERB, &v->ask, c);
	}
}

static int check_options(struct batch_verb *v, int argc, char **argv)
{
	if (optind == argc)
		return usage_error(VERB, "which file? Its name is missing; - is stdin");
	if (argc - optind > 1)
		return usage_error(VERB, "'%s' is too much: one file", argv[optind + 1]);
	if (v->source.template && !v->source.is_table)
		return usage_error(VERB, "--input-template is for a --table");
	if (v->source.template && batch_open_brace(v->source.template))
		return usage_error(VERB, "--input-template: a brace is not closed: '%s'",
			batch_open_brace(v->source.template));
	if (v->retry_failed && !v->results.name)
		return usage_error(VERB, "--retry-failed needs the --results of before");
	if (v->source.is_table && !v->ask.request.program)
		return usage_error(VERB, "a --table needs a --program");
	return GOING_ON;
}

/* ---- the file, once through: is it well, and how much is it? ---- */

static uint64_t mix(uint64_t print, const struct batch_task *task)
{
	const struct slice parts[] = {
		{ (const char *)&print, sizeof(print) },
		slice_of(task->id),
		slice_of(task->program),
		buf_slice(&task->input),
	};

	return fingerprint(parts, sizeof(parts) / sizeof(*parts));
}

static void tell_fault(const struct batch_verb *v, uint64_t n, const struct error *err)
{
	if (n <= FAULTS_MAX)
		say("%s: line %" PRIu64 ": %s", v->source.name, v->source.line, err->text);
	else if (n == FAULTS_MAX + 1)
		say("%s: and more", v->source.name);
}

static int read_through(struct batch_verb *v, uint64_t *ret_print)
{
	struct batch_task task;
	struct error err = { 0 };
	uint64_t n_faults = 0;
	int r;

	*ret_print = 0;
	while ((r = batch_next(&v->source, &task, &err)) != 0) {
		if (r == -EINVAL) {
			tell_fault(v, ++n_faults, &err);
			continue;
		}
		if (r < 0) {
			say("cannot read %s: %s", v->source.name, err.text);
			return EXIT_LOCAL;
		}
		v->counts.tasks++;
		*ret_print = mix(*ret_print, &task);
		batch_task_deinit(&task);
	}
	if (n_faults == 0)
		return 0;
	say("malformed lines: %" PRIu64 "; nothing was sent", n_faults);
	return EXIT_USAGE;
}

/* Which tasks are left, and how those ended that are not. */
static void count_task(struct batch_verb *v, uint64_t line)
{
	if (batch_is_wanted(&v->results, line, v->retry_failed)) {
		v->n_todo++;
		return;
	}
	v->counts.earlier++;
	v->counts.ends[v->results.lines[line].end]++;
}

static int count_todo(struct batch_verb *v)
{
	struct batch_task task;
	int r = batch_rewind(&v->source);

	while (r == 0 && (r = batch_next(&v->source, &task, NULL)) > 0) {
		count_task(v, task.line);
		batch_task_deinit(&task);
		r = 0;
	}
	return r != 0 ? EXIT_LOCAL : batch_rewind(&v->source);
}

/* The same for the same tasks and the same results: "tasks.jsonl-1f5e…". */
static int make_name(struct batch_verb *v, uint64_t print)
{
	const char *base = strrchr(v->source.name, '/');
	cleanup_free char *path = v->results.name ? realpath(v->results.name, NULL) : NULL;
	char unique[TASKCLIENT_ID_SIZE] = "", *to = v->name;
	struct slice parts[2] = { { (const char *)&print, sizeof(print) } };

	if (v->given_name) {
		snprintf(v->name, sizeof(v->name), "%s", v->given_name);
		return 0;
	}
	if (!path && taskclient_make_id(unique) < 0)
		return EXIT_LOCAL;
	parts[1] = slice_of(path ? path : unique);
	base = base ? base + 1 : v->source.name;
	for (size_t i = 0; base[i] && i < 40; i++)
		*to++ = (char)(strchr("/ \t", base[i]) || base[i] < ' ' ? '_' : base[i]);
	snprintf(to, sizeof(v->name) - (size_t)(to - v->name), "-%016" PRIx64,
		fingerprint(parts, 2));
	return 0;
}

static int prepare(struct batch_verb *v, const char *file)
{
	uint64_t print;
	int r = batch_open(&v->source, file);

	if (r == 0)
		r = read_through(v, &print);
	if (r == 0)
		r = batch_results_open(&v->results, v->source.next_line);
	if (r == 0)
		r = count_todo(v);
	if (r == 0)
		r = make_name(v, print);
	if (r == 0 && slots_init(&v->slots, 2 * v->window) < 0)
		r = EXIT_LOCAL;
	taskclient_mailbox_name(v->name, v->mailbox);
	return r;
}

/* ---- what is shown ---- */

static const struct batch_counts *count(struct batch_verb *v)
{
	const size_t *states = v->slots.counts;

	v->counts.waiting = states[SLOT_SENT] + states[SLOT_QUEUED];
	v->counts.running = states[SLOT_RUNNING];
	return &v->counts;
}

#define NOTICE(v, ...)                            \
	do {                                      \
		if (!(v)->show.quiet) {           \
			bar_hide(&(v)->show.bar); \
			say(__VA_ARGS__);         \
		}                                 \
	} while (0)

#define COMPLAIN(v, ...)                  \
	do {                              \
		bar_hide(&(v)->show.bar); \
		say(__VA_ARGS__);         \
	} while (0)

/* ---- results ---- */

/* The connection is gone; less than any exit status, and not GOING_ON. */
#define LOST (-2)

static int no_memory(void)
{
	say("out of memory");
	return EXIT_LOCAL;
}

static int settle(struct batch_verb *v, uint64_t mail)
{
	return mail == 0 || taskclient_mailbox_settle(v->client, mail, NULL) == 0 ? GOING_ON : LOST;
}

static int flush(struct batch_verb *v)
{
	int r = batch_flush(&v->results);
	size_t n = v->results.n_mails;

	v->results.n_mails = 0;
	v->flush_us = clock_now_us() + FLUSH_US;
	if (r < 0) {
		COMPLAIN(v, "results cannot be written: %s", strerror(-r));
		return EXIT_LOCAL;
	}
	r = GOING_ON;
	for (size_t i = 0; i < n && v->client && r == GOING_ON; i++)
		r = settle(v, v->results.mails[i]);
	return r;
}

/* Where the next start does it again. */
static bool is_for_next_start(const struct batch_verb *v, const struct slot *slot)
{
	return v->results.name && slot->end == BATCH_INTERRUPTED;
}

static int add_end(struct batch_verb *v, const struct slot *slot, enum batch_end end)
{
	return batch_add(&v->results, slot->task.line, end, buf_slice(&slot->record), slot->mail);
}

/* All ends that wait for none before them. What comes after one that the next start does again
 * stays at the broker until then, for results are in order. */
static int write_ends(struct batch_verb *v)
{
	while (v->slots.n > 0 && slots_at(&v->slots, 0)->state == SLOT_OVER) {
		struct slot *slot = slots_at(&v->slots, 0);

		if (is_for_next_start(v, slot))
			break;
		if (add_end(v, slot, slot->end) < 0)
			return no_memory();
		slots_drop(&v->slots);
	}
	return v->results.out.len > FLUSH_BYTES ? flush(v) : GOING_ON;
}

static int write_interrupted_slot(struct batch_verb *v, struct slot *slot)
{
	bool is_left = slot->is_given_up && slot->state != SLOT_OVER;

	if (!is_left && !is_for_next_start(v, slot))
		return 0;
	if (is_left &&
		batch_encode_left(&slot->record, slot->task.line, slot->id, slot->task.program) < 0)
		return -ENOMEM;
	return add_end(v, slot, BATCH_INTERRUPTED);
}

/* The last that is written: the next start is told of them, because it must use other ids, for
 * which no runner has heard of a cancel, and which no answer of now is for. */
static int write_interrupted(struct batch_verb *v)
{
	for (size_t i = 0; v->results.name && i < v->slots.n; i++)
		if (write_interrupted_slot(v, slots_at(&v->slots, i)) < 0)
			return no_memory();
	return GOING_ON;
}

static int end_slot(struct batch_verb *v, struct slot *slot, enum batch_end end)
{
	slot->end = end;
	v->counts.ends[end]++;
	v->counts.done += end != BATCH_INTERRUPTED;
	slots_set(&v->slots, slot, SLOT_OVER);
	return write_ends(v);
}

static enum batch_end end_by(const struct slot *slot, enum taskclient_status status)
{
	if (status == TASKCLIENT_STATUS_SUCCESS)
		return BATCH_SUCCEEDED;
	if (status != TASKCLIENT_STATUS_CANCELLED)
		return BATCH_FAILED;
	return slot->is_given_up ? BATCH_INTERRUPTED : BATCH_CANCELLED;
}

static int take_end(struct batch_verb *v, struct slot *slot, const struct taskclient_event *event)
{
	enum batch_end end = end_by(slot, event->status);

	if (batch_encode(&slot->record, slot->task.line, event, slot->task.program,
		    end == BATCH_INTERRUPTED) < 0)
		return no_memory();
	slot->mail = event->mail;
	return end_slot(v, slot, end);
}

static int refuse(struct batch_verb *v, struct slot *slot, const char *why)
{
	if (batch_encode_refused(
		    &slot->record, slot->task.line, slot->id, slot->task.program, why) < 0)
		return no_memory();
	return end_slot(v, slot, BATCH_FAILED);
}

/* ---- ends without a slot ---- */

/* Of a task that is still to come in the file: it waits for that. Those of tasks whose results are
 * written look the same, so there is a limit; what is dropped is done again. */
static int keep_stray(struct batch_verb *v, struct taskclient_event **event)
{
	if ((v->is_read && !v->has_next) || v->strays.n > v->slots.size + v->n_kept)
		return settle(v, (*event)->mail);
	return strays_add(&v->strays, event) < 0 ? no_memory() : GOING_ON;
}

/* ---- sending ---- */

/* Each time that a line is done it has an id of its own. */
static void name_task(const struct batch_verb *v, const struct batch_task *task, char *ret)
{
	unsigned times = v->results.lines[task->line].times;

	if (task->id && times == 0)
		snprintf(ret, TASKCLIENT_ID_SIZE, "%s", task->id);
	else if (task->id)
		snprintf(ret, TASKCLIENT_ID_SIZE, "%.*s-r%u", TASKCLIENT_ID_MAX - 8, task->id,
			times);
	else if (times == 0)
		snprintf(ret, TASKCLIENT_ID_SIZE, "%.90s-%" PRIu64, v->name, task->line);
	else
		snprintf(ret, TASKCLIENT_ID_SIZE, "%.90s-%" PRIu64 "-r%u", v->name, task->line,
			times);
}

/* 1: v->next is there. */
static int read_next(struct batch_verb *v)
{
	struct error err = { 0 };
	int r = 1;

	while (!v->has_next && !v->is_read) {
		r = batch_next(&v->source, &v->next, &err);
		if (r < 0) {
			COMPLAIN(v, "%s has changed: line %" PRIu64 ": %s", v->source.name,
				v->source.line, err.text);
			return EXIT_LOCAL + 1; /* positive and not 1 */
		}
		v->is_read = r == 0;
		v->has_next = r > 0 && v->next.line <= v->results.n_lines &&
			      batch_is_wanted(&v->results, v->next.line, v->retry_failed);
		if (r > 0 && !v->has_next)
			batch_task_deinit(&v->next);
	}
	return v->has_next;
}

static size_t n_under_way(const struct batch_verb *v)
{
	return v->slots.n - v->slots.counts[SLOT_OVER];
}

/* Gives slots to what comes next in the file. */
static int fill_slots(struct batch_verb *v)
{
	while (v->n_signals == 0 && v->slots.n < v->slots.size && n_under_way(v) < v->window) {
		char id[TASKCLIENT_ID_SIZE];
		struct slot *slot;
		struct taskclient_event *stray;
		int r = read_next(v);

		if (r != 1)
			return r == 0 ? GOING_ON : EXIT_LOCAL;
		name_task(v, &v->next, id);
		if (slots_find(&v->slots, id)) /* the same id twice: one after the other */
			return GOING_ON;
		slot = slots_add(&v->slots, id, &v->next);
		v->has_next = false;
		stray = strays_take(&v->strays, id);
		if (!stray)
			continue;
		r = take_end(v, slot, stray);
		taskclient_event_free(stray);
		if (r != GOING_ON)
			return r;
	}
	return GOING_ON;
}

static int send_slot(struct batch_verb *v, struct slot *slot)
{
	const struct batch_task *task = &slot->task;
	const struct taskclient_request request = {
		.queue = v->options.queue,
		.id = slot->id,
		.program = task->program,
		.input = task->input.data,
		.input_len = task->input.len,
		.is_msgpack = v->ask.request.is_msgpack,
		.timeout_ms = task->timeout_ms,
		.group = task->group,
		.labels = task->labels,
		.user = task->user,
		.project = task->project,
		.priority = task->priority,
		.depth = task->depth,
		.hold = task->hold,
		.mailbox = v->mailbox,
	};
	struct taskclient_error err = { 0 };
	int r = taskclient_submit(v->client, &request, &err);

	if (r == -EALREADY) { /* one of before has ended, but its confirm is still to come */
		v->again_us = clock_now_us() + AGAIN_US;
		return GOING_ON;
	}
	if (r == -EINVAL)
		return refuse(v, slot, err.text);
	if (r < 0)
		return LOST;
	slots_set(&v->slots, slot, SLOT_SENT);
	return GOING_ON;
}

static int send_all(struct batch_verb *v)
{
	int r = GOING_ON;

	if (v->n_kept > 0 || v->n_signals > 0 || clock_now_us() < v->again_us)
		return GOING_ON;
	for (size_t i = 0; r == GOING_ON && v->slots.counts[SLOT_UNSENT] > 0 && i < v->slots.n;
		i++) {
		struct slot *slot = slots_at(&v->slots, i);

		if (slot->state != SLOT_UNSENT)
			continue;
		r = send_slot(v, slot);
		i = slot->state == SLOT_OVER ? SIZE_MAX : i; /* the ring has moved */
	}
	return r;
}

/* ---- events ---- */

static int on_not_queued(
	struct batch_verb *v, struct slot *slot, const struct taskclient_error *err)
{
	if (err->code == -ENOENT) {
		COMPLAIN(v,
			"there is no queue '%s': no runner has been started for it, or --queue is "
			"wrong",
			v->options.queue ? v->options.queue : TASKCLIENT_QUEUE);
		return EXIT_NO_QUEUE;
	}
	if (err->code == -EMSGSIZE)
		return refuse(v, slot, err->text);
	slots_set(&v->slots, slot, SLOT_UNSENT);
	v->again_us = clock_now_us() + AGAIN_US;
	return GOING_ON;
}

static int on_final(struct batch_verb *v, struct slot *slot, struct taskclient_event **stray)
{
	const struct taskclient_event *event = *stray;

	if (!slot)
		return keep_stray(v, stray);
	if (slot->state == SLOT_OVER && slot->mail == 0) { /* said again on a new connection */
		slot->mail = event->mail;
		return GOING_ON;
	}
	return slot->state == SLOT_OVER ? settle(v, event->mail) : take_end(v, slot, event);
}

static int on_response(struct batch_verb *v, struct slot *slot, struct taskclient_event **final)
{
	const struct taskclient_event *event = *final;

	v->n_kept -= v->n_kept > 0;
	if (event->kind == TASKCLIENT_RESPONSE && event->is_final)
		return on_final(v, slot, final);
	if (event->kind == TASKCLIENT_MALFORMED)
		COMPLAIN(v, "%s: an answer that is not understood: %s", event->id ? event->id : "?",
			event->error.text);
	else if (slot && slot->state != SLOT_OVER && slot->state != SLOT_UNSENT)
		slots_set(&v->slots, slot, SLOT_RUNNING);
	return settle(v, event->mail);
}

/* What may be of use later is taken. */
static int on_event(struct batch_verb *v, struct taskclient_event **taken)
{
	const struct taskclient_event *event = *taken;
	struct slot *slot = event->id ? slots_find(&v->slots, event->id) : NULL;

	switch (event->kind) {
	case TASKCLIENT_RESPONSE:
	case TASKCLIENT_MALFORMED:
		return on_response(v, slot, taken);
	case TASKCLIENT_QUEUED:
		if (slot && slot->state == SLOT_SENT)
			slots_set(&v->slots, slot, SLOT_QUEUED);
		return GOING_ON;
	case TASKCLIENT_NOT_QUEUED:
		return slot && slot->state == SLOT_SENT ? on_not_queued(v, slot, &event->error)
							: GOING_ON;
	case TASKCLIENT_BLOCKED:
		NOTICE(v, "the broker takes no messages for now: %s", event->error.text);
		return GOING_ON;
	default:
		return GOING_ON;
	}
}

static int take_events(struct batch_verb *v, struct taskclient_error *err)
{
	for (;;) {
		struct taskclient_event *event;
		int r = taskclient_next(v->client, &event, err);

		if (r <= 0)
			return r < 0 ? LOST : GOING_ON;
		r = on_event(v, &event);
		taskclient_event_free(event);
		if (r != GOING_ON)
			return r;
	}
}

/* ---- the loop ---- */

static int cancel_all(struct batch_verb *v)
{
	struct taskclient_error err = { 0 };

	for (size_t i = 0; i < v->slots.n; i++) {
		struct slot *slot = slots_at(&v->slots, i);

		if (slot->state == SLOT_OVER || slot->state == SLOT_UNSENT)
			continue;
		slot->is_given_up = true;
		if (taskclient_cancel(v->client, slot->id, CANCEL_PATIENCE_MS, &err) < 0)
			return LOST;
	}
	return GOING_ON;
}

static int on_signal(struct batch_verb *v)
{
	struct signalfd_siginfo info;
	unsigned before = v->n_signals;

	while (read(v->signal_fd, &info, sizeof(info)) == sizeof(info))
		v->n_signals++;
	if (v->n_signals > 2)
		return EXIT_CANCELLED;
	if (before == 0 && v->n_signals == 1)
		NOTICE(v, "no more are sent, waiting for those that were; once more cancels them");
	if (before < 2 && v->n_signals == 2) {
		NOTICE(v, "cancelling; once more to stop waiting");
		return v->client ? cancel_all(v) : GOING_ON;
	}
	return GOING_ON;
}

static bool is_done(const struct batch_verb *v)
{
	if (v->n_signals > 0)
		return n_under_way(v) == v->slots.counts[SLOT_UNSENT];
	return v->is_read && !v->has_next && v->slots.n == 0;
}

static int wait_ms(struct batch_verb *v)
{
	int ms = taskclient_wait_ms(v->client), bar_ms;
	int mine =
		v->results.out.len > 0 || v->slots.counts[SLOT_UNSENT] > 0 ? FLUSH_US / 1000 : 1000;

	batch_show(&v->show, count(v));
	bar_ms = bar_draw(&v->show.bar);
	ms = mine < ms ? mine : ms;
	return bar_ms >= 0 && bar_ms < ms ? bar_ms : ms;
}

static int step(struct batch_verb *v, struct taskclient_error *err)
{
	int r = take_events(v, err);

	if (r == GOING_ON)
		r = fill_slots(v);
	if (r == GOING_ON)
		r = send_all(v);
	if (r == GOING_ON)
		r = write_ends(v);
	if (r == GOING_ON && v->results.out.len > 0 && clock_now_us() >= v->flush_us)
		r = flush(v);
	return r;
}

/* Until all is done or the connection lost. */
static int work(struct batch_verb *v, struct taskclient_error *err)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = taskclient_fd(v->client), .events = POLLIN },
			{ .fd = v->signal_fd, .events = POLLIN },
		};
		int r = step(v, err);

		if (r != GOING_ON)
			return r;
		if (is_done(v))
			return flush(v);
		(void)poll(fds, 2, wait_ms(v));
		if (fds[1].revents && (r = on_signal(v)) != GOING_ON)
			return r;
	}
}

/* ---- connections ---- */

static int open_mailbox(struct batch_verb *v, struct taskclient_error *err)
{
	int r = taskclient_mailbox_make(v->client, v->mailbox, v->keep_ms, err);

	if (r == -ENOENT || r == -EACCES || r == -EINVAL) {
		COMPLAIN(
			v, "responses cannot be kept (has a runner ever run here?): %s", err->text);
		return EXIT_NO_QUEUE;
	}
	if (r == 0)
		r = taskclient_mailbox_empty(v->client, v->mailbox, &v->n_kept, err);
	if (r == -EBUSY || r == -EACCES) {
		COMPLAIN(v, "the batch %s is at work elsewhere", v->name);
		return EXIT_BROKER;
	}
	return r < 0 ? LOST : GOING_ON;
}

/* What was not confirmed may have been lost, and what was not settled comes again. */
static void forget_connection(struct batch_verb *v)
{
	v->client = taskclient_close(v->client);
	v->results.n_mails = 0;
	v->may_repeat = true;
	strays_deinit(&v->strays);
	for (size_t i = 0; i < v->slots.n; i++) {
		struct slot *slot = slots_at(&v->slots, i);

		slot->mail = 0;
		if (slot->state == SLOT_SENT)
			slots_set(&v->slots, slot, SLOT_UNSENT);
	}
}

/* GOING_ON when there is a connection again. */
static int reconnect(struct batch_verb *v, const struct taskclient_error *err)
{
	int pause_ms = 100, r;

	COMPLAIN(v, "lost the connection to the broker: %s; connecting again", err->text);
	forget_connection(v);
	r = flush(v);
	while (r == GOING_ON) {
		struct pollfd p = { .fd = v->signal_fd, .events = POLLIN };

		if (poll(&p, 1, pause_ms) > 0) {
			(void)on_signal(v);
			return EXIT_CANCELLED;
		}
		pause_ms = pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : pause_ms;
		r = retry_client(&v->options.broker, &v->client);
		if (r == 0)
			return GOING_ON;
		r = r == EXIT_BROKER ? GOING_ON : r;
	}
	return r;
}

static int catch_signals(struct batch_verb *v)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	v->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return v->signal_fd < 0 ? EXIT_LOCAL : GOING_ON;
}

/* The batch is over. Where a request may be in a queue twice, its second answer is to be kept out
 * of the dead letters: then the mailbox ends by itself. */
static void leave(struct batch_verb *v)
{
	struct taskclient_error err = { 0 };

	if (!v->client || !is_done(v))
		return;
	if (!v->may_repeat && v->slots.n == 0)
		(void)taskclient_mailbox_remove(v->client, v->mailbox, &err);
}

/* Of the whole file, whichever start did it. */
static int exit_status(const struct batch_verb *v)
{
	const uint64_t *ends = v->counts.ends;

	if (v->n_signals > 0)
		return EXIT_CANCELLED;
	return ends[BATCH_FAILED] + ends[BATCH_CANCELLED] > 0 ? EXIT_TASK_FAILED : EXIT_DONE;
}

static int do_all(struct batch_verb *v)
{
	struct taskclient_error err = { 0 };
	int r = open_client(&v->options.broker, &v->client);

	r = r == 0 ? catch_signals(v) : r;
	batch_show_start(&v->show);
	while (r == GOING_ON) {
		r = open_mailbox(v, &err);
		v->may_repeat = v->may_repeat || v->n_kept > 0;
		if (r == GOING_ON)
			r = work(v, &err);
		if (r == GOING_ON)
			break;
		if (r == LOST)
			r = reconnect(v, &err);
	}
	if (r == GOING_ON) {
		leave(v);
		r = exit_status(v);
	}
	if (write_interrupted(v) == EXIT_LOCAL || flush(v) == EXIT_LOCAL)
		r = EXIT_LOCAL;
	return r;
}

static int batch(struct batch_verb *v, const char *file)
{
	int r = prepare(v, file);

	if (r != 0)
		return r;
	if (v->n_todo == 0) {
		batch_show_nothing(&v->show, &v->counts);
		return exit_status(v);
	}
	v->may_repeat = v->results.n_known > 0;
	r = do_all(v);
	batch_show_last(&v->show, count(v));
	return r;
}

static int run(int argc, char **argv)
{
	struct batch_verb v = {
		.signal_fd = -1,
		.results.fd = -1,
		.window = 100,
		.keep_ms = 7ull * 24 * 3600 * 1000,
	};
	int r;

	ask_init(&v.ask);
	r = read_options(&verb_batch, argc, argv, take_option, &v, &v.options);
	v.source.defaults = &v.ask;
	if (r == GOING_ON)
		r = check_options(&v, argc, argv);
	if (r == GOING_ON) {
		batch_show_init(&v.show);
		r = batch(&v, argv[optind]);
		batch_show_deinit(&v.show);
	}
	close_fd(v.signal_fd);
	strays_deinit(&v.strays);
	if (v.has_next)
		batch_task_deinit(&v.next);
	taskclient_close(v.client);
	slots_deinit(&v.slots);
	batch_close(&v.source);
	batch_results_close(&v.results);
	ask_deinit(&v.ask);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "program", OPTION_PROGRAM, "PROGRAM", NULL, "of tasks that name none" },
	{ "table", OPTION_TABLE, NULL, NULL,
		"the file is a table, with commas or tabs and a header: a task for each row" },
	{ "input-template", OPTION_TEMPLATE, "TEXT", NULL,
		"the input of a row, {NAME} being its field of that column; default: an object" },
	{ "results", OPTION_RESULTS, "FILE", NULL,
		"where results are appended; what has one there is not done again" },
	{ "retry-failed", OPTION_RETRY, NULL, NULL, "but for those that did not succeed" },
	{ "window", OPTION_WINDOW, "NUMBER", NULL, "so many tasks at once, default 100" },
	{ "name", OPTION_NAME, "NAME", NULL,
		"of the batch; ids are made from it. Default: from FILE and --results" },
	{ "keep", OPTION_KEEP, "TIME", NULL,
		"how long results wait for a restart after an interruption, default 7d" },
	ASK_OPTIONS,
	{ "quiet", 'q', NULL, NULL, "neither progress nor notices" },
	{ 0 },
};

const struct verb verb_batch = {
	.name = VERB,
	.group = VERBS_ASK,
	.summary = "run thousands of tasks from a file, results in its order",
	.arguments = "[OPTIONS] FILE",
	.about =
		"Runs a task for each line of FILE, an object with program, input and what else "
		"a request has; - is stdin. Results are objects, one in a line, in the order of "
		"FILE. With --results it can be interrupted, in any way, and started again. Ctrl-C "
		"sends no more and waits for those that were sent; a second one cancels them, and "
		"the next start does them again. Counts and exit status are of the whole file, "
		"whichever start did a line.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_QUEUE | SHARES_RESPONSES,
	.takes_files = true,
	.exits = "0 all succeeded, 1 one did not, now or by an earlier start, 2 usage, or "
		 "malformed lines, 3 broker trouble, 4 no such queue or exchange, 6 a file "
		 "cannot be read or written, 130 interrupted",
	.run = run,
};
