/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Final responses of late, as they were sent. A request that comes once more after its answer, from
 * a copy that somebody who died had made, is answered with the same message again, so that it
 * neither runs once more nor stays without an answer. Bounded in bytes and time: the oldest go.
 * Main thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "mq/mq.h"

struct answers {
	struct answer *entries; /* uthash, oldest first */
	size_t bytes, bytes_max;
	uint64_t age_max_us;
};

void answers_init(struct answers *answers, size_t bytes_max, uint64_t age_max_us);
/* Whether one with a body of this many bytes is worth being kept. */
bool answers_want(const struct answers *answers, size_t body_bytes);
/* Takes @message (moved): the answer to the request with @print for task @id. Without memory it is
 * not kept. */
void answers_keep(
	struct answers *answers, const char *id, uint64_t print, struct mq_message *message);
/* NULL if there is none; valid until the next call of another function. */
const struct mq_message *answers_find(struct answers *answers, const char *id, uint64_t print);
void answers_deinit(struct answers *answers);
