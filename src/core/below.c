/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * below - the groups that were opened under a job, as long as the job is known.
 */
#include "core/below.h"

#include "core/ids.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/retain.h"

#define COMPACT_AT 1024

void below_add(struct core *c, struct job *j, uint64_t group)
{
    struct extra *x = job_extra(c, j);

    if (!x->below) {
        x->below = mem_zalloc(sizeof(*x->below));
        x->below->job = j;
        list_push_back(&c->belows, &x->below->link);
        account(c, sizeof(*x->below));
    }
    id_vector_push(c, &x->below->groups, group | ID_GROUP);
}

static void drop_below(struct core *c, struct job *j)
{
    bool kept = j->state == JOB_FINISHED;

    if (kept)
        retain_count(c, j, -1);
    below_free(c, j->extra);
    if (kept)
        retain_count(c, j, +1);
}

/* Only those that are there stay. */
static void drop_forgotten(struct core *c, struct below *below)
{
    size_t kept = 0;

    for (size_t i = 0; i < below->groups.len; i++)
        if (find_group(c, (struct group_id){below->groups.ids[i] & ~ID_GROUP}))
            below->groups.ids[kept++] = below->groups.ids[i];
    id_vector_cut(c, &below->groups, kept);
    below->forgotten = 0;
}

bool below_has(const struct below *below, uint64_t group)
{
    size_t at = id_vector_after(&below->groups, group - 1);

    return at < below->groups.len &&
           below->groups.ids[at] == (group | ID_GROUP);
}

/* As with members: ids of what is gone go once they are the larger part; all
 * of it when nothing is left. In a replay the image of the job may not tell of
 * a group that was forgotten before it, and is only now forgotten again. */
void below_forgotten(struct core *c, const struct group *g)
{
    struct job *j =
        g->parent_attempt ? find_job(c, (struct job_id){g->parent_id}) : NULL;
    struct below *below = j && j->extra ? j->extra->below : NULL;

    if (!below || !below_has(below, g->id))
        return;
    below->forgotten++;
    if (below->forgotten == below->groups.len) {
        drop_below(c, j);
        return;
    }
    if (below->forgotten < COMPACT_AT ||
        below->forgotten < below->groups.len / 2)
        return;
    drop_forgotten(c, below);
}

void below_settle(struct core *c)
{
    list_foreach_safe (it, &c->belows) {
        struct below *below = list_entry(it, struct below, link);

        drop_forgotten(c, below);
        if (below->groups.len == 0)
            drop_below(c, below->job);
    }
}

void below_free(struct core *c, struct extra *x)
{
    if (!x->below)
        return;
    id_vector_clear(c, &x->below->groups);
    list_remove(&x->below->link);
    account(c, -(int64_t)sizeof(*x->below));
    mem_free(x->below);
    x->below = NULL;
}
