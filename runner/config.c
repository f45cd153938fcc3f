/* SPDX-License-Identifier: Apache-2.0 */
/* The order of reading, what spans several keys, and the ends of a struct config. */

#include "runner/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "runner/config_internal.h"

#define SECRET_BYTES_MAX (64 * 1024)
#define DEFAULT_QUEUE    "taskrunner.requests"
#define SLOTS_MAX        10000

/* ---- files ---- */

/* Only regular files: to open one never waits, and SIGHUP can read it again. */
static int read_file(const char *path, size_t max, struct buf *ret, const char **ret_why)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n;
	char *at;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		*ret_why = log_errno_text(errno);
		return r;
	}
	*ret_why = "it is not a regular file";
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	do {
		*ret_why = "it is too large";
		if (ret->len > max)
			return -EFBIG;
		*ret_why = log_errno_text(ENOMEM);
		if (buf_reserve(ret, 16384, &at) < 0)
			return -ENOMEM;
		n = read(fd, at, 16384);
		if (n < 0) {
			r = -errno;
			*ret_why = log_errno_text(errno);
			return r;
		}
		ret->len += (size_t)n;
	} while (n > 0);
	return 0;
}

/* ---- what spans several keys ---- */

static struct place place_of_row(
	struct reader *reader, const struct setting *s, char *buffer, size_t size)
{
	const struct origin *origin = &reader->origins[s - config_table.rows];
	struct place at = { .source = &reader->source, .line = origin->line, .key = s->key };

	if (origin->from == FROM_ENVIRONMENT)
		at.key = setting_variable(s, buffer, size);
	return at;
}

static int read_secret(const char *path, const struct place *at, char **ret)
{
	cleanup_with(buf_deinit) struct buf content = { 0 };
	const char *why = NULL;

	if (read_file(path, SECRET_BYTES_MAX, &content, &why) < 0)
		return config_fault(at, "cannot be read: %s", why);
	if (content.len && content.data[content.len - 1] == '\n')
		content.len--;
	if (!content.len || memchr(content.data, '\0', content.len))
		return config_fault(at, "the file is empty or holds a NUL byte");
	free(*ret);
	*ret = slice_dup(buf_slice(&content));
	return *ret ? 0 : config_no_memory(at);
}

/* A secret and its _file: of two, that from the environment; two from one place are one too many.
 */
static int resolve_secret(struct reader *reader, const char *key, char **secret, char **file)
{
	const struct setting *plain = setting_find(&config_table, key);
	const struct setting *from_file = plain + 1; /* the rows stand together */
	const struct origin *origin = &reader->origins[plain - config_table.rows];
	const struct origin *file_origin = &reader->origins[from_file - config_table.rows];
	char variable[128];
	struct place at = place_of_row(reader, from_file, variable, sizeof(variable));

	if (!file_origin->from)
		return 0;
	if (origin->from == file_origin->from)
		return config_fault(&at, "expected either this or the one without _%s, not both",
			at.line ? "file" : "FILE");
	if (origin->from == FROM_ENVIRONMENT) {
		free(steal_ptr(*file));
		return 0;
	}
	return read_secret(*file, &at, secret);
}

static int check_tls(struct reader *reader)
{
	const struct mq_options *broker = &reader->config->broker;
	const char *key = broker->tls.cert_file ? "broker.tls.cert_file" : "broker.tls.key_file";
	const char *other = broker->tls.cert_file ? "broker.tls.key_file" : "broker.tls.cert_file";
	char variable[128];
	struct place at =
		place_of_row(reader, setting_find(&config_table, key), variable, sizeof(variable));

	if (!broker->tls.cert_file == !broker->tls.key_file)
		return 0;
	return config_fault(&at, "expected %s with it: certificate and key go together", other);
}

static unsigned processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > SLOTS_MAX ? SLOTS_MAX : (unsigned)n;
}

