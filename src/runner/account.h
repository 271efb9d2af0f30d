/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * account - the user and the groups that jobs run as.
 *
 * Everything is looked up when the configuration is read: a child that has been
 * started only sets numbers.
 *
 * Knows:     the databases of users and groups, our own ids.
 * Never:     processes.
 */
#ifndef RUNNER_ACCOUNT_H
#define RUNNER_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Zeroed: jobs run as what the runner is. */
struct account {
    bool changes; /* the child has to set its ids, as ours are others */
    uid_t uid;
    gid_t gid;
    bool sets_groups; /* the supplementary groups, too */
    gid_t *groups;
    size_t ngroups;
    /* Of the user, if one was named; "/", its number and /bin/sh of one that is
     * in no database. */
    char *name, *home, *shell;
};

/*
 * Look up names or numbers; "" for either means that nothing was said of it. A
 * user brings its groups; a group alone changes the group and nothing else. 0,
 * or -EINVAL with a sentence in `why` and *out empty: there is none of that
 * name, or it is another one and only root may become that.
 */
int account_find(struct account *out, const char *user, const char *group,
                 char *why, size_t why_size);
void account_clear(struct account *a);

#endif
