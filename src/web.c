// SPDX-License-Identifier: MIT
/* libmicrohttpd does HTTP, in its own epoll which hangs in ours; we accept, so that who is
 * at the other end of the unix socket is known before a byte is read. Who asks is judged by
 * the head; only then is a body taken. Rejected: its own listening (no peer's uid), a thread
 * per connection, its time limit alone (a byte now and then goes on forever), its sendfile
 * (waits for the disk). Trap: MHD_run may call us for many requests; none of the callbacks
 * may wait. */
#include "web.h"

#include "ktime.h"

#include <microhttpd.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

#define CONNECTIONS_MOST 64
#define STALL_S 60     /* without a byte */
#define ACCEPT_MOST 32 /* at a time */
#define BODIES_MAX (4 * WEB_BODY_MAX)
#define HEAD_NS (10 * NSEC_PER_SEC)    /* from the connection, or from the answer before, to the head's end */
#define REQUEST_NS (30 * NSEC_PER_SEC) /* to the body's */
#define ANSWER_BYTES_PER_S (16u << 10) /* a reader is as quick as that on the whole: 4 GiB take three days */
#define BLOCK_BYTES (64u << 10)
#define AHEAD_BYTES (1u << 20)	     /* of a file that is sent, to be in memory before it is its turn */
#define AGAIN_NS (4 * NSEC_PER_MSEC) /* when it is not */
#define COOKIE "reqtrap-token"
#define POLICY                                                                                                \
	"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " \
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

/* Callers at one keep none out at the other: anybody may hold connections to the port. */
struct door {
	struct web *web;
	int fd; /* it listens; -1: there is none */
	struct MHD_Daemon *daemon;
	struct source *source, *run_source, *timer;
	struct caller *caller; /* the newest first */
	size_t count;
};

/* One connection, from its first request to its last. */
struct caller {
	struct caller *next;
	struct door *door;
	struct MHD_Connection *connection;
	int fd;		/* libmicrohttpd's */
	bool waiting;	/* for a head: who says nothing yet is the first to go when others come */
	bool suspended; /* its file is not in memory yet */
	bool gone;	/* we hung up */
	uint64_t begun_ns, end_ns;
	size_t reserved; /* of BODIES_MAX */
	struct buf body;
};

struct web {
	struct web_config config;
	char token[WEB_TOKEN_LEN + 1];
	char path[108];
	struct door local, port;
	size_t reserved; /* by bodies on their way in */
};

/* ---- who may ---- */

static bool same_secret(const char *a, const char *b, size_t len)
{
	unsigned char differ = 0;

	if (strlen(b) < len)
		return false;
	for (size_t i = 0; i < len; i++) /* in the same time, wherever they differ */
		differ |= (unsigned char)(a[i] ^ b[i]);
	return !differ;
}

static bool is_token(const char *token, const char *text)
{
	size_t len = strlen(token);

	return text && strlen(text) == len && same_secret(token, text, len);
}

/* Where the port begins in a Host header that names the loopback, else NULL. A name that
 * somebody else's DNS may point here is none of these; through a tunnel (ssh -L) the port
 * is any. */
static const char *port_of(const char *host)
{
	static const char *const names[] = { "127.0.0.1", "localhost", "[::1]" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t len = strlen(names[i]), digits;

		if (strncmp(host, names[i], len) != 0)
			continue;
		if (!host[len])
			return "80";
		digits = host[len] == ':' ? strspn(host + len + 1, "0123456789") : 0;
		if (digits && digits <= 5 && !host[len + 1 + digits])
			return host + len + 1;
	}
	return NULL;
}

/* Browsers know hosts, not ports, by their cookies: without the port in the name two daemons
 * behind one host name would log each other out. It is the one that the browser sees. */
static void name_cookie(const char *host, char *name, size_t size)
{
	const char *port = host ? port_of(host) : NULL;

	snprintf(name, size, COOKIE "-%s", port ? port : "");
}

