/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * producers - actors that submit, open, cancel, close, move, retry and watch.
 */
#include "actors_internal.h"

#define LIVE_JOBS_MAX   60
#define USED_JOBS_MAX   300
#define LIVE_GROUPS_MAX 24
#define USED_GROUPS_MAX 100

static int64_t sometimes(struct actors *a, int percent, int64_t value)
{
    return chance(a, percent) ? value : CORE_UNSET;
}

/* Few, so that they meet. */
static const struct str keys[] = {{.p = "k1", .len = 2},
                                  {.p = "k2", .len = 2},
                                  {.p = "k3", .len = 2},
                                  {.p = "k4", .len = 2}};

static const struct str limits[] = {
    {.p = "gpu", .len = 3},       {.p = "gpu:2", .len = 5},
    {.p = "gpu,net:2", .len = 9}, {.p = "net", .len = 3},
    {.p = "net:3", .len = 5},     {.p = "disk,gpu", .len = 8},
    {.p = "disk", .len = 4}};

/* After the queue of the same place or one before it ... */
static const struct str chains[ACTORS_QUEUES - 1] = {
    {.p = "b,late", .len = 6},
    {.p = "c:d.e,late,z", .len = 12},
    {.p = "late,z", .len = 6},
    {.p = "z", .len = 1}};

/* ... and round: alone, and in pairs of two chains. */
static const struct str rounds[] = {{.p = "a,a", .len = 3},
                                    {.p = "b,a,b", .len = 5},
                                    {.p = "a,b,a", .len = 5},
                                    {.p = "c:d.e,a", .len = 7},
                                    {.p = "b,c:d.e,b", .len = 9}};

/* Constants: the model keeps them. */
static const struct str retry_on[] = {{.p = "", .len = 0},
                                      {.p = "exit:*", .len = 6},
                                      {.p = "signal:TERM,time*", .len = 17},
                                      {.p = "*", .len = 1},
                                      {.p = "group,can??lled", .len = 15}};

static int64_t some_keep(struct actors *a)
{
    return 1 + below(a, a->world->limits.keep_max_ms);
}

void producer_submit(struct actors *a, struct actor *c,
                     const struct actor_token *under)
{
    char payload[256], name[16];
    struct world *w = a->world;
    size_t queue = (size_t)below(a, ACTORS_QUEUES);
    int len;
    struct core_event ev = {
        .kind = EVENT_SUBMIT,
        .u.submit = {
            .queue = actors_queues[queue],
            .priority = sometimes(a, 30, below(a, CORE_PRIORITIES)),
            .timeout_ms = sometimes(a, 20, 1 + below(a, 2500)),
            .deadline_ms = sometimes(a, 15, w->now + 1 + below(a, 4000)),
            .expires_ms = sometimes(a, 10, 1 + below(a, 2000)),
            .grace_ms = sometimes(a, 20, below(a, 500)),
            .delay_ms = sometimes(a, 15, below(a, 1500)),
            .at_ms = CORE_UNSET,
            .factor_milli = sometimes(a, 20, 1000 + below(a, 4000)),
            .jitter = sometimes(a, 20, below(a, 101)),
            .retry = sometimes(a, 30, 1 + below(a, 4)),
            .backoff_base_ms = sometimes(a, 70, below(a, 400)),
            .backoff_cap_ms = sometimes(a, 30, 1 + below(a, 500)),
            .redeliver = sometimes(a, 30, below(a, 3)),
            .keep_ms = sometimes(a, 50, some_keep(a)),
            .wait_ms = sometimes(a, 60, below(a, 900)),
        }};

    len = snprintf(name, sizeof(name), "%u", ++a->tag);
    ev.u.submit.name = (struct str){.p = name, .len = (size_t)len};
    ev.u.submit.payload.len =
        (size_t)(chance(a, 3)          ? 195 + below(a, 12)
                 : chance(a, a->large) ? 150 + below(a, 50)
                                       : 4 + below(a, 100));
    ev.u.submit.payload.p = payload;
    model_bytes(payload, ev.u.submit.payload.len, a->tag);
    if (chance(a, 20))
        ev.u.submit.wait_ms = 0;
    if (ev.u.submit.delay_ms == CORE_UNSET && chance(a, 8))
        ev.u.submit.at_ms = w->now - 100 + below(a, 1500);
    if (chance(a, 15))
        ev.u.submit.retry_on = retry_on[below(a, ARRAY_LEN(retry_on))];
    if (chance(a, a->limited))
        ev.u.submit.limits = limits[below(a, ARRAY_LEN(limits))];
    if (chance(a, a->world->round))
        ev.u.submit.then = rounds[below(a, ARRAY_LEN(rounds))];
    else if (queue < ACTORS_QUEUES - 1 && chance(a, a->piped))
        ev.u.submit.then =
            chains[queue +
                   (size_t)below(a, (int64_t)(ACTORS_QUEUES - 1 - queue))];
    if (chance(a, 15))
        ev.u.submit.key = keys[below(a, ARRAY_LEN(keys))];
    if (ev.u.submit.deadline_ms != CORE_UNSET && chance(a, 50)) {
        ev.u.submit.retry = 4; /* its deadline meets its back-off */
        ev.u.submit.backoff_base_ms = 100 + below(a, 2000);
    }
    if (under) {
        ev.u.submit.body =
            (struct token){.job = {under->job}, .attempt = under->attempt};
        /* a worker that waits for ever does not work */
        ev.u.submit.wait_ms = chance(a, 50) ? 0 : below(a, 300);
    } else if (a->ngroups && chance(a, 60)) {
        ev.u.submit.group.n = actors_known_group(a);
    }
    again_number(a, c, &ev.u.submit.once);
    actors_ask(a, c, &ev);
}