static int check_queue(
	const struct config *config, const struct queue_config *queue, const struct place *at)
{
	for (size_t i = 0; i < config->n_queues; i++)
		if (!strcmp(config->queues[i].name, queue->name))
			return config_fault(at, "the queue %s stands here twice", queue->name);
	if (queue->type && !strcmp(queue->type, "quorum") && !queue->durable)
		return config_fault(
			at, "the queue %s is not durable: a quorum queue always is", queue->name);
	if (queue->type && !strcmp(queue->type, "quorum") && queue->max_priority)
		return config_fault(
			at, "the queue %s has max_priority: only a classic queue can", queue->name);
	return 0;
}

int config_add_queue(struct config *config, struct queue_config *queue, const struct place *at)
{
	struct queue_config *grown;
	int r = check_queue(config, queue, at);

	if (r < 0)
		return r;
	if (config->n_queues == QUEUES_MAX)
		return config_fault(at, "more than %d queues", QUEUES_MAX);
	grown = reallocarray(config->queues, config->n_queues + 1, sizeof(*grown));
	if (!grown)
		return config_no_memory(at);
	config->queues = grown;
	grown[config->n_queues] = *queue;
	if (!queue->slots)
		grown[config->n_queues].slots = processors();
	config->n_queues++;
	*queue = (struct queue_config){ 0 };
	return 0;
}

static int add_default_queue(struct reader *reader)
{
	const struct origin origins[SETTING_ROWS_MAX] = { 0 };
	struct place at = { .source = &reader->source, .key = "queues" };
	struct queue_config queue = { 0 };
	int r = config_defaults(&queue_table, &queue, origins, false, &reader->source);

	if (r == 0)
		r = setting_store(setting_find(&queue_table, "name"), &queue, DEFAULT_QUEUE, &at);
	if (r == 0)
		r = config_add_queue(reader->config, &queue, &at);
	setting_release_all(&queue_table, &queue);
	return r;
}

/* A dead letter would be taken as a request, fail again, and so on without end. */
static int check_dead_letters(struct reader *reader)
{
	const struct config *config = reader->config;
	const struct setting *s = setting_find(&config_table, "dead_letter_queue");
	char variable[128];
	struct place at;

	if (!reader->origins[s - config_table.rows].from) /* the default cannot be at fault */
		s = setting_find(&config_table, "queues");
	at = place_of_row(reader, s, variable, sizeof(variable));
	for (size_t i = 0; i < config->n_queues; i++)
		if (!strcmp(config->queues[i].name, config->dead_letter_queue))
			return config_fault(&at,
				"%s is both a request queue and the dead-letter queue",
				config->dead_letter_queue);
	return 0;
}

static int name_runner(struct reader *reader)
{
	struct config *config = reader->config;
	struct place at = { .source = &reader->source, .key = "name" };
	char host[65] = "";

	if (!config->name) {
		if (gethostname(host, sizeof(host) - 1) < 0 || !*host ||
			!text_is_utf8(slice_of(host)))
			snprintf(host, sizeof(host), "taskrunner");
		config->name = strdup(host);
	}
	if (!config->name ||
		asprintf(&config->broker.connection_name, "taskrunner %s", config->name) < 0) {
		config->broker.connection_name = NULL;
		return config_no_memory(&at);
	}
	return 0;
}

static int fix_exchanges(struct reader *reader)
{
	struct config *config = reader->config;
	struct exchange_config *exchanges[] = { &config->responses, &config->control,
		&config->cancellation };
	struct place at = { .source = &reader->source, .key = "control" };

	config->control.type = strdup("fanout");
	config->cancellation.type = strdup("direct");
	if (!config->control.type || !config->cancellation.type)
		return config_no_memory(&at);
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(*exchanges); i++)
		exchanges[i]->declare = exchanges[i]->declare && *exchanges[i]->name;
	return 0;
}

