/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Numbers as people read them. Each appends to @out, never more than HUMAN_MAX bytes, all of it
 * ASCII. 0, -ENOMEM or -EMSGSIZE. Times and sizes are never rounded up: 59.96 s is "59.9 s".
 */

#include <stdint.h>

#include "common/buf.h"

#define HUMAN_MAX 32

/* "850 ms", "12.3 s", "4 min 05 s", "3 h 12 min", "5 d 2 h"; below zero is zero. */
int human_duration(struct buf *out, int64_t ms);
/* The same without fractions of a second: "0 s", "12 s", "4 min 05 s". */
int human_age(struct buf *out, int64_t ms);
/* "0 B", "512 B", "1.5 KiB", "37.0 MiB", "1.0 TiB" */
int human_bytes(struct buf *out, int64_t bytes);
/* Digits alone: what stands between thousands is not the same everywhere. */
int human_count(struct buf *out, int64_t n);
/* "0/s", "0.25/s", "12.3/s", "1250/s"; slower than one in ten seconds: "3.00/min", "1.50/h" */
int human_rate(struct buf *out, double per_second);
/* Load and the like: "0.25", "12.5", "1250" */
int human_number(struct buf *out, double n);
/* " 40%", always 4 columns; 100% is said of 1 alone. */
int human_percent(struct buf *out, double fraction);
/* Local time: "21:04:05" on the day of @now_ms, else "2026-11-20 21:04"; @now_ms 0: always
 * "2026-11-20 21:04:05". Both in ms since 1970. */
int human_time(struct buf *out, int64_t ms, int64_t now_ms);
