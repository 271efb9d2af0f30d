/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a letter behind a number multiplies it by; ends with an empty one. */
struct unit {
    const char *name;
    int64_t factor;
};

/* `units` may be NULL: none. */
static bool parse(const char *text, const struct unit *units, int64_t *out)
{
    char *end;
    long long n;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno)
        return false;
    if (*end == '\0') {
        *out = n;
        return true;
    }
    for (; units && units->name; units++) {
        int64_t product;

        if (strcmp(end, units->name) != 0)
            continue;
        if (__builtin_mul_overflow((int64_t)n, units->factor, &product))
            return false;
        *out = product;
        return true;
    }
    return false;
}

bool value_count(const char *text, int64_t *out)
{
    return parse(text, NULL, out);
}

bool value_integer(const char *text, int64_t *out)
{
    bool minus = text[0] == '-';

    if (!parse(text + minus, NULL, out))
        return false;
    if (minus)
        *out = -*out;
    return true;
}

bool value_octal(const char *text, int64_t *out)
{
    char *end;
    long long n;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    n = strtoll(text, &end, 8);
    if (errno || *end)
        return false;
    *out = n;
    return true;
}

bool value_size(const char *text, int64_t *out)
{
    static const struct unit units[] = {{"K", 1LL << 10},
                                        {"M", 1LL << 20},
                                        {"G", 1LL << 30},
                                        {"T", 1LL << 40},
                                        {NULL, 0}};

    return parse(text, units, out);
}

bool value_duration(const char *text, int64_t *out)
{
    static const struct unit units[] = {{"ms", 1},       {"s", 1000},
                                        {"m", 60000},    {"h", 3600000},
                                        {"d", 86400000}, {NULL, 0}};

    return parse(text, units, out);
}

bool value_percent(const char *text, int64_t *out)
{
    static const struct unit units[] = {{"%", 1}, {NULL, 0}};

    /* A bare number might be meant as processors. */
    return text[strspn(text, "0123456789")] == '%' && parse(text, units, out);
}

int value_refuse(char *why, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}
