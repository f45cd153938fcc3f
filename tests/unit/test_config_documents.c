/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents and the shipped files, held to the table: a key that is added, renamed or given
 * another default fails here until the documents say so. A failure tells the line that is missing.
 */

#include "config_reading.h"

#include <sys/types.h>

static char *read_source(const char *path)
{
	cleanup_with(buf_deinit) struct buf content = { 0 };
	char name[512], *at;
	size_t n;
	FILE *f;

	snprintf(name, sizeof(name), "%s/%s", TEST_SOURCE_ROOT, path);
	f = fopen(name, "r");
	if (!f)
		fail_msg("%s is not there", name);
	do {
		assert_int_equal(buf_reserve(&content, 4096, &at), 0);
		n = fread(at, 1, 4096, f);
		content.len += n;
	} while (n);
	fclose(f);
	assert_int_equal(buf_append(&content, "", 1), 0);
	return buf_steal(&content, NULL);
}

static const struct setting_table *const tables[] = { &config_table, &queue_table, &program_table };

/* The default as the page has it: code where it is what one would write. */
static void page_default(const struct setting *s, char *buffer, size_t size)
{
	bool code = !s->shown && s->fallback && *s->fallback;

	snprintf(buffer, size, code ? "`%s`" : "%s", setting_default(s));
	if (s->terarium)
		snprintf(buffer + strlen(buffer), size - strlen(buffer),
			*s->terarium ? "; Terarium `%s`" : "; Terarium empty%s", s->terarium);
}

static void check_page_row(
	const char *page, const struct setting_table *table, const struct setting *s)
{
	char expected[256], value[128], variable[128];
	const char *row, *end;

	page_default(s, value, sizeof(value));
	snprintf(expected, sizeof(expected), "| `%s%s` | %s |", table->path, s->key, value);
	row = strstr(page, expected);
	if (!row)
		fail_msg("docs/configuration.md lacks: %s", expected);
	if (s->flags & SETTING_FILE_ONLY)
		return;
	end = strchr(row, '\n');
	snprintf(expected, sizeof(expected), "| `%s` |",
		setting_variable(s, variable, sizeof(variable)));
	row = strstr(row, expected);
	if (!row || row > end)
		fail_msg("docs/configuration.md, in the row of %s, lacks: %s", s->key, expected);
}

static void check_manual_entry(
	const char *manual, const struct setting_table *table, const struct setting *s)
{
	char expected[256], variable[128];
	const char *entry, *end;

	snprintf(expected, sizeof(expected), "\n*%s%s*, %s%s%s%s\n\t", table->path, s->key,
		s->flags & SETTING_REQUIRED ? "required" : "default ",
		s->flags & SETTING_REQUIRED ? "" : setting_default(s),
		s->terarium ? ", with compat: terarium " : "",
		!s->terarium   ? ""
		: *s->terarium ? s->terarium
			       : "empty");
	entry = strstr(manual, expected);
	if (!entry)
		fail_msg("docs/man/taskrunner.yaml.5.scd lacks: %s", expected);
	if (s->flags & SETTING_FILE_ONLY)
		return;
	end = strstr(entry + strlen(expected), "\n\n");
	snprintf(expected, sizeof(expected), "Environment: %s.",
		setting_variable(s, variable, sizeof(variable)));
	entry = strstr(entry, expected);
	if (!entry || (end && entry > end))
		fail_msg("docs/man/taskrunner.yaml.5.scd, at %s, lacks: %s", s->key, expected);
}

/* How many rows or entries there are; one more than the tables have is one that reads nothing. */
static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void test_documents_have_every_key(void **state)
{
	cleanup_free char *page = read_source("docs/configuration.md");
	cleanup_free char *manual = read_source("docs/man/taskrunner.yaml.5.scd");
	size_t n = 0;

	(void)state;
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (size_t i = 0; i < tables[t]->n; i++, n++) {
			check_page_row(page, tables[t], &tables[t]->rows[i]);
			check_manual_entry(manual, tables[t], &tables[t]->rows[i]);
		}
	assert_int_equal(count(page, "\n| `"), n + count(page, "\n| `TERARIUM_") +
						       count(page, "\n| `taskrunner -") +
						       count(page, "\n| `kill "));
	assert_int_equal(count(manual, ", default ") + count(manual, ", required\n"), n);
}

