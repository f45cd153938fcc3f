/* SPDX-License-Identifier: Apache-2.0 */
/* What is right, from the file and from the environment: every key, and who wins. */

#include "config_reading.h"

static char directory[] = "/tmp/test_config.XXXXXX"; /* for files that keys name */
static char password_file[64], name_file[64], empty_file[64];

static void write_file(char *path, size_t size, const char *name, const char *content)
{
	cleanup_close int fd = -1;
	FILE *f;

	snprintf(path, size, "%s/%s", directory, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(content, f);
	fclose(f);
}

/* ---- what is right ---- */

static void test_defaults(void **state)
{
	char *env[] = { NULL };
	struct config c = accept("", env);
	char host[65] = "";

	(void)state;
	gethostname(host, sizeof(host) - 1);
	assert_false(c.terarium);
	assert_string_equal(c.name, host);
	assert_null(c.file);
	assert_string_equal(config_source(&c), "environment");
	assert_int_equal(c.broker.n_addresses, 1);
	assert_string_equal(c.broker.addresses[0], "amqp://127.0.0.1:5672");
	assert_memory_equal(c.broker.connection_name, "taskrunner ", 11);
	assert_string_equal(c.broker.connection_name + 11, host);
	assert_null(c.broker.username);
	assert_null(c.broker.password);
	assert_null(c.broker.vhost);
	assert_int_equal(c.broker.heartbeat_s, 20);
	assert_int_equal(c.broker.connect_timeout_s, 10);
	assert_null(c.broker.tls.ca_file);
	assert_false(c.broker.tls.insecure);
	assert_int_equal(c.n_queues, 1);
	assert_string_equal(c.queues[0].name, "taskrunner.requests");
	assert_int_equal(c.queues[0].slots, sysconf(_SC_NPROCESSORS_ONLN));
	assert_true(c.queues[0].declare && c.queues[0].durable);
	assert_null(c.queues[0].type);
	assert_int_equal(c.labels.n, 0);
	assert_string_equal(c.responses.name, "taskrunner.responses");
	assert_string_equal(c.responses.type, "direct");
	assert_true(c.responses.declare && c.responses.durable);
	assert_string_equal(c.control.name, "taskrunner.control");
	assert_string_equal(c.control.type, "fanout");
	assert_true(c.control.declare && c.control.durable);
	assert_string_equal(c.cancels, "taskrunner.cancels");
	assert_string_equal(c.events.exchange, "task-events");
	assert_string_equal(c.events.history, "taskrunner.history");
	assert_true(c.events.max_age_us == 7 * 24 * 3600 * 1000000ULL);
	assert_int_equal(c.events.max_bytes, 1 << 30);
	assert_string_equal(c.cancellation.name, "");
	assert_string_equal(c.cancellation.type, "direct");
	assert_false(c.cancellation.declare); /* there is nothing to declare */
	assert_string_equal(c.dead_letter_queue, "taskrunner.dead-letters");
	assert_null(c.run_directory);
	assert_false(c.no_cgroups);
	assert_int_equal(c.limits.timeout_us, 0);
	assert_int_equal(c.limits.grace_us, 10000000);
	assert_int_equal(c.limits.drain_us, 5000000);
	assert_int_equal(c.limits.shutdown_us, 8000000);
	assert_int_equal(c.limits.input, 64 << 20);
	assert_int_equal(c.limits.output, 64 << 20);
	assert_int_equal(c.limits.progress_record, 1 << 20);
	assert_int_equal(c.limits.stdout_tail, 64 << 10);
	assert_int_equal(c.limits.stderr_tail, 64 << 10);
	assert_int_equal(c.limits.message, 128 << 20);
	assert_int_equal(c.log.level, LOG_INFO);
	assert_true(c.log.task_output);
	assert_int_equal(c.catalogue.n_programs, 0);
	assert_null(c.catalogue.directories[0]);
	assert_false(c.catalogue.search_path);
	assert_int_equal(c.catalogue.pipe_arguments, PIPE_ARGUMENTS_HYPHENS);
	config_deinit(&c);
	config_deinit(&c); /* twice is fine */
}

static void test_terarium_changes_four_defaults(void **state)
{
	char *env[] = { NULL };
	struct config c = accept("compat: terarium\n", env);

	(void)state;
	assert_true(c.terarium);
	assert_int_equal(c.limits.timeout_us, 300000000);
	assert_true(c.catalogue.search_path);
	assert_int_equal(c.catalogue.pipe_arguments, PIPE_ARGUMENTS_UNDERSCORES);
	assert_string_equal(c.events.exchange, "");
	config_deinit(&c);
	c = accept("search_path: false\npipe_arguments: hyphens\nlimits: {timeout: 0}\n"
		   "events: {exchange: e}\ncompat: terarium\n",
		env);
	assert_true(c.terarium);
	assert_int_equal(c.limits.timeout_us, 0);
	assert_false(c.catalogue.search_path);
	assert_int_equal(c.catalogue.pipe_arguments, PIPE_ARGUMENTS_HYPHENS);
	assert_string_equal(c.events.exchange, "e");
	config_deinit(&c);
}

/* A value for each setting that differs from its default. "%" stands for the test's directory. */
static const struct sample {
	const char *key;
	const char *value;
} samples[] = {
	{ "compat", "terarium" },
	{ "name", "runner 1" },
	{ "broker.addresses", "amqp://a:1,amqps://b:2/v" },
	{ "broker.username", "alice" },
	{ "broker.username_file", "%/name" },
	{ "broker.password", "s3cret" },
	{ "broker.password_file", "%/password" },
	{ "broker.vhost", "work" },
	{ "broker.heartbeat", "0" },
	{ "broker.connect_timeout", "2m" },
	{ "broker.tls.ca_file", "%/name" },
	{ "broker.tls.cert_file", "%/name" },
	{ "broker.tls.key_file", "%/password" },
	{ "broker.tls.insecure", "yes" },
	{ "labels", "gpu:1,a:b:10000" },
	{ "responses.exchange", "r" },
	{ "responses.type", "topic" },
	{ "responses.declare", "false" },
	{ "responses.durable", "off" },
	{ "control.exchange", "c" },
	{ "control.declare", "0" },
	{ "control.durable", "No" },
	{ "control.cancels", "cc" },
	{ "events.exchange", "" },
	{ "events.history", "h" },
	{ "events.max_age", "12h" },
	{ "events.max_bytes", "3MiB" },
	{ "cancellation.exchange", "x" },
	{ "cancellation.declare", "false" },
	{ "cancellation.durable", "false" },
	{ "cancellation.queue_durable", "false" },
	{ "dead_letter_queue", "d" },
	{ "delivery.ack", "hold" },
	{ "delivery.park_after", "7s" },
	{ "delivery.lease", "1h" },
	{ "delivery.hold_type", "classic" },
	{ "delivery.crash_limit", "3" },
	{ "run_directory", "/somewhere" },
	{ "cgroups", "off" },
	{ "limits.timeout", "1.5h" },
	{ "limits.grace", "11s" },
	{ "limits.drain", "12ms" },
	{ "limits.shutdown", "13s" },
	{ "limits.held", "17" },
	{ "limits.input", "1GiB" },
	{ "limits.output", "1025" },
	{ "limits.progress_record", "256B" },
	{ "limits.stdout_tail", "0" },
	{ "limits.stderr_tail", "1KiB" },
	{ "limits.message", "16MiB" },
	{ "log.level", "debug" },
	{ "log.task_output", "false" },
	{ "program_directories", "/tmp:%" },
	{ "search_path", "true" },
	{ "pipe_arguments", "none" },
};

#define N_SAMPLES (sizeof(samples) / sizeof(*samples))

/* A secret and the file of it exclude one another: one half is given in each round. */
static bool in_round(const char *key, int round)
{
	size_t len = strlen(key);
	bool is_file = len > 14 && !strncmp(key, "broker.", 7) && strncmp(key, "broker.tls", 10) &&
		       !strcmp(key + len - 5, "_file");

	if (!strcmp(key, "broker.username") || !strcmp(key, "broker.password"))
		return round == 0;
	return !is_file || round == 1;
}

static void append_value(struct buf *out, const char *value)
{
	for (; *value; value++)
		assert_int_equal(
			*value == '%' ? buf_append_text(out, directory) : buf_append(out, value, 1),
			0);
}

/* The samples as YAML: sections are opened anew where the path changes, which rows in order allow.
 */
static void samples_as_yaml(struct buf *out, int round)
{
	char previous[64] = "";

	for (size_t i = 0; i < N_SAMPLES; i++) {
		const char *key = samples[i].key, *start = key, *dot;
		int level = 0;

		if (!in_round(key, round))
			continue;
		for (; (dot = strchr(start, '.')); start = dot + 1, level++)
			if (strncmp(key, previous, (size_t)(dot - key) + 1))
				buf_printf(out, "%*s%.*s:\n", level * 2, "", (int)(dot - start),
					start);
		buf_printf(out, "%*s%s: '", level * 2, "", start);
		append_value(out, samples[i].value);
		buf_append_text(out, "'\n");
		snprintf(previous, sizeof(previous), "%s", key);
	}
	buf_append(out, "", 1);
}

static char **samples_as_environment(int round)
{
	char **env = NULL;

	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct buf entry = { 0 };
		char variable[128];

		if (!in_round(samples[i].key, round))
			continue;
		setting_variable(
			setting_find(&config_table, samples[i].key), variable, sizeof(variable));
		buf_printf(&entry, "%s=", variable);
		append_value(&entry, samples[i].value);
		buf_append(&entry, "", 1);
		assert_int_equal(strings_add(&env, buf_steal(&entry, NULL)), 0);
	}
	return env;
}

