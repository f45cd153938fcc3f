/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl completion: scripts for shells, written from the table of verbs. */
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "taskctl/taskctl.h"

#define VERB   "completion"
#define SHELLS "bash zsh fish"

#define TRY(call)                  \
	do {                       \
		int _r = (call);   \
		if (_r < 0)        \
			return _r; \
	} while (0)

static bool takes_file(const struct verb_option *o)
{
	return o->takes && strcmp(o->takes, "FILE") == 0;
}

/* Appends @text, with a backslash before each of the characters in @special. */
static int append_escaped(struct buf *out, const char *text, const char *special)
{
	for (; *text; text++) {
		if (strchr(special, *text))
			TRY(buf_append_text(out, "\\"));
		TRY(buf_append(out, text, 1));
	}
	return 0;
}

/* The same between single quotes, for shells that know no escape there but their end. */
static int append_quoted(struct buf *out, const char *text, const char *special)
{
	for (; *text; text++) {
		if (*text == '\'')
			TRY(buf_append_text(out, "'\\'"));
		else if (strchr(special, *text))
			TRY(buf_append_text(out, "\\"));
		TRY(buf_append(out, text, 1));
	}
	return 0;
}

static int append_names(struct buf *out, const char *before, const char *after)
{
	for (size_t i = 0; verbs[i]; i++)
		TRY(buf_printf(out, "%s%s%s", i > 0 ? before : "", verbs[i]->name, after));
	return 0;
}

/* ---- bash ---- */

/* "--input|-i)" */
static int bash_pattern(struct buf *out, const struct verb_option *o)
{
	TRY(buf_printf(out, "\t\t--%s", o->name));
	if (o->value < 256)
		TRY(buf_printf(out, "|-%c", o->value));
	return buf_append_text(out, ") ");
}

/* What the value of an option can be; nothing else is offered in its place. */
static int bash_values(struct buf *out, const struct verb *verb)
{
	const struct verb_option *o;

	TRY(buf_append_text(out, "\t\tcase $previous in\n"));
	for (size_t i = 0; (o = verb_option(verb, i)); i++) {
		if (!o->takes)
			continue;
		TRY(bash_pattern(out, o));
		if (takes_file(o))
			TRY(buf_append_text(out, "_taskctl_files \"$current\"; return ;;\n"));
		else if (o->words)
			TRY(buf_printf(out, "_taskctl_%s '%s' \"$current\"; return ;;\n",
				o->takes_list ? "list" : "words", o->words));
		else
			TRY(buf_append_text(out, "return ;;\n"));
	}
	return buf_append_text(out, "\t\tesac\n");
}

static int bash_verb(struct buf *out, const struct verb *verb)
{
	const struct verb_option *o;

	TRY(buf_printf(out, "\t%s)\n", verb->name));
	TRY(bash_values(out, verb));
	TRY(buf_append_text(out, "\t\toptions='"));
	for (size_t i = 0; (o = verb_option(verb, i)); i++)
		TRY(buf_printf(out, "%s--%s", i > 0 ? " " : "", o->name));
	TRY(buf_printf(out, "' words='%s' files=%s\n\t\t;;\n", verb->words ? verb->words : "",
		verb->takes_files ? "yes" : ""));
	return 0;
}

/* Bash makes words of their own of '=' and ':'. */
static const char bash_begin[] =
	"# Completion of taskctl for bash, as 'taskctl completion bash' prints it.\n"
	"_taskctl_words() {\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$2\")\n"
	"}\n"
	"\n"
	"# Several with commas: what comes after the last one.\n"
	"_taskctl_list() {\n"
	"\tlocal before=''\n"
	"\tif [[ $2 == *,* ]]; then\n"
	"\t\tbefore=${2%,*},\n"
	"\tfi\n"
	"\tmapfile -t COMPREPLY < <(compgen -P \"$before\" -W \"$1\" -- \"${2##*,}\")\n"
	"}\n"
	"\n"
	"# The first argument: nothing where one of them stands already.\n"
	"_taskctl_first() {\n"
	"\tlocal word\n"
	"\tfor word in \"${COMP_WORDS[@]:2:COMP_CWORD-2}\"; do\n"
	"\t\t[[ \" $1 \" == *\" ${word#SIG} \"* ]] && return\n"
	"\tdone\n"
	"\t_taskctl_words \"$1\" \"$2\"\n"
	"}\n"
	"\n"
	"_taskctl_files() {\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"\tmapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
	"}\n"
	"\n"
	"_taskctl() {\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	"\tlocal options='' words='' files=''\n"
	"\tCOMPREPLY=()\n"
	"\tif [ \"$COMP_CWORD\" = 1 ]; then\n"
	"\t\t_taskctl_words '";

