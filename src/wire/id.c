/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire/id.h"

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

size_t id_format(char *out, struct id id)
{
    size_t len = 1 + ID_DIGITS;
    uint64_t n = id.n;

    if (id.kind == ID_GROUP && id.n == 0) {
        memcpy(out, "root", 4);
        return 4;
    }
    out[0] = id.kind;
    for (size_t i = ID_DIGITS; i > 0; i--) {
        out[i] = digits[n & 31];
        n >>= 5;
    }
    if (id.attempt) {
        char reverse[10];
        size_t count = 0;

        for (uint32_t a = id.attempt; a; a /= 10)
            reverse[count++] = (char)('0' + a % 10);
        out[len++] = '.';
        while (count)
            out[len++] = reverse[--count];
    }
    return len;
}

/* The value of a digit, or -1. Letters that look like digits (i l o) and u
 * are not digits. */
static int digit_value(char c)
{
    static const char letters[] = {10, 11, 12, 13, 14, 15, 16, 17, -1,
                                   18, 19, -1, 20, 21, -1, 22, 23, 24,
                                   25, 26, -1, 27, 28, 29, 30, 31};

    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return letters[c - 'a'];
    return -1;
}

static bool parse_attempt(struct str text, uint32_t *attempt)
{
    uint64_t n = 0;

    if (text.len == 0 || text.len > 10 || text.p[0] == '0')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.p[i] - '0');
    }
    if (n > UINT32_MAX)
        return false;
    *attempt = (uint32_t)n;
    return true;
}

bool id_parse(struct str text, struct id *out)
{
    struct id id = {0};

    if (str_eq(text, STR("root"))) {
        *out = (struct id){.kind = ID_GROUP};
        return true;
    }
    if (text.len < 1 + ID_DIGITS)
        return false;
    id.kind = text.p[0];
    if (id.kind != ID_JOB && id.kind != ID_GROUP && id.kind != ID_SESSION)
        return false;
    for (size_t i = 1; i <= ID_DIGITS; i++) {
        int value = digit_value(text.p[i]);

        /* 13 digits carry 65 bits: the first may use four of its five. */
        if (value < 0 || (i == 1 && value > 15))
            return false;
        id.n = id.n << 5 | (uint64_t)value;
    }
    if (id.n == 0)
        return false;
    if (text.len > 1 + ID_DIGITS) {
        struct str rest = {text.p + ID_DIGITS + 2, text.len - ID_DIGITS - 2};

        if (id.kind != ID_JOB || text.p[1 + ID_DIGITS] != '.' ||
            !parse_attempt(rest, &id.attempt))
            return false;
    }
    *out = id;
    return true;
}
