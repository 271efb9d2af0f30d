/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ledger - the core and its store as one: what a step says is heard when it is
 * durable.
 *
 * Knows:     steps, their entries, the commit under way, who waits for it.
 * Never:     sockets, the loop, clocks, what a reply or a record means.
 * Threads:   none of its own; one caller.
 * Errors:    a store that has failed is final: the hook `failed` is called
 *            once, status is not 0, and nothing that waits is ever released.
 *
 * A turn is any number of steps and one ledger_commit. What the steps say goes
 * at once into the output of its reader, as bytes that nobody may see yet, and
 * is released when everything that was appended before the end of its turn is
 * durable. While a commit is under way the turns go on; what they say belongs
 * to the next one.
 *
 *     step -> hook reply, news -> ledger_hold      touched
 *     ledger_commit                                touched -> flight
 *     the store is done, ledger_commit             flight  -> hook release
 *
 * Compaction goes on with the commits, and by itself when nothing else does: as
 * long as the journal is longer than what lives in it justifies, the oldest of
 * it is read, for each byte that was appended so many, and the core writes
 * again what it still needs of it.
 *
 * Order of calls: ledger_init, ledger_replay to its end, ledger_start once,
 * then steps, commits and ledger_tick in any order, ledger_clear. What the core
 * has to know about the store (a new segment, no room) it hears before the next
 * step.
 */
#ifndef YOKE_LEDGER_H
#define YOKE_LEDGER_H

#include "base/list.h"
#include "core/core.h"
#include "store/store.h"

struct ledger;

/* Who has an output of its own; embedded in an object of its owner. Its two
 * lists are: something was said since the last commit, and before the one under
 * way (up to flight_end of the output). It can be in both. */
struct ledger_reader {
    struct list touched, flight;
    uint64_t flight_end;
    bool held;            /* something of the core's is among it */
    uint64_t last_flight; /* that it was in */
};

struct ledger_hooks {
    /* The core's answer to a client, in ledger->effects.values: goes to its
     * output, then ledger_hold. No step from here. */
    void (*reply)(struct ledger *l, const struct core_effect *effect);
    /* News for those who watch, likewise. */
    void (*news)(struct ledger *l, const struct core_effect *effect);
    /* The connection of a client is to be closed; may step. */
    void (*cut)(struct ledger *l, struct client_id client);
    /* What telling the news of one event costs now, as EVENT_WATCH has it. */
    int64_t (*watched)(struct ledger *l);
    /* For the jitter of events that come from here. */
    uint64_t (*random)(struct ledger *l);
    /* Where the output of a reader ends now; it only grows. */
    uint64_t (*output_end)(const struct ledger_reader *r);
    /* Its reader waits for something else that it has asked for. */
    bool (*waits)(const struct ledger_reader *r);
    /* What lies before `end` may be seen. May step. */
    void (*release)(struct ledger_reader *r, uint64_t end);
    /* The store is narrow or full, or is so no more; the core is told next. No
     * step. */
    void (*full)(struct ledger *l);
    /* A payload cannot be read now, and is tried again; `why` is empty if
     * others were before. No step. */
    void (*put_off)(struct ledger *l, struct str why);
    /* Compaction has met what is damaged or cannot be read; `text` says where.
     * What is in memory is whole, and all of that segment is written again. Or
     * that could not be done (`ends`): then the journal is not shortened any
     * more. */
    void (*damaged)(struct ledger *l, const char *text, bool ends);
    /* Once, perhaps in the middle of a step; no step from here. */
    void (*failed)(struct ledger *l, int rc, const char *text);
};

struct ledger {
    const struct ledger_hooks *hooks;
    struct core *core;
    struct store *store; /* lent */
    struct core_effects effects;
    int64_t now_ms;    /* of the next step; the owner sets it */
    int status;        /* 0, or -errno after the store has failed */
    uint64_t replayed; /* entries */

