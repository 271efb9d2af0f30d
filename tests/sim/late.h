/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * late - a store whose commits end when the world says so, and that can fail.
 *
 * Knows:     positions, which here count entries; the commit under way; what is
 *            asked for and not read yet; the journal behind it, if there is
 * one. Never:     what is in an entry. The world keeps them, and replays them.
 * Errors:    as a store: after late_fail nothing is appended or made durable.
 */
#ifndef SIM_LATE_H
#define SIM_LATE_H

#include "base/buf.h"
#include "store/store.h"

struct late_hooks {
    void (*appended)(void *arg, const void *data, size_t len);
    /* Where that entry lies; without a journal. */
    struct store_place (*place)(void *arg);
    /* The entry there; -ENOENT: it was trimmed, -EBADMSG: it is damaged.
     * Without a journal. */
    int (*find)(void *arg, struct store_place place, struct str *entry);
    /* As store_replay_some. */
    int (*replay)(void *arg, uint64_t most, store_replay_fn *fn, void *fn_arg);
    void (*trimmed)(void *arg, uint32_t segment);
    /* As store_scan does; `place` is that of what it stopped at. */
    int (*scan)(void *arg, size_t bytes, store_replay_fn *fn, void *fn_arg,
                size_t *got, struct store_place *place);
};

struct late {
    struct store base;
    const struct late_hooks *hooks;
    void *arg;
    struct store *journal; /* NULL: none; the world's */
    uint64_t target;       /* where the commit under way ends */
    bool at_once;          /* the next commit ends before it returns */
    bool ahead;  /* the journal syncs as a commit begins, and it is heard late;
                  * else as it ends, and it is heard at once */
    bool failed; /* for good */
    struct store_place scanned; /* where the last scan stopped at damage */
    struct buf asked;           /* struct store_place, in the order of asking */
    bool answers;               /* the first of them may be answered now */
    unsigned reads;             /* that were tried */
    bool put_off;               /* some of `asked` cannot be read for now */
};

/* A store with `entries` durable entries. Lends everything. */
void late_init(struct late *l, const struct late_hooks *hooks, void *arg,
               struct store *journal, uint64_t entries, uint32_t segment);
/* The commit under way, if any, has ended. */
void late_end(struct late *l);
/* It is closed; another one may be made. */
void late_clear(struct late *l);
/* The first read, if any, has ended. */
void late_answer(struct late *l);
/* So many are asked for and not answered. */
size_t late_asked(const struct late *l);
/* Every append and commit from now on fails, the one under way, too. */
void late_fail(struct late *l);

#endif
