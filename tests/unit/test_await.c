/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of yoke_await: who is told of which end, once, whatever becomes of
 * the connection.
 */
#include "host.h"

#include <yoke/poll.h>

#define J1 "j0000000000001"
#define J2 "j0000000000002"
#define G3 "g0000000000003"

static void told(yoke *y, const char *id, int status,
                 const struct yoke_outcome_info *o, void *arg)
{
    struct calls *c = arg;
    size_t len = strlen(c->text);

    (void)y;
    ck_assert_int_eq(o == NULL, status < 0);
    if (o)
        ck_assert_str_eq(o->id, id);
    (void)snprintf(c->text + len, sizeof(c->text) - len, "%s%s:%s",
                   len ? " " : "", id,
                   o ? (o->outcome == YOKE_FAILED ? "failed" : "ok")
                     : yoke_status_name(status));
}

/* Until nothing is awaited; or the handle ends. */
static int await_all(yoke *y)
{
    while (yoke_awaited(y) > 0) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};
        int64_t wait = yoke_timeout_ms(y);
        int status;

        ck_assert_int_ge(poll(&p, 1, wait < 0 ? PATIENCE_MS : (int)wait), 0);
        status = yoke_process(y);
        if (status < 0)
            return status;
    }
    return 0;
}

static void await_it(yoke *y, const char *id, struct calls *c)
{
    ck_assert_int_eq(yoke_await(y, id, told, c), 0);
}

static void ends_one_by_one(struct peer *p)
{
    if (!peer_expect(p, "AWAIT " J1 " " J2 " " G3))
        return;
    peer_say(p, "[ " J2 " ]");
    if (!peer_expect(p, "FETCH 0 10000"))
        return;
    peer_say(p, "[ [ ended " G3 " failed ~ ] ]");
    if (!peer_expect(p, "FETCH 0 10000"))
        return;
    peer_say(p, "[ [ ended " J1 " ok [ id " J1 " outcome ok ] ] ]");
}

START_TEST(each_end_is_told_once_and_what_is_unknown_too)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(ends_one_by_one);

    await_it(y, J1, &c);
    await_it(y, J2, &c);
    await_it(y, G3, &c);
    ck_assert_uint_eq(yoke_awaited(y), 3);
    ck_assert_uint_eq(yoke_pending(y), 0);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(c.text, J2 ":NOJOB " G3 ":failed " J1 ":ok");
    leave();
}
END_TEST

static void breaks_after_await(struct peer *p)
{
    if (!peer_expect(p, "AWAIT " J1))
        return;
    peer_say(p, "[ ]");
    if (peer_expect(p, "FETCH 0 10000"))
        cut(p);
}

static void is_asked_again(struct peer *p)
{
    if (!back(p) || !peer_expect(p, "FETCH 0 10000"))
        return;
    peer_say(p, "[ ]");
    if (!peer_expect(p, "AWAIT " J1))
        return;
    peer_say(p, "[ ]");
    if (peer_expect(p, "FETCH 0 10000"))
        peer_say(p, "[ [ ended " J1 " ok [ id " J1 " outcome ok ] ] ]");
}

START_TEST(what_is_awaited_is_asked_for_again_on_a_new_connection)
{
    struct calls c = {.text = ""};
    yoke *y =
        visit_for(30000, 5000,
                  (script_fn *const[]){breaks_after_await, is_asked_again}, 2);

    await_it(y, J1, &c);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(c.text, J1 ":ok");
    leave();
}
END_TEST

static void breaks(struct peer *p)
{
    if (peer_expect(p, "AWAIT " J1 " " J2))
        cut(p);
}

START_TEST(the_end_of_the_handle_is_told_to_all)
{
    struct calls c = {.text = ""};
    yoke *y = visit_for(30000, YOKE_NONE, (script_fn *const[]){breaks}, 1);

    await_it(y, J1, &c);
    await_it(y, J2, &c);
    ck_assert_int_eq(await_all(y), YOKE_ERR_IO);
    ck_assert_str_eq(c.text, J1 ":io " J2 ":io");
    ck_assert_uint_eq(yoke_awaited(y), 0);
    ck_assert_int_eq(yoke_await(y, J1, told, &c), YOKE_ERR_IO);
    leave();
}
END_TEST