static bool cookie_has(const char *token, const char *host, const char *cookie)
{
	size_t len = strlen(token), name_len;
	char name[32];

	name_cookie(host, name, sizeof(name));
	name_len = strlen(name);
	for (const char *p = cookie; p && (p = strstr(p, name)); p++) {
		const char *value = p + name_len + 1;

		if (p[name_len] == '=' && (p == cookie || p[-1] == ' ' || p[-1] == ';') &&
		    same_secret(token, value, len) && (!value[len] || value[len] == ';'))
			return true;
	}
	return false;
}

enum web_verdict web_judge(const struct web_head *head, const char *token)
{
	static const char bearer[] = "Bearer ";
	const char *site = head->fetch_site;

	if (head->host ? !port_of(head->host) : !head->local)
		return WEB_WRONG_HOST;
	/* A click on a link elsewhere may bring somebody to a page, never to a change. */
	if (site && strcmp(site, "same-origin") && (head->post || strcmp(site, "none")))
		return WEB_FOREIGN;
	if (head->origin &&
	    (!head->host || strncmp(head->origin, "http://", 7) || strcmp(head->origin + 7, head->host)))
		return WEB_FOREIGN;
	if (head->local)
		return WEB_OK;
	if (head->authorization && !strncmp(head->authorization, bearer, strlen(bearer)) &&
	    is_token(token, head->authorization + strlen(bearer)))
		return WEB_OK;
	if (!head->post && is_token(token, head->query_token))
		return WEB_OK;
	/* What a browser sends by itself must come with a word on where the wish comes from. */
	if (cookie_has(token, head->host, head->cookie) && (!head->post || site || head->origin))
		return WEB_OK;
	return WEB_NO_TOKEN;
}

/* ---- texts ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

char *web_field(const char *body, const char *key)
{
	size_t len = strlen(key), n = 0;
	const char *p = body;
	char *value;

	while (p && (strncmp(p, key, len) || p[len] != '=')) {
		p = strchr(p, '&');
		p += p ? 1 : 0;
	}
	if (!p)
		return NULL;
	p += len + 1;
	value = malloc(strcspn(p, "&") + 1);
	for (; value && *p && *p != '&'; p++) {
		char c = *p == '+' ? ' ' : *p;

		if (c == '%' && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
			c = (char)(hex(p[1]) << 4 | hex(p[2]));
			p += 2;
		}
		if (c) /* a text has no NUL */
			value[n++] = c;
	}
	if (value)
		value[n] = '\0';
	return value;
}

const char *web_query(const struct web_request *request, const char *key)
{
	return MHD_lookup_connection_value((struct MHD_Connection *)(uintptr_t)request->connection,
					   MHD_GET_ARGUMENT_KIND, key);
}

/* ---- a request ---- */

static const char *header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static struct caller *caller_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* A file on its way to somebody. */
struct sending {
	struct caller *caller;
	int fd;
	uint64_t asked; /* so far the kernel was told to read ahead */
};

/* What is not in memory is asked for, and tried again later: the loop waits for no disk. File
 * systems that cannot say so (tmpfs, FUSE) are read as they are. */
