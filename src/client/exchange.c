/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exchange - requests out, replies in, and the calls that wait for them.
 *
 * Replies come in the order of the requests, so a ring of who waits is all the
 * bookkeeping there is. A call that is given up leaves its place in the ring,
 * without a name on it: its reply is dropped when it comes, and the connection
 * stays in step.
 */
#include "client/client.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define OUT_FIRST   (4 * 1024)
#define OUT_KEEP    (256 * 1024) /* an empty output buffer beyond it is freed */
#define RING_FIRST  16
#define READ_ROUNDS 16  /* yoke_process gives the loop a turn after these */
#define NUMBER_MAX  24  /* of a 64 bit number, its mark and CR LF */
#define WORDS_MAX   256 /* arguments of yoke_commandl and yoke_sendl */

/* ONCE number open, behind the words of a request. */
#define NUMBER_WORDS 3
#define NUMBER_SIZE  (NUMBER_WORDS * 2 * (NUMBER_MAX + 2))

/* ----------------------------------------------------------------- output */

static bool out_reserve(yoke *y, size_t room)
{
    size_t done = y->retain ? y->out_base : y->out_head;
    size_t used = y->out_len - done;
    size_t cap = y->out_cap ? y->out_cap : OUT_FIRST;
    char *grown;

    if (y->out_cap - y->out_len >= room)
        return true;
    if (done > 0) {
        memmove(y->out, y->out + done, used);
        y->out_head -= done;
        y->out_len = used;
        y->out_base = 0;
        /* Little would be gained before the next move. */
        if (y->out_cap - used >= room && used <= y->out_cap / 2)
            return true;
    }
    while (cap - used < room) {
        if (cap > SIZE_MAX / 2)
            return false;
        cap *= 2;
    }
    grown = yk_resize(y->out, cap, 1);
    if (!grown)
        return false;
    y->out = grown;
    y->out_cap = cap;
    return true;
}

static char *put_bytes(char *to, const char *data, size_t len)
{
    if (len)
        memcpy(to, data, len);
    return to + len;
}

