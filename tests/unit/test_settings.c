/* SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "taskctl/settings.h"
#include "tests/unit/capture.h"

static char home[200];

static const struct verb verb = {
	.name = "verb",
	.shares = SHARES_BROKER | SHARES_OUTPUT | SHARES_QUEUE,
};

struct reading {
	struct settings settings; /* what options say, before */
	int status;
	struct common_options options;
	struct capture err;
};

static void read_settings(struct reading *r)
{
	r->options = (struct common_options){ 0 };
	capture_start(&r->err, STDERR_FILENO);
	r->status = settings_resolve(&r->settings, &verb, &r->options);
	capture_end(&r->err);
}

/* The name of a file in our home directory. */
static const char *in_home(const char *name, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s/%s", home, name);
	return buffer;
}

static void write_text(const char *name, const char *text, size_t len)
{
	char path[256];
	FILE *file = fopen(in_home(name, path, sizeof(path)), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void write_settings(const char *text)
{
	write_text(".config/taskctl.yaml", text, strlen(text));
}

/* Each test begins with nothing set and no file. */
static int begin(void **state)
{
	char path[256];

	(void)state;
	clearenv();
	setenv("HOME", home, 1);
	unlink(in_home(".config/taskctl.yaml", path, sizeof(path)));
	return 0;
}

static void test_file(void **state)
{
	struct reading r = { 0 };
	char path[256];

	(void)state;
	write_settings("# mine\n"
		       "broker: amqp://one\n"
		       "broker_file: /etc/url\n"
		       "password_file: ~/secret\n"
		       "control: 'my control'\n"
		       "queue: my.queue\n"
		       "output: json\n"
		       "color: always\n");
	read_settings(&r);
	assert_string_equal(r.err.text, "");
	assert_int_equal(r.status, GOING_ON);
	assert_string_equal(r.options.broker.from[FROM_FILE].broker, "amqp://one");
	assert_string_equal(r.options.broker.from[FROM_FILE].broker_file, "/etc/url");
	assert_string_equal(r.options.broker.from[FROM_FILE].password_file,
		in_home("secret", path, sizeof(path)));
	assert_null(r.options.broker.from[FROM_OPTION].broker);
	assert_null(r.options.broker.from[FROM_ENVIRONMENT].broker);
	assert_string_equal(r.options.broker.control, "my control");
	assert_string_equal(r.options.queue, "my.queue");
	assert_int_equal(r.options.output.format, OUTPUT_JSON);
	assert_true(r.options.output.color);
	options_deinit(&r.options);
}

static void test_what_counts(void **state)
{
	struct reading r = { 0 };

	(void)state;
	write_settings("queue: of.the.file\ncontrol: of.the.file\noutput: json\n");
	setenv("TASKCTL_QUEUE", "of.the.environment", 1);
	setenv("TASKCTL_CONTROL", "of.the.environment", 1);
	assert_true(settings_take(&r.settings, OPTION_QUEUE, "of.the.command.line"));
	read_settings(&r);
	assert_int_equal(r.status, GOING_ON);
	assert_string_equal(r.options.queue, "of.the.command.line");
	assert_string_equal(r.options.broker.control, "of.the.environment");
	assert_int_equal(r.options.output.format, OUTPUT_JSON);
	options_deinit(&r.options);
	/* An empty variable is as none. */
	setenv("TASKCTL_CONTROL", "", 1);
	setenv("TASKCTL_OUTPUT", "table", 1);
	read_settings(&r);
	assert_string_equal(r.options.broker.control, "of.the.file");
	assert_int_equal(r.options.output.format, OUTPUT_TABLE);
	options_deinit(&r.options);
}

/* Each origin has its own, so that a secret can stay with its broker. */
static void test_origins_stay_apart(void **state)
{
	struct reading r = { 0 };

	(void)state;
	write_settings("broker: amqp://file\npassword_file: /file\n");
	setenv("TASKCTL_BROKER", "amqp://environment", 1);
	setenv("TASKCTL_PASSWORD_FILE", "/environment", 1);
	settings_take(&r.settings, 'b', "amqp://option");
	read_settings(&r);
	assert_string_equal(r.options.broker.from[FROM_OPTION].broker, "amqp://option");
	assert_null(r.options.broker.from[FROM_OPTION].password_file);
	assert_string_equal(r.options.broker.from[FROM_ENVIRONMENT].broker, "amqp://environment");
	assert_string_equal(r.options.broker.from[FROM_FILE].broker, "amqp://file");
	assert_string_equal(r.options.broker.from[FROM_FILE].password_file, "/file");
	options_deinit(&r.options);
}

static void test_faults(void **state)
{
	static const struct {
		const char *text, *told;
	} cases[] = {
		{ "queue: a\nbrokr: x\n",
			"2: brokr: there is no such key; known are broker, broker_file, "
			"password_file, control, cancels, queue, responses, output and color" },
		{ "queue: [a, b]\n", "1: queue: expected text, not a list or a mapping" },
		{ "\nbroker:\n  url: x\n", "2: broker: expected text, not a list or a mapping" },
		{ "queue:\n", "1: queue: expected text that is not empty and holds no NUL" },
		{ "queue: ''\n", "1: queue: expected text that is not empty and holds no NUL" },
		{ "queue: \"a\\0b\"\n",
			"1: queue: expected text that is not empty and holds no NUL" },
		{ "queue: a\nqueue: b\n",
			"2: queue: the key stands twice in one mapping, first on line 1" },
		{ "password_file: secret\n",
			"1: password_file: expected the name of a file that begins with / or ~/" },
		{ "broker_file: ~root/x\n",
			"1: broker_file: expected the name of a file that begins with / or ~/" },
		{ "queue: a\noutput: xml\n",
			"2: output: 'xml' is not one of table, json, msgpack" },
		{ "color: true\n", "1: color: 'true' is not one of auto, always, never" },
		{ "- queue\n", "1: YAML: expected a mapping (key: value) at the top" },
		{ "queue: &a b\n", "1: YAML: anchors (&) and tags (!) are not taken" },
		{ "\"que\033ue\": a\n", "1: YAML: the text is not clean UTF-8: control characters "
					"are not allowed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct reading r = { 0 };
		char expected[512];

		write_settings(cases[i].text);
		read_settings(&r);
		snprintf(expected, sizeof(expected), "taskctl: %s/.config/taskctl.yaml:%s\n", home,
			cases[i].told);
		assert_string_equal(r.err.text, expected);
		assert_int_equal(r.status, EXIT_USAGE);
		options_deinit(&r.options);
	}
}

/* A fault never shows what may be a password. */
static void test_secrets_are_not_shown(void **state)
{
	struct reading r = { 0 };

	(void)state;
	write_settings("broker: [ 'amqp://u:pass-4711@h' ]\n");
	read_settings(&r);
	assert_int_equal(r.status, EXIT_USAGE);
	assert_null(strstr(r.err.text, "4711"));
	options_deinit(&r.options);
}

static void test_wrong_variable(void **state)
{
	struct reading r = { 0 };

	(void)state;
	setenv("TASKCTL_OUTPUT", "xml", 1);
	read_settings(&r);
	assert_string_equal(
		r.err.text, "taskctl: TASKCTL_OUTPUT: 'xml' is not one of table, json, msgpack\n");
	assert_int_equal(r.status, EXIT_USAGE);
	options_deinit(&r.options);
}

static void test_where_the_file_is(void **state)
{
	struct reading r = { 0 };
	char path[256];

	(void)state;
	mkdir(in_home("xdg", path, sizeof(path)), 0700);
	write_settings("queue: of.home\n");
	write_text("xdg/taskctl.yaml", "queue: of.xdg\n", 14);
	setenv("XDG_CONFIG_HOME", path, 1);
	read_settings(&r);
	assert_string_equal(r.options.queue, "of.xdg");
	options_deinit(&r.options);
	setenv("XDG_CONFIG_HOME", "xdg", 1); /* not absolute: as if it were not set */
	read_settings(&r);
	assert_string_equal(r.options.queue, "of.home");
	options_deinit(&r.options);
	unsetenv("HOME");
	read_settings(&r);
	assert_int_equal(r.status, GOING_ON);
	assert_null(r.options.queue);
	options_deinit(&r.options);
	unlink(in_home("xdg/taskctl.yaml", path, sizeof(path)));
	rmdir(in_home("xdg", path, sizeof(path)));
}

static void test_files_that_are_none(void **state)
{
	struct reading r = { 0 };
	char path[256], *large = malloc(100000);

	(void)state;
	read_settings(&r); /* not there */
	assert_int_equal(r.status, GOING_ON);
	options_deinit(&r.options);
	write_settings("");
	read_settings(&r);
	assert_int_equal(r.status, GOING_ON);
	options_deinit(&r.options);
	memset(large, '#', 100000);
	write_text(".config/taskctl.yaml", large, 100000);
	free(large);
	read_settings(&r);
	assert_int_equal(r.status, EXIT_LOCAL);
	assert_non_null(strstr(r.err.text, "is too large"));
	options_deinit(&r.options);
	unlink(in_home(".config/taskctl.yaml", path, sizeof(path)));
	mkdir(path, 0700);
	read_settings(&r);
	assert_int_equal(r.status, EXIT_LOCAL);
	assert_non_null(strstr(r.err.text, "Is a directory"));
	options_deinit(&r.options);
	rmdir(path);
	/* What should be a directory is a file. */
	setenv("XDG_CONFIG_HOME", "/etc/passwd", 1);
	read_settings(&r);
	assert_int_equal(r.status, GOING_ON);
	options_deinit(&r.options);
}

/* Verbs that need nothing of it do not fail by it. */
static void test_verb_that_shares_nothing(void **state)
{
	static const struct verb alone = { .name = "alone" };
	struct settings settings = { 0 };
	struct common_options options = { 0 };

	(void)state;
	write_settings("broken: [\n");
	assert_int_equal(settings_resolve(&settings, &alone, &options), GOING_ON);
	options_deinit(&options);
}

/* ---- colours ---- */

static bool is_colored(bool terminal, const char *option, const char *variable,
	const char *no_color, const char *file, const char *term)
{
	struct reading r = { 0 };
	struct capture out;
	char text[64];
	bool color;

	assert_int_equal(begin(NULL), 0);
	if (option)
		settings_take(&r.settings, OPTION_COLOR, option);
	if (variable)
		setenv("TASKCTL_COLOR", variable, 1);
	if (no_color)
		setenv("NO_COLOR", no_color, 1);
	if (term)
		setenv("TERM", term, 1);
	snprintf(text, sizeof(text), "color: %s\n", file ? file : "auto");
	if (file)
		write_settings(text);
	if (terminal)
		capture_terminal(&out, STDOUT_FILENO, 50);
	else
		capture_start(&out, STDOUT_FILENO);
	read_settings(&r);
	capture_end(&out);
	assert_int_equal(r.status, GOING_ON);
	assert_int_equal(r.options.output.is_terminal, terminal);
	assert_int_equal(r.options.output.width, terminal ? 50 : 0);
	color = r.options.output.color;
	options_deinit(&r.options);
	return color;
}

static void test_colors(void **state)
{
	static const struct {
		bool terminal;
		const char *option, *variable, *no_color, *file, *term;
		bool color;
	} cases[] = {
		{ true, NULL, NULL, NULL, NULL, "xterm", true },
		{ false, NULL, NULL, NULL, NULL, "xterm", false },
		{ true, NULL, NULL, NULL, NULL, "dumb", false },
		{ true, NULL, NULL, NULL, NULL, "", false },
		{ true, NULL, NULL, NULL, NULL, NULL, false },
		{ true, NULL, NULL, "1", NULL, "xterm", false },
		{ true, NULL, NULL, "", NULL, "xterm", true },
		{ true, "never", NULL, NULL, NULL, "xterm", false },
		{ false, "always", NULL, "1", NULL, "dumb", true },
		{ true, "auto", NULL, "1", NULL, "xterm", false },
		{ false, NULL, "always", "1", NULL, NULL, true },
		{ true, NULL, "never", NULL, "always", "xterm", false },
		{ false, NULL, NULL, NULL, "always", NULL, true },
		{ false, NULL, NULL, "1", "always", NULL, false },
		{ true, "auto", "never", NULL, "never", "xterm", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (is_colored(cases[i].terminal, cases[i].option, cases[i].variable,
			    cases[i].no_color, cases[i].file, cases[i].term) != cases[i].color)
			fail_msg("case %zu", i);
}

static void test_msgpack_is_not_for_terminals(void **state)
{
	struct reading r = { 0 };
	struct capture out;

	(void)state;
	settings_take(&r.settings, 'o', "msgpack");
	capture_terminal(&out, STDOUT_FILENO, 50);
	read_settings(&r);
	capture_end(&out);
	assert_int_equal(r.status, EXIT_USAGE);
	assert_string_equal(r.err.text,
		"taskctl: MessagePack is nothing for a terminal: send it to a file or a pipe\n"
		"Try 'taskctl verb --help'.\n");
	options_deinit(&r.options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_file, begin),
		cmocka_unit_test_setup(test_what_counts, begin),
		cmocka_unit_test_setup(test_origins_stay_apart, begin),
		cmocka_unit_test_setup(test_faults, begin),
		cmocka_unit_test_setup(test_secrets_are_not_shown, begin),
		cmocka_unit_test_setup(test_wrong_variable, begin),
		cmocka_unit_test_setup(test_where_the_file_is, begin),
		cmocka_unit_test_setup(test_files_that_are_none, begin),
		cmocka_unit_test_setup(test_verb_that_shares_nothing, begin),
		cmocka_unit_test_setup(test_colors, begin),
		cmocka_unit_test_setup(test_msgpack_is_not_for_terminals, begin),
	};
	char path[256];
	int failed;

	setlocale(LC_CTYPE, "C.UTF-8");
	snprintf(home, sizeof(home), "%s/test_settings.XXXXXX",
		getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(home) || mkdir(in_home(".config", path, sizeof(path)), 0700) < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(in_home(".config/taskctl.yaml", path, sizeof(path)));
	rmdir(in_home(".config", path, sizeof(path)));
	rmdir(home);
	return failed;
}
