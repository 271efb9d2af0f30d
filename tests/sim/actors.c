/* SPDX-License-Identifier: BSD-2-Clause */
#include "actors.h"

#define LIVE_JOBS_MAX   60
#define USED_JOBS_MAX   300
#define LIVE_GROUPS_MAX 24
#define USED_GROUPS_MAX 100
#define QUEUES          5

static const struct str queue_names[QUEUES] = {{.p = "a", .len = 1},
                                               {.p = "b", .len = 1},
                                               {.p = "c:d.e", .len = 5},
                                               {.p = "late", .len = 4},
                                               {.p = "z", .len = 1}};

void actors_init(struct actors *a, struct world *w)
{
    *a = (struct actors){
        .world = w,
        .busy = 30 + (int)world_below(w, 30),
        .lazy = (int)world_below(w, 70),
        .large = (int)world_below(w, 30),
        .open = (int)world_below(w, 25),
        /* who is forgotten as he ends says nothing of that */
        .piped = w->limits.retain_jobs > 1000 ? (int)world_below(w, 30) : 0,
        .limited = (int)world_below(w, 40),
        .numbered = (int)world_below(w, 130),
        .pace = 10 + world_below(w, 70)};
    for (int i = 0; i < ACTORS; i++)
        a->list[i].worker = i % 2 == 0;
}

static int64_t below(struct actors *a, int64_t n)
{
    return world_below(a->world, n);
}

static bool chance(struct actors *a, int percent)
{
    return world_chance(a->world, percent);
}

/* ------------------------------------------------------------- knowledge */

static struct actor *actor_of(struct actors *a, uint64_t client)
{
    for (int i = 0; i < ACTORS; i++)
        if (client && a->list[i].client == client)
            return &a->list[i];
    return NULL;
}

static void token_add(struct actor *c, uint64_t job, uint32_t attempt)
{
    for (int i = 0; i < c->ntokens; i++) /* a session that was resumed */
        if (c->tokens[i].job == job && c->tokens[i].attempt == attempt)
            return;
    if (c->ntokens == ACTOR_TOKENS)
        memmove(c->tokens, c->tokens + 1,
                (size_t)(--c->ntokens) * sizeof(c->tokens[0]));
    c->tokens[c->ntokens++] =
        (struct actor_token){.job = job, .attempt = attempt};
}

/* Forgets a token, or remembers it for a late report. */
static void token_drop(struct actor *c, int i)
{
    if (c->nstale == ACTOR_TOKENS)
        memmove(c->stale, c->stale + 1,
                (size_t)(--c->nstale) * sizeof(c->stale[0]));
    c->stale[c->nstale++] = c->tokens[i];
    c->tokens[i] = c->tokens[--c->ntokens];
}

static void page_member(struct actor *c, uint64_t id)
{
    for (int i = 0; i < c->nseen; i++)
        if (c->seen[i] == id)
            violation("GROUP NEXT gave member %llx twice",
                      (unsigned long long)id);
    if (c->nseen < ACTOR_SEEN)
        c->seen[c->nseen++] = id;
}

static void take(struct actors *a, struct actor *c, const struct delivery *d)
{
    switch (d->kind) {
    case DELIVERY_JOB:
        a->jobs[a->njobs++ % KNOWN] = d->id;
        break;
    case DELIVERY_GROUP:
        a->groups[a->ngroups++ % KNOWN] = d->id;
        break;
    case DELIVERY_SESSION:
        if (c->session) /* it goes on with the one before */
            break;
        again_forget(c);
        c->session = d->id;
        break;
    case DELIVERY_NO_SESSION:
        c->session = 0;
        c->attached = false;
        again_forget(c);
        while (c->ntokens > 0)
            token_drop(c, 0);
        break;
    case DELIVERY_TOKEN:
        token_add(c, d->id, d->attempt);
        break;
    case DELIVERY_ASKED:
        for (int i = 0; i < c->ntokens; i++)
            if (c->tokens[i].job == d->id &&
                c->tokens[i].attempt == d->attempt) {
                c->tokens[i].asked = true;
                return;
            }
        /* one that it never heard of: the reply was lost */
        token_add(c, d->id, d->attempt);
        c->tokens[c->ntokens - 1].asked = true;
        break;
    case DELIVERY_MEMBER:
        page_member(c, d->id);
        break;
    case DELIVERY_CURSOR:
        c->page_cursor = d->id;
        c->page_over = d->attempt != 0;
        break;
    case DELIVERY_ERRORS:
        c->errors.on = d->attempt == 0;
        memcpy(c->errors.cursor, d->cursor, sizeof(c->errors.cursor));
        break;
    case DELIVERY_END:
        c->waiting = again_answered(c);
        c->resuming = c->submitting = false;
        break;
    }
}

