/* SPDX-License-Identifier: BSD-2-Clause */
/* The laws of libyoke's calls: jobs, groups, errors, workers, memory. */
#include "peer.h"

/* ------------------------------------------------------------------- jobs */

static void expect_full_submit(struct peer *p)
{
    if (peer_expect(p,
                    "SUBMIT mail body GROUP g1 NAME n KEY k LIMITS gpu:2,api "
                    "THEN next PRIORITY 9 TIMEOUT 1 "
                    "DEADLINE -1 EXPIRES 3 GRACE 4 DELAY 5 RETRY 6 BACKOFF "
                    "7 60000 FACTOR 1.050 JITTER 20 RETRY-ON exit:75,net* "
                    "REDELIVER 8 KEEP 9 WAIT 0"))
        peer_say(p, "j0000000000001");
    if (peer_expect(p, "SUBMIT mail "))
        peer_line(p, "-QUEUEFULL queue 'mail' is full (10 of 10 jobs)");
    if (peer_expect(p, "SUBMIT mail  KEY k"))
        peer_say(p, "j0000000000002");
}

static void keep_id(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    (void)y;
    ck_assert_int_eq(status, 0);
    (void)snprintf(arg, YOKE_ID_SIZE, "%s", reply->s.data);
}

START_TEST(submit_says_what_was_set_and_nothing_else)
{
    yoke *y = meet(expect_full_submit);
    char id[YOKE_ID_SIZE] = "";
    struct yoke_submit s = {
        .queue = "mail",
        .payload = bytes("body"),
        .group = "g1",
        .name = "n",
        .key = "k",
        .limits = "gpu:2,api",
        .then = "next",
        .priority = 9,
        .timeout_ms = 1,
        .deadline_ms = YOKE_NONE,
        .expires_ms = 3,
        .grace_ms = 4,
        .delay_ms = 5,
        .at_ms = YOKE_DEFAULT,
        .factor_milli = 1050,
        .jitter = 20,
        .retry_on = "exit:75,net*",
        .retry = 6,
        .backoff_base_ms = 7,
        .backoff_cap_ms = YOKE_DEFAULT,
        .redeliver = 8,
        .keep_ms = 9,
        .wait_ms = 0,
    };

    ck_assert_int_eq(yoke_submit(y, &s, id), YOKE_ERR_ARGUMENT); /* half */
    s.backoff_cap_ms = 60000;
    ck_assert_int_eq(yoke_submit(y, &s, id), 0);
    ck_assert_str_eq(id, "j0000000000001");
    yoke_submit_init(&s);
    ck_assert_int_eq(yoke_submit(y, &s, id), YOKE_ERR_ARGUMENT);
    s.queue = "mail";
    ck_assert_int_eq(yoke_submit(y, &s, id), YOKE_ERR_QUEUEFULL);
    ASSERT_TEXT(y, "QUEUEFULL queue 'mail' is full (10 of 10 jobs)");
    s.key = "k";
    ck_assert_int_eq(yoke_send_submit(y, &s, keep_id, id), 0);
    ck_assert_int_eq(loop_until_idle(y), 0);
    ck_assert_str_eq(id, "j0000000000002");
    s.queue = NULL;
    ck_assert_int_eq(yoke_send_submit(y, &s, keep_id, id), YOKE_ERR_ARGUMENT);
    part();
}
END_TEST

static void expect_times(struct peer *p)
{
    if (peer_expect(p, "RESCHEDULE j0000000000001 TIMEOUT 1000 DEADLINE -1"))
        peer_line(p, "+OK");
    if (peer_expect(p, "RESCHEDULE j0000000000001 EXPIRES 5 AT 6"))
        peer_line(p, "-ENDED the job has been started");
    if (peer_expect(p, "SUBMIT mail  AT 7 FACTOR 3"))
        peer_say(p, "j0000000000003");
    if (peer_expect(p, "SHIELD j0000000000001.2 90000"))
        peer_line(p, ":60000");
    if (peer_expect(p, "UNSHIELD j0000000000001.2"))
        peer_line(p, "+OK");
    if (peer_expect(p, "SHIELD j0000000000001.2 1"))
        peer_line(p, "-CANCELLED a shield comes too late");
}