static void check_samples(const struct config *c, int round)
{
	char path[64];

	assert_true(c->terarium);
	assert_string_equal(c->name, "runner 1");
	assert_string_equal(c->broker.connection_name, "taskrunner runner 1");
	assert_int_equal(c->broker.n_addresses, 2);
	assert_string_equal(c->broker.addresses[1], "amqps://b:2/v");
	assert_string_equal(c->broker.username, round ? "bob" : "alice");
	assert_string_equal(c->broker.password, round ? "file\nsecret " : "s3cret");
	assert_string_equal(c->broker.vhost, "work");
	assert_int_equal(c->broker.heartbeat_s, 0);
	assert_int_equal(c->broker.connect_timeout_s, 120);
	assert_string_equal(c->broker.tls.ca_file, name_file);
	assert_string_equal(c->broker.tls.cert_file, name_file);
	assert_string_equal(c->broker.tls.key_file, password_file);
	assert_true(c->broker.tls.insecure);
	assert_int_equal(c->labels.n, 2);
	assert_string_equal(c->labels.caps[0].name, "gpu");
	assert_int_equal(c->labels.caps[0].max, 1);
	assert_string_equal(c->labels.caps[1].name, "a:b");
	assert_int_equal(c->labels.caps[1].max, 10000);
	assert_string_equal(c->responses.name, "r");
	assert_string_equal(c->responses.type, "topic");
	assert_false(c->responses.declare || c->responses.durable);
	assert_string_equal(c->control.name, "c");
	assert_string_equal(c->cancels, "cc");
	assert_string_equal(c->events.exchange, "");
	assert_string_equal(c->events.history, "h");
	assert_true(c->events.max_age_us == 12 * 3600 * 1000000ULL);
	assert_int_equal(c->events.max_bytes, 3 << 20);
	assert_false(c->control.declare || c->control.durable);
	assert_string_equal(c->cancellation.name, "x");
	assert_false(c->cancellation.declare || c->cancellation.durable);
	assert_false(c->cancellation_durable);
	assert_string_equal(c->dead_letter_queue, "d");
	assert_true(c->delivery.hold);
	assert_int_equal(c->delivery.park_us, 7000000);
	assert_int_equal(c->delivery.lease_us, 3600000000);
	assert_string_equal(c->delivery.hold_type, "classic");
	assert_int_equal(c->delivery.crash_limit, 3);
	assert_string_equal(c->run_directory, "/somewhere");
	assert_true(c->no_cgroups);
	assert_int_equal(c->limits.timeout_us, 5400000000);
	assert_int_equal(c->limits.grace_us, 11000000);
	assert_int_equal(c->limits.drain_us, 12000);
	assert_int_equal(c->limits.shutdown_us, 13000000);
	assert_int_equal(c->limits.held, 17);
	assert_int_equal(c->limits.input, 1 << 30);
	assert_int_equal(c->limits.output, 1025);
	assert_int_equal(c->limits.progress_record, 256);
	assert_int_equal(c->limits.stdout_tail, 0);
	assert_int_equal(c->limits.stderr_tail, 1024);
	assert_int_equal(c->limits.message, 16 << 20);
	assert_int_equal(c->log.level, LOG_DEBUG);
	assert_false(c->log.task_output);
	assert_string_equal(c->catalogue.directories[0], "/tmp");
	snprintf(path, sizeof(path), "%s", directory);
	assert_string_equal(c->catalogue.directories[1], path);
	assert_null(c->catalogue.directories[2]);
	assert_true(c->catalogue.search_path);
	assert_int_equal(c->catalogue.pipe_arguments, PIPE_ARGUMENTS_NONE);
}

