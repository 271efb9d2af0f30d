/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/environment.h"

#include "runner/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const always[] = {"PATH",  "HOME",   "LANG", "LANGUAGE",
                                     "LC_*",  "TZ",     "USER", "LOGNAME",
                                     "SHELL", "TMPDIR", "TERM"};

/* Whether the variable "NAME=value" has that name, or begins as it does up to
 * its *. */
static bool has_name(const char *entry, const char *name)
{
    size_t len = strlen(name);

    if (len > 0 && name[len - 1] == '*')
        return strncmp(entry, name, len - 1) == 0;
    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

/* Whether two variables have the same name. */
static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");

    return strncmp(a, b, len) == 0 && b[len] == '=';
}

static bool may_pass(const char *entry, char *const *extra, size_t n)
{
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        if (has_name(entry, always[i]))
            return true;
    }
    for (size_t i = 0; i < n; i++) {
        /* No pattern opens the way to what the service manager says to us. */
        if (has_name(entry, extra[i]) && !has_name(entry, "NOTIFY_SOCKET") &&
            !has_name(entry, "LISTEN_*") && !has_name(entry, "WATCHDOG_*") &&
            !has_name(entry, "YOKE_*"))
            return true;
    }
    return false;
}

void environment_init(struct environment *e, char *const *extra, size_t n)
{
    *e = (struct environment){0};
    for (char **at = environ; at && *at; at++) {
        if (!may_pass(*at, extra, n))
            continue;
        e->passed = memory_resize(e->passed, e->count + 1, sizeof(*e->passed));
        e->passed[e->count++] = memory_text(*at, strlen(*at));
    }
}

void environment_clear(struct environment *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->passed[i]);
    free(e->passed);
    *e = (struct environment){0};
}

void environment_set(struct environment *e, const char *name, const char *value)
{
    struct buffer text = {0};
    size_t at = 0;

    if (!value)
        return;
    buffer_append(&text, name, strlen(name));
    buffer_append(&text, "=", 1);
    buffer_append(&text, value, strlen(value) + 1);
    while (at < e->count && !has_name(e->passed[at], name))
        at++;
    if (at == e->count)
        e->passed = memory_resize(e->passed, ++e->count, sizeof(*e->passed));
    else
        free(e->passed[at]);
    e->passed[at] = text.data;
}

static bool is_among(const char *entry, char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (same_name(list[i], entry))
            return true;
    }
    return false;
}

char **environment_make(const struct environment *e, char *const *ours,
                        size_t n_ours, char *const *own, size_t n_own)
{
    char **out =
        memory_resize(NULL, n_ours + n_own + e->count + 1, sizeof(*out));
    size_t n = 0;

    for (size_t i = 0; i < n_ours; i++)
        out[n++] = ours[i];
    for (size_t i = 0; i < n_own; i++) {
        if (!is_among(own[i], ours, n_ours))
            out[n++] = own[i];
    }
    for (size_t i = 0; i < e->count; i++) {
        if (!is_among(e->passed[i], own, n_own))
            out[n++] = e->passed[i];
    }
    out[n] = NULL;
    return out;
}
