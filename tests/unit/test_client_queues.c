/* SPDX-License-Identifier: BSD-2-Clause */
/* The laws of libyoke's calls about queues, their dead, and limiters. */
#include "peer.h"

static void expect_queue_calls(struct peer *p)
{
    static const char *const verbs[] = {"PAUSE", "RESUME", "CLOSE", "OPEN"};
    char line[64];

    if (peer_expect(p, "QUEUE SET mail"))
        peer_line(p, "+OK");
    if (peer_expect(p, "QUEUE SET mail MAX-JOBS 1 MAX-BYTES 2 TIMEOUT -1 "
                       "EXPIRES 3 WAIT 0 GRACE 4 KEEP 5 DEAD-KEEP 6 RETRY 7 "
                       "REDELIVER 8 BACKOFF 9 10 FACTOR 1.500 JITTER 11 "
                       "PRIORITY 9 FAIR 1 RETRY-ON "))
        peer_line(p, "-ERR no");
    if (peer_expect(p, "QUEUE INFO mail"))
        peer_say(p, "[ name mail jobs :3 ]");
    if (peer_expect(p, "QUEUE LIST"))
        peer_say(p, "[ mail run ]");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        (void)snprintf(line, sizeof(line), "QUEUE %s mail", verbs[i]);
        if (peer_expect(p, line))
            peer_line(p, "+OK");
    }
    if (peer_expect(p, "QUEUE CLOSE mail NOW"))
        peer_line(p, "-NOQUEUE no queue");
    if (peer_expect(p, "QUEUE PURGE mail"))
        peer_line(p, ":12");
    if (peer_expect(p, "QUEUE PURGE mail"))
        peer_say(p, "many");
}

START_TEST(queue_calls_say_what_the_protocol_says)
{
    yoke *y = meet(expect_queue_calls);
    struct yoke_queue_settings s;
    struct yoke_value *v = NULL;
    int64_t n = 0;

    yoke_queue_settings_init(&s);
    ck_assert_int_eq(yoke_queue_set(y, NULL, &s), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_queue_set(y, "mail", &s), 0);
    s = (struct yoke_queue_settings){.max_jobs = 1,
                                     .max_bytes = 2,
                                     .timeout_ms = YOKE_NONE,
                                     .expires_ms = 3,
                                     .wait_ms = 0,
                                     .grace_ms = 4,
                                     .keep_ms = 5,
                                     .dead_keep_ms = 6,
                                     .retry = 7,
                                     .redeliver = 8,
                                     .backoff_base_ms = 9,
                                     .backoff_cap_ms = YOKE_DEFAULT,
                                     .factor_milli = 1500,
                                     .jitter = 11,
                                     .priority = 9,
                                     .fair = 1,
                                     .retry_on = ""};
    ck_assert_int_eq(yoke_queue_set(y, "mail", &s), YOKE_ERR_ARGUMENT);
    s.backoff_cap_ms = 10;
    ck_assert_int_eq(yoke_queue_set(y, "mail", &s), YOKE_ERR_GENERIC);
    ck_assert_int_eq(yoke_queue_info(y, "mail", &v), 0);
    ck_assert_int_eq(v->kind, YOKE_MAP);
    ck_assert_int_eq(yoke_value_get(v, "jobs")->i, 3);
    yoke_value_free(v);
    ck_assert_int_eq(yoke_queue_list(y, &v), 0);
    ck_assert_uint_eq(v->count, 2);
    ck_assert_str_eq(v->items[1].s.data, "run");
    yoke_value_free(v);
    ck_assert_int_eq(yoke_queue_pause(y, "mail"), 0);
    ck_assert_int_eq(yoke_queue_resume(y, "mail"), 0);
    ck_assert_int_eq(yoke_queue_close(y, "mail", false), 0);
    ck_assert_int_eq(yoke_queue_open(y, "mail"), 0);
    ck_assert_int_eq(yoke_queue_close(y, "mail", true), YOKE_ERR_NOQUEUE);
    ck_assert_int_eq(yoke_queue_purge(y, "mail", &n), 0);
    ck_assert_int_eq(n, 12);
    ck_assert_int_eq(yoke_queue_purge(y, "mail", NULL), YOKE_ERR_PROTOCOL);
    part();
}
END_TEST

static void say_unfinished(struct peer *p)
{
    if (peer_expect(p, "QUEUE JOIN mail 0"))
        peer_line(p, ":0");
    if (peer_expect(p, "QUEUE JOIN mail 5"))
        peer_line(p, ":1");
    if (peer_expect(p, "FETCH 0 0"))
        peer_say(p, "[ ]");
    for (int i = 0; i < 2; i++) /* a worker renews its lease */
        if (peer_expect(p, "QUEUE JOIN mail 5000"))
            peer_line(p, i == 0 ? ":0" : ":1");
    if (peer_expect(p, "QUEUE JOIN mail 5000"))
        yoke_interrupt(peer_client(p));
    if (peer_expect(p, "PING"))
        peer_line(p, ":0");
    peer_line(p, "+PONG");
}

START_TEST(join_of_a_queue_waits_until_it_is_told_that_all_has_ended)
{
    yoke *y = meet(say_unfinished);
    struct yoke_work_list *w;

    ck_assert_int_eq(yoke_queue_join(y, "mail", 0), YOKE_ERR_TIMEOUT);
    ASSERT_TEXT(y, "not everything in 'mail' has ended");
    ck_assert_int_eq(yoke_queue_join(y, "mail", 5), 0);
    ck_assert_int_eq(yoke_fetch(y, 0, 0, 0, NULL, &w), 0);
    yoke_work_free(w);
    ck_assert_int_eq(yoke_queue_join(y, "mail", YOKE_NONE), 0);
    ck_assert_int_eq(yoke_queue_join(y, "mail", YOKE_NONE),
                     YOKE_ERR_INTERRUPTED);
    part();
}
END_TEST

