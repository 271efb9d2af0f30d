/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * await - the ends of many jobs and groups on one connection.
 *
 *   yoke_await ──> FRESH ──AWAIT──> ASKED ──its answer──> TAKEN ──end──> told
 *                    ^                │                     │
 *                    │                ├── unknown ──────────│───────────> told
 *                    │                └── refused ──┐       │
 *                    └── a new connection ──────────┴───────┘
 *
 * What was refused among others is fresh again and asked for alone; refused
 * alone, it is told. AWAITs are answered in their order: what an answer is
 * about is at the head of ASKED. An end may come for any of them.
 *
 * AWAIT, UNAWAIT and one FETCH without a queue are sent from yoke_process, so
 * that what is awaited in one turn goes out in few requests. Nobody waits for
 * their answers: they are in the ring as abandoned, with a mark (enum yk_ours).
 * Ends are read from each answer to a FETCH, also to those of the user, who
 * may be a worker; then there is none of ours, which would take its cancels.
 */
#include "client/client.h"

#include <sys/queue.h>

#define BATCH    1000 /* ids in one request */
#define FETCH_MS 10000

enum place { FRESH, ASKED, TAKEN, DROPPED, PLACES };

struct yk_awaited {
    struct yk_node node; /* in the index, unless it is dropped */
    yoke_awaited_fn *fn;
    void *arg;
    TAILQ_ENTRY(yk_awaited) link;
    enum place place;
    uint64_t batch; /* the last AWAIT that asked for it; 0: none, or refused */
    bool alone;     /* it was in a request that was refused */
};

TAILQ_HEAD(list, yk_awaited);

struct yk_awaits {
    struct list at[PLACES]; /* DROPPED: only UNAWAIT is to be said */
    struct yk_index index;
    uint64_t batches;
    bool fetching; /* our FETCH is under way */
};

static struct yk_awaited *awaited_of(struct yk_node *n)
{
    return n ? container_of(n, struct yk_awaited, node) : NULL;
}

static struct yk_awaited *find(const yoke *y, const char *id)
{
    return y->awaits
               ? awaited_of(yk_index_find(&y->awaits->index, id, strlen(id)))
               : NULL;
}

static struct yk_awaited *first(const struct yk_awaits *all, enum place place)
{
    return TAILQ_FIRST(&all->at[place]);
}

static void move(struct yk_awaits *all, struct yk_awaited *a, enum place to)
{
    TAILQ_REMOVE(&all->at[a->place], a, link);
    a->place = to;
    TAILQ_INSERT_TAIL(&all->at[to], a, link);
}

static void discard(struct yk_awaits *all, struct yk_awaited *a)
{
    TAILQ_REMOVE(&all->at[a->place], a, link);
    free(a);
}

/* It is awaited no more when its function is called, which may await it
 * again. */
static void tell(yoke *y, struct yk_awaited *a, int status,
                 const struct yoke_outcome_info *o)
{
    bool within = y->in_callback;

    yk_index_take(&y->awaits->index, &a->node);
    TAILQ_REMOVE(&y->awaits->at[a->place], a, link);
    if (!y->closing) {
        y->in_callback = true;
        a->fn(y, a->node.id, status, o, a->arg);
        y->in_callback = within;
    }
    free(a);
}

/* All that is at a place. Their functions can put more into FRESH, unless the
 * handle is broken. */
static void tell_all(yoke *y, enum place place, int status, const char *words)
{
    struct yk_awaited *a;

    while ((a = first(y->awaits, place))) {
        (void)yk_fail(y, status, "%s", words);
        tell(y, a, status, NULL);
    }
}

/* Ends will not come. What is fresh is told by its own requests. */
static void fetch_failed(yoke *y, int status)
{
    char words[YK_TEXT_MAX];

    memcpy(words, y->text, sizeof(words));
    tell_all(y, TAKEN, status, words);
    tell_all(y, ASKED, status, words);
}