static void refuses_both_then_one(struct peer *p)
{
    if (!peer_expect(p, "AWAIT " J1 " " J2))
        return;
    peer_write(p, "-LIMIT too many\r\n", 17);
    if (!peer_expect(p, "FETCH 0 10000"))
        return;
    peer_say(p, "[ ]");
    if (!peer_expect(p, "AWAIT " J1))
        return;
    peer_say(p, "[ ]");
    if (!peer_expect(p, "AWAIT " J2))
        return;
    peer_write(p, "-LIMIT too many\r\n", 17);
    if (!peer_expect(p, "FETCH 0 10000"))
        return;
    peer_say(p, "[ [ ended " J1 " ok [ id " J1 " outcome ok ] ] ]");
}

START_TEST(a_refused_request_is_asked_again_one_by_one)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(refuses_both_then_one);

    await_it(y, J1, &c);
    await_it(y, J2, &c);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(c.text, J2 ":LIMIT " J1 ":ok");
    leave();
}
END_TEST

static void waits_first(struct peer *p)
{
    if (!peer_expect(p, "WAIT " J2 " -1"))
        return;
    await_step(p, 1);
    peer_say(p, "~");
    if (!peer_expect(p, "AWAIT " J1))
        return;
    peer_say(p, "[ ]");
    if (peer_expect(p, "FETCH 0 10000"))
        peer_say(p, "[ [ ended " J1 " ok [ id " J1 " outcome ok ] ] ]");
}

START_TEST(a_wait_of_the_program_is_not_cut_short)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(waits_first);

    ck_assert_int_eq(yoke_sendl(y, NULL, NULL, "WAIT", J2, "-1", NULL), 0);
    await_it(y, J1, &c);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(yoke_process(y), 0);
    ck_assert_uint_eq(yoke_unsent(y), 0);
    ck_assert_int_ne(yoke_timeout_ms(y), 0);
    atomic_store(&peer.step, 1);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(c.text, J1 ":ok");
    leave();
}
END_TEST

static void brings_an_end_with_work(struct peer *p)
{
    if (!peer_expect(p, "FETCH 1 0 mail"))
        return;
    peer_say(p, "[ ]");
    if (!peer_expect(p, "AWAIT " J1))
        return;
    peer_say(p, "[ ]");
    if (peer_expect(p, "FETCH 1 5000 mail"))
        peer_say(p, "[ [ ended " J1 " ok [ id " J1 " outcome ok ] ] ]");
}

START_TEST(who_fetches_gets_the_ends_with_that)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(brings_an_end_with_work);

    ck_assert_int_eq(yoke_sendl(y, NULL, NULL, "FETCH", "1", "0", "mail", NULL),
                     0);
    await_it(y, J1, &c);
    ck_assert_int_eq(yoke_process(y), 0);
    ck_assert_int_eq(
        yoke_sendl(y, NULL, NULL, "FETCH", "1", "5000", "mail", NULL), 0);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(c.text, J1 ":ok");
    leave();
}
END_TEST

static void loses_interest(struct peer *p)
{
    if (!peer_expect(p, "AWAIT " J1 " " J2))
        return;
    peer_say(p, "[ ]");
    if (!peer_expect(p, "FETCH 0 10000"))
        return;
    peer_say(p, "[ [ ended " J1 " ok [ id " J1 " outcome ok ] ] ]");
    if (!peer_expect(p, "UNAWAIT " J2))
        return;
    peer_say(p, "+OK");
    if (peer_expect(p, "PING"))
        peer_say(p, "[ ]");
}

static void drops_the_other(yoke *y, const char *id, int status,
                            const struct yoke_outcome_info *o, void *arg)
{
    told(y, id, status, o, arg);
    ck_assert_int_eq(yoke_unawait(y, J2), 0);
}

START_TEST(what_is_awaited_no_more_is_not_told)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(loses_interest);

    ck_assert_int_eq(yoke_await(y, J1, drops_the_other, &c), 0);
    await_it(y, J2, &c);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), 0);
    ck_assert_str_eq(c.text, J1 ":ok");
    leave();
}
END_TEST