    struct list touched, flight;
    uint64_t flight_pos;        /* where the commit under way ends */
    uint64_t trim_pos;          /* when that is durable ... */
    uint32_t trim_segment;      /* ... this may be trimmed; 0: nothing */
    uint32_t segment;           /* as the core knows it */
    bool narrow, full, bounded; /* likewise */
    uint64_t room;   /* of the narrow disk, when that was last looked at */
    int64_t watched; /* likewise */
    bool stepping;   /* the core or its effects are in use */

    struct ledger_compaction {
        int64_t pace;     /* sixteenths of a byte read for each that is
                           * appended, ... */
        uint32_t paced;   /* ... as long as this is the oldest segment */
        bool on;          /* there is too much */
        uint32_t bad;     /* segment that cannot be read; 0: none */
        size_t heal_at;   /* for core_heal */
        bool healed;      /* something was written since heal_at was 0 */
        bool damaged;     /* that was no use */
        int64_t unlooked; /* bytes appended since that was looked at */
        int64_t live;     /* bytes that lived then */
        int64_t credit;   /* bytes that may be read now */
        uint64_t mark;    /* `written` when there was last not too much */
        int64_t rest;     /* bytes to come or die before it is on again */
        int64_t spared;   /* bytes of the reserve of a full disk */
        bool worth;       /* ... that the rest of has room for what lives in
                           * the oldest segment */
        uint64_t written; /* bytes so far */
    } compaction;

    uint64_t batches;   /* that were handed to the store so far */
    size_t batch_bytes; /* appended since the last of them */
    uint64_t flights;   /* that somebody was in */
    size_t answered;    /* readers in the last of them, */
    size_t crowd;       /* and in the last two */
    bool patient;       /* no commit begins; the owner sets it */
};

/* Lends the hooks and the store, which is open and not replayed. */
void ledger_init(struct ledger *l, const struct ledger_hooks *hooks,
                 const struct core_limits *limits, struct store *store);
void ledger_clear(struct ledger *l);

/*
 * Replays about `most` bytes of the store into the core. 1: there may be more,
 * call again. 0: that was all. -errno: it is no use, with a text for the
 * administrator; status says so, too.
 */
int ledger_replay(struct ledger *l, uint64_t most, char text[STORE_TEXT_MAX]);

/* The first step: EVENT_START with that chance, at now_ms. */
void ledger_start(struct ledger *l, uint64_t random);

/* One event at now_ms; sets its time. Its records are appended, what it says
 * is held. */
void ledger_step(struct ledger *l, struct core_event *ev);

/* The end of a turn: hands over what was appended, releases what is durable. */
void ledger_commit(struct ledger *l);

/* How many of those that were answered last have said nothing since: a commit
 * that began now would make them wait for the one after it. 0 when none would
 * begin, they are no crowd, or it is large already. */
size_t ledger_missing(const struct ledger *l);

/* A commit could begin, is small, and all whom it would tell something wait for
 * something else: nobody could go on. */
bool ledger_at_rest(const struct ledger *l);

/* Looks what the store has done meanwhile, when its fd is readable. What is
 * durable by now leaves with the next commit. */
void ledger_tick(struct ledger *l);
/* The same once a second, whatever else happens. */
void ledger_second(struct ledger *l);

/* Would a commit now get on with something, without a tick before? */
bool ledger_has_work(const struct ledger *l);

/* Is what somebody may be waiting for still on its way to the disk? */
static inline bool ledger_in_flight(const struct ledger *l)
{
    return l->store->durable < l->flight_pos;
}

void ledger_reader_init(struct ledger_reader *r);
/* It goes, and with it what it has not been told. */
void ledger_reader_clear(struct ledger_reader *r);

/* Something came to its output that must not be seen before the records so
 * far are durable ... */
void ledger_hold(struct ledger *l, struct ledger_reader *r);
/* ... or that waits for nothing but the end of the turn, unless something else
 * of its reader's is held. */
void ledger_touch(struct ledger *l, struct ledger_reader *r);

#endif