/* The mark, the number, CR LF; from the end, where the digits begin. */
static char *put_header(char *to, char mark, size_t n)
{
    char header[NUMBER_MAX];
    size_t at = sizeof(header);

    header[--at] = '\n';
    header[--at] = '\r';
    do {
        header[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    header[--at] = mark;
    return put_bytes(to, header + at, sizeof(header) - at);
}

static char *put_word(char *to, struct yoke_bytes word)
{
    to = put_header(to, '$', word.len);
    to = put_bytes(to, word.data, word.len);
    return put_bytes(to, "\r\n", 2);
}

size_t yk_request_write(char *to, size_t argc, const struct yoke_bytes *argv)
{
    char *at = put_header(to, '*', argc);

    for (size_t i = 0; i < argc; i++)
        at = put_word(at, argv[i]);
    return (size_t)(at - to);
}

static bool ring_reserve(yoke *y)
{
    size_t cap = y->ring_cap ? y->ring_cap * 2 : RING_FIRST;
    struct yk_pending *grown;

    if (y->ring_count < y->ring_cap)
        return true;
    grown = yk_resize(NULL, cap, sizeof(*grown));
    if (!grown)
        return false;
    for (size_t i = 0; i < y->ring_count; i++)
        grown[i] = y->ring[(y->ring_head + i) & (y->ring_cap - 1)];
    free(y->ring);
    y->ring = grown;
    y->ring_cap = cap;
    y->ring_head = 0;
    return true;
}

size_t yk_request_size(size_t argc, const struct yoke_bytes *argv)
{
    size_t size = NUMBER_MAX;

    for (size_t i = 0; i < argc; i++) {
        if (!argv[i].data && argv[i].len > 0)
            return 0;
        if (__builtin_add_overflow(size, argv[i].len, &size) ||
            __builtin_add_overflow(size, NUMBER_MAX + 2, &size))
            return 0;
    }
    return argc > 0 ? size : 0;
}

static struct yk_pending *ring_at(const yoke *y, size_t place)
{
    return &y->ring[(y->ring_head + place) & (y->ring_cap - 1)];
}

static bool is_abandoned(const struct yk_pending *p)
{
    return !p->fn && !p->call;
}

/* The number behind the words of a request, which makes the session do it
 * once. */
static size_t write_numbered(yoke *y, char *to, size_t argc,
                             const struct yoke_bytes *argv)
{
    char *at = put_header(to, '*', argc + NUMBER_WORDS), text[2][NUMBER_MAX];
    int len;

    for (size_t i = 0; i < argc; i++)
        at = put_word(at, argv[i]);
    at = put_word(at, (struct yoke_bytes){.data = "ONCE", .len = 4});
    len = snprintf(text[0], sizeof(text[0]), "%" PRIu64, ++y->number);
    at = put_word(at, (struct yoke_bytes){text[0], (size_t)len});
    len = snprintf(text[1], sizeof(text[1]), "%zu", y->numbered++);
    at = put_word(at, (struct yoke_bytes){text[1], (size_t)len});
    return (size_t)(at - to);
}

static enum yk_again plan_again(yoke *y, enum yk_again again)
{
    if (!y->retain)
        return YK_NEVER;
    /* The daemon remembers no more. */
    if (again == YK_NUMBERED && y->numbered >= YK_NUMBERED_MAX)
        again = YK_NEVER;
    /* A connection that is dead already is better noticed before. */
    if (again == YK_NEVER && y->link == YK_UP && y->ring_count == 0 &&
        !y->in_callback)
        (void)yk_read(y);
    return again;
}

static size_t kept_bytes(const yoke *y)
{
    return y->out_len - (y->retain ? y->out_base : y->out_head);
}

bool yk_has_room(const yoke *y)
{
    return kept_bytes(y) <= YK_UNSENT_MAX;
}

static int send_allowed(yoke *y, size_t size)
{
    if (y->broken)
        return yk_fail(y, y->broken, "%s", y->broken_text);
    if (size == 0)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "a request has arguments, not too many, and no NULL");
    if (!yk_has_room(y))
        return yk_fail(y, YOKE_ERR_LIMIT,
                       "LIMIT %zu bytes wait to be %s: call yoke_process "
                       "before more is sent",
                       kept_bytes(y), y->retain ? "answered" : "written");
    return 0;
}

int yk_send(yoke *y, size_t argc, const struct yoke_bytes *argv,
            const struct yk_pending *pending)
{
    size_t size = yk_request_size(argc, argv);
    enum yk_again rule =
        size && !y->broken ? yk_again_of(argc, argv) : YK_NEVER;
    enum yk_again again = size && !y->broken ? plan_again(y, rule) : YK_NEVER;
    int status = send_allowed(y, size);
    struct yk_pending p = *pending;

    if (status < 0)
        return status;
    if (!ring_reserve(y) || !out_reserve(y, size + NUMBER_SIZE) ||
        yk_want_turn(y) < 0)
        return yk_nomem(y);

    p.len = again == YK_NUMBERED
                ? write_numbered(y, y->out + y->out_len, argc, argv)
                : yk_request_write(y->out + y->out_len, argc, argv);
    y->out_len += p.len;
    p.again = (uint8_t)again;
    p.fetches = rule == YK_FETCHES;
    p.sent_ms = y->said_ms = yk_now_ms();
    if (again == YK_REPORTS && argc > 1)
        yk_held_reported(y, argv[1]);
    p.owns = again == YK_NUMBERED && yk_opens_owned(argc, argv);
    p.subscribes = yk_subscribes(argv);
    p.waits = yk_may_wait(argc, argv);
    y->waits += p.waits;
    y->fetches |= p.fetches && !p.ours;
    p.soon = yk_answered_soon(y, again, argc, argv);
    y->listening |= p.subscribes; /* a message may come before its answer */
    y->ring[(y->ring_head + y->ring_count) & (y->ring_cap - 1)] = p;
    y->ring_count++;
    y->requests++;
    if (is_abandoned(&p))
        y->abandoned++;
    return 0;
}

/* False: the socket takes no more, or has failed. */
static bool write_some(yoke *y, const char *data, size_t len, size_t *head)
{
    while (*head < len && !y->send_errno) {
        ssize_t n =
            yk_transport_write(&y->transport, data + *head, len - *head);

        if (n >= 0)
            *head += (size_t)n;
        else if (n == -EAGAIN)
            return false;
        else
            y->send_errno = (int)-n;
    }
    return *head == len;
}

/* Nothing in it is needed any more. */
static void out_clear(yoke *y)
{
    y->out_base = y->out_head = y->out_len = 0;
    if (y->out_cap > OUT_KEEP) {
        free(y->out);
        y->out = NULL;
        y->out_cap = 0;
    }
}

void yk_flush(yoke *y)
{
    if (y->link != YK_UP && y->link != YK_GREETING)
        return;
    if (!write_some(y, y->greeting, y->greeting_len, &y->greeting_head) ||
        y->link != YK_UP)
        return;
    if (write_some(y, y->out, y->out_len, &y->out_head) && !y->retain)
        out_clear(y);
}

/* ------------------------------------------------------------------ input */

static struct yk_pending ring_pop(yoke *y)
{
    struct yk_pending p = y->ring[y->ring_head];

    y->ring_head = (y->ring_head + 1) & (y->ring_cap - 1);
    y->ring_count--;
    if (is_abandoned(&p))
        y->abandoned--;
    if (p.keep)
        y->kept--;
    y->waits -= p.waits;
    if (p.again == YK_NUMBERED)
        y->numbered--;
    if (y->retain) {
        y->out_base += p.len;
        y->cut_short |= y->out_head < y->out_base;
        if (y->out_base == y->out_len)
            out_clear(y);
    }
    return p;
}

/* Hands the end of a request to whoever waits for it; takes the reply, which
 * is NULL if the status is an error. */
static void deliver(yoke *y, const struct yk_pending *p, int status,
                    struct yoke_value *reply)
{
    if (p->ours) {
        yk_await_answered(y, p, status, reply);
        return;
    }
    if (p->fetches && reply)
        yk_await_fetched(y, reply);
    if (p->call) {
        *p->call = (struct yk_call){true, status, reply};
        return;
    }
    if (p->fn && !y->closing) {
        y->in_callback = true;
        p->fn(y, status, reply, p->arg);
        y->in_callback = false;
    } else if (p->keep && reply && !yk_value_empty(reply)) {
        y->late = reply;
        return;
    }
    yoke_value_free(reply);
}

int yk_end(yoke *y, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(y->broken_text, sizeof(y->broken_text), fmt, ap);
    va_end(ap);
    y->broken = status;
    yk_transport_hang_up(&y->transport);
    while (y->ring_count > 0) {
        struct yk_pending p = ring_pop(y);

        (void)yk_fail(y, status, "%s", y->broken_text);
        deliver(y, &p, status, NULL);
    }
    yk_await_end(y, status);
    return yk_fail(y, status, "%s", y->broken_text);
}

int yk_break(yoke *y, int status, const char *fmt, ...)
{
    char why[YK_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    return yk_may_reconnect(y, status) ? yk_lose(y, why)
                                       : yk_end(y, status, "%s", why);
}

void yk_drop_lost(yoke *y)
{
    while (y->ring_count > 0 &&
           (y->ring[y->ring_head].lost || y->ring[y->ring_head].gone)) {
        struct yk_pending p = ring_pop(y);

        if (p.gone)
            continue;
        (void)yk_fail(y, YOKE_ERR_IO,
                      "the connection broke (%s): the request may have been "
                      "done or not, and is not sent again",
                      y->lost_text);
        deliver(y, &p, YOKE_ERR_IO, NULL);
    }
}

/* What the handle is to know of the reply to the oldest request. */
static int learn(yoke *y, const struct yoke_value *value, int status)
{
    const struct yk_pending *p = &y->ring[y->ring_head];

    y->answered = true;
    y->alive_ms = max_i64(y->alive_ms, p->sent_ms);
    if (!y->retain)
        return status;
    switch ((enum yk_again)p->again) {
    case YK_FETCHES:
        if (status == 0 && !yk_held_fetched(y, value))
            return YOKE_ERR_NOMEM;
        return status;
    case YK_REPORTS:
        return yk_held_answered(y, y->out + y->out_base, p->sent, status);
    case YK_NUMBERED:
        y->owns |= p->owns && status == 0;
        return status;
    case YK_NEVER:
    case YK_ALWAYS:
        break;
    }
    return status;
}

/* Nobody has asked: the daemon says why it is about to close, or is none. */
static int unasked(yoke *y, struct yk_reply *reply, int status)
{
    struct yoke_value *value = &reply->value;

    status = reply->error ? yk_break(y, status, "%s", value->s.data)
                          : yk_break(y, YOKE_ERR_PROTOCOL,
                                     "a reply came that was not asked for");
    yoke_value_free(value);
    return status;
}

static int dispatch(yoke *y, struct yk_reply *reply)
{
    static const struct yoke_value ok = {.kind = YOKE_STR,
                                         .s = {.data = "OK", .len = 2}};
    struct yoke_value *value = &reply->value;
    int status = reply->error ? yk_status_of(value->s) : 0, meant;
    struct yk_pending p;

    if (y->listening && yk_message(y, value)) {
        yoke_value_free(value);
        return 0;
    }
    if (y->greeting_replies > 0) {
        if (status < 0)
            (void)yk_fail(y, status, "%s", value->s.data);
        status = yk_greeting_reply(y, status, value);
        yoke_value_free(value);
        return status;
    }
    if (y->ring_count == 0)
        return unasked(y, reply, status);
    meant = learn(y, value, status);
    p = ring_pop(y);
    if (p.subscribes)
        yk_confirmed(y, status < 0 ? NULL : value);
    if (status < 0) {
        (void)yk_fail(y, status, "%s", value->s.data);
        yoke_value_free(value);
        value = meant == 0 ? yk_value_copy(&ok) : NULL;
        if (meant == 0 && !value)
            meant = yk_nomem(y);
    } else if (meant < 0) {
        (void)yk_nomem(y);
        yoke_value_free(value);
        value = NULL;
    }
    deliver(y, &p, meant, value);
    yk_drop_lost(y);
    return 0;
}

static int parse(yoke *y, size_t len)
{
    if (yk_reader_feed(y->reader, y->in, len) < 0)
        return yk_break(y, YOKE_ERR_NOMEM, "no memory for a reply");
    for (;;) {
        struct yk_reply *reply = NULL;
        const char *why = "";
        int status = yk_reader_next(y->reader, &reply, &why);

        if (status == YOKE_ERR_NOMEM)
            return yk_break(y, status, "no memory for a reply");
        if (status < 0)
            return yk_break(y, status, "the peer does not speak RESP: %s", why);
        if (!reply)
            return 0;
        status = dispatch(y, reply);
        if (status != 0)
            return status;
    }
}

static int break_errno(yoke *y, int error)
{
    char words[128];

    return yk_break(
        y, YOKE_ERR_IO, "the connection to yoked broke: %s",
        yk_transport_why(&y->transport, error, words, sizeof(words)));
}

/* Something is answered that is not yet written: the daemon has refused a
 * request that is too large before it was whole, and reads no further. */
static int break_refused(yoke *y)
{
    char refusal[YK_TEXT_MAX];

    memcpy(refusal, y->text, sizeof(refusal));
    return yk_break(y, YOKE_ERR_IO, "%.900s (yoked closed the connection)",
                    refusal);
}

int yk_read(yoke *y)
{
    for (int round = 0; round < READ_ROUNDS || y->send_errno; round++) {
        ssize_t n = yk_transport_read(&y->transport, y->in, sizeof(y->in));
        int status;

        if (n == 0)
            return yk_break(y, YOKE_ERR_IO, "yoked closed the connection");
        if (n == -EAGAIN)
            break;
        if (n < 0)
            return break_errno(y, (int)-n);
        status = parse(y, (size_t)n);
        if (status != 0)
            return status;
        if (y->cut_short ||
            (y->ring_count == 0 && yoke_unsent(y) > 0 && y->link == YK_UP))
            return break_refused(y);
        /* A short read took all there was; after a failed write the end is
         * near, and what the daemon said last is the reason for it. */
        if ((size_t)n < sizeof(y->in) && !y->send_errno &&
            !yk_transport_pending(&y->transport))
            break;
    }
    return y->send_errno ? break_errno(y, y->send_errno) : 0;
}

/* ---------------------------------------------------------------- waiting */

void yoke_interrupt(yoke *y)
{
    const uint64_t one = 1;
    int saved = errno;
    ssize_t n;

    atomic_store(&y->wake, true);
    /* Only a full counter refuses, and then it is readable as it should be. */
    n = write(y->wake_fd, &one, sizeof(one));
    (void)n;
    errno = saved;
}

bool yk_take_interrupt(yoke *y)
{
    return atomic_exchange(&y->wake, false);
}

int yk_poll(yoke *y, int64_t timeout_ms)
{
    struct pollfd p[2] = {{.fd = y->transport.fd, .events = yoke_events(y)},
                          {.fd = y->wake_fd, .events = POLLIN}};
    bool look = y->link == YK_UP && !yk_transport_pending(&y->transport);
    int64_t step_ms = look ? yk_look_ms(y) : yoke_timeout_ms(y);
    uint64_t count;
    int timeout;

    if (step_ms >= 0 && (timeout_ms < 0 || step_ms < timeout_ms))
        timeout_ms = step_ms;
    timeout = timeout_ms < 0 ? -1 : (int)min_i64(timeout_ms, INT32_MAX);

    if (y->send_errno)
        return yk_read(y);
    if (poll(p, 2, timeout) < 0)
        return 0; /* a signal: the caller looks again */
    if (p[1].revents && read(y->wake_fd, &count, sizeof(count)) < 0)
        count = 0; /* somebody else's wake-up; the flag says what counts */
    if (y->link != YK_UP && !y->broken)
        return yk_reconnect(y);
    if (p[0].revents & y->transport.write_wants)
        yk_flush(y);
    return yk_transport_readable(&y->transport, p[0].revents) ? yk_read(y) : 0;
}

int yk_check_idle(yoke *y)
{
    if (y->in_callback)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "a callback may send, but not wait");
    if (y->broken)
        return yk_fail(y, y->broken, "%s", y->broken_text);
    if (yoke_pending(y) > 0)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "%zu requests of yoke_send are under way",
                       yoke_pending(y));
    return 0;
}

