/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/account.h"

#include "runner/memory.h"
#include "runner/value.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The last two numbers mean "none" to the kernel. */
#define ID_MAX (UINT32_MAX - 2)

static bool is_number(const char *text, int64_t *out)
{
    return value_count(text, out) && *out <= (int64_t)ID_MAX;
}

/* Its own groups: the list grows until the library is content. */
static void find_groups(struct account *a)
{
    int room = 16, n = room;

    do {
        room = n > room ? n : 2 * room;
        n = room;
        a->groups = memory_resize(a->groups, (size_t)room, sizeof(*a->groups));
    } while (getgrouplist(a->name, a->gid, a->groups, &n) < 0 &&
             n <= NGROUPS_MAX);
    a->ngroups = (size_t)(n < room ? n : room);
}

static int find_group(struct account *a, const char *group, char *why,
                      size_t size)
{
    const struct group *g = getgrnam(group);
    int64_t number;

    if (g) {
        a->gid = g->gr_gid;
    } else if (is_number(group, &number)) {
        a->gid = (gid_t)number;
    } else {
        snprintf(why, size, "there is no group '%.80s'", group);
        return -EINVAL;
    }
    return 0;
}

static int find_user(struct account *a, const char *user, const char *group,
                     char *why, size_t size)
{
    const struct passwd *p = getpwnam(user);
    int64_t number;

    if (!p && is_number(user, &number)) {
        a->uid = (uid_t)number;
        p = getpwuid(a->uid);
        if (!p && !*group) {
            snprintf(why, size,
                     "user %.80s is in no database, so its group is not known; "
                     "give a group, too",
                     user);
            return -EINVAL;
        }
    } else if (!p) {
        snprintf(why, size, "there is no user '%.80s'", user);
        return -EINVAL;
    }
    a->sets_groups = true;
    if (p) {
        a->uid = p->pw_uid;
        a->gid = p->pw_gid;
        a->name = memory_text(p->pw_name, strlen(p->pw_name));
        a->home = memory_text(p->pw_dir, strlen(p->pw_dir));
        a->shell = memory_text(p->pw_shell, strlen(p->pw_shell));
    } else {
        /* Not the runner's: its files are not for them. */
        a->home = memory_text("/", 1);
        a->name = memory_text(user, strlen(user));
        a->shell = memory_text("/bin/sh", 7);
    }
    return 0;
}

int account_find(struct account *out, const char *user, const char *group,
                 char *why, size_t why_size)
{
    struct account a = {.uid = geteuid(), .gid = getegid()};
    int rc = *user ? find_user(&a, user, group, why, why_size) : 0;

    if (rc == 0 && *group)
        rc = find_group(&a, group, why, why_size);
    if (rc == 0 && geteuid() != 0 &&
        (a.uid != geteuid() || a.gid != getegid())) {
        snprintf(why, why_size,
                 "jobs cannot run as %s '%.80s': the runner is not root but "
                 "user %u, group %u",
                 a.uid != geteuid() ? "user" : "group",
                 a.uid != geteuid() ? user
                 : *group           ? group
                                    : user,
                 (unsigned)geteuid(), (unsigned)getegid());
        rc = -EINVAL;
    }
    if (rc < 0) {
        account_clear(&a);
        return rc;
    }
    /* Who is not root has the groups that it has. */
    a.changes = (*user || *group) && geteuid() == 0;
    a.sets_groups &= a.changes;
    if (a.sets_groups && getpwuid(a.uid)) {
        find_groups(&a);
    } else if (a.sets_groups) {
        a.groups = memory_new(sizeof(*a.groups));
        a.groups[a.ngroups++] = a.gid;
    }
    *out = a;
    return 0;
}

void account_clear(struct account *a)
{
    free(a->groups);
    free(a->name);
    free(a->home);
    free(a->shell);
    *a = (struct account){0};
}
