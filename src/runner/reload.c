/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/host.h"
#include "runner/internal.h"
#include "runner/memory.h"
#include "runner/message.h"

#include <stdlib.h>

struct queue_use *runner_use_of(struct runner *r, const struct job *j)
{
    const struct settings *s = r->settings;
    const struct settings_queue *q =
        j->settings == s ? j->queue : settings_queue_find(s, j->queue->name);

    return q ? &r->use[q - s->queues] : NULL;
}

void runner_adopt(struct runner *r, struct settings *s)
{
    enum message_level level;
    struct request *q;
    struct job *j;

    settings_release(r->host.settings);
    r->host.settings = s;
    r->settings = s;
    free(r->use);
    r->use = memory_new(s->nqueues * sizeof(*r->use));
    r->fetch = memory_resize(r->fetch, s->nqueues + 3, sizeof(*r->fetch));
    /* What comes of these may be more than the new ones have room for: it waits
     * for that, or is given back. */
    TAILQ_FOREACH(q, &r->requests, link)
    {
        free(q->rooms);
        q->rooms = NULL;
    }
    TAILQ_FOREACH(j, &r->running, link)
    {
        struct queue_use *use = runner_use_of(r, j);

        if (use)
            use->running++;
    }
    if (message_parse_level(s->log_level, &level) == 0)
        message_set_level(level);
}

static void give_up(struct runner *r)
{
    ev_timer_stop(r->host.loop, &r->probe);
    settings_release(r->next);
    r->next = NULL;
}

static void refuse(struct runner *r)
{
    message_error("not reloaded: the settings stay as they were");
    give_up(r);
}

static void follow(struct runner *r)
{
    struct settings *s = r->next;

    r->next = NULL;
    /* They came under the old ones, and come again under the new ones. */
    runner_give_back_held(r);
    runner_adopt(r, s);
    pools_renew(&r->pools);
    r->fetch_stale = r->fetch_open;
    message_info("reloaded queues=%zu slots=%lld running=%zu", s->nqueues,
                 (long long)s->slots, r->nrunning + pools_given(&r->pools));
    if (*r->next_fixed)
        message_warn("these take effect at the next start only: %s",
                     r->next_fixed);
}

/* The loop goes on between two queues: to try hundreds takes as long as a
 * cancel must not wait. */
static void try_next(struct runner *r)
{
    ev_timer_set(&r->probe, 0., 0.);
    ev_timer_start(r->host.loop, &r->probe);
}

void reload_on_probe(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct runner *r = timer->data;

    (void)loop;
    (void)events;
    if (r->stopping) {
        message_info("not reloaded: stopping");
        give_up(r);
    } else if (r->next_tried == r->next->nqueues) {
        follow(r);
    } else if (host_probe_queue(&r->host, &r->next->queues[r->next_tried++]) <
               0) {
        refuse(r);
    } else {
        try_next(r);
    }
}

void runner_reload(struct runner *r)
{
    char why[SETTINGS_WHY_SIZE];

    if (r->stopping) {
        message_info("not reloaded: stopping");
        return;
    }
    give_up(r); /* what was read before is not the newest any more */
    r->next = r->options->load(r->options->arg, why);
    if (!r->next) {
        message_error("%s", why);
        refuse(r);
        return;
    }
    settings_keep_fixed(r->next, r->settings, r->next_fixed,
                        sizeof(r->next_fixed));
    r->next_tried = 0;
    message_debug("the settings are read again queues=%zu", r->next->nqueues);
    try_next(r);
}
