/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * await - the ends of many jobs and groups on one connection.
 *
 *   yoke_await ──> FRESH ──AWAIT──> ASKED ──its end, or unknown──> told
 *                    ^                │
 *                    └── a new connection, a refused request
 *
 * AWAIT, UNAWAIT and one FETCH without a queue are sent from yoke_process, so
 * that what is awaited in one turn goes out in few requests. Nobody waits for
 * their answers: they are in the ring as abandoned, with a mark (enum yk_ours).
 * Ends are read from each answer to a FETCH, also to those of the user, who
 * may be a worker; then there is none of ours, which would take its cancels.
 */
#include "client/client.h"

#include <inttypes.h>
#include <search.h>
#include <sys/queue.h>

#define BATCH      1000 /* ids in one request */
#define FETCH_MS   10000
#define AWAIT_WORD "AWAIT"

struct yk_awaited {
    char id[YOKE_ID_SIZE]; /* first: the index compares by it */
    yoke_awaited_fn *fn;
    void *arg;
    TAILQ_ENTRY(yk_awaited) link;
    uint64_t batch; /* the AWAIT that asked for it; 0: it is fresh */
    bool alone;     /* it was in a request that was refused */
};

TAILQ_HEAD(list, yk_awaited);

struct yk_awaits {
    struct list fresh, asked;
    struct list dropped; /* not in the index; UNAWAIT is to be said */
    void *index;         /* of tsearch(3) */
    size_t count;        /* in the index */
    uint64_t batches;
    bool fetching; /* our FETCH is under way */
};

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct yk_awaited *find(const yoke *y, const char *id)
{
    struct yk_awaited *const *found =
        y->awaits ? tfind(id, &y->awaits->index, by_id) : NULL;

    return found ? *found : NULL;
}

static struct list *list_of(struct yk_awaits *all, const struct yk_awaited *a)
{
    return a->batch ? &all->asked : &all->fresh;
}

static void take_out(struct yk_awaits *all, struct yk_awaited *a)
{
    (void)tdelete(a, &all->index, by_id);
    TAILQ_REMOVE(list_of(all, a), a, link);
    all->count--;
}

static void make_fresh(struct yk_awaits *all, struct yk_awaited *a)
{
    TAILQ_REMOVE(list_of(all, a), a, link);
    a->batch = 0;
    TAILQ_INSERT_TAIL(&all->fresh, a, link);
}

/* It is awaited no more when its function is called, which may await it
 * again. */
static void tell(yoke *y, struct yk_awaited *a, int status,
                 const struct yoke_outcome_info *o)
{
    bool within = y->in_callback;

    take_out(y->awaits, a);
    if (!y->closing) {
        y->in_callback = true;
        a->fn(y, a->id, status, o, a->arg);
        y->in_callback = within;
    }
    free(a);
}

static void tell_all(yoke *y, int status, const char *words)
{
    struct yk_awaits *all = y->awaits;
    struct yk_awaited *a;
    uint64_t last = all->batches;

    /* What a function awaits anew is not among them. */
    while ((a = TAILQ_FIRST(&all->asked)) && a->batch <= last) {
        (void)yk_fail(y, status, "%s", words);
        tell(y, a, status, NULL);
    }
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
    bool group = a->id[0] == 'g';
    int status = group ? YOKE_ERR_NOGROUP : YOKE_ERR_NOJOB;

    (void)yk_fail(y, status, "%s %s is not known (any more)",
                  group ? "NOGROUP group" : "NOJOB job", a->id);
    tell(y, a, status, NULL);
}

/* Batches are asked for in their order, and what is asked is in it. */
static void refused(yoke *y, uint64_t batch, int status)
{
    struct yk_awaits *all = y->awaits;
    char words[YK_TEXT_MAX];
    struct yk_awaited *a, *next;

    memcpy(words, y->text, sizeof(words));
    for (a = TAILQ_FIRST(&all->asked); a && a->batch < batch; a = next)
        next = TAILQ_NEXT(a, link);
    for (; a && a->batch == batch; a = next) {
        next = TAILQ_NEXT(a, link);
        if (!a->alone) {
            make_fresh(all, a);
            a->alone = true;
            continue;
        }
        (void)yk_fail(y, status, "%s", words);
        tell(y, a, status, NULL); /* it was the only one of its batch */
        return;
    }
}

