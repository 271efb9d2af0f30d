/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loop - a handle in somebody else's loop.
 *
 * After each turn the loop is told what is to be watched now, if that has
 * changed. Between turns only a request that is sent can change it, and that
 * asks for a turn at once: so nothing is missed, wherever it is sent from, and
 * what is sent by one callback of the program goes out in one write.
 */
#include "client/client.h"

static bool is_attached(const yoke *y)
{
    return y->loop.watch != NULL;
}

int yoke_attach(yoke *y, const struct yoke_loop *loop, void *data,
                yoke_ended_fn *ended, void *arg)
{
    if (is_attached(y))
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "the handle is attached to a loop already");
    if (loop->time(data, 0) < 0)
        return yk_nomem(y);
    y->loop = *loop;
    y->loop_data = data;
    y->ended = ended;
    y->ended_arg = arg;
    y->watched = 0;
    y->anew = yoke_fd_changes(y);
    y->timed = y->wanted = true;
    return 0;
}

void yoke_detach(yoke *y)
{
    struct yoke_loop loop = y->loop;

    y->loop = (struct yoke_loop){.watch = NULL};
    if (loop.watch)
        loop.release(y->loop_data);
}

int yk_want_turn(yoke *y)
{
    if (!is_attached(y) || y->wanted)
        return 0;
    if (y->loop.time(y->loop_data, 0) < 0)
        return YOKE_ERR_NOMEM;
    y->timed = y->wanted = true;
    return 0;
}

bool yk_close_later(yoke *y, enum yk_closing how)
{
    yoke_detach(y);
    if (!y->turning)
        return false;
    y->closing = (uint8_t)how;
    return true;
}

/* Tells the loop what has changed; false: it has no memory for that. */
static bool follow(yoke *y)
{
    bool anew = y->anew != yoke_fd_changes(y);
    short events = yoke_events(y);
    int64_t ms = yoke_timeout_ms(y);

    y->wanted = false;
    if ((anew || events != y->watched) &&
        y->loop.watch(y->loop_data, yoke_fd(y), events, anew) < 0)
        return false;
    y->anew = yoke_fd_changes(y);
    y->watched = events;
    if ((y->timed || ms != YOKE_NONE) && y->loop.time(y->loop_data, ms) < 0)
        return false;
    y->timed = ms != YOKE_NONE;
    return true;
}

/* Freed after its callbacks, if one of them has closed it: true. */
static bool is_closed(yoke *y)
{
    enum yk_closing how = (enum yk_closing)y->closing;

    if (how == YK_CLOSES)
        yoke_close(y);
    else if (how == YK_ABANDONS)
        yoke_abandon(y);
    return how != YK_STAYS;
}

void yoke_turn(yoke *y)
{
    yoke_ended_fn *ended;
    int status;

    /* A loop that runs within a callback goes on without the handle. */
    if (!is_attached(y) || y->turning || y->in_callback)
        return;
    y->turning = true;
    y->wanted = true; /* what is sent meanwhile is seen below */
    status = yoke_process(y);
    if (status == 0 && is_attached(y) && !follow(y))
        status = yk_end(y, YOKE_ERR_NOMEM,
                        "the program's loop has no memory for the handle");
    y->turning = false;
    if (is_closed(y) || status == 0 || !is_attached(y))
        return;
    ended = y->ended;
    yoke_detach(y);
    if (ended)
        ended(y, status, y->ended_arg);
}