/* -------------------------------------------------------------------- ends */

/* What is known of an end whose map the daemon has no more. */
static int bare_outcome(const struct yoke_value *entry,
                        struct yoke_outcome_info *o)
{
    *o = (struct yoke_outcome_info){
        .id = entry->items[1].s.data,
        .name = "",
        .is_group = entry->items[1].s.data[0] == 'g',
        .submitted_ms = YOKE_NONE,
        .started_ms = YOKE_NONE,
        .ended_ms = YOKE_NONE,
        .parent = "",
        .state = "",
    };
    return yk_outcome_named(yk_value_text(&entry->items[2], ""), &o->outcome)
               ? 0
               : YOKE_ERR_PROTOCOL;
}

static void tell_end(yoke *y, struct yk_awaited *a,
                     const struct yoke_value *entry)
{
    struct yoke_outcome_info bare, *o = NULL;
    struct yoke_value *map;
    int status;

    if (entry->items[3].kind == YOKE_NULL) {
        status = bare_outcome(entry, &bare);
        if (status < 0)
            (void)yk_parse_failed(y, status, "FETCH");
        tell(y, a, status, status < 0 ? NULL : &bare);
        return;
    }
    map = yk_value_copy(&entry->items[3]);
    status = map ? yk_outcome_parse(map, &o) : YOKE_ERR_NOMEM;
    if (status < 0)
        (void)yk_parse_failed(y, status, "FETCH");
    tell(y, a, status, o);
    yoke_outcome_free(o);
}

bool yk_is_end(const struct yoke_value *entry)
{
    return entry->kind == YOKE_ARRAY && entry->count >= 4 &&
           entry->items[1].kind == YOKE_STR &&
           strcmp(yk_value_text(&entry->items[0], ""), "ended") == 0;
}

void yk_await_fetched(yoke *y, const struct yoke_value *reply)
{
    if (!y->awaits || reply->kind != YOKE_ARRAY)
        return;
    for (size_t i = 0; i < reply->count; i++) {
        const struct yoke_value *entry = &reply->items[i];
        struct yk_awaited *a =
            yk_is_end(entry) ? find(y, entry->items[1].s.data) : NULL;

        if (a)
            tell_end(y, a, entry);
    }
}

/* ----------------------------------------------------------------- answers */

static void tell_unknown(yoke *y, struct yk_awaited *a)
{
    bool group = a->node.id[0] == 'g';
    int status = group ? YOKE_ERR_NOGROUP : YOKE_ERR_NOJOB;

    (void)yk_fail(y, status, "%s %s is not known (any more)",
                  group ? "NOGROUP group" : "NOJOB job", a->node.id);
    tell(y, a, status, NULL);
}

/* The next one that this AWAIT asks for, or NULL. */
static struct yk_awaited *asked_in(const struct yk_awaits *all, uint64_t batch)
{
    struct yk_awaited *a = first(all, ASKED);

    return a && a->batch == batch ? a : NULL;
}

static void refused(yoke *y, uint64_t batch, int status)
{
    struct yk_awaits *all = y->awaits;
    struct yk_awaited *a;

    while ((a = asked_in(all, batch))) {
        if (a->alone) {
            tell(y, a, status, NULL); /* it was the only one of its batch */
            return;
        }
        move(all, a, FRESH);
        a->batch = 0;
        a->alone = true;
    }
}

static void await_answered(yoke *y, uint64_t batch, int status,
                           const struct yoke_value *unknown)
{
    struct yk_awaited *a;

    if (status < 0) {
        refused(y, batch, status);
        return;
    }
    for (size_t i = 0; i < unknown->count && unknown->kind == YOKE_ARRAY; i++) {
        a = find(y, yk_value_text(&unknown->items[i], ""));
        if (a && a->place == ASKED && a->batch == batch)
            tell_unknown(y, a);
    }
    while ((a = asked_in(y->awaits, batch)))
        move(y->awaits, a, TAKEN);
}