static void nothing(struct peer *p)
{
    (void)p;
}

START_TEST(what_can_be_no_id_or_is_awaited_already_is_refused)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(nothing);

    ck_assert_int_eq(yoke_await(y, NULL, told, &c), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_await(y, "", told, &c), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(
        yoke_await(y,
                   "j00000000000000000000000000000000000000000000000000"
                   "00000000000000000000",
                   told, &c),
        YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_await(y, J2, NULL, &c), YOKE_ERR_ARGUMENT);
    await_it(y, J1, &c);
    ck_assert_int_eq(yoke_await(y, J1, told, &c), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_unawait(y, J1), 0);
    ck_assert_int_eq(yoke_unawait(y, J1), YOKE_ERR_ARGUMENT);
    ck_assert_uint_eq(yoke_awaited(y), 0);
    ck_assert_str_eq(c.text, "");
    leave();
}
END_TEST

static void takes_no_root(struct peer *p)
{
    if (!peer_expect(p, "AWAIT root " J1))
        return;
    peer_line(p, "-ERR the root group never ends");
    if (!peer_expect(p, "FETCH 0 10000"))
        return;
    peer_say(p, "[ ]");
    if (!peer_expect(p, "AWAIT root"))
        return;
    peer_line(p, "-ERR the root group never ends");
    if (!peer_expect(p, "AWAIT " J1))
        return;
    peer_say(p, "[ ]");
    if (peer_expect(p, "FETCH 0 10000"))
        peer_say(p, "[ [ ended " J1 " ok ~ ] ]");
}

START_TEST(what_is_no_id_the_daemon_says_and_no_other_await_suffers)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(takes_no_root);

    await_it(y, "root", &c);
    await_it(y, J1, &c);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(c.text, "root:ERR " J1 ":ok");
    leave();
}
END_TEST

/* ------------------------------------------------------------------ crowds */

/* In the place of a daemon: all that is awaited has ended already. */
#define CROWD    65536 /* as many as yoked awaits for a session */
#define ANSWER   1000  /* ends in one reply, as yoked does it */
#define IDS_MAX  1000  /* in one request, as yoked takes it */
#define CROWD_ID "j%013zu"

static struct crowd {
    /* what the peer does */
    size_t cut_after; /* ends: then it breaks within the next reply; 0: never */
    bool picky;       /* takes every second one, and those alone */
    /* what it was asked */
    size_t asked, largest, unawaited, head, tail;
    uint32_t ends[2 * CROWD];
    /* what the program was told */
    int told[CROWD], refused[CROWD];
} crowd;

static size_t crowd_number(const char *id)
{
    return strtoul(id + 1, NULL, 10);
}

static void say_ends(struct peer *p)
{
    size_t n = crowd.tail - crowd.head, len;
    char *text = NULL;
    FILE *out = open_memstream(&text, &len);

    ck_assert_ptr_nonnull(out);
    n = n < ANSWER ? n : ANSWER;
    fprintf(out, "*%zu\r\n", n);
    for (; n > 0; n--)
        fprintf(out,
                "*4\r\n$5\r\nended\r\n$14\r\n" CROWD_ID "\r\n"
                "$2\r\nok\r\n$-1\r\n",
                (size_t)crowd.ends[crowd.head++]);
    ck_assert_int_eq(fclose(out), 0);
    if (crowd.cut_after > 0 && crowd.head > crowd.cut_after) {
        peer_write(p, text, len / 2);
        cut(p);
    } else {
        peer_write(p, text, len);
    }
    free(text);
}

static void take_awaits(struct peer *p)
{
    size_t n = p->nwords - 1;

    crowd.asked++;
    crowd.largest = n > crowd.largest ? n : crowd.largest;
    if (crowd.picky && (n > 1 || crowd_number(p->word[1].data) % 2 == 1)) {
        peer_line(p, "-LIMIT too many");
        return;
    }
    for (size_t i = 1; i <= n; i++)
        crowd.ends[crowd.tail++] = (uint32_t)crowd_number(p->word[i].data);
    peer_line(p, "*0");
}