void producer_open(struct actors *a, struct actor *c,
                   const struct actor_token *under)
{
    struct core_event ev = {
        .kind = EVENT_GROUP_OPEN,
        .u.group_open = {
            .fail = sometimes(a, 50, below(a, 3)),
            .succeed = sometimes(a, 25, below(a, 4)),
            .width = sometimes(a, 30, 1 + below(a, 3)),
            .timeout_ms = sometimes(a, 15, 1 + below(a, 4000)),
            .deadline_ms = sometimes(a, 10, a->world->now + 1 + below(a, 4000)),
            .keep_ms = some_keep(a),
            .detached = chance(a, 40),
        }};

    if (chance(a, 10))
        ev.u.group_open.key = keys[below(a, ARRAY_LEN(keys))];

    if (under) {
        ev.u.group_open.parent.is_job = true;
        ev.u.group_open.parent.token =
            (struct token){.job = {under->job}, .attempt = under->attempt};
    } else if (a->ngroups && chance(a, 40)) {
        ev.u.group_open.parent.group.n = actors_known_group(a);
    }
    again_number(a, c, &ev.u.group_open.once);
    actors_ask(a, c, &ev);
}

static void do_cancel(struct actors *a, struct actor *c)
{
    char text[16];
    bool is_job = chance(a, 60);
    int len = snprintf(text, sizeof(text), "because-%d", (int)below(a, 99));
    struct core_event ev = {
        .kind = EVENT_CANCEL,
        .u.cancel = {.is_job = is_job,
                     .reason = {.p = text, .len = (size_t)len},
                     .grace_ms = sometimes(a, 30, below(a, 900))}};

    if (is_job)
        ev.u.cancel.job.n = actors_known_job(a);
    else
        ev.u.cancel.group.n = actors_known_group(a);
    actors_ask(a, c, &ev);
}

/* Some of it is over at once, some is far away. */
static int64_t some_time(struct actors *a, int64_t from)
{
    return chance(a, 20) ? CORE_NONE : max_i64(0, from - 200 + below(a, 2500));
}

