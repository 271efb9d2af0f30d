/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client - what the files of libyoke share.
 *
 * A handle is a connection, an output buffer, hiredis' reader, and a ring of
 * the requests that wait for their replies. Everything is built on two steps
 * that never block: a request is appended to the output (yk_send), and what
 * has come in is handed to the requests in order (yk_read). The asynchronous
 * API is these two; a synchronous call is one request and a poll(2) around it.
 *
 * Knows:     RESP2 and doc/protocol.md.
 * Never:     prints, exits, aborts, keeps global state, touches signals.
 * Threads:   one at a time for each handle; yoke_interrupt alone from others.
 * Errors:    0 or a negative enum yoke_status; the words are in the handle.
 *
 * yk_ is the prefix of what the files share: the static archive has a single
 * name space with the program that links it.
 */
#ifndef YOKE_CLIENT_H
#define YOKE_CLIENT_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/base.h"
#include "client/transport.h"
#include <yoke.h>

#define YK_TEXT_MAX    1024
#define YK_READ_BYTES  (64 * 1024)
#define YK_UNSENT_MAX  (64u * 1024 * 1024) /* yoke_send refuses beyond it */
#define YK_PATIENCE_MS 1000 /* for the reply to a call that was interrupted */
#define YK_CLOSE_MS    1000
#define YK_WHERE_MAX   320 /* a path, or a host and a port */
#define YK_ID_MAX      (YOKE_ID_SIZE - 1)
/* Numbered requests without an answer: what a daemon remembers (ONCE). */
#define YK_NUMBERED_MAX 1023

#pragma GCC visibility push(hidden)

struct addrinfo;
struct redisReader;

/* A synchronous call that waits for its reply; lives on the caller's stack. */
struct yk_call {
    bool over;
    int status;
    struct yoke_value *reply; /* owned; NULL unless status is 0 */
};

/* May a request be sent again when its answer was lost with the connection? */
enum yk_again {
    YK_NEVER,    /* it does something each time: its caller is told */
    YK_ALWAYS,   /* it leads to the same twice */
    YK_NUMBERED, /* SUBMIT, GROUP OPEN: with ONCE, in the same session */
    YK_FETCHES,  /* FETCH: what came in the lost reply is given back before */
    YK_REPORTS,  /* the end of an attempt, which may be said again */
};

/* Requests of await.c, whose answers it takes. */
enum yk_ours { YK_NOT_OURS, YK_OUR_AWAIT, YK_OUR_UNAWAIT, YK_OUR_FETCH };

/* A request that has been sent and not yet answered. fn and call NULL: the
 * reply is of no interest to anybody (any more). */
struct yk_pending {
    yoke_reply_fn *fn;
    void *arg;
    struct yk_call *call;
    bool keep; /* an abandoned FETCH: the jobs in its reply must not be lost */
    /* written by yk_send and by what happens to the connection */
    bool sent;       /* over a connection that broke, in part or whole */
    bool lost;       /* so, and it is not sent again */
    bool gone;       /* it is not sent at all, and nobody waits for it */
    bool forgotten;  /* it is written, and may be a wait */
    bool fetches;    /* its reply is not to be dropped */
    bool owns;       /* opens a group that goes with the session */
    bool subscribes; /* or unsubscribes */
    bool soon;       /* whoever lives answers it within a third of a lease */
    bool waits;      /* WAIT and its like, which more requests would end */
    uint8_t again;   /* enum yk_again */
    uint8_t ours;    /* enum yk_ours; written by await.c */
    uint64_t batch;  /* of YK_OUR_AWAIT */
    size_t len;      /* of its bytes in `out`, if those are kept */
    int64_t sent_ms;
};

/* See reconnect.c. */
enum yk_link { YK_UP, YK_WAITING, YK_CONNECTING, YK_GREETING };

/* An attempt that the session holds. */
struct yk_held {
    char token[YOKE_ID_SIZE];
    bool reported; /* its end is under way */
};

/* How a handle is to go when the turn of its loop is over. */
enum yk_closing { YK_STAYS, YK_CLOSES, YK_ABANDONS };

struct yoke {
    struct yk_transport transport;
    int wake_fd;
    _Atomic bool wake; /* yoke_interrupt was called and nobody has seen it */
    bool in_callback;
    int broken;     /* 0, or the status that ended the connection */
    int send_errno; /* a write failed; what the peer said before is read */

