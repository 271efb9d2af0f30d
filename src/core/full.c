/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * full - what goes on while the disk is full: nothing new, and what frees room
 * as long as the reserve lasts. Before that it is narrow: nothing new is taken
 * in, but what waits starts and ends, for that makes room.
 *
 * The table of events says which is which. What happens by itself (timers,
 * slices) ends something, and waits when the reserve is used up: core_work.
 */
#include "core/full.h"

#include "core/internal.h"
#include "core/line.h"
#include "core/queue.h"
#include "core/waiter.h"
#include "core/worker.h"

/* Some of its queues can be made now. */
static void ask_anew(struct core *c)
{
    list_foreach_safe (it, &c->all_clients) {
        struct waiter *w = list_entry(it, struct client, link)->waiter;

        if (w && w->anew)
            waiter_give_up(c, w);
    }
}

const char *full_text(const struct core *c)
{
    return c->disk_bounded ? "the journal cannot grow: [journal] disk-max is "
                             "reached"
                           : "the journal cannot grow: the disk is full";
}

/* Nothing starts meanwhile, so what is attended now is not then, and the other
 * way round. */
void full_set(struct core *c, const struct core_event *ev)
{
    bool on = ev->u.full.on, may = c->disk_narrow && !ev->u.full.narrow && !on;
    bool changed = c->disk_full != on;

    c->disk_full = on;
    c->disk_narrow = on || ev->u.full.narrow;
    c->disk_bounded = ev->u.full.bounded;
    c->room = ev->u.full.room;
    c->spared = ev->u.full.spared;
    if (!c->started)
        return;
    if (may)
        ask_anew(c);
    if (!changed)
        return;
    list_foreach (it, &c->queues) {
        struct queue *q = list_entry(it, struct queue, link);

        if (!on)
            queue_wake(c, q);
        line_left(c, q);
        line_attended(c, q);
    }
}

bool full_may_grow(struct core *c, struct client_id client)
{
    if (LIKELY(!c->disk_narrow) || (PLANTED(NARROW_TAKES) && !c->disk_full))
        return true;
    reply_error(c, client, CORE_ERR_DISKFULL, "%s", full_text(c));
    return false;
}

static const enum core_room rooms[] = {
#define X(id, room) [EVENT_##id] = ROOM_##room,
    CORE_EVENTS(X)
#undef X
};

/* What of the event itself is recorded. */
static size_t event_bytes(const struct core_event *ev)
{
    switch (ev->kind) {
    case EVENT_DONE:
        return ev->u.report.result.len;
    case EVENT_FAIL:
        return ev->u.report.class.len + ev->u.report.message.len +
               ev->u.report.detail.len;
    case EVENT_CANCEL:
        return ev->u.cancel.reason.len;
    default: /* nothing that the client chooses */
        return 0;
    }
}

/* What jobs report leaves some of the reserve to who cancels and purges: else
 * there would be no way out of a disk full of results. */
static int64_t event_room(const struct core *c, const struct core_event *ev)
{
    return ev->kind == EVENT_DONE || ev->kind == EVENT_FAIL
               ? c->room - c->spared
               : c->room;
}

bool full_allows(struct core *c, const struct core_event *ev)
{
    switch (rooms[ev->kind]) {
    case ROOM_NONE:
    case ROOM_SOME:
        break;
    case ROOM_GROWS:
        return full_may_grow(c, ev->client);
    case ROOM_FREES:
        if (event_room(c, ev) > (int64_t)event_bytes(ev))
            break;
        reply_error(c, ev->client, CORE_ERR_DISKFULL,
                    "not even the reserve of the journal has room for that; "
                    "nothing was changed, ask again when the disk has room");
        return false;
    }
    return true;
}