static void serve_crowd(struct peer *p)
{
    while (peer_read(p)) {
        const char *verb = p->word[0].data;

        if (strcmp(verb, "AWAIT") == 0) {
            take_awaits(p);
        } else if (strcmp(verb, "FETCH") == 0) {
            say_ends(p);
        } else {
            crowd.unawaited += strcmp(verb, "UNAWAIT") == 0;
            peer_line(p, "+OK");
        }
    }
}

static void serve_crowd_again(struct peer *p)
{
    crowd.cut_after = 0;
    crowd.head = crowd.tail; /* what was in the lost reply is asked for again */
    if (back(p))
        serve_crowd(p);
}

static void count_told(yoke *y, const char *id, int status,
                       const struct yoke_outcome_info *o, void *arg)
{
    size_t i = crowd_number(id);

    (void)y;
    ck_assert_ptr_eq(arg, &crowd.told[i]);
    ck_assert_int_eq(o == NULL, status < 0);
    crowd.told[i]++;
    crowd.refused[i] += status == YOKE_ERR_LIMIT;
}

static void crowd_id(char id[YOKE_ID_SIZE], size_t i)
{
    (void)snprintf(id, YOKE_ID_SIZE, CROWD_ID, i);
}

static void await_crowd(yoke *y, size_t n)
{
    char id[YOKE_ID_SIZE];

    for (size_t i = 0; i < n; i++) {
        crowd_id(id, i);
        ck_assert_int_eq(yoke_await(y, id, count_told, &crowd.told[i]), 0);
    }
    ck_assert_uint_eq(yoke_awaited(y), n);
}

static void each_was_told_once(size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(crowd.told[i] == 1, "%zu was told %d times", i,
                      crowd.told[i]);
}

START_TEST(as_many_as_a_session_may_await_are_asked_for_in_batches)
{
    yoke *y;

    crowd = (struct crowd){.picky = false};
    y = VISIT(serve_crowd);
    await_crowd(y, CROWD);
    ck_assert_int_eq(await_all(y), 0);
    each_was_told_once(CROWD);
    leave();
    ck_assert_uint_eq(crowd.asked, (CROWD + IDS_MAX - 1) / IDS_MAX);
    ck_assert_uint_eq(crowd.largest, IDS_MAX);
}
END_TEST

START_TEST(a_connection_that_breaks_in_between_tells_each_end_once)
{
    static const size_t cuts[] = {1, 2 * ANSWER, 7 * ANSWER};
    const size_t n = 8 * IDS_MAX;

    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        yoke *y;

        crowd = (struct crowd){.cut_after = cuts[i]};
        y = visit_for(30000, 5000,
                      (script_fn *const[]){serve_crowd, serve_crowd_again}, 2);
        await_crowd(y, n);
        ck_assert_int_eq(await_all(y), 0);
        each_was_told_once(n);
        leave();
        ck_assert_int_eq(atomic_load(&host.connections), 2);
    }
}
END_TEST

START_TEST(of_many_refused_requests_each_is_asked_for_alone_and_told_once)
{
    const size_t n = 10 * IDS_MAX;
    yoke *y;

    crowd = (struct crowd){.picky = true};
    y = VISIT(serve_crowd);
    await_crowd(y, n);
    ck_assert_int_eq(await_all(y), 0);
    each_was_told_once(n);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(crowd.refused[i], i % 2);
    leave();
    ck_assert_uint_eq(crowd.asked, n / IDS_MAX + n);
}
END_TEST

/* Takes back every second one, of those that are still awaited. */
static void takes_back(yoke *y, const char *id, int status,
                       const struct yoke_outcome_info *o, void *arg)
{
    char other[YOKE_ID_SIZE];

    count_told(y, id, status, o, arg);
    crowd_id(other, crowd_number(id) + 1);
    ck_assert_int_eq(yoke_unawait(y, other), 0);
}

