/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/peer.h"

#include "runner/process.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* A read, and what of it is taken between two looks at requests. */
#define READ_SIZE ((size_t)64 << 10)
#define FEED_SIZE ((size_t)8 << 10)
/* Reads of one event: others want their turn. */
#define READS_MAX 4

enum error_code {
#define ERROR(id, code, meaning) ERROR_##id,
#include "wire/errors.def"
#undef ERROR
};

/* Its handler has the words from the name on. */
struct verb {
    const char *name;
    size_t least, most; /* of the words, the name included */
    void (*handle)(struct peer *p, const struct str *argv, size_t argc);
};

static void peer_events(struct peer *p);

static void peer_over(struct peer *p, const char *why)
{
    if (p->over)
        return;
    p->over = true;
    p->fetching = false;
    ev_timer_stop(p->loop, &p->wait);
    peer_events(p);
    p->calls->over(p->arg, why);
}

/* ----------------------------------------------------------------- answers */

void peer_answer(struct peer *p, size_t n)
{
    p->fetching = false;
    ev_timer_stop(p->loop, &p->wait);
    resp_array(&p->out, n);
}

static void put_pair(struct peer *p, const char *name, int64_t value)
{
    resp_text(&p->out, name);
    resp_int(&p->out, value);
}

static void put_text_or_null(struct peer *p, const char *name,
                             const char *value)
{
    resp_text(&p->out, name);
    if (*value)
        resp_text(&p->out, value);
    else
        resp_null(&p->out, p->proto);
}

void peer_put_job(struct peer *p, const struct peer_job *job)
{
    resp_array(&p->out, 5);
    resp_text(&p->out, "job");
    resp_text(&p->out, job->token);
    resp_text(&p->out, p->queue);
    resp_str(&p->out, (struct str){job->payload, job->payload_len});
    resp_map(&p->out, p->proto, 7);
    put_pair(p, "attempt", job->attempt);
    put_pair(p, "timeout", job->timeout_ms);
    put_pair(p, "deadline", job->deadline_ms);
    put_pair(p, "remaining", job->remaining_ms);
    put_pair(p, "grace", job->grace_ms);
    put_text_or_null(p, "group", job->group);
    put_text_or_null(p, "name", job->name);
}

void peer_put_cancel(struct peer *p, const char *token, const char *reason,
                     int64_t grace_ms)
{
    resp_array(&p->out, 4);
    resp_text(&p->out, "cancel");
    resp_text(&p->out, token);
    resp_text(&p->out, reason);
    resp_int(&p->out, grace_ms);
}

/* No reply to what is asked is deeper than a list. */
static void put_value(struct peer *p, const struct yoke_value *v)
{
    switch (v->kind) {
    case YOKE_NULL:
        resp_null(&p->out, p->proto);
        break;
    case YOKE_INT:
        resp_int(&p->out, v->i);
        break;
    case YOKE_STR:
        if (v->s.len == 2 && memcmp(v->s.data, "OK", 2) == 0)
            resp_status(&p->out, "OK");
        else
            resp_str(&p->out, (struct str){v->s.data, v->s.len});
        break;
    case YOKE_ARRAY:
    case YOKE_MAP:
        resp_array(&p->out, v->kind == YOKE_MAP ? 2 * v->count : v->count);
        for (size_t i = 0; i < v->count * (v->kind == YOKE_MAP ? 2 : 1); i++)
            put_value(p, &v->items[i]);
        break;
    }
}

static enum error_code find_code(const char *name)
{
    for (uint32_t i = 0; i <= ERROR_NOTREADY; i++) {
        if (strcmp(resp_error_code(i), name) == 0)
            return (enum error_code)i;
    }
    return ERROR_GENERIC;
}

static void peer_requests(struct peer *p);

void peer_reply(struct peer *p, const struct yoke_value *reply,
                const char *code, const char *text)
{
    if (!p->asking)
        return;
    p->asking = false;
    if (reply)
        put_value(p, reply);
    else
        resp_error(&p->out, find_code(code), "%s", text);
    peer_requests(p);
    peer_flush(p);
}

