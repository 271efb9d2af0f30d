/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_record - any bytes as the entries of a store: they are refused, or give
 * a state that holds all invariants and can be run; and so does what is left
 * of them without the records that are refused.
 *
 * The input is a row of entries, each behind its length (2 bytes, little
 * endian; the last one takes what is left).
 */
#include <errno.h>

#include "core/core.h"

#define TICKS_MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Things that are overdue when the daemon starts are dealt with. */
static void run(struct core *c)
{
    struct core_event ev = {
        .kind = EVENT_START, .now_ms = INT64_C(1700000100000), .random = 42};
    struct core_effects out;

    core_effects_init(&out);
    core_step(c, &ev, &out);
    core_check(c);
    for (int i = 0; i < TICKS_MAX && core_next_ms(c) < INT64_MAX; i++) {
        ev.kind = EVENT_TICK;
        ev.now_ms = max_i64(ev.now_ms, core_next_ms(c));
        core_effects_reset(&out);
        core_step(c, &ev, &out);
        core_check(c);
    }
    core_effects_clear(&out);
}

static void left(void *arg, const struct core_left *l)
{
    ASSERT(l->len > 0);
    ++*(size_t *)arg;
}

/* Each entry, as a daemon that starts takes them, or with what does not fit
 * left out. */
static int take(struct core *c, const uint8_t *data, size_t size, bool salvages)
{
    int status = 0;
    size_t n = 0;

    while (size > 2 && status == 0) {
        size_t len = (size_t)data[0] | (size_t)data[1] << 8;
        char text[128] = "";

        data += 2;
        size -= 2;
        if (len > size)
            len = size;
        status = salvages ? core_salvage(c, data, len, 1, left, &n, text)
                          : core_replay(c, data, len, 1, text);
        ASSERT(status == 0 || (status == -EBADMSG && text[0] != '\0'));
        data += len;
        size -= len;
        if (salvages) /* anything may have been there */
            core_lost(c);
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core_limits limits;

    core_limits_init(&limits);
    for (int salvages = 0; salvages < 2; salvages++) {
        struct core *c = core_new(&limits);

        if (take(c, data, size, salvages) == 0) {
            core_replay_end(c);
            if (!salvages)
                core_check(c);
            run(c);
        }
        core_free(c);
    }
    return 0;
}