START_TEST(thousands_that_are_taken_back_are_not_told)
{
    const size_t n = 6 * IDS_MAX;
    char id[YOKE_ID_SIZE];
    yoke *y;

    crowd = (struct crowd){.picky = false};
    y = VISIT(serve_crowd);
    for (size_t i = 0; i < n; i++) {
        crowd_id(id, i);
        ck_assert_int_eq(
            yoke_await(y, id, i % 2 ? count_told : takes_back, &crowd.told[i]),
            0);
    }
    ck_assert_int_eq(await_all(y), 0);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(crowd.told[i], i % 2 == 0);
    ck_assert_int_eq(yoke_process(y), 0);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), 0);
    leave();
    ck_assert_uint_ge(crowd.unawaited, n / 2 / IDS_MAX);
}
END_TEST

/* ------------------------------------------------------------------ memory */

/* Whatever allocation fails: who was taken is told once, and nothing leaks. */
START_TEST(memory_that_is_short_leaves_no_await_without_an_answer)
{
    const size_t n = 40; /* the index grows on the way */
    int well = 0;

    for (long left = 0; left < 120; left++) {
        int taken[40] = {0}, ntaken = 0;
        yoke *y;

        crowd = (struct crowd){.picky = false};
        y = VISIT(serve_crowd);
        atomic_store(&allocations_left, left);
        for (size_t i = 0; i < n; i++) {
            char id[YOKE_ID_SIZE];
            int status;

            crowd_id(id, i);
            status = yoke_await(y, id, count_told, &crowd.told[i]);
            ck_assert(status == 0 || status == YOKE_ERR_NOMEM);
            taken[i] = status == 0;
            ntaken += taken[i];
        }
        ck_assert_int_eq((int)yoke_awaited(y), ntaken);
        (void)await_all(y);
        atomic_store(&allocations_left, -1);
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(crowd.told[i] == taken[i], "%ld: %zu: %d", left, i,
                          crowd.told[i]);
        well += ntaken == (int)n && !yoke_process(y);
        leave();
    }
    ck_assert_int_gt(well, 0);
}
END_TEST

/* --------------------------------------------------------------- from within
 */

/* What a function that is told of an end does there. */
static struct within {
    struct calls calls;
    uint64_t forgotten;
    int rounds;
} within;

static void awaits_anew(yoke *y, const char *id, int status,
                        const struct yoke_outcome_info *o, void *arg)
{
    told(y, id, status, o, arg);
    if (within.rounds-- > 0)
        ck_assert_int_eq(yoke_await(y, id, awaits_anew, arg), 0);
}

static void ends_three_times(struct peer *p)
{
    for (int i = 0; i < 3; i++) {
        if (!peer_expect(p, "AWAIT " J1))
            return;
        peer_say(p, i == 2 ? "[ " J1 " ]" : "[ ]");
        if (!peer_expect(p, "FETCH 0 10000"))
            return;
        peer_say(p, i == 2 ? "[ ]" : "[ [ ended " J1 " ok ~ ] ]");
    }
}

START_TEST(one_that_was_told_may_be_awaited_again_from_within)
{
    yoke *y = VISIT(ends_three_times);

    within = (struct within){.rounds = 2};
    ck_assert_int_eq(yoke_await(y, J1, awaits_anew, &within.calls), 0);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(within.calls.text, J1 ":ok " J1 ":ok " J1 ":NOJOB");
    leave();
}
END_TEST

static void forgets(yoke *y, const char *id, int status,
                    const struct yoke_outcome_info *o, void *arg)
{
    told(y, id, status, o, arg);
    ck_assert_int_eq(yoke_forget(y, within.forgotten, NULL), 0);
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), YOKE_ERR_ARGUMENT);
}

static void ends_before_an_answer(struct peer *p)
{
    if (!peer_expect(p, "AWAIT " J1) || !peer_expect(p, "FETCH 0 10000") ||
        !peer_expect(p, "STATUS " J2))
        return;
    peer_say(p, "[ ] [ [ ended " J1 " ok ~ ] ] [ ]");
}

START_TEST(a_request_may_be_forgotten_from_within)
{
    yoke *y = VISIT(ends_before_an_answer);

    within = (struct within){.rounds = 0};
    ck_assert_int_eq(yoke_await(y, J1, forgets, &within.calls), 0);
    ck_assert_int_eq(yoke_process(y), 0);
    ck_assert_int_eq(yoke_sendl(y, note, &within.calls, "STATUS", J2, NULL), 0);
    within.forgotten = yoke_last_request(y);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), 0);
    ck_assert_str_eq(within.calls.text, J1 ":ok");
    leave();
}
END_TEST

