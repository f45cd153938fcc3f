/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Errors are values.
 *
 * A function that can fail returns int: 0 for success, a negative errno for what was not expected
 * (forwarded unchanged by whoever cannot deal with it), a positive value of an enum of its own for
 * a named outcome (dealt with by the caller, never forwarded). Where a person must be told what
 * is wrong, a `struct error *` comes last and receives one sentence without a full stop or newline.
 *
 * Any thread; a struct error belongs to its caller and holds no memory of its own.
 */

struct error {
	int code;       /* negative errno; 0 while nothing was set */
	char text[512]; /* one sentence, cut where it is longer */
};

/* Stores code and sentence in @err (borrowed, may be NULL) and gives back @code, so that a caller
 * can write `return error_set(err, -EINVAL, "…")`. The last setting wins. */
int error_set(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence that @err holds (may be NULL) and gives back its code. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
