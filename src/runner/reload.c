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

/* The settings that shall hold from now on; NULL with messages. */
static struct settings *load(struct runner *r, char *fixed, size_t size)
{
    char why[SETTINGS_WHY_SIZE];
    struct settings *s = r->options->load(r->options->arg, why);

    if (!s) {
        message_error("%s", why);
        return NULL;
    }
    settings_keep_fixed(s, r->settings, fixed, size);
    if (host_probe_queues(&r->host, s) < 0) {
        settings_release(s);
        return NULL;
    }
    return s;
}

void runner_reload(struct runner *r)
{
    struct settings *s;
    char fixed[64];

    if (r->stopping) {
        message_info("not reloaded: stopping");
        return;
    }
    s = load(r, fixed, sizeof(fixed));
    if (!s) {
        message_error("not reloaded: the settings stay as they were");
        return;
    }
    /* They came under the old ones, and come again under the new ones. */
    runner_give_back_held(r);
    runner_adopt(r, s);
    pools_renew(&r->pools);
    r->fetch_stale = r->fetch_open;
    message_info("reloaded queues=%zu slots=%lld running=%zu", s->nqueues,
                 (long long)s->slots, r->nrunning + pools_given(&r->pools));
    if (*fixed)
        message_warn("these take effect at the next start only: %s", fixed);
}
