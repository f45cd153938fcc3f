/* SPDX-License-Identifier: Apache-2.0 */
#include "common/clock.h"
#include "runner/engine_private.h"

bool engine_pause(struct engine *engine, struct task *task)
{
	(void)engine, (void)task;
	return false;
}

bool engine_resume(struct engine *engine, struct task *task)
{
	(void)engine;
	return task->state == TASK_RUNNING;
}

bool engine_signal(struct task *task, int signal)
{
	return task->state == TASK_RUNNING && tree_signal_group(task->pid, signal);
}

void task_look(const struct task *task, struct task_view *ret)
{
	*ret = (struct task_view){
		.state = task->state == TASK_WAITING   ? "waiting"
			 : task->state == TASK_RUNNING ? "running"
						       : "ending",
		.pid = task->pid,
		.running_us = task->started_us ? clock_now_us() - task->started_us : 0,
		.cpu_us = task->cpu_us,
		.memory = task->memory_now,
		.progress = -1,
	};
}