/* A new row without a sample fails here. */
static void test_samples_are_whole(void **state)
{
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < config_table.n; i++) {
		const struct setting *s = &config_table.rows[i];

		if (s->kind == SETTING_QUEUES || s->kind == SETTING_PROGRAMS)
			continue;
		if (n >= N_SAMPLES || strcmp(samples[n].key, s->key))
			fail_msg("no sample for %s", s->key);
		n++;
	}
	assert_int_equal(n, N_SAMPLES);
}

static void test_every_key_from_yaml(void **state)
{
	char *env[] = { NULL };

	(void)state;
	for (int round = 0; round < 2; round++) {
		cleanup_with(buf_deinit) struct buf yaml = { 0 };
		struct config c;

		samples_as_yaml(&yaml, round);
		c = accept(yaml.data, env);
		check_samples(&c, round);
		config_deinit(&c);
	}
}

static void test_every_key_from_environment(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		char **env = samples_as_environment(round);
		struct config c = accept("", env);

		check_samples(&c, round);
		config_deinit(&c);
		strings_free(env);
	}
}

/* The same values in the file, of which none may come through, nor stand in the way. */
static void test_environment_wins(void **state)
{
	static const char yaml[] =
		"compat: none\nname: f\nbroker: {addresses: [amqp://f], username: f, password: f, "
		"vhost: f,"
		" heartbeat: 9s, connect_timeout: nonsense, tls: {insecure: false, ca_file: "
		"/missing}}\n"
		"responses: {exchange: f, type: nonsense, declare: true, durable: true}\n"
		"control: {exchange: f}\ncancellation: {exchange: f}\n"
		"dead_letter_queue: f\nrun_directory: relative\n"
		"limits: {timeout: 1s, grace: 1s, drain: 1s, shutdown: 1s,"
		" input: 2KiB, output: 2KiB, progress_record: 2KiB, stdout_tail: 2KiB,"
		" stderr_tail: 2KiB, message: 32KiB}\nlog: {level: error, task_output: true}\n"
		"program_directories: [/missing]\nsearch_path: false\npipe_arguments: hyphens\n";

	(void)state;
	for (int round = 0; round < 2; round++) {
		char **env = samples_as_environment(round);
		struct config c = accept(yaml, env);

		check_samples(&c, round);
		config_deinit(&c);
		strings_free(env);
	}
}

