/* SPDX-License-Identifier: Apache-2.0 */

/* Any body as an event, and any text as the name in its routing key. */

#include <string.h>

#include "common/text.h"
#include "fuzz/fuzz.h"
#include "wire/task_event.h"

static void check_event(struct slice body)
{
	struct task_event_facts facts, back;
	struct error err = { 0 };
	struct buf out = { 0 };
	int r = task_event_decode(body, &facts, &err);

	promise(r == 0 || (r < 0 && err.text[0] != '\0'));
	if (r == 0) {
		promise(facts.time_ms >= 0 && facts.runner && facts.runner[0]);
		promise(!facts.id == event_kind_is_of_runner(facts.kind));
		promise(!facts.id || id_is_valid(slice_of(facts.id)));
		promise(task_event_encode(&facts, &out) == 0);
		promise(task_event_decode(buf_slice(&out), &back, NULL) == 0);
		promise(facts.kind == back.kind && facts.cause == back.cause);
		promise(slice_equal(slice_of(back.runner), facts.runner));
		promise(facts.time_ms == back.time_ms && facts.cpu_ms == back.cpu_ms);
		promise(facts.attempt == back.attempt && facts.signal == back.signal);
		task_event_deinit(&back);
	}
	task_event_deinit(&facts);
	buf_deinit(&out);
}

static void check_key(struct slice body)
{
	char key[TASK_EVENT_KEY_SIZE];
	char *name = slice_dup(body);
	unsigned dots = 0;

	promise(name);
	task_event_key(EVENT_STARTED, name, key);
	promise(strlen(key) < sizeof(key) && strncmp(key, "task.started.", 13) == 0);
	for (const char *at = key; *at; at++)
		dots += *at == '.';
	promise(dots == 2 && text_is_utf8(slice_of(key)) && !strpbrk(key, "*# "));
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice body = { (const char *)data, size };

	check_event(body);
	check_key(body);
	return 0;
}
