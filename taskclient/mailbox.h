/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Responses that are kept for later: a task can be asked for now, and its result be read by another
 * client, tomorrow, several times.
 *
 * A mailbox is a durable queue of the name that is the request's routing key. What the runners say
 * of the task is kept there, read or not, until nobody has used the mailbox for as long as its
 * maker said, or it is removed.
 *
 *  1. taskclient_mailbox_make, then taskclient_submit with `mailbox`.
 *  2. Any client: taskclient_watch gives all that was said of a task, and all that will be, as if
 *     that client had asked for it. Nothing is taken away, others can do the same.
 *  3. Or, where one client alone reads: taskclient_mailbox_empty, and taskclient_mailbox_settle for
 *     what may be forgotten. What was not settled when the client ends comes again to the next.
 *  4. taskclient_mailbox_remove.
 *
 * All may wait for the server. They give 0 or a negative errno, and after one that is not named the
 * connection is lost.
 */

#include "taskclient/taskclient.h"

#define TASKCLIENT_RESPONSES "taskrunner.responses"
#define MAILBOX_MAX          256

/* The name of the mailbox of one task; @ret_name has MAILBOX_MAX bytes. */
void taskclient_mailbox_name(const char *id, char *ret_name);

/* Makes it, if it is not there, for responses to the exchange @responses (NULL: the default).
 * -ENOENT: there is no such exchange. -EACCES. */
int taskclient_mailbox_make(struct taskclient *c, const char *mailbox, const char *responses,
	uint64_t keep_ms, struct error *err);
/* With all that is in it. Nothing happens if it is not there. */
int taskclient_mailbox_remove(struct taskclient *c, const char *mailbox, struct error *err);

/* What was said of the task @id, which has a mailbox of its own, comes as TASKCLIENT_RESPONSE, in
 * order and repeats left out; then TASKCLIENT_CAUGHT_UP, then what is said from now on. Waits while
 * another client does the same, for at most @patience_ms (-EBUSY). -ENOENT: nothing is kept for
 * this task, or no exchange. -EINVAL: no id, or a task of this client. -EACCES. */
int taskclient_watch(struct taskclient *c, const char *id, const char *responses,
	unsigned patience_ms, struct error *err);

/* All that is in the mailbox, and comes into it, arrives as TASKCLIENT_RESPONSE with `mail`;
 * repeats are not left out. @ret_kept: how many are in it now. One for each client. -EBUSY: another
 * client does that. -ENOENT, -EACCES. */
int taskclient_mailbox_empty(
	struct taskclient *c, const char *mailbox, uint32_t *ret_kept, struct error *err);
/* It is not needed any more. */
int taskclient_mailbox_settle(struct taskclient *c, uint64_t mail, struct error *err);
