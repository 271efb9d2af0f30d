/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of subscriptions: who gets which message, in which order, as which
 * text.
 */
#include <check.h>

#include "base/value.h"
#include "server/subscription.h"
#include "wire/json.h"

struct fixture {
    struct subscriptions all;
    struct subscriber a, b;
    struct buf value, told; /* "a job:... text\n" */
};

static void set_up(struct fixture *f)
{
    *f = (struct fixture){.told = {0}};
    subscriptions_init(&f->all);
    subscriber_init(&f->a);
    subscriber_init(&f->b);
}

static void tear_down(struct fixture *f)
{
    subscriber_clear(&f->all, &f->a);
    subscriber_clear(&f->all, &f->b);
    subscriptions_clear(&f->all);
    buf_clear(&f->value);
    buf_clear(&f->told);
}

static void tell(void *arg, struct subscriber *to, const struct message *m)
{
    struct fixture *f = arg;

    buf_printf(&f->told, "%c %.*s%s%.*s %.*s\n", to == &f->a ? 'a' : 'b',
               (int)m->pattern.len, m->pattern.p ? m->pattern.p : "",
               m->pattern.p ? " " : "", (int)m->channel.len, m->channel.p,
               (int)m->text.len, m->text.p);
}

/* An event of job 1 in queue "mail" and group 2. */
static void publish(struct fixture *f)
{
    struct buf *b = &f->value;

    buf_reset(b);
    value_array(b, 2);
    value_array(b, 4);
    value_id(b, 'j', 1, 0);
    value_str(b, STR("mail"));
    value_id(b, 'g', 2, 0);
    value_id(b, 'g', 0, 0);
    value_map(b, 1);
    value_str(b, STR("event"));
    value_str(b, STR("started"));
    subscription_publish(&f->all, b->data, 0, tell, f);
}

static void expect(struct fixture *f, const char *told)
{
    ck_assert_str_eq(buf_size(&f->told) ? (buf_append_byte(&f->told, '\0'),
                                           buf_front(&f->told))
                                        : "",
                     told);
    buf_reset(&f->told);
}

static bool add(struct fixture *f, struct subscriber *who, const char *name,
                bool pattern)
{
    return subscription_add(&f->all, who, str_from(name), pattern);
}

static bool end(struct fixture *f, struct subscriber *who, const char *name,
                bool pattern)
{
    return subscription_remove(&f->all, who, str_from(name), pattern);
}

#define TEXT "{\"event\":\"started\"}\n"

START_TEST(each_channel_of_an_event_reaches_those_who_are_subscribed)
{
    struct fixture f;

    set_up(&f);
    publish(&f);
    expect(&f, "");
    ck_assert(add(&f, &f.a, "queue:mail", false));
    ck_assert(add(&f, &f.b, "job:j0000000000001", false));
    ck_assert(add(&f, &f.b, "queue:mail", false));
    ck_assert(add(&f, &f.b, "queue:mai", false));
    ck_assert(add(&f, &f.a, "group:root", false));
    publish(&f);
    expect(&f, "b job:j0000000000001 " TEXT "a queue:mail " TEXT
               "b queue:mail " TEXT "a group:root " TEXT);
    ck_assert_uint_eq(f.all.published, 4);
    tear_down(&f);
}
END_TEST

START_TEST(patterns_match_whole_channels_and_come_after_names)
{
    struct fixture f;

    set_up(&f);
    ck_assert(add(&f, &f.a, "queue:*", true));
    ck_assert(add(&f, &f.a, "*2", true));
    ck_assert(add(&f, &f.b, "queue", true));
    ck_assert(add(&f, &f.b, "queue:mail", false));
    ck_assert(add(&f, &f.a, "group:[^r]*", true));
    publish(&f);
    expect(&f, "b queue:mail " TEXT "a queue:* queue:mail " TEXT
               "a *2 group:g0000000000002 " TEXT
               "a group:[^r]* group:g0000000000002 " TEXT);
    tear_down(&f);
}
END_TEST

static uint64_t work_of_a_publication(struct fixture *f)
{
    uint64_t before = f->all.work;

    publish(f);
    return f->all.work - before;
}

/* A pattern without a special character is a name; one that differs before its
 * first special character is not looked at any further. */
