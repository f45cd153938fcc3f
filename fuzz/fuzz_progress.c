/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as what a program writes to its progress pipe. The first byte says how the rest is cut
 * into pieces; whatever it says, the records must be those of the whole. A byte 0x11 stands for
 * "the writer closed". Each record is read as a report and for its meaning, too.
 */

#include <string.h>

#include "common/text.h"
#include "fuzz/fuzz.h"
#include "wire/json.h"
#include "wire/progress.h"

#define CLOSED     0x11
#define RECORD_MAX 64

static void check_record(struct slice record, enum progress_kind kind)
{
	struct progress_failure failure;
	struct progress_report report;
	size_t len;

	promise(record.len > 0 && record.len <= RECORD_MAX);
	if (kind == PROGRESS_JSON)
		promise(json_value_len(record, 0, &len) == JSON_DONE && len == record.len);
	if (progress_meaning(record, kind, true, &failure) == PROGRESS_FAIL) {
		promise(text_is_utf8(slice_of(failure.kind)));
		promise(text_is_utf8(slice_of(failure.message)));
	}
	promise(progress_report_decode(record, &report) == 0);
	promise(!report.has_fraction || (report.fraction >= 0 && report.fraction <= 1));
	promise(!report.message || text_is_utf8(slice_of(report.message)));
	progress_report_deinit(&report);
}

/* Takes out what there is, into one text. False when the reader gave up. */
static bool take(struct progress_reader *reader, struct buf *out)
{
	enum progress_outcome outcome;
	enum progress_kind kind;
	struct slice record;

	while ((outcome = progress_next(reader, &record, &kind)) == PROGRESS_RECORD) {
		check_record(record, kind);
		promise(buf_printf(out, "%d %zu ", kind, record.len) == 0);
		promise(buf_append(out, record.data, record.len) == 0);
	}
	return outcome == PROGRESS_NONE;
}

static bool feed(struct progress_reader *reader, struct slice bytes, struct buf *out)
{
	while (bytes.len > 0) {
		const char *closed = memchr(bytes.data, CLOSED, bytes.len);
		size_t n = closed ? (size_t)(closed - bytes.data) : bytes.len;

		promise(progress_feed(reader, (struct slice){ bytes.data, n }) == 0);
		if (closed)
			progress_writer_closed(reader);
		if (!take(reader, out))
			return false;
		n += closed != NULL;
		bytes.data += n;
		bytes.len -= n;
	}
	return true;
}

/* Reads all of @bytes in pieces of @piece bytes. */
static void run(struct slice bytes, size_t piece, struct buf *out)
{
	struct progress_reader *reader = progress_reader_new(RECORD_MAX);
	bool goes_on = true;

	promise(reader);
	for (size_t at = 0; at < bytes.len && goes_on; at += piece) {
		size_t n = bytes.len - at < piece ? bytes.len - at : piece;

		goes_on = feed(reader, (struct slice){ bytes.data + at, n }, out);
	}
	if (goes_on) {
		progress_end(reader);
		goes_on = take(reader, out);
	}
	if (!goes_on)
		promise(buf_append_text(out, "!") == 0);
	progress_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, pieces = { 0 };
	struct slice bytes;

	if (size == 0)
		return 0;
	bytes = (struct slice){ (const char *)data + 1, size - 1 };
	run(bytes, size, &whole);
	run(bytes, data[0] % 16 + 1u, &pieces);
	promise(whole.len == pieces.len);
	promise(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
	buf_deinit(&whole);
	buf_deinit(&pieces);
	return 0;
}
