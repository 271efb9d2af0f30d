/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * connection - from an address to a session, and back.
 *
 * yoke_open is the steps of reconnect.c and a poll(2) around them: they never
 * block, and have an end that is counted from the start of the call. Only the
 * look-up of a host name is out of our hands.
 */
#include "client/client.h"

#include <errno.h>
#include <netdb.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_MS   5000
#define RECONNECT_MS 8000 /* a session's grace is 10 s, its lease 30 s */
#define BACKLOG_MS   10   /* between attempts while a backlog is full */
#define HOST_MAX     256  /* of a name, NUL included */

/* ---------------------------------------------------------------- addresses */

static int connect_failed(yoke *y, int error)
{
    bool absent = error == ENOENT || error == ECONNREFUSED;
    char words[128];

    return yk_end(y, YOKE_ERR_CONNECT, "cannot connect to %s: %s%s", y->where,
                  yk_transport_why(&y->transport, error, words, sizeof(words)),
                  absent ? " (is yoked running? set YOKE_SERVER or --server)"
                         : "");
}

/* The one to try next. */
static void take_address(yoke *y, const void *address, size_t len)
{
    memcpy(&y->address, address, len);
    y->address_len = (socklen_t)len;
}

static int find_unix(yoke *y, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof(to.sun_path))
        return yk_end(y, YOKE_ERR_ARGUMENT,
                      "the path of a socket has 1 to %zu bytes: %s",
                      sizeof(to.sun_path) - 1, path);
    memcpy(to.sun_path, path, len + 1);
    (void)snprintf(y->where, sizeof(y->where), "%s", path); /* fits */
    take_address(y, &to, sizeof(to));
    return 0;
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

static int find_host(yoke *y, const char *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char host[HOST_MAX], standard[8];
    const char *port;
    int error;

    if (!split_address(address, host, &port))
        return yk_end(y, YOKE_ERR_ARGUMENT,
                      "no address: %s (say host:port, [v6]:port or "
                      "unix:/path)",
                      address);
    if (!port) {
        (void)snprintf(standard, sizeof(standard), "%d", YOKE_PORT);
        port = standard;
    }
    (void)snprintf(y->where, sizeof(y->where), "%s", address);
    error = getaddrinfo(host, port, &hints, &y->found);
    if (error == EAI_MEMORY)
        return yk_end(y, YOKE_ERR_NOMEM, "out of memory");
    if (error)
        return yk_end(y, YOKE_ERR_CONNECT, "cannot connect to %s: %s", address,
                      gai_strerror(error));
    take_address(y, y->found->ai_addr, y->found->ai_addrlen);
    y->untried = y->found->ai_next;
    return 0;
}

static int find(yoke *y, const char *address)
{
    if (!address)
        address = secure_getenv(YOKE_ENV_SERVER);
    if (!address || *address == '\0')
        address = YOKE_SOCKET;
    if (strncmp(address, "unix:", 5) == 0)
        return find_unix(y, address + 5);
    if (*address == '/')
        return find_unix(y, address);
    return find_host(y, address);
}

/* ------------------------------------------------------------------ opening */

bool yk_opening(const yoke *y)
{
    return y->session[0] == '\0';
}

/* An address that is silent leaves the others their part of the time. */
static int64_t address_until_ms(const yoke *y, int64_t now)
{
    int64_t parts = 1;

    for (const struct addrinfo *a = y->untried; a; a = a->ai_next)
        parts++;
    return now + (y->open_until_ms - now) / parts;
}

/* 0: it is under way, or is to be tried again; or errno. */
static int dial_address(yoke *y)
{
    int64_t now = yk_now_ms();
    int error = -yk_transport_connect(
        &y->transport, (const struct sockaddr *)&y->address, y->address_len);

    if (y->link != YK_WAITING) /* for the same one the time goes on */
        y->attempt_until_ms = address_until_ms(y, now);
    y->link = YK_CONNECTING;
    if (error != EAGAIN)
        return error;
    if (now >= y->attempt_until_ms)
        return ETIMEDOUT;
    y->link = YK_WAITING;
    y->retry_at_ms = now + BACKLOG_MS;
    return -yk_transport_park(&y->transport);
}

static bool next_address(yoke *y)
{
    if (!y->untried)
        return false;
    take_address(y, y->untried->ai_addr, y->untried->ai_addrlen);
    y->untried = y->untried->ai_next;
    y->link = YK_CONNECTING;
    return true;
}

int yk_dial(yoke *y)
{
    int error;

    do {
        error = dial_address(y);
        if (error == 0)
            return 0;
    } while (next_address(y));
    return connect_failed(y, error);
}

int yk_dial_failed(yoke *y, int error)
{
    return next_address(y) ? yk_dial(y) : connect_failed(y, error);
}

void yk_opened(yoke *y)
{
    if (y->found)
        freeaddrinfo(y->found);
    y->found = NULL;
    y->untried = NULL;
}