void yk_abandon_calls(yoke *y, bool keep)
{
    for (size_t i = 0; i < y->ring_count; i++) {
        struct yk_pending *p = &y->ring[(y->ring_head + i) & (y->ring_cap - 1)];

        if (is_abandoned(p))
            continue;
        p->fn = NULL;
        p->call = NULL;
        p->keep = keep;
        y->abandoned++;
        y->kept += keep;
    }
}

int yk_interrupted(yoke *y)
{
    return yk_fail(y, YOKE_ERR_INTERRUPTED, "interrupted");
}

/* A blocking command ends when its client says more. */
static void end_early(yoke *y, enum yk_mode mode)
{
    const struct yoke_bytes ping = {.data = "PING", .len = 4};
    const struct yk_pending nobody = {.fn = NULL};

    /* Without memory for it the call is given up when patience ends. */
    if (mode != YK_PLAIN && yk_send(y, 1, &ping, &nobody) == 0)
        yk_flush(y);
}

/* When a call is to be given up that was begun then; NONE: it may last. */
static int64_t patience_ms(const yoke *y, enum yk_mode mode, int64_t begun)
{
    bool answers_soon = mode == YK_FETCH || mode == YK_SLICED ||
                        (mode == YK_PLAIN && yk_holds(y));

    return answers_soon && y->lease_ms > 0 && y->link == YK_UP
               ? yk_silent_ms(y, begun)
               : YOKE_NONE;
}

