/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scope - where something new may live: a group, or a running attempt.
 *
 * An attempt that is named by its token takes groups, and jobs in the group of
 * its body. That one is opened by the core when the first job comes, with the
 * policy of asyncio.TaskGroup, and is closed when the body has ended, as all
 * groups under the job are. It is never opened a second time: after a member
 * has failed the scope of that attempt stays cancelled.
 */
#include "core/scope.h"

#include "core/attempt.h"
#include "core/full.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"

/* The running attempt that is named, or NULL: answered. `what` names the
 * argument. */
static struct job *attempt_or_reply(struct core *c, struct client_id client,
                                    const struct token *t, const char *what)
{
    struct job *j = find_job_or_reply(c, client, t->job);

    if (!j)
        return NULL;
    if (j->attempt != t->attempt ||
        (j->state != JOB_RUNNING && j->state != JOB_CANCELLING)) {
        c->totals.stale++;
        reply_error(c, client, CORE_ERR_STALE, "%s is not a running attempt",
                    what);
        return NULL;
    }
    if (attempt_cancelled(j)) {
        reply_error(c, client, CORE_ERR_CANCELLED,
                    "the job is cancelled and takes no more members");
        return NULL;
    }
    return j;
}

static bool depth_allowed(struct core *c, struct client_id client,
                          uint32_t depth)
{
    if (depth <= c->limits.depth_max)
        return true;
    reply_error(c, client, CORE_ERR_LIMIT,
                "the tree is %lld deep at most (depth-max)",
                (long long)c->limits.depth_max);
    return false;
}

bool scope_takes_group(struct core *c, struct client_id client,
                       const struct scope_ref *ref)
{
    if (ref->is_job) {
        const struct job *j =
            attempt_or_reply(c, client, &ref->token, "PARENT");

        return j && depth_allowed(c, client, j->group->depth + 2);
    }
    {
        const struct group *g = find_group_or_reply(c, client, ref->group);

        return g && group_accepts(c, client, g) &&
               depth_allowed(c, client, g->depth + 1);
    }
}

bool scope_room_for_group(struct core *c, struct client_id client)
{
    if (c->draining) {
        reply_error(c, client, CORE_ERR_DRAINING,
                    "the daemon is shutting down");
        return false;
    }
    if (!full_may_grow(c, client))
        return false;
    if (c->memory > c->limits.memory_max) {
        reply_error(c, client, CORE_ERR_OOM,
                    "memory-max (%lld bytes) is reached",
                    (long long)c->limits.memory_max);
        return false;
    }
    if (c->ngroups + c->nended >= c->limits.groups_max && !group_evict(c)) {
        reply_error(c, client, CORE_ERR_LIMIT,
                    "there are %lld groups (groups-max)",
                    (long long)c->ngroups);
        return false;
    }
    return true;
}

bool scope_body_takes_job(struct core *c, struct client_id client,
                          const struct token *t)
{
    const struct job *j = attempt_or_reply(c, client, t, "GROUP");
    const struct group *g;

    if (!j)
        return false;
    if (!j->u.run->body)
        return depth_allowed(c, client, j->group->depth + 2) &&
               scope_room_for_group(c, client);
    g = find_group(c, (struct group_id){j->u.run->body});
    if (g)
        return group_accepts(c, client, g);
    /* Forgotten before its body has ended: only a cancel ends it so early. */
    reply_error(c, client, CORE_ERR_CANCELLED,
                "the group of the job's body was cancelled");
    return false;
}

struct group_id scope_body(struct core *c, const struct token *t)
{
    const struct run *run = find_job(c, t->job)->u.run;

    if (!run->body)
        core_record(
            c,
            &(struct record){
                .type = RECORD_GROUP,
                .at_ms = c->now_ms,
                .id = c->next_id,
                .u.group = {.parent_is_job = true,
                            .parent = t->job.n,
                            .parent_attempt = t->attempt,
                            .fail = 1,
                            .width = CORE_NONE,
                            .deadline_ms = CORE_NONE,
                            .keep_ms = min_i64(c->limits.queue_defaults.keep_ms,
                                               c->limits.keep_max_ms),
                            .of_body = true}});
    ASSERT(run->body);
    return (struct group_id){run->body};
}
