/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pace - when a commit begins, where the end of a turn is not soon enough or
 * too soon.
 *
 * A sync costs the disk the same for one reply as for a hundred, and disks for
 * rent grant so many in a second and no more. Two cases are worth a wait:
 *
 *     a crowd   Those who are answered together ask again together, one after
 *               the other. A commit that begins with the first of them makes
 *               the others wait for two syncs. So it waits for those who were
 *               answered last, but no longer than a sync takes; when nobody has
 *               come, the next ones do not wait. Of two, as a producer and its
 *               worker, one is waited for a quarter as long: a worker that
 *               comes back at once gets what was submitted meanwhile with
 *               this sync, not with the next. Of a large crowd enough have
 *               come while the sync before was under way.
 *     at rest   Everybody whose replies the commit would release waits for
 *               something else already, as a worker does that reports its job
 *               and asks for the next one. Nobody could go on, so it waits for
 *               whoever comes next, for a moment.
 *
 * Threads:  none; the loop's.
 */
#ifndef YOKE_PACE_H
#define YOKE_PACE_H

#include <ev.h>

#include "server/ledger.h"

struct pace {
    struct ev_loop *loop;
    ev_timer timer;   /* ends a rest, when nothing else begins a turn */
    bool resting;     /* a commit waits for the timer */
    int64_t rest_us;  /* since then; 0 */
    int64_t wait_us;  /* since when one waits for a crowd; 0 */
    uint32_t missing; /* those of it that had not come then */
    uint32_t in_vain; /* so many commits are not to wait for one */
};

void pace_init(struct pace *p, struct ev_loop *loop);
void pace_clear(struct pace *p);

/* At the end of a turn that began at now_us (monotonic): is the next commit to
 * wait? Says so to the ledger. `hurry`: it is not. */
void pace_set(struct pace *p, struct ledger *l, int64_t now_us, bool hurry);

#endif