START_TEST(times_and_shields_say_what_the_protocol_says)
{
    yoke *y = meet(expect_times);
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;
    struct yoke_times t;
    int64_t granted = 0;

    yoke_times_init(&t);
    ck_assert_int_eq(yoke_reschedule(y, "j0000000000001", &t),
                     YOKE_ERR_ARGUMENT);
    t.timeout_ms = 1000;
    t.deadline_ms = YOKE_NONE;
    ck_assert_int_eq(yoke_reschedule(y, NULL, &t), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_reschedule(y, "j0000000000001", &t), 0);
    yoke_times_init(&t);
    t.expires_ms = 5;
    t.at_ms = 6;
    ck_assert_int_eq(yoke_reschedule(y, "j0000000000001", &t), YOKE_ERR_ENDED);
    yoke_submit_init(&s);
    s.queue = "mail";
    s.at_ms = 7;
    s.factor_milli = 3000;
    ck_assert_int_eq(yoke_submit(y, &s, id), 0);
    ck_assert_int_eq(yoke_shield(y, "j0000000000001.2", 90000, &granted), 0);
    ck_assert_int_eq(granted, 60000);
    ck_assert_int_eq(yoke_unshield(y, "j0000000000001.2"), 0);
    ck_assert_int_eq(yoke_shield(y, "j0000000000001.2", 1, NULL),
                     YOKE_ERR_CANCELLED);
    part();
}
END_TEST

static void expect_scopes(struct peer *p)
{
    if (peer_expect(p, "SUBMIT mail  GROUP j0000000000001.2"))
        peer_say(p, "j0000000000003");
    if (peer_expect(p, "GROUP OPEN PARENT j0000000000001.2"))
        peer_say(p, "g0000000000004");
    if (peer_expect(p, "SUBMIT mail  GROUP root"))
        peer_say(p, "j0000000000005");
    if (peer_expect(p, "SUBMIT mail "))
        peer_say(p, "j0000000000006");
}

START_TEST(what_names_no_scope_is_in_that_of_the_environment)
{
    yoke *y = meet(expect_scopes);
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.queue = "mail";
    ck_assert_int_eq(setenv(YOKE_ENV_SCOPE, "j0000000000001.2", 1), 0);
    ck_assert_int_eq(yoke_submit(y, &s, id), 0);
    ck_assert_int_eq(yoke_group_open(y, NULL, id), 0);
    s.group = "root";
    ck_assert_int_eq(yoke_submit(y, &s, id), 0);
    s.group = NULL;
    ck_assert_int_eq(setenv(YOKE_ENV_SCOPE, "", 1), 0);
    ck_assert_int_eq(yoke_submit(y, &s, id), 0);
    ck_assert_int_eq(unsetenv(YOKE_ENV_SCOPE), 0);
    part();
}
END_TEST

#define MANY 5000

static struct yoke_submit *make_jobs(size_t payload)
{
    struct yoke_submit *s = calloc(MANY, sizeof(*s));
    char *data = calloc(1, payload);

    ck_assert_ptr_nonnull(s);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < MANY; i++) {
        yoke_submit_init(&s[i]);
        s[i].queue = "q";
        s[i].payload = (struct yoke_bytes){.data = data, .len = payload};
    }
    return s;
}

static void free_jobs(struct yoke_submit *s)
{
    free((char *)s[0].payload.data);
    free(s);
}

/* Reads nothing until a lot of what the client has to say lies there. */
static void slow_reader(struct peer *p)
{
    int64_t until = yk_now_ms() + PATIENCE_MS;
    int there = 0;

    while (there < 64 * 1024 && yk_now_ms() < until) {
        if (ioctl(p->fd, FIONREAD, &there) < 0)
            break;
        (void)sched_yield();
    }
    if (there < 64 * 1024)
        (void)snprintf(p->wrong, sizeof(p->wrong), "%d bytes came", there);
    for (long i = 0; i < MANY && peer_read(p); i++)
        peer_say(p, "j%013ld", i);
}

START_TEST(submit_many_bears_a_peer_that_does_not_read)
{
    yoke *y = meet(slow_reader);
    struct yoke_submit *s = make_jobs(1000);
    char(*ids)[YOKE_ID_SIZE] = calloc(MANY, sizeof(*ids));
    size_t done = 0;

    ck_assert_int_eq(yoke_submit_many(y, s, MANY, ids, &done), 0);
    ck_assert_uint_eq(done, MANY);
    for (int i = 0; i < MANY; i++) {
        char id[YOKE_ID_SIZE];

        (void)snprintf(id, sizeof(id), "j%013d", i);
        ck_assert_str_eq(ids[i], id);
    }
    free(ids);
    free_jobs(s);
    part();
}
END_TEST

/* Answers 10, refuses one, takes all that comes after it. */
static void refuse_eleventh(struct peer *p)
{
    while (peer_read(p) && strcmp(p->word[0].data, "SUBMIT") == 0) {
        if (p->count++ == 10)
            peer_line(p, "-QUEUEFULL queue 'q' is full");
        else
            peer_say(p, "j%013ld", p->count);
    }
    peer_say(p, "+OK");
}