static int finish_list(char ***list, const struct place *at)
{
	if (!*list)
		*list = calloc(1, sizeof(char *));
	return *list ? 0 : config_no_memory(at);
}

/* So that who reads it has neither a special value nor a NULL to think of. */
static int finish_catalogue(struct reader *reader)
{
	struct program_set *set = &reader->config->catalogue;
	struct place at = { .source = &reader->source, .key = "programs" };
	int r = finish_list(&set->directories, &at);

	for (size_t i = 0; i < set->n_programs && r == 0; i++) {
		struct program *program = &set->programs[i];

		if (program->pipe_arguments == PIPE_ARGUMENTS_UNSET)
			program->pipe_arguments = set->pipe_arguments;
		r = finish_list(&program->environment, &at);
	}
	return r;
}

static int finish(struct reader *reader)
{
	struct config *config = reader->config;
	int r = config_defaults(
		&config_table, config, reader->origins, config->terarium, &reader->source);

	if (r == 0 && !config->n_queues)
		r = add_default_queue(reader);
	if (r == 0)
		r = resolve_secret(reader, "broker.username", &config->broker.username,
			&config->secret_files.username);
	if (r == 0)
		r = resolve_secret(reader, "broker.password", &config->broker.password,
			&config->secret_files.password);
	if (r == 0)
		r = check_tls(reader);
	if (r == 0)
		r = check_dead_letters(reader);
	if (r == 0)
		r = name_runner(reader);
	if (r == 0)
		r = fix_exchanges(reader);
	if (r == 0)
		r = finish_catalogue(reader);
	return r;
}

/* ---- from outside ---- */

int config_read_text(const char *text, size_t len, const char *name, char *const environment[],
	struct config *ret, struct error *err)
{
	struct error unheard = { 0 };
	struct reader reader = {
		.source = { .name = name, .environment = environment, .err = err ? err : &unheard },
		.config = ret,
	};
	struct node *root = NULL;
	int r;

	*ret = (struct config){ 0 };
	mq_options_init(&ret->broker);
	/* First come, first served: what the environment gave, the file does not overwrite. */
	r = config_read_environment(&reader);
	if (r == 0)
		r = document_parse(text, len, name, &root, reader.source.err);
	if (r == 0)
		r = config_read_tree(&reader, root);
	if (r == 0)
		r = finish(&reader);
	document_free(root);
	return r;
}

int config_read(const char *file, struct config *ret, struct error *err)
{
	cleanup_with(buf_deinit) struct buf content = { 0 };
	const char *why = NULL;
	int r;

	*ret = (struct config){ 0 };
	r = file ? read_file(file, DOCUMENT_BYTES_MAX, &content, &why) : 0;
	if (r < 0)
		return error_set(err, r, "%s: cannot be read: %s", file, why);
	r = config_read_text(content.data ? content.data : "", content.len, file ? file : "no file",
		environ, ret, err);
	if (r == 0 && file) {
		ret->file = strdup(file);
		if (!ret->file)
			return error_set(err, -ENOMEM, "%s: out of memory", file);
	}
	return r;
}

const char *config_source(const struct config *config)
{
	return config->file ? config->file : "environment";
}

void program_set_deinit(struct program_set *set)
{
	for (size_t i = 0; i < set->n_programs; i++) {
		free(set->programs[i].name);
		setting_release_all(&program_table, &set->programs[i]);
	}
	free(set->programs);
	strings_free(set->directories);
	*set = (struct program_set){ 0 };
}

void config_deinit(struct config *config)
{
	for (size_t i = 0; i < config->n_queues; i++)
		setting_release_all(&queue_table, &config->queues[i]);
	free(config->queues);
	program_set_deinit(&config->catalogue);
	setting_release_all(&config_table, config);
	mq_options_deinit(&config->broker);
	free(config->control.type);
	free(config->cancellation.type);
	free(config->file);
	*config = (struct config){ 0 };
}