static void take_all(struct actors *a)
{
    struct delivery d;

    while (world_take(a->world, &d)) {
        struct actor *c = actor_of(a, d.client);

        if (c)
            take(a, c, &d);
    }
}

static void ask(struct actors *a, struct actor *c, struct core_event *ev)
{
    struct core_event alive = {.kind = EVENT_ALIVE, .client = {c->client}};

    world_step(a->world, &alive);
    again_remember(c, ev);
    ev->client.n = c->client;
    c->waiting = true;
    c->submitting = ev->kind == EVENT_SUBMIT;
    world_step(a->world, ev);
}

static uint64_t known(struct actors *a, const uint64_t *ids, uint64_t n)
{
    uint64_t newest = n < KNOWN ? n : KNOWN;

    if (n == 0 || chance(a, 2))
        return world_random(a->world) >> 8; /* nobody ever got that id */
    if (chance(a, 60))
        newest = newest < 6 ? newest : 6;
    return ids[(n - 1 - (uint64_t)below(a, (int64_t)newest)) % KNOWN];
}

/* Most clients know what goes on: they ask for what is still alive. */
static uint64_t known_group(struct actors *a)
{
    const struct model *m = a->world->model;
    uint64_t id = known(a, a->groups, a->ngroups);
    int i = model_group_find(m, id);

    for (int n = 0; n < 4 && (i < 0 || m->groups[i].ended); n++) {
        id = known(a, a->groups, a->ngroups);
        i = model_group_find(m, id);
    }
    return id;
}

static uint64_t known_job(struct actors *a)
{
    const struct model *m = a->world->model;
    uint64_t id = known(a, a->jobs, a->njobs);
    int i = model_job_find(m, id);

    for (int n = 0; n < 2 && (i < 0 || m->jobs[i].state == MODEL_ENDED); n++) {
        id = known(a, a->jobs, a->njobs);
        i = model_job_find(m, id);
    }
    return id;
}

/* -------------------------------------------------------------- producers */

static int64_t sometimes(struct actors *a, int percent, int64_t value)
{
    return chance(a, percent) ? value : CORE_UNSET;
}

/* Few, so that they meet. */
static const struct str keys[] = {{.p = "k1", .len = 2},
                                  {.p = "k2", .len = 2},
                                  {.p = "k3", .len = 2},
                                  {.p = "k4", .len = 2}};

static const struct str limiter_names[] = {
    {.p = "gpu", .len = 3}, {.p = "net", .len = 3}, {.p = "disk", .len = 4}};
static const struct str limits[] = {
    {.p = "gpu", .len = 3},       {.p = "gpu:2", .len = 5},
    {.p = "gpu,net:2", .len = 9}, {.p = "net", .len = 3},
    {.p = "net:3", .len = 5},     {.p = "disk,gpu", .len = 8},
    {.p = "disk", .len = 4}};