static void await_answered(yoke *y, uint64_t batch, int status,
                           const struct yoke_value *unknown)
{
    if (status < 0) {
        refused(y, batch, status);
        return;
    }
    for (size_t i = 0; i < unknown->count && unknown->kind == YOKE_ARRAY; i++) {
        struct yk_awaited *a = find(y, yk_value_text(&unknown->items[i], ""));

        if (a && a->batch == batch)
            tell_unknown(y, a);
    }
}

void yk_await_answered(yoke *y, const struct yk_pending *p, int status,
                       struct yoke_value *reply)
{
    char words[YK_TEXT_MAX];

    if (p->ours == YK_OUR_FETCH)
        y->awaits->fetching = false;
    if (y->broken) {
        yoke_value_free(reply);
        return; /* yk_await_end follows */
    }
    if (p->ours == YK_OUR_AWAIT) {
        await_answered(y, p->batch, status, reply);
    } else if (p->ours == YK_OUR_FETCH && status < 0) {
        memcpy(words, y->text, sizeof(words));
        tell_all(y, status, words);
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

    while (all && (a = TAILQ_FIRST(&all->asked))) {
        a->alone = false;
        make_fresh(all, a);
    }
}

void yk_await_end(yoke *y, int status)
{
    struct yk_awaits *all = y->awaits;
    struct yk_awaited *a;

    while (all &&
           ((a = TAILQ_FIRST(&all->asked)) || (a = TAILQ_FIRST(&all->fresh)))) {
        (void)yk_fail(y, status, "%s", y->broken_text);
        tell(y, a, status, NULL);
    }
}

void yk_await_free(yoke *y)
{
    struct yk_awaits *all = y->awaits;
    struct yk_awaited *a;

    if (!all)
        return;
    y->awaits = NULL;
    TAILQ_CONCAT(&all->asked, &all->fresh, link);
    while ((a = TAILQ_FIRST(&all->asked))) {
        TAILQ_REMOVE(&all->asked, a, link);
        (void)tdelete(a, &all->index, by_id);
        free(a);
    }
    while ((a = TAILQ_FIRST(&all->dropped))) {
        TAILQ_REMOVE(&all->dropped, a, link);
        free(a);
    }
    free(all);
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
            (struct yoke_bytes){.data = a->id, .len = strlen(a->id)};
        if (a->alone)
            break;
    }
    return n;
}

static void say_unawait(yoke *y, struct yoke_bytes *argv)
{
    const struct yk_pending pending = {.ours = YK_OUR_UNAWAIT};
    struct list *dropped = &y->awaits->dropped;

    while (!TAILQ_EMPTY(dropped)) {
        size_t n = gather(dropped, argv);

        argv[0] = (struct yoke_bytes){.data = "UNAWAIT", .len = 7};
        /* What cannot be said is told in vain, that is all. */
        (void)yk_send(y, 1 + n, argv, &pending);
        for (; n > 0; n--) {
            struct yk_awaited *a = TAILQ_FIRST(dropped);

            TAILQ_REMOVE(dropped, a, link);
            free(a);
        }
    }
}

static void say_await(yoke *y, struct yoke_bytes *argv)
{
    struct yk_awaits *all = y->awaits;

    while (!TAILQ_EMPTY(&all->fresh) && yk_has_room(y)) {
        const struct yk_pending pending = {.ours = YK_OUR_AWAIT,
                                           .batch = ++all->batches};
        size_t n = gather(&all->fresh, argv);
        int status;

        argv[0] = (struct yoke_bytes){.data = AWAIT_WORD,
                                      .len = sizeof(AWAIT_WORD) - 1};
        status = yk_send(y, 1 + n, argv, &pending);
        for (; n > 0; n--) {
            struct yk_awaited *a = TAILQ_FIRST(&all->fresh);

            TAILQ_REMOVE(&all->fresh, a, link);
            a->batch = pending.batch;
            a->alone |= status < 0;
            TAILQ_INSERT_TAIL(&all->asked, a, link);
        }
        if (status < 0) {
            char words[YK_TEXT_MAX];
            struct yk_awaited *a;

            memcpy(words, y->text, sizeof(words));
            while ((a = TAILQ_LAST(&all->asked, list)) &&
                   a->batch == pending.batch) {
                (void)yk_fail(y, status, "%s", words);
                tell(y, a, status, NULL);
            }
            return;
        }
    }
}

