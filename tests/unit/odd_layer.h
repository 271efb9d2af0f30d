/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * odd_layer - a transport that has every habit of TLS that a plain socket has
 * not, and the gate that takes it off again before a peer.
 *
 *     client ──frames──> gate ──bytes──> peer
 *
 * A frame is a mark and a byte. Two round trips come first. Each byte is turned
 * and sent by itself; after WINDOW of them a write waits until it has read that
 * they arrived. A read has to write that it wants more before anything comes,
 * then gets up to BURST bytes at once, and gives them out one by one.
 */
#ifndef YOKE_TEST_ODD_LAYER_H
#define YOKE_TEST_ODD_LAYER_H

#include "peer.h"

#include <errno.h>

#define ODD_KEY 0x5a
#define WINDOW  8
#define BURST   16

enum odd_mark {
    ODD_HELLO, /* the four of the handshake */
    ODD_WHO,
    ODD_ME,
    ODD_WELCOME,
    ODD_DATA,
    ODD_ARRIVED,
    ODD_MORE,
    ODD_GOODBYE,
};

/* -------------------------------------------------------------------- layer */

struct odd {
    int shaken; /* frames of the handshake that are done */
    bool more_asked, more_said, ended;
    int unheard;  /* bytes that may not have arrived */
    int promised; /* the byte that the next write begins with; -1: none */
    size_t n, at;
    unsigned char got[BURST];
};

static atomic_int odd_states; /* not yet freed */

static inline int odd_send(struct yk_transport *t, enum odd_mark mark,
                           unsigned char byte)
{
    const unsigned char frame[2] = {(unsigned char)mark, byte};

    if (send(t->fd, frame, 2, MSG_NOSIGNAL | MSG_DONTWAIT) == 2)
        return 0;
    return errno == EAGAIN ? -EAGAIN : -errno;
}

/* What is there, up to the end of a burst. 0, or why there is nothing. */
static inline int odd_pump(struct yk_transport *t)
{
    struct odd *o = t->state;
    unsigned char frames[2 * (BURST + 1)];
    ssize_t n = recv(t->fd, frames, sizeof(frames), MSG_DONTWAIT);

    if (n < 0)
        return -errno;
    o->ended |= n == 0;
    for (ssize_t i = 0; i + 1 < n; i += 2) {
        if (frames[i] == ODD_ARRIVED) {
            o->unheard = 0;
        } else if (frames[i] == ODD_DATA && o->n < BURST) {
            o->got[o->n++] = frames[i + 1] ^ ODD_KEY;
            o->more_said = false;
        } else {
            return -EPROTO;
        }
    }
    return 0;
}

static inline int odd_handshake(struct yk_transport *t)
{
    struct odd *o = t->state;
    unsigned char frame[2];
    int error;

    if (!o) {
        t->state = o = calloc(1, sizeof(*o));
        ck_assert_ptr_nonnull(o);
        o->promised = -1;
        atomic_fetch_add(&odd_states, 1);
    }
    for (; o->shaken < 4; o->shaken++) {
        if (o->shaken % 2 == 0) {
            t->read_wants = POLLOUT;
            error = odd_send(t, (enum odd_mark)o->shaken, 0);
            if (error)
                return error;
            continue;
        }
        t->read_wants = POLLIN;
        if (recv(t->fd, frame, 2, MSG_DONTWAIT) != 2)
            return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
        if (frame[0] != o->shaken)
            return -EPROTO;
    }
    return 0;
}

static inline ssize_t odd_read(struct yk_transport *t, void *to, size_t len)
{
    struct odd *o = t->state;
    int error = 0;

    ck_assert_uint_gt(len, 0);
    if (o->n == 0 && !o->more_said) {
        t->read_wants = POLLOUT;
        if (!o->more_asked) {
            o->more_asked = true; /* not before it was waited for */
            return -EAGAIN;
        }
        error = odd_send(t, ODD_MORE, 0);
        if (error == -EAGAIN)
            return error;
        o->more_asked = false;
        o->more_said = true;
    }
    if (o->n == 0) {
        t->read_wants = POLLIN;
        error = odd_pump(t);
    }
    if (o->n == 0)
        return o->ended || error == -ECONNRESET ? 0 : error ? error : -EAGAIN;
    *(unsigned char *)to = o->got[o->at++];
    if (o->at == o->n)
        o->at = o->n = 0;
    return 1;
}

static inline ssize_t odd_write(struct yk_transport *t, const void *from,
                                size_t len)
{
    struct odd *o = t->state;
    int byte = *(const unsigned char *)from, error = 0;

    ck_assert_uint_gt(len, 0);
    ck_assert(o->promised < 0 || o->promised == byte);
    o->promised = byte;
    t->held = 1;
    if (o->unheard == WINDOW && o->n == 0)
        error = odd_pump(t);
    if (o->unheard == WINDOW) {
        t->write_wants = POLLIN;
        return error && error != -EAGAIN ? error : o->ended ? -EPIPE : -EAGAIN;
    }
    error = odd_send(t, ODD_DATA, (unsigned char)(byte ^ ODD_KEY));
    if (error)
        return error;
    o->unheard++;
    o->promised = -1;
    t->held = 0;
    return 1;
}