START_TEST(submit_many_stops_at_the_first_error)
{
    yoke *y = meet(refuse_eleventh);
    struct yoke_submit *s = make_jobs(10);
    char(*ids)[YOKE_ID_SIZE] = calloc(MANY, sizeof(*ids));
    size_t done = 0;
    long later = 0;

    ck_assert_int_eq(yoke_submit_many(y, s, MANY, ids, &done),
                     YOKE_ERR_QUEUEFULL);
    ASSERT_TEXT(y, "QUEUEFULL queue 'q' is full");
    ck_assert_uint_eq(done, 10);
    for (size_t i = 0; i < 10; i++)
        ck_assert(ids[i][0] == 'j');
    ck_assert_str_eq(ids[10], "");
    for (size_t i = 11; i < MANY; i++)
        later += ids[i][0] == 'j';
    free(ids);
    free_jobs(s);
    part();
    ck_assert_int_eq(peer.count, 11 + later); /* whatever was sent is told */
    ck_assert_int_lt(peer.count, MANY);
}
END_TEST

static void interrupt_many(struct peer *p)
{
    for (int i = 0; i < 5 && peer_read(p); i++)
        peer_say(p, "j1");
    yoke_interrupt(peer_client(p));
    while (peer_read(p) && strcmp(p->word[0].data, "SUBMIT") == 0)
        peer_say(p, "j2");
    peer_say(p, "+OK");
}

START_TEST(interrupted_submit_many_counts_what_was_accepted)
{
    yoke *y = meet(interrupt_many);
    struct yoke_submit *s = make_jobs(10);
    size_t done = 0;

    ck_assert_int_eq(yoke_submit_many(y, s, MANY, NULL, &done),
                     YOKE_ERR_INTERRUPTED);
    ASSERT_TEXT(y, "interrupted");
    ck_assert_uint_lt(done, MANY);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), 0);
    free_jobs(s);
    part();
}
END_TEST

static void say_outcomes(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 0"))
        peer_say(
            p,
            "[ id j1 kind job outcome failed result ~ name ~ reason ~ attempts "
            ":2 ended :1700 started ~ errors [ [ class exit:1 message oops "
            "attempt :1 ] [ class lost attempt :2 detail end time :99 ] ] ]");
    if (peer_expect(p, "GROUP WAIT g1 -1"))
        peer_say(p, "[ id g1 kind group outcome cancelled reason mine opened "
                    ":5 failed :1 members :100 ]");
    if (peer_expect(p, "WAIT j2 0"))
        peer_say(p, "[ id :3 ]");
}

START_TEST(outcomes_are_read_from_their_maps)
{
    yoke *y = meet(say_outcomes);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", 0, &o), 0);
    ck_assert(!o->is_group);
    ck_assert_int_eq(o->outcome, YOKE_FAILED);
    ck_assert_ptr_null(o->result.data);
    ck_assert_ptr_null(o->reason);
    ck_assert_str_eq(o->name, "");
    ck_assert_int_eq(o->attempts, 2);
    ck_assert_int_eq(o->started_ms, YOKE_NONE);
    ck_assert_int_eq(o->ended_ms, 1700);
    ck_assert_uint_eq(o->nerrors, 2);
    ck_assert_str_eq(o->errors[0].class_name, "exit:1");
    ck_assert_str_eq(o->errors[0].message, "oops");
    ck_assert_str_eq(o->errors[0].detail, "");
    ck_assert_int_eq(o->errors[1].time_ms, 99);
    ck_assert_int_eq(o->raw->kind, YOKE_MAP);
    yoke_outcome_free(o);

    ck_assert_int_eq(yoke_group_wait(y, "g1", YOKE_NONE, &o), 0);
    ck_assert(o->is_group);
    ck_assert_int_eq(o->outcome, YOKE_CANCELLED);
    ck_assert_str_eq(o->reason, "mine");
    ck_assert_int_eq(o->members, 100);
    ck_assert_int_eq(o->failed, 1);
    ck_assert_int_eq(o->submitted_ms, 5);
    yoke_outcome_free(o);

    ck_assert_int_eq(yoke_job_wait(y, "j2", 0, &o), YOKE_ERR_PROTOCOL);
    part();
}
END_TEST

static void say_logs(struct peer *p)
{
    if (peer_expect(p, "LOGS j1 0 0 TIMES"))
        peer_say(p, "[ 17 [ [ :1 out :5 j1.1 ] [ :0 1000 ~ j1 ] "
                    "[ :2 err :6 j1.2 ] ] :0 ]");
    if (peer_expect(p, "LOGS j1 17 -1 TIMES"))
        peer_say(p, "[ 17 [ ] :1 ]");
    if (peer_expect(p, "LOGS g1 0 -1 TIMES"))
        peer_say(p, "[ 17 [ [ :1 out :5 j1.1 ] [ :2 err :6 j2.1 ] ] :0 ]");
    if (peer_expect(p, "LOGS j1 0 0 TIMES"))
        peer_say(p, "[ 17 [ [ :1 out ] ] :0 ]");
    if (peer_expect(p, "STATUS j1"))
        peer_say(p, "[ state running ]");
}