/* After the queue of the same place or one before it ... */
static const struct str chains[QUEUES - 1] = {{.p = "b,late", .len = 6},
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

/* Into a group, or `under` an attempt. */
static void do_submit(struct actors *a, struct actor *c,
                      const struct actor_token *under)
{
    char payload[256], name[16];
    struct world *w = a->world;
    size_t queue = (size_t)below(a, QUEUES);
    int len;
    struct core_event ev = {
        .kind = EVENT_SUBMIT,
        .u.submit = {
            .queue = queue_names[queue],
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
    else if (queue < QUEUES - 1 && chance(a, a->piped))
        ev.u.submit.then =
            chains[queue + (size_t)below(a, (int64_t)(QUEUES - 1 - queue))];
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
        ev.u.submit.group.n = known_group(a);
    }
    again_number(a, c, &ev.u.submit.once);
    ask(a, c, &ev);
}

static void do_open(struct actors *a, struct actor *c,
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
        ev.u.group_open.parent.group.n = known_group(a);
    }
    again_number(a, c, &ev.u.group_open.once);
    ask(a, c, &ev);
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
        ev.u.cancel.job.n = known_job(a);
    else
        ev.u.cancel.group.n = known_group(a);
    ask(a, c, &ev);
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
        ev.u.reschedule.job.n = known_job(a);
        ev.u.reschedule.expires_ms = sometimes(a, 20, some_time(a, 0));
        ev.u.reschedule.at_ms = sometimes(a, 20, some_time(a, now));
    } else {
        ev.u.reschedule.group.n = known_group(a);
    }
    if (ev.u.reschedule.timeout_ms == CORE_UNSET)
        ev.u.reschedule.deadline_ms = some_time(a, now);
    ask(a, c, &ev);
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
            ev.u.dead.queue = queue_names[below(a, QUEUES)];
        ask(a, c, &ev);
        return;
    }
    ev.u.job.id.n = known(a, a->jobs, a->njobs);
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[(from + i) % m->njobs];

        if (j->used && j->dead && chance(a, 90)) {
            ev.u.job.id.n = j->id;
            break;
        }
    }
    ask(a, c, &ev);
}

static int64_t some_wait(struct actors *a)
{
    return chance(a, 30) ? 0 : chance(a, 10) ? CORE_NONE : below(a, 900);
}

static void do_next(struct actors *a, struct actor *c)
{
    struct core_event ev = {.kind = EVENT_GROUP_NEXT};

    if (c->page_group == 0 || c->page_over || c->nseen == ACTOR_SEEN ||
        chance(a, 10)) {
        c->page_group = known_group(a);
        c->page_cursor = 0;
        c->nseen = 0;
        c->page_over = false;
    }
    ev.u.group.id.n = c->page_group;
    ev.u.group.cursor = (int64_t)c->page_cursor;
    ev.u.group.count = 1 + below(a, 4);
    ev.u.group.wait_ms = some_wait(a);
    ask(a, c, &ev);
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
        c->errors.id = c->errors.is_job ? known(a, a->jobs, a->njobs)
                       : chance(a, 3)   ? 0
                                        : known(a, a->groups, a->ngroups);
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
    ask(a, c, &ev);
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
        ev.u.job.id.n = known_job(a);
        ev.u.job.wait_ms = some_wait(a);
        ev.u.job.ready = chance(a, 40);
        break;
    case 3:
        ev.kind = chance(a, 15) ? EVENT_QUEUE_PURGE : EVENT_QUEUE_JOIN;
        ev.u.queue.name = queue_names[below(a, QUEUES)];
        ev.u.queue.wait_ms = some_wait(a);
        break;
    case 2:
        ev.kind = EVENT_GROUP_INFO;
        ev.u.group.id.n = known_group(a);
        ev.u.group.wait_ms = chance(a, 20) ? CORE_UNSET : some_wait(a);
        break;
    default:
        do_next(a, c);
        return;
    }
    ask(a, c, &ev);
}