    /* [out_head, out_len) is not yet written. What lies before it, from
     * out_base on, is written and not yet answered; without `retain` it is not
     * kept, and out_base is 0. */
    char *out;
    size_t out_base, out_head, out_len, out_cap;
    bool retain;    /* requests are kept until they are answered */
    bool cut_short; /* one was answered before it was written */

    struct redisReader *reader;
    struct yk_pending *ring; /* cap is a power of two */
    size_t ring_head, ring_count, ring_cap;
    size_t abandoned; /* of ring_count: nobody waits for the reply */
    size_t kept;      /* of abandoned: with `keep` */

    bool listening;        /* what comes may be a message, not a reply */
    int64_t subscriptions; /* as the daemon has said last */
    yoke_message_fn *told;
    void *told_arg;

    struct yoke_loop loop; /* watch NULL: none; see loop.c */
    void *loop_data;
    yoke_ended_fn *ended;
    void *ended_arg;
    short watched;   /* what the loop watches for */
    unsigned anew;   /* yoke_fd_changes when it was told last */
    bool timed;      /* it may have been given a time */
    bool wanted;     /* ... which brings a turn at once */
    bool turning;    /* yoke_turn is on the stack */
    uint8_t closing; /* enum yk_closing: in a callback of that turn */

    struct yk_awaits *awaits; /* owned; NULL: nothing was awaited yet */
    size_t waits;             /* of ring_count: with `waits` */
    bool fetches;             /* the user has sent a FETCH */

    struct yoke_value *late; /* reply of a FETCH that was interrupted */
    bool worker;             /* has called yoke_fetch: its lease matters */
    int64_t lease_ms;
    int64_t alive_ms;  /* the daemon has heard from us since then */
    int64_t said_ms;   /* when the last request was sent */
    uint64_t requests; /* so many there were; the last ones are in the ring */
    uint64_t number;   /* of the last request with ONCE */
    size_t numbered;   /* of ring_count: with ONCE */
    bool owns;         /* has opened groups that go with the session */
    struct yk_held *held;
    size_t nheld, held_cap;

    /* To open with. */
    char where[YK_WHERE_MAX]; /* for people */
    struct addrinfo *found;   /* owned; addresses of a host */
    const struct addrinfo *untried;
    int64_t open_until_ms;

    /* To connect with, and to come back with. */
    int64_t reconnect_ms, connect_timeout_ms;
    struct sockaddr_storage address;
    socklen_t address_len; /* 0: it cannot be connected to again */
    char *password, *password_file, *name; /* owned; NULL: none */
    uint64_t random;

    enum yk_link link;
    unsigned tries; /* since a connection was of use */
    bool answered;  /* this connection was */
    int64_t up_at_ms, retry_at_ms, give_up_at_ms, attempt_until_ms,
        greeted_at_ms;
    char *greeting; /* goes before what is in `out` */
    size_t greeting_head, greeting_len;
    size_t greeting_replies; /* still to come, before those of the ring */
    int greeting_step;
    char new_session[YOKE_ID_SIZE];
    char lost_text[YK_TEXT_MAX / 2];

    char session[YOKE_ID_SIZE];
    char scope[YOKE_ID_SIZE]; /* the token of the task it serves, or "" */
    char text[YK_TEXT_MAX];
    char broken_text[YK_TEXT_MAX];
    char in[YK_READ_BYTES];
};

/* ----------------------------------------------------------------- memory */

/* As malloc, calloc, reallocarray: NULL when memory is short. Everything is
 * given back with free(). A seam: a test that links the archive puts functions
 * of its own in the place of memory.c. */
void *yk_alloc(size_t size);
void *yk_zalloc(size_t n, size_t size);
void *yk_resize(void *old, size_t n, size_t size);

/* ------------------------------------------------------------------ index */

/* What an index finds by its id: a member of what the caller allocates. */
struct yk_node {
    struct yk_node *next;
    char id[YOKE_ID_SIZE];
};

/* All zero: an empty one. Lends its nodes until they are taken. */
struct yk_index {
    struct yk_node **chains; /* owned */
    size_t cap;              /* chains: 0 or a power of two */
    size_t count;            /* nodes */
};

/* n->id is set, and not in it yet. False when memory is short. */
bool yk_index_put(struct yk_index *x, struct yk_node *n);
/* NULL: there is none. */
struct yk_node *yk_index_find(const struct yk_index *x, const char *id,
                              size_t len);
/* It is in it. */
void yk_index_take(struct yk_index *x, struct yk_node *n);
void yk_index_clear(struct yk_index *x); /* leaves the nodes alone */