static ssize_t send_more(void *arg, uint64_t pos, char *data, size_t most)
{
	struct sending *sending = arg;
	struct caller *caller = sending->caller;
	const struct iovec to = { data, most };
	ssize_t n;

	if (caller->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = preadv2(sending->fd, &to, 1, (off_t)pos, RWF_NOWAIT);
	if (n < 0 && errno == EOPNOTSUPP)
		n = pread(sending->fd, data, most, (off_t)pos);
	if ((n < 0 && errno == EAGAIN) || pos + AHEAD_BYTES / 2 >= sending->asked) {
		posix_fadvise(sending->fd, (off_t)pos, AHEAD_BYTES, POSIX_FADV_WILLNEED);
		sending->asked = pos + AHEAD_BYTES;
	}
	if (n > 0)
		return n;
	if (n == 0 || errno != EAGAIN) /* it has become shorter, or cannot be read */
		return MHD_CONTENT_READER_END_WITH_ERROR;
	MHD_suspend_connection(caller->connection);
	caller->suspended = true;
	return 0;
}

static void send_done(void *arg)
{
	struct sending *sending = arg;

	close(sending->fd);
	free(sending);
}

/* Takes the fd over, also when there is no memory for a response. */
static struct MHD_Response *file_response(struct caller *caller, int fd, uint64_t bytes)
{
	struct sending *sending = calloc(1, sizeof(*sending));
	struct MHD_Response *response = NULL;

	if (sending) {
		*sending = (struct sending){ .caller = caller, .fd = fd };
		response = MHD_create_response_from_callback(bytes, BLOCK_BYTES, send_more, sending, send_done);
	}
	if (!response) {
		close(fd);
		free(sending);
	}
	return response;
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct caller *caller, struct web_reply *reply,
				  bool set_cookie)
{
	const struct web *web = caller->door->web;
	struct MHD_Response *response = NULL;
	struct stat st = { .st_size = (off_t)reply->body.len };
	char text[512], cookie[32];
	enum MHD_Result done;

	if (reply->fd >= 0 && fstat(reply->fd, &st) == 0)
		response = file_response(caller, reply->fd, (uint64_t)st.st_size);
	else
		response = MHD_create_response_from_buffer(reply->body.len, reply->body.data ? reply->body.data : "",
							   MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	snprintf(text, sizeof(text), "%s; charset=utf-8", reply->type ? reply->type : "text/plain");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				reply->fd >= 0 && reply->download[0] ? "application/octet-stream" : text);
	MHD_add_response_header(response, "Content-Security-Policy", reply->policy ? reply->policy : POLICY);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "same-origin"); /* none: forms have no Origin */
	MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
	MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (reply->download[0]) {
		snprintf(text, sizeof(text), "attachment; filename=\"%s\"", reply->download);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_DISPOSITION, text);
	}
	if (reply->location[0])
		MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, reply->location);
	if (set_cookie) {
		name_cookie(header(connection, "Host"), cookie, sizeof(cookie));
		snprintf(text, sizeof(text), "%s=%s; Path=/; HttpOnly; SameSite=Strict", cookie, web->token);
		MHD_add_response_header(response, MHD_HTTP_HEADER_SET_COOKIE, text);
	}
	if (reply->status >= 400 && caller->reserved == 0) /* there may be a body that nobody takes */
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	done = MHD_queue_response(connection, (unsigned int)(reply->status ? reply->status : 200), response);
	MHD_destroy_response(response);
	caller->end_ns = now_ns() + REQUEST_NS + (uint64_t)st.st_size / ANSWER_BYTES_PER_S * NSEC_PER_SEC;
	return done;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, struct caller *caller, int status, const char *why)
{
	struct web_reply reply = { .status = status, .fd = -1 };
	enum MHD_Result done;

	buf_init(&reply.body, 4096);
	buf_addf(&reply.body, "%s\n", why);
	done = send_reply(connection, caller, &reply, false);
	buf_done(&reply.body);
	return done;
}

static bool is_local(const struct caller *caller)
{
	return caller->door == &caller->door->web->local;
}

static enum web_verdict judge(const struct caller *caller, struct MHD_Connection *connection, bool post)
{
	struct web_head head = {
		.local = is_local(caller),
		.post = post,
		.host = header(connection, "Host"),
		.origin = header(connection, "Origin"),
		.fetch_site = header(connection, "Sec-Fetch-Site"),
		.authorization = header(connection, "Authorization"),
		.cookie = header(connection, "Cookie"),
		.query_token = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "token"),
	};

	return web_judge(&head, caller->door->web->token);
}