/* Most numbers are near to what the group has reached by now. */
static void do_close(struct actors *a, struct actor *c)
{
    struct core_event ev = {.kind = EVENT_GROUP_CLOSE};
    const struct model *m = a->world->model;
    int i;

    ev.u.group.id.n = known_group(a);
    i = model_group_find(m, ev.u.group.id.n);
    ev.u.group.policy = i >= 0 && chance(a, 50);
    if (ev.u.group.policy) {
        ev.u.group.fail = sometimes(a, 60, below(a, m->groups[i].fails + 2));
        ev.u.group.succeed = sometimes(a, 60, below(a, m->groups[i].ok + 3));
    }
    ask(a, c, &ev);
}

/* Old groups that nobody closes would hold everything for ever. */
static bool close_oldest(struct actors *a, struct actor *c)
{
    const struct model *m = a->world->model;

    for (int i = 0; i < m->ngroups; i++) {
        struct core_event ev = {.kind = EVENT_GROUP_CLOSE};

        if (!m->groups[i].used || m->groups[i].closed || m->groups[i].ended ||
            model_group_is_body(m, i))
            continue;
        ev.u.group.id.n = m->groups[i].id;
        ask(a, c, &ev);
        return true;
    }
    return false;
}

static bool may_submit(const struct actors *a)
{
    int64_t live = 0, used = 0;
    const struct model *m = a->world->model;

    for (int i = 0; i < m->njobs; i++) {
        used += m->jobs[i].used;
        live += m->jobs[i].used && m->jobs[i].state != MODEL_ENDED;
    }
    return live < LIVE_JOBS_MAX && used < USED_JOBS_MAX;
}

static bool may_open(const struct actors *a)
{
    int64_t live = 0, used = 0;
    const struct model *m = a->world->model;

    for (int i = 0; i < m->ngroups; i++) {
        used += m->groups[i].used;
        live += m->groups[i].used && !m->groups[i].ended;
    }
    return live < LIVE_GROUPS_MAX && used < USED_GROUPS_MAX;
}

static void produce(struct actors *a, struct actor *c)
{
    int64_t n = below(a, 100);

    if (n < a->busy && may_submit(a))
        do_submit(a, c, NULL);
    else if (n < a->busy + a->open && may_open(a))
        do_open(a, c, NULL);
    else if (n < a->busy + a->open && close_oldest(a, c))
        return;
    else if (n < 86)
        do_close(a, c);
    else if (n < 89)
        do_cancel(a, c);
    else if (n < 92)
        do_move(a, c);
    else if (n < 94 && may_submit(a))
        do_retry(a, c);
    else
        do_watch(a, c);
}

/* ---------------------------------------------------------------- workers */

static void do_report(struct actors *a, struct actor *c,
                      struct actor_token token, enum core_event_kind kind,
                      struct str class)
{
    char result[200], message[MODEL_MESSAGE];
    struct core_event ev = {.kind = kind};
    int i = model_job_find(a->world->model, token.job);

    ev.u.report.token =
        (struct token){.job = {token.job}, .attempt = token.attempt};
    if (kind == EVENT_DONE && i >= 0) {
        ev.u.report.result.len = (size_t)below(a, 120);
        ev.u.report.result.p = result;
        model_bytes(result, ev.u.report.result.len,
                    a->world->model->jobs[i].payload_tag + 1);
    }
    if (kind == EVENT_FAIL) {
        ev.u.report.class = class;
        errors_message(message, token.job, token.attempt);
        ev.u.report.message = str_from(message);
    }
    if (kind == EVENT_LOG) {
        ev.u.report.stream = 1 + below(a, 2);
        ev.u.report.data = STR("a line of output\n");
    }
    if (kind == EVENT_READY) {
        ev.u.report.value.len = (size_t)below(a, 20);
        ev.u.report.value.p = result;
        model_bytes(result, ev.u.report.value.len, (uint32_t)below(a, 1000));
    }
    if (kind == EVENT_SHIELD)
        ev.u.report.shield_ms = below(a, 2500);
    if (kind == EVENT_TOUCH)
        ev.u.report.progress = STR("half way");
    ask(a, c, &ev);
}

