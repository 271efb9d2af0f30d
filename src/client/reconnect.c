/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reconnect - from an address to a session, and from a connection that broke to
 * the same session on another one.
 *
 *           open ──> CONNECTING ──> GREETING ──> UP
 *                       │  ^            │         │
 *                failed │  │ time       │ failed  │ broke
 *                       v  │            v         │
 *                      WAITING <──────────────────┘
 *
 * GREETING: HELLO, SESSION RESUME, and RELEASE for what came in a reply that
 * was lost; then the requests without an answer, in their order. The first
 * connection says HELLO alone, and ends the handle where others wait for the
 * next attempt (connection.c). Nothing here waits: each step does what can be
 * done now, and yoke_timeout_ms says when it is to be looked at again.
 */
#include "client/client.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

#define BACKOFF_MS     25 /* doubles; the first attempt is at once */
#define BACKOFF_MAX_MS 1000

static uint32_t chance(yoke *y)
{
    y->random = y->random * UINT64_C(6364136223846793005) +
                UINT64_C(1442695040888963407);
    return (uint32_t)(y->random >> 33);
}

/* Half to one and a half times the back-off, so that not all come at once. */
static int64_t delay_ms(yoke *y)
{
    int64_t ms = BACKOFF_MS;

    if (y->tries == 0)
        return 0;
    for (unsigned i = 1; i < y->tries && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = min_i64(ms, BACKOFF_MAX_MS);
    return ms / 2 + chance(y) % (ms + 1);
}

/* ------------------------------------------------------------------ losing */

/* What may be asked again closes up; what may not stays in the ring without
 * its bytes, so that everybody is called back in order. */
static void close_up(yoke *y)
{
    size_t from = y->out_base, to = 0;

    for (size_t i = 0; i < y->ring_count; i++) {
        struct yk_pending *p = &y->ring[(y->ring_head + i) & (y->ring_cap - 1)];
        size_t len = p->len;

        p->sent |= from < y->out_head;
        if (p->sent && p->again == YK_NEVER) {
            p->lost = true;
            p->len = 0;
        } else if (len > 0) {
            memmove(y->out + to, y->out + from, len);
            to += len;
        }
        from += len;
    }
    y->out_base = y->out_head = 0;
    y->out_len = to;
}

bool yk_may_reconnect(const yoke *y, int status)
{
    /* What was published meanwhile would be missing without a word; but a
     * connection that is not there yet has been subscribed to nothing. */
    bool listens = y->listening && y->link == YK_UP;

    return y->reconnect_ms > 0 && !yk_opening(y) && !listens &&
           (status == YOKE_ERR_IO || status == YOKE_ERR_LIMIT ||
            status == YOKE_ERR_LOADING);
}

/* When it is of no use any more: the user's patience is over, or what the
 * handle holds must be stopped before it may be given to others. */
static int64_t give_up_ms(const yoke *y, int64_t now)
{
    int64_t until = now + y->reconnect_ms;

    if (y->lease_ms > 0 && yk_held_any(y))
        until = min_i64(until, yk_give_up_ms(y));
    return until;
}

static void drop_greeting(yoke *y)
{
    free(y->greeting);
    y->greeting = NULL;
    y->greeting_head = y->greeting_len = y->greeting_replies = 0;
}

/* Takes the place of a reader that may have half a reply. */
static bool new_reader(yoke *y)
{
    struct redisReader *reader = yk_reader_new();

    if (!reader)
        return false;
    yk_reader_free(y->reader);
    y->reader = reader;
    y->send_errno = 0;
    y->cut_short = false;
    return true;
}

static void attempt_failed(yoke *y, int64_t now)
{
    y->link = YK_WAITING;
    y->tries++;
    y->retry_at_ms = min_i64(now + delay_ms(y), y->give_up_at_ms);
}

int yk_lose(yoke *y, const char *why)
{
    int64_t now = yk_now_ms();
    bool fresh = y->link == YK_UP;

    (void)snprintf(y->lost_text, sizeof(y->lost_text), "%.400s", why);
    drop_greeting(y);
    if (yk_transport_park(&y->transport) < 0 || !new_reader(y))
        return yk_end(y, YOKE_ERR_NOMEM,
                      "%s; nothing is left to connect again with", why);
    if (!fresh) {
        attempt_failed(y, now);
        return YK_LOST;
    }
    /* A connection that breaks again before it was of any use is no new
     * beginning. */
    if (y->answered || now - y->up_at_ms > y->reconnect_ms) {
        y->tries = 0;
        y->give_up_at_ms = give_up_ms(y, now);
    }
    y->answered = false;
    y->link = YK_WAITING;
    y->retry_at_ms = min_i64(now + delay_ms(y), y->give_up_at_ms);
    y->tries++;
    close_up(y);
    yk_drop_lost(y);
    return YK_LOST;
}

/* ---------------------------------------------------------------- greeting */

static bool greeting_add(yoke *y, size_t argc, const struct yoke_bytes *argv)
{
    size_t size = yk_request_size(argc, argv);
    char *grown = yk_resize(y->greeting, y->greeting_len + size, 1);

    if (!grown)
        return false;
    y->greeting = grown;
    y->greeting_len += yk_request_write(grown + y->greeting_len, argc, argv);
    y->greeting_replies++;
    return true;
}

static struct yoke_bytes text(const char *s)
{
    return (struct yoke_bytes){.data = s, .len = strlen(s)};
}

static int greet(yoke *y)
{
    const struct yoke_bytes resume[] = {text("SESSION"), text("RESUME"),
                                        text(y->session)};
    struct yk_args hello;

    yk_password_again(y);
    yk_args_hello(&hello, y->password, y->name);
    if (!greeting_add(y, hello.count, hello.v) ||
        (!yk_opening(y) && !greeting_add(y, 3, resume)))
        return yk_end(y, YOKE_ERR_NOMEM, "out of memory");
    y->link = YK_GREETING;
    if (yk_opening(y))
        y->attempt_until_ms = y->open_until_ms;
    y->greeting_step = 0;
    y->greeted_at_ms = yk_now_ms();
    return 0;
}

static void up(yoke *y)
{
    y->link = YK_UP;
    y->up_at_ms = yk_now_ms();
    y->alive_ms = y->greeted_at_ms;
    yk_await_again(y);
}

static int said_hello(yoke *y, int status, struct yoke_value *v)
{
    char why[YK_TEXT_MAX];

    if (status < 0) {
        memcpy(why, y->text, sizeof(why));
        return yk_break(y, status, "%s", why);
    }
    if (!yk_value_to_map(v) ||
        !yk_value_id(yoke_value_get(v, "session"), y->new_session))
        return yk_end(y, YOKE_ERR_PROTOCOL,
                      "%s is not a yoked: its HELLO names no session",
                      y->where);
    y->lease_ms = yk_map_int(v, "lease", 0);
    if (yk_opening(y)) {
        memcpy(y->session, y->new_session, sizeof(y->session));
        y->answered = true;
        yk_opened(y);
        up(y);
    }
    return 0;
}

/* It lives on. What came in a reply that was lost is given back. */
static int resumed(yoke *y, const struct yoke_value *tokens)
{
    const char *missing;

    if (tokens->kind != YOKE_ARRAY)
        return yk_end(y, YOKE_ERR_PROTOCOL,
                      "the reply to SESSION RESUME is not what the protocol "
                      "says");
    missing = yk_held_missing(y, tokens);
    if (missing)
        return yk_end(y, YOKE_ERR_NOSESSION,
                      "NOSESSION the session holds %s no more: what runs of "
                      "its jobs is to be stopped",
                      missing);
    for (size_t i = 0; i < tokens->count; i++) {
        const struct yoke_bytes release[] = {text("RELEASE"),
                                             tokens->items[i].s};

        if (tokens->items[i].kind != YOKE_STR ||
            yk_held_knows(y, release[1].data))
            continue;
        if (!greeting_add(y, 2, release))
            return yk_end(y, YOKE_ERR_NOMEM, "out of memory");
    }
    up(y);
    return 0;
}

/* Would anything be lost, or done twice, with another session? Reports are not:
 * a session goes when the last one has arrived, and the answer to it is lost.
 */
static bool session_matters(const yoke *y)
{
    if (y->owns || yk_held_any(y))
        return true;
    for (size_t i = 0; i < y->ring_count; i++) {
        const struct yk_pending *p =
            &y->ring[(y->ring_head + i) & (y->ring_cap - 1)];

        if (p->again == YK_NUMBERED && p->sent)
            return true;
    }
    return false;
}

static int not_resumed(yoke *y)
{
    char why[YK_TEXT_MAX];

    if (session_matters(y)) {
        (void)snprintf(why, sizeof(why), "%.300s", y->text);
        return yk_end(y, YOKE_ERR_NOSESSION,
                      "the session is gone, its groups are cancelled and its "
                      "jobs are given to others; what had no answer may have "
                      "been done (%s)",
                      why);
    }
    memcpy(y->session, y->new_session, sizeof(y->session));
    up(y);
    return 0;
}

int yk_greeting_reply(yoke *y, int status, struct yoke_value *v)
{
    y->greeting_replies--;
    switch (y->greeting_step++) {
    case 0:
        return said_hello(y, status, v);
    case 1:
        return status < 0 ? not_resumed(y) : resumed(y, v);
    default: /* RELEASE: it was ours, or is no more */
        return 0;
    }
}

/* ------------------------------------------------------------------- steps */

/* The daemon cannot be reached in this way. */
static int failed(yoke *y, int error)
{
    char words[128];

    return yk_opening(y) ? yk_dial_failed(y, error)
                         : yk_lose(y, yk_transport_why(&y->transport, error,
                                                       words, sizeof(words)));
}

static int dial_again(yoke *y, int64_t now)
{
    int error = -yk_transport_connect(
        &y->transport, (const struct sockaddr *)&y->address, y->address_len);

    if (error)
        return failed(y, error);
    y->link = YK_CONNECTING;
    y->attempt_until_ms = min_i64(now + y->connect_timeout_ms,
                                  max_i64(y->give_up_at_ms, now + 1));
    return 0;
}

/* 0 when it is connected, greeted; or it is waited for. */
static int connecting(yoke *y)
{
    int error = -yk_transport_step(&y->transport);

    if (error == EAGAIN)
        return 0;
    return error ? failed(y, error) : greet(y);
}

static int too_late(yoke *y)
{
    if (!yk_opening(y))
        return yk_lose(y, "no answer in time");
    if (y->link == YK_CONNECTING)
        return yk_dial_failed(y, ETIMEDOUT);
    return yk_end(y, YOKE_ERR_CONNECT,
                  "%s has not answered within %" PRId64 " ms", y->where,
                  y->connect_timeout_ms);
}

static int give_up(yoke *y)
{
    char why[sizeof(y->lost_text)];

    memcpy(why, y->lost_text, sizeof(why));
    return yk_end(y, YOKE_ERR_IO,
                  "the connection to yoked broke and could not be restored in "
                  "time: %s",
                  why);
}

static int try_again(yoke *y)
{
    int64_t now = yk_now_ms();

    if (!yk_opening(y) && now >= y->give_up_at_ms)
        return give_up(y);
    if (now < y->retry_at_ms)
        return 0;
    return yk_opening(y) ? yk_dial(y) : dial_again(y, now);
}

int yk_reconnect(yoke *y)
{
    int status = y->link == YK_WAITING ? try_again(y) : 0;

    if (status == 0 && y->link == YK_CONNECTING)
        status = connecting(y);
    if (status == 0 && y->link == YK_GREETING) {
        yk_flush(y);
        status = yk_read(y);
    }
    if (status == 0 && (y->link == YK_CONNECTING || y->link == YK_GREETING) &&
        yk_now_ms() >= y->attempt_until_ms)
        status = too_late(y);
    if (status == 0 && y->link == YK_UP)
        yk_flush(y);
    return status;
}

int64_t yoke_timeout_ms(const yoke *y)
{
    int64_t at = y->link == YK_WAITING ? y->retry_at_ms : y->attempt_until_ms;

    if (y->broken)
        return YOKE_NONE;
    if (yk_transport_pending(&y->transport))
        return 0; /* the descriptor does not tell */
    if (yk_await_due(y))
        return 0;
    if (y->link == YK_UP)
        return yk_heartbeat_ms(y);
    return max_i64(0, at - yk_now_ms());
}

bool yoke_connected(const yoke *y)
{
    return !y->broken && y->link == YK_UP;
}

unsigned yoke_fd_changes(const yoke *y)
{
    return y->transport.changes;
}
