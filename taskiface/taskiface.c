/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the pipes are: arguments, environment, standard streams, in this order.
 */
#include "taskiface/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PROGRESS_TIMEOUT_MS = 30000 };

enum setting {
	ID,
	INPUT_PIPE,
	OUTPUT_PIPE,
	PROGRESS_PIPE,
	SELF_DESTRUCT,
	ATTEMPT,
	TIMEOUT,
	GRACE,
	N_SETTINGS
};

static const struct {
	const char *argument; /* hyphens stand for underscores as well */
	const char *variable;
} names[N_SETTINGS] = {
	[ID] = { "--id", "TASKIFACE_ID" },
	[INPUT_PIPE] = { "--input-pipe", "TASKIFACE_INPUT_PIPE" },
	[OUTPUT_PIPE] = { "--output-pipe", "TASKIFACE_OUTPUT_PIPE" },
	[PROGRESS_PIPE] = { "--progress-pipe", "TASKIFACE_PROGRESS_PIPE" },
	[SELF_DESTRUCT] = { "--self-destruct-timeout-seconds", NULL },
	[ATTEMPT] = { NULL, "TASKIFACE_ATTEMPT" },
	[TIMEOUT] = { NULL, "TASKIFACE_TIMEOUT_MS" },
	[GRACE] = { NULL, "TASKIFACE_GRACE_MS" },
};

/* What was found; borrowed from argv and environ. */
struct settings {
	const char *value[N_SETTINGS];
};

/* The text behind the name in @argument: "" or "=value"; NULL where it is another argument. */
static const char *match(const char *argument, const char *name)
{
	for (; *name; argument++, name++)
		if (*argument != *name && !(*name == '-' && *argument == '_'))
			return NULL;
	return *argument == '\0' || *argument == '=' ? argument : NULL;
}

static const char *match_any(const char *argument, enum setting *ret)
{
	if (strncmp(argument, "--", 2) != 0) /* "_" stands for the inner hyphens only */
		return NULL;
	for (int i = 0; i < N_SETTINGS; i++) {
		const char *rest = names[i].argument ? match(argument, names[i].argument) : NULL;

		if (rest) {
			*ret = (enum setting)i;
			return rest;
		}
	}
	return NULL;
}

/* Goes through the arguments. With @keep (as long as argv) it lists those that are not ours. */
static int take_arguments(int argc, char **argv, struct settings *ret, char **keep, int *ret_kept)
{
	int i = 0, kept = 0;

	if (argc > 0)
		keep[kept++] = argv[i++];
	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		enum setting which;
		const char *rest = match_any(argv[i], &which);

		if (!rest)
			keep[kept++] = argv[i];
		else if (*rest == '=')
			ret->value[which] = rest + 1;
		else if (i + 1 < argc)
			ret->value[which] = argv[++i];
		else
			return -EINVAL;
	}
	while (i < argc)
		keep[kept++] = argv[i++];
	*ret_kept = kept;
	return 0;
}

static void take_environment(struct settings *ret)
{
	for (int i = 0; i < N_SETTINGS; i++) {
		const char *value;

		if (ret->value[i] || !names[i].variable)
			continue;
		value = getenv(names[i].variable);
		if (value && *value)
			ret->value[i] = value;
	}
}

/* Decimal from @min; absent: @ret stays as it is. */
static int take_number(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	long long number;
	char *end;

	if (!text)
		return 0;
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0' || number < min || number > max)
		return -EINVAL;
	*ret = number;
	return 0;
}

static int init_pipe(struct ti_pipe *p, const char *path, int standard_fd)
{
	p->fd = standard_fd;
	if (!path || strcmp(path, "-") == 0)
		return 0;
	p->path = strdup(path);
	if (!p->path)
		return -ENOMEM;
	p->fd = -1;
	return 0;
}

static int init(struct taskiface *t, const struct settings *s)
{
	int64_t attempt = 1;
	int r = take_number(s->value[ATTEMPT], 1, INT_MAX, &attempt);

	t->attempt = (int)attempt;
	if (r == 0)
		r = take_number(s->value[TIMEOUT], 0, INT64_MAX, &t->timeout_ms);
	if (r == 0)
		r = take_number(s->value[GRACE], 0, INT64_MAX, &t->grace_ms);
	if (r == 0)
		r = init_pipe(&t->input, s->value[INPUT_PIPE], 0);
	if (r == 0)
		r = init_pipe(&t->output, s->value[OUTPUT_PIPE], 1);
	if (r == 0)
		r = init_pipe(&t->progress, s->value[PROGRESS_PIPE], 2);
	if (r < 0)
		return r;
	t->id = strdup(s->value[ID] ? s->value[ID] : "by-hand");
	return t->id ? 0 : -ENOMEM;
}

static void release(struct taskiface *t)
{
	ti_destruct_stop(t->destruct);
	ti_cancel_unwatch(t);
	ti_pipe_close(&t->input);
	ti_pipe_close(&t->output);
	ti_pipe_close(&t->progress);
	pthread_mutex_destroy(&t->lock);
	free(t->input.path);
	free(t->output.path);
	free(t->progress.path);
	free(t->early.data);
	free(t->begun.data);
	free(t->next.data);
	free(t->id);
	free(t);
}

static int make(const struct settings *s, struct taskiface **ret)
{
	struct taskiface *t = calloc(1, sizeof(*t));
	int64_t self_destruct_s = 0;
	int r;

	if (!t)
		return -ENOMEM;
	t->input.fd = t->output.fd = t->progress.fd = -1;
	t->timeout_ms = t->grace_ms = -1;
	t->opened_ms = ti_now_ms();
	t->mode = TASKIFACE_PROGRESS_WAIT;
	t->progress_timeout_ms = DEFAULT_PROGRESS_TIMEOUT_MS;
	pthread_mutex_init(&t->lock, NULL);
	r = init(t, s);
	if (r == 0)
		r = take_number(s->value[SELF_DESTRUCT], 0, INT64_MAX / 1000, &self_destruct_s);
	if (r == 0)
		r = taskiface_self_destruct(t, self_destruct_s * 1000);
	if (r < 0) {
		release(t);
		return r;
	}
	*ret = t;
	return 0;
}

int taskiface_open(int *argc, char **argv, struct taskiface **ret)
{
	struct settings s = { 0 };
	char **keep = NULL;
	int kept = 0, r = 0;

	if (argc && argv) {
		keep = calloc((size_t)(*argc > 0 ? *argc : 0) + 1, sizeof(*keep));
		r = keep ? take_arguments(*argc, argv, &s, keep, &kept) : -ENOMEM;
	}
	if (r == 0) {
		take_environment(&s);
		r = make(&s, ret);
	}
	if (r == 0 && keep) {
		memcpy(argv, keep, (size_t)kept * sizeof(*keep));
		if (kept < *argc)
			argv[kept] = NULL;
		*argc = kept;
	}
	free(keep);
	return r;
}

int taskiface_close(struct taskiface *t)
{
	int r;

	if (!t)
		return 0;
	r = taskiface_flush(t, t->progress_timeout_ms);
	release(t);
	return r;
}

const char *taskiface_id(const struct taskiface *t)
{
	return t->id;
}

int taskiface_attempt(const struct taskiface *t)
{
	return t->attempt;
}

const char *taskiface_version(void)
{
	return TASKRUNNER_VERSION;
}