static void do_fetch(struct actors *a, struct actor *c, int64_t count,
                     int64_t wait_ms)
{
    struct str queues[QUEUES];
    size_t n = 1 + (size_t)below(a, QUEUES);
    size_t from = (size_t)below(a, QUEUES);
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .u.fetch = {.count = count, .wait_ms = wait_ms, .queues = queues}};

    for (size_t i = 0; i < n; i++)
        queues[i] = queue_names[(from + i) % QUEUES];
    ev.u.fetch.nqueues = n;
    ask(a, c, &ev);
}

static const struct str classes[] = {{.p = "exit:1", .len = 6},
                                     {.p = "signal:TERM", .len = 11},
                                     {.p = "cancelled", .len = 9}};

static void work_on(struct actors *a, struct actor *c, int i)
{
    struct actor_token t = c->tokens[i];
    int64_t n = below(a, 100);

    if (t.asked && n < 70) {
        token_drop(c, i);
        if (n < 8)
            do_report(a, c, t, EVENT_DONE, STR(""));
        else
            do_report(a, c, t, EVENT_FAIL, classes[n < 20 ? 0 : 2]);
    } else if (n < 45) {
        token_drop(c, i);
        do_report(a, c, t, EVENT_DONE, STR(""));
    } else if (n < 60) {
        token_drop(c, i);
        do_report(a, c, t, EVENT_FAIL, classes[below(a, 10) < 9 ? n % 2 : 2]);
    } else if (n < 65) {
        token_drop(c, i);
        do_report(a, c, t, EVENT_RELEASE, STR(""));
    } else if (n < 70) {
        do_report(a, c, t, EVENT_TOUCH, STR(""));
    } else if (n < 75) {
        do_report(a, c, t, EVENT_SHIELD, STR(""));
    } else if (n < 77) {
        do_report(a, c, t, EVENT_UNSHIELD, STR(""));
    } else if (n < 82) {
        do_report(a, c, t, EVENT_LOG, STR(""));
    } else if (n < 86) {
        if (may_open(a))
            do_open(a, c, &t);
    } else if (n < 92) {
        if (may_submit(a) && may_open(a))
            do_submit(a, c, &t);
    } else if (n < 98) {
        do_report(a, c, t, EVENT_READY, STR(""));
    } else {
        c->stalled_until =
            a->world->now + below(a, 2 * a->world->limits.lease_ms);
    }
}

static void work(struct actors *a, struct actor *c)
{
    static const enum core_event_kind kinds[] = {
        EVENT_DONE, EVENT_FAIL,  EVENT_RELEASE, EVENT_TOUCH,
        EVENT_LOG,  EVENT_READY, EVENT_SHIELD,  EVENT_UNSHIELD};

    if (a->world->now < c->stalled_until || chance(a, a->lazy))
        return;
    if (chance(a, 4) && c->nstale > 0) { /* late, with a token of old */
        do_report(a, c, c->stale[below(a, c->nstale)],
                  kinds[below(a, (int64_t)ARRAY_LEN(kinds))], classes[0]);
    } else if (chance(a, 1)) { /* a token that nobody ever got */
        struct actor_token t = {.job = known_job(a), .attempt = 50};

        do_report(a, c, t, kinds[below(a, (int64_t)ARRAY_LEN(kinds))],
                  classes[0]);
    } else if (chance(a, 1) && c->nstale > 0 && may_submit(a)) {
        do_submit(a, c, &c->stale[below(a, c->nstale)]);
    } else if (c->ntokens > 0 && (c->ntokens > 6 || chance(a, 60))) {
        work_on(a, c, (int)below(a, c->ntokens));
    } else {
        do_fetch(a, c, below(a, 4), some_wait(a));
    }
}

/* ------------------------------------------------------------ connections */

