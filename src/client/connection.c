/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * connection - from an address to a session, and back.
 *
 * The socket never blocks; every wait has an end that is counted from the
 * start of the call. Only the look-up of a host name is out of our hands.
 */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_MS     5000
#define RECONNECT_MS   8000  /* a session's grace is 10 s, its lease 30 s */
#define BACKLOG_MS     10    /* between attempts while a backlog is full */
#define HOST_MAX       256   /* of a name, NUL included */
#define DEAD_PEER_S    15    /* silence before the first probe of a peer */
#define DEAD_PROBE_S   5     /* between probes; three go unanswered at most */
#define DEAD_WRITES_MS 30000 /* written and not taken by the peer */

/* One attempt to connect. */
struct dial {
    yoke *y;
    const char *where; /* for people */
    int64_t timeout_ms, until_ms;
};

static int connect_failed(const struct dial *d, int error)
{
    bool absent = error == ENOENT || error == ECONNREFUSED;
    char words[128];

    return yk_fail(d->y, YOKE_ERR_CONNECT, "cannot connect to %s: %s%s",
                   d->where, strerror_r(error, words, sizeof(words)),
                   absent ? " (is yoked running? set YOKE_SERVER or --server)"
                          : "");
}

static int64_t left_ms(const struct dial *d)
{
    return max_i64(0, d->until_ms - yk_now_ms());
}

/* Waits for the end of a connect that is under way: 0 or errno. */
static int connect_end(const struct dial *d, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof(int);
    int error = 0, n;

    do {
        n = poll(&p, 1, (int)min_i64(left_ms(d), INT32_MAX));
        if (n == 0)
            return ETIMEDOUT;
    } while (n < 0 && errno == EINTR);
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return errno;
    return error;
}

/* A Unix socket whose backlog is full says so at once, and no poll tells when
 * there is room. False: the time is up. */
static bool pause_for_backlog(const struct dial *d)
{
    if (left_ms(d) == 0)
        return false;
    (void)poll(NULL, 0, BACKLOG_MS);
    return true;
}

/* 0 and the socket is the handle's, or errno. */
static int dial_to(const struct dial *d, const struct sockaddr *to,
                   socklen_t len)
{
    int fd =
        socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    if (fd < 0)
        return errno;
    do
        error = connect(fd, to, len) < 0 ? errno : 0;
    while (error == EAGAIN && pause_for_backlog(d));
    if (error == EINPROGRESS || error == EINTR)
        error = connect_end(d, fd);
    if (error) {
        (void)close(fd); /* nothing was written */
        return error == EAGAIN ? ETIMEDOUT : error;
    }
    d->y->fd = fd;
    memcpy(&d->y->address, to, len);
    d->y->address_len = len;
    return 0;
}

static int dial_unix(struct dial *d, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int error;

    d->where = path;
    if (len == 0 || len >= sizeof(to.sun_path))
        return yk_fail(d->y, YOKE_ERR_ARGUMENT,
                       "the path of a socket has 1 to %zu bytes: %s",
                       sizeof(to.sun_path) - 1, path);
    memcpy(to.sun_path, path, len + 1);
    error = dial_to(d, (const struct sockaddr *)&to, sizeof(to));
    return error ? connect_failed(d, error) : 0;
}