static void test_empty_is_not_given(void **state)
{
	char *env[] = { "TASKRUNNER_NAME=", "TASKRUNNER_BROKER_PASSWORD=", "TASKRUNNER_DEBUG=1",
		"TASKRUNNER_CONTROL_EXCHANGE=", "TASKRUNNER_QUEUES=", "EMPTY=", NULL };
	struct config c =
		accept("name: x\nbroker:\n  username: ''\n  tls: {ca_file: , key_file: ~}\n"
		       "limits: {input: null, output: '${UNSET:-}', grace: \"${EMPTY}\"}\n"
		       "control: {exchange: f}\ndead_letter_queue:\nprograms:\nqueues:\nlog:\n",
			env);

	(void)state;
	assert_string_equal(c.name, "x");
	assert_null(c.broker.username);
	assert_null(c.broker.password);
	assert_null(c.broker.tls.ca_file);
	assert_null(c.broker.tls.key_file);
	assert_int_equal(c.limits.input, 64 << 20);
	assert_int_equal(c.limits.output, 64 << 20);
	assert_int_equal(c.limits.grace_us, 10000000);
	assert_string_equal(c.control.name, ""); /* may be empty, so the variable counts */
	assert_false(c.control.declare);
	assert_string_equal(c.dead_letter_queue, "");
	assert_int_equal(c.n_queues, 1);
	config_deinit(&c);
}

