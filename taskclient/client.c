/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskclient/internal.h"

#define CONSUMER_TAG "answers"

int taskclient_make_id(char ret_id[TASKCLIENT_ID_SIZE])
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return -errno;
	b[6] = (unsigned char)((b[6] & 0x0F) | 0x40); /* version 4 */
	b[8] = (unsigned char)((b[8] & 0x3F) | 0x80); /* variant of RFC 9562 */
	snprintf(ret_id, TASKCLIENT_ID_SIZE,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
	return 0;
}

bool taskclient_id_is_valid(const char *id)
{
	return id_is_valid(slice_of(id));
}

const char *taskclient_version(void)
{
	return TASKRUNNER_VERSION;
}

static int prepare(struct taskclient *c, struct error *err)
{
	const struct mq_queue answers = { .name = "", .exclusive = true, .auto_delete = true };
	int r = mq_channel_open(c->mq, CHANNEL_REQUESTS, err);

	if (r == 0)
		r = mq_confirm(c->mq, CHANNEL_REQUESTS, err);
	if (r == 0)
		r = mq_channel_open(c->mq, CHANNEL_CONTROL, err);
	if (r == 0)
		r = mq_channel_open(c->mq, CHANNEL_NOTES, err);
	if (r == 0)
		r = mq_channel_open(c->mq, CHANNEL_ANSWERS, err);
	if (r == 0)
		r = mq_declare_queue(c->mq, CHANNEL_ANSWERS, &answers, c->reply_queue, NULL, err);
	if (r < 0)
		return r;
	/* No acknowledgements: the queue is ours alone and ends with us. */
	r = mq_consume(c->mq, CHANNEL_ANSWERS, c->reply_queue, CONSUMER_TAG, true, true);
	return r < 0 ? error_set(err, r, LOST) : 0;
}

static void close_client(struct taskclient **c)
{
	taskclient_close(*c);
}

static struct taskclient *client_new(const struct taskclient_options *options)
{
	struct taskclient *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->control = strdup(options->control ? options->control : TASKCLIENT_CONTROL);
	c->responses = strdup(options->responses ? options->responses : TASKCLIENT_RESPONSES);
	c->cancels = strdup(options->cancels ? options->cancels : TASKCLIENT_CANCELS);
	c->next_number = 1;
	c->notes_open = true;
	return c->control && c->responses && c->cancels ? c : taskclient_close(c);
}

int taskclient_open(const struct taskclient_options *options, struct taskclient **ret,
	struct taskclient_error *err)
{
	cleanup_with(close_client) struct taskclient *c = client_new(options);
	int r;

	if (!c)
		return error_set(error_of(err), -ENOMEM, "out of memory");
	r = options_connect(options, &c->mq, error_of(err));
	if (r == 0)
		r = prepare(c, error_of(err));
	if (r < 0)
		return r;
	*ret = steal_ptr(c);
	return 0;
}

struct taskclient *taskclient_close(struct taskclient *c)
{
	if (!c)
		return NULL;
	mq_close(c->mq);
	while (c->submissions)
		submission_remove(c, c->submissions);
	while (c->questions)
		question_remove(c, c->questions);
	while (c->first) {
		struct pending *p = c->first;

		c->first = p->next;
		happening_deinit(&p->happening);
		free(p);
	}
	free(c->control);
	free(c->responses);
	free(c->cancels);
	free(c);
	return NULL;
}

int taskclient_fd(const struct taskclient *c)
{
	return mq_fd(c->mq);
}

int taskclient_wait_ms(const struct taskclient *c)
{
	uint64_t now = clock_now_us();
	uint64_t at = question_next_us(c);

	if (at > c->tick_us)
		at = c->tick_us;
	return at <= now ? 1 : (int)((at - now + 999) / 1000);
}

int taskclient_inspect(struct taskclient *c, const char *queue, uint32_t *ret_ready,
	uint32_t *ret_consumers, struct taskclient_error *err)
{
	int r = mq_channel_open(c->mq, CHANNEL_INSPECT, error_of(err));

	return r < 0 ? r
		     : mq_inspect_queue(c->mq, CHANNEL_INSPECT, queue, ret_ready, ret_consumers,
			       error_of(err));
}
