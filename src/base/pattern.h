/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pattern - globs of classes of errors: * ? [a-z] [!a-z] and \ for a plain one.
 *
 * A list has commas between its globs, and matches what one of them does. The
 * daemon and libyoke must agree on what matches, and a library exports no
 * names but its own: that is why all of it is here.
 *
 * Only the last * is ever gone back to, so time is at most the product of both
 * lengths.
 */
#ifndef YOKE_PATTERN_H
#define YOKE_PATTERN_H

#include "base/base.h"

#define PATTERN_LIST_MAX 512 /* bytes of a list */

/* The set at p, behind its [. Returns how long it is with its ], or 0: it has
 * no end, and stands for itself. */
static inline size_t pattern_set(const char *p, size_t len, char c, bool *out)
{
    bool negated = len && (p[0] == '!' || p[0] == '^'), in = false;
    size_t i = negated ? 1 : 0, first = i;

    for (; i < len && (p[i] != ']' || i == first); i++) {
        char low = p[i], high = p[i];

        if (i + 2 < len && p[i + 1] == '-' && p[i + 2] != ']') {
            high = p[i + 2];
            i += 2;
        }
        in = in || ((unsigned char)c >= (unsigned char)low &&
                    (unsigned char)c <= (unsigned char)high);
    }
    if (i == len)
        return 0;
    *out = in != negated;
    return i + 1;
}

/* Does one character of the pattern match c? *len: how long it is. */
static inline bool pattern_one(struct str glob, size_t at, char c, size_t *len)
{
    const char *p = glob.p + at;
    size_t left = glob.len - at, set;
    bool in;

    *len = 1;
    if (p[0] == '?')
        return true;
    if (p[0] == '\\' && left > 1) {
        *len = 2;
        return p[1] == c;
    }
    if (p[0] == '[') {
        set = pattern_set(p + 1, left - 1, c, &in);
        if (set) {
            *len = 1 + set;
            return in;
        }
    }
    return p[0] == c;
}

static inline bool pattern_matches(struct str glob, struct str text)
{
    size_t g = 0, t = 0, star = SIZE_MAX, from = 0, len;

    while (t < text.len) {
        if (g < glob.len && glob.p[g] == '*') {
            star = ++g;
            from = t;
        } else if (g < glob.len && pattern_one(glob, g, text.p[t], &len)) {
            g += len;
            t++;
        } else if (star != SIZE_MAX) {
            g = star;
            t = ++from;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.p[g] == '*')
        g++;
    return g == glob.len;
}

/* Printable, with something between the commas; empty is a list, too. */
static inline bool pattern_list_ok(struct str list)
{
    if (list.len > PATTERN_LIST_MAX)
        return false;
    for (size_t i = 0; i < list.len; i++) {
        bool comma = list.p[i] == ',';

        if (list.p[i] <= ' ' || list.p[i] > '~' ||
            (comma && (i == 0 || i + 1 == list.len || list.p[i - 1] == ',')))
            return false;
    }
    return true;
}

/* Does one of its globs match? */
static inline bool pattern_list_matches(struct str list, struct str text)
{
    while (list.len) {
        const char *comma = memchr(list.p, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.p) : list.len;

        if (pattern_matches((struct str){list.p, len}, text))
            return true;
        len += comma ? 1 : 0;
        list.p += len;
        list.len -= len;
    }
    return false;
}

#endif