static void test_lists(void **state)
{
	char *env[] = { NULL };
	struct config c = accept("broker:\n  addresses:\n  - amqp://a\n  - amqp://b, amqp://c\n"
				 "program_directories: [/tmp, /]\n",
		env);

	(void)state;
	assert_int_equal(c.broker.n_addresses, 3);
	assert_string_equal(c.broker.addresses[2], "amqp://c");
	assert_string_equal(c.catalogue.directories[1], "/");
	assert_null(c.catalogue.directories[2]);
	config_deinit(&c);
}

static void test_queues(void **state)
{
	char *env[] = { NULL };
	char *queues[] = { "TASKRUNNER_QUEUES=one:3,two,a:b:4", NULL };
	static const char yaml[] = "queues:\n- {name: a, slots: 10000, declare: no, durable: no, "
				   "type: classic, max_priority: 9}\n- name: b\n  type: quorum\n";
	struct config c = accept(yaml, env);

	(void)state;
	assert_int_equal(c.n_queues, 2);
	assert_string_equal(c.queues[0].name, "a");
	assert_int_equal(c.queues[0].slots, 10000);
	assert_false(c.queues[0].declare || c.queues[0].durable);
	assert_string_equal(c.queues[0].type, "classic");
	assert_int_equal(c.queues[0].max_priority, 9);
	assert_string_equal(c.queues[1].name, "b");
	assert_int_equal(c.queues[1].slots, sysconf(_SC_NPROCESSORS_ONLN));
	assert_true(c.queues[1].declare && c.queues[1].durable);
	assert_string_equal(c.queues[1].type, "quorum");
	config_deinit(&c);

	c = accept(yaml, queues);
	assert_int_equal(c.n_queues, 3);
	assert_string_equal(c.queues[0].name, "one");
	assert_int_equal(c.queues[0].slots, 3);
	assert_true(c.queues[0].declare && c.queues[0].durable);
	assert_int_equal(c.queues[1].slots, sysconf(_SC_NPROCESSORS_ONLN));
	assert_string_equal(c.queues[2].name, "a:b");
	assert_int_equal(c.queues[2].slots, 4);
	config_deinit(&c);
}

