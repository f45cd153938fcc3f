/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/outcome.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/parse.h"

#define SAY(ret, ...) snprintf((ret)->text, sizeof((ret)->text), __VA_ARGS__)

const char *outcome_errno_name(int error)
{
	const char *name = strerrorname_np(error);
	return name ? name : "";
}

/* What execve's few words leave open. */
static void say_hint(int error, const char *path, char *ret, size_t size)
{
	struct stat st;
	bool exists = path && stat(path, &st) == 0;
	if (error == ENOENT && exists)
		snprintf(ret, size, "; the interpreter that its first line names does not exist");
	else if (error == ENOENT && path)
		snprintf(ret, size, "; %s does not exist", path);
	else if (error == EACCES && exists && S_ISDIR(st.st_mode))
		snprintf(ret, size, "; it is a directory");
	else if (error == EACCES && exists && !(st.st_mode & 0111))
		snprintf(ret, size, "; it is not executable");
	else if (error == ENOEXEC)
		snprintf(ret, size,
			"; it is neither a binary for this machine nor a script with a #! line");
}

static void say_exec_failed(const struct evidence *e, struct outcome *ret)
{
	static const char *const what[] = {
		[SPAWN_PIPES] = "its pipes could not be made",
		[SPAWN_CLONE] = "a process could not be made",
		[SPAWN_DIRECTORY] = "its working directory could not be entered",
		[SPAWN_DESCRIPTORS] = "its descriptors could not be set up",
		[SPAWN_EXEC] = "it could not be executed",
	};
	char hint[512] = "";
	if (e->spawn.stage == SPAWN_EXEC)
		say_hint(e->spawn.error, e->spawn.path, hint, sizeof(hint));
	ret->error = e->spawn.error;
	SAY(ret, "Program '%s' could not be started (exec failed, %s): %s: %s%s", e->program,
		outcome_errno_name(e->spawn.error), what[e->spawn.stage], strerror(e->spawn.error),
		hint);
}

static void say_by_us(const struct evidence *e, struct outcome *ret)
{
	char time[32], size[32];
	switch (e->cause) {
	case CAUSE_EXEC_FAILED:
		say_exec_failed(e, ret);
		break;
	case CAUSE_TIMED_OUT:
		SAY(ret, "Program '%s' timed out: it ran longer than the %s allowed", e->program,
			format_duration(e->timeout_us, time, sizeof(time)));
		break;
	case CAUSE_SILENT:
		SAY(ret, "Program '%s' was silent: it reported no progress for %s", e->program,
			format_duration(e->silence_us, time, sizeof(time)));
		break;
	case CAUSE_OUTPUT_TOO_LARGE:
		SAY(ret, "Program '%s' wrote an output too large: more than the %s allowed",
			e->program, format_size(e->output_max, size, sizeof(size)));
		break;
	case CAUSE_PROTOCOL_ERROR:
		if (e->detail)
			SAY(ret, "%s", e->detail);
		else
			SAY(ret,
				"Program '%s' broke the protocol: it wrote a progress record "
				"longer than the "
				"%s allowed",
				e->program, format_size(e->progress_max, size, sizeof(size)));
		break;
	case CAUSE_SHUTTING_DOWN:
		SAY(ret, "Program '%s' was ended because the runner is shutting down", e->program);
		break;
	case CAUSE_CANCELLED:
		SAY(ret, "Program '%s' was cancelled", e->program);
		break;
	default:
		SAY(ret, "%s", e->detail ? e->detail : cause_name(e->cause));
	}
}

/* It ended by itself, and not well. */
static void judge_end(const struct evidence *e, struct outcome *ret)
{
	ret->status = STATUS_FAILED;
	if (ret->signal == SIGKILL && e->memory_ran_out) {
		ret->cause = CAUSE_OUT_OF_MEMORY;
		SAY(ret, "Program '%s' was killed, probably because it was out of memory",
			e->program);
	} else if (ret->signal) {
		ret->cause = CAUSE_KILLED;
		SAY(ret, "Program '%s' was killed by signal %d (SIG%s)", e->program, ret->signal,
			sigabbrev_np(ret->signal) ? sigabbrev_np(ret->signal) : "?");
	} else {
		ret->cause = CAUSE_EXITED;
		SAY(ret, "Program '%s' exited with code %d", e->program, ret->exit_code);
	}
}

void outcome_judge(const struct evidence *e, struct outcome *ret)
{
	ret->exit_code = e->ran && WIFEXITED(e->wait_status) ? WEXITSTATUS(e->wait_status) : -1;
	ret->signal = e->ran && WIFSIGNALED(e->wait_status) ? WTERMSIG(e->wait_status) : 0;
	ret->error = 0;
	ret->kind[0] = ret->text[0] = '\0';
	ret->cause = e->cause;

	if (e->cause != CAUSE_NONE) {
		ret->status = e->cause == CAUSE_CANCELLED ? STATUS_CANCELLED : STATUS_FAILED;
		say_by_us(e, ret);
	} else if (e->failure) {
		judge_end(e, ret);
		snprintf(ret->kind, sizeof(ret->kind), "%s", e->failure->kind);
		if (e->failure->message[0])
			SAY(ret, "%s", e->failure->message);
		else
			SAY(ret, "Program '%s' failed%s%s", e->program, ret->kind[0] ? ": " : "",
				ret->kind);
	} else if (ret->exit_code == 0) {
		ret->status = STATUS_SUCCESS;
	} else {
		judge_end(e, ret);
	}
}
