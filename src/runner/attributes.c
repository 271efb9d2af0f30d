/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/attributes.h"

#include "runner/value.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <stdio.h>
#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

bool attributes_any(const struct attributes *a)
{
    return a->account.changes || a->nice != ATTRIBUTES_UNSET ||
           a->ionice != 0 || a->limits.count > 0 || a->no_new_privileges ||
           a->private_tmp || a->private_pids;
}

int attributes_parse_ionice(const char *text, int64_t *out, char *why,
                            size_t why_size)
{
    static const struct {
        const char *name;
        int number;
        bool has_level;
    } classes[] = {{"idle", IOPRIO_CLASS_IDLE, false},
                   {"best-effort", IOPRIO_CLASS_BE, true},
                   {"realtime", IOPRIO_CLASS_RT, true}};
    size_t len = strcspn(text, ":");
    int64_t level = 4; /* what ionice(1) takes */

    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        if (strlen(classes[i].name) != len ||
            strncmp(text, classes[i].name, len) != 0)
            continue;
        if (!classes[i].has_level)
            level = 0;
        if (text[len] && (!classes[i].has_level ||
                          !value_count(text + len + 1, &level) || level > 7))
            break;
        *out = (int64_t)classes[i].number << IOPRIO_CLASS_SHIFT | level;
        return 0;
    }
    return value_refuse(
        why, why_size,
        "'%.80s' is not valid; expected idle, best-effort[:0-7] or "
        "realtime[:0-7]",
        text);
}

/* ------------------------------------------------------------------ limits */

static const struct limit_name {
    const char *name;
    int resource;
    bool bytes;
} limit_names[] = {
    {"as", RLIMIT_AS, true},
    {"core", RLIMIT_CORE, true},
    {"cpu", RLIMIT_CPU, false},
    {"data", RLIMIT_DATA, true},
    {"fsize", RLIMIT_FSIZE, true},
    {"locks", RLIMIT_LOCKS, false},
    {"memlock", RLIMIT_MEMLOCK, true},
    {"msgqueue", RLIMIT_MSGQUEUE, true},
    {"nice", RLIMIT_NICE, false},
    {"nofile", RLIMIT_NOFILE, false},
    {"nproc", RLIMIT_NPROC, false},
    {"rss", RLIMIT_RSS, true},
    {"rtprio", RLIMIT_RTPRIO, false},
    {"rttime", RLIMIT_RTTIME, false},
    {"sigpending", RLIMIT_SIGPENDING, false},
    {"stack", RLIMIT_STACK, true},
};

static bool parse_bound(const struct limit_name *name, const char *text,
                        rlim_t *out)
{
    int64_t n;

    if (strcmp(text, "unlimited") == 0) {
        *out = RLIM_INFINITY;
        return true;
    }
    if (!(name->bytes ? value_size(text, &n) : value_count(text, &n)))
        return false;
    *out = (rlim_t)n;
    return true;
}

/* One word, which is taken apart in place. */
static int parse_limit(char *word, struct attributes_limits *l, char *why,
                       size_t size)
{
    char *value = strchr(word, '='), *hard;
    const struct limit_name *name = NULL;
    struct rlimit limit;
    bool soft_ok;

    if (!value)
        return value_refuse(
            why, size, "'%.80s' is not valid; expected name=soft[:hard]", word);
    *value++ = '\0';
    for (size_t i = 0; i < COUNT_OF(limit_names); i++) {
        if (strcmp(limit_names[i].name, word) == 0)
            name = &limit_names[i];
    }
    if (!name)
        return value_refuse(
            why, size,
            "there is no limit '%.40s'; known are as core cpu data "
            "fsize locks memlock msgqueue nice nofile nproc rss rtprio "
            "rttime sigpending stack",
            word);
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].resource == name->resource)
            return value_refuse(why, size, "'%s' is set twice", name->name);
    }
    hard = strchr(value, ':');
    if (hard)
        *hard++ = '\0';
    if (!hard)
        hard = value;
    soft_ok = parse_bound(name, value, &limit.rlim_cur);
    if (!soft_ok || !parse_bound(name, hard, &limit.rlim_max))
        return value_refuse(
            why, size, "'%.40s' is not valid for %s; expected %s, or unlimited",
            soft_ok ? hard : value, name->name,
            name->bytes ? "bytes, or a number of K, M, G, T" : "a number");
    if (limit.rlim_cur > limit.rlim_max)
        return value_refuse(
            why, size, "%s: the soft limit is above the hard one", name->name);
    l->items[l->count].resource = name->resource;
    l->items[l->count++].limit = limit;
    return 0;
}

int attributes_parse_limits(const char *text, struct attributes_limits *out,
                            char *why, size_t why_size)
{
    struct attributes_limits l = {0};
    char word[128];

    while (text[0]) {
        size_t len = strcspn(text, " \t");
        int rc;

        if (len >= sizeof(word))
            return value_refuse(why, why_size, "'%.80s' is too long", text);
        if (len > 0) {
            memcpy(word, text, len);
            word[len] = '\0';
            /* No name is there twice, so there is room. */
            rc = parse_limit(word, &l, why, why_size);
            if (rc < 0)
                return rc;
        }
        text += len;
        text += strspn(text, " \t");
    }
    *out = l;
    return 0;
}
