/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of configuration share: read a text, and hold the outcome to what was expected. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "runner/config_internal.h"

struct result {
	struct config config;
	struct error err;
	int r;
};

static inline void read_text(struct result *result, const char *text, size_t len, char *const env[])
{
	*result = (struct result){ 0 };
	result->r = config_read_text(text, len, "f.yaml", env, &result->config, &result->err);
}

/* What @text gives; it must be right. To be released with config_deinit. */
static inline struct config accept(const char *text, char *const env[])
{
	struct result result;

	read_text(&result, text, strlen(text), env);
	if (result.r < 0)
		fail_msg("refused: %s\n%s", result.err.text, text);
	return result.config;
}

static inline void refuse(const char *text, size_t len, char *const env[], const char *message)
{
	struct result result;

	read_text(&result, text, len, env);
	config_deinit(&result.config);
	if (result.r >= 0)
		fail_msg("taken, though it should give: %s\n%.200s", message, text);
	assert_int_equal(result.r, -EINVAL);
	assert_int_equal(result.err.code, -EINVAL);
	assert_string_equal(result.err.text, message);
}

/* Refused, whatever the words; they must not hold @secret. */
static inline void refuse_without(const char *text, char *const env[], const char *secret)
{
	struct result result;

	read_text(&result, text, strlen(text), env);
	config_deinit(&result.config);
	if (result.r >= 0)
		fail_msg("taken:\n%s", text);
	if (strstr(result.err.text, secret))
		fail_msg("a secret is told: %s", result.err.text);
}
