/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "mq/internal.h"

/* One attempt at one address. */
struct attempt {
	const struct mq_options *options;
	const struct amqp_connection_info *to;
	const char *vhost;
	uint64_t deadline_us;
	struct error *err;
};

static struct timeval time_left(const struct attempt *a)
{
	uint64_t now = clock_now_us();
	uint64_t left = now < a->deadline_us ? a->deadline_us - now : 1;

	return (struct timeval){ .tv_sec = (time_t)(left / 1000000),
		.tv_usec = (suseconds_t)(left % 1000000) };
}

static int open_plain(struct mq_connection *c, const struct attempt *a)
{
	amqp_socket_t *socket;
	int fd = mq_dial(a->to->host, a->to->port, c->timeout_s, c->interrupt, a->err);

	if (fd < 0)
		return fd;
	socket = amqp_tcp_socket_new(c->amqp);
	if (!socket) {
		close_fd(fd);
		return error_set(a->err, -ENOMEM, "out of memory");
	}
	amqp_tcp_socket_set_sockfd(socket, fd);
	return 0;
}

static const char *tls_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	return reason ? reason : "no reason given";
}

static int load_certificates(amqp_socket_t *socket, const struct attempt *a)
{
	const struct mq_options *o = a->options;

	ERR_clear_error();
	if (o->tls.ca_file) {
		if (amqp_ssl_socket_set_cacert(socket, o->tls.ca_file) != AMQP_STATUS_OK)
			return error_set(a->err, -EINVAL, "cannot load the CA certificates %s: %s",
				o->tls.ca_file, tls_reason());
	} else if (!SSL_CTX_set_default_verify_paths(amqp_ssl_socket_get_context(socket))) {
		return error_set(a->err, -EINVAL, "cannot load the system's CA certificates: %s",
			tls_reason());
	}
	if (!o->tls.cert_file != !o->tls.key_file)
		return error_set(
			a->err, -EINVAL, "a client certificate needs both cert_file and key_file");
	if (o->tls.cert_file && amqp_ssl_socket_set_key(socket, o->tls.cert_file,
					o->tls.key_file) != AMQP_STATUS_OK)
		return error_set(a->err, -EINVAL,
			"cannot load the client certificate %s and key %s: %s", o->tls.cert_file,
			o->tls.key_file, tls_reason());
	return 0;
}

/* The library does not say why it could not connect: a connection of our own does. */
static int explain_tls(struct mq_connection *c, const struct attempt *a, int status)
{
	cleanup_close int fd = -1;

	switch (status) {
	case AMQP_STATUS_SSL_PEER_VERIFY_FAILED:
		return error_set(a->err, -EPROTO, "TLS: the server's certificate is not trusted");
	case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED:
		return error_set(a->err, -EPROTO,
			"TLS: the server's certificate is for another name than %s", a->to->host);
	case AMQP_STATUS_SSL_CONNECTION_FAILED:
		return error_set(a->err, -EPROTO, "TLS: handshake failed: %s", tls_reason());
	case AMQP_STATUS_SOCKET_ERROR:
	case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED:
		fd = mq_dial(a->to->host, a->to->port, 1, c->interrupt, a->err);
		if (fd < 0)
			return a->err ? a->err->code : fd;
	}
	return error_set(a->err, mq_status_errno(status), "TLS: %s", amqp_error_string2(status));
}

static int open_tls(struct mq_connection *c, const struct attempt *a)
{
	amqp_socket_t *socket = amqp_ssl_socket_new(c->amqp);
	struct timeval left;
	int r;

	if (!socket)
		return error_set(a->err, -ENOMEM, "out of memory");
	amqp_ssl_socket_set_verify_peer(socket, !a->options->tls.insecure);
	amqp_ssl_socket_set_verify_hostname(socket, !a->options->tls.insecure);
	(void)amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
	r = load_certificates(socket, a);
	if (r < 0)
		return r;
	left = time_left(a);
	r = amqp_socket_open_noblock(socket, a->to->host, a->to->port, &left);
	return r == AMQP_STATUS_OK ? 0 : explain_tls(c, a, r);
}