START_TEST(a_pattern_costs_what_lies_behind_its_plain_beginning)
{
    char set[256] = "*[", other[256] = "other:*[";
    struct fixture f;

    set_up(&f);
    ck_assert_int_eq(subscription_work(&f.all), 0);
    ck_assert(add(&f, &f.a, "queue:mai", true));
    ck_assert(add(&f, &f.a, "queue:maily", true));
    ck_assert(add(&f, &f.a, "queue:m?i*", true));
    ck_assert_int_eq(subscription_work(&f.all), 1);
    ck_assert_uint_eq(work_of_a_publication(&f), 1);
    expect(&f, "a queue:m?i* queue:mail " TEXT);
    memset(set + 2, 'A', 240);
    set[242] = ']';
    memset(other + 8, 'A', 240);
    other[248] = ']';
    ck_assert(add(&f, &f.a, other, true));
    ck_assert_uint_eq(work_of_a_publication(&f), 1);
    ck_assert(add(&f, &f.a, set, true));
    ck_assert_uint_gt(work_of_a_publication(&f), 10);
    ck_assert_int_gt(subscription_work(&f.all), 10);
    ck_assert(end(&f, &f.a, set, true));
    ck_assert(end(&f, &f.a, other, true));
    ck_assert_int_eq(subscription_work(&f.all), 1);
    buf_reset(&f.told);
    tear_down(&f);
}
END_TEST

START_TEST(twice_is_once)
{
    struct fixture f;

    set_up(&f);
    ck_assert(add(&f, &f.a, "queue:mail", false));
    ck_assert(!add(&f, &f.a, "queue:mail", false));
    ck_assert(add(&f, &f.a, "queue:mail", true)); /* a pattern is another */
    ck_assert_uint_eq(subscriber_count(&f.a), 2);
    ck_assert_uint_eq(f.all.count, 2);
    publish(&f);
    expect(&f, "a queue:mail " TEXT "a queue:mail queue:mail " TEXT);
    ck_assert(end(&f, &f.a, "queue:mail", false));
    ck_assert(!end(&f, &f.a, "queue:mail", false));
    publish(&f);
    expect(&f, "a queue:mail queue:mail " TEXT);
    tear_down(&f);
}
END_TEST

START_TEST(who_leaves_leaves_nothing_behind)
{
    struct fixture f;
    struct str name;

    set_up(&f);
    for (int i = 0; i < 100; i++) {
        char text[16];

        (void)snprintf(text, sizeof(text), "queue:%d", i);
        ck_assert(add(&f, &f.a, text, false));
        ck_assert(add(&f, i % 2 ? &f.a : &f.b, text, true));
    }
    ck_assert_uint_eq(f.all.nnames, 100);
    ck_assert_uint_eq(f.all.npatterns, 100);
    ck_assert(subscription_first(&f.b, true, &name));
    ck_assert(str_eq(name, STR("queue:0")));
    ck_assert(!subscription_first(&f.b, false, &name));
    subscriber_clear(&f.all, &f.a);
    ck_assert_uint_eq(f.all.count, 50);
    ck_assert_uint_eq(f.all.nnames, 0);
    ck_assert_uint_eq(subscription_receivers(&f.all, STR("queue:1"), true), 0);
    ck_assert_uint_eq(subscription_receivers(&f.all, STR("queue:2"), true), 1);
    tear_down(&f);
}
END_TEST

static void json(struct fixture *f, const char *expected)
{
    size_t at = 0;

    json_value(&f->told, f->value.data, &at);
    ck_assert_uint_eq(at, f->value.len);
    expect(f, expected);
    buf_reset(&f->value);
}

START_TEST(text_is_json_whatever_the_bytes)
{
    struct fixture f;

    set_up(&f);
    value_str(&f.value, STR("a\"\\\n\x7f\0z"));
    json(&f, "\"a\\\"\\\\\\u000a\\u007f\\u0000z\"");
    value_str(&f.value, STR("\xc3\xa9\xf0\x9f\x98\x80"));
    json(&f, "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    value_str(&f.value, STR("\xc3\xff\xed\xa0\x80"
                            "b\xc0\x80"));
    json(&f, "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffdb\\ufffd\\ufffd\"");
    value_array(&f.value, 4);
    value_null(&f.value);
    value_int(&f.value, INT64_MIN);
    value_map(&f.value, 0);
    value_id(&f.value, 'j', 1, 2);
    json(&f, "[null,-9223372036854775808,{},\"j0000000000001.2\"]");
    tear_down(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        each_channel_of_an_event_reaches_those_who_are_subscribed,
        patterns_match_whole_channels_and_come_after_names,
        a_pattern_costs_what_lies_behind_its_plain_beginning,
        twice_is_once,
        who_leaves_leaves_nothing_behind,
        text_is_json_whatever_the_bytes,
    };
    Suite *suite = suite_create("subscription");
    TCase *laws = tcase_create("laws");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(laws, tests[i]);
    suite_add_tcase(suite, laws);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