static const char bash_middle[] = " --help --version' \"$current\"\n"
				  "\t\treturn\n"
				  "\tfi\n"
				  "\tif [ \"$current\" = '=' ]; then\n"
				  "\t\tcurrent=''\n"
				  "\telif [ \"$previous\" = '=' ]; then\n"
				  "\t\tprevious=${COMP_WORDS[COMP_CWORD-2]}\n"
				  "\tfi\n"
				  "\tcase ${COMP_WORDS[1]} in\n";

static const char bash_end[] = "\tesac\n"
			       "\tif [[ $current == -* ]]; then\n"
			       "\t\t_taskctl_words \"$options\" \"$current\"\n"
			       "\telif [ -n \"$files\" ]; then\n"
			       "\t\t_taskctl_files \"$current\"\n"
			       "\telse\n"
			       "\t\t_taskctl_first \"$words\" \"$current\"\n"
			       "\tfi\n"
			       "}\n"
			       "complete -F _taskctl taskctl\n";

static int write_bash(struct buf *out)
{
	TRY(buf_append_text(out, bash_begin));
	TRY(append_names(out, " ", ""));
	TRY(buf_append_text(out, bash_middle));
	for (size_t i = 0; verbs[i]; i++)
		TRY(bash_verb(out, verbs[i]));
	return buf_append_text(out, bash_end);
}

/* ---- zsh ---- */

static int zsh_values(struct buf *out, const struct verb_option *o)
{
	if (takes_file(o))
		return buf_printf(out, ":%s:_files", o->takes);
	if (o->takes_list)
		return buf_printf(out, ":%s:_sequence compadd - %s", o->takes, o->words);
	if (o->words)
		return buf_printf(out, ":%s:(%s)", o->takes, o->words);
	return buf_printf(out, ":%s: ", o->takes);
}

/* '(-i --input)'{-i+,--input=}'[what it means]:FILE:_files' */
static int zsh_option(struct buf *out, const struct verb_option *o)
{
	TRY(buf_append_text(out, " \\\n\t\t\t"));
	if (o->value < 256)
		TRY(buf_printf(out, "'(-%c --%s)'{-%c%s,--%s%s}'[", o->value, o->name, o->value,
			o->takes ? "+" : "", o->name, o->takes ? "=" : ""));
	else
		TRY(buf_printf(out, "'--%s%s[", o->name, o->takes ? "=" : ""));
	TRY(append_quoted(out, o->help, "[]:\\"));
	TRY(buf_append_text(out, "]"));
	if (o->takes)
		TRY(zsh_values(out, o));
	return buf_append_text(out, "'");
}

static int zsh_verb(struct buf *out, const struct verb *verb)
{
	const struct verb_option *o;

	TRY(buf_printf(out, "\t%s)\n\t\t_arguments -s -S", verb->name));
	for (size_t i = 0; (o = verb_option(verb, i)); i++)
		TRY(zsh_option(out, o));
	if (verb->takes_files)
		TRY(buf_append_text(out, " \\\n\t\t\t'*:file:_files'"));
	else if (verb->words)
		TRY(buf_printf(out, " \\\n\t\t\t'1:argument:(%s)' '*: : '", verb->words));
	else /* without this, options would be offered in their place */
		TRY(buf_append_text(out, " \\\n\t\t\t'*: : '"));
	return buf_append_text(out, "\n\t\t;;\n");
}

static int write_zsh(struct buf *out)
{
	TRY(buf_append_text(out,
		"#compdef taskctl\n"
		"# Completion of taskctl for zsh, as 'taskctl completion zsh' prints it.\n"
		"_taskctl() {\n"
		"\tif (( CURRENT == 2 )); then\n"
		"\t\tlocal -a verbs=("));
	for (size_t i = 0; verbs[i]; i++) {
		TRY(buf_printf(out, "\n\t\t\t'%s:", verbs[i]->name));
		TRY(append_quoted(out, verbs[i]->summary, "\\"));
		TRY(buf_append_text(out, "'"));
	}
	TRY(buf_append_text(out, "\n\t\t)\n"
				 "\t\t_describe -t verbs verb verbs\n"
				 "\t\t_arguments '--help[this text]' '--version[the version]'\n"
				 "\t\treturn\n"
				 "\tfi\n"
				 "\tlocal verb=$words[2]\n"
				 "\tshift words\n"
				 "\t(( CURRENT-- ))\n"
				 "\tcase $verb in\n"));
	for (size_t i = 0; verbs[i]; i++)
		TRY(zsh_verb(out, verbs[i]));
	return buf_append_text(out, "\tesac\n"
				    "}\n"
				    "if [ \"$funcstack[1]\" = _taskctl ]; then\n"
				    "\t_taskctl \"$@\"\n"
				    "else\n"
				    "\tcompdef _taskctl taskctl\n"
				    "fi\n");
}

