/* SPDX-License-Identifier: Apache-2.0 */

/* The stream in which runners keep cancels for each other: reading and writing it. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "runner/daemon_private.h"

#define SECOND    1000000ULL
#define DAY_MS    (24 * 3600 * (int64_t)1000)
#define NOTES_MAX 100000
/* A note that is so far ahead of our clock would count for too long. */
#define AHEAD_MAX_MS (3600 * (int64_t)1000)
/* How long requests wait for it to be read. */
#define HOLD_BACK_US (10 * SECOND)
/* Until what was refused is tried again: first and longest. */
#define RETRY_MIN_US SECOND
#define RETRY_MAX_US (60 * SECOND)
#define NOT_FOUND    404
/* All runners hear a cancel at once. Each waits some time of up to this long, so that mostly one of
 * them writes and the others see it. */
#define WRITE_SOON_US (SECOND / 4)
#define WRITE_BATCH   1000
#define ACK_EACH      500
/* So many connections in a row may end while it is being read: then it may be the reason. */
#define CUT_SHORT_MAX 2
#define TAG           "cancels"

static bool is_wanted(const struct daemon *daemon)
{
	return daemon->config->control.name[0] && daemon->config->cancels[0];
}

/* ---- writing ---- */

static int write_note(struct daemon *daemon, const struct note *note)
{
	struct note full = *note;
	struct mq_message message;
	full.instance = daemon->instance.id;
	mq_message_init(&message);
	int r = mq_properties_set(&message.exchange, "");
	if (r == 0)
		r = mq_properties_set(&message.routing_key, daemon->config->cancels);
	if (r == 0)
		r = mq_properties_set(
			&message.properties.content_type, wire_content_type(WIRE_JSON));
	if (r == 0)
		r = note_encode(&full, &message.body);
	message.properties.persistent = true;
	if (r < 0)
		mq_message_deinit(&message);
	else
		r = replies_send(daemon, &message, 0);
	if (r < 0)
		log_error("cancels.not-written", LOG_S("task", note->id), LOG_ERRNO(r));
	return r;
}

static void write_later(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	uint32_t random = 0;
	bool has_news = cancels->ledger.waiting || sweeps_have_news(&cancels->sweeps);
	if (cancels->timer_is_set || !has_news || cancels->state != CANCELS_READ)
		return;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t)clock_now_us();
	sd_event_source_set_time(cancels->timer, clock_now_us() + random % WRITE_SOON_US);
	sd_event_source_set_enabled(cancels->timer, SD_EVENT_ONESHOT);
	cancels->timer_is_set = true;
}

static bool next_note(struct cancels *cancels, struct note *ret)
{
	return ledger_next(&cancels->ledger, ret) || sweeps_next(&cancels->sweeps, ret);
}

static int on_timer(sd_event_source *source, uint64_t now, void *userdata)
{
	struct daemon *daemon = userdata;
	struct cancels *cancels = &daemon->cancels;
	struct note note;
	(void)source, (void)now;
	cancels->timer_is_set = false;
	/* In order, before it is known whether the last one was taken: so it is seen in the stream.
	 */
	for (unsigned n = 0; n < WRITE_BATCH && cancels->state == CANCELS_READ &&
			     !mq_publisher_is_full(daemon->publisher) && next_note(cancels, &note);
		n++)
		if (write_note(daemon, &note) < 0)
			break;
	write_later(daemon);
	return 0;
}

void cancels_flush(struct daemon *daemon)
{
	struct note note;
	while (daemon->publisher && daemon->cancels.state == CANCELS_READ &&
		next_note(&daemon->cancels, &note))
		if (write_note(daemon, &note) < 0)
			break;
}

void cancels_heard(struct daemon *daemon, const char *id)
{
	if (!is_wanted(daemon))
		return;
	if (ledger_heard(&daemon->cancels.ledger, id, clock_wall_ms()) < 0)
		log_error("cancels.not-written", LOG_S("task", id), LOG_ERRNO(-ENOMEM));
	write_later(daemon);
}

