/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Input goes from the socket into the scratch buffer of the loop, from there
 * in pieces to a reader, and what is not taken at once into `in`. An idle
 * client owns no buffer and no reader: they come from the set and go back.
 */
#include "server/client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

/* The reader moves what lies behind each KiB that it takes: a small piece
 * keeps that cheap. */
#define PIECE_MAX 8192
/* An ending client that is not gone after that long (s) is cut. */
#define ENDING_MAX 10.0
/* Buffers of a client that has said nothing for that long (s) are freed. */
#define IDLE_AFTER 2.0
/* Most buffer that a busy client keeps from one turn to the next. */
#define OUTPUT_KEPT 16384

static void on_readable(struct ev_loop *loop, ev_io *w, int events);
static void on_writable(struct ev_loop *loop, ev_io *w, int events);

void client_set_init(struct client_set *set, struct ev_loop *loop,
                     const struct client_hooks *hooks)
{
    *set = (struct client_set){.loop = loop, .hooks = hooks};
    list_init(&set->all);
    list_init(&set->readable);
    list_init(&set->again);
    list_init(&set->dead);
    set->scratch = mem_alloc(CLIENT_READ_MAX);
}

void client_set_clear(struct client_set *set)
{
    ASSERT(set->count == 0);
    resp_reader_free(set->spare);
    mem_free(set->scratch);
}

void client_init(struct client *c, struct client_set *set, int fd)
{
    *c = (struct client){.set = set, .fd = fd};
    list_init(&c->readable);
    list_init(&c->again);
    list_init(&c->dead);
    list_push_back(&set->all, &c->all);
    set->count++;
    c->last_active = ev_now(set->loop);
    ev_io_init(&c->read_io, on_readable, fd, EV_READ);
    ev_io_init(&c->write_io, on_writable, fd, EV_WRITE);
    ev_io_start(set->loop, &c->read_io);
}

static void take_reader(struct client *c)
{
    if (c->reader)
        return;
    c->reader = c->set->spare ? c->set->spare : resp_reader_new();
    c->set->spare = NULL;
}

static void give_reader(struct client *c)
{
    if (!c->reader)
        return;
    if (!c->set->spare && resp_reader_idle(c->reader))
        c->set->spare = c->reader;
    else
        resp_reader_free(c->reader);
    c->reader = NULL;
}

/* Its command is not answered yet. */
static bool is_waiting(const struct client *c)
{
    return c->wait == CLIENT_BLOCKED || c->wait == CLIENT_STUCK;
}

/* It waits for nothing of its own. */
static bool is_ready(const struct client *c)
{
    return c->phase == CLIENT_OPEN && c->wait == CLIENT_RUNS &&
           buf_size(&c->out) < CLIENT_OUTPUT_MARK;
}

static bool may_take(const struct client *c)
{
    return is_ready(c) && !c->set->paused;
}

static bool has_input(const struct client *c)
{
    return c->more || buf_size(&c->in) > 0;
}

static void run_again(struct client *c)
{
    if (!list_linked(&c->again))
        list_push_back(&c->set->again, &c->again);
}

/* Read or not, as there is room for what comes. */
static void watch_input(struct client *c)
{
    bool want;

    if (c->phase == CLIENT_OPEN && is_waiting(c))
        /* To notice that it has hung up, as long as it sends little. */
        want = !c->eof && buf_size(&c->in) < CLIENT_INPUT_MAX;
    else if (c->phase == CLIENT_OPEN)
        want = !c->eof && !has_input(c) && is_ready(c);
    else
        want = c->phase == CLIENT_ENDING && c->linger && !c->eof;
    if (want)
        ev_io_start(c->set->loop, &c->read_io);
    else
        ev_io_stop(c->set->loop, &c->read_io);
}

static void tell_gone(struct client *c)
{
    if (c->told)
        return;
    c->told = true;
    c->set->hooks->gone(c);
}

/* Takes requests from the reader until it wants more bytes; false: it was
 * stopped before, and may hold more. */
