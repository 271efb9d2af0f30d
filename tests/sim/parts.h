/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * parts - what the files of the model share.
 *
 * Knows:     model.c (finding things, one step), submit.c, fetch.c, answers.c
 *            (requests that are answered now or later), times.c, dead.c,
 *            limiters.c, queues.c, errors.c, sessions.c, once.c (what they are
 *            called after), events.c (the rest).
 * Never:     rules.c and ends.c, which know nothing of requests.
 */
#ifndef SIM_PARTS_H
#define SIM_PARTS_H

#include "ends.h"
#include "model.h"
#include "rules.h"

static inline int64_t or_default(int64_t given, int64_t otherwise)
{
    return given == CORE_UNSET ? otherwise : given;
}

/* CORE_NONE stays what it is. */
static inline int64_t after(const struct model *m, int64_t ms)
{
    return ms == CORE_NONE ? CORE_NONE : m->now + ms;
}

/* When a request that waits so long must be answered at the latest. */
int64_t until(const struct model *m, int64_t wait_ms);

bool model_bytes_match(struct str s, int64_t len, uint32_t tag);
struct model_client *model_client_get(struct model *m, uint64_t id);
int model_queue_find(const struct model *m, struct str name);
int model_queue_get(struct model *m, struct str name);
bool model_queue_has_room(const struct model *m, int queue, int64_t len);
/* ... before results began to wait, and attempts led to others, in this step?
 */
bool model_queue_had_room(const struct model *m, int queue, int64_t len);
/* Or before something came back to it in this step, whoever waits for it? */
bool model_queue_had_place(const struct model *m, int queue, int64_t len);
/* Was there none before jobs that were in it ended in this step? */
bool model_queue_was_full(const struct model *m, int queue, int64_t len);
int model_job_slot(struct model *m);
int model_group_slot(struct model *m);

void submit_ask(struct model *m, struct model_eyes *eyes,
                struct model_client *c, const struct event_submit *s,
                const struct node *reply);
/* Is a job of its key known, for sure, or as the reply says? */
bool submit_key_leads(const struct model *m, const struct model_request *r,
                      const struct node *reply);
/* Does anybody wait for room in it? */
bool submit_waits(const struct model *m, int queue);
/* Is it the first in line of its queue? */
bool submit_is_head(const struct model *m, const struct model_client *c);

/* `strict`: it can for sure; else: perhaps. */
bool job_can_start(const struct model *m, const struct model_job *j,
                   bool strict);
/* -1: it is not named, or bound to no job. */
int fetch_place(const struct model_request *r, int queue);
/* Who does not wait may be told of a later queue, or nothing if steps are
 * short, while jobs that have to be parked, or have just ended, are in the way.
 */
bool fetch_is_crowded(const struct model *m, const struct model_request *r);

/* Replies. False: not yet, `why` says what would be wrong with it. */
bool reply_submit(struct model *m, struct model_client *c,
                  struct model_reply *rep, char why[128]);
bool reply_fetch(struct model *m, struct model_client *c,
                 struct model_reply *rep, char why[128]);
bool answers_take(struct model *m, struct model_eyes *eyes,
                  struct model_reply *rep, char why[128]);
bool reply_retry(struct model *m, struct model_eyes *eyes,
                 struct model_client *c, struct model_reply *rep);
void check_group_map(const struct model_group *g, const struct node *map);
void check_outcome(const struct model *m, const struct model_job *j,
                   const struct node *map);

/* Times are moved. */
void times_move(struct model *m, struct model_eyes *eyes,
                const struct core_event *ev, const struct node *n);
/* Reads LIMITS; CORE_ERR_NOLIMITER into the request's errors is not its. */
void limits_read(const struct model *m, struct str limits, struct model_job *j);
/* It names limiters, whichever have these names now: it is no job yet. */
void limits_now(const struct model *m, struct model_job *j);
bool limits_any(const struct model_job *j);
bool limits_same(const struct model_job *a, const struct model_job *b);
/* Are all limiters that it needs (still) there? */
bool limits_exist(const struct model *m, const struct model_job *j);
/* Does it ask for more than there ever is? */
bool limits_exceed(const struct model *m, const struct model_job *j);
/* Can it take all that it needs? `strict`: for sure, and nobody is before it.
 */
bool limits_allow(const struct model *m, const struct model_job *j,
                  bool strict);
/* Would it take what is put aside for those before it? One of them, or NULL. */
const struct model_job *limits_overtake(const struct model *m,
                                        const struct model_job *j);
/* It starts: what a rate allows is less by that. */
void limits_spend(struct model *m, const struct model_job *j);
/* LIMITER SET and DEL. False: it is none of them. */
bool limits_event(struct model *m, const struct core_event *ev,
                  struct model_reply *replies, size_t n);