void cancels_sweep(struct daemon *daemon, const struct control_selector *of, int64_t for_ms)
{
	int64_t now = clock_wall_ms();
	if (sweeps_heard(&daemon->cancels.sweeps, of, now, now + for_ms) < 0)
		log_error("cancels.not-written", LOG_S("op", "sweep"), LOG_ERRNO(-ENOMEM));
	if (is_wanted(daemon))
		write_later(daemon);
}

bool cancels_swept(const struct job *job, const struct request *request)
{
	return sweeps_fit(&job->daemon->cancels.sweeps, request, job->sent_ms, clock_wall_ms());
}

void cancels_too_late(struct daemon *daemon, const char *id)
{
	if (!is_wanted(daemon))
		return;
	ledger_over(&daemon->cancels.ledger, id, clock_wall_ms());
	write_later(daemon);
}

void cancels_over(struct daemon *daemon, const char *id)
{
	ledger_end(&daemon->cancels.ledger, id, clock_wall_ms());
	write_later(daemon);
}

/* ---- reading ---- */

bool cancels_allow(const struct daemon *daemon)
{
	return !daemon->cancels.holds_back;
}

static void tell_mark(struct daemon *daemon)
{
	char number[24];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)++daemon->cancels.mark);
	write_note(daemon,
		&(struct note){ .op = NOTE_MARK, .id = number, .time_ms = clock_wall_ms() });
}

static bool is_our_mark(const struct daemon *daemon, const struct note *note)
{
	char number[24];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)daemon->cancels.mark);
	return strcmp(note->instance, daemon->instance.id) == 0 && strcmp(note->id, number) == 0;
}

/* Live, and news to us. */
static void apply(const char *id, void *userdata)
{
	struct daemon *daemon = userdata;
	if (job_find(daemon, id))
		control_cancel(daemon, id);
	else if (memory_has(&daemon->finished, id))
		cancels_over(daemon, id);
	else if (memory_add(&daemon->cancelled, id) < 0)
		log_error("task.not-remembered", LOG_S("task", id));
}

static void finish_reading(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	cancels->state = CANCELS_READ;
	cancels->holds_back = false;
	cancels->cut_short = 0;
	cancels->retry_in_us = RETRY_MIN_US;
	topology_cancels_on(&daemon->topology);
	log_info("cancels.read", LOG_I("notes", (int64_t)cancels->n_notes),
		LOG_I("ignored", (int64_t)cancels->n_ignored),
		LOG_I("ms", (int64_t)(clock_now_us() - cancels->since_us) / 1000));
	ledger_visit_new(&cancels->ledger, apply, daemon);
	control_sweep(daemon);
	ledger_compare(&cancels->ledger);
	write_later(daemon);
	daemon_balance_soon(daemon);
}

static void begin(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	ledger_begin(&cancels->ledger);
	sweeps_begin(&cancels->sweeps);
	cancels->state = CANCELS_READING;
	cancels->since_us = clock_now_us();
	cancels->n_notes = cancels->n_ignored = 0;
	cancels->n_unacknowledged = 0;
	if (mq_consume_stream(daemon->consumer, topology_cancels_channel(daemon->config),
		    daemon->config->cancels, TAG) < 0) {
		daemon_consumer_lost(daemon, "the stream of cancels could not be read");
		return;
	}
	/* All that stood there before us comes before this. */
	tell_mark(daemon);
	daemon_pump_soon(daemon);
}

static void ignore(struct daemon *daemon, const char *why)
{
	struct cancels *cancels = &daemon->cancels;
	cancels->n_ignored++;
	if (!cancels->has_complained)
		log_warn("cancels.malformed", LOG_S("queue", daemon->config->cancels),
			LOG_S("error", why), LOG_I("ignored", (int64_t)cancels->n_ignored));
	cancels->has_complained = true;
}