/* Poll until the reply is there: 0, or INTERRUPTED and the call is given up.
 * *woken says that an interrupt was taken meanwhile. */
static int await(yoke *y, const struct yk_call *call, enum yk_mode mode,
                 bool *woken)
{
    int64_t begun = yk_now_ms(), woken_until = 0;

    while (!call->over) {
        int64_t now = yk_now_ms();
        int64_t until = *woken ? woken_until : patience_ms(y, mode, begun);
        bool late = until != YOKE_NONE && now >= until;

        if (*woken && (late || y->link != YK_UP || yk_take_interrupt(y))) {
            yk_abandon_calls(y, mode == YK_FETCH);
            return yk_interrupted(y);
        }
        if (late) {
            int status = yk_silent(y, begun);

            if (status < 0)
                return status;
            continue;
        }
        if (!*woken && yk_take_interrupt(y)) {
            *woken = true;
            until = woken_until = now + YK_PATIENCE_MS;
            end_early(y, mode);
        }
        /* What ends the connection ends the call. */
        (void)yk_poll(y, until == YOKE_NONE ? YOKE_NONE : until - now);
    }
    return 0;
}

int yk_exchange(yoke *y, size_t argc, const struct yoke_bytes *argv,
                enum yk_mode mode, struct yoke_value **out)
{
    struct yk_call call = {.over = false};
    const struct yk_pending pending = {.call = &call};
    bool woken = false, earlier;
    int status = yk_check_idle(y);