void yk_await_answered(yoke *y, const struct yk_pending *p, int status,
                       struct yoke_value *reply)
{
    if (p->ours == YK_OUR_FETCH)
        y->awaits->fetching = false;
    if (y->broken) {
        yoke_value_free(reply);
        return; /* yk_await_end follows */
    }
    if (p->ours == YK_OUR_AWAIT) {
        await_answered(y, p->batch, status, reply);
    } else if (p->ours == YK_OUR_FETCH && status < 0) {
        fetch_failed(y, status);
    } else if (p->ours == YK_OUR_FETCH) {
        yk_await_fetched(y, reply);
    }
    yoke_value_free(reply);
    /* Without memory for the loop's turn the next one sees to it. */
    (void)yk_want_turn(y);
}

void yk_await_again(yoke *y)
{
    struct yk_awaits *all = y->awaits;
    struct yk_awaited *a;

    while (all && ((a = first(all, TAKEN)) || (a = first(all, ASKED)))) {
        a->alone = false;
        move(all, a, FRESH);
    }
}

void yk_await_end(yoke *y, int status)
{
    if (!y->awaits)
        return;
    tell_all(y, TAKEN, status, y->broken_text);
    tell_all(y, ASKED, status, y->broken_text);
    tell_all(y, FRESH, status, y->broken_text);
}

void yk_await_free(yoke *y)
{
    struct yk_awaits *all = y->awaits;
    struct yk_awaited *a;

    if (!all)
        return;
    for (enum place place = FRESH; place < PLACES; place++)
        while ((a = first(all, place)))
            discard(all, a);
    yk_index_clear(&all->index);
    free(all);
    y->awaits = NULL;
}

/* ------------------------------------------------------------------ asking */

/* The ids of up to BATCH of a list, from its head; one that is alone is. */
static size_t gather(const struct list *from, struct yoke_bytes *argv)
{
    const struct yk_awaited *a;
    size_t n = 0;

    TAILQ_FOREACH(a, from, link)
    {
        if (n == BATCH || (n > 0 && a->alone))
            break;
        argv[1 + n++] =
            (struct yoke_bytes){.data = a->node.id, .len = strlen(a->node.id)};
        if (a->alone)
            break;
    }
    return n;
}

static void say_unawait(yoke *y, struct yoke_bytes *argv)
{
    const struct yk_pending pending = {.ours = YK_OUR_UNAWAIT};
    struct yk_awaits *all = y->awaits;

    while (first(all, DROPPED)) {
        size_t n = gather(&all->at[DROPPED], argv);

        argv[0] = (struct yoke_bytes){.data = "UNAWAIT", .len = 7};
        /* What cannot be said is told in vain, that is all. */
        (void)yk_send(y, 1 + n, argv, &pending);
        for (; n > 0; n--)
            discard(all, first(all, DROPPED));
    }
}

/* There was no memory for this request, which is the last one. */
static void unsent(yoke *y, uint64_t batch, int status)
{
    struct list *asked = &y->awaits->at[ASKED];
    char words[YK_TEXT_MAX];
    struct yk_awaited *a;

    memcpy(words, y->text, sizeof(words));
    while ((a = TAILQ_LAST(asked, list)) && a->batch == batch) {
        (void)yk_fail(y, status, "%s", words);
        tell(y, a, status, NULL);
    }
}

static void say_await(yoke *y, struct yoke_bytes *argv)
{
    struct yk_awaits *all = y->awaits;

    while (first(all, FRESH) && yk_has_room(y)) {
        const struct yk_pending pending = {.ours = YK_OUR_AWAIT,
                                           .batch = ++all->batches};
        size_t n = gather(&all->at[FRESH], argv);
        int status;

        argv[0] = (struct yoke_bytes){.data = "AWAIT", .len = 5};
        status = yk_send(y, 1 + n, argv, &pending);
        for (; n > 0; n--) {
            struct yk_awaited *a = first(all, FRESH);

            a->batch = pending.batch;
            move(all, a, ASKED);
        }
        if (status < 0) {
            unsent(y, pending.batch, status);
            return;
        }
    }
}

