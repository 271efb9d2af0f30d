/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queue - where jobs wait for workers, and producers for room.
 */
#ifndef YOKE_CORE_QUEUE_H
#define YOKE_CORE_QUEUE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "core/core.h"
#include "core/tables.h"

struct core;
struct feed;
struct group;
struct job;
struct options;
struct record;

/* Who may go in. */
enum door {
    DOOR_OPEN,
    DOOR_CLOSED,     /* nobody; what is in it goes on */
    DOOR_CLOSED_NOW, /* ... and nothing starts any more */
};

struct queue {
    struct map_node node; /* hash of the name; volatile */
    struct list link;     /* core->queues */
    uint32_t id;          /* index in core->queue_table */
    uint32_t segment;
    char *name;
    uint32_t name_len;
    bool made_up; /* its image was lost */
    struct queue_settings settings;
    struct options *defaults; /* settings as options */
    bool paused;
    uint8_t door; /* enum door */
    struct list ready[CORE_PRIORITIES];
    uint32_t ready_mask; /* bit p: ready[p] or turns[p] is not
                          * empty */
    struct list
        turns[CORE_PRIORITIES]; /* volatile: struct share.turn, and ... */
    struct list plain_turn[CORE_PRIORITIES]; /* ... of ready[p], if there are
                                              * shares, too */
    uint32_t nshares;                        /* volatile */
    struct heap open[CORE_PRIORITIES];       /* volatile: struct lane.open */
    uint32_t open_mask;                      /* bit p: open[p] is not empty */
    struct list lines;  /* volatile: struct line.of_queue */
    struct list offers; /* volatile: struct line.offer */
    bool holds_back;    /* volatile: others wait because its
                         * jobs go first */
    struct list left;   /* volatile: core->left, as it is not fetched from */
    struct list restored[CORE_PRIORITIES]; /* ready ones whose images came late
                                            * in a replay, until it is over */
    struct list delayed;
    struct list lanes;     /* volatile: struct lane.of_queue */
    struct list wake;      /* volatile: core->wakes */
    struct list emptying;  /* volatile: core->emptying; see drain.c */
    uint64_t purge_before; /* volatile: jobs with lower ids go; 0: none */
    int64_t purged;        /* volatile: jobs that went so */
    struct list purgers, joiners; /* volatile: struct waiter.link */
    struct list dead;             /* struct dead.of_queue */
    int64_t ndead;
    int64_t jobs, bytes;      /* not started */
    int64_t delivering_bytes; /* payloads of those that are DELIVERING */
    struct list deliveries;   /* volatile: struct run.delivery, to here ... */
    struct list feeds;        /* ... by where they come from: struct feed.to */
    struct list search;       /* while a circle is looked for; see deliver.c */
    struct feed *onward;      /* likewise */
    int64_t counts[JOB_STATES_COUNT];
    struct list producers; /* volatile: struct waiter.link */
    struct list fetchers;  /* volatile: struct fetch_link.link */
    int64_t nproducers, nfetchers;
    uint64_t named; /* volatile: of core->fetches, the last that named it */
    bool stuck;     /* volatile: whose turn it is has no payload yet ... */
    bool put_off;   /* ... and it cannot be read for now */
    int ahead;      /* volatile: so many starts, and more is read ahead */
    bool was_full;  /* volatile: since a submit last found room at once */
    uint64_t total_submitted, total[OUTCOMES_COUNT]; /* volatile */
};

const char *queue_apply(struct core *c, const struct record *r);
struct queue *queue_find(const struct core *c, struct str name);
bool queue_name_ok(struct str name);
/* What counts in its bounds: all that has not started or waits to go on. */
int64_t queue_holds(const struct queue *q);
int64_t queue_holds_bytes(const struct queue *q);
/* Is there room within its bounds for a payload of that size? */
bool queue_fits(const struct queue *q, size_t len);
void queue_free(struct core *c, struct queue *q);
/* There may be room for its producers, or work for its fetchers: it is served
 * before the step ends, or in the next. */
void queue_wake(struct core *c, struct queue *q);
/* Let producers in and hand jobs to waiting workers, for a while. */
void queue_serve(struct core *c, struct queue *q);
/* The next job of the queue that may run now, or NULL; parks and ends what
 * may not. It may give up before it has looked at all: then it wakes the
 * queue. */
struct job *queue_next(struct core *c, struct queue *q);
/* Find or make a queue; NULL: an error was answered. */
struct queue *queue_get(struct core *c, struct client_id client,
                        struct str name);
/* Hand jobs to waiting workers until there are none, or no more workers. */
void queue_hand_out(struct core *c, struct queue *q);
/* May its jobs start, and does a worker wait for them? */
bool queue_attended(const struct core *c, const struct queue *q);
/* Nothing waits for room, neither producers nor deliveries, and there is some
 * for that many bytes. */
bool queue_has_room(const struct queue *q, size_t len);
/* Whatever is known of it is its number, by its jobs: a name and the defaults
 * until its image comes. */
void queue_make_up(struct core *c, uint32_t id);
/* The image of one queue, if there is a queue of that number: old segments can
 * be removed once the images of all queues lie in newer ones. */
void queue_write_image(struct core *c, uint32_t number);
/* To be called before the record of a job is made up: a job is never found
 * before the image of its queue. Replaces q->defaults. */
void queue_anchor(struct core *c, const struct queue *q);
/* The image of a queue with something changed. */
void queue_change(struct core *c, const struct queue *q,
                  const struct queue_settings *s, bool paused, enum door door);
/* By name; NULL: the error was answered. */
struct queue *queue_find_or_reply(struct core *c, struct client_id client,
                                  struct str name);

void queue_list(struct core *c, const struct core_event *ev);
void queue_info(struct core *c, const struct core_event *ev);
void queue_set(struct core *c, const struct core_event *ev);
void queue_pause(struct core *c, const struct core_event *ev);

#endif