static void say_fetch(yoke *y)
{
    const struct yk_pending pending = {.ours = YK_OUR_FETCH};
    int64_t wait_ms = y->lease_ms > 0 ? y->lease_ms / 3 : FETCH_MS;
    char words[YK_TEXT_MAX];
    struct yk_args a;
    int status;

    yk_args_init(&a, "FETCH");
    yk_args_int(&a, 0);
    yk_args_int(&a, wait_ms);
    status = yk_send(y, a.count, a.v, &pending);
    y->awaits->fetching = status == 0;
    if (status < 0) {
        memcpy(words, y->text, sizeof(words));
        tell_all(y, status, words);
    }
}

static bool fetch_due(const yoke *y)
{
    return !y->awaits->fetching && !y->fetches && !y->worker &&
           !TAILQ_EMPTY(&y->awaits->asked);
}

bool yk_await_due(const yoke *y)
{
    const struct yk_awaits *all = y->awaits;

    return all && y->link == YK_UP && !y->broken && y->waits == 0 &&
           yk_has_room(y) &&
           (!TAILQ_EMPTY(&all->fresh) || !TAILQ_EMPTY(&all->dropped) ||
            fetch_due(y));
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

static bool is_id(const char *id)
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t len = id ? strnlen(id, YOKE_ID_SIZE) : 0;

    return len > 1 && len <= YK_ID_MAX && (id[0] == 'j' || id[0] == 'g') &&
           strspn(id, alphabet) == len;
}

static struct yk_awaits *awaits_of(yoke *y)
{
    struct yk_awaits *all = y->awaits;

    if (all)
        return all;
    all = yk_zalloc(1, sizeof(*all));
    if (!all)
        return NULL;
    TAILQ_INIT(&all->fresh);
    TAILQ_INIT(&all->asked);
    TAILQ_INIT(&all->dropped);
    y->awaits = all;
    return all;
}

int yoke_await(yoke *y, const char *id, yoke_awaited_fn *fn, void *arg)
{
    struct yk_awaits *all;
    struct yk_awaited *a;

    if (y->broken)
        return yk_fail(y, y->broken, "%s", y->broken_text);
    if (!fn || !is_id(id))
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "yoke_await takes a function and the id of a job or of "
                       "a group (not root, which never ends)");
    if (find(y, id))
        return yk_fail(y, YOKE_ERR_ARGUMENT, "%s is awaited already", id);
    all = awaits_of(y);
    a = all ? yk_zalloc(1, sizeof(*a)) : NULL;
    if (!a)
        return yk_nomem(y);
    memcpy(a->id, id, strlen(id) + 1);
    a->fn = fn;
    a->arg = arg;
    if (yk_want_turn(y) < 0 || !tsearch(a, &all->index, by_id)) {
        free(a);
        return yk_nomem(y);
    }
    TAILQ_INSERT_TAIL(&all->fresh, a, link);
    all->count++;
    return 0;
}

int yoke_unawait(yoke *y, const char *id)
{
    struct yk_awaited *a = id ? find(y, id) : NULL;
    bool told;

    if (!a)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "%.40s is not awaited",
                       id ? id : "NULL");
    told = a->batch > 0;
    take_out(y->awaits, a);
    if (told) {
        a->alone = false;
        TAILQ_INSERT_TAIL(&y->awaits->dropped, a, link);
        (void)yk_want_turn(y); /* else the next one says it */
    } else {
        free(a);
    }
    return 0;
}

size_t yoke_awaited(const yoke *y)
{
    return y->awaits ? y->awaits->count : 0;
}