    if (status < 0)
        return status;
    earlier = yk_take_interrupt(y);
    if (earlier && mode != YK_PLAIN)
        return yk_interrupted(y);
    status = yk_send(y, argc, argv, &pending);
    if (status < 0)
        return status;
    yk_flush(y);
    status = await(y, &call, mode, &woken);
    if (status < 0)
        return status;

    if (woken && call.status == 0 && mode != YK_PLAIN &&
        yk_value_empty(call.reply)) {
        yoke_value_free(call.reply);
        return yk_interrupted(y);
    }
    /* The answer was faster; the interrupt is for the next call then. */
    if (woken || earlier)
        atomic_store(&y->wake, true);
    if (out && call.status == 0)
        *out = call.reply;
    else
        yoke_value_free(call.reply);
    return call.status;
}

int yk_exchange_waiting(yoke *y, size_t argc, struct yoke_bytes *argv,
                        size_t at, int64_t wait_ms, enum yk_mode mode,
                        struct yoke_value **out)
{
    int64_t until = wait_ms < 0 ? YOKE_NONE : yk_now_ms() + wait_ms;

    for (;;) {
        int64_t left = YOKE_NONE, slice;
        struct yoke_value *v;
        char number[NUMBER_MAX];
        int len, status;

        if (until != YOKE_NONE)
            left = max_i64(0, until - yk_now_ms());
        slice = yk_slice_ms(y, left);
        len = snprintf(number, sizeof(number), "%" PRId64, slice);
        argv[at] = (struct yoke_bytes){.data = number, .len = (size_t)len};
        if (mode == YK_BLOCKS && (wait_ms == 0 || y->worker))
            mode = wait_ms == 0 ? YK_PLAIN : YK_SLICED;
        status = yk_exchange(y, argc, argv, mode, &v);
        if (status < 0)
            return status;
        if (slice == left || !yk_value_empty(v)) {
            *out = v;
            return 0;
        }
        yoke_value_free(v);
    }
}