static bool take_requests(struct client *c, size_t *budget)
{
    const struct client_hooks *hooks = c->set->hooks;

    while (may_take(c)) {
        const struct str *argv = c->argv;
        size_t argc = c->argc;
        enum resp_result result = RESP_REQUEST;

        if (*budget == 0)
            return false;
        if (LIKELY(!argv)) {
            resp_reader_limit(c->reader, c->args_max, c->bytes_max);
            result = resp_reader_next(c->reader, &argv, &argc);
        }
        if (result == RESP_MORE)
            return true;
        if (result != RESP_REQUEST) {
            hooks->refused(c, result == RESP_TOO_BIG,
                           resp_reader_error(c->reader));
            return false;
        }
        --*budget;
        c->argv = NULL;
        hooks->request(c, argv, argc);
        if (UNLIKELY(c->wait == CLIENT_EARLY)) {
            c->argv = argv; /* the reader keeps them until it is asked again */
            c->argc = argc;
        }
    }
    return false;
}

/* Parses; returns how many of the bytes went to the reader. */
static size_t parse(struct client *c, const char *data, size_t len)
{
    size_t budget = CLIENT_REQUEST_MAX, done = 0;

    take_reader(c);
    for (;;) {
        size_t piece = len - done < PIECE_MAX ? len - done : PIECE_MAX;

        c->more = !take_requests(c, &budget);
        if (c->more || piece == 0)
            break;
        resp_reader_feed(c->reader, data + done, piece);
        done += piece;
    }
    if (!c->more && resp_reader_idle(c->reader))
        give_reader(c);
    return done;
}

/* After input was parsed: what comes next for this client? */
static void settle(struct client *c)
{
    if (c->phase == CLIENT_OPEN && c->eof) {
        /* Nobody waits for a command that has not ended. What was sent whole
         * before the end is still served. */
        if (is_waiting(c) || !has_input(c)) {
            tell_gone(c);
            client_end(c, false);
            return;
        }
    }
    if (c->wait == CLIENT_BLOCKED && c->phase == CLIENT_OPEN &&
        (buf_size(&c->in) > 0 || (c->reader && !resp_reader_idle(c->reader))))
        c->set->hooks->interrupt(c); /* more was sent behind the command */
    if (is_ready(c) && has_input(c))
        run_again(c);
    watch_input(c);
}

static void run(struct client *c)
{
    if (may_take(c) && has_input(c)) {
        size_t len = buf_size(&c->in);
        size_t done = parse(c, len ? buf_front(&c->in) : NULL, len);

        /* A request may have ended the client: the rest is not looked at. */
        if (c->phase != CLIENT_OPEN)
            done = len;
        buf_consume(&c->in, done);
        buf_shrink(&c->in, 0);
    }
    settle(c);
}

/* New bytes in the scratch buffer. */
static void take_input(struct client *c, const char *data, size_t len)
{
    c->last_active = ev_now(c->set->loop);
    c->set->bytes_in += len;
    if (c->phase != CLIENT_OPEN)
        return; /* lingering: read only to be thrown away */
    c->set->hooks->received(c);
    if (c->wait == CLIENT_BLOCKED)
        c->set->hooks->interrupt(c);
    if (may_take(c) && !has_input(c)) {
        size_t done = parse(c, data, len);

        data += done;
        len -= done;
    }
    if (len > 0 && c->phase == CLIENT_OPEN)
        buf_append(&c->in, data, len);
    settle(c);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct client *c = container_of(w, struct client, read_io);

    (void)loop;
    (void)events;
    if (!list_linked(&c->readable))
        list_push_front(&c->set->readable, &c->readable);
}

static void read_client(struct client *c)
{
    ssize_t n;

    if (c->phase == CLIENT_DEAD)
        return;
    if (c->set->paused && c->phase == CLIENT_OPEN) {
        ev_io_stop(c->set->loop, &c->read_io);
        run_again(c);
        return;
    }
    n = recv(c->fd, c->set->scratch, CLIENT_READ_MAX, 0);
    if (n > 0) {
        take_input(c, c->set->scratch, (size_t)n);
    } else if (n == 0) {
        c->eof = true;
        if (c->phase == CLIENT_OPEN)
            settle(c);
        else if (buf_size(&c->out) == 0)
            client_cut(c);
        else
            watch_input(c);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        client_cut(c);
    }
}

void client_set_read(struct client_set *set)
{
    while (!list_empty(&set->readable)) {
        struct client *c =
            list_entry(set->readable.next, struct client, readable);

        list_remove(&c->readable);
        read_client(c);
    }
}