static amqp_table_entry_t table_text(const char *key, const char *value)
{
	return (amqp_table_entry_t){ .key = amqp_cstring_bytes(key),
		.value = { .kind = AMQP_FIELD_KIND_UTF8,
			.value = { .bytes = amqp_cstring_bytes(value) } } };
}

static amqp_table_entry_t table_true(const char *key)
{
	return (amqp_table_entry_t){ .key = amqp_cstring_bytes(key),
		.value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value = { .boolean = 1 } } };
}

static amqp_rpc_reply_t log_in(
	struct mq_connection *c, const struct attempt *a, const char *user, const char *password)
{
	/* Without the first, a deleted queue would leave its consumer waiting for ever. */
	amqp_table_entry_t can[] = {
		table_true("consumer_cancel_notify"),
		table_true("connection.blocked"),
		table_true("basic.nack"),
		table_true("publisher_confirms"),
	};
	amqp_table_t capabilities = { sizeof(can) / sizeof(*can), can };
	const char *name = a->options->connection_name;
	amqp_table_entry_t entries[] = {
		table_text("product", "taskrunner"),
		table_text("version", TASKRUNNER_VERSION),
		{ .key = amqp_cstring_bytes("capabilities"),
			.value = { .kind = AMQP_FIELD_KIND_TABLE,
				.value = { .table = capabilities } } },
		table_text("connection_name", name ? name : ""),
	};
	amqp_table_t properties = { name ? 4 : 3, entries };
	struct timeval left = time_left(a);

	(void)amqp_set_handshake_timeout(c->amqp, &left);
	return amqp_login_with_properties(c->amqp, a->vhost, MQ_CHANNELS - 1, MQ_FRAME_MAX,
		(int)a->options->heartbeat_s, &properties, AMQP_SASL_METHOD_PLAIN, user, password);
}

/* With TLS 1.3 a server looks at the client's certificate when the handshake is over for the
 * client: who is refused meets it here. The server may say so in an alert, which may get lost. */
static int explain_closed(const struct attempt *a)
{
	const char *file = a->options->tls.cert_file;

	if (!a->to->ssl)
		return error_set(
			a->err, -ECONNRESET, "the server closed the connection during login");
	return error_set(a->err, -ECONNRESET,
		"the server closed the connection during login, after the TLS handshake (%s); %s%s",
		tls_reason(),
		file ? "does it accept the client certificate? cert_file is "
		     : "does it want a client certificate? cert_file and key_file are not set",
		file ? file : "");
}

/* The server answered, or the library gave up: tell which and why. */
static int explain_login(const struct attempt *a, const amqp_rpc_reply_t *reply)
{
	const amqp_connection_close_t *close = reply->reply.decoded;
	char text[MQ_SHORT_MAX + 1];

	if (reply->reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
		reply->reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
		bool refused = close->reply_code == AMQP_ACCESS_REFUSED ||
			       close->reply_code == AMQP_NOT_ALLOWED;

		mq_copy_text(text, sizeof(text), close->reply_text);
		return error_set(a->err, refused ? -EACCES : -ECONNRESET,
			"the server refuses us: %d %s", close->reply_code, text);
	}
	switch (reply->library_error) {
	case AMQP_STATUS_TIMEOUT:
		return error_set(
			a->err, -ETIMEDOUT, "connected, but the server did not answer in time");
	case AMQP_STATUS_CONNECTION_CLOSED:
	case AMQP_STATUS_SOCKET_ERROR:
	case AMQP_STATUS_SOCKET_CLOSED:
	case AMQP_STATUS_SSL_ERROR:
		return explain_closed(a);
	case AMQP_STATUS_NO_MEMORY:
		return error_set(a->err, -ENOMEM, "out of memory");
	case AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD:
		return error_set(a->err, -EACCES, "the server does not accept a name and password");
	default:
		return error_set(a->err, -EPROTO, "what answers there is no AMQP 0-9-1 server (%s)",
			amqp_error_string2(reply->library_error));
	}
}