static inline bool odd_pending(const struct yk_transport *t)
{
    const struct odd *o = t->state;

    return o->n > 0 || (!o->more_asked && !o->more_said);
}

static inline void odd_goodbye(struct yk_transport *t)
{
    (void)odd_send(t, ODD_GOODBYE, 0); /* who is not there needs none */
}

static inline void odd_release(struct yk_transport *t)
{
    free(t->state);
    atomic_fetch_sub(&odd_states, 1);
}

static inline const char *odd_why(const struct yk_transport *t, int error,
                                  char *words, size_t size)
{
    (void)t;
    if (error != EPROTO)
        return strerror_r(error, words, size);
    (void)snprintf(words, size, "the gate is another one");
    return words;
}

static const struct yk_layer odd_layer = {
    .handshake = odd_handshake,
    .read = odd_read,
    .write = odd_write,
    .pending = odd_pending,
    .goodbye = odd_goodbye,
    .release = odd_release,
    .why = odd_why,
};

/* --------------------------------------------------------------------- gate */

struct gate {
    pthread_t thread;
    int client, peer;      /* sockets, owned */
    bool wrong;            /* is another one: breaks the handshake */
    atomic_bool over;      /* both have been told that it is */
    _Atomic bool farewell; /* the client has said goodbye */
    bool more, peer_ended, through;
    int unheard;
    size_t len;
    char waits[1 << 16]; /* for the client */
};

static inline void gate_send(struct gate *g, enum odd_mark mark)
{
    const unsigned char frame[2] = {(unsigned char)mark, 0};

    (void)send(g->client, frame, 2, MSG_NOSIGNAL); /* the end shows in recv */
}

static inline void gate_take(struct gate *g, const unsigned char *frame)
{
    char byte = (char)(frame[1] ^ ODD_KEY);

    switch ((enum odd_mark)frame[0]) {
    case ODD_HELLO:
        gate_send(g, g->wrong ? ODD_WELCOME : ODD_WHO);
        break;
    case ODD_ME:
        gate_send(g, ODD_WELCOME);
        g->through = true;
        break;
    case ODD_DATA:
        (void)send(g->peer, &byte, 1, MSG_NOSIGNAL);
        if (++g->unheard == WINDOW) {
            g->unheard = 0;
            gate_send(g, ODD_ARRIVED);
        }
        break;
    case ODD_MORE:
        g->more = true;
        break;
    case ODD_GOODBYE:
        atomic_store(&g->farewell, true);
        break;
    case ODD_WHO:
    case ODD_WELCOME:
    case ODD_ARRIVED:
        ck_abort_msg("frame %d is no client's", frame[0]);
    }
}

static inline void gate_give(struct gate *g)
{
    unsigned char frames[2 * BURST];
    size_t n = g->len < BURST ? g->len : BURST;

    if (!g->more || n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        frames[2 * i] = ODD_DATA;
        frames[2 * i + 1] = (unsigned char)g->waits[i] ^ ODD_KEY;
    }
    g->more = false;
    g->len -= n;
    memmove(g->waits, g->waits + n, g->len);
    (void)send(g->client, frames, 2 * n, MSG_NOSIGNAL);
}

/* Until one side has ended, and the client has what the peer said before. */
static inline void *gate_run(void *arg)
{
    struct gate *g = arg;

    for (;;) {
        struct pollfd p[] = {{.fd = g->client, .events = POLLIN},
                             {.fd = g->peer, .events = POLLIN}};
        unsigned char frames[64];
        ssize_t n;

        gate_give(g);
        if (g->peer_ended && g->len == 0)
            break;
        if (g->peer_ended || g->len == sizeof(g->waits))
            p[1].fd = -1;
        (void)poll(p, 2, -1);
        if (p[0].revents) {
            n = recv(g->client, frames, sizeof(frames), 0);
            if (n <= 0)
                break;
            for (ssize_t i = 0; i < n; i += 2)
                gate_take(g, frames + i);
        }
        if (p[1].fd >= 0 && p[1].revents) {
            n = recv(g->peer, g->waits + g->len, sizeof(g->waits) - g->len, 0);
            g->peer_ended = n <= 0;
            g->len += n > 0 ? (size_t)n : 0;
        }
    }
    (void)shutdown(g->client, SHUT_RDWR);
    (void)shutdown(g->peer, SHUT_RDWR);
    atomic_store(&g->over, true);
    return NULL;
}

/* Stands before the peer of a client's socket, which it takes: gives the
 * peer's. */
static inline int gate_open(struct gate *g, int fd, bool wrong)
{
    int pair[2];

    memset(g, 0, sizeof(*g));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    g->client = fd;
    g->peer = pair[0];
    g->wrong = wrong;
    ck_assert_int_eq(pthread_create(&g->thread, NULL, gate_run, g), 0);
    return pair[1];
}

static inline void gate_close(struct gate *g)
{
    ck_assert_int_eq(pthread_join(g->thread, NULL), 0);
    (void)close(g->client);
    (void)close(g->peer);
}

#endif
