/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration. An input is the YAML file; what follows its first NUL byte is the environment, one
 * entry after each NUL. Whatever it is, the answer is a whole configuration or one sentence.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runner/config.h"

#define ENTRIES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_result(const struct config *config)
{
	assert(config->name && *config->name);
	assert(config->broker.n_addresses && config->n_queues);
	for (size_t i = 0; i < config->n_queues; i++) {
		assert(*config->queues[i].name);
		assert(config->queues[i].slots >= 1 && config->queues[i].slots <= 10000);
	}
	assert(config->responses.name && config->control.name && config->cancellation.name);
	assert(config->dead_letter_queue && config->catalogue.directories);
	for (size_t i = 0; i < config->catalogue.n_programs; i++) {
		const struct program *program = &config->catalogue.programs[i];

		assert(*program->name && *program->argv[0] && program->environment);
		assert(program->pipe_arguments <= PIPE_ARGUMENTS_NONE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *environment[ENTRIES_MAX + 1] = { NULL };
	struct config config;
	struct error err = { 0 };
	size_t n = 0, len;
	int r;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	len = strlen(text);
	for (size_t at = len + 1; at < size && n < ENTRIES_MAX; at += strlen(text + at) + 1)
		environment[n++] = text + at;
	r = config_read_text(text, len, "f.yaml", environment, &config, &err);
	if (r == 0)
		check_result(&config);
	else
		assert(r < 0 && *err.text && err.code == r);
	config_deinit(&config);
	free(text);
	return 0;
}
