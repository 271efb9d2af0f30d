/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/ending.h"

#include "runner/value.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CODE_MAX 255
#define WAIT_MAX 86400000 /* as the longest grace */

/* The next word of a text, which moves on; false: there is none. Longer words
 * than any right one are cut. */
static bool next_word(const char **text, char *word, size_t size)
{
    size_t len;

    *text += strspn(*text, " \t");
    len = strcspn(*text, " \t");
    snprintf(word, size, "%.*s", (int)len, *text);
    *text += len;
    return len > 0;
}

int ending_parse_codes(const char *text, struct ending_codes *out, char *why,
                       size_t why_size)
{
    struct ending_codes codes = {{0}};
    char word[64];
    int64_t n;

    while (next_word(&text, word, sizeof(word))) {
        if (!value_count(word, &n) || n > CODE_MAX)
            return value_refuse(
                why, why_size,
                "'%s' is no exit code; expected numbers from 0 to 255", word);
        codes.bits[n / 8] |= (unsigned char)(1u << n % 8);
    }
    *out = codes;
    return 0;
}

bool ending_has_code(const struct ending_codes *c, int code)
{
    return code >= 0 && code <= CODE_MAX && c->bits[code / 8] & 1u << code % 8;
}

static int find_signal(const char *name)
{
    for (int i = 1; i < NSIG; i++) {
        const char *known = sigabbrev_np(i);

        if (known && strcmp(known, name) == 0)
            return i;
    }
    return -1;
}

int ending_parse_ladder(const char *text, struct ending_ladder *out, char *why,
                        size_t why_size)
{
    struct ending_ladder l = {0};
    char word[64];

    while (next_word(&text, word, sizeof(word))) {
        char *wait = strchr(word, ':');
        int64_t wait_ms = -1;
        int number;

        if (l.count == ENDING_STEPS_MAX)
            return value_refuse(why, why_size, "more than %d signals",
                                ENDING_STEPS_MAX);
        if (l.count > 0 && l.steps[l.count - 1].wait_ms < 0)
            return value_refuse(why, why_size,
                                "only the last signal may be without its time");
        if (wait)
            *wait++ = '\0';
        number = find_signal(word);
        if (number < 0)
            return value_refuse(
                why, why_size,
                "'%s' is no signal; expected names such as INT or TERM", word);
        if (number == SIGKILL || number == SIGSTOP)
            return value_refuse(
                why, why_size,
                "'%s' is nothing to stop by; what is left after the "
                "last signal is killed by itself",
                word);
        if (wait && (!value_duration(wait, &wait_ms) || wait_ms > WAIT_MAX))
            return value_refuse(
                why, why_size,
                "'%s' is not valid; expected milliseconds, or a number "
                "with ms, s, m, h or d, up to 1d",
                wait);
        l.steps[l.count].signal = number;
        l.steps[l.count++].wait_ms = wait_ms;
    }
    *out = l;
    return 0;
}