/* Whatever the page shows as YAML is taken. */
static void test_examples_of_the_page(void **state)
{
	cleanup_free char *page = read_source("docs/configuration.md");
	char *env[] = { "RENDER_TOKEN=t", NULL };
	const char *start = page;
	unsigned n = 0;

	(void)state;
	while ((start = strstr(start, "```yaml\n"))) {
		cleanup_with(buf_deinit) struct buf yaml = { 0 };
		const char *end = strstr(start += 8, "```"), *line = start;
		struct config c;

		/* files that only the reader has: such lines are for another test */
		for (; line < end; line = strchr(line, '\n') + 1)
			if (!strstr(line, "/run/secrets") ||
				strstr(line, "/run/secrets") > strchr(line, '\n'))
				buf_append(&yaml, line, (size_t)(strchr(line, '\n') + 1 - line));
		buf_append(&yaml, "", 1);
		for (char *path; (path = strstr(yaml.data, "/opt/tasks]"));)
			memcpy(path, "/tmp      ]", 11);
		c = accept(yaml.data, env);
		config_deinit(&c);
		start = end;
		n++;
	}
	assert_true(n >= 4);
}

static char *reference(void)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	config_print_reference(f);
	fclose(f);
	return text;
}

/* Without "#" at the start of lines; "##" is left a comment. */
static void uncomment(char *text)
{
	char *to = text;

	for (bool start = true; *text; start = *text++ == '\n')
		if (!start || *text != '#')
			*to++ = *text;
	*to = '\0';
}

static void test_printed_reference(void **state)
{
	cleanup_free char *text = reference();
	char *env[] = { NULL };
	struct config given, none = accept("", env);

	(void)state;
	given = accept(text, env); /* all comments */
	assert_int_equal(given.catalogue.n_programs, 0);
	config_deinit(&given);
	uncomment(text);
	given = accept(text, env); /* all defaults, and one program */
	assert_int_equal(given.catalogue.n_programs, 1);
	assert_string_equal(given.catalogue.programs[0].argv[2], "high");
	assert_int_equal(given.n_queues, 1);
	assert_string_equal(given.queues[0].name, none.queues[0].name);
	assert_int_equal(given.queues[0].slots, none.queues[0].slots);
	assert_string_equal(given.name, none.name);
	assert_memory_equal(&given.limits, &none.limits, sizeof(given.limits));
	assert_string_equal(given.responses.name, none.responses.name);
	assert_string_equal(given.control.name, none.control.name);
	assert_string_equal(given.cancels, none.cancels);
	assert_string_equal(given.events.exchange, none.events.exchange);
	assert_string_equal(given.events.history, none.events.history);
	assert_int_equal(given.events.max_bytes, none.events.max_bytes);
	assert_string_equal(given.cancellation.name, none.cancellation.name);
	assert_string_equal(given.dead_letter_queue, none.dead_letter_queue);
	assert_string_equal(given.broker.addresses[0], none.broker.addresses[0]);
	assert_int_equal(given.broker.heartbeat_s, none.broker.heartbeat_s);
	assert_null(given.broker.password);
	assert_int_equal(given.log.level, none.log.level);
	config_deinit(&given);
	config_deinit(&none);
}