START_TEST(logs_come_in_pages_and_say_what_was_lost)
{
    yoke *y = meet(say_logs);
    struct yoke_log_page *p = NULL;
    struct yoke_value *v = NULL;

    ck_assert_int_eq(yoke_job_logs(y, "j1", 0, 0, &p), 0);
    ck_assert_int_eq(p->cursor, 17);
    ck_assert(!p->over);
    ck_assert_uint_eq(p->count, 3);
    ck_assert_str_eq(p->chunks[0].data.data, "out");
    ck_assert_int_eq(p->chunks[1].stream, 0);
    ck_assert_int_eq(p->chunks[1].lost, 1000);
    ck_assert_int_eq(p->chunks[1].time_ms, YOKE_NONE);
    ck_assert_str_eq(p->chunks[1].token, "j1");
    ck_assert_int_eq(p->chunks[2].stream, 2);
    ck_assert_int_eq(p->chunks[2].time_ms, 6);
    ck_assert_str_eq(p->chunks[2].token, "j1.2");
    yoke_log_page_free(p);
    ck_assert_int_eq(yoke_job_logs(y, "j1", 17, YOKE_NONE, &p), 0);
    ck_assert(p->over);
    yoke_log_page_free(p);
    ck_assert_int_eq(yoke_group_logs(y, "g1", 0, YOKE_NONE, &p), 0);
    ck_assert_uint_eq(p->count, 2);
    ck_assert_str_eq(p->chunks[1].token, "j2.1");
    yoke_log_page_free(p);
    ck_assert_int_eq(yoke_job_logs(y, "j1", 0, 0, &p), YOKE_ERR_PROTOCOL);
    ck_assert_int_eq(yoke_job_status(y, "j1", &v), 0);
    ck_assert_int_eq(v->kind, YOKE_MAP);
    ck_assert_str_eq(yoke_value_get(v, "state")->s.data, "running");
    ck_assert_ptr_null(yoke_value_get(v, "stat"));
    yoke_value_free(v);
    part();
}
END_TEST

/* ----------------------------------------------------------------- groups */

#define MEMBER(kind, id, errors) \
    "[ id " id " kind " kind " outcome failed errors [ " errors " ] ] "
#define JOB(id, errors)             MEMBER("job", id, errors)
#define GROUP(id, errors)           MEMBER("group", id, errors)
#define ONE(class_)                 "[ class " class_ " ] "
#define AT(depth, map)              "[ :" depth " " map "] "
#define PAGE(cursor, entries, over) "[ " cursor " [ " entries " ] :" over " ]"

/*
 *     g1: deadline
 *       j1: exit:1, exit:2      (first page)
 *       g2:                     (third page)
 *         j2: lost
 *           g3:                   (fourth page)
 *             j3: oom
 */
static const struct {
    const char *request, *reply;
} error_script[] = {
    {"GROUP ERRORS g1 0", PAGE("1",
                               AT("0", GROUP("g1", ONE("deadline"))) AT(
                                   "1", JOB("j1", ONE("exit:1") ONE("exit:2"))),
                               "0")},
    {"GROUP ERRORS g1 1", PAGE("2", "", "0")}, /* found nothing for so long */
    {"GROUP ERRORS g1 2",
     PAGE("3",
          AT("0", GROUP("g1", ONE("deadline"))) AT("1", GROUP("g2", ""))
              AT("2", JOB("j2", ONE("lost"))),
          "0")},
    {"GROUP ERRORS g1 3",
     PAGE("4",
          AT("0", GROUP("g1", ONE("deadline"))) AT("1", GROUP("g2", ""))
              AT("2", JOB("j2", ONE("lost"))) AT("3", GROUP("g3", ""))
                  AT("4", JOB("j3", ONE("oom"))),
          "1")},
};

/* What is no tree. */
static const char *const no_error_trees[] = {
    PAGE("0", "", "0"), /* leads nowhere */
    PAGE("1", AT("1", JOB("j1", ONE("a"))), "1"),
    PAGE("1", AT("0", GROUP("g1", "")) AT("2", JOB("j1", ONE("a"))), "1"),
    PAGE("1", AT("0", GROUP("g1", "")) AT("0", GROUP("g2", "")), "1"),
    PAGE("1", JOB("j1", ONE("a")), "1"),
    "~",
    "[ ]",
};

static void say_no_error_tree(struct peer *p)
{
    for (size_t i = 0; i < ARRAY_LEN(no_error_trees); i++) {
        if (!peer_expect(p, "GROUP ERRORS g1 0"))
            return;
        peer_say(p, "%s", no_error_trees[i]);
    }
}

