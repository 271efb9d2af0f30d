/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retry - which errors are tried again, and after what delay.
 *
 * Whole numbers alone: a factor is counted in thousandths, a jitter in percent.
 */
#include "core/retry.h"

#include "base/pattern.h"
#include "core/internal.h"

#define DELAY_MAX (INT64_C(1) << 40)

_Static_assert(CORE_RETRY_ON_MAX == PATTERN_LIST_MAX, "one bound of lists");

bool retry_options_ok(int64_t factor_milli, int64_t jitter, struct str classes)
{
    return factor_milli >= CORE_FACTOR_MIN && factor_milli <= CORE_FACTOR_MAX &&
           jitter >= 0 && jitter <= 100 && pattern_list_ok(classes);
}

bool retry_wanted(const struct options *o, struct str class)
{
    if (o->retry_on.len == 0)
        return !str_eq(class, STR("cancelled")) &&
               !str_eq(class, STR("deadline")) &&
               !str_eq(class, STR("expired"));
    return pattern_list_matches(o->retry_on, class);
}

int64_t retry_delay(const struct core *c, const struct options *o,
                    uint32_t failures)
{
    int64_t cap = min_i64(o->backoff_cap_ms, DELAY_MAX) * 1000;
    int64_t milli = min_i64(min_i64(o->backoff_base_ms, DELAY_MAX) * 1000, cap);
    int64_t delay, least, span;

    /* In thousandths of a millisecond, or 1 ms times 1.5 would stay 1 ms. */
    for (uint32_t i = 1; i < failures && milli < cap; i++)
        milli = min_i64(cap, milli / 1000 * o->factor_milli +
                                 milli % 1000 * o->factor_milli / 1000);
    delay = milli / 1000;
    least = delay - delay * o->jitter / 200;
    span = delay * o->jitter / 100;
    return least + (int64_t)((uint64_t)span * (c->random % 1024) / 1024);
}
