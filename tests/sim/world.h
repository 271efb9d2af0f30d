/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world - a daemon without a network: ledger, model, store, clock, crashes.
 *
 * Knows:     steps, records, what is durable, which replies may be seen.
 * Never:     what clients want (actors.c).
 *
 * One step is an event and the ticks that are due at once. Its replies are
 * checked by the model at once, and delivered to the clients when the ledger
 * releases them, which must not be before the records so far are durable. A
 * store is late, and may fail shortly before a crash. A crash goes back to any
 * entry at or past the last durable one; the model goes back with it.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "disk.h"
#include "late.h"
#include "model.h"
#include "server/ledger.h"
#include "watcher.h"

#define WORLD_SNAPSHOTS  16
#define WORLD_DELIVERIES 2048
#define WORLD_READERS    32
#define WORLD_REPLIES    64 /* in one step */

struct world_entry {
    char *data;
    size_t len;
    struct store_place place;
    bool says_nothing_new; /* it came from compaction */
    bool damaged;          /* it cannot be read; until a crash */
    uint64_t digest;       /* of the core after it; kept when a crash is near */
};

struct world_snapshot {
    size_t entries;
    struct model *model;
};

enum delivery_kind {
    DELIVERY_JOB,     /* a submit was accepted */
    DELIVERY_GROUP,   /* a group was opened */
    DELIVERY_SESSION, /* here is a session */
    DELIVERY_NO_SESSION,
    DELIVERY_TOKEN,
    DELIVERY_ASKED,  /* a cancel notice */
    DELIVERY_MEMBER, /* of a page of GROUP NEXT; id */
    DELIVERY_CURSOR, /* the page's cursor, attempt: over */
    DELIVERY_ERRORS, /* a page of GROUP ERRORS; cursor, attempt: over */
    DELIVERY_END,    /* the request is answered */
};

struct delivery {
    enum delivery_kind kind;
    enum core_event_kind event; /* what was asked */
    uint64_t client, id;
    uint32_t attempt;
    char cursor[40];
    size_t place;   /* its reply is that one to the client */
    size_t entries; /* there were so many when it was made, its own included */
    bool visible;
};

/* What a connection is told: replies, counted. */
struct world_reader {
    struct world *world;
    uint64_t client; /* 0: free */
    struct ledger_reader reader;
    size_t said;
};

struct world {
    uint64_t seed, random;
    int64_t now;
    uint64_t steps;
    bool crashes, journal;
    bool thorough;  /* compares everything after each step */
    bool uncertain; /* a crash is near: each entry may be the last */
    int hasty; /* how often, in percent, the next event does not wait for the
                * ticks that are due */
    int round; /* how many chains, in percent, come back to their queue */
    bool compacting;
    uint64_t turns;
    uint64_t compact_random;
    int compacts;   /* how often, in percent, a turn compacts */
    int damages;    /* how often, in thousandths, what is read is damaged */
    size_t scanned; /* the next entry that compaction looks at */
    int ticks;      /* that were due at once, since it did not wait for more */
    struct core_limits limits;
    struct late late;
    struct ledger ledger;
    struct core *core; /* the ledger's */
    struct arena arena;
    struct model_eyes eyes;
    struct model *model;
    struct world_entry *entries;
    size_t nentries, entries_cap;
    size_t first;     /* entries before it are not replayed any more */
    size_t read;      /* entries before it are replayed already */
    uint32_t segment; /* as the core knows it */
    size_t segment_entries, segment_full; /* it rolls at so many entries */
    bool rolled;      /* in this step entries went to another segment, ... */
    size_t roll_from; /* ... from this one on, and ... */
    uint64_t roll_newest; /* ... this was the newest job */
    struct world_snapshot snapshots[WORLD_SNAPSHOTS];
    int nsnapshots;
    struct delivery deliveries[WORLD_DELIVERIES];
    int ndeliveries;
    struct world_reader readers[WORLD_READERS];
    struct model_reply replies[WORLD_REPLIES]; /* of this step, and .. */
    size_t places[WORLD_REPLIES];        /* .. their delivery's place .. */
    size_t reply_entries[WORLD_REPLIES]; /* .. and entries */
    size_t nreplies;
    enum core_event_kind asked[MODEL_CLIENTS]; /* by slot of the model */
    uint64_t cut; /* the client that the last step cut off; 0: none */
    struct watcher watcher;
    struct disk *disk;
    struct store *store;
    bool over; /* a crash in the middle of a step: nothing to compare with */
    uint64_t crashes_done, replayed;
    uint64_t answers; /* a digest of all replies and records so far */
};

void world_init(struct world *w, uint64_t seed, bool crashes, bool journal);
void world_clear(struct world *w);

uint64_t world_random(struct world *w);
/* 0 .. n-1 */
int64_t world_below(struct world *w, int64_t n);
bool world_chance(struct world *w, int percent);
/* Numbers of its own, for a world must be the same with compaction and without.
 */
uint64_t world_compact_random(struct world *w);
/* Of all that is answered and recorded. */
void world_hash(struct world *w, const char *bytes, size_t len);

/* One event at w->now. */
void world_step(struct world *w, struct core_event *ev);
/* Lists and trees as they are now go into the digest of answers, too. */
void world_survey(struct world *w);
/* The clock goes on; what is due happens at its time. */
void world_advance(struct world *w, int64_t ms);
/* The clock is set forward, or stands still while time passes. */
void world_set_clock(struct world *w);
/* A turn of the loop ends: perhaps the commit under way has, too. */
void world_turn(struct world *w);
/* The first that the store was asked to read has come. */
void world_load(struct world *w);
/* What was appended is durable, and all replies can be seen. */
void world_commit(struct world *w);
/* The disk is full, or has room again. */
void world_disk(struct world *w, bool narrow, bool full);
/* The store fails; a crash is near, and has to follow. */
void world_fail(struct world *w);
/* The next thing that a client sees. */
bool world_take(struct world *w, struct delivery *out);
/* Power will be lost soon: from now on the world can go back ... */
void world_crash_is_near(struct world *w);
/* ... and is lost; the daemon starts again. */
void world_crash(struct world *w);

/* entries.c: what was appended, as the late store has it. */
extern const struct late_hooks entries_hooks;
/* A core that knows what the entries from `first` on, up to the n-th, say. */
struct core *entries_replay(struct world *w, size_t first, size_t n);
/* Is what was written of the job last, and so its payload, damaged? */
bool entries_payload_damaged(void *world, uint64_t id);

/* delivery.c: what clients may learn of a reply; what they see from now on, or
 * never will (client 0: of all clients). */
void world_deliver(struct world *w, const struct model_reply *r, size_t place,
                   size_t entries);
void world_release(struct world_reader *r, uint64_t place);
void world_forget(struct world *w, uint64_t client);

/* trace.c: the last events, for people; off: nothing is kept */
extern bool trace_on;
void trace_reset(uint64_t seed);
void trace_event(const struct core_event *ev);
void trace_reply(uint64_t client, const struct node *n);
void trace_note(const char *fmt, ...) ATTR_PRINTF(1, 2);
void trace_print(void);

#endif