/* ------------------------------------------------------------------ calls */

int yk_call(yoke *y, const struct yk_args *a, enum yk_mode mode,
            struct yoke_value **out)
{
    if (a->count > YK_ARGS_MAX)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "too many arguments");
    return yk_exchange(y, a->count, a->v, mode, out);
}

int yk_call_waiting(yoke *y, struct yk_args *a, size_t at, int64_t wait_ms,
                    struct yoke_value **out)
{
    if (a->count > YK_ARGS_MAX)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "too many arguments");
    if (wait_ms < YOKE_NONE || wait_ms > INT64_MAX / 4)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "a wait is 0 or more ms, or YOKE_NONE for ever");
    return yk_exchange_waiting(y, a->count, a->v, at, wait_ms, YK_BLOCKS, out);
}

int yk_bad_reply(yoke *y, const char *command, struct yoke_value *v)
{
    yoke_value_free(v);
    return yk_fail(y, YOKE_ERR_PROTOCOL,
                   "the reply to %s is not what the protocol says", command);
}

int yk_call_ok(yoke *y, const struct yk_args *a)
{
    struct yoke_value *v;
    int status = yk_call(y, a, YK_PLAIN, &v);

    if (status < 0)
        return status;
    if (strcmp(yk_value_text(v, ""), "OK") != 0)
        return yk_bad_reply(y, a->v[0].data, v);
    yoke_value_free(v);
    return 0;
}