static void expect_the_dead(struct peer *p)
{
    if (peer_expect(p, "DEAD LIST QUEUE mail COUNT 2"))
        peer_say(
            p,
            "[ [ id j1 kind job outcome failed errors [ [ class exit:1 ] ] ] "
            "[ id j2 kind job outcome failed errors [ ] ] ]");
    if (peer_expect(p, "DEAD LIST"))
        peer_say(p, "[ ]");
    if (peer_expect(p, "DEAD RETRY COUNT 5"))
        peer_say(p, "[ j3 j4 ]");
    if (peer_expect(p, "DEAD RETRY QUEUE mail"))
        peer_line(p, "-CLOSED the queue is closed");
    if (peer_expect(p, "DEAD RETRY"))
        peer_say(p, "[ :1 ]");
    if (peer_expect(p, "DEAD PURGE QUEUE mail"))
        peer_line(p, ":7");
    if (peer_expect(p, "RETRY j1"))
        peer_say(p, "j5");
}

START_TEST(dead_calls_say_what_the_protocol_says)
{
    yoke *y = meet(expect_the_dead);
    struct yoke_page *page = NULL;
    struct yoke_value *v = NULL;
    char id[YOKE_ID_SIZE] = "";
    int64_t n = 0;

    ck_assert_int_eq(yoke_dead_list(y, "mail", 2, &page), 0);
    ck_assert_uint_eq(page->count, 2);
    ck_assert(page->over);
    ck_assert_str_eq(page->members[0]->errors[0].class_name, "exit:1");
    ck_assert_str_eq(page->members[1]->id, "j2");
    yoke_page_free(page);
    ck_assert_int_eq(yoke_dead_list(y, NULL, YOKE_DEFAULT, &page), 0);
    ck_assert_uint_eq(page->count, 0);
    yoke_page_free(page);
    ck_assert_int_eq(yoke_dead_retry(y, NULL, 5, &v), 0);
    ck_assert_uint_eq(v->count, 2);
    ck_assert_str_eq(v->items[1].s.data, "j4");
    yoke_value_free(v);
    ck_assert_int_eq(yoke_dead_retry(y, "mail", YOKE_DEFAULT, NULL),
                     YOKE_ERR_CLOSED);
    ck_assert_int_eq(yoke_dead_retry(y, NULL, YOKE_DEFAULT, NULL),
                     YOKE_ERR_PROTOCOL);
    ck_assert_int_eq(yoke_dead_purge(y, "mail", YOKE_DEFAULT, &n), 0);
    ck_assert_int_eq(n, 7);
    ck_assert_int_eq(yoke_job_retry(y, NULL, id), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_job_retry(y, "j1", id), 0);
    ck_assert_str_eq(id, "j5");
    part();
}
END_TEST

static void expect_limiter_calls(struct peer *p)
{
    if (peer_expect(p, "LIMITER SET gpu PERMITS 2"))
        peer_line(p, "+OK");
    if (peer_expect(p, "LIMITER SET api PERMITS -1 RATE 10 1000"))
        peer_line(p, "+OK");
    if (peer_expect(p, "LIMITER SET api RATE 0 0"))
        peer_line(p, "+OK");
    if (peer_expect(p, "LIMITER INFO gpu"))
        peer_say(p, "[ name gpu permits :2 rate :0 rate_interval :0 held :1 "
                    "waiting :5 ]");
    if (peer_expect(p, "LIMITER INFO no"))
        peer_line(p, "-NOLIMITER no limiter of that name");
    if (peer_expect(p, "LIMITER LIST"))
        peer_say(p, "[ api gpu ]");
    if (peer_expect(p, "LIMITER DEL api"))
        peer_line(p, "+OK");
}

START_TEST(limiter_calls_say_what_the_protocol_says)
{
    yoke *y = meet(expect_limiter_calls);
    struct yoke_limiter l = {.waiting = 99};
    struct yoke_value *v = NULL;

    ck_assert_int_eq(yoke_limiter_set(y, "gpu", 2, YOKE_DEFAULT, YOKE_DEFAULT),
                     0);
    ck_assert_int_eq(yoke_limiter_set(y, "api", YOKE_NONE, 10, 1000), 0);
    ck_assert_int_eq(
        yoke_limiter_set(y, "api", YOKE_DEFAULT, YOKE_NONE, YOKE_DEFAULT), 0);
    ck_assert_int_eq(yoke_limiter_set(y, "api", YOKE_DEFAULT, 10, YOKE_DEFAULT),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_limiter_set(y, NULL, 1, YOKE_DEFAULT, YOKE_DEFAULT),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_limiter_info(y, "gpu", &l), 0);
    ck_assert_int_eq(l.permits, 2);
    ck_assert_int_eq(l.rate, YOKE_NONE);
    ck_assert_int_eq(l.interval_ms, 0);
    ck_assert_int_eq(l.held, 1);
    ck_assert_int_eq(l.waiting, 5);
    ck_assert_int_eq(yoke_limiter_info(y, "no", &l), YOKE_ERR_NOLIMITER);
    ck_assert_int_eq(yoke_limiter_list(y, &v), 0);
    ck_assert_uint_eq(v->count, 2);
    yoke_value_free(v);
    ck_assert_int_eq(yoke_limiter_delete(y, "api"), 0);
    part();
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        queue_calls_say_what_the_protocol_says,
        join_of_a_queue_waits_until_it_is_told_that_all_has_ended,
        dead_calls_say_what_the_protocol_says,
        limiter_calls_say_what_the_protocol_says,
    };

    return run_suite("client_queues", laws, ARRAY_LEN(laws));
}
