/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client - one connection: bytes in, requests out; replies in, bytes out.
 *
 * Knows:     sockets, buffers and their bounds, when to read and to write.
 * Never:     what a request means, when a reply may leave: its owner says so.
 * Threads:   none; one loop.
 * Errors:    a broken connection is told by the hook `gone`; nothing is logged.
 *
 * A client is embedded in an object of its owner. Nothing is freed in the
 * middle of a turn: clients that have ended are handed back by
 * client_set_reap at its end.
 *
 *     open ---- gone(how) ----> ending (writes what is released) ----> dead
 *       \___________________________________________________________/
 *                     broken: gone(how), then at once
 *
 * Input is taken only while the client is neither blocked nor behind with
 * reading its replies; what is left waits in the kernel, so TCP pushes back.
 */
#ifndef YOKE_CLIENT_H
#define YOKE_CLIENT_H

#include <ev.h>

#include "base/buf.h"
#include "base/list.h"
#include "wire/resp.h"

#define CLIENT_READ_MAX    65536 /* bytes of one client in a turn */
#define CLIENT_REQUEST_MAX 1000  /* requests of one client in a turn */
#define CLIENT_INPUT_MAX                               \
    65536 /* received and not looked at: more waits in \
           * the kernel */
#define CLIENT_OUTPUT_MARK                              \
    (1 << 20) /* with that many bytes of replies unsent \
               * no more requests are taken */

enum client_phase {
    CLIENT_OPEN,
    CLIENT_ENDING, /* takes no requests; goes when its replies are written */
    CLIENT_DEAD,   /* socket closed, waits for client_set_reap */
};

enum client_wait {
    CLIENT_RUNS,
    CLIENT_BLOCKED, /* its command waits; further input ends the wait */
    CLIENT_STUCK,   /* its command waits; input is not looked at */
    CLIENT_EARLY,   /* its request comes again when it is resumed; nothing is
                     * read, not even that it has hung up */
};

struct client;

struct client_hooks {
    /* Bytes have come; before the first request among them. */
    void (*received)(struct client *c);
    /* Bytes have come for a client that is BLOCKED: must end the wait. */
    void (*interrupt)(struct client *c);
    /* It may set c->wait. */
    void (*request)(struct client *c, const struct str *argv, size_t argc);
    /* The stream is no RESP or beyond a limit: answer, then client_end. */
    void (*refused)(struct client *c, bool too_big, const char *text);
    /* Exactly once, if the owner did not call client_end: no request will
     * come any more. */
    void (*gone)(struct client *c);
    /* The last call; frees the object. */
    void (*reap)(struct client *c);
};

/* All clients of a loop, and what they share. */
struct client_set {
    struct ev_loop *loop;
    const struct client_hooks *hooks;
    struct list all, readable, again, dead;
    size_t count;              /* not yet reaped */
    bool paused;               /* take no requests; the owner sets it */
    struct resp_reader *spare; /* serves whoever has no request half read */
    char *scratch;             /* CLIENT_READ_MAX bytes */
    uint64_t bytes_in, bytes_out;
};

struct client {
    struct client_set *set;
    struct list all, readable, again, dead;
    ev_io read_io, write_io;
    int fd; /* -1: closed */
    enum client_phase phase;
    enum client_wait wait;
    bool eof;    /* nothing more will come */
    bool more;   /* the input may hold a whole request */
    bool linger; /* ending: wait for the peer to see the last reply */
    bool told;   /* `gone` was called, or need not be */
    size_t args_max, bytes_max; /* of a request; the owner sets them */
    struct resp_reader *reader; /* only while a request is half read, or .. */
    const struct str *argv;     /* .. came EARLY: this one; else NULL */
    size_t argc;
    struct buf in;      /* received and not yet parsed */
    struct buf out;     /* replies; the owner appends */
    uint64_t written;   /* bytes that have gone to the socket */
    uint64_t released;  /* up to where `written` may come */
    double last_active; /* ev_now */
    double ending_since;
};

void client_set_init(struct client_set *set, struct ev_loop *loop,
                     const struct client_hooks *hooks);
/* All clients must have been reaped. */
void client_set_clear(struct client_set *set);

/* Read what has come; at the end of a turn. libev calls back in the reverse of
 * the order in which the kernel told it, and who came first shall be served
 * first. */
void client_set_read(struct client_set *set);
/* Parse on where input was left; after client_set_read. */
void client_set_run(struct client_set *set);
/* Is there input that client_set_run would take now? */
bool client_set_has_work(const struct client_set *set);
/* Frees the memory of the idle, drops those that do not end; once a second. */
void client_set_tidy(struct client_set *set);
/* Hands the dead back. */
void client_set_reap(struct client_set *set);

/* Takes the descriptor, which must be non-blocking; starts to read. */
void client_init(struct client *c, struct client_set *set, int fd);

/* The command that made it wait is answered: look at its input again. */
void client_resume(struct client *c);

/* Where its replies end now, counted as `written` is. */
static inline uint64_t client_output_end(const struct client *c)
{
    return c->written + buf_size(&c->out);
}

/* What lies before `end` may leave; writes it if the socket takes it. */
void client_release(struct client *c, uint64_t end);

/* No more requests; close when all replies are written. `linger`: there may be
 * unread input, whose end the peer should reach before the connection closes,
 * or it might lose the last reply. `gone` is not called. */
void client_end(struct client *c, bool linger);
/* Close now. `gone` is called unless it was or client_end was. */
void client_cut(struct client *c);

#endif
