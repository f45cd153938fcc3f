/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Strict reading of small values that people write: nothing may stand before or after, nothing
 * overflows in silence. Each returns 0, or -EINVAL (not of the form) or -ERANGE (form right, value
 * not representable or outside the range given), with @ret untouched. Any thread.
 */

#include <stdbool.h>
#include <stdint.h>

/* Decimal, optional sign; within [min, max]. */
int parse_int(const char *text, int64_t min, int64_t max, int64_t *ret);
/* true/false, yes/no, on/off, 1/0 in any case. */
int parse_bool(const char *text, bool *ret);
/* A number with an optional fraction and one unit of us, ms, s, m, h, d; "0" needs no unit. "90s",
 * "1.5h". Gives microseconds. */
int parse_duration(const char *text, uint64_t *ret_us);
/* A whole number with an optional unit of B, KiB, MiB, GiB. Gives bytes. */
int parse_size(const char *text, uint64_t *ret_bytes);
/* The way back, for messages and documents: "1m30s", "64MiB". Buffers of 32 bytes are enough. */
const char *format_duration(uint64_t us, char *buffer, unsigned size);
const char *format_size(uint64_t bytes, char *buffer, unsigned size);