int yk_call_id(yoke *y, const struct yk_args *a, enum yk_mode mode,
               char id[YOKE_ID_SIZE])
{
    struct yoke_value *v;
    int status = yk_call(y, a, mode, &v);

    if (status < 0)
        return status;
    if (!yk_value_id(v, id))
        return yk_bad_reply(y, a->v[0].data, v);
    yoke_value_free(v);
    return 0;
}

int yk_call_int(yoke *y, const struct yk_args *a, enum yk_mode mode,
                int64_t *out)
{
    struct yoke_value *v;
    int status = yk_call(y, a, mode, &v);

    if (status < 0)
        return status;
    if (v->kind != YOKE_INT)
        return yk_bad_reply(y, a->v[0].data, v);
    if (out)
        *out = v->i;
    yoke_value_free(v);
    return 0;
}

int yk_call_names(yoke *y, const struct yk_args *a, struct yoke_value **out)
{
    struct yoke_value *v;
    int status = yk_call(y, a, YK_PLAIN, &v);

    if (status < 0)
        return status;
    if (v->kind != YOKE_ARRAY)
        return yk_bad_reply(y, a->v[0].data, v);
    for (size_t i = 0; i < v->count; i++)
        if (v->items[i].kind != YOKE_STR)
            return yk_bad_reply(y, a->v[0].data, v);
    if (out)
        *out = v;
    else
        yoke_value_free(v);
    return 0;
}

int yoke_command(yoke *y, size_t argc, const struct yoke_bytes *argv,
                 struct yoke_value **out)
{
    return yk_exchange(y, argc, argv, YK_BLOCKS, out);
}

/* The words up to NULL; more than WORDS_MAX come out as none. */
static size_t collect(struct yoke_bytes words[WORDS_MAX], const char *first,
                      va_list ap)
{
    size_t n = 0;

    for (const char *w = first; w; w = va_arg(ap, const char *)) {
        if (n == WORDS_MAX)
            return 0;
        words[n++] = (struct yoke_bytes){.data = w, .len = strlen(w)};
    }
    return n;
}

int yoke_commandl(yoke *y, struct yoke_value **out, const char *arg0, ...)
{
    struct yoke_bytes words[WORDS_MAX];
    va_list ap;
    size_t n;

    va_start(ap, arg0);
    n = collect(words, arg0, ap);
    va_end(ap);
    return yoke_command(y, n, words, out);
}

/* ----------------------------------------------------------- asynchronous */

int yoke_send(yoke *y, size_t argc, const struct yoke_bytes *argv,
              yoke_reply_fn *fn, void *arg)
{
    return yk_send(y, argc, argv, &(struct yk_pending){.fn = fn, .arg = arg});
}