START_TEST(what_is_no_error_tree_is_refused)
{
    struct yoke_error_tree *t = NULL;
    yoke *y = meet(say_no_error_tree);

    for (size_t i = 0; i < ARRAY_LEN(no_error_trees); i++) {
        ck_assert_int_eq(yoke_group_errors(y, "g1", &t), YOKE_ERR_PROTOCOL);
        ck_assert_ptr_null(t);
    }
    part();
}
END_TEST

static void say_error_tree(struct peer *p)
{
    for (size_t i = 0; i < ARRAY_LEN(error_script); i++) {
        if (!peer_expect(p, error_script[i].request))
            return;
        peer_say(p, "%s", error_script[i].reply);
    }
}

static struct yoke_error_tree *read_error_tree(void)
{
    struct yoke_error_tree *t = NULL;

    ck_assert_int_eq(yoke_group_errors(meet(say_error_tree), "g1", &t), 0);
    part();
    return t;
}

START_TEST(error_tree_has_the_shape_of_the_groups)
{
    struct yoke_error_tree *t = read_error_tree(), *whole = t;

    ck_assert_str_eq(t->id, "g1");
    ck_assert(t->is_group);
    ck_assert_uint_eq(t->nerrors, 1);
    ck_assert_str_eq(t->errors[0].class_name, "deadline");
    ck_assert_uint_eq(t->nchildren, 2);
    ck_assert_str_eq(t->children[0]->id, "j1");
    ck_assert_uint_eq(t->children[0]->nerrors, 2);
    ck_assert_str_eq(t->children[1]->id, "g2");
    ck_assert_uint_eq(t->children[1]->nerrors, 0);
    ck_assert_str_eq(t->children[1]->children[0]->errors[0].class_name, "lost");
    ck_assert_uint_eq(t->children[1]->children[0]->nchildren, 1);
    t = t->children[1]->children[0];
    ck_assert_str_eq(t->children[0]->id, "g3");
    ck_assert_str_eq(t->children[0]->children[0]->errors[0].class_name, "oom");
    t = whole;
    yoke_error_tree_free(t);
}
END_TEST

START_TEST(split_keeps_the_shape_and_drops_what_is_empty)
{
    struct yoke_error_tree *t = read_error_tree(), *match, *rest;

    ck_assert_int_eq(yoke_error_tree_split(t, "exit:[13]", &match, &rest), 0);
    ck_assert_uint_eq(t->nchildren, 2); /* as it was */
    ck_assert_uint_eq(t->children[0]->nerrors, 2);
    yoke_error_tree_free(t);

    ck_assert_str_eq(match->id, "g1");
    ck_assert_uint_eq(match->nerrors, 0);
    ck_assert_uint_eq(match->nchildren, 1);
    ck_assert_uint_eq(match->children[0]->nerrors, 1);
    ck_assert_str_eq(match->children[0]->errors[0].class_name, "exit:1");
    ck_assert_uint_eq(rest->nerrors, 1);
    ck_assert_uint_eq(rest->nchildren, 2);
    ck_assert_str_eq(rest->children[0]->errors[0].class_name, "exit:2");
    ck_assert_str_eq(rest->children[1]->children[0]->id, "j2");
    yoke_error_tree_free(match);

    match = rest;
    ck_assert_int_eq(yoke_error_tree_split(rest, "*", NULL, &match), 0);
    ck_assert_ptr_null(match);
    ck_assert_int_eq(yoke_error_tree_split(rest, "spawn,a*", &match, NULL), 0);
    ck_assert_ptr_null(match);
    ck_assert_int_eq(yoke_error_tree_split(NULL, "oom", &match, NULL), 0);
    ck_assert_int_eq(yoke_error_tree_split(rest, NULL, &match, NULL),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_error_tree_split(rest, "a,,b", &match, NULL),
                     YOKE_ERR_ARGUMENT);
    yoke_error_tree_free(rest);
}
END_TEST

static void expect_group_calls(struct peer *p)
{
    if (peer_expect(p, "GROUP OPEN"))
        peer_say(p, "g1");
    if (peer_expect(
            p, "GROUP OPEN PARENT j1.1 NAME n KEY k FAIL 1 SUCCEED 2 WIDTH 3 "
               "TIMEOUT 4 DEADLINE 5 KEEP 6 DETACHED"))
        peer_say(p, "0123456789012345678901234567890123456789");
    if (peer_expect(p, "GROUP CLOSE g1"))
        peer_say(p, "+OK");
    if (peer_expect(p, "GROUP CLOSE g1 SUCCEED 3"))
        peer_say(p, "+OK");
    if (peer_expect(p, "GROUP NEXT g1 0 0 COUNT 7"))
        peer_say(p, PAGE("0", "", "0"));
    if (peer_expect(p, "GROUP NEXT g1 0 9"))
        peer_say(p, PAGE("8", JOB("j1", ""), "1"));
    if (peer_expect(p, "GROUP RESULTS g1 8 COUNT 1"))
        peer_say(p, "[ 0 [ ] ]");
}