/* ---- fish ---- */

static int fish_option(struct buf *out, const struct verb *verb, const struct verb_option *o)
{
	TRY(buf_printf(
		out, "complete -c taskctl -n '__taskctl_verb %s' -l %s", verb->name, o->name));
	if (o->value < 256)
		TRY(buf_printf(out, " -s %c", o->value));
	if (takes_file(o))
		TRY(buf_append_text(out, " -r -F"));
	else if (o->takes_list)
		TRY(buf_printf(out, " -x -a '(__fish_append , %s)'", o->words));
	else if (o->words)
		TRY(buf_printf(out, " -x -a '%s'", o->words));
	else if (o->takes)
		TRY(buf_append_text(out, " -x"));
	TRY(buf_append_text(out, " -d '"));
	TRY(append_escaped(out, o->help, "'\\"));
	return buf_append_text(out, "'\n");
}

static int fish_verb(struct buf *out, const struct verb *verb)
{
	const struct verb_option *o;

	TRY(buf_printf(out, "complete -c taskctl -n __taskctl_no_verb -a %s -d '", verb->name));
	TRY(append_escaped(out, verb->summary, "'\\"));
	TRY(buf_append_text(out, "'\n"));
	if (verb->takes_files)
		TRY(buf_printf(out, "complete -c taskctl -n '__taskctl_verb %s' -F\n", verb->name));
	else if (verb->words)
		TRY(buf_printf(out,
			"complete -c taskctl -n '__taskctl_verb %s; and not "
			"__fish_seen_subcommand_from %s' -a '%s'\n",
			verb->name, verb->words, verb->words));
	for (size_t i = 0; (o = verb_option(verb, i)); i++)
		TRY(fish_option(out, verb, o));
	return 0;
}

static int write_fish(struct buf *out)
{
	TRY(buf_append_text(out,
		"# Completion of taskctl for fish, as 'taskctl completion fish' prints it.\n"
		"function __taskctl_no_verb\n"
		"\ttest (count (commandline -opc)) -eq 1\n"
		"end\n"
		"function __taskctl_verb\n"
		"\tset -l words (commandline -opc)\n"
		"\ttest (count $words) -gt 1; and test $words[2] = $argv[1]\n"
		"end\n"
		"complete -c taskctl -f\n"
		"complete -c taskctl -n __taskctl_no_verb -l help -d 'this text'\n"
		"complete -c taskctl -n __taskctl_no_verb -l version -d 'the version'\n"));
	for (size_t i = 0; verbs[i]; i++)
		TRY(fish_verb(out, verbs[i]));
	return 0;
}

/* ---- the verb ---- */

static const struct shell {
	const char *name;
	int (*write)(struct buf *out);
} shells[] = {
	{ "bash", write_bash },
	{ "zsh", write_zsh },
	{ "fish", write_fish },
};

static int print_for(const struct shell *shell)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };

	if (shell->write(&text) < 0) {
		say("out of memory");
		return EXIT_LOCAL;
	}
	fwrite(text.data, 1, text.len, stdout);
	return EXIT_DONE;
}

static int print_named(const char *name)
{
	for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++)
		if (strcmp(shells[i].name, name) == 0)
			return print_for(&shells[i]);
	return usage_error(VERB, "'%s' is not one of bash, zsh and fish", name);
}

static int run(int argc, char **argv)
{
	struct common_options options = { 0 };
	int r = read_options(&verb_completion, argc, argv, NULL, NULL, &options);

	if (r == GOING_ON && argc - optind == 1)
		r = print_named(argv[optind]);
	else if (r == GOING_ON)
		r = usage_error(VERB, "for which shell? One of bash, zsh and fish is to be named");
	options_deinit(&options);
	return r;
}

const struct verb verb_completion = {
	.name = VERB,
	.group = VERBS_OTHER,
	.summary = "print what lets a shell complete taskctl's command lines",
	.arguments = "bash|zsh|fish",
	.about = "Prints the script that lets a shell complete verbs, options and their values. An "
		 "installed taskctl has put it where the shell finds it; without that:\n"
		 "\n"
		 "  bash   source <(taskctl completion bash)\n"
		 "  zsh    source <(taskctl completion zsh)\n"
		 "  fish   taskctl completion fish | source",
	.words = SHELLS,
	.exits = "0 done, 2 usage, 6 stdout not written",
	.run = run,
};