static void test_terarium_with_little(void **state)
{
	cleanup_free char *text = read_source("docker/terarium.yaml");
	char *env[] = { "TERARIUM_MQ_ADDRESSES=amqp://mq:5672,amqp://mq2:5672",
		"TERARIUM_MQ_USERNAME=u", "TERARIUM_MQ_PASSWORD=p$${x}: #",
		"TERARIUM_TASKRUNNER_REQUEST_TYPE=mira", NULL };
	struct config c = accept(text, env);

	(void)state;
	assert_true(c.terarium);
	assert_int_equal(c.broker.n_addresses, 2);
	assert_string_equal(c.broker.addresses[1], "amqp://mq2:5672");
	assert_string_equal(c.broker.username, "u");
	assert_string_equal(c.broker.password, "p$${x}: #");
	assert_int_equal(c.n_queues, 1);
	assert_string_equal(c.queues[0].name, "terarium-request-queue-mira");
	assert_int_equal(c.queues[0].slots, 32);
	assert_true(c.queues[0].declare);
	assert_false(c.queues[0].durable);
	assert_null(c.queues[0].type);
	assert_string_equal(c.responses.name, "terarium-response-exchange");
	assert_string_equal(c.responses.type, "direct");
	assert_false(c.responses.declare);
	assert_string_equal(c.cancellation.name, "terarium-cancellation-exchange");
	assert_string_equal(c.cancellation.type, "direct");
	assert_true(c.cancellation.declare);
	assert_false(c.cancellation.durable || c.cancellation_durable);
	assert_string_equal(c.control.name, "taskrunner.control");
	assert_string_equal(c.cancels, "");
	assert_string_equal(c.events.exchange, "");
	assert_string_equal(c.dead_letter_queue, "");
	assert_true(c.catalogue.search_path);
	assert_int_equal(c.catalogue.pipe_arguments, PIPE_ARGUMENTS_UNDERSCORES);
	assert_int_equal(c.limits.timeout_us, 300000000);
	config_deinit(&c);
}

static void test_terarium_with_all(void **state)
{
	cleanup_free char *text = read_source("docker/terarium.yaml");
	char *env[] = { "TERARIUM_TASKRUNNER_REQUEST_TYPE=t", "TERARIUM_TASKRUNNER_REQUEST_QUEUE=q",
		"TERARIUM_TASKRUNNER_REQUEST_CONCURRENCY=7",
		"TERARIUM_TASKRUNNER_RESPONSE_EXCHANGE=r",
		"TERARIUM_TASKRUNNER_CANCELLATION_EXCHANGE=c", "TERARIUM_DURABLEQUEUES=true",
		"TASKRUNNER_DEAD_LETTER_QUEUE=d", "TASKRUNNER_CONTROL_EXCHANGE=", NULL };
	struct config c = accept(text, env);
	struct result without;

	(void)state;
	assert_string_equal(c.broker.addresses[0], "amqp://localhost:5672");
	assert_string_equal(c.broker.username, "guest");
	assert_string_equal(c.queues[0].name, "q-t");
	assert_int_equal(c.queues[0].slots, 7);
	assert_true(c.queues[0].durable);
	assert_string_equal(c.responses.name, "r");
	assert_string_equal(c.cancellation.name, "c");
	assert_true(c.cancellation.durable && c.cancellation_durable);
	assert_string_equal(c.dead_letter_queue, "d");
	assert_string_equal(c.control.name, "");
	config_deinit(&c);

	read_text(&without, text, strlen(text), (char *[]){ NULL });
	assert_int_equal(without.r, -EINVAL);
	assert_non_null(strstr(without.err.text, ": queues[].name: the environment variable "
						 "TERARIUM_TASKRUNNER_REQUEST_TYPE is not set"));
	config_deinit(&without.config);
}

static void test_image_file(void **state)
{
	cleanup_free char *text = read_source("docker/taskrunner.yaml");
	char *env[] = { "TASKRUNNER_PROGRAM_DIRECTORIES=/tmp", "TASKRUNNER_QUEUES=a:4", NULL };
	struct config c = accept(text, env);

	(void)state;
	assert_string_equal(c.catalogue.directories[0], "/tmp");
	assert_string_equal(c.queues[0].name, "a");
	assert_false(c.catalogue.search_path);
	assert_non_null(strstr(text, "\n  - /opt/tasks\n"));
	config_deinit(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents_have_every_key),
		cmocka_unit_test(test_examples_of_the_page),
		cmocka_unit_test(test_printed_reference),
		cmocka_unit_test(test_terarium_with_little),
		cmocka_unit_test(test_terarium_with_all),
		cmocka_unit_test(test_image_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