START_TEST(group_calls_say_what_the_protocol_says)
{
    yoke *y = meet(expect_group_calls);
    struct yoke_group_options o = {"j1.1", "n", "k", 1, 2, 3, 4, 5, 6, true};
    char id[YOKE_ID_SIZE] = "";
    struct yoke_page *p = NULL;

    ck_assert_int_eq(yoke_group_open(y, NULL, id), 0);
    ck_assert_str_eq(id, "g1");
    ck_assert_int_eq(yoke_group_open(y, &o, id), YOKE_ERR_PROTOCOL);
    ck_assert_str_eq(id, "g1");
    ck_assert_int_eq(yoke_group_close(y, "g1"), 0);
    ck_assert_int_eq(yoke_group_close_policy(y, "g1", YOKE_DEFAULT, 3), 0);
    ck_assert_int_eq(yoke_group_next(y, "g1", "0", 0, 7, &p), 0);
    ck_assert_uint_eq(p->count, 0);
    ck_assert(!p->over);
    yoke_page_free(p);
    ck_assert_int_eq(yoke_group_next(y, "g1", "0", 9, 0, &p), 0);
    ck_assert_str_eq(p->cursor, "8");
    ck_assert(p->over);
    ck_assert_str_eq(p->members[0]->id, "j1");
    yoke_page_free(p);
    ck_assert_int_eq(yoke_group_results(y, "g1", "8", false, 1, &p),
                     YOKE_ERR_PROTOCOL);
    part();
}
END_TEST

/* ---------------------------------------------------------------- workers */

static void expect_slices(struct peer *p)
{
    for (int i = 0; i < 3; i++)
        if (peer_expect(p, "FETCH 5 5000 mail"))
            peer_say(p, "[ ]");
    if (peer_expect(p, "FETCH 5 5000 mail"))
        peer_say(p, A_JOB);
    if (peer_expect(p, "TOUCH j7.2 half"))
        peer_say(p, "[ :1 :250 why :70 ]");
    if (peer_expect(p, "WAIT j1 5000")) /* a worker renews its lease */
        peer_say(p, "~");
    if (peer_expect(p, "WAIT j1 5000"))
        peer_say(p, ENDED);
    if (peer_expect(p, "LOG j7.2 1 text") && peer_read(p))
        peer_say(p, "+OK +OK");
    if (peer_expect(p, "FAIL j7.2 exit:1 it broke end"))
        peer_line(p, "-STALE j7.2");
    if (peer_expect(p, "RELEASE j7.2"))
        peer_say(p, "+QUEUED");
}

START_TEST(long_waits_of_a_worker_renew_its_lease)
{
    yoke *y = meet(expect_slices);
    const char *queue = "mail";
    struct yoke_work_list *w;
    struct yoke_outcome_info *o;
    struct yoke_touch touch;

    ck_assert_int_eq(yoke_fetch(y, 5, YOKE_NONE, 1, &queue, &w), 0);
    ck_assert_uint_eq(w->count, 1);
    ck_assert_int_eq(w->items[0].notice, YOKE_NOTICE_JOB);
    ck_assert_str_eq(w->items[0].queue, "mail");
    ck_assert_str_eq(w->items[0].name, "");
    ck_assert_str_eq(w->items[0].group, "root");
    ck_assert_uint_eq(w->items[0].payload.len, 3);
    ck_assert_mem_eq(w->items[0].payload.data, "a\0b", 4);
    ck_assert_int_eq(w->items[0].attempt, 2);
    ck_assert_int_eq(w->items[0].timeout_ms, 500);
    ck_assert_int_eq(w->items[0].deadline_ms, YOKE_NONE);
    ck_assert_int_eq(w->items[0].grace_ms, 30);
    ck_assert_int_eq(yoke_touch(y, "j7.2", "half", &touch), 0);
    ck_assert(touch.cancelled);
    ck_assert_int_eq(touch.remaining_ms, 250);
    ck_assert_int_eq(touch.grace_ms, 70);
    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), 0);
    yoke_outcome_free(o);
    ck_assert_int_eq(
        yoke_sendl(y, NULL, NULL, "LOG", "j7.2", "1", "text", NULL), 0);
    ck_assert_int_eq(yoke_done(y, "j7.2", bytes("r")), 0);
    ck_assert_int_eq(yoke_fail(y, "j7.2", "exit:1", "it broke", bytes("end")),
                     YOKE_ERR_STALE);
    ck_assert_int_eq(yoke_release(y, "j7.2"), YOKE_ERR_PROTOCOL);
    yoke_work_free(w);
    part();
}
END_TEST