static void test_labels(void **state)
{
	char *env[] = { "N=3", NULL };
	struct config c = accept("labels: {gpu: 1, x.y-z_0: \"${N}\", none: '${UNSET:-}'}\n"
				 "programs:\n  a: {argv: [x], labels: [gpu, \"a:b\"]}\n"
				 "  b: {argv: [x], labels: []}\n  c: {argv: [x], labels: }\n",
		env);
	struct program *programs = c.catalogue.programs;

	(void)state;
	assert_int_equal(c.labels.n, 2);
	assert_string_equal(c.labels.caps[0].name, "gpu");
	assert_int_equal(c.labels.caps[0].max, 1);
	assert_string_equal(c.labels.caps[1].name, "x.y-z_0");
	assert_int_equal(c.labels.caps[1].max, 3);
	assert_string_equal(programs[0].labels[0], "gpu");
	assert_string_equal(programs[0].labels[1], "a:b");
	assert_null(programs[0].labels[2]);
	assert_null(programs[1].labels);
	assert_null(programs[2].labels);
	config_deinit(&c);
	c = accept("labels: {}\n", env);
	assert_int_equal(c.labels.n, 0);
	config_deinit(&c);
	c = accept("labels: {gpu: nonsense}\n", (char *[]){ "TASKRUNNER_LABELS=m:2", NULL });
	assert_int_equal(c.labels.n, 1);
	assert_string_equal(c.labels.caps[0].name, "m");
	config_deinit(&c);
}

static void test_programs(void **state)
{
	char *env[] = { "ROOT=/opt/render", NULL };
	struct config c =
		accept("pipe_arguments: underscores\n"
		       "programs:\n"
		       "  render:\n"
		       "    argv: ['${ROOT}/bin/render', --quality, high, '', \"a\\nb\", 7]\n"
		       "    directory: /data\n"
		       "    environment: {LANG: C.UTF-8, EMPTY: '', ROOT: '$$${ROOT}'}\n"
		       "    timeout: 5m\n"
		       "    silence_timeout: 30s\n"
		       "    slots: 2\n"
		       "    pipe_arguments: none\n"
		       "  gollm:model_card: {argv: [sh]}\n"
		       "  /usr/bin/env: {argv: [/usr/bin/env]}\n",
			env);
	const struct program *p = c.catalogue.programs;

	(void)state;
	assert_int_equal(c.catalogue.n_programs, 3);
	assert_string_equal(p[0].name, "render");
	assert_int_equal(p[0].line, 3);
	assert_string_equal(p[0].argv[0], "/opt/render/bin/render");
	assert_string_equal(p[0].argv[2], "high");
	assert_string_equal(p[0].argv[3], "");
	assert_string_equal(p[0].argv[4], "a\nb");
	assert_string_equal(p[0].argv[5], "7");
	assert_null(p[0].argv[6]);
	assert_string_equal(p[0].directory, "/data");
	assert_string_equal(p[0].environment[0], "LANG=C.UTF-8");
	assert_string_equal(p[0].environment[1], "EMPTY=");
	assert_string_equal(p[0].environment[2], "ROOT=$/opt/render");
	assert_null(p[0].environment[3]);
	assert_int_equal(p[0].timeout_us, 300000000);
	assert_int_equal(p[0].silence_timeout_us, 30000000);
	assert_int_equal(p[0].slots, 2);
	assert_int_equal(p[0].pipe_arguments, PIPE_ARGUMENTS_NONE);
	assert_string_equal(p[1].name, "gollm:model_card");
	assert_string_equal(p[1].argv[0], "sh");
	assert_null(p[1].directory);
	assert_null(p[1].environment[0]);
	assert_int_equal(p[1].timeout_us, 0);
	assert_int_equal(p[1].slots, 0);
	assert_int_equal(p[1].pipe_arguments, PIPE_ARGUMENTS_UNDERSCORES);
	assert_int_equal(p[1].line, 11);
	assert_string_equal(p[2].name, "/usr/bin/env");
	config_deinit(&c);
}

