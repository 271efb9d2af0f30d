/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/output.h"

#include "runner/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* What a job may have in a pipe that it has made as large as it could; a bound
 * on the last reading, as somebody else may be writing. */
#define OUTPUT_LAST_MAX ((size_t)4 << 20)

static void keep_result(struct output *o, const char *data, size_t len)
{
    size_t room = o->result_max - o->result.len;

    if (len > room) {
        o->result_cut = true;
        len = room;
    }
    buffer_append(&o->result, data, len);
}

static void keep_tail(struct output *o, const char *data, size_t len)
{
    buffer_append(&o->tail, data, len);
    if (o->tail.len > 2 * OUTPUT_TAIL_MAX) {
        memmove(o->tail.data, o->tail.data + o->tail.len - OUTPUT_TAIL_MAX,
                OUTPUT_TAIL_MAX);
        o->tail.len = OUTPUT_TAIL_MAX;
        o->tail_cut = true;
    }
}

void output_flush(struct output *o)
{
    if (o->waiting.len > 0)
        o->piece(o->arg, o->waiting_stream, o->waiting.data, o->waiting.len);
    o->waiting.len = 0;
    ev_timer_stop(o->loop, &o->delay);
}

static void on_delay(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    output_flush(timer->data);
}

static void take(struct output *o, int stream, const char *data, size_t len)
{
    if (stream == o->result_stream)
        keep_result(o, data, len);
    if (stream == 2)
        keep_tail(o, data, len);
    if (stream == 3)
        return;
    /* One piece has one stream, and pieces stay in order. */
    if (o->waiting.len > 0 && (o->waiting_stream != stream ||
                               o->waiting.len + len > OUTPUT_PIECE_MAX))
        output_flush(o);
    o->waiting_stream = stream;
    buffer_append(&o->waiting, data, len);
    if (!ev_is_active(&o->delay)) {
        ev_timer_set(&o->delay, OUTPUT_DELAY_MS / 1000., 0.);
        ev_timer_start(o->loop, &o->delay);
    }
}

static void stop(struct output *o, int which)
{
    if (o->io[which].fd < 0)
        return;
    ev_io_stop(o->loop, &o->io[which]);
    if (o->watched)
        process_close(o->io[which].fd);
    else
        close(o->io[which].fd);
    o->io[which].fd = -1;
}

/* One read; false when there is nothing more for now. */
static bool read_some(struct output *o, int which)
{
    static char data[OUTPUT_PIECE_MAX];
    ssize_t n;

    if (o->io[which].fd < 0)
        return false;
    n = read(o->io[which].fd, data, sizeof(data));
    if (n > 0)
        take(o, which + 1, data, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        stop(o, which);
    return n > 0;
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    struct output *o = io->data;

    (void)loop;
    (void)events;
    read_some(o, (int)(io - o->io));
}

int output_init(struct output *o, struct ev_loop *loop, int result_stream,
                size_t result_max, output_piece_fn *piece, void *arg,
                int ends[3])
{
    int n = result_stream == 3 ? 3 : 2,
        fds[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};

    for (int i = 0; i < n; i++) {
        if (pipe2(fds[i], O_CLOEXEC) < 0) {
            int rc = -errno;

            while (i-- > 0) {
                close(fds[i][0]);
                close(fds[i][1]);
            }
            return rc;
        }
    }
    *o = (struct output){.loop = loop,
                         .piece = piece,
                         .arg = arg,
                         .result_stream = result_stream,
                         .result_max = result_max};
    ev_timer_init(&o->delay, on_delay, 0., 0.);
    o->delay.data = o;
    for (int i = 0; i < 3; i++) {
        if (i < n) /* it cannot fail on a pipe */
            (void)fcntl(fds[i][0], F_SETFL, O_NONBLOCK);
        ev_io_init(&o->io[i], on_readable, fds[i][0], EV_READ);
        o->io[i].data = o;
        ends[i] = fds[i][1];
    }
    return 0;
}

void output_read_result(struct output *o, int fd)
{
    static char data[OUTPUT_PIECE_MAX];
    off_t at = 0;
    ssize_t n;

    while (!o->result_cut && (n = pread(fd, data, sizeof(data), at)) > 0) {
        keep_result(o, data, (size_t)n);
        at += n;
    }
}

void output_watch(struct output *o, bool on)
{
    o->watched |= on;
    for (int i = 0; i < 3; i++) {
        if (o->io[i].fd < 0)
            continue;
        if (on)
            ev_io_start(o->loop, &o->io[i]);
        else
            ev_io_stop(o->loop, &o->io[i]);
    }
}

static void read_all(struct output *o, int which)
{
    for (size_t n = 0; n < OUTPUT_LAST_MAX / OUTPUT_PIECE_MAX; n++) {
        if (!read_some(o, which))
            break;
    }
}

void output_take(struct output *o)
{
    struct pollfd fds[3];

    for (int i = 0; i < 3; i++)
        fds[i] = (struct pollfd){.fd = o->io[i].fd, .events = POLLIN};
    /* One call, and mostly the only one: there is nothing. */
    if (poll(fds, 3, 0) > 0) {
        for (int i = 0; i < 3; i++) {
            if (fds[i].revents)
                read_all(o, i);
        }
    }
    output_flush(o);
}

void output_finish(struct output *o)
{
    for (int i = 0; i < 3; i++) {
        read_all(o, i);
        stop(o, i);
    }
    output_flush(o);
}

void output_turn(struct output *o)
{
    o->tail.len = 0;
    o->tail_cut = false;
}

const char *output_tail(const struct output *o, size_t *len)
{
    const char *data = o->tail.data;
    size_t n = o->tail.len;
    bool cut = o->tail_cut;

    if (n > OUTPUT_TAIL_MAX) {
        data += n - OUTPUT_TAIL_MAX;
        n = OUTPUT_TAIL_MAX;
        cut = true;
    }
    if (cut) {
        const char *line = memchr(data, '\n', n);

        if (line && (size_t)(line + 1 - data) < n) {
            n -= (size_t)(line + 1 - data);
            data = line + 1;
        }
    }
    *len = n;
    return data;
}

void output_clear(struct output *o)
{
    for (int i = 0; i < 3; i++)
        stop(o, i);
    ev_timer_stop(o->loop, &o->delay);
    buffer_clear(&o->waiting);
    buffer_clear(&o->result);
    buffer_clear(&o->tail);
}