static void read_server(struct mq_connection *c)
{
	const amqp_table_t *table = amqp_get_server_properties(c->amqp);
	char version[32] = "";

	for (int i = 0; i < table->num_entries; i++) {
		const amqp_table_entry_t *e = &table->entries[i];

		if (e->value.kind != AMQP_FIELD_KIND_UTF8)
			continue;
		if (e->key.len == 7 && memcmp(e->key.bytes, "product", 7) == 0)
			mq_copy_text(
				c->server.product, sizeof(c->server.product), e->value.value.bytes);
		if (e->key.len == 7 && memcmp(e->key.bytes, "version", 7) == 0)
			mq_copy_text(version, sizeof(version), e->value.value.bytes);
	}
	(void)sscanf(version, "%5u.%5u.%5u", &c->server.version[0], &c->server.version[1],
		&c->server.version[2]);
}

static int open_and_log_in(struct mq_connection *c, const struct attempt *a)
{
	const struct mq_options *o = a->options;
	unsigned user_timeout_ms = 2000 * (o->heartbeat_s ? o->heartbeat_s : 20);
	struct timeval timeout = { .tv_sec = c->timeout_s };
	amqp_rpc_reply_t reply;
	int r;

	r = a->to->ssl ? open_tls(c, a) : open_plain(c, a);
	if (r < 0)
		return r;
	mq_set_user_timeout(amqp_get_sockfd(c->amqp), user_timeout_ms);
	r = mq_interrupt_watch(c->interrupt, amqp_get_sockfd(c->amqp));
	if (r < 0)
		return error_set(a->err, r, "%s", strerror(-r));
	(void)amqp_set_rpc_timeout(c->amqp, &timeout);
	reply = log_in(c, a, o->username ? o->username : a->to->user,
		o->password ? o->password : a->to->password);
	if (reply.reply_type != AMQP_RESPONSE_NORMAL)
		return explain_login(a, &reply);
	c->heartbeat_s = (unsigned)amqp_get_heartbeat(c->amqp);
	c->heard_us = clock_now_us();
	read_server(c);
	return 0;
}

static void close_dead(struct mq_connection **c)
{
	if (!*c)
		return;
	(*c)->dead = true;
	mq_close(*c);
}

static int connect_to(const struct mq_options *options, const struct mq_address *address,
	struct mq_interrupt *interrupt, struct mq_connection **ret, struct error *err)
{
	cleanup_with(close_dead) struct mq_connection *c = calloc(1, sizeof(*c));
	unsigned timeout_s = options->connect_timeout_s ? options->connect_timeout_s : 10;
	const struct attempt attempt = {
		.options = options,
		.to = &address->info,
		.vhost = options->vhost ? options->vhost : address->info.vhost,
		.deadline_us = clock_now_us() + timeout_s * 1000000ull,
		.err = err,
	};
	int r;

	if (c)
		c->amqp = amqp_new_connection();
	if (!c || !c->amqp)
		return error_set(err, -ENOMEM, "out of memory");
	c->timeout_s = timeout_s;
	c->interrupt = interrupt;
	if (!mq_is_short(attempt.vhost))
		return error_set(err, -EINVAL, "the vhost is longer than %d bytes", MQ_SHORT_MAX);
	r = open_and_log_in(c, &attempt);
	if (r < 0)
		return r;
	*ret = steal_ptr(c);
	return 0;
}

int mq_connect_from(const struct mq_options *options, unsigned *first,
	struct mq_interrupt *interrupt, struct mq_connection **ret, struct error *err)
{
	struct error all = { 0 };
	char name[300];
	int r = -EINVAL;

	if (options->n_addresses == 0)
		return error_set(err, r, "no broker address is given");
	for (unsigned n = 0; n < options->n_addresses; n++) {
		unsigned i = ((first ? *first : 0) + n) % options->n_addresses;
		struct mq_address address;
		struct error one = { 0 };

		r = mq_address_parse(options->addresses[i], &address, &one);
		if (r == 0) {
			r = connect_to(options, &address, interrupt, ret, &one);
			mq_address_deinit(&address);
		}
		if (r == 0) {
			if (first)
				*first = i;
			return 0;
		}
		mq_options_describe(options, i, name, sizeof(name));
		error_set(&all, r, "%s%s%s: %s", all.text, n > 0 ? "; " : "", name, one.text);
		if (r == -ECANCELED)
			break;
	}
	return error_set(err, r, "%s", all.text);
}

int mq_connect(const struct mq_options *options, struct mq_connection **ret, struct error *err)
{
	return mq_connect_from(options, NULL, NULL, ret, err);
}