/* Ends a FETCH with nothing. */
static void end_fetch(struct peer *p)
{
    if (p->fetching)
        peer_answer(p, 0);
}

static void on_wait(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct peer *p = timer->data;

    (void)loop;
    (void)events;
    end_fetch(p);
    peer_flush(p);
}

/* ---------------------------------------------------------------- requests */

static void refuse_token(struct peer *p, struct str token)
{
    resp_error(&p->out, ERROR_STALE, "'%.*s' is not a job that was given here",
               (int)(token.len < 64 ? token.len : 64), token.p);
}

/* A number of a request; false: it was refused. */
static bool read_number(struct peer *p, struct str word, int64_t least,
                        int64_t most, int64_t *out)
{
    char text[24], *end = text;
    long long n = 0;

    if (word.len > 0 && word.len < sizeof(text)) {
        memcpy(text, word.p, word.len);
        text[word.len] = '\0';
        errno = 0;
        n = strtoll(text, &end, 10);
    }
    if (end == text || *end || errno != 0 || n < least || n > most) {
        resp_error(&p->out, ERROR_GENERIC,
                   "'%.*s' is not valid; expected a number from %" PRId64
                   " to %" PRId64,
                   (int)(word.len < 64 ? word.len : 64), word.p, least, most);
        return false;
    }
    *out = n;
    return true;
}

static void do_ok(struct peer *p, const struct str *argv, size_t argc)
{
    (void)argv;
    (void)argc;
    resp_status(&p->out, "OK");
}

static void do_ping(struct peer *p, const struct str *argv, size_t argc)
{
    if (argc > 1)
        resp_str(&p->out, argv[1]);
    else
        resp_status(&p->out, "PONG");
}

static void do_hello(struct peer *p, const struct str *argv, size_t argc)
{
    if (argc > 1) {
        if (!str_eq(argv[1], STR("2")) && !str_eq(argv[1], STR("3"))) {
            resp_error(&p->out, ERROR_NOPROTO,
                       "HELLO: the protocol must be 2 or 3");
            return;
        }
        p->proto = argv[1].p[0] - '0';
    }
    resp_map(&p->out, p->proto, 6);
    resp_text(&p->out, "server");
    resp_text(&p->out, "yoke");
    put_pair(p, "proto", p->proto);
    put_pair(p, "id", 0);
    resp_text(&p->out, "role");
    resp_text(&p->out, "pool");
    resp_text(&p->out, "session"); /* the runner's; it cannot be resumed */
    resp_text(&p->out, "s0000000000000");
    put_pair(p, "lease", PEER_LEASE_MS);
}

/* A queue of a FETCH, perhaps with a bound: there is one, and *count is not
 * more than that. False: it was refused. */
static bool read_queue(struct peer *p, struct str word, int64_t *count)
{
    const char *slash = word.len ? memchr(word.p, '/', word.len) : NULL;
    struct str queue = word;
    int64_t bound = *count;

    if (slash)
        queue.len = (size_t)(slash - word.p);
    if (!str_eq(queue, str_from(p->queue))) {
        resp_error(&p->out, ERROR_NOQUEUE,
                   "'%.*s' is not served here; this is a process of the pool "
                   "of '%s'",
                   (int)(queue.len < 64 ? queue.len : 64), queue.p, p->queue);
        return false;
    }
    if (slash &&
        !read_number(p, (struct str){slash + 1, word.len - queue.len - 1}, 0,
                     INT32_MAX, &bound))
        return false;
    if (*count > bound)
        *count = bound;
    return true;
}