static void leave(struct actors *a, uint64_t client, enum core_disconnect how)
{
    struct core_event ev = {
        .kind = EVENT_DISCONNECT, .client = {client}, .u.disconnect = how};

    world_step(a->world, &ev);
}

static void disconnect(struct actors *a, struct actor *c,
                       enum core_disconnect how)
{
    leave(a, c->client, how);
    again_broken(c);
    if (how == DISCONNECT_BROKEN)
        return;
    if (c->before) /* it does not come back from there */
        leave(a, c->before, DISCONNECT_BROKEN);
    c->session = c->before = 0;
    again_forget(c);
    while (c->ntokens > 0)
        token_drop(c, 0);
}

/* It is cut off, or believes so, and the daemon has not noticed. */
static void slip_away(struct actors *a, struct actor *c)
{
    if (!c->attached || !c->session || c->resuming) {
        disconnect(a, c, DISCONNECT_BROKEN);
        return;
    }
    c->before = c->client;
    again_broken(c);
}

static void connect_again(struct actors *a, struct actor *c)
{
    struct core_event ev = {.kind = EVENT_SESSION};
    bool is_new = !c->client;

    if (is_new)
        c->client = ++a->clients;
    if (is_new && !c->session && chance(a, 5)) { /* whose number is that? */
        ev = (struct core_event){.kind = EVENT_GROUP_OPEN,
                                 .u.group_open.once = {.number = 1}};
        ask(a, c, &ev);
        return;
    }
    if (is_new && c->session && chance(a, 30)) { /* with one that it drops */
        ask(a, c, &ev);
        return;
    }
    if (c->session) {
        ev.kind = EVENT_SESSION_RESUME;
        ev.u.session.n = c->session;
        c->resuming = true;
    }
    c->attached = true;
    ask(a, c, &ev);
    if (c->resuming)
        c->before = 0; /* was cut */
}

/* What has no answer, in its order. */
static void say_again(struct actors *a, struct actor *c)
{
    do {
        struct core_event ev = again_next(c);

        ask(a, c, &ev);
    } while (c->nsaid < c->nopen &&
             !model_blocked(a->world->model, c->client) && chance(a, 90));
}

static void act_waiting(struct actors *a, struct actor *c)
{
    int64_t n = below(a, 100);

    if (n < 5) {
        disconnect(a, c, (enum core_disconnect)below(a, 3));
    } else if (n < 8) {
        disconnect(a, c, DISCONNECT_BROKEN);
    } else if (n < 12) {
        slip_away(a, c);
    } else if (n < 40 && again_may_hurry(a, c)) {
        if (may_submit(a) && !c->worker)
            do_submit(a, c, NULL);
    } else if (n < 30 && !c->submitting &&
               model_blocked(a->world->model, c->client)) {
        struct core_event ev = {.kind = EVENT_UNBLOCK, .client = {c->client}};

        world_step(a->world, &ev);
    }
}

static void set_disk(struct actors *a, bool narrow, bool full)
{
    if (narrow != a->disk_narrow || full != a->disk_full)
        world_disk(a->world, narrow, full);
    a->disk_narrow = narrow;
    a->disk_full = full;
}

static void set_draining(struct actors *a, bool on)
{
    struct core_event ev = {.kind = EVENT_DRAIN, .u.on = on};

    if (on != a->draining)
        world_step(a->world, &ev);
    a->draining = on;
}

static void set_limiter(struct actors *a, size_t i)
{
    struct core_event ev = {.kind = EVENT_LIMITER_SET,
                            .client = {UINT64_C(1) << 40},
                            .u.limiter = {.name = limiter_names[i],
                                          .permits = CORE_UNSET,
                                          .rate = CORE_UNSET,
                                          .rate_ms = CORE_UNSET}};
    int64_t kind = below(a, 10);

    if (kind == 0) {
        ev.kind = EVENT_LIMITER_DELETE;
    } else if (kind < 7) {
        ev.u.limiter.permits = chance(a, 10) ? CORE_NONE : below(a, 5);
    } else {
        ev.u.limiter.rate = kind == 7 ? 0 : 1 + below(a, 4);
        ev.u.limiter.rate_ms = kind == 7 ? 0 : 1 + below(a, 300);
    }
    world_step(a->world, &ev);
}

