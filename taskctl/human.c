/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/human.h"

#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "wire/progress.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* What has minutes and more, in two parts. */
static int append_long(struct buf *out, int64_t ms)
{
	if (ms < HOUR)
		return buf_printf(
			out, "%" PRId64 " min %02" PRId64 " s", ms / MINUTE, ms % MINUTE / SECOND);
	if (ms < DAY)
		return buf_printf(
			out, "%" PRId64 " h %02" PRId64 " min", ms / HOUR, ms % HOUR / MINUTE);
	return buf_printf(out, "%" PRId64 " d %" PRId64 " h", ms / DAY, ms % DAY / HOUR);
}

int human_duration(struct buf *out, int64_t ms)
{
	ms = ms < 0 ? 0 : ms;
	if (ms < SECOND)
		return buf_printf(out, "%" PRId64 " ms", ms);
	if (ms < MINUTE)
		return buf_printf(out, "%" PRId64 ".%" PRId64 " s", ms / SECOND, ms % SECOND / 100);
	return append_long(out, ms);
}

int human_age(struct buf *out, int64_t ms)
{
	ms = ms < 0 ? 0 : ms;
	if (ms < MINUTE)
		return buf_printf(out, "%" PRId64 " s", ms / SECOND);
	return append_long(out, ms);
}

int human_bytes(struct buf *out, int64_t bytes)
{
	static const char units[] = "KMGTPE";
	size_t i = 0;
	int64_t unit = 1024;

	bytes = bytes < 0 ? 0 : bytes;
	if (bytes < unit)
		return buf_printf(out, "%" PRId64 " B", bytes);
	while (bytes / unit >= 1024) {
		unit *= 1024;
		i++;
	}
	return buf_printf(out, "%" PRId64 ".%d %ciB", bytes / unit,
		(int)(bytes % unit / (unit / 1024) * 10 / 1024), units[i]);
}

int human_count(struct buf *out, int64_t n)
{
	return buf_printf(out, "%" PRId64, n);
}

/* Three figures, or what is before the point where that has more. */
int human_number(struct buf *out, double n)
{
	if (isnan(n))
		return buf_append_text(out, "-");
	if (fabs(n) >= 1e15)
		return buf_printf(out, "%.3g", n);
	if (fabs(n) >= 99.95)
		return buf_printf(out, "%.0f", n);
	if (fabs(n) >= 9.995)
		return buf_printf(out, "%.1f", n);
	return buf_printf(out, "%.2f", n);
}

int human_rate(struct buf *out, double per_second)
{
	const char *unit = "/s";
	int r;

	if (!(per_second > 0)) /* or not known */
		return buf_append_text(out, "0/s");
	if (per_second < 0.1) {
		per_second *= 60;
		unit = "/min";
	}
	if (per_second < 0.1) {
		per_second *= 60;
		unit = "/h";
	}
	r = human_number(out, per_second);
	return r < 0 ? r : buf_append_text(out, unit);
}

int human_percent(struct buf *out, double fraction)
{
	fraction = fraction > 0 ? fraction : 0;
	return buf_printf(out, "%3d%%", progress_percent(fraction < 1 ? fraction : 1));
}

static bool is_same_day(const struct tm *a, const struct tm *b)
{
	return a->tm_year == b->tm_year && a->tm_yday == b->tm_yday;
}

/* What the calendar has no day for. */
static int append_no_day(struct buf *out, int64_t ms)
{
	return buf_printf(out, "%" PRId64 " ms", ms);
}

int human_time(struct buf *out, int64_t ms, int64_t now_ms)
{
	time_t seconds = (time_t)(ms / 1000), now_seconds = (time_t)(now_ms / 1000);
	struct tm at, now;
	char text[HUMAN_MAX + 1];
	size_t len;

	if (!localtime_r(&seconds, &at) || !localtime_r(&now_seconds, &now))
		return append_no_day(out, ms);
	if (now_ms == 0)
		len = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &at);
	else if (is_same_day(&at, &now))
		len = strftime(text, sizeof(text), "%H:%M:%S", &at);
	else
		len = strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &at);
	if (len == 0)
		return append_no_day(out, ms);
	return buf_append_text(out, text);
}