/* Room for a body, which is given back with the request. The status of a refusal, or 0. */
static int reserve(struct caller *caller, struct MHD_Connection *connection)
{
	const char *length = header(connection, "Content-Length");
	struct web *web = caller->door->web;
	size_t want = WEB_BODY_MAX;

	if (!header(connection, "Transfer-Encoding")) {
		unsigned long long n = length ? strtoull(length, NULL, 10) : 0;

		if (n > WEB_BODY_MAX)
			return 413;
		want = n;
	}
	if (want > BODIES_MAX - web->reserved)
		return 503;
	web->reserved += want;
	caller->reserved = want;
	buf_init(&caller->body, want);
	return 0;
}

static void give_back(struct caller *caller)
{
	caller->door->web->reserved -= caller->reserved;
	caller->reserved = 0;
	buf_done(&caller->body);
}

/* The head is in, and nothing of a body. */
static enum MHD_Result on_head(struct caller *caller, struct MHD_Connection *connection, const char *path,
			       const char *method)
{
	bool post = !strcmp(method, "POST");
	struct web *web = caller->door->web;
	int status = 0;

	caller->waiting = false;
	caller->end_ns = caller->begun_ns + REQUEST_NS;
	switch (judge(caller, connection, post)) {
	case WEB_WRONG_HOST:
		return refuse(connection, caller, 421, "This is not a host of that name.");
	case WEB_FOREIGN:
		return refuse(connection, caller, 403, "Asked for by a page of another site.");
	case WEB_NO_TOKEN:
		return refuse(connection, caller, 401,
			      "The token is missing or wrong: open the address that the file "
			      "'web-url' beside the control socket has.");
	default:
		break;
	}
	if (!post && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(connection, caller, 405, "Only GET and POST.");
	status = path[0] == '/' ? web->config.allows(path, post) : 404;
	if (status == 404)
		return refuse(connection, caller, status, "There is no such page.");
	if (status)
		return refuse(connection, caller, status, "This page is to be read, not posted to.");
	status = reserve(caller, connection);
	if (status == 413)
		return refuse(connection, caller, status, "That is too long.");
	if (status)
		return refuse(connection, caller, status, "Too many are sending at once: try again.");
	return MHD_YES;
}

static enum MHD_Result answer(struct caller *caller, struct MHD_Connection *connection, const char *path, bool post)
{
	struct web *web = caller->door->web;
	struct web_request request = { .method = post ? "POST" : "GET",
				       .path = path,
				       .body = caller->body.data ? caller->body.data : "",
				       .local = is_local(caller),
				       .connection = connection };
	struct web_reply reply = { .fd = -1 };
	bool by_query = !request.local && web_query(&request, "token");
	enum MHD_Result done;

	buf_init(&reply.body, 64u << 20);
	if (by_query) { /* not to stay in the address */
		reply.status = 303;
		snprintf(reply.location, sizeof(reply.location), "/");
	} else {
		web->config.serve(web->config.arg, &request, &reply);
	}
	if (reply.body.full)
		done = refuse(connection, caller, 500, "The answer is too long, or memory is short.");
	else
		done = send_reply(connection, caller, &reply, by_query);
	buf_done(&reply.body);
	return done;
}

static enum MHD_Result on_request(void *arg UNUSED, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version UNUSED, const char *data, size_t *size,
				  void **state)
{
	struct caller *caller = caller_of(connection);

	if (!caller)
		return MHD_NO;
	if (!*state) {
		*state = caller;
		return on_head(caller, connection, path, method);
	}
	if (*size) {
		buf_add(&caller->body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (caller->body.full)
		return refuse(connection, caller, 413, "That is too long.");
	return answer(caller, connection, path, !strcmp(method, "POST"));
}

static void on_completed(void *arg UNUSED, struct MHD_Connection *connection UNUSED, void **state,
			 enum MHD_RequestTerminationCode how UNUSED)
{
	struct caller *caller = *state;

	if (!caller)
		return;
	give_back(caller);
	caller->waiting = true;
	caller->begun_ns = now_ns();
	caller->end_ns = caller->begun_ns + HEAD_NS;
	*state = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct caller *caller = *context;
	struct door *door = arg;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

		caller = info ? calloc(1, sizeof(*caller)) : NULL;
		if (!caller) /* then no request of it is answered */
			return;
		*caller = (struct caller){ .next = door->caller, .door = door, .connection = connection };
		caller->fd = info->connect_fd;
		caller->waiting = true;
		caller->begun_ns = now_ns();
		caller->end_ns = caller->begun_ns + HEAD_NS;
		door->caller = *context = caller;
		door->count++;
	} else if (caller) {
		struct caller **at = &door->caller;

		while (*at != caller)
			at = &(*at)->next;
		*at = caller->next;
		door->count--;
		free(caller);
		*context = NULL;
	}
}

/* ---- the loop ---- */

static void on_run(void *arg, uint32_t events);

/* libmicrohttpd sees the end of it and closes. */
static void hang_up(struct caller *caller)
{
	shutdown(caller->fd, SHUT_RDWR);
	caller->waiting = false;
	caller->gone = true;
	caller->end_ns = UINT64_MAX;
}

/* To be tried again, or to be told that it is over. */
static void wake(struct caller *caller)
{
	if (!caller->suspended)
		return;
	caller->suspended = false;
	MHD_resume_connection(caller->connection);
}

/* It has time limits of its own. */
static void set_timer(struct door *door)
{
	struct loop *loop = door->web->config.loop;
	MHD_UNSIGNED_LONG_LONG ms;
	uint64_t when = UINT64_MAX;

	loop_remove(loop, door->timer);
	door->timer = NULL;
	for (struct caller *c = door->caller; c; c = c->next)
		when = MIN(when, c->suspended ? MIN(c->end_ns, now_ns() + AGAIN_NS) : c->end_ns);
	if (MHD_get_timeout(door->daemon, &ms) == MHD_YES)
		when = MIN(when, now_ns() + MAX(ms, 1ull) * NSEC_PER_MSEC);
	if (when != UINT64_MAX)
		loop_add_timer(loop, when, 0, on_run, door, &door->timer);
}

static void on_run(void *arg, uint32_t events UNUSED)
{
	struct door *door = arg;
	uint64_t now = now_ns();

	for (struct caller *c = door->caller; c; c = c->next) {
		if (c->end_ns <= now)
			hang_up(c);
		wake(c);
	}
	MHD_run(door->daemon);
	set_timer(door);
}

/* Of those of whom there is no head yet the one that has waited longest makes room. */
static void make_room(struct door *door)
{
	struct caller *longest = NULL;

	for (struct caller *c = door->caller; c; c = c->next) {
		if (c->waiting && (!longest || c->begun_ns < longest->begun_ns))
			longest = c;
	}
	if (longest)
		hang_up(longest);
	MHD_run(door->daemon);
}

static bool may_come(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void on_caller(void *arg, uint32_t events UNUSED)
{
	struct door *door = arg;
	bool local = door == &door->web->local;

	for (int i = 0; i < ACCEPT_MOST; i++) {
		struct sockaddr_storage addr = { 0 };
		socklen_t len = sizeof(addr);
		int fd = accept4(door->fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			break;
		if (local && !may_come(fd)) {
			close(fd);
			continue;
		}
		if (door->count >= CONNECTIONS_MOST)
			make_room(door);
		if (len < sizeof(sa_family_t)) /* a unix socket without a name */
			len = sizeof(sa_family_t);
		addr.ss_family = local ? AF_UNIX : AF_INET;
		MHD_add_connection(door->daemon, fd, (struct sockaddr *)&addr, len); /* closes it if it fails */
	}
	on_run(door, 0);
}

/* ---- life ---- */

static int listen_local(struct web *web, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = web->config.socket_path;
	struct stat st;
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_say(err, -EINVAL, "'%s' is too long for the path of a socket", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_say(err, -EEXIST, "'%s' is there and is no socket", path);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		r = fd >= 0 ? connect(fd, (struct sockaddr *)&addr, sizeof(addr)) : -1;
		if (fd >= 0)
			close(fd);
		if (r == 0)
			return err_say(err, -EADDRINUSE, "another reqtrap serves at '%s' already", path);
		unlink(path);
	}
	web->local.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Of a socket the mode is set before anybody can find it: by fchmod, then bind. */
	if (web->local.fd < 0 || fchmod(web->local.fd, 0600) < 0 ||
	    bind(web->local.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, -errno, "cannot make the socket '%s'", path);
	memcpy(web->path, path, strlen(path) + 1);
	if (chmod(path, 0600) < 0 || listen(web->local.fd, 64) < 0)
		return err_sys(err, -errno, "cannot listen at '%s'", path);
	return 0;
}

static int listen_tcp(struct web *web, struct err *err)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(web->config.port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	web->port.fd = fd;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 64) < 0)
		return err_sys(err, -errno, "cannot listen at 127.0.0.1:%u", web->config.port);
	return 0;
}

static int open_door(struct door *door, struct err *err)
{
	struct loop *loop = door->web->config.loop;
	const union MHD_DaemonInfo *info;
	int r;

	door->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
					NULL, on_request, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
					MHD_OPTION_NOTIFY_CONNECTION, on_connection, door, MHD_OPTION_CONNECTION_LIMIT,
					(unsigned int)CONNECTIONS_MOST, MHD_OPTION_CONNECTION_TIMEOUT,
					(unsigned int)STALL_S, MHD_OPTION_END);
	info = door->daemon ? MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return err_say(err, -ENOMEM, "cannot start the web server");
	r = loop_add_fd(loop, door->fd, EPOLLIN, on_caller, door, &door->source);
	return r < 0 ? r : loop_add_fd(loop, info->epoll_fd, EPOLLIN, on_run, door, &door->run_source);
}

static void close_door(struct door *door)
{
	struct loop *loop = door->web->config.loop;

	loop_remove(loop, door->source);
	loop_remove(loop, door->run_source);
	loop_remove(loop, door->timer);
	if (door->fd >= 0)
		close(door->fd);
	for (struct caller *c = door->caller; c; c = c->next)
		wake(c); /* it does not stop otherwise */
	if (door->daemon)
		MHD_stop_daemon(door->daemon);
}

static int start(struct web *web, struct err *err)
{
	int r = 0;

	if (web->config.socket_path) {
		r = listen_local(web, err);
		if (r == 0)
			r = open_door(&web->local, err);
	}
	if (r == 0 && web->config.port) {
		r = listen_tcp(web, err);
		if (r == 0)
			r = open_door(&web->port, err);
	}
	return r;
}

int web_open(const struct web_config *config, struct web **ret_web, struct err *err)
{
	struct web *web = calloc(1, sizeof(*web));
	int r;

	if (!web)
		return err_sys(err, -ENOMEM, "cannot start the web server");
	web->config = *config;
	web->local = web->port = (struct door){ .web = web, .fd = -1 };
	snprintf(web->token, sizeof(web->token), "%s", config->token ? config->token : "");
	if (config->port && strlen(web->token) != WEB_TOKEN_LEN)
		r = err_say(err, -EINVAL, "a port takes a token");
	else
		r = start(web, err);
	if (r < 0) {
		web_close(web);
		return r;
	}
	*ret_web = web;
	return 0;
}

void web_close(struct web *web)
{
	if (!web)
		return;
	close_door(&web->local);
	close_door(&web->port);
	if (web->path[0])
		unlink(web->path);
	free(web);
}