static void act_admin(struct actors *a)
{
    struct core_event ev = {.kind = EVENT_QUEUE_PAUSE,
                            .client = {UINT64_C(1) << 40}};

    switch (below(a, 11)) {
    case 0:
    case 1:
    case 2:
        ev.u.queue.name = queue_names[below(a, QUEUES)];
        ev.u.queue.paused = chance(a, 30);
        break;
    case 3:
        ev.kind = EVENT_QUEUE_SET;
        ev.u.queue.name = queue_names[below(a, QUEUES)];
        core_settings_unset(&ev.u.queue.settings);
        if (chance(a, 50))
            ev.u.queue.settings.max_jobs =
                1 + below(a, a->world->round ? 3 : 15);
        else
            ev.u.queue.settings.fair = chance(a, 70);
        break;
    case 4:
    case 5:
        ev.kind = EVENT_QUEUE_CLOSE;
        ev.u.queue.name = queue_names[below(a, QUEUES)];
        ev.u.queue.closed = chance(a, 25);
        ev.u.queue.at_once = ev.u.queue.closed && chance(a, 30);
        break;
    case 8:
    case 9:
    case 10:
        set_limiter(a, (size_t)below(a, ARRAY_LEN(limiter_names)));
        return;
    case 6:
        if (chance(a, 30))
            set_disk(a, true, chance(a, 50));
        else
            set_disk(a, false, false);
        return;
    default:
        set_draining(a, chance(a, 15));
        return;
    }
    world_step(a->world, &ev);
}

void actors_act(struct actors *a)
{
    struct actor *c = &a->list[below(a, ACTORS)];

    take_all(a);
    for (int i = 0; i < 4 && c->client && c->waiting && !chance(a, 25); i++)
        c = &a->list[below(a, ACTORS)];
    if (chance(a, 40))
        world_advance(a->world, 1 + below(a, chance(a, 5) ? 2000 : a->pace));
    if (chance(a, 2)) {
        act_admin(a);
        return;
    }
    if (chance(a, 3)) { /* neither lasts: little happens meanwhile */
        set_disk(a, false, false);
        set_draining(a, false);
    }
    if (!c->client)
        connect_again(a, c);
    else if (c->waiting)
        act_waiting(a, c);
    else if (chance(a, 1))
        disconnect(a, c, (enum core_disconnect)below(a, 3));
    else if (!c->session || !c->attached)
        connect_again(a, c);
    else if (c->nsaid < c->nopen)
        say_again(a, c);
    else if (chance(a, 1))
        slip_away(a, c);
    else if (c->worker)
        work(a, c);
    else
        produce(a, c);
}

void actors_restart(struct actors *a)
{
    take_all(a);
    a->disk_narrow = a->disk_full = a->draining = false;
    for (int i = 0; i < ACTORS; i++) {
        again_broken(&a->list[i]);
        a->list[i].before = 0;
    }
}

/* ---------------------------------------------------------------- the end */

static void faults_stop(struct actors *a)
{
    struct core_event ev;

    set_disk(a, false, false);
    set_draining(a, false);
    /* Whoever lost a reply with its connection does not know what it holds:
     * everybody begins anew. */
    for (int i = 0; i < ACTORS; i++) {
        struct actor *c = &a->list[i];

        if (c->client)
            disconnect(a, c,
                       chance(a, 50) ? DISCONNECT_CLEAN : DISCONNECT_BROKEN);
        if (c->before)
            leave(a, c->before, DISCONNECT_BROKEN);
        again_forget(c);
        c->session = c->before = 0;
        c->ntokens = 0;
        c->stalled_until = 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(limiter_names); i++) {
        ev = (struct core_event){.kind = EVENT_LIMITER_SET,
                                 .client = {UINT64_C(1) << 40},
                                 .u.limiter = {.name = limiter_names[i],
                                               .permits = 2,
                                               .rate = 0,
                                               .rate_ms = 0}};
        world_step(a->world, &ev);
    }
    for (size_t i = 0; i < QUEUES; i++) {
        ev = (struct core_event){.kind = EVENT_QUEUE_PAUSE,
                                 .client = {UINT64_C(1) << 40}};
        ev.u.queue.name = queue_names[i];
        world_step(a->world, &ev);
        ev.kind = EVENT_QUEUE_CLOSE;
        world_step(a->world, &ev);
    }
}