/* ----------------------------------------------------------------- status */

/* Keeps the words and returns the status. */
int yk_fail(yoke *y, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);
int yk_nomem(yoke *y);
/* The status that an error reply stands for; GENERIC for unknown codes. */
int yk_status_of(struct yoke_bytes text);
/* The connection is of no use any more. YK_LOST: another one is sought;
 * otherwise as yk_end. */
#define YK_LOST 1
int yk_break(yoke *y, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* Ends the handle: every request under way is called back with the status,
 * and so is everything that comes later. Returns the status. */
int yk_end(yoke *y, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);

/* -------------------------------------------------------------- arguments */

#define YK_ARGS_MAX    56
#define YK_NUMBERS_MAX 24

/* One request as it is put together. Lends what it is given until sent. */
struct yk_args {
    size_t count, numbers;
    struct yoke_bytes v[YK_ARGS_MAX];
    char number[YK_NUMBERS_MAX][24];
};

void yk_args_init(struct yk_args *a, const char *word);
void yk_args_text(struct yk_args *a, const char *text);
void yk_args_bytes(struct yk_args *a, struct yoke_bytes bytes);
void yk_args_int(struct yk_args *a, int64_t i);
/* The option and its value, unless there is none. */
void yk_args_option(struct yk_args *a, const char *name, const char *text);
/* Thousandths, as a decimal number. */
void yk_args_option_decimal(struct yk_args *a, const char *name, int64_t milli);
void yk_args_option_int(struct yk_args *a, const char *name, int64_t i);
/* password.c: y->password, for the first HELLO: 0 or a status. */
int yk_password_first(yoke *y, const struct yoke_options *options);
/* For one more: it may be another one by now. */
void yk_password_again(yoke *y);
/* Lends both, which may be NULL. */
void yk_args_hello(struct yk_args *a, const char *password, const char *name);
/* The scope that is given, else the handle's, else that of the environment,
 * else NULL. */
const char *yk_scope(const yoke *y, const char *given);

/* ----------------------------------------------------------------- values */

/* The value of yoke_reply_fn, and whether it is an error reply. */
struct yk_reply {
    struct yoke_value value; /* first: yoke_value_free takes it */
    bool error;
};

struct redisReader *yk_reader_new(void);
void yk_reader_free(struct redisReader *r);
/* 0 and a reply, or 0 and NULL: more bytes are needed. NOMEM or PROTOCOL are
 * final; *why names the latter. */
int yk_reader_next(struct redisReader *r, struct yk_reply **out,
                   const char **why);
int yk_reader_feed(struct redisReader *r, const char *data, size_t len);

/* A flat array of names and values becomes a MAP; false if it is neither. */
bool yk_value_to_map(struct yoke_value *v);
/* Nothing in it: null, 0, an empty array, or a page without entries that is
 * not over. It is what a blocking command answers that was ended early. */
bool yk_value_empty(const struct yoke_value *v);
/* Moves *v into an object of its own; *v becomes null. NULL: no memory. */
struct yoke_value *yk_value_take(struct yoke_value *v);
struct yoke_value *yk_value_copy(const struct yoke_value *v);
/* What is missing or null is the default. */
int64_t yk_value_int(const struct yoke_value *v, int64_t otherwise);
const char *yk_value_text(const struct yoke_value *v, const char *otherwise);
int64_t yk_map_int(const struct yoke_value *map, const char *key,
                   int64_t otherwise);
const char *yk_map_text(const struct yoke_value *map, const char *key,
                        const char *otherwise);
/* Copies an id or cursor; false if it is no string or does not fit. */
bool yk_value_id(const struct yoke_value *v, char id[YOKE_ID_SIZE]);

/* --------------------------------------------------------------- exchange */

/* How a call bears an interrupt. */
enum yk_mode {
    YK_PLAIN,  /* is answered soon: an interrupt is left for the next one */
    YK_BLOCKS, /* the daemon may wait, and ends that when it hears of us */
    YK_SLICED, /* the same, in slices that keep the lease */
    YK_FETCH,  /* the same, and neither jobs nor the lease may be lost */
};

/* What a request needs at most, or 0 when it cannot be one; and its bytes:
 * returns how many they are. */
size_t yk_request_size(size_t argc, const struct yoke_bytes *argv);
size_t yk_request_write(char *to, size_t argc, const struct yoke_bytes *argv);
/* Append a request; nothing is written yet. All or nothing. */
int yk_send(yoke *y, size_t argc, const struct yoke_bytes *argv,
            const struct yk_pending *pending);
/* Else yk_send is YOKE_ERR_LIMIT. */
bool yk_has_room(const yoke *y);
/* Write what the socket takes. Failures show in yk_read. */
void yk_flush(yoke *y);
/* Read what is there and hand out the replies. 0, YK_LOST, or the end. */
int yk_read(yoke *y);
/* Calls back those at the head of the ring whose answer will not come, and
 * drops those that nobody waits for. */
void yk_drop_lost(yoke *y);
/* Wait until the socket is ready (and then write and read), the time is up
 * (YOKE_NONE: for ever), or somebody interrupts. */
int yk_poll(yoke *y, int64_t timeout_ms);
/* May synchronous calls be made now? */
int yk_check_idle(yoke *y);
/* The interrupt that has not been seen, if there is one: once. */
bool yk_take_interrupt(yoke *y);
/* Forget who waits for the replies under way. */
void yk_abandon_calls(yoke *y, bool keep);
int yk_interrupted(yoke *y); /* the status and its words */

/* One request, one reply, which the caller frees; out may be NULL. */
int yk_exchange(yoke *y, size_t argc, const struct yoke_bytes *argv,
                enum yk_mode mode, struct yoke_value **out);
/* A blocking command whose argument `at` is the wait (written here): in slices
 * that keep a worker's lease, until something comes or the time is up. */
int yk_exchange_waiting(yoke *y, size_t argc, struct yoke_bytes *argv,
                        size_t at, int64_t wait_ms, enum yk_mode mode,
                        struct yoke_value **out);
/* The same with what yk_args put together. */
int yk_call(yoke *y, const struct yk_args *a, enum yk_mode mode,
            struct yoke_value **out);
int yk_call_waiting(yoke *y, struct yk_args *a, size_t at, int64_t wait_ms,
                    struct yoke_value **out);
/* A request that is answered OK. */
int yk_call_ok(yoke *y, const struct yk_args *a);
/* A request that is answered by an id. */
int yk_call_id(yoke *y, const struct yk_args *a, enum yk_mode mode,
               char id[YOKE_ID_SIZE]);
/* A request that is answered by a number; out may be NULL. */
int yk_call_int(yoke *y, const struct yk_args *a, enum yk_mode mode,
                int64_t *out);
/* A request that is answered by an array, of strings; out may be NULL. */
int yk_call_names(yoke *y, const struct yk_args *a, struct yoke_value **out);
/* For replies that are not what the protocol says; frees v. */
int yk_bad_reply(yoke *y, const char *command, struct yoke_value *v);

/* ---------------------------------------------------------- subscriptions */

/* Hands a message to whom it is for; false: it is none, but a reply. */
bool yk_message(yoke *y, const struct yoke_value *v);
/* Is it the word of a request that changes the subscriptions? */
bool yk_subscribes(const struct yoke_bytes *word);
/* Such a request is answered, whether anybody still waits for it or not; NULL:
 * by an error. */
void yk_confirmed(yoke *y, const struct yoke_value *reply);

/* ------------------------------------------------------------- connection */

/* yoke_open_begin over a layer. */
int yk_open_over(const struct yk_layer *layer, void *config,
                 const char *address, const struct yoke_options *options,
                 yoke **out);
/* 0 when there is a session, or what has ended the handle before. */
int yk_open_wait(yoke *y);
/* Has there been no session yet? */
bool yk_opening(const yoke *y);
/* Then: connect, to one address after the other. 0, or the end. */
int yk_dial(yoke *y);
/* Then: this address is none. 0: another one is tried; or the end. */
int yk_dial_failed(yoke *y, int error);
/* There is a session: what was needed to find it is freed. */
void yk_opened(yoke *y);

/* ------------------------------------------------------------------- loop */

/* Something is to be done that no descriptor or time says: the loop, if there
 * is one, gives the handle a turn at once. 0 or NOMEM. */
int yk_want_turn(yoke *y);
/* Is it to stay until the turn under way is over? */
bool yk_close_later(yoke *y, enum yk_closing how);

/* -------------------------------------------------------------- reconnect */

/* Is a connection that ends with this status worth another one? */
bool yk_may_reconnect(const yoke *y, int status);
/* The connection, or the attempt at one, has failed: YK_LOST, or the end. */
int yk_lose(yoke *y, const char *why);
/* The next step towards a connection; never blocks. 0, YK_LOST, or the end. */
int yk_reconnect(yoke *y);
/* An answer to the greeting; the text of an error is the handle's. */
int yk_greeting_reply(yoke *y, int status, struct yoke_value *v);

/* ------------------------------------------------------------------ lease */

int64_t yk_now_ms(void); /* monotonic; goes on while the machine sleeps */
/* Does it hold jobs which another one may get when its lease ends? */
bool yk_holds(const yoke *y);
/* Then there is just time to stop them. */
int64_t yk_give_up_ms(const yoke *y);
/* Is that over already for what a FETCH has just brought? */
bool yk_came_late(const yoke *y);
/* What a worker may wait at once, of a wait (NONE: for ever). */
int64_t yk_slice_ms(const yoke *y, int64_t wait_ms);
/* Until then what was asked at asked_ms, and is answered soon, should have been
 * answered; and the break when it was not. */
int64_t yk_silent_ms(const yoke *y, int64_t asked_ms);
int yk_silent(yoke *y, int64_t asked_ms);
/* How long a call may wait before it looks at the clock again, or NONE. */
int64_t yk_look_ms(const yoke *y);
/* From yoke_process, where nobody waits in slices: shows a sign of life when
 * one is due, and breaks a silent connection, also of who holds nothing and
 * only asks for jobs or has only reports to be heard. */
int yk_heartbeat(yoke *y);
int64_t yk_heartbeat_ms(const yoke *y);

/* ------------------------------------------------------------------ again */

enum yk_again yk_again_of(size_t argc, const struct yoke_bytes *argv);
/* Is it one of a worker's that the daemon answers soon: a report, or a FETCH
 * that waits for a third of the lease at most? */
bool yk_answered_soon(const yoke *y, enum yk_again again, size_t argc,
                      const struct yoke_bytes *argv);
/* GROUP OPEN without DETACHED? */
bool yk_opens_owned(size_t argc, const struct yoke_bytes *argv);
/* The reply of a FETCH has come: false when there is no memory for it. */
bool yk_held_fetched(yoke *y, const struct yoke_value *reply);
/* The report of a token is sent, or (its bytes) answered: returns what the
 * status means for one that was sent again. */
void yk_held_reported(yoke *y, struct yoke_bytes token);
int yk_held_answered(yoke *y, const char *request, bool again, int status);
/* Is there one that is not among these, and not reported? */
const char *yk_held_missing(const yoke *y, const struct yoke_value *tokens);
bool yk_held_knows(yoke *y, const char *token);
bool yk_held_any(const yoke *y); /* not reported */

/* May the daemon wait before it answers, until it hears more? FETCH aside. */
bool yk_may_wait(size_t argc, const struct yoke_bytes *argv);

/* ------------------------------------------------------------------- await */

/* Is there something to be asked, and may it be? Then yk_await_ask asks. */
bool yk_await_due(const yoke *y);
void yk_await_ask(yoke *y);
/* The answer to a request of ours; takes the reply. */
void yk_await_answered(yoke *y, const struct yk_pending *p, int status,
                       struct yoke_value *reply);
/* Tells the ends in a reply to any FETCH, which it leaves as it is. */
void yk_await_fetched(yoke *y, const struct yoke_value *reply);
bool yk_is_end(const struct yoke_value *entry);
/* There is a new connection: all is to be asked again. */
void yk_await_again(yoke *y);
/* The handle has ended: all are told; or is freed: nobody is. */
void yk_await_end(yoke *y, int status);
void yk_await_free(yoke *y);

/* --------------------------------------------------------------- outcomes */

bool yk_outcome_named(const char *name, enum yoke_outcome *out);

/* The outcome of a job or group from its map; takes raw, also on failure.
 * NOMEM or PROTOCOL, without words. */
int yk_outcome_parse(struct yoke_value *raw, struct yoke_outcome_info **out);
/* The reply to `a`, whose last words are to be an id and a wait, as an outcome;
 * TIMEOUT when there is none yet. */
int yk_outcome_wait(yoke *y, struct yk_args *a, const char *id, int64_t wait_ms,
                    struct yoke_outcome_info **out);
/* A page of them; takes v, also on failure. */
int yk_page_parse(struct yoke_value *v, struct yoke_page **out);
/* The same from an array of them, which is all there is. */
int yk_page_of_list(struct yoke_value *v, struct yoke_page **out);
/* The words for a failure of these; returns the status. */
int yk_parse_failed(yoke *y, int status, const char *command);

#pragma GCC visibility pop

#endif
