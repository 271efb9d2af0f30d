/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transport - see transport.h. A handle's descriptor keeps its number: what
 * takes its place is made under another one and moved there by dup3(2).
 */
#include "client/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEAD_PEER_S    15    /* silence before the first probe of a peer */
#define DEAD_PROBE_S   5     /* between probes; three go unanswered at most */
#define DEAD_WRITES_MS 30000 /* written and not taken by the peer */

/* ------------------------------------------------------------------ no layer
 */

static ssize_t plain_read(struct yk_transport *t, void *to, size_t len)
{
    ssize_t n;

    do
        n = recv(t->fd, to, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t plain_write(struct yk_transport *t, const void *from, size_t len)
{
    ssize_t n;

    do
        n = send(t->fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

const struct yk_layer yk_layer_none = {
    .read = plain_read,
    .write = plain_write,
};

/* ---------------------------------------------------------------- descriptor
 */

void yk_transport_init(struct yk_transport *t, const struct yk_layer *layer,
                       void *config)
{
    *t = (struct yk_transport){.layer = layer, .config = config, .fd = -1};
}

/* Takes fd under the number that the transport has, or as that number. */
static int put(struct yk_transport *t, int fd)
{
    int error = 0;

    if (t->fd < 0) {
        t->fd = fd;
        return 0;
    }
    if (dup3(fd, t->fd, O_CLOEXEC) < 0)
        error = errno;
    (void)close(fd); /* nothing was written */
    t->changes += error == 0;
    return -error;
}

static void release(struct yk_transport *t)
{
    if (t->state)
        t->layer->release(t);
    t->state = NULL;
    t->read_wants = POLLIN;
    t->write_wants = POLLOUT;
    t->held = 0;
}

void yk_transport_close(struct yk_transport *t)
{
    release(t);
    if (t->fd >= 0)
        (void)close(t->fd); /* nothing that could be told to anybody */
    t->fd = -1;
}

void yk_transport_hang_up(struct yk_transport *t)
{
    if (t->phase == YK_THROUGH && t->layer->goodbye)
        t->layer->goodbye(t);
    if (t->phase != YK_PARKED && t->fd >= 0)
        (void)shutdown(t->fd, SHUT_RDWR); /* it may be closed already */
    if (t->phase != YK_PARKED)
        t->phase = YK_HUNG_UP;
    release(t);
}

int yk_transport_park(struct yk_transport *t)
{
    int fd, error;

    yk_transport_hang_up(t);
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    error = put(t, fd);
    if (error == 0)
        t->phase = YK_PARKED;
    return error;
}

/* ---------------------------------------------------------------- connecting
 */

static void set_option(int fd, int level, int option, int value)
{
    /* What a kernel does not know only makes a dead peer noticed later. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* To notice a peer that is dead. */
static void tune(int fd, int family)
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

int yk_transport_connect(struct yk_transport *t, const struct sockaddr *to,
                         socklen_t len)
{
    int fd =
        socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;

    if (fd < 0)
        return -errno;
    tune(fd, to->sa_family);
    if (connect(fd, to, len) < 0)
        error = errno;
    if (error && error != EINPROGRESS && error != EINTR) {
        (void)close(fd); /* nothing was written */
        return -error;
    }
    release(t);
    t->phase = error ? YK_DIALLING : YK_SHAKING;
    error = -put(t, fd);
    if (error)
        t->phase = YK_HUNG_UP;
    return -error;
}

int yk_transport_adopt(struct yk_transport *t, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    release(t);
    t->fd = fd;
    t->phase = YK_SHAKING;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

/* 0, -EAGAIN, or why the socket could not be connected. */
static int dialled(const struct yk_transport *t)
{
    struct pollfd p = {.fd = t->fd, .events = POLLOUT};
    socklen_t len = sizeof(int);
    int error = 0;

    if (poll(&p, 1, 0) <= 0)
        return -EAGAIN;
    if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    return -error;
}

int yk_transport_step(struct yk_transport *t)
{
    int error = t->phase == YK_DIALLING ? dialled(t) : 0;

    if (error)
        return error;
    t->phase = YK_SHAKING;
    error = t->layer->handshake ? t->layer->handshake(t) : 0;
    if (error)
        return error;
    t->phase = YK_THROUGH;
    t->read_wants = POLLIN;
    return 0;
}

/* --------------------------------------------------------------------- bytes
 */

ssize_t yk_transport_read(struct yk_transport *t, void *to, size_t len)
{
    t->read_wants = POLLIN;
    t->write_wants = POLLOUT; /* it may take what a write has waited for */
    return t->phase == YK_THROUGH ? t->layer->read(t, to, len) : -ENOTCONN;
}

ssize_t yk_transport_write(struct yk_transport *t, const void *from, size_t len)
{
    t->write_wants = POLLOUT;
    t->held = 0;
    return t->phase == YK_THROUGH ? t->layer->write(t, from, len) : -ENOTCONN;
}

bool yk_transport_pending(const struct yk_transport *t)
{
    return t->phase == YK_THROUGH && t->layer->pending && t->layer->pending(t);
}

short yk_transport_events(const struct yk_transport *t, bool writing)
{
    if (t->phase == YK_DIALLING)
        return POLLOUT;
    return (short)(t->read_wants | (writing ? t->write_wants : 0));
}

bool yk_transport_readable(const struct yk_transport *t, short ready)
{
    const short neither = (short)~(POLLIN | POLLOUT); /* an end or an error */

    return ready & (t->read_wants | neither) || yk_transport_pending(t);
}

const char *yk_transport_why(const struct yk_transport *t, int error,
                             char *words, size_t size)
{
    return t->layer->why ? t->layer->why(t, error, words, size)
                         : strerror_r(error, words, size);
}