static bool keep_text(char **to, const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;

    *to = text ? yk_alloc(size) : NULL;
    if (*to)
        memcpy(*to, text, size);
    return *to || !text;
}

static int take_over(yoke *y, int fd)
{
    int error = -yk_transport_adopt(&y->transport, fd);

    (void)snprintf(y->where, sizeof(y->where), "%s",
                   "the descriptor that was handed over");
    y->open_until_ms = yk_now_ms() + y->connect_timeout_ms;
    y->attempt_until_ms = y->open_until_ms;
    return error ? connect_failed(y, error) : 0;
}

/* What is sent from now on is kept, if it can be sent again. */
static int connect_to(yoke *y, const char *address, int64_t reconnect_ms)
{
    int status = find(y, address);

    if (status < 0)
        return status;
    y->open_until_ms = yk_now_ms() + y->connect_timeout_ms;
    if (reconnect_ms > 0) {
        y->reconnect_ms = min_i64(reconnect_ms, INT32_MAX);
        y->random = (uint64_t)y->open_until_ms ^ (uint64_t)(uintptr_t)y;
        y->retain = true;
    }
    return yk_dial(y);
}

/* 0 or errno. */
static int prepare(yoke *y, const struct yoke_options *options)
{
    y->reader = yk_reader_new();
    if (!y->reader || !keep_text(&y->name, options->name))
        return ENOMEM;
    y->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return y->wake_fd < 0 ? errno : 0;
}

/* For the reason that was just given. */
static int end_with_text(yoke *y, int status)
{
    char why[YK_TEXT_MAX];

    memcpy(why, y->text, sizeof(why));
    return yk_end(y, status, "%s", why);
}

static int set_up(yoke *y, const char *address,
                  const struct yoke_options *options)
{
    int64_t timeout_ms = options->connect_timeout_ms;
    int error = prepare(y, options), status = 0;

    if (!error)
        status = yk_password_first(y, options);
    if ((error || status < 0) && options->fd > 0)
        (void)close(options->fd); /* taken over, as always */
    if (error == ENOMEM)
        return yk_end(y, YOKE_ERR_NOMEM, "out of memory");
    if (error)
        return yk_end(y, YOKE_ERR_CONNECT, "too many descriptors are open");
    if (status < 0)
        return end_with_text(y, status);
    y->connect_timeout_ms =
        timeout_ms > 0 ? min_i64(timeout_ms, INT32_MAX) : CONNECT_MS;
    y->link = YK_CONNECTING;
    status = options->fd > 0
                 ? take_over(y, options->fd)
                 : connect_to(y, address,
                              options->reconnect_ms ? options->reconnect_ms
                                                    : RECONNECT_MS);
    if (status == 0)
        status = yk_reconnect(y);
    return yk_opening(y) ? status : 0; /* what came then is for later calls */
}

int yk_open_over(const struct yk_layer *layer, void *config,
                 const char *address, const struct yoke_options *options,
                 yoke **out)
{
    const struct yoke_options none = {.password = NULL};
    yoke *y = yk_zalloc(1, sizeof(*y));

    if (!options)
        options = &none;
    *out = y;
    if (!y) {
        if (options->fd > 0)
            (void)close(options->fd); /* taken over, as always */
        return YOKE_ERR_NOMEM;
    }
    yk_transport_init(&y->transport, layer, config);
    y->wake_fd = -1;
    return set_up(y, address, options);
}

int yoke_open_begin(const char *address, const struct yoke_options *options,
                    yoke **out)
{
    return yk_open_over(&yk_layer_none, NULL, address, options, out);
}

int yk_open_wait(yoke *y)
{
    while (yk_opening(y) && !y->broken)
        (void)yk_poll(y, YOKE_NONE); /* opening has an end itself */
    return yk_opening(y) ? y->broken : 0;
}

int yoke_open(const char *address, const struct yoke_options *options,
              yoke **out)
{
    int status = yoke_open_begin(address, options, out);

    return status < 0 ? status : yk_open_wait(*out);
}

/* ------------------------------------------------------------------ closing */

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
    if (y && yk_close_later(y, YK_CLOSES))
        return;
    if (y && !y->broken && y->link == YK_UP) {
        say_goodbye(y);
        yk_transport_hang_up(&y->transport);
    }
    yoke_abandon(y);
}

void yoke_abandon(yoke *y)
{
    if (!y || yk_close_later(y, YK_ABANDONS))
        return;
    yk_transport_close(&y->transport);
    yk_opened(y);
    if (y->wake_fd >= 0)
        (void)close(y->wake_fd);
    yk_reader_free(y->reader);
    yk_await_free(y);
    yoke_value_free(y->late);
    free(y->greeting);
    free(y->held);
    free(y->password);
    free(y->password_file);
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
    return y->transport.fd;
}