int yoke_sendl(yoke *y, yoke_reply_fn *fn, void *arg, const char *arg0, ...)
{
    struct yoke_bytes words[WORDS_MAX];
    va_list ap;
    size_t n;

    va_start(ap, arg0);
    n = collect(words, arg0, ap);
    va_end(ap);
    return yoke_send(y, n, words, fn, arg);
}

uint64_t yoke_last_request(const yoke *y)
{
    return y->requests;
}

/* Takes the request at this place of the ring back before it is written, as
 * long as nothing of it is; false: something is. */
static bool withdraw(yoke *y, size_t place)
{
    struct yk_pending *p = ring_at(y, place);
    size_t behind = 0, len = p->len;

    for (size_t i = y->ring_count; i-- > place + 1;)
        behind += ring_at(y, i)->len;
    /* A report that was meant to be made is made. */
    if (len == 0 || p->again == YK_REPORTS ||
        y->transport.held + len + behind > yoke_unsent(y))
        return false;
    memmove(y->out + y->out_len - behind - len, y->out + y->out_len - behind,
            behind);
    y->out_len -= len;
    p->len = 0;
    p->gone = true;
    if (p->subscribes) {
        p->subscribes = false;
        yk_confirmed(y, NULL);
    }
    return true;
}

/* Nothing that will be sent ends the wait that nobody waits for. */
static void end_forgotten(yoke *y)
{
    for (size_t i = y->ring_count; i-- > 0;) {
        const struct yk_pending *p = ring_at(y, i);

        if (p->gone || p->lost)
            continue;
        if (p->forgotten)
            end_early(y, YK_BLOCKS);
        return;
    }
}

/* Is it in the ring, and of yoke_send, and not forgotten? Those of await.c are
 * known by it alone. */
static bool can_forget(const yoke *y, uint64_t request, size_t *place)
{
    uint64_t oldest = y->requests - y->ring_count + 1;
    const struct yk_pending *p;

    if (request < oldest || request > y->requests)
        return false;
    *place = (size_t)(request - oldest);
    p = ring_at(y, *place);
    return !p->call && !p->ours && !p->gone && !p->forgotten;
}

int yoke_forget(yoke *y, uint64_t request, bool *unsent)
{
    struct yk_pending *p;
    size_t place;
    bool withdrawn;

    if (!can_forget(y, request, &place))
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "request %" PRIu64 " is not under way", request);
    p = ring_at(y, place);
    withdrawn = withdraw(y, place);
    if (!withdrawn && p->fetches && !p->lost)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "a FETCH that is written brings what must not be lost: "
                       "to end it send something, PING perhaps");
    if (!is_abandoned(p))
        y->abandoned++;
    p->fn = NULL;
    p->forgotten = !withdrawn;
    if (unsent)
        *unsent = withdrawn && !p->sent;
    while (y->ring_count > 0 && ring_at(y, 0)->gone)
        (void)ring_pop(y);
    end_forgotten(y);
    return 0;
}

int yoke_process(yoke *y)
{
    int status;

    if (y->in_callback)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "a callback may send, but not process");
    if (y->broken)
        return yk_fail(y, y->broken, "%s", y->broken_text);
    if (y->link != YK_UP) {
        status = yk_reconnect(y);
        if (status != 0 || y->link != YK_UP)
            return status < 0 ? status : 0;
    }
    yk_flush(y);
    status = yk_read(y);
    if (status == 0)
        status = yk_heartbeat(y);
    if (status != 0)
        return status < 0 ? status : 0;
    yk_await_ask(y);
    yk_flush(y); /* what the callbacks sent */
    return 0;
}

short yoke_events(const yoke *y)
{
    return yk_transport_events(&y->transport,
                               y->greeting_head < y->greeting_len ||
                                   (y->link == YK_UP && yoke_unsent(y) > 0));
}

size_t yoke_pending(const yoke *y)
{
    return y->ring_count - y->abandoned;
}

size_t yoke_unsent(const yoke *y)
{
    return y->out_len - y->out_head;
}
