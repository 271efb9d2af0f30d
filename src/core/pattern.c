/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pattern - classes of errors by glob: * ? [a-z] [!a-z] and \ for a plain one.
 *
 * Only the last * is ever gone back to, so time is at most the product of both
 * lengths.
 */
#include "core/internal.h"

/* The set at p, behind its [. Returns how long it is with its ], or 0: it has
 * no end, and stands for itself. */
static size_t set_matches(const char *p, size_t len, char c, bool *out)
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
static bool one_matches(struct str glob, size_t at, char c, size_t *len)
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
        set = set_matches(p + 1, left - 1, c, &in);
        if (set) {
            *len = 1 + set;
            return in;
        }
    }
    return p[0] == c;
}

bool pattern_matches(struct str glob, struct str text)
{
    size_t g = 0, t = 0, star = SIZE_MAX, from = 0, len;

    while (t < text.len) {
        if (g < glob.len && glob.p[g] == '*') {
            star = ++g;
            from = t;
        } else if (g < glob.len && one_matches(glob, g, text.p[t], &len)) {
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
