/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of yoke_await: who is told of which end, once, whatever becomes of
 * the connection.
 */
#include "host.h"

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

START_TEST(what_is_no_id_or_awaited_already_is_refused)
{
    struct calls c = {.text = ""};
    yoke *y = VISIT(nothing);

    ck_assert_int_eq(yoke_await(y, "root", told, &c), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_await(y, "j 1", told, &c), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_await(y, NULL, told, &c), YOKE_ERR_ARGUMENT);
    await_it(y, J1, &c);
    ck_assert_int_eq(yoke_await(y, J1, told, &c), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_unawait(y, J1), 0);
    ck_assert_int_eq(yoke_unawait(y, J1), YOKE_ERR_ARGUMENT);
    ck_assert_uint_eq(yoke_awaited(y), 0);
    ck_assert_str_eq(c.text, "");
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
        what_is_no_id_or_awaited_already_is_refused,
    };

    return run_suite("await", laws, ARRAY_LEN(laws));
}
