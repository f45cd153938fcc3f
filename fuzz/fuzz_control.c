/* SPDX-License-Identifier: Apache-2.0 */

/* Any body as a control message and as the answer to one. */

#include "common/text.h"
#include "fuzz/fuzz.h"
#include "wire/control.h"
#include "wire/note.h"

static void check_control(struct slice body)
{
	struct control control = { 0 }, back = { 0 };
	struct error err = { 0 };
	struct buf out = { 0 };
	int r = control_decode(body, NULL, &control, &err);

	promise(r == 0 || (r < 0 && err.text[0] != '\0'));
	if (r == 0) {
		promise(!control.id ||
			(id_is_valid(slice_of(control.id)) && text_is_utf8(slice_of(control.id))));
		promise(control_encode(&control, &out) == 0);
		promise(control_decode(buf_slice(&out), NULL, &back, NULL) == 0);
		promise(back.op == control.op && !back.id == !control.id);
		promise(!control.id || slice_equal(slice_of(back.id), control.id));
		promise(!control.signal == !back.signal && !control.slots == !back.slots);
	}
	control_deinit(&control);
	control_deinit(&back);
	buf_deinit(&out);
}

static void check_answer(struct slice body)
{
	struct record answer = { 0 }, back = { 0 };
	struct error err = { 0 };
	struct buf out = { 0 };
	int r = control_answer_decode(body, NULL, &answer, &err);

	promise(r == 0 || (r < 0 && err.text[0] != '\0'));
	if (r == 0) {
		promise(record_encode(wire_detect(NULL, body), &answer, &out) == 0);
		promise(control_answer_decode(buf_slice(&out), NULL, &back, NULL) == 0);
		promise(back.n == answer.n);
		for (size_t i = 0; i < answer.n; i++) {
			const struct record_member *m = &answer.members[i];

			promise(back.members[i].is_number == m->is_number);
			promise(slice_equal(slice_of(back.members[i].name), m->name));
			promise(slice_equal(slice_of(back.members[i].text), m->text));
		}
	}
	record_deinit(&answer);
	record_deinit(&back);
	buf_deinit(&out);
}

static void check_note(struct slice body)
{
	struct note note = { 0 }, back = { 0 };
	struct error err = { 0 };
	struct buf out = { 0 };
	int r = note_decode(body, &note, &err);

	promise(r == 0 || (r < 0 && err.text[0] != '\0'));
	if (r == 0) {
		promise(note_encode(&note, &out) == 0);
		promise(note_decode(buf_slice(&out), &back, NULL) == 0);
		promise(note.op == back.op && note.time_ms == back.time_ms && note.time_ms >= 0);
		promise(slice_equal(slice_of(back.id), note.id));
		promise(slice_equal(slice_of(back.instance), note.instance));
	}
	note_deinit(&note);
	note_deinit(&back);
	buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice body = { (const char *)data, size };

	check_control(body);
	check_answer(body);
	check_note(body);
	return 0;
}