/* As SIGHUP does: a new reading, of which only the catalogue is kept. */
static void test_catalogue_can_be_taken(void **state)
{
	char *env[] = { NULL };
	struct config old = accept("programs: {a: {argv: [a]}}\n", env);
	struct config new = accept("programs: {b: {argv: [b]}}\n", env);

	(void)state;
	program_set_deinit(&old.catalogue);
	old.catalogue = new.catalogue;
	new.catalogue = (struct program_set){ 0 };
	config_deinit(&new);
	assert_string_equal(old.catalogue.programs[0].name, "b");
	config_deinit(&old);
}

static void test_substitution(void **state)
{
	static const struct {
		const char *value, *expected;
	} cases[] = {
		{ "plain", "plain" },
		{ "${A}", "one" },
		{ "x${A}y${A}z", "xoneyonez" },
		{ "${A:-other}", "one" },
		{ "${UNSET:-other}", "other" },
		{ "${EMPTY:-other}", "other" },
		{ "a${EMPTY}", "a" },
		{ "a${UNSET:-}", "a" },
		{ "$$", "$" },
		{ "$${A}", "${A}" },
		{ "${UNSET:-$$}", "$" },
		{ "${A:-$$}", "one" },
		{ "${UNSET:-a:-b{}", "a:-b{" },
		{ "${TRICK}", "], injected: [${A}" }, /* neither structure nor read again */
		{ "${_a1}", "lower" },
	};
	char *env[] = { "A=one", "EMPTY=", "TRICK=], injected: [${A}", "_a1=lower", "AA=no", NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char yaml[128];
		struct config c;

		snprintf(yaml, sizeof(yaml), "name: '%s'\n", cases[i].value);
		c = accept(yaml, env);
		assert_string_equal(c.name, cases[i].expected);
		config_deinit(&c);
	}
}

/* ---- secrets in files ---- */

static void test_secret_files(void **state)
{
	char variable[128], yaml[256], expected[512];
	char *env[] = { variable, NULL };
	char *none[] = { NULL };
	char *password[] = { "TASKRUNNER_BROKER_PASSWORD=p", NULL };
	struct config c;

	(void)state;
	/* the environment's file against the text of the file, and the other way round */
	snprintf(variable, sizeof(variable), "TASKRUNNER_BROKER_PASSWORD_FILE=%s", password_file);
	c = accept("broker: {password: p}\n", env);
	assert_string_equal(c.broker.password, "file\nsecret ");
	assert_string_equal(c.secret_files.password, password_file);
	config_deinit(&c);
	snprintf(yaml, sizeof(yaml), "broker: {password_file: %s}\n", password_file);
	c = accept(yaml, password);
	assert_string_equal(c.broker.password, "p");
	assert_null(c.secret_files.password);
	config_deinit(&c);

	snprintf(
		yaml, sizeof(yaml), "broker:\n  password: p\n  password_file: %s\n", password_file);
	refuse(yaml, strlen(yaml), none,
		"f.yaml:3: broker.password_file: expected either this or the one without _file, "
		"not "
		"both");
	refuse("", 0, (char *[]){ variable, password[0], NULL },
		"environment: TASKRUNNER_BROKER_PASSWORD_FILE: expected either this or the one "
		"without "
		"_FILE, not both");
	snprintf(yaml, sizeof(yaml), "broker: {username_file: %s}\n", empty_file);
	refuse(yaml, strlen(yaml), none,
		"f.yaml:1: broker.username_file: the file is empty or holds a NUL byte");
	assert_int_equal(truncate(empty_file, 64 * 1024 + 1), 0);
	refuse(yaml, strlen(yaml), none,
		"f.yaml:1: broker.username_file: cannot be read: it is too large");
	assert_int_equal(truncate(empty_file, 64 * 1024), 0);
	refuse(yaml, strlen(yaml), none,
		"f.yaml:1: broker.username_file: the file is empty or holds a NUL byte");
	snprintf(yaml, sizeof(yaml), "broker: {username_file: %s/missing}\n", directory);
	snprintf(expected, sizeof(expected),
		"f.yaml:1: broker.username_file: expected a file that can be read (No such file or "
		"directory), not %s/missing",
		directory);
	refuse(yaml, strlen(yaml), none, expected);
	refuse("broker: {username_file: /dev/zero}\n", 35, none,
		"f.yaml:1: broker.username_file: expected a regular file, not /dev/zero");
}