static void never_answer(struct peer *p)
{
    while (peer_read(p))
        continue;
}

START_TEST(daemon_silent_for_half_of_a_lease_breaks_a_fetch)
{
    yoke *y = meet_with_lease(never_answer, 150);
    struct yoke_work_list *w;

    ck_assert_int_eq(yoke_fetch(y, 0, YOKE_NONE, 0, NULL, &w), YOKE_ERR_IO);
    ck_assert_int_le(yoke_lease_left_ms(y), 75);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(y), "lease"));
    part();
}
END_TEST

static void say_cancel(struct peer *p)
{
    if (peer_expect(p, "FETCH 0 10"))
        peer_say(p, "[ [ cancel j7.2 why :99 ] ]");
    if (peer_expect(p, "FETCH 0 0"))
        peer_say(p, "[ [ job j7.2 ] ]");
}

static void keep_work(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    (void)y;
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(yoke_work_parse(reply, arg), 0);
}

START_TEST(work_got_asynchronously_outlives_its_reply)
{
    yoke *y = meet(say_cancel);
    struct yoke_work_list *w = NULL;

    ck_assert_int_eq(yoke_sendl(y, keep_work, &w, "FETCH", "0", "10", NULL), 0);
    ck_assert_int_eq(loop_until_idle(y), 0);
    ck_assert_uint_eq(w->count, 1);
    ck_assert_int_eq(w->items[0].notice, YOKE_NOTICE_CANCEL);
    ck_assert_str_eq(w->items[0].token, "j7.2");
    ck_assert_str_eq(w->items[0].reason, "why");
    ck_assert_int_eq(w->items[0].grace_ms, 99);
    yoke_work_free(w);
    ck_assert_int_eq(yoke_fetch(y, 0, 0, 0, NULL, &w), YOKE_ERR_PROTOCOL);
    part();
}
END_TEST

/* --------------------------------------------------------------- payloads */

START_TEST(command_payload_is_what_the_runner_reads)
{
    const char *const argv[] = {"make", "-j 2", "", NULL};
    const char *const env[] = {"A=1", "B=x=y", NULL};
    static const char want[] = "dir=/tmp\0env=A=1\0env=B=x=y\0arg=make\0"
                               "arg=-j 2\0arg=\0stdin=in\0put";
    struct yoke_bytes out;

    ck_assert_int_eq(yoke_command_payload("/tmp", env, argv,
                                          (struct yoke_bytes){"in\0put", 6},
                                          &out),
                     0);
    ck_assert_uint_eq(out.len, sizeof(want) - 1);
    ck_assert_mem_eq(out.data, want, sizeof(want));
    yoke_free((char *)out.data);
    ck_assert_int_eq(
        yoke_command_payload(NULL, NULL, argv, (struct yoke_bytes){0}, &out),
        0);
    ck_assert_mem_eq(out.data, "arg=make\0arg=-j 2\0arg=\0", out.len + 1);
    yoke_free((char *)out.data);
}
END_TEST

START_TEST(command_payload_without_sense_is_refused)
{
    const char *const argv[] = {"make", NULL}, *const none[] = {NULL},
                      *const empty[] = {"", NULL}, *const bad[] = {"=1", NULL},
                      *const worse[] = {"A", NULL};
    const struct yoke_bytes no = {0};
    struct yoke_bytes out;

    ck_assert_int_eq(yoke_command_payload("tmp", NULL, argv, no, &out),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_command_payload(NULL, NULL, none, no, &out),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_command_payload(NULL, NULL, NULL, no, &out),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_command_payload(NULL, NULL, empty, no, &out),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_command_payload(NULL, bad, argv, no, &out),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_command_payload(NULL, worse, argv, no, &out),
                     YOKE_ERR_ARGUMENT);
}
END_TEST

/* ----------------------------------------------------------------- memory */

/* Answers anything by its first words, whatever was left out before. */
static void answer_all(struct peer *p)
{
    while (peer_read(p) && strcmp(p->word[0].data, "QUIT") != 0) {
        const char *verb = p->word[0].data, *second = "";

        if (p->nwords > 1)
            second = p->word[1].data;
        if (strcmp(verb, "SUBMIT") == 0)
            peer_say(p, "j1");
        else if (strcmp(verb, "WAIT") == 0)
            peer_say(p, ENDED);
        else if (strcmp(verb, "FETCH") == 0)
            peer_say(p, A_JOB);
        else if (strcmp(verb, "DEAD") == 0)
            peer_say(p, "[ " JOB("j1", ONE("lost")) " ]");
        else if (strcmp(verb, "LOGS") == 0)
            peer_say(p, "[ 3 [ [ :1 out :5 j1.1 ] ] :1 ]");
        else if (strcmp(second, "ERRORS") == 0)
            peer_say(p, "%s", error_script[3].reply);
        else
            peer_line(p, "*100");
        for (int i = 0; strcmp(verb, "LIST") == 0 && i < 100; i++)
            peer_say(p, "x");
    }
    peer_say(p, "+OK");
}

