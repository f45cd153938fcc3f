/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files control*.c share: one control message that is being carried out. */

#include "runner/daemon_private.h"

struct inquiry {
	struct daemon *daemon;
	const struct mq_delivery *delivery;
	const struct control *control;
	enum wire_encoding encoding;
	bool is_malformed; /* then nothing of it counts */
};

/* control.c */
/* An answer that has `op`, where there is one. */
void control_begin_answer(const struct inquiry *q, struct record *ret);
/* Adds who answers, sends it if somebody wants it, and releases it. @is_one_of_many: it is left out
 * where there is no room for it. */
void control_answer(struct inquiry *q, struct record *answer, bool is_one_of_many);
void control_answer_accepted(struct inquiry *q);
void control_answer_error(struct inquiry *q, const char *id, const char *sentence);
/* After the last of many. */
void control_answer_end(struct inquiry *q, size_t count);

/* control_tasks.c, control_runner.c */
void control_tasks(struct inquiry *q);
void control_runner(struct inquiry *q);