static void do_fetch(struct peer *p, const struct str *argv, size_t argc)
{
    int64_t count, wait_ms;

    if (!read_number(p, argv[1], 0, INT32_MAX, &count) ||
        !read_number(p, argv[2], -1, INT64_MAX / 2, &wait_ms))
        return;
    for (size_t i = 3; i < argc; i++)
        if (!read_queue(p, argv[i], &count))
            return;
    p->wanted = count < PEER_FETCH_MAX ? (size_t)count : PEER_FETCH_MAX;
    p->fetching = true;
    p->calls->fetch(p->arg);
    if (!p->fetching)
        return;
    if (wait_ms == 0) {
        end_fetch(p);
    } else if (wait_ms > 0) {
        ev_timer_set(&p->wait, (double)wait_ms / 1000., 0.);
        ev_timer_start(p->loop, &p->wait);
    }
}

static void do_report(struct peer *p, enum peer_report what,
                      const struct str *argv, size_t argc)
{
    if (p->calls->report(p->arg, what, argc, argv))
        resp_status(&p->out, "OK");
    else
        refuse_token(p, argv[1]);
}

static void do_done(struct peer *p, const struct str *argv, size_t argc)
{
    do_report(p, PEER_DONE, argv, argc);
}

static void do_fail(struct peer *p, const struct str *argv, size_t argc)
{
    do_report(p, PEER_FAIL, argv, argc);
}

static void do_release(struct peer *p, const struct str *argv, size_t argc)
{
    do_report(p, PEER_RELEASE, argv, argc);
}

static void do_log(struct peer *p, const struct str *argv, size_t argc)
{
    int64_t stream;

    (void)argc;
    if (!read_number(p, argv[2], 1, 2, &stream))
        return;
    if (p->calls->log(p->arg, (int)stream, argv[1], argv[3]))
        resp_status(&p->out, "OK");
    else
        refuse_token(p, argv[1]);
}

static void do_ask(struct peer *p, const struct str *argv, size_t argc)
{
    p->asking = true;
    if (p->calls->ask(p->arg, argc, argv))
        return;
    p->asking = false;
    refuse_token(p, argv[1]);
}

static const struct verb verbs[] = {
    {"FETCH", 4, PEER_ARGS_MAX, do_fetch},
    {"DONE", 2, 3, do_done},
    {"FAIL", 4, 5, do_fail},
    {"RELEASE", 2, 2, do_release},
    {"LOG", 4, 4, do_log},
    {"TOUCH", 2, 3, do_ask},
    {"READY", 3, 3, do_ask},
    {"SHIELD", 3, 3, do_ask},
    {"UNSHIELD", 2, 2, do_ask},
    {"HELLO", 1, PEER_ARGS_MAX, do_hello},
    {"PING", 1, 2, do_ping},
    {"ECHO", 2, 2, do_ping},
    {"SELECT", 2, 2, do_ok},
    {"AUTH", 2, 3, do_ok},
    {"CLIENT", 2, PEER_ARGS_MAX, do_ok},
    {"QUIT", 1, 1, do_ok},
};

static void peer_request(struct peer *p, const struct str *argv, size_t argc)
{
    struct str name = argv[0];

    end_fetch(p);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        const struct verb *v = &verbs[i];

        if (strlen(v->name) != name.len ||
            strncasecmp(v->name, name.p, name.len) != 0)
            continue;
        if (argc < v->least || argc > v->most)
            resp_error(&p->out, ERROR_GENERIC,
                       "%s: wrong number of arguments; expected %zu to %zu",
                       v->name, v->least - 1, v->most - 1);
        else
            v->handle(p, argv, argc);
        return;
    }
    resp_error(&p->out, ERROR_GENERIC,
               "'%.*s' is no command of a pool's socket; the daemon is at "
               "YOKE_SERVER",
               (int)(name.len < 64 ? name.len : 64), name.p);
}

/* All that are there, up to one that has to be waited for. */
static void peer_requests(struct peer *p)
{
    const struct str *argv;
    size_t argc;

    while (!p->over && !p->asking) {
        switch (resp_reader_next(p->in, &argv, &argc)) {
        case RESP_REQUEST:
            peer_request(p, argv, argc);
            break;
        case RESP_MORE:
            return;
        case RESP_INVALID:
        case RESP_TOO_BIG:
            peer_over(p, resp_reader_error(p->in));
            return;
        }
    }
}