static void say_fetch(yoke *y)
{
    const struct yk_pending pending = {.ours = YK_OUR_FETCH};
    int64_t wait_ms = y->lease_ms > 0 ? y->lease_ms / 3 : FETCH_MS;
    struct yk_args a;
    int status;

    yk_args_init(&a, "FETCH");
    yk_args_int(&a, 0);
    yk_args_int(&a, wait_ms);
    status = yk_send(y, a.count, a.v, &pending);
    y->awaits->fetching = status == 0;
    if (status < 0)
        fetch_failed(y, status);
}

static bool fetch_due(const yoke *y)
{
    return !y->awaits->fetching && !y->fetches && !y->worker &&
           (first(y->awaits, TAKEN) || first(y->awaits, ASKED));
}

bool yk_await_due(const yoke *y)
{
    const struct yk_awaits *all = y->awaits;

    return all && y->link == YK_UP && !y->broken && y->waits == 0 &&
           yk_has_room(y) &&
           (first(all, FRESH) || first(all, DROPPED) || fetch_due(y));
}

void yk_await_ask(yoke *y)
{
    struct yoke_bytes argv[1 + BATCH];

    if (!yk_await_due(y))
        return;
    say_unawait(y, argv);
    say_await(y, argv);
    if (!y->closing && yk_has_room(y) && fetch_due(y))
        say_fetch(y);
}

/* ------------------------------------------------------------------ public */

static struct yk_awaits *awaits_of(yoke *y)
{
    struct yk_awaits *all = y->awaits;

    if (all)
        return all;
    all = yk_zalloc(1, sizeof(*all));
    if (!all)
        return NULL;
    for (enum place place = FRESH; place < PLACES; place++)
        TAILQ_INIT(&all->at[place]);
    y->awaits = all;
    return all;
}

int yoke_await(yoke *y, const char *id, yoke_awaited_fn *fn, void *arg)
{
    size_t len = id ? strnlen(id, YOKE_ID_SIZE) : 0;
    struct yk_awaits *all;
    struct yk_awaited *a;

    if (y->broken)
        return yk_fail(y, y->broken, "%s", y->broken_text);
    /* What else is no id the daemon says. */
    if (!fn || len == 0 || len > YK_ID_MAX)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "yoke_await takes the id of a job or of a group, and a "
                       "function");
    if (find(y, id))
        return yk_fail(y, YOKE_ERR_ARGUMENT, "%s is awaited already", id);
    all = awaits_of(y);
    a = all ? yk_zalloc(1, sizeof(*a)) : NULL;
    if (!a)
        return yk_nomem(y);
    memcpy(a->node.id, id, len);
    a->fn = fn;
    a->arg = arg;
    a->place = FRESH;
    if (yk_want_turn(y) < 0 || !yk_index_put(&all->index, &a->node)) {
        free(a);
        return yk_nomem(y);
    }
    TAILQ_INSERT_TAIL(&all->at[FRESH], a, link);
    return 0;
}

int yoke_unawait(yoke *y, const char *id)
{
    struct yk_awaited *a = id ? find(y, id) : NULL;

    if (!a)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "%.40s is not awaited",
                       id ? id : "NULL");
    yk_index_take(&y->awaits->index, &a->node);
    if (a->batch == 0) {
        discard(y->awaits, a);
        return 0;
    }
    a->alone = false;
    move(y->awaits, a, DROPPED);
    (void)yk_want_turn(y); /* else the next one says it */
    return 0;
}

size_t yoke_awaited(const yoke *y)
{
    return y->awaits ? y->awaits->index.count : 0;
}
