/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests that are held: nothing is started before they are played. They are parked at once, so
 * that they outlive everybody, and take no slot; but for those that are more than a runner should
 * keep: these take the place of one that could run, as every other request does that is here.
 */

#include "common/log.h"
#include "runner/daemon_private.h"

/* Each is kept twice: as it came, for copies, and as what it asks for. */
static size_t size_of(const struct job *job)
{
	return job->copy.body.len + job->request.input.len;
}

/* As much as four of the largest inputs. */
static bool has_room(const struct daemon *daemon, const struct job *job)
{
	return daemon->held.n < daemon->config->limits.held &&
	       daemon->held.bytes + size_of(job) <= 4 * daemon->config->limits.input;
}

void held_begin(struct job *job)
{
	struct daemon *daemon = job->daemon;
	job->phase = JOB_HELD;
	job->is_kept = has_room(daemon, job);
	if (job->is_kept) {
		daemon->held.n++;
		daemon->held.bytes += size_of(job);
	}
	log_info("task.held", LOG_S("task", job->id), LOG_S("slot", job->is_kept ? "none" : "one"));
	task_events_tell(job, EVENT_HELD, CAUSE_NONE);
	lease_renew_now(job);
	daemon_balance_soon(daemon);
}

void held_end(struct job *job)
{
	struct daemon *daemon = job->daemon;
	if (job->phase != JOB_HELD)
		return;
	if (job->is_kept) {
		daemon->held.n--;
		daemon->held.bytes -= size_of(job);
	}
	job->is_kept = false;
	job->phase = JOB_NEW;
	daemon_balance_soon(daemon);
}

bool held_hold(struct job *job)
{
	if (job->phase == JOB_HELD) {
		job->is_held = true;
		return true;
	}
	if (job->phase != JOB_READY)
		return false;
	job_stop_waiting(job);
	job->is_held = job->was_held = true;
	held_begin(job);
	return true;
}

/* Another runner may have a free slot where we have none. */
static void go_on(struct job *job)
{
	struct daemon *daemon = job->daemon;
	bool has_slot =
		daemon->queues[job->queue].running < daemon->config->queues[job->queue].slots;
	held_end(job);
	if (has_slot) {
		lease_renew_now(job);
		intake_start(job);
	} else {
		job_give_back(job);
	}
}

void held_play(struct job *job)
{
	bool was_held = job->is_held;
	job->is_held = false;
	if (job->phase == JOB_SUSPECT && was_held)
		lease_renew_now(job); /* so that whoever gets it after us knows */
	if (job->phase != JOB_HELD || !was_held)
		return;
	log_info("task.played", LOG_S("task", job->id));
	task_events_tell(job, EVENT_PLAYED, CAUSE_NONE);
	/* What is parked and was not delivered again yet may be on its way to another. */
	if (custody_is_live(&job->custody))
		go_on(job);
}

void held_on_home(struct job *job)
{
	if (job->phase != JOB_HELD)
		return;
	if (memory_take(&job->daemon->cancelled, job->id)) {
		held_end(job);
		replies_cancelled(job, &job->request);
	} else if (!job->is_held) {
		go_on(job);
	}
}