static void ends_one(struct peer *p)
{
    if (!peer_expect(p, "AWAIT " J1 " " J2) || !peer_expect(p, "FETCH 0 10000"))
        return;
    await_step(p, 1);
    peer_say(p, "[ ] [ [ ended " J1 " ok ~ ] [ ended " J2 " ok ~ ] ]");
}

START_TEST(the_requests_of_awaits_are_not_a_programs_to_forget)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(ends_one);

    await_it(y, J1, &c);
    await_it(y, J2, &c);
    ck_assert_int_eq(yoke_process(y), 0);
    for (uint64_t r = 0; r <= yoke_last_request(y) + 1; r++)
        ck_assert_int_eq(yoke_forget(y, r, NULL), YOKE_ERR_ARGUMENT);
    atomic_store(&peer.step, 1);
    ck_assert_int_eq(await_all(y), 0);
    ck_assert_str_eq(c.text, J1 ":ok " J2 ":ok");
    leave();
}
END_TEST

static void detaches(yoke *y, const char *id, int status,
                     const struct yoke_outcome_info *o, void *arg)
{
    told(y, id, status, o, arg);
    yoke_detach(y);
}

static void closes(yoke *y, const char *id, int status,
                   const struct yoke_outcome_info *o, void *arg)
{
    told(y, id, status, o, arg);
    yoke_close(y);
    client = NULL;
}

/* Until the first of two that end at once is told. */
static void in_a_loop(yoke_awaited_fn *fn)
{
    struct yoke_poll loop = YOKE_POLL_INIT;
    yoke *y = VISIT(ends_one);

    within = (struct within){.rounds = 0};
    atomic_store(&peer.step, 1);
    ck_assert_int_eq(yoke_poll_attach(&loop, y, NULL, NULL), 0);
    ck_assert_int_eq(yoke_await(y, J1, fn, &within.calls), 0);
    await_it(y, J2, &within.calls);
    while (!within.calls.text[0]) {
        struct pollfd fds[1];
        int wait_ms = PATIENCE_MS;
        size_t n = yoke_poll_fill(&loop, fds, 1, &wait_ms);

        ck_assert_int_ge(poll(fds, n, wait_ms), 0);
        yoke_poll_run(&loop, fds, n);
    }
}

START_TEST(a_handle_may_leave_its_loop_from_within)
{
    in_a_loop(detaches);
    ck_assert_int_eq(await_all(client), 0);
    ck_assert_str_eq(within.calls.text, J1 ":ok " J2 ":ok");
    leave();
}
END_TEST

START_TEST(a_handle_that_is_closed_from_within_tells_nothing_more)
{
    in_a_loop(closes);
    ck_assert_str_eq(within.calls.text, J1 ":ok");
    ck_assert_ptr_null(client);
    leave();
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        each_end_is_told_once_and_what_is_unknown_too,
        what_is_awaited_is_asked_for_again_on_a_new_connection,
        the_end_of_the_handle_is_told_to_all,
        a_refused_request_is_asked_again_one_by_one,
        a_wait_of_the_program_is_not_cut_short,
        who_fetches_gets_the_ends_with_that,
        what_is_awaited_no_more_is_not_told,
        what_can_be_no_id_or_is_awaited_already_is_refused,
        what_is_no_id_the_daemon_says_and_no_other_await_suffers,
        as_many_as_a_session_may_await_are_asked_for_in_batches,
        a_connection_that_breaks_in_between_tells_each_end_once,
        of_many_refused_requests_each_is_asked_for_alone_and_told_once,
        thousands_that_are_taken_back_are_not_told,
        memory_that_is_short_leaves_no_await_without_an_answer,
        one_that_was_told_may_be_awaited_again_from_within,
        a_request_may_be_forgotten_from_within,
        the_requests_of_awaits_are_not_a_programs_to_forget,
        a_handle_may_leave_its_loop_from_within,
        a_handle_that_is_closed_from_within_tells_nothing_more,
    };

    return run_suite("await", laws, ARRAY_LEN(laws));
}
