/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/argument.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_MS INT64_C(1000)
#define DAY_MS    (24 * 3600 * SECOND_MS)
#define MOST_MS   (36525 * DAY_MS)
#define WORD_MAX  31

static const struct {
    const char *name;
    int64_t ms;
} units[] = {
    /* "ms" before "m": the longest match is the right one */
    {"ms", 1},
    {"s", SECOND_MS},
    {"m", 60 * SECOND_MS},
    {"h", 3600 * SECOND_MS},
    {"d", DAY_MS},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits with an optional fraction, as thousandths. */
static bool read_number(const char **s, int64_t *out_thousandths)
{
    int64_t value = 0, scale = 100;
    const char *at = *s;

    if (!is_digit(*at))
        return false;
    for (; is_digit(*at); at++) {
        if (value > MOST_MS)
            return false;
        value = value * 10 + (*at - '0');
    }
    value *= 1000;
    if (*at == '.') {
        at++;
        if (!is_digit(*at))
            return false;
        for (; is_digit(*at); at++) {
            value += (*at - '0') * scale;
            scale /= 10;
        }
    }
    *s = at;
    *out_thousandths = value;
    return true;
}

bool argument_thousandths(const char *s, int64_t *out)
{
    const char *at = s, *point = strchr(s, '.');
    int64_t value;

    if ((point != NULL && strlen(point + 1) > 3) || !read_number(&at, &value) ||
        *at != '\0')
        return false;
    *out = value;
    return true;
}

static int64_t read_unit(const char **s)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t len = strlen(units[i].name);

        if (strncmp(*s, units[i].name, len) == 0) {
            *s += len;
            return units[i].ms;
        }
    }
    return 0;
}

bool argument_duration(const char *s, int64_t *out_ms)
{
    int64_t total = 0;
    bool first = true;

    do {
        int64_t number, unit;

        if (!read_number(&s, &number))
            return false;
        if (first && *s == '\0')
            unit = SECOND_MS;
        else
            unit = read_unit(&s);
        if (unit == 0 || number / 1000 > MOST_MS / unit)
            return false;
        total += number / 1000 * unit + number % 1000 * unit / 1000;
        if (total > MOST_MS)
            return false;
        first = false;
    } while (*s != '\0');
    *out_ms = total;
    return true;
}

static bool read_date(const char *s, int64_t *out_ms)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {.tm_isdst = -1};
        int day;
        const char *end = strptime(s, forms[i], &tm);
        time_t when;

        if (end == NULL || *end != '\0')
            continue;
        tm.tm_isdst = -1;
        day = tm.tm_mday;
        when = mktime(&tm);
        /* 30 February would be a day in March */
        if (when < 0 || tm.tm_mday != day)
            return false;
        *out_ms = (int64_t)when * 1000;
        return true;
    }
    return false;
}

bool argument_moment(const char *s, int64_t now_ms, int64_t *out_ms)
{
    int64_t value;

    if (s[0] == '@') {
        if (!argument_integer(s + 1, 0, INT64_MAX / 1000, &value))
            return false;
        *out_ms = value * 1000;
        return true;
    }
    if (argument_duration(s, &value)) {
        *out_ms = now_ms + value;
        return true;
    }
    return read_date(s, out_ms);
}

bool argument_integer(const char *s, int64_t min, int64_t max, int64_t *out)
{
    const char *digits = s[0] == '-' ? s + 1 : s;
    long long value;
    char *end;

    if (!is_digit(*digits))
        return false;
    errno = 0;
    value = strtoll(s, &end, 10);
    if (errno != 0 || *end != '\0' || value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool argument_rate(const char *s, int64_t *out_n, int64_t *out_ms)
{
    const char *slash = strchr(s, '/');
    size_t len = slash != NULL ? (size_t)(slash - s) : 0;
    char number[24], interval[32];
    int64_t n, ms;

    if (len == 0 || len >= sizeof(number) || slash[1] == '\0' ||
        strlen(slash) >= sizeof(interval))
        return false;
    memcpy(number, s, len);
    number[len] = '\0';
    (void)snprintf(interval, sizeof(interval), "%s%s", /* always fits */
                   is_digit(slash[1]) ? "" : "1", slash + 1);
    if (!argument_integer(number, 1, INT64_MAX, &n) ||
        !argument_duration(interval, &ms) || ms == 0)
        return false;
    *out_n = n;
    *out_ms = ms;
    return true;
}

bool argument_size(const char *s, int64_t *out)
{
    static const char letters[] = "KMG";
    size_t len = strlen(s);
    char digits[24];
    const char *letter;
    int shift = 0;
    int64_t value;

    if (len == 0 || len >= sizeof(digits))
        return false;
    letter = strchr(letters, s[len - 1]);
    if (letter != NULL) {
        shift = 10 * (int)(letter - letters + 1);
        len--;
    }
    memcpy(digits, s, len);
    digits[len] = '\0';
    if (!argument_integer(digits, 0, INT64_MAX >> shift, &value))
        return false;
    *out = value << shift;
    return true;
}

/* One part of --halt: "fail=3", "fail=20%". */
static bool read_halt(const char *s, size_t len, struct halt *out)
{
    char word[32];
    bool percent = len > 0 && s[len - 1] == '%';
    int64_t *number;
    const char *value;

    len -= percent;
    if (len >= sizeof(word))
        return false;
    memcpy(word, s, len);
    word[len] = '\0';
    if (strncmp(word, "fail=", 5) == 0) {
        number = &out->fail;
        out->fail_percent = percent;
        value = word + 5;
    } else if (strncmp(word, "success=", 8) == 0) {
        number = &out->succeed;
        out->succeed_percent = percent;
        value = word + 8;
    } else {
        return false;
    }
    return *number == -1 &&
           argument_integer(value, 1, percent ? 100 : INT32_MAX, number);
}

bool argument_halt(const char *s, struct halt *out)
{
    struct halt h = {.fail = -1, .succeed = -1};

    if (strcmp(s, "never") == 0) {
        *out = (struct halt){0};
        return true;
    }
    for (;;) {
        size_t len = strcspn(s, ",");

        if (!read_halt(s, len, &h))
            return false;
        if (s[len] == '\0')
            break;
        s += len + 1;
    }
    h.fail = h.fail == -1 ? 0 : h.fail;
    h.succeed = h.succeed == -1 ? 0 : h.succeed;
    *out = h;
    return true;
}

bool halt_is_share(const struct halt *h)
{
    return h->fail_percent || h->succeed_percent;
}

static int64_t share(int64_t percent, int64_t members)
{
    return members < 0 ? 0 : (members * percent + 99) / 100;
}

void halt_numbers(const struct halt *h, int64_t members, int64_t *fail,
                  int64_t *succeed)
{
    *fail = h->fail_percent ? share(h->fail, members) : h->fail;
    *succeed = h->succeed_percent ? share(h->succeed, members) : h->succeed;
}

size_t argument_distance(const char *a, const char *b)
{
    size_t alen = strlen(a), blen = strlen(b);
    size_t row[WORD_MAX + 1];

    if (alen > WORD_MAX || blen > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= blen; j++)
        row[j] = j;
    for (size_t i = 1; i <= alen; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= blen; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);

            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[blen];
}
