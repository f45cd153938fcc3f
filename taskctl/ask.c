/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/ask.h"

#include <stdio.h>
#include <string.h>

#include "common/parse.h"
#include "wire/json.h"

void ask_init(struct ask *ask)
{
	*ask = (struct ask){ 0 };
}

void ask_deinit(struct ask *ask)
{
	buf_deinit(&ask->input);
}

static int read_json(const char *verb, struct ask *ask)
{
	struct slice text = slice_of(ask->json);
	size_t space = json_space_len(text), len = 0;
	struct slice value = { text.data + space, text.len - space };
	enum json_outcome outcome = json_value_len(value, 0, &len);
	struct slice rest = { value.data + len, value.len - len };

	if (outcome == JSON_DONE)
		len += json_space_len(rest);
	if (outcome == JSON_BAD && space + len >= text.len)
		return usage_error(verb, "--json: this is no JSON: it ends too early");
	if (outcome != JSON_DONE || space + len < text.len)
		return usage_error(
			verb, "--json: this is no JSON from byte %zu on", space + len + 1);
	return buf_append_text(&ask->input, ask->json) < 0 ? EXIT_LOCAL : 0;
}

static int take_input(const char *verb, struct ask *ask)
{
	int r = 0;

	if (ask->input_file && ask->json)
		return usage_error(verb, "--input and --json exclude each other");
	if (ask->json)
		r = read_json(verb, ask);
	else if (ask->input_file)
		r = read_input(ask->input_file, &ask->input);
	ask->request.input = ask->input.data;
	ask->request.input_len = ask->input.len;
	return r;
}

static int take_encoding(const char *verb, struct ask *ask, const char *name)
{
	if (strcmp(name, "json") == 0)
		ask->request.is_msgpack = false;
	else if (strcmp(name, "msgpack") == 0)
		ask->request.is_msgpack = true;
	else
		return usage_error(verb, "--encoding: '%s' is neither json nor msgpack", name);
	return 0;
}

static int take_id(const char *verb, struct ask *ask, const char *id)
{
	if (!taskclient_id_is_valid(id))
		return usage_error(verb, "--id: 1 to %d bytes without '/', and not '.' or '..'",
			TASKCLIENT_ID_MAX);
	snprintf(ask->id, sizeof(ask->id), "%s", id);
	return 0;
}

static int take_number(const char *verb, const char *option, int max, int64_t *ret)
{
	return parse_int(optarg, 0, max, ret) < 0
		       ? usage_error(verb, "%s: '%s' is not 0 to %d", option, optarg, max)
		       : 0;
}

static int take_text(const char *verb, const char *option, const char **ret)
{
	if (!optarg[0])
		return usage_error(verb, "%s: the text is empty", option);
	*ret = optarg;
	return 0;
}

int ask_take_option(const char *verb, struct ask *ask, int c)
{
	struct taskclient_request *request = &ask->request;
	int64_t number = 0;
	int r = 0;

	switch (c) {
	case 'i':
		ask->input_file = optarg;
		break;
	case 'j':
		ask->json = optarg;
		break;
	case 't':
		r = read_duration(verb, "--timeout", optarg, &request->timeout_ms);
		break;
	case 'g':
		r = take_text(verb, "--group", &request->group);
		break;
	case 'p':
		r = take_number(verb, "--priority", 9, &number);
		request->priority = (unsigned)number;
		break;
	case OPTION_ASK_DEPTH:
		r = take_number(verb, "--depth", 100, &number);
		request->depth = (unsigned)number;
		break;
	case OPTION_ASK_LABELS:
		r = take_text(verb, "--labels", &request->labels);
		break;
	case OPTION_ASK_USER:
		r = take_text(verb, "--user", &request->user);
		break;
	case OPTION_ASK_PROJECT:
		r = take_text(verb, "--project", &request->project);
		break;
	case OPTION_ASK_HOLD:
		request->hold = true;
		break;
	case OPTION_ASK_ID:
		r = take_id(verb, ask, optarg);
		break;
	default:
		r = take_encoding(verb, ask, optarg);
		break;
	}
	return r == 0 ? GOING_ON : r;
}

int ask_take_arguments(const char *verb, struct ask *ask, const struct common_options *options,
	int argc, char **argv)
{
	if (optind == argc || !argv[optind][0])
		return usage_error(verb, "which program? Its name is missing");
	if (argc - optind > 1)
		return usage_error(verb,
			"'%s' is too much: a program takes its input by --input or --json",
			argv[optind + 1]);
	ask->request.program = argv[optind];
	ask->request.queue = options->queue;
	return GOING_ON;
}

int ask_prepare(const char *verb, struct ask *ask)
{
	if (!ask->id[0] && taskclient_make_id(ask->id) < 0)
		return EXIT_LOCAL;
	ask->request.id = ask->id;
	return take_input(verb, ask);
}