/* ------------------------------------------------------------------ socket */

/* Watches for what there is room, or something to send, for. */
static void peer_events(struct peer *p)
{
    bool full = buf_size(&p->out) > PEER_UNSENT_MAX;
    int want = (p->over || p->asking || p->held || full ? 0 : EV_READ) |
               (buf_size(&p->out) > 0 ? EV_WRITE : 0);

    if (p->io.fd < 0 || want == (p->io.events & (EV_READ | EV_WRITE)))
        return;
    ev_io_stop(p->loop, &p->io);
    ev_io_set(&p->io, p->io.fd, want);
    if (want)
        ev_io_start(p->loop, &p->io);
}

void peer_flush(struct peer *p)
{
    while (p->io.fd >= 0 && buf_size(&p->out) > 0) {
        ssize_t n = send(p->io.fd, buf_front(&p->out), buf_size(&p->out),
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            buf_reset(&p->out); /* its end is seen by reading */
        if (n < 0)
            break;
        buf_consume(&p->out, (size_t)n);
    }
    if (p->leaving && buf_size(&p->out) == 0)
        (void)shutdown(p->io.fd, SHUT_WR); /* else its end is seen by reading */
    buf_shrink(&p->out, READ_SIZE);
    peer_events(p);
}

/* One read; false when there is no more for now. */
static bool peer_read(struct peer *p)
{
    static char data[READ_SIZE];
    ssize_t n = recv(p->io.fd, data, sizeof(data), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        peer_over(p, NULL);
        return false;
    }
    p->reads++;
    for (size_t at = 0; at < (size_t)n && !p->over; at += FEED_SIZE) {
        size_t left = (size_t)n - at;

        resp_reader_feed(p->in, data + at, left < FEED_SIZE ? left : FEED_SIZE);
        peer_requests(p);
    }
    return (size_t)n == sizeof(data) && !p->over && !p->asking && !p->held &&
           buf_size(&p->out) <= PEER_UNSENT_MAX;
}

static void on_socket(struct ev_loop *loop, ev_io *io, int events)
{
    struct peer *p = io->data;

    (void)loop;
    for (int i = 0; events & EV_READ && i < READS_MAX && peer_read(p); i++)
        ;
    if (p->io.fd >= 0)
        peer_flush(p);
}

void peer_init(struct peer *p, struct ev_loop *loop, int fd, const char *queue,
               size_t request_max, const struct peer_calls *calls, void *arg)
{
    *p = (struct peer){.loop = loop,
                       .calls = calls,
                       .arg = arg,
                       .queue = queue,
                       .proto = 2,
                       .wanted = 1};
    buf_init(&p->out);
    p->in = resp_reader_new();
    resp_reader_limit(p->in, PEER_ARGS_MAX, request_max);
    ev_io_init(&p->io, on_socket, fd, EV_READ);
    p->io.data = p;
    ev_io_start(loop, &p->io);
    ev_init(&p->wait, on_wait);
    p->wait.data = p;
}

void peer_leave(struct peer *p)
{
    end_fetch(p);
    p->leaving = true;
    peer_flush(p);
}

void peer_hold(struct peer *p, bool held)
{
    p->held = held;
    peer_events(p);
}

/* What it asks for is asked, and nobody is there for the answer. */
static void peer_rush(struct peer *p)
{
    do {
        p->asking = false;
        peer_requests(p);
    } while (p->asking && !p->over);
}

void peer_drain(struct peer *p)
{
    unsigned long reads;

    peer_rush(p);
    do {
        reads = p->reads;
        if (!p->over)
            (void)peer_read(p);
        peer_rush(p);
    } while (p->reads > reads);
}

void peer_clear(struct peer *p)
{
    if (!p->in)
        return;
    p->over = true;
    ev_timer_stop(p->loop, &p->wait);
    ev_io_stop(p->loop, &p->io);
    process_close(p->io.fd);
    resp_reader_free(p->in);
    buf_clear(&p->out);
    *p = (struct peer){.io.fd = -1};
}