static void read_cancel(struct daemon *daemon, const struct note *note)
{
	struct cancels *cancels = &daemon->cancels;
	/* While it is being read, what is over may still come. */
	if (ledger_read_cancel(&cancels->ledger, note->id, note->time_ms) &&
		cancels->state == CANCELS_READ)
		ledger_visit_new(&cancels->ledger, apply, daemon);
	write_later(daemon);
}

static void read_sweep(struct daemon *daemon, const struct note *note)
{
	struct cancels *cancels = &daemon->cancels;
	if (note->until_ms - note->time_ms > DAY_MS)
		ignore(daemon, "it is to hold for too long");
	else if (sweeps_read(&cancels->sweeps, note) > 0 && cancels->state == CANCELS_READ)
		control_sweep(daemon);
}

static void read_note(struct daemon *daemon, const struct note *note)
{
	struct cancels *cancels = &daemon->cancels;
	int64_t age = clock_wall_ms() - note->time_ms;
	cancels->n_notes++;
	if (note->op == NOTE_MARK) {
		if (cancels->state == CANCELS_READING && is_our_mark(daemon, note))
			finish_reading(daemon);
	} else if (age < -AHEAD_MAX_MS) {
		ignore(daemon, "its time is to come");
	} else if (age > DAY_MS) {
		return;
	} else if (note->op == NOTE_SWEEP) {
		read_sweep(daemon, note);
	} else if (note->op == NOTE_CANCEL) {
		read_cancel(daemon, note);
	} else if (ledger_read_over(&cancels->ledger, note->id, note->time_ms)) {
		memory_take(&daemon->cancelled, note->id);
	}
}

/* Stands for a prefetch: nothing is removed by it. */
static void acknowledge(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	cancels->n_unacknowledged = 0;
	if (mq_ack(daemon->consumer, topology_cancels_channel(daemon->config), cancels->last_tag,
		    true) < 0)
		daemon_consumer_lost(daemon, "the stream of cancels could not be read");
	else
		daemon_pump_soon(daemon);
}

void cancels_on_note(struct daemon *daemon, const struct mq_event *event)
{
	struct note note = { 0 };
	struct error err = { 0 };
	if (note_decode(buf_slice(&event->delivery.body), &note, &err) < 0)
		ignore(daemon, err.text);
	else
		read_note(daemon, &note);
	note_deinit(&note);
	daemon->cancels.last_tag = event->delivery.tag;
	if (++daemon->cancels.n_unacknowledged >= ACK_EACH && daemon->consumer)
		acknowledge(daemon);
}

/* ---- it comes and goes ---- */

static void wait_to_retry(struct cancels *cancels)
{
	cancels->retry_us = clock_now_us() + cancels->retry_in_us;
	cancels->retry_in_us *= 2;
	if (cancels->retry_in_us > RETRY_MAX_US)
		cancels->retry_in_us = RETRY_MAX_US;
}

/* @is_away: it may be back very soon. */
static void turn_off(struct daemon *daemon, const char *why, bool is_away)
{
	struct cancels *cancels = &daemon->cancels;
	cancels->state = CANCELS_OFF;
	cancels->holds_back = cancels->holds_back && is_away;
	wait_to_retry(cancels);
	cancels->n_unacknowledged = 0;
	topology_cancels_off(&daemon->topology, why);
	daemon_balance_soon(daemon);
}

void cancels_connected(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	cancels->state = CANCELS_OFF;
	cancels->channel_is_closed = false;
	cancels->holds_back = daemon->topology.has_cancels || daemon->topology.cancels_are_away;
	cancels->held_us = clock_now_us();
	wait_to_retry(cancels);
	if (daemon->topology.has_cancels)
		begin(daemon);
}

