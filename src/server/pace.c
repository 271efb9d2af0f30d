/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/pace.h"

/* A crowd is waited for only where a sync takes no longer than that: a slow
 * disk lets enough gather by itself. */
#define CROWD_SYNC_US 2000
/* Of two, one is waited for no longer than such a part: who does not come back
 * at once does something else first. */
#define PAIR_PART 4
/* When that was in vain, so many commits after it do not wait. */
#define IN_VAIN 15
/* A rest; a report reaches the disk that much later at most. */
#define REST_US 1000

/* The turn that it begins is all that is wanted. */
static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

void pace_init(struct pace *p, struct ev_loop *loop)
{
    *p = (struct pace){.loop = loop};
    ev_timer_init(&p->timer, on_timer, 0., 0.);
}

void pace_clear(struct pace *p)
{
    ev_timer_stop(p->loop, &p->timer);
}

static bool wait_for_crowd(struct pace *p, const struct ledger *l,
                           int64_t now_us)
{
    int64_t sync_us = l->store->sync_us;
    size_t missing = sync_us <= CROWD_SYNC_US ? ledger_missing(l) : 0;

    if (p->wait_us == 0) {
        if (missing == 0)
            return false;
        if (p->in_vain > 0) {
            p->in_vain--;
            return false;
        }
        p->wait_us = now_us;
        p->missing = (uint32_t)missing;
        return true;
    }
    if (missing > 0 &&
        now_us - p->wait_us < (l->crowd > 2 ? sync_us : sync_us / PAIR_PART))
        return true;
    p->in_vain = missing >= p->missing ? IN_VAIN : 0;
    p->wait_us = 0;
    return false;
}

static bool rest(struct pace *p, const struct ledger *l, int64_t now_us)
{
    if (!ledger_at_rest(l)) {
        p->rest_us = 0;
        return false;
    }
    if (p->rest_us == 0)
        p->rest_us = now_us;
    return now_us - p->rest_us < REST_US;
}

void pace_set(struct pace *p, struct ledger *l, int64_t now_us, bool hurry)
{
    bool waits = l->store->sync_us > 0 && !hurry;

    p->resting = waits && rest(p, l, now_us);
    l->patient = p->resting || (waits && wait_for_crowd(p, l, now_us));
    if (p->resting == ev_is_active(&p->timer))
        return;
    ev_timer_stop(p->loop, &p->timer);
    if (p->resting) {
        ev_timer_set(&p->timer, REST_US / 1e6, 0.);
        ev_timer_start(p->loop, &p->timer);
    }
}