/* "host", "host:port", "[v6]", "[v6]:port", or a bare v6 address. */
static bool split_address(const char *address, char host[HOST_MAX],
                          const char **port)
{
    const char *begin = address, *end = strchr(address, ':');
    size_t len;

    *port = NULL;
    if (*address == '[') {
        begin = address + 1;
        end = strchr(begin, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        if (end[1] == ':')
            *port = end + 2;
    } else if (end && !strchr(end + 1, ':')) {
        *port = end + 1;
    } else {
        end = address + strlen(address);
    }
    len = (size_t)(end - begin);
    if (len == 0 || len >= HOST_MAX || (*port && **port == '\0'))
        return false;
    memcpy(host, begin, len);
    host[len] = '\0';
    return true;
}

static void set_option(int fd, int level, int option, int value)
{
    /* What a kernel does not know only makes a dead peer noticed later. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

void yk_tune(int fd, int family)
{
    if (family == AF_UNIX)
        return;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, DEAD_PEER_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, DEAD_PROBE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_WRITES_MS);
}

static int dial_tcp(struct dial *d, const char *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[HOST_MAX], standard[8];
    const char *port;
    int error;

    d->where = address;
    if (!split_address(address, host, &port))
        return yk_fail(d->y, YOKE_ERR_ARGUMENT,
                       "no address: %s (say host:port, [v6]:port or "
                       "unix:/path)",
                       address);
    if (!port) {
        (void)snprintf(standard, sizeof(standard), "%d", YOKE_PORT);
        port = standard;
    }
    error = getaddrinfo(host, port, &hints, &found);
    if (error == EAI_MEMORY)
        return yk_nomem(d->y);
    if (error)
        return yk_fail(d->y, YOKE_ERR_CONNECT, "cannot connect to %s: %s",
                       address, gai_strerror(error));
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        error = dial_to(d, a->ai_addr, a->ai_addrlen);
        if (error == 0)
            break;
    }
    freeaddrinfo(found);
    if (error)
        return connect_failed(d, error);
    yk_tune(d->y->fd, AF_INET);
    return 0;
}

static int take_over(struct dial *d, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    d->where = "the descriptor that was handed over";
    d->y->fd = fd;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return connect_failed(d, errno);
    return 0;
}

static int dial(struct dial *d, const char *address, int fd)
{
    if (fd > 0)
        return take_over(d, fd);
    if (!address)
        address = secure_getenv(YOKE_ENV_SERVER);
    if (!address || *address == '\0')
        address = YOKE_SOCKET;
    if (strncmp(address, "unix:", 5) == 0)
        return dial_unix(d, address + 5);
    if (*address == '/')
        return dial_unix(d, address);
    return dial_tcp(d, address);
}

/* Waits for the reply that `call` is to get; 0 or why there is none. */
static int answer_by(yoke *y, const struct yk_call *call, int64_t until_ms)
{
    yk_flush(y);
    while (!call->over) {
        int64_t left = until_ms - yk_now_ms();

        if (left <= 0)
            return YOKE_ERR_TIMEOUT;
        (void)yk_poll(y, left); /* what breaks it ends the call, too */
    }
    return call->status;
}

static int read_hello(const struct dial *d, struct yoke_value *hello)
{
    yoke *y = d->y;

    if (!yk_value_to_map(hello) ||
        !yk_value_id(yoke_value_get(hello, "session"), y->session))
        return yk_fail(y, YOKE_ERR_PROTOCOL,
                       "%s is not a yoked: its HELLO names no session",
                       d->where);
    y->lease_ms = yk_map_int(hello, "lease", 0);
    return 0;
}

static int handshake(const struct dial *d, const struct yoke_options *options)
{
    struct yk_call call = {.over = false};
    const struct yk_pending pending = {.call = &call};
    struct yk_args a;
    int status;

    yk_args_hello(&a, options->password, options->name);
    status = yk_send(d->y, a.count, a.v, &pending);
    if (status == 0)
        status = answer_by(d->y, &call, d->until_ms);
    if (status == YOKE_ERR_TIMEOUT)
        return yk_break(d->y, YOKE_ERR_CONNECT,
                        "%s has not answered within %" PRId64 " ms", d->where,
                        d->timeout_ms);
    if (status == 0)
        status = read_hello(d, call.reply);
    yoke_value_free(call.reply);
    return status;
}

static bool keep_text(char **to, const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;

    *to = text ? yk_alloc(size) : NULL;
    if (*to)
        memcpy(*to, text, size);
    return *to || !text;
}

/* What it takes to come back; from now on requests are kept. */
static int prepare_return(yoke *y, const struct dial *d,
                          const struct yoke_options *options)
{
    int64_t ms = options->reconnect_ms ? options->reconnect_ms : RECONNECT_MS;

    y->up_at_ms = yk_now_ms();
    if (ms < 0 || y->address_len == 0)
        return 0;
    if (!keep_text(&y->password, options->password) ||
        !keep_text(&y->name, options->name))
        return yk_nomem(y);
    y->connect_timeout_ms = min_i64(d->timeout_ms, INT32_MAX);
    y->reconnect_ms = min_i64(ms, INT32_MAX);
    y->random = (uint64_t)y->up_at_ms ^ (uint64_t)(uintptr_t)y;
    y->retain = true;
    return 0;
}

static int set_up(yoke *y, const char *address,
                  const struct yoke_options *options)
{
    struct dial d = {.y = y, .where = "", .timeout_ms = CONNECT_MS};
    int status;

    if (options->connect_timeout_ms > 0)
        d.timeout_ms = options->connect_timeout_ms;
    d.until_ms = yk_now_ms() + min_i64(d.timeout_ms, INT32_MAX);
    status = dial(&d, address, options->fd);
    if (status < 0)
        return status;
    y->reader = yk_reader_new();
    if (!y->reader)
        return yk_nomem(y);
    y->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (y->wake_fd < 0)
        return connect_failed(&d, errno);
    status = handshake(&d, options);
    return status < 0 ? status : prepare_return(y, &d, options);
}

int yoke_open(const char *address, const struct yoke_options *options,
              yoke **out)
{
    const struct yoke_options none = {.password = NULL};
    yoke *y = yk_zalloc(1, sizeof(*y));
    int status;

    if (!options)
        options = &none;
    *out = y;
    if (!y) {
        if (options->fd > 0)
            (void)close(options->fd); /* taken over, as always */
        return YOKE_ERR_NOMEM;
    }
    y->fd = y->wake_fd = -1;
    status = set_up(y, address, options);
    if (status < 0 && !y->broken) {
        char why[YK_TEXT_MAX];

        memcpy(why, y->text, sizeof(why));
        (void)yk_break(y, status, "%s", why);
    }
    return status;
}

/* Requests under way are of no interest any more; QUIT ends what blocks. */
static void say_goodbye(yoke *y)
{
    struct yk_call call = {.over = false};
    const struct yk_pending pending = {.call = &call};
    const struct yoke_bytes quit = {.data = "QUIT", .len = 4};

    for (size_t i = 0; i < y->ring_count; i++) {
        struct yk_pending *p = &y->ring[(y->ring_head + i) & (y->ring_cap - 1)];

        p->fn = NULL;
        p->call = NULL;
        p->keep = false;
    }
    y->abandoned = y->ring_count;
    y->kept = 0;
    y->reconnect_ms = 0; /* not for this */
    /* A daemon that does not answer lets the session's grace run out. */
    if (yk_send(y, 1, &quit, &pending) == 0)
        (void)answer_by(y, &call, yk_now_ms() + YK_CLOSE_MS);
    yoke_value_free(call.reply);
}

void yoke_close(yoke *y)
{
    if (y && !y->broken && y->link == YK_UP)
        say_goodbye(y);
    yoke_abandon(y);
}

void yoke_abandon(yoke *y)
{
    if (!y)
        return;
    if (y->fd >= 0)
        (void)close(y->fd); /* nothing that could be told to anybody */
    if (y->wake_fd >= 0)
        (void)close(y->wake_fd);
    yk_reader_free(y->reader);
    yoke_value_free(y->late);
    free(y->greeting);
    free(y->held);
    free(y->password);
    free(y->name);
    free(y->ring);
    free(y->out);
    free(y);
}

const char *yoke_session(const yoke *y)
{
    return y->session;
}

int yoke_fd(const yoke *y)
{
    return y->fd;
}