/* Cut after every byte: right or wrong, it ends with an answer and leaks nothing. */
static void test_truncation(void **state)
{
	cleanup_with(buf_deinit) struct buf yaml = { 0 };
	char *env[] = { NULL };

	(void)state;
	samples_as_yaml(&yaml, 0);
	buf_append_text(
		&yaml, "queues: [{name: a}]\nprograms: {a: {argv: [x], environment: {A: b}}}\n");
	for (size_t len = 0; len < yaml.len; len++) {
		struct result result;

		read_text(&result, yaml.data, len, env);
		assert_true(result.r == 0 || *result.err.text);
		config_deinit(&result.config);
	}
}

/* ---- from a file ---- */

static void test_file(void **state)
{
	struct config c;
	struct error err = { 0 };
	char path[64], expected[256];

	(void)state;
	write_file(path, sizeof(path), "a.yaml", "name: filed\n");
	assert_int_equal(config_read(path, &c, &err), 0);
	assert_string_equal(c.name, "filed");
	assert_string_equal(c.file, path);
	assert_string_equal(config_source(&c), path);
	config_deinit(&c);
	write_file(path, sizeof(path), "a.yaml", "\nname: [filed]\n");
	assert_int_equal(config_read(path, &c, NULL), -EINVAL); /* nobody listens */
	config_deinit(&c);
	assert_int_equal(config_read(path, &c, &err), -EINVAL);
	snprintf(expected, sizeof(expected),
		"%s:2: name: expected text of 1 to 128 bytes without control characters", path);
	assert_string_equal(err.text, expected);
	config_deinit(&c);
	unlink(path);
	assert_int_equal(config_read(path, &c, &err), -ENOENT);
	snprintf(expected, sizeof(expected), "%s: cannot be read: No such file or directory", path);
	assert_string_equal(err.text, expected);
	config_deinit(&c);
	assert_int_equal(config_read(directory, &c, &err), -EINVAL);
	snprintf(expected, sizeof(expected), "%s: cannot be read: it is not a regular file",
		directory);
	assert_string_equal(err.text, expected);
	config_deinit(&c);
	assert_int_equal(config_read("/dev/zero", &c, &err), -EINVAL);
	config_deinit(&c);
	write_file(path, sizeof(path), "a.yaml", "# never ending\n");
	assert_int_equal(truncate(path, 1024 * 1024 + 1), 0);
	assert_int_equal(config_read(path, &c, &err), -EFBIG);
	snprintf(expected, sizeof(expected), "%s: cannot be read: it is too large", path);
	assert_string_equal(err.text, expected);
	config_deinit(&c);
	unlink(path);
}

static int make_files(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	write_file(password_file, sizeof(password_file), "password", "file\nsecret \n");
	write_file(name_file, sizeof(name_file), "name", "bob");
	write_file(empty_file, sizeof(empty_file), "empty", "\n");
	return 0;
}

static int remove_files(void **state)
{
	(void)state;
	unlink(password_file);
	unlink(name_file);
	unlink(empty_file);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_terarium_changes_four_defaults),
		cmocka_unit_test(test_samples_are_whole),
		cmocka_unit_test(test_every_key_from_yaml),
		cmocka_unit_test(test_every_key_from_environment),
		cmocka_unit_test(test_environment_wins),
		cmocka_unit_test(test_empty_is_not_given),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_catalogue_can_be_taken),
		cmocka_unit_test(test_substitution),
		cmocka_unit_test(test_secret_files),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
