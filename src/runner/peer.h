/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer - the worker protocol as spoken with one process over a socket that it
 * was started with: to that process we are the daemon.
 *
 * It is the protocol of doc/protocol.md as far as it is about workers: HELLO
 * and what clients of Redis say at first, PING, FETCH, the reports, LOG, and
 * what only the daemon can answer (TOUCH, READY, SHIELD, UNSHIELD). Replies
 * come in the order of the requests; while one is asked of the daemon nothing
 * that came behind it is looked at. All else is refused with an error.
 *
 * Bounds: a request has PEER_ARGS_MAX arguments and as many bytes as
 * peer_init() says; nothing is read as long as more than PEER_UNSENT_MAX bytes
 * wait for the process to read them.
 *
 * Knows:     RESP (wire/resp.h), the socket, libev.
 * Never:     jobs, what becomes of a report.
 * Errors:    what is no RESP, or beyond a bound, is told to over(), once.
 */
#ifndef RUNNER_PEER_H
#define RUNNER_PEER_H

#include "wire/resp.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <yoke.h>

#define PEER_ARGS_MAX   64
#define PEER_UNSENT_MAX ((size_t)1 << 20)
/* The most jobs that one FETCH can get. */
#define PEER_FETCH_MAX 64
/* What the process is told of a lease: it has none, we look after its life. */
#define PEER_LEASE_MS 30000

enum peer_report { PEER_DONE, PEER_FAIL, PEER_RELEASE };

/* What it is told of a job. Times as in the protocol: -1 is none. */
struct peer_job {
    const char *token, *name, *group; /* name, group: "" if none */
    const char *payload;
    size_t payload_len;
    int64_t attempt, timeout_ms, deadline_ms, remaining_ms, grace_ms;
};

/* The words are lent until the call returns; argv[1] is the token. */
struct peer_calls {
    /* It waits for up to p->wanted jobs, or for cancels alone. The answer is
     * peer_answer(), now or later. */
    void (*fetch)(void *arg);
    /* A report; it is answered OK. False: the token is not one of its jobs. */
    bool (*report)(void *arg, enum peer_report what, size_t argc,
                   const struct str *argv);
    /* A piece of the log of a job. False as above. */
    bool (*log)(void *arg, int stream, struct str token, struct str data);
    /* A request that the daemon answers: by peer_reply(), now or later. False
     * as above. */
    bool (*ask)(void *arg, size_t argc, const struct str *argv);
    /* Nothing comes from it any more. why NULL: it has closed its end; else
     * what it did wrong. Nothing is called after this. */
    void (*over)(void *arg, const char *why);
};

struct peer {
    struct ev_loop *loop;
    const struct peer_calls *calls;
    void *arg;
    const char *queue; /* that it may fetch from; lent */
    ev_io io;          /* fd -1: closed */
    ev_timer wait;     /* of a FETCH that does not wait for ever */
    struct resp_reader *in;
    struct buf out;
    int proto;
    bool fetching; /* a FETCH waits for its answer */
    bool asking;   /* another request does */
    bool over;
    bool held;           /* see peer_hold */
    bool leaving;        /* our side is shut once all is sent */
    size_t wanted;       /* by the last FETCH: jobs, at most PEER_FETCH_MAX */
    unsigned long reads; /* of the socket */
};

/* Takes the descriptor, which does not block. request_max: bytes. */
void peer_init(struct peer *p, struct ev_loop *loop, int fd, const char *queue,
               size_t request_max, const struct peer_calls *calls, void *arg);
/* Closes the socket. Also good for one that is zeroed. */
void peer_clear(struct peer *p);
/* Nothing is read until it is let go: what it says has to go on from here, and
 * cannot at the moment. */
void peer_hold(struct peer *p, bool held);
/* The process has ended: what it said before is taken, whatever it waits for.
 */
void peer_drain(struct peer *p);
/* The end of file, behind what is still to be sent: no more will come from us.
 */
void peer_leave(struct peer *p);

/* Answer the FETCH that waits: with n entries, which follow at once. */
void peer_answer(struct peer *p, size_t n);
void peer_put_job(struct peer *p, const struct peer_job *job);
void peer_put_cancel(struct peer *p, const char *token, const char *reason,
                     int64_t grace_ms);
/* Answer the request that was asked for. reply NULL: the error "code text". */
void peer_reply(struct peer *p, const struct yoke_value *reply,
                const char *code, const char *text);
/* Send what was answered; call it once after some answers. */
void peer_flush(struct peer *p);

#endif