void limits_compare(struct model *m, struct model_eyes *eyes);
/* The daemon was started again. */
void limits_restart(struct model *m);

/* A job has that many errors now; it has ended, and they are looked at. */
void errors_note(const struct model *m, struct model_job *j, int64_t n);
void errors_look(const struct model *m, struct model_eyes *eyes,
                 struct model_job *j);
void errors_group_ended(const struct model *m, struct model_group *g,
                        const struct group_view *v);
/* GROUP ERRORS. */
void errors_event(struct model *m, struct model_eyes *eyes,
                  struct model_client *c, const struct core_event *ev,
                  const struct node *n);
/* Is the tree what it should be, whole and split? */
void errors_compare(struct model *m, struct model_eyes *eyes, bool is_job,
                    int top);

/* Fair queues: it is this job's turn, or it is a violation; and it was. */
void turns_check(const struct model *m, const struct model_job *j);
void turns_served(struct model *m, const struct model_job *j);
/* It was released, so that its group is first now, and will not start. */
void turns_left(struct model *m, const struct model_job *j);

/* SHIELD and UNSHIELD of an attempt; `current`: it runs. */
void times_shield(struct model *m, struct model_job *j, bool current,
                  const struct core_event *ev, const struct node *n);
/* RETRY and PURGE of the dead. False: it is none of them. */
bool dead_event(struct model *m, struct model_eyes *eyes,
                const struct core_event *ev, struct model_reply *replies,
                size_t n);
/* A crash, or who asked for it and is gone, has ended a purge; how far did it
 * get? */
void dead_stopped(struct model *m, struct model_eyes *eyes);
/* Is the list of the dead as it should be? */
void dead_compare(struct model *m, struct model_eyes *eyes);

/* A result that has gone on without room: those that went with it in a circle,
 * itself first; at most MODEL_QUEUES. Some may have ended so already. 0: it did
 * not go so. */
int circles_turned(struct model *m, struct model_eyes *eyes,
                   struct model_job *j, struct model_job **ring);
/* May it be too large for the place that a circle has for it? */
bool circles_too_large(const struct model *m, const struct model_job *j);
/* None stands still. */
void circles_check(const struct model *m);

/* The queue as the event names it. */
bool queues_event(struct model *m, const struct core_event *ev,
                  struct model_reply *replies, size_t n);
bool reply_join(struct model *m, struct model_client *c,
                struct model_reply *rep);
bool reply_purge(struct model_client *c, struct model_reply *rep);
bool queue_is_unfinished(const struct model *m, int queue);

/* The client says HELLO, SESSION RESUME, a sign of life, or nothing more. */
void session_asked(struct model *m, struct model_client *c,
                   const struct node *n);
void session_resume(struct model *m, struct model_eyes *eyes,
                    struct model_client *c, uint64_t id, const struct node *n);
void session_alive(struct model *m, int session);
void session_disconnect(struct model *m, struct model_eyes *eyes,
                        const struct core_event *ev);
/* Leases, graces and waits go with a clock that is set. */
void sessions_set_clock(struct model *m, int64_t by_ms);
void sessions_restart(struct model *m, int64_t now);

/* AWAIT and UNAWAIT. False: it is neither. */
bool await_event(struct model *m, const struct core_event *ev,
                 struct model_reply *replies, size_t n);
/* An entry of FETCH that tells of an end. False: not yet. */
bool await_told(struct model *m, struct model_client *c, const struct node *e,
                char why[128]);
/* An end that its open FETCH must have told; 0: none. */
uint64_t await_due(const struct model *m, const struct model_client *c);

/* A numbered request: does its number say what the answer is? */
bool once_event(struct model *m, const struct core_event *ev,
                struct model_reply *replies, size_t n);
/* It was answered with the id of a job or a group. */
void once_led(struct model *m, const struct model_client *c,
              const struct event_once *o, const struct node *n);
/* May the answer be that all sessions remember too much? */
bool once_full(const struct model *m, const struct model_client *c,
               const struct event_once *o);
bool once_remembers(const struct model_session *s);
/* Sessions may remember so little that a replay drops some of it. */
bool once_is_tight(const struct model *m);

/* What came for a client in this step, or NULL. */
const struct node *reply_peek(const struct model_reply *replies, size_t n,
                              uint64_t client);
/* The reply to a request that does not wait. */
const struct node *reply_now(struct model_reply *replies, size_t n,
                             uint64_t client);
void events_apply(struct model *m, struct model_eyes *eyes,
                  const struct core_event *ev, struct model_reply *replies,
                  size_t n);

#endif
