/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lease - what a handle that holds jobs does so that it knows in time when they
 * are not its own any more.
 *
 *     |── a request that is answered          the lease begins
 *     |     |── L/6  the next slice of a FETCH
 *     |     |── L/5  or, from yoke_process, a PING
 *     |             |── L/2  nothing was answered: the connection is given up
 *     |                 |── 2L/3  and so is the handle: its jobs are stopped
 *     |                            |── L  they may be given to others
 *
 * The clock is the one that goes on while the machine sleeps: the daemon's did.
 * Whoever waits by a clock that stood still is woken a second later.
 */
#include "client/client.h"

#include <inttypes.h>
#include <time.h>

#define LOOK_MS 1000 /* at least so often a holder looks at the clock */

int64_t yk_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail */
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool yk_holds(const yoke *y)
{
    /* What is held is known where requests are kept. */
    return y->lease_ms > 0 && (y->retain ? yk_held_any(y) : y->worker);
}

int64_t yk_give_up_ms(const yoke *y)
{
    return y->alive_ms + y->lease_ms / 3 * 2;
}

bool yk_came_late(const yoke *y)
{
    return y->lease_ms > 0 && yk_now_ms() >= yk_give_up_ms(y);
}

int64_t yk_slice_ms(const yoke *y, int64_t wait_ms)
{
    int64_t slice = y->lease_ms / (yk_holds(y) ? 6 : 3);

    if (!y->worker || y->lease_ms <= 0)
        return wait_ms;
    slice = max_i64(1, slice);
    return wait_ms < 0 || wait_ms > slice ? slice : wait_ms;
}

int64_t yk_silent_ms(const yoke *y, int64_t asked_ms)
{
    asked_ms = max_i64(asked_ms, y->up_at_ms); /* what is asked again */
    if (!yk_holds(y))
        return asked_ms + y->lease_ms / 3 * 2;
    /* Who has said nothing for long is given time to be answered. */
    return max_i64(y->alive_ms + y->lease_ms / 2, asked_ms + y->lease_ms / 4);
}

int yk_silent(yoke *y, int64_t asked_ms)
{
    return yk_break(y, YOKE_ERR_IO,
                    "yoked has not answered for %" PRId64
                    " ms: the lease is at risk",
                    yk_now_ms() - asked_ms);
}

int64_t yk_look_ms(const yoke *y)
{
    return yk_holds(y) ? LOOK_MS : YOKE_NONE;
}

/* Until then what was asked first should have been answered, or NONE. */
static int64_t silent_ms(const yoke *y)
{
    const struct yk_pending *first = &y->ring[y->ring_head];

    if (!y->retain || y->lease_ms <= 0 || y->ring_count == 0 ||
        !(first->soon || yk_holds(y)))
        return YOKE_NONE;
    return yk_silent_ms(y, first->sent_ms);
}

int yk_heartbeat(yoke *y)
{
    const struct yoke_bytes ping = {.data = "PING", .len = 4};
    const struct yk_pending nobody = {.fn = NULL};
    int64_t now = yk_now_ms(), silent = silent_ms(y);

    if (silent != YOKE_NONE && now >= silent)
        return yk_silent(y, y->ring[y->ring_head].sent_ms);
    if (!y->retain || !yk_holds(y) || now < y->said_ms + y->lease_ms / 5)
        return 0;
    y->said_ms = now; /* without memory for it, the next one is in time */
    (void)yk_send(y, 1, &ping, &nobody);
    return 0;
}

int64_t yk_heartbeat_ms(const yoke *y)
{
    int64_t silent = silent_ms(y), now = yk_now_ms();

    if (!y->retain || !yk_holds(y))
        return silent == YOKE_NONE ? YOKE_NONE : max_i64(0, silent - now);
    /* That nobody answers may be seen a look later than it is so. */
    return max_i64(0, min_i64(y->said_ms + y->lease_ms / 5 - now, LOOK_MS));
}

int64_t yoke_lease_ms(const yoke *y)
{
    return y->lease_ms;
}

int64_t yoke_lease_left_ms(const yoke *y)
{
    if (y->lease_ms <= 0)
        return YOKE_NONE;
    return max_i64(0, y->alive_ms + y->lease_ms - yk_now_ms());
}