static void do_move(struct actors *a, struct actor *c)
{
    bool is_job = chance(a, 65);
    int64_t now = a->world->now;
    struct core_event ev = {
        .kind = EVENT_RESCHEDULE,
        .u.reschedule = {.is_job = is_job,
                         .timeout_ms = sometimes(a, 40, some_time(a, 0)),
                         .deadline_ms = sometimes(a, 50, some_time(a, now)),
                         .expires_ms = CORE_UNSET,
                         .at_ms = CORE_UNSET}};

    if (is_job) {
        ev.u.reschedule.job.n = actors_known_job(a);
        ev.u.reschedule.expires_ms = sometimes(a, 20, some_time(a, 0));
        ev.u.reschedule.at_ms = sometimes(a, 20, some_time(a, now));
    } else {
        ev.u.reschedule.group.n = actors_known_group(a);
    }
    if (ev.u.reschedule.timeout_ms == CORE_UNSET)
        ev.u.reschedule.deadline_ms = some_time(a, now);
    actors_ask(a, c, &ev);
}

/* Most of what is asked for is dead. */
static void do_retry(struct actors *a, struct actor *c)
{
    const struct model *m = a->world->model;
    struct core_event ev = {.kind = EVENT_RETRY};
    int from = m->njobs ? (int)below(a, m->njobs) : 0;

    if (chance(a, 40)) {
        ev.kind = chance(a, 70) ? EVENT_DEAD_RETRY : EVENT_DEAD_PURGE;
        ev.u.dead.count =
            ev.kind == EVENT_DEAD_RETRY ? 1 + below(a, 5) : CORE_UNSET;
        if (chance(a, 50))
            ev.u.dead.queue = actors_queues[below(a, ACTORS_QUEUES)];
        actors_ask(a, c, &ev);
        return;
    }
    ev.u.job.id.n = actors_known(a, a->jobs, a->njobs);
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[(from + i) % m->njobs];

        if (j->used && j->dead && chance(a, 90)) {
            ev.u.job.id.n = j->id;
            break;
        }
    }
    actors_ask(a, c, &ev);
}

static void do_next(struct actors *a, struct actor *c)
{
    struct core_event ev = {.kind = EVENT_GROUP_NEXT};

    if (c->page_group == 0 || c->page_over || c->nseen == ACTOR_SEEN ||
        chance(a, 10)) {
        c->page_group = actors_known_group(a);
        c->page_cursor = 0;
        c->nseen = 0;
        c->page_over = false;
    }
    ev.u.group.id.n = c->page_group;
    ev.u.group.cursor = (int64_t)c->page_cursor;
    ev.u.group.count = 1 + below(a, 4);
    ev.u.group.wait_ms = some_wait(a);
    actors_ask(a, c, &ev);
}

static const struct str globs[] = {{.p = "", .len = 0},
                                   {.p = "exit:*", .len = 6},
                                   {.p = "signal:TERM,time*", .len = 17},
                                   {.p = "group,lost,p*", .len = 13},
                                   {.p = "*", .len = 1}};

/* What has failed, page by page, while more fails and some is forgotten. */
static void do_errors(struct actors *a, struct actor *c)
{
    struct core_event ev = {.kind = EVENT_GROUP_ERRORS};

    if (!c->errors.on || chance(a, 5)) {
        c->errors.is_job = chance(a, 40);
        c->errors.id = c->errors.is_job ? actors_known(a, a->jobs, a->njobs)
                       : chance(a, 3)   ? 0
                                      : actors_known(a, a->groups, a->ngroups);
        c->errors.classes = (size_t)below(a, ARRAY_LEN(globs));
        c->errors.except =
            chance(a, 60) ? 0 : (size_t)below(a, ARRAY_LEN(globs));
        (void)snprintf(c->errors.cursor, sizeof(c->errors.cursor), "%s",
                       chance(a, 2) ? "12" : "0");
    }
    ev.u.errors.is_job = c->errors.is_job;
    if (c->errors.is_job)
        ev.u.errors.job.n = c->errors.id;
    else
        ev.u.errors.group.n = c->errors.id;
    ev.u.errors.cursor = str_from(c->errors.cursor);
    ev.u.errors.classes = globs[c->errors.classes];
    ev.u.errors.except = globs[c->errors.except];
    ev.u.errors.count = sometimes(a, 90, 1 + below(a, 3));
    actors_ask(a, c, &ev);
}