/* All replies are written and no request will come. */
static void ended(struct client *c)
{
    if (!c->linger || c->eof) {
        client_cut(c);
        return;
    }
    (void)shutdown(c->fd, SHUT_WR); /* fails only when it is broken anyway */
    watch_input(c);
}

static void flush(struct client *c)
{
    bool behind = buf_size(&c->out) >= CLIENT_OUTPUT_MARK;

    while (c->released > c->written) {
        size_t len = (size_t)(c->released - c->written);
        ssize_t n = send(c->fd, buf_front(&c->out), len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            ev_io_start(c->set->loop, &c->write_io);
            break;
        }
        if (n < 0) {
            client_cut(c);
            return;
        }
        buf_consume(&c->out, (size_t)n);
        c->written += (uint64_t)n;
        c->set->bytes_out += (uint64_t)n;
    }
    if (c->released == c->written)
        ev_io_stop(c->set->loop, &c->write_io);
    buf_shrink(&c->out, OUTPUT_KEPT);
    if (c->phase == CLIENT_ENDING && buf_size(&c->out) == 0)
        ended(c);
    else if (behind && is_ready(c))
        run_again(c);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    flush(container_of(w, struct client, write_io));
}

void client_release(struct client *c, uint64_t end)
{
    ASSERT(end >= c->released && end <= client_output_end(c));
    c->released = end;
    if (c->phase != CLIENT_DEAD && !ev_is_active(&c->write_io))
        flush(c);
}

void client_resume(struct client *c)
{
    c->wait = CLIENT_RUNS;
    run_again(c);
}

void client_end(struct client *c, bool linger)
{
    if (c->phase != CLIENT_OPEN)
        return;
    c->phase = CLIENT_ENDING;
    c->told = true;
    c->linger = linger;
    c->ending_since = ev_now(c->set->loop);
    watch_input(c);
    /* With nothing to write nobody would come by again. */
    run_again(c);
}

void client_cut(struct client *c)
{
    if (c->phase == CLIENT_DEAD)
        return;
    c->phase = CLIENT_DEAD;
    ev_io_stop(c->set->loop, &c->read_io);
    ev_io_stop(c->set->loop, &c->write_io);
    (void)close(c->fd); /* what was not sent is lost with the connection */
    c->fd = -1;
    list_push_back(&c->set->dead, &c->dead);
    tell_gone(c);
}

void client_set_run(struct client_set *set)
{
    struct list now;

    if (set->paused || list_empty(&set->again))
        return;
    /* Those who come again while this runs are for the next turn. */
    now = set->again;
    now.next->prev = now.prev->next = &now;
    list_init(&set->again);
    while (!list_empty(&now) && !set->paused) {
        struct client *c = list_entry(now.next, struct client, again);

        list_remove(&c->again);
        if (c->phase == CLIENT_OPEN)
            run(c);
        else if (c->phase == CLIENT_ENDING && buf_size(&c->out) == 0)
            ended(c);
    }
    /* Those who were not reached because of one before come first next time. */
    while (!list_empty(&now)) {
        struct list *last = now.prev;

        list_remove(last);
        list_push_front(&set->again, last);
    }
}

bool client_set_has_work(const struct client_set *set)
{
    return !set->paused && !list_empty(&set->again);
}

void client_set_tidy(struct client_set *set)
{
    double now = ev_now(set->loop);

    list_foreach_safe (it, &set->all) {
        struct client *c = list_entry(it, struct client, all);

        if (c->phase == CLIENT_ENDING && now - c->ending_since > ENDING_MAX)
            client_cut(c);
        else if (now - c->last_active > IDLE_AFTER)
            buf_shrink(&c->out, 0);
    }
}

void client_set_reap(struct client_set *set)
{
    while (!list_empty(&set->dead)) {
        struct client *c = list_entry(set->dead.next, struct client, dead);

        list_remove(&c->dead);
        list_remove(&c->readable);
        list_remove(&c->again);
        list_remove(&c->all);
        set->count--;
        give_reader(c);
        buf_clear(&c->in);
        buf_clear(&c->out);
        set->hooks->reap(c);
    }
}
