/* SPDX-License-Identifier: BSD-2-Clause */
#include "actors.h"

#include "actors_internal.h"

const struct str actors_queues[ACTORS_QUEUES] = {{.p = "a", .len = 1},
                                                 {.p = "b", .len = 1},
                                                 {.p = "c:d.e", .len = 5},
                                                 {.p = "late", .len = 4},
                                                 {.p = "z", .len = 1}};

const struct str actors_limiters[ACTORS_LIMITERS] = {
    {.p = "gpu", .len = 3}, {.p = "net", .len = 3}, {.p = "disk", .len = 4}};

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

void actors_ask(struct actors *a, struct actor *c, struct core_event *ev)
{
    struct core_event alive = {.kind = EVENT_ALIVE, .client = {c->client}};

    world_step(a->world, &alive);
    again_remember(c, ev);
    ev->client.n = c->client;
    c->waiting = true;
    c->submitting = ev->kind == EVENT_SUBMIT;
    world_step(a->world, ev);
}

uint64_t actors_known(struct actors *a, const uint64_t *ids, uint64_t n)
{
    uint64_t newest = n < KNOWN ? n : KNOWN;

    if (n == 0 || chance(a, 2))
        return world_random(a->world) >> 8; /* nobody ever got that id */
    if (chance(a, 60))
        newest = newest < 6 ? newest : 6;
    return ids[(n - 1 - (uint64_t)below(a, (int64_t)newest)) % KNOWN];
}

uint64_t actors_known_group(struct actors *a)
{
    const struct model *m = a->world->model;
    uint64_t id = actors_known(a, a->groups, a->ngroups);
    int i = model_group_find(m, id);

    for (int n = 0; n < 4 && (i < 0 || m->groups[i].ended); n++) {
        id = actors_known(a, a->groups, a->ngroups);
        i = model_group_find(m, id);
    }
    return id;
}

uint64_t actors_known_job(struct actors *a)
{
    const struct model *m = a->world->model;
    uint64_t id = actors_known(a, a->jobs, a->njobs);
    int i = model_job_find(m, id);

    for (int n = 0; n < 2 && (i < 0 || m->jobs[i].state == MODEL_ENDED); n++) {
        id = actors_known(a, a->jobs, a->njobs);
        i = model_job_find(m, id);
    }
    return id;
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
    actors_ask(a, c, &ev);
}

static void do_fetch(struct actors *a, struct actor *c, int64_t count,
                     int64_t wait_ms)
{
    struct str queues[ACTORS_QUEUES];
    int64_t bounds[ACTORS_QUEUES];
    size_t n = 1 + (size_t)below(a, ACTORS_QUEUES);
    size_t from = (size_t)below(a, ACTORS_QUEUES);
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .u.fetch = {.count = count, .wait_ms = wait_ms, .queues = queues}};

    for (size_t i = 0; i < n; i++)
        queues[i] = actors_queues[(from + i) % ACTORS_QUEUES];
    ev.u.fetch.nqueues = n;
    if (below(a, 3) == 0) {
        for (size_t i = 0; i < n; i++)
            bounds[i] = below(a, 4) - 1; /* CORE_NONE, 0, 1, 2 */
        ev.u.fetch.bounds = bounds;
    }
    actors_ask(a, c, &ev);
}

/* Some of them again, or of those that have ended. */
static void do_await(struct actors *a, struct actor *c)
{
    struct core_id ids[3];
    struct core_event ev = {
        .kind = chance(a, 80) ? EVENT_AWAIT : EVENT_UNAWAIT,
        .u.await = {.ids = ids, .nids = 1 + (size_t)below(a, 3)}};

    for (size_t i = 0; i < ev.u.await.nids; i++) {
        bool is_group = chance(a, 30);
        uint64_t id = is_group ? actors_known_group(a) : actors_known_job(a);

        if (id == 0)
            return;
        ids[i] = (struct core_id){.is_group = is_group, .n = id};
    }
    actors_ask(a, c, &ev);
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
        if (producer_may_open(a))
            producer_open(a, c, &t);
    } else if (n < 92) {
        if (producer_may_submit(a) && producer_may_open(a))
            producer_submit(a, c, &t);
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
        struct actor_token t = {.job = actors_known_job(a), .attempt = 50};

        do_report(a, c, t, kinds[below(a, (int64_t)ARRAY_LEN(kinds))],
                  classes[0]);
    } else if (chance(a, 1) && c->nstale > 0 && producer_may_submit(a)) {
        producer_submit(a, c, &c->stale[below(a, c->nstale)]);
    } else if (chance(a, 8)) {
        do_await(a, c);
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
        actors_ask(a, c, &ev);
        return;
    }
    if (is_new && c->session && chance(a, 30)) { /* with one that it drops */
        actors_ask(a, c, &ev);
        return;
    }
    if (c->session) {
        ev.kind = EVENT_SESSION_RESUME;
        ev.u.session.n = c->session;
        c->resuming = true;
    }
    c->attached = true;
    actors_ask(a, c, &ev);
    if (c->resuming)
        c->before = 0; /* was cut */
}

/* What has no answer, in its order. */
static void say_again(struct actors *a, struct actor *c)
{
    do {
        struct core_event ev = again_next(c);

        actors_ask(a, c, &ev);
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
        if (producer_may_submit(a) && !c->worker)
            producer_submit(a, c, NULL);
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
                            .u.limiter = {.name = actors_limiters[i],
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
        ev.u.queue.name = actors_queues[below(a, ACTORS_QUEUES)];
        ev.u.queue.paused = chance(a, 30);
        break;
    case 2:
    case 3:
        ev.kind = EVENT_QUEUE_SET;
        ev.u.queue.name = actors_queues[below(a, ACTORS_QUEUES)];
        core_settings_unset(&ev.u.queue.settings);
        if (chance(a, 50))
            ev.u.queue.settings.max_jobs =
                1 + below(a, a->world->round ? 3 : 15);
        else
            ev.u.queue.settings.fair = chance(a, 70);
        if (chance(a, 50))
            ev.u.queue.settings.dead_keep_ms =
                below(a, a->world->limits.keep_max_ms);
        break;
    case 4:
    case 5:
        ev.kind = EVENT_QUEUE_CLOSE;
        ev.u.queue.name = actors_queues[below(a, ACTORS_QUEUES)];
        ev.u.queue.closed = chance(a, 25);
        ev.u.queue.at_once = ev.u.queue.closed && chance(a, 30);
        break;
    case 8:
    case 9:
    case 10:
        set_limiter(a, (size_t)below(a, ACTORS_LIMITERS));
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
        producer_act(a, c);
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
    for (size_t i = 0; i < ACTORS_LIMITERS; i++) {
        ev = (struct core_event){.kind = EVENT_LIMITER_SET,
                                 .client = {UINT64_C(1) << 40},
                                 .u.limiter = {.name = actors_limiters[i],
                                               .permits = 2,
                                               .rate = 0,
                                               .rate_ms = 0}};
        world_step(a->world, &ev);
    }
    for (size_t i = 0; i < ACTORS_QUEUES; i++) {
        ev = (struct core_event){.kind = EVENT_QUEUE_PAUSE,
                                 .client = {UINT64_C(1) << 40}};
        ev.u.queue.name = actors_queues[i];
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
        (void)producer_close_oldest(a, c);
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