void cancels_lost(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	bool cut_short = cancels->state == CANCELS_READING && cancels->holds_back;
	cancels->state = CANCELS_OFF;
	cancels->holds_back = false;
	if (!cut_short || ++cancels->cut_short < CUT_SHORT_MAX)
		return;
	cancels->cut_short = 0;
	topology_cancels_pause(&daemon->topology,
		"the connection was lost again and again while it was being read");
}

void cancels_on_closed(struct daemon *daemon, uint16_t code, const char *text)
{
	daemon->cancels.channel_is_closed = true;
	turn_off(daemon, text, code == NOT_FOUND);
}

void cancels_on_deleted(struct daemon *daemon)
{
	/* The channel lives on, and the broker would miss these one day. */
	if (daemon->cancels.n_unacknowledged)
		acknowledge(daemon);
	if (daemon->consumer)
		turn_off(daemon, "it was deleted", true);
}

/* Nothing is waited for: a refusal closes the channel, and the answer to the last of these comes
 * when the first has been done. */
static void try_again(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	uint16_t channel = topology_cancels_channel(daemon->config);
	struct mq_queue queue = topology_cancels_queue(daemon->config);
	int r = 0;
	if (cancels->channel_is_closed)
		r = mq_send_channel_open(daemon->consumer, channel);
	cancels->channel_is_closed = false;
	if (r == 0)
		r = mq_send_declare_queue(daemon->consumer, channel, &queue);
	if (r == 0)
		r = mq_send_qos(daemon->consumer, channel, TOPOLOGY_CANCELS_PREFETCH);
	if (r < 0)
		daemon_consumer_lost(daemon, "the stream of cancels could not be declared");
	else
		daemon_pump_soon(daemon);
	wait_to_retry(cancels);
}

void cancels_on_declared(struct daemon *daemon)
{
	if (daemon->cancels.state == CANCELS_OFF)
		begin(daemon);
}

static void hold_back_no_more(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	cancels->holds_back = false;
	log_warn("cancels.late", LOG_S("queue", daemon->config->cancels),
		LOG_I("notes", (int64_t)cancels->n_notes),
		LOG_S("reason", "it was not read to its end in time"),
		LOG_S("proceeding", "requests are started; cancels that are found there later "
				    "count from then on"));
	daemon_balance_soon(daemon);
}

void cancels_tick(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	uint64_t now = clock_now_us();
	cancels->has_complained = false;
	ledger_forget_old(&cancels->ledger, clock_wall_ms());
	sweeps_forget_old(&cancels->sweeps, clock_wall_ms());
	if (!daemon->consumer)
		return;
	if (cancels->state == CANCELS_OFF && daemon->topology.has_cancels_channel &&
		now >= cancels->retry_us && now >= daemon->topology.cancels_pause_us)
		try_again(daemon);
	if (cancels->holds_back && now - cancels->held_us > HOLD_BACK_US)
		hold_back_no_more(daemon);
	if (cancels->state == CANCELS_READING && !cancels->holds_back)
		ledger_visit_new(&cancels->ledger, apply, daemon);
	if (cancels->n_unacknowledged && daemon->consumer)
		acknowledge(daemon);
}

int cancels_init(struct daemon *daemon)
{
	struct cancels *cancels = &daemon->cancels;
	ledger_init(&cancels->ledger, NOTES_MAX, DAY_MS);
	cancels->retry_in_us = RETRY_MIN_US;
	int r = sd_event_add_time(
		daemon->loop, &cancels->timer, CLOCK_BOOTTIME, UINT64_MAX, 10000, on_timer, daemon);
	return r < 0 ? r : sd_event_source_set_enabled(cancels->timer, SD_EVENT_OFF);
}

void cancels_deinit(struct daemon *daemon)
{
	daemon->cancels.timer = sd_event_source_unref(daemon->cancels.timer);
	ledger_deinit(&daemon->cancels.ledger);
	sweeps_deinit(&daemon->cancels.sweeps);
}
