/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/answers.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/clock.h"

/* One answer takes no more than this part of the room. */
#define PART 64
/* What an answer takes beside its body, about. */
#define OVERHEAD_BYTES 1500

struct answer {
	UT_hash_handle hh;
	uint64_t added_us, print;
	struct mq_message message;
	char id[];
};

void answers_init(struct answers *answers, size_t bytes_max, uint64_t age_max_us)
{
	*answers = (struct answers){ .bytes_max = bytes_max, .age_max_us = age_max_us };
}

static size_t size_of(size_t body_bytes)
{
	return body_bytes + OVERHEAD_BYTES;
}

bool answers_want(const struct answers *answers, size_t body_bytes)
{
	return size_of(body_bytes) <= answers->bytes_max / PART;
}

static void forget(struct answers *answers, struct answer *answer)
{
	answers->bytes -= size_of(answer->message.body.len);
	HASH_DEL(answers->entries, answer);
	mq_message_deinit(&answer->message);
	free(answer);
}

/* uthash iterates in the order of insertion: the first is the oldest. */
static void forget_old(struct answers *answers, uint64_t now)
{
	while (answers->entries && (answers->bytes > answers->bytes_max ||
					   now - answers->entries->added_us > answers->age_max_us))
		forget(answers, answers->entries);
}

void answers_keep(
	struct answers *answers, const char *id, uint64_t print, struct mq_message *message)
{
	size_t len = strlen(id);
	struct answer *answer;
	HASH_FIND_STR(answers->entries, id, answer);
	if (answer)
		forget(answers, answer);
	answer = malloc(sizeof(*answer) + len + 1);
	if (!answer) {
		mq_message_deinit(message);
		return;
	}
	memcpy(answer->id, id, len + 1);
	answer->added_us = clock_now_us();
	answer->print = print;
	answer->message = *message;
	mq_message_init(message);
	HASH_ADD_KEYPTR(hh, answers->entries, answer->id, len, answer);
	answers->bytes += size_of(answer->message.body.len);
	forget_old(answers, answer->added_us);
}

const struct mq_message *answers_find(struct answers *answers, const char *id, uint64_t print)
{
	struct answer *answer;
	forget_old(answers, clock_now_us());
	HASH_FIND_STR(answers->entries, id, answer);
	return answer && answer->print == print ? &answer->message : NULL;
}

void answers_deinit(struct answers *answers)
{
	while (answers->entries)
		forget(answers, answers->entries);
}
