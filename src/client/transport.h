/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transport - the bytes between a handle and its daemon, over one connection
 * after the other.
 *
 *     connect ──> step ... step ──> read, write ──> hang_up or park
 *     adopt   ─┘                                        │
 *        └───────────────────── connect again ──────────┘
 *
 * A socket is dialled here; what turns the bytes of the handle into those of
 * the socket is a layer on top of it: none for plain sockets, and what a
 * library for TLS does has its shape. It may have to talk before the first
 * byte, to write before it can read or the other way round, and to hold bytes
 * that no poll(2) knows of.
 *
 * Knows:     sockets, addresses, what to wait for.
 * Never:     waits, looks up names; knows a handle or what the bytes mean.
 * Threads:   one at a time.
 * Errors:    0, a count, or -errno. -EAGAIN: call again when the descriptor is
 *            ready for yk_transport_events(); everything else is final for the
 *            connection, and yk_transport_why has the words.
 */
#ifndef YOKE_CLIENT_TRANSPORT_H
#define YOKE_CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

struct yk_transport;

/*
 * A layer. A function that returns -EAGAIN has set the event, POLLIN or
 * POLLOUT, that it waits for: handshake and read `read_wants`, write
 * `write_wants`.
 */
struct yk_layer {
    /* The socket is connected: makes *state and takes the next step until 0.
     * NULL: there is nothing to be done. */
    int (*handshake)(struct yk_transport *t);
    /* 1 to len bytes; 0: the peer has said that it is the end. Fewer than len:
     * there is no more for now but what `pending` tells of. */
    ssize_t (*read)(struct yk_transport *t, void *to, size_t len);
    /* 1 to len bytes are taken. After -EAGAIN the next call begins with the
     * same bytes, which may lie elsewhere, and has no fewer of them: the layer
     * may have worked them in, and says so in `held`. */
    ssize_t (*write)(struct yk_transport *t, const void *from, size_t len);
    /* Would read get any further although it has not said -EAGAIN, and the
     * socket is not readable? NULL: never. */
    bool (*pending)(const struct yk_transport *t);
    /* Tells the peer that it is over, as far as that goes without waiting.
     * NULL: there is nothing to be said. */
    void (*goodbye)(struct yk_transport *t);
    /* Frees *state, which is not NULL, and says nothing. NULL: there is never
     * one. */
    void (*release)(struct yk_transport *t);
    /* The words for an error, in `words` or for ever. NULL: those of errno. */
    const char *(*why)(const struct yk_transport *t, int error, char *words,
                       size_t size);
};

/* What is taken as it is. */
extern const struct yk_layer yk_layer_none;

enum yk_transport_phase {
    YK_PARKED,   /* nothing is ever ready on the descriptor */
    YK_DIALLING, /* the socket is being connected */
    YK_SHAKING,  /* it is, and the layer talks */
    YK_THROUGH,  /* bytes go through */
    YK_HUNG_UP,  /* it was told to the peer */
};

struct yk_transport {
    const struct yk_layer *layer;
    void *config; /* of the layer, lent for as long as this lives */
    void *state;  /* of the layer, for this connection; NULL: none */
    enum yk_transport_phase phase;
    int fd;           /* -1: none yet; then the same number until closed */
    unsigned changes; /* another one came under that number */
    short read_wants, write_wants;
    size_t held; /* bytes that the next write has to begin with */
};

/* Lends the layer and its config. */
void yk_transport_init(struct yk_transport *t, const struct yk_layer *layer,
                       void *config);
/* Frees, and closes without a word: the peer of a parent process, say, is to
 * notice nothing. May be called twice. */
void yk_transport_close(struct yk_transport *t);

/* Begins a connection in place of what was there. -EAGAIN: the backlog of a
 * Unix socket is full, which no poll(2) tells the end of. */
int yk_transport_connect(struct yk_transport *t, const struct sockaddr *to,
                         socklen_t len);
/* Takes a connected socket over, also on failure. Only as the first thing. */
int yk_transport_adopt(struct yk_transport *t, int fd);
/* The next step of what was begun. 0: bytes go through. */
int yk_transport_step(struct yk_transport *t);

ssize_t yk_transport_read(struct yk_transport *t, void *to, size_t len);
ssize_t yk_transport_write(struct yk_transport *t, const void *from,
                           size_t len);
bool yk_transport_pending(const struct yk_transport *t);

/* What to wait for, if there is something to be written, or not. */
short yk_transport_events(const struct yk_transport *t, bool writing);
/* Is read worth a call when poll(2) has said that? */
bool yk_transport_readable(const struct yk_transport *t, short ready);

/* Ends the connection and tells the peer; the descriptor stays, since a loop
 * may watch it. */
void yk_transport_hang_up(struct yk_transport *t);
/* That, and something that is never ready comes under the number. */
int yk_transport_park(struct yk_transport *t);

/* The words for an error (positive) of any of these. */
const char *yk_transport_why(const struct yk_transport *t, int error,
                             char *words, size_t size);

#pragma GCC visibility pop

#endif
