/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiter - a CapacityLimiter: two graphics cards for whatever needs them, in
 * whichever queue or group. A job has all its permits or none and waits in the
 * order of submission; what needs none passes; raising the limit acts at once.
 *
 * Prints:
 *     starts: render 1, render 2, mail
 *     2 of 2 cards are held, 2 jobs wait
 *     one card is free; train needs both, and is not overtaken
 *     starts: nothing
 *     both are free
 *     starts: train
 *     a third card
 *     starts: render 3
 */
#include "example.h"

#define QUEUE   "example.cards"
#define LIMITER "example.card"

enum { JOBS = 5 };

static const struct {
    const char *name, *limits;
} jobs[JOBS] = {
    {"render 1", LIMITER},      {"render 2", LIMITER}, {"train", LIMITER ":2"},
    {"render 3", LIMITER ":1"}, {"mail", NULL},
};

static char tokens[JOBS][YOKE_ID_SIZE];

static void submit(yoke *y)
{
    char id[YOKE_ID_SIZE];

    for (int i = 0; i < JOBS; i++) {
        struct yoke_submit s;

        yoke_submit_init(&s);
        s.queue = QUEUE;
        s.name = jobs[i].name;
        s.limits = jobs[i].limits;
        must(y, yoke_submit(y, &s, id));
    }
}

/* Takes what may start now. */
static void start(yoke *y)
{
    static const char *const queues[] = {QUEUE};
    struct yoke_work_list *list;

    must(y, yoke_fetch(y, JOBS, 0, 1, queues, &list));
    printf("starts: %s", list->count == 0 ? "nothing" : "");
    for (size_t i = 0; i < list->count; i++) {
        const struct yoke_work *w = &list->items[i];

        printf("%s%s", i > 0 ? ", " : "", w->name);
        for (int k = 0; k < JOBS; k++)
            if (strcmp(jobs[k].name, w->name) == 0)
                (void)snprintf(tokens[k], YOKE_ID_SIZE, "%s", w->token);
    }
    printf("\n");
    yoke_work_free(list);
}

static void end(yoke *y, int job)
{
    must(y, yoke_done(y, tokens[job], (struct yoke_bytes){0}));
}

static void set(yoke *y, int cards)
{
    must(y, yoke_limiter_set(y, LIMITER, cards, YOKE_DEFAULT, YOKE_DEFAULT));
}

int main(void)
{
    yoke *y = example_open();
    struct yoke_limiter l;

    set(y, 2);
    submit(y);
    start(y);
    must(y, yoke_limiter_info(y, LIMITER, &l));
    printf("%d of %d cards are held, %d jobs wait\n", (int)l.held,
           (int)l.permits, (int)l.waiting);
    end(y, 0);
    printf("one card is free; train needs both, and is not overtaken\n");
    start(y);
    end(y, 1);
    printf("both are free\n");
    start(y);
    printf("a third card\n");
    set(y, 3);
    start(y);
    for (int i = 2; i < JOBS; i++)
        end(y, i);
    must(y, yoke_limiter_delete(y, LIMITER));
    yoke_close(y);
    return 0;
}
