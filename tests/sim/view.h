/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * view - what the core shows of itself, read back from its replies.
 *
 * Knows:     values, the maps that doc/protocol.md describes.
 * Never:     the core's private structs.
 * Errors:    a reply of the wrong shape is a violation, and ends the run.
 *
 * A node of a reply lives in an arena; arena_reset forgets all of them.
 */
#ifndef SIM_VIEW_H
#define SIM_VIEW_H

#include "core/core.h"

/* Says what is wrong, with the last events, and ends the run (sim.c), or the
 * test (unit tests). */
void violation(const char *fmt, ...) ATTR_PRINTF(1, 2) ATTR_NORETURN;

struct node {
    struct value v;
    struct node *items; /* v.count of an array, twice as many of a map */
};

struct arena {
    char *data;
    size_t len, cap;
    struct buf bytes; /* of replies that view_ask got */
};

void arena_init(struct arena *a, size_t cap);
void arena_reset(struct arena *a);
void arena_clear(struct arena *a);

/* Reads one value with all that is in it. Strings stay in `bytes`. */
struct node *node_read(struct arena *a, const char *bytes, size_t len);
/* The value of a key; a missing key is a violation. */
const struct node *node_find(const struct node *map, struct str key);
static inline const struct node *node_get(const struct node *map,
                                          const char *key)
{
    return node_find(map, str_from(key));
}
bool node_is_error(const struct node *n, enum core_error code);
bool node_is_null(const struct node *n);
/* An array of exactly that many items, or a violation. */
const struct node *node_item(const struct node *n, uint32_t i);
int64_t node_int(const struct node *n); /* INT, or digits in a STR */
int64_t node_int_or(const struct node *n, int64_t null);
struct str node_str(const struct node *n);
uint64_t node_id(const struct node *n, char kind);
/* Text for people; at most `size` bytes with the NUL. */
void node_print(const struct node *n, char *to, size_t size);
const char *error_code(uint32_t code);

enum view_state {
    VIEW_DELAYED,
    VIEW_PARKED,
    VIEW_READY,
    VIEW_RUNNING,
    VIEW_CANCELLING,
    VIEW_JOINING,
    VIEW_DELIVERING,
    VIEW_FINISHED,
};

enum view_outcome { VIEW_NONE, VIEW_OK, VIEW_FAILED, VIEW_CANCELLED };

struct job_view {
    bool found;
    enum view_state state;
    enum view_outcome outcome;
    uint64_t id, group;
    struct str queue, name, reason, ready; /* p == NULL: null */
    int64_t priority, attempt, submitted, started, ended, deadline, timeout;
    int64_t errors, payload_bytes, shielded;
};

struct group_view {
    bool found;
    bool open, closed, ended_state;
    enum view_outcome outcome;
    uint64_t id;
    const struct node *parent;
    struct str name, reason;
    int64_t fail, succeed, width, deadline, members, queued, running;
    int64_t ok, failed, cancelled, opened, ended;
    const struct node *errors;
};

/* The client id under which the world looks at the core. */
#define VIEW_CLIENT UINT64_C(0xffffffff)

/* One question that must not change anything: answered at once, no record. */
const struct node *view_ask(struct core *c, struct arena *a,
                            const struct core_event *ev);
/* One that may be worth a record, which is appended to `records`. */
const struct node *view_read(struct core *c, struct arena *a,
                             const struct core_event *ev, struct buf *records);
void view_job_read(const struct node *map, struct job_view *out);
void view_group_read(const struct node *map, struct group_view *out);
struct job_view view_job(struct core *c, struct arena *a, int64_t now,
                         uint64_t id);
struct group_view view_group(struct core *c, struct arena *a, int64_t now,
                             uint64_t id);
enum view_outcome view_outcome_read(const struct node *n);

#endif