static void do_watch(struct actors *a, struct actor *c)
{
    struct core_event ev = {.kind = EVENT_RESULT};

    switch (below(a, 7)) {
    case 5:
    case 6:
        do_errors(a, c);
        return;
    case 0:
    case 1:
        ev.u.job.id.n = actors_known_job(a);
        ev.u.job.wait_ms = some_wait(a);
        ev.u.job.ready = chance(a, 40);
        break;
    case 3:
        ev.kind = chance(a, 15) ? EVENT_QUEUE_PURGE : EVENT_QUEUE_JOIN;
        ev.u.queue.name = actors_queues[below(a, ACTORS_QUEUES)];
        ev.u.queue.wait_ms = some_wait(a);
        break;
    case 2:
        ev.kind = EVENT_GROUP_INFO;
        ev.u.group.id.n = actors_known_group(a);
        ev.u.group.wait_ms = chance(a, 20) ? CORE_UNSET : some_wait(a);
        break;
    default:
        do_next(a, c);
        return;
    }
    actors_ask(a, c, &ev);
}

/* Most numbers are near to what the group has reached by now. */
static void do_close(struct actors *a, struct actor *c)
{
    struct core_event ev = {.kind = EVENT_GROUP_CLOSE};
    const struct model *m = a->world->model;
    int i;

    ev.u.group.id.n = actors_known_group(a);
    i = model_group_find(m, ev.u.group.id.n);
    ev.u.group.policy = i >= 0 && chance(a, 50);
    if (ev.u.group.policy) {
        ev.u.group.fail = sometimes(a, 60, below(a, m->groups[i].fails + 2));
        ev.u.group.succeed = sometimes(a, 60, below(a, m->groups[i].ok + 3));
    }
    actors_ask(a, c, &ev);
}

bool producer_close_oldest(struct actors *a, struct actor *c)
{
    const struct model *m = a->world->model;

    for (int i = 0; i < m->ngroups; i++) {
        struct core_event ev = {.kind = EVENT_GROUP_CLOSE};

        if (!m->groups[i].used || m->groups[i].closed || m->groups[i].ended ||
            model_group_is_body(m, i))
            continue;
        ev.u.group.id.n = m->groups[i].id;
        actors_ask(a, c, &ev);
        return true;
    }
    return false;
}

bool producer_may_submit(const struct actors *a)
{
    int64_t live = 0, used = 0;
    const struct model *m = a->world->model;

    for (int i = 0; i < m->njobs; i++) {
        used += m->jobs[i].used;
        live += m->jobs[i].used && m->jobs[i].state != MODEL_ENDED;
    }
    return live < LIVE_JOBS_MAX && used < USED_JOBS_MAX;
}

bool producer_may_open(const struct actors *a)
{
    int64_t live = 0, used = 0;
    const struct model *m = a->world->model;

    for (int i = 0; i < m->ngroups; i++) {
        used += m->groups[i].used;
        live += m->groups[i].used && !m->groups[i].ended;
    }
    return live < LIVE_GROUPS_MAX && used < USED_GROUPS_MAX;
}

void producer_act(struct actors *a, struct actor *c)
{
    int64_t n = below(a, 100);

    if (n < a->busy && producer_may_submit(a))
        producer_submit(a, c, NULL);
    else if (n < a->busy + a->open && producer_may_open(a))
        producer_open(a, c, NULL);
    else if (n < a->busy + a->open && producer_close_oldest(a, c))
        return;
    else if (n < 86)
        do_close(a, c);
    else if (n < 89)
        do_cancel(a, c);
    else if (n < 92)
        do_move(a, c);
    else if (n < 94 && producer_may_submit(a))
        do_retry(a, c);
    else
        do_watch(a, c);
}