static int use_values(yoke *y)
{
    struct yoke_value *v = NULL;
    int status = yoke_commandl(y, &v, "LIST", NULL);

    yoke_value_free(v);
    return status;
}

static int use_jobs(yoke *y)
{
    struct yoke_submit s[3];
    struct yoke_outcome_info *o = NULL;
    struct yoke_log_page *logs = NULL;
    struct yoke_page *dead = NULL;
    size_t done;
    int status;

    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        yoke_submit_init(&s[i]);
        s[i].queue = "q";
    }
    status = yoke_submit_many(y, s, ARRAY_LEN(s), NULL, &done);
    if (status == 0)
        status = yoke_job_wait(y, "j1", 1, &o);
    if (status == 0)
        status = yoke_job_logs(y, "j1", 0, 1, &logs);
    if (status == 0)
        status = yoke_dead_list(y, NULL, 1, &dead);
    yoke_outcome_free(o);
    yoke_log_page_free(logs);
    yoke_page_free(dead);
    return status;
}

static int use_errors(yoke *y)
{
    struct yoke_error_tree *t = NULL, *match = NULL, *rest = NULL;
    int status = yoke_group_errors(y, "g1", &t);

    if (status == 0)
        status = yoke_error_tree_split(t, "lost", &match, &rest);
    if (status < 0) {
        ck_assert_ptr_null(match);
        ck_assert_ptr_null(rest);
    }
    yoke_error_tree_free(t);
    yoke_error_tree_free(match);
    yoke_error_tree_free(rest);
    return status;
}

static int use_work(yoke *y)
{
    const char *const argv[] = {"make", NULL};
    const char *queue = "mail";
    struct yoke_work_list *w = NULL, *copy = NULL;
    struct yoke_bytes payload = {0};
    int status = yoke_fetch(y, 1, 1, 1, &queue, &w);

    if (status == 0)
        status = yoke_work_parse(w->raw, &copy);
    if (status == 0)
        status = yoke_command_payload(NULL, NULL, argv, payload, &payload);
    yoke_work_free(w);
    yoke_work_free(copy);
    yoke_free((char *)payload.data);
    return status;
}

static int use_everything(yoke *y)
{
    int status = use_values(y);

    if (status == 0)
        status = use_jobs(y);
    if (status == 0)
        status = use_errors(y);
    if (status == 0)
        status = use_work(y);
    return status;
}

START_TEST(any_failing_allocation_is_reported)
{
    int status = YOKE_ERR_NOMEM;
    long n;

    for (n = 0; status != 0; n++) {
        struct yoke_options o = {.fd = peer_start(answer_all, 30000)};

        ck_assert_int_lt(n, 10000);
        atomic_store(&allocations_left, n);
        status = yoke_open(NULL, &o, &client);
        if (status == 0)
            status = use_everything(client);
        atomic_store(&allocations_left, -1);
        ck_assert_msg(status == 0 || status == YOKE_ERR_NOMEM, "%ld: %d %s", n,
                      status, yoke_error_text(client));
        ck_assert(status == 0 || strstr(yoke_error_text(client), "memory") ||
                  !client || yoke_error_text(client)[0] == '\0');
        yoke_close(client);
        (void)pthread_join(peer.thread, NULL); /* it may miss its HELLO */
        (void)close(peer.fd);
    }
    ck_assert_int_gt(n, 100);
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        submit_says_what_was_set_and_nothing_else,
        times_and_shields_say_what_the_protocol_says,
        what_names_no_scope_is_in_that_of_the_environment,
        submit_many_bears_a_peer_that_does_not_read,
        submit_many_stops_at_the_first_error,
        interrupted_submit_many_counts_what_was_accepted,
        outcomes_are_read_from_their_maps,
        logs_come_in_pages_and_say_what_was_lost,
        error_tree_has_the_shape_of_the_groups,
        what_is_no_error_tree_is_refused,
        split_keeps_the_shape_and_drops_what_is_empty,
        group_calls_say_what_the_protocol_says,
        long_waits_of_a_worker_renew_its_lease,
        daemon_silent_for_half_of_a_lease_breaks_a_fetch,
        work_got_asynchronously_outlives_its_reply,
        command_payload_is_what_the_runner_reads,
        command_payload_without_sense_is_refused,
        any_failing_allocation_is_reported,
    };

    return run_suite("client_calls", laws, ARRAY_LEN(laws));
}