static void finish_one(struct actors *a, struct actor *c)
{
    if (!c->client || (!c->waiting && (!c->session || !c->attached))) {
        connect_again(a, c);
    } else if (c->waiting) {
        if (!c->submitting && model_blocked(a->world->model, c->client)) {
            struct core_event ev = {.kind = EVENT_UNBLOCK,
                                    .client = {c->client}};

            world_step(a->world, &ev);
        }
    } else if (c->ntokens > 0) {
        struct actor_token t = c->tokens[0];

        token_drop(c, 0);
        do_report(a, c, t, t.asked ? EVENT_FAIL : EVENT_DONE, classes[2]);
    } else if (c->worker) {
        do_fetch(a, c, 3, 0);
    } else {
        (void)close_oldest(a, c);
    }
}

static void check_empty(struct world *w)
{
    const struct model *m = w->model;
    struct core_stats s;

    core_stats(w->core, &s);
    if (s.sessions)
        violation("all is over, and %lld sessions are left",
                  (long long)s.sessions);
    if (s.jobs || s.delayed || s.ready || s.parked || s.running ||
        s.cancelling || s.joining || s.finished || s.payload_bytes ||
        s.retained_bytes || s.log_bytes || s.clients_blocked)
        violation("all is over, and the core counts jobs %lld finished %lld "
                  "payload %lld retained %lld logs %lld blocked %lld",
                  (long long)s.jobs, (long long)s.finished,
                  (long long)s.payload_bytes, (long long)s.retained_bytes,
                  (long long)s.log_bytes, (long long)s.clients_blocked);
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && !m->groups[i].forgotten)
            violation("all is over, and group %llx is still kept",
                      (unsigned long long)m->groups[i].id);
}

static bool nobody_submits(const struct actors *a)
{
    for (int i = 0; i < ACTORS; i++)
        if (a->list[i].client && a->list[i].submitting)
            return false;
    return true;
}

static void something_never_ends(const struct model *m)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].state != MODEL_ENDED)
            violation("the faults have stopped and job %llx never ends, state "
                      "%d attempt %u",
                      (unsigned long long)m->jobs[i].id, (int)m->jobs[i].state,
                      m->jobs[i].attempt);
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && !m->groups[i].ended)
            violation("the faults have stopped and group %llx never ends",
                      (unsigned long long)m->groups[i].id);
    violation("the faults have stopped and a submit still waits");
}

void actors_finish(struct actors *a)
{
    struct world *w = a->world;

    faults_stop(a);
    for (int i = 0; !model_at_rest(w->model) || !nobody_submits(a); i++) {
        if (i > 20000)
            something_never_ends(w->model);
        take_all(a);
        while (late_asked(&w->late) > 0)
            world_load(w);
        world_commit(w);
        take_all(a);
        finish_one(a, &a->list[i % ACTORS]);
        world_advance(w, 1 + below(a, 20));
    }
    world_commit(w);
    take_all(a);
    for (int i = 0; i < ACTORS; i++)
        if (a->list[i].client)
            disconnect(a, &a->list[i], DISCONNECT_CLEAN);
    world_advance(w, 4 * w->limits.keep_max_ms + w->limits.session_grace_ms);
    check_empty(w);
}
