/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watcher - one who is told everything, and what may be told when.
 *
 * A job is accepted first and ends last, each once; its attempts begin in
 * order, and progress, cancels and the like are of the one that has begun. A
 * group opens first and ends last, and after that nothing concerns it. Nothing
 * is told while nobody watches.
 */
#ifndef YOKE_SIM_WATCHER_H
#define YOKE_SIM_WATCHER_H

#include "view.h"

struct watched {
    uint64_t id;
    int64_t attempt; /* the last one that was told */
    bool ended;
};

struct watcher {
    bool on;
    struct watched *list; /* jobs and groups, newest last */
    size_t len, cap;
    uint64_t told;
};

/* After a start: what was told before is forgotten. */
void watcher_reset(struct watcher *w, bool on);
void watcher_clear(struct watcher *w);
/* One value of EFFECT_NEWS. */
void watcher_told(struct watcher *w, const struct node *news);

#endif
