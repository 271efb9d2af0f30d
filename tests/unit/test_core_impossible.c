/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records that say what cannot be: a journal that has one is refused with a
 * word for it, and a salvage leaves it out and goes on as if it were not there.
 *
 * Each row takes a record that fits and changes one thing in it.
 */
#include <errno.h>

#include "daemon.h"
#include "laws.h"

#define NEW      100000u /* an id that nothing has */
#define ID_GROUP (UINT64_C(1) << 63)

struct world {
    struct daemon *d;
    uint64_t ready, keyed, running, done, group, ended;
};

/* The latest record of that type; of that id, unless it is 0. */
static struct record latest(const struct world *w, enum record_type type,
                            uint64_t id)
{
    struct record found = {0};

    for (size_t i = 0; i < w->d->nentries; i++) {
        size_t at = 0;
        struct record r;

        while (at < w->d->entries[i].len) {
            ck_assert_ptr_null(record_decode(w->d->entries[i].data,
                                             w->d->entries[i].len, &at, &r));
            if (r.type == type && (id == 0 || r.id == id))
                found = r;
        }
    }
    ck_assert_int_eq(found.type, type);
    return found;
}

static struct record made(enum record_type type, uint64_t id)
{
    return (struct record){.type = type, .id = id, .at_ms = DAEMON_START};
}

static void world_init(struct world *w)
{
    struct daemon *d = w->d = daemon_new();
    struct core_event ev;
    struct token t;

    set_limiter(d, "l");
    w->group = open_policy(d, 1, 0);
    w->ended = open_policy(d, 1, 0);
    close_group(d, w->ended);
    w->done = submit(d, "q", w->group);
    t = take(d);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    w->running = submit(d, "q", 0);
    (void)take(d);
    w->ready = submit(d, "q", w->group);
    ev = a_job("q");
    ev.u.submit.key = STR("k");
    ev.u.submit.limits = STR("l");
    w->keyed = submit_event(d, &ev);
    ev = a_group();
    ev.u.group_open.key = STR("k");
    (void)open_event(d, &ev);
}

static int replay_world(const struct world *w, struct core **c)
{
    int rc = 0;

    *c = core_new(&w->d->limits);
    for (size_t i = 0; i < w->d->nentries && rc == 0; i++)
        if (w->d->entries[i].segment >= w->d->trimmed)
            rc = core_replay(*c, w->d->entries[i].data, w->d->entries[i].len,
                             w->d->entries[i].segment, NULL);
    return rc;
}

struct left {
    const char *wanted;
    unsigned count;
};

static void note_left(void *arg, const struct core_left *left)
{
    struct left *l = arg;

    ck_assert_ptr_nonnull(left->wrong);
    ck_assert_str_eq(left->wrong, l->wanted);
    l->count++;
}

/* `wrong` NULL: it is one that fits. */
static void judge(const struct world *w, const struct record *r,
                  const char *wrong, int line)
{
    struct left left = {.wanted = wrong};
    struct core *c, *without;
    char text[128] = "";
    struct buf bytes;
    int rc;

    buf_init(&bytes);
    record_encode(&bytes, r);
    ck_assert_int_eq(replay_world(w, &c), 0);
    rc = core_replay(c, bytes.data, bytes.len, w->d->segment, text);
    ck_assert_msg(rc == (wrong ? -EBADMSG : 0), "line %d: %d", line, rc);
    ck_assert_msg(strcmp(text, wrong ? wrong : "") == 0, "line %d: %s", line,
                  text);
    if (!wrong) {
        core_replay_end(c);
        core_check(c);
    }
    core_free(c);
    if (wrong && r->at_ms >= 0) {
        ck_assert_int_eq(replay_world(w, &without), 0);
        core_replay_end(without);
        ck_assert_int_eq(replay_world(w, &c), 0);
        ck_assert_int_eq(core_salvage(c, bytes.data, bytes.len, w->d->segment,
                                      note_left, &left, text),
                         0);
        ck_assert_uint_eq(left.count, 1);
        core_replay_end(c);
        core_check(c);
        ck_assert_msg(core_digest(c) == core_digest(without), "line %d", line);
        core_free(c);
        core_free(without);
    }
    buf_clear(&bytes);
}

/* A record, what is changed in it, and what is said then; NULL: it fits. */
#define ROW(fits, change, wrong)       \
    do {                               \
        struct record r = (fits);      \
        change;                        \
        judge(w, &r, wrong, __LINE__); \
    } while (0)

START_TEST(a_job_that_cannot_be_is_refused)
{
    static const char options[] = "job with impossible options";
    struct world world, *w = &world;
    struct record job, own;

    world_init(w);
    job = latest(w, RECORD_JOB, w->ready);
    job.id = NEW;
    own = job;
    own.u.job.own_options = true;
    own.u.job.options =
        (struct options){.factor_milli = 2000, .retry = 1, .jitter = 0};
    ROW(job, (void)0, NULL);
    ROW(own, (void)0, NULL);
    ROW(job, r.at_ms = -1, "record from before 1970");
    ROW(job, r.at_ms = INT64_C(1) << 48, "job of an impossible time");
    ROW(job, r.id = 0, options);
    ROW(job, r.id |= ID_GROUP, options);
    ROW(job, r.id = w->running, "job accepted twice");
    ROW(job, r.u.job.priority = CORE_PRIORITIES, options);
    ROW(job, r.u.job.not_before_ms = -1, options);
    ROW(job, r.u.job.then = STR("-"), options);
    ROW(job, r.u.job.key = STR("k"), "key of another job");
    ROW(job, r.u.job.once.number = 1, "job asked for by nobody");
    job.u.job.once = (struct record_once){.session = 77, .number = 1};
    ROW(job, (void)0, NULL);
    ROW(job, r.u.job.key = STR("k"), "key of another job");
    job.u.job.once = (struct record_once){0};
    /* Of a limiter that is known; none of them, and twice the same. */
    job.u.job.needs.list[0].limiter = job.u.job.needs.list[1].limiter =
        (uint32_t)latest(w, RECORD_LIMITER, 0).id;
    job.u.job.needs.list[1].n = 1;
    ROW(job, r.u.job.needs.len = 1, "job with impossible limits");
    ROW(job, r.u.job.needs.len = 2;
        r.u.job.needs.list[0].n = 1, "job with impossible limits");
    ROW(job, r.u.job.needs.len = 1; r.u.job.needs.list[0].n = 1, NULL);
    ROW(own, r.u.job.options.timeout_ms = -2, options);
    ROW(own, r.u.job.options.deadline_ms = -2, options);
    ROW(own, r.u.job.options.grace_ms = -1, options);
    ROW(own, r.u.job.options.keep_ms = -1, options);
    ROW(own, r.u.job.options.expires_ms = -2, options);
    ROW(own, r.u.job.options.retry = 0, options);
    ROW(own, r.u.job.options.backoff_base_ms = -1, options);
    ROW(own, r.u.job.options.backoff_cap_ms = -1, options);
    ROW(own, r.u.job.options.redeliver = -1, options);
    ROW(own, r.u.job.options.jitter = -1, options);
    ROW(own, r.u.job.options.jitter = 101, options);
    ROW(own, r.u.job.options.factor_milli = 0, options);
    ROW(own, r.u.job.options.factor_milli = UINT32_MAX, options);
    ROW(own, r.u.job.options.retry_on = STR(","), options);
    daemon_free(w->d);
}
END_TEST

/* What comes to a job in a state in which it cannot come. */
START_TEST(a_step_that_a_job_cannot_take_is_refused)
{
    static const char asked[] = "ask of a job that cannot be asked",
                      shield[] = "shield of a job that cannot be shielded",
                      ready[] = "impossible announcement of a job",
                      joining[] = "joining of a job that is not running",
                      end[] = "impossible end of a job";
    struct world world, *w = &world;
    struct record start, done, times;

    world_init(w);
    start = latest(w, RECORD_START, w->running);
    done = latest(w, RECORD_END, w->done);
    times = made(RECORD_RESCHEDULE, w->ready);
    times.u.times =
        (struct record_times){CORE_UNSET, CORE_UNSET, CORE_UNSET, CORE_UNSET};
    ROW(start, (void)0, "start of a job that is not queued");
    ROW(start, r.id = w->done, "start of a job that is not queued");
    ROW(start, r.id = w->ready, NULL);
    ROW(start, r.id = w->ready; r.u.start.attempt = 2, "attempt out of order");
    ROW(start, r.id = w->ready; r.u.start.session = 0, "attempt out of order");
    for (uint8_t cause = CAUSE_NONE; cause <= CAUSES_COUNT; cause++) {
        struct record ask = made(RECORD_ASK, w->running);

        ask.u.ask.cause = cause;
        if (cause == CAUSE_NONE || cause == CAUSES_COUNT)
            ROW(ask, (void)0, asked);
        ROW(ask, r.id = w->ready, asked);
        ROW(ask, r.id = w->done, asked);
    }
    ROW(made(RECORD_SHIELD, w->running), r.u.until_ms = 1, NULL);
    ROW(made(RECORD_SHIELD, w->running), r.u.until_ms = -1, shield);
    ROW(made(RECORD_SHIELD, w->ready), r.u.until_ms = 1, shield);
    ROW(made(RECORD_SHIELD, w->done), r.u.until_ms = 1, shield);
    ROW(made(RECORD_READY, w->running), (void)0, NULL);
    ROW(made(RECORD_READY, w->ready), (void)0, ready);
    ROW(made(RECORD_READY, w->done), (void)0, ready);
    ROW(made(RECORD_JOINING, w->running), r.u.verdict.kind = VERDICT_COUNT,
        "unknown verdict");
    ROW(made(RECORD_JOINING, w->ready), (void)0, joining);
    ROW(made(RECORD_JOINING, w->done), (void)0, joining);
    ROW(made(RECORD_DELIVER, w->running), (void)0,
        "delivery of a job that is not done");
    ROW(made(RECORD_DELIVER, w->ready), (void)0,
        "delivery of a job that is not done");
    ROW(made(RECORD_REQUEUE, w->running), (void)0, NULL);
    ROW(made(RECORD_REQUEUE, w->ready), (void)0,
        "requeue of a job that is not running");
    ROW(made(RECORD_REQUEUE, w->running), r.u.verdict.kind = VERDICT_COUNT,
        "requeue with an impossible verdict");
    ROW(made(RECORD_REQUEUE, w->running), r.u.verdict.not_before_ms = -1,
        "requeue with an impossible verdict");
    ROW(done, (void)0, "job ended twice");
    ROW(done, r.id = w->running, NULL);
    ROW(done, r.id = w->running; r.u.verdict.outcome = OUTCOME_NONE, end);
    ROW(done, r.id = w->running; r.u.verdict.outcome = OUTCOMES_COUNT, end);
    ROW(made(RECORD_CLEAR, w->done), (void)0,
        "a job that is not dead leaves the dead");
    ROW(made(RECORD_CLEAR, w->ready), (void)0,
        "a job that is not dead leaves the dead");
    ROW(times, (void)0, NULL);
    ROW(times, r.u.times.timeout_ms = -3, "impossible times");
    ROW(times, r.u.times.deadline_ms = -3, "impossible times");
    ROW(times, r.u.times.expires_ms = -3, "impossible times");
    ROW(times, r.u.times.not_before_ms = -3, "impossible times");
    ROW(times, r.id = w->done, "times of a job that has ended");
    ROW(times, r.id = w->running;
        r.u.times.not_before_ms = 5, "delay of a job that has started");
    daemon_free(w->d);
}
END_TEST

START_TEST(a_group_that_cannot_be_is_refused)
{
    static const char options[] = "group with impossible options",
                      cancel[] = "impossible cancel of a group",
                      close[] = "group closed with an impossible policy",
                      end[] = "impossible end of a group",
                      change[] = "change of a group that cannot change";
    struct world world, *w = &world;
    struct record group, times;

    world_init(w);
    group = latest(w, RECORD_GROUP, w->group);
    group.id = NEW;
    times = made(RECORD_GROUP_TIME, w->ended);
    times.u.times =
        (struct record_times){CORE_UNSET, CORE_UNSET, CORE_UNSET, CORE_UNSET};
    ROW(group, (void)0, NULL);
    ROW(group, r.id = 0, options);
    ROW(group, r.id |= ID_GROUP, options);
    ROW(group, r.id = w->group, "group opened twice");
    ROW(group, r.u.group.fail = -1, options);
    ROW(group, r.u.group.succeed = -1, options);
    ROW(group, r.u.group.width = 0, options);
    ROW(group, r.u.group.width = -2, options);
    ROW(group, r.u.group.keep_ms = -1, options);
    ROW(group, r.u.group.deadline_ms = -2, options);
    ROW(group, r.u.group.of_body = true, options);
    ROW(group, r.u.group.once.number = 1, options);
    ROW(group, r.u.group.key = STR("k"), "key of another group");
    group.u.group.once = (struct record_once){.session = 77, .number = 1};
    ROW(group, (void)0, NULL);
    ROW(group, r.u.group.key = STR("k"), "key of another group");
    group.u.group.once = (struct record_once){0};
    ROW(group, r.u.group.parent = w->group, NULL);
    ROW(group, r.u.group.parent = w->ended, "group in a group that has ended");
    group.u.group.parent_is_job = true;
    group.u.group.parent_attempt = 1;
    ROW(group, r.u.group.parent = w->running, NULL);
    ROW(group, r.u.group.parent = w->ready,
        "group under a job that does not run");
    ROW(group, r.u.group.parent = w->running;
        r.u.group.parent_attempt = 2, "group under a job that does not run");
    ROW(made(RECORD_GROUP_CANCEL, w->group), r.u.ask.cause = CAUSE_CANCEL,
        NULL);
    ROW(made(RECORD_GROUP_CANCEL, w->group), (void)0, cancel);
    ROW(made(RECORD_GROUP_CANCEL, w->group), r.u.ask.cause = CAUSES_COUNT,
        cancel);
    ROW(made(RECORD_GROUP_CANCEL, w->ended), r.u.ask.cause = CAUSE_CANCEL,
        change);
    ROW(made(RECORD_GROUP_CANCEL, 0), r.u.ask.cause = CAUSE_CANCEL, change);
    ROW(made(RECORD_GROUP_CLOSE, w->group), (void)0, NULL);
    ROW(made(RECORD_GROUP_CLOSE, w->group), r.u.policy.fail = -1, close);
    ROW(made(RECORD_GROUP_CLOSE, w->group), r.u.policy.succeed = -1, close);
    ROW(made(RECORD_GROUP_END, w->group), r.u.group_end.outcome = OUTCOME_OK,
        end); /* not all of it has ended */
    ROW(made(RECORD_GROUP_END, w->ended), r.u.group_end.outcome = OUTCOME_OK,
        change);
    ROW(made(RECORD_GROUP_READ, w->ended), (void)0, NULL);
    ROW(made(RECORD_GROUP_READ, w->group), (void)0, change);
    ROW(times, (void)0, "deadline of a group that cannot have one");
    ROW(times, r.id = w->group, NULL);
    ROW(times, r.id = w->group; r.u.times.deadline_ms = -3, "impossible times");
    daemon_free(w->d);
}
END_TEST

START_TEST(a_queue_or_a_limiter_or_a_session_that_cannot_be_is_refused)
{
    static const char settings[] = "queue with impossible settings",
                      bounds[] = "limiter with impossible bounds",
                      numbers[] = "session with impossible numbers";
    struct world world, *w = &world;
    struct record queue, limiter, session = {.type = RECORD_SESSION, .id = 7};
    uint64_t ids[2] = {0};

    world_init(w);
    queue = latest(w, RECORD_QUEUE, 0);
    limiter = latest(w, RECORD_LIMITER, 0);
    session.u.session.first = 1;
    session.u.session.ids = (struct str){(char *)ids, sizeof(ids)};
    ROW(queue, (void)0, NULL);
    ROW(queue, r.u.queue.name = STR(""), settings);
    ROW(queue, r.u.queue.name = STR("a b"), settings);
    ROW(queue, r.u.queue.name = STR("other"),
        "queue with a number that is taken");
    ROW(queue, r.u.queue.name = STR("other");
        r.id = 1 << 20, "queue with a number that is taken");
    ROW(queue, r.id++, "queue with another number");
    ROW(queue, r.u.queue.door = 9, settings);
    ROW(queue, r.u.queue.settings.max_jobs = 0, settings);
    ROW(queue, r.u.queue.settings.max_bytes = 0, settings);
    ROW(queue, r.u.queue.settings.timeout_ms = -2, settings);
    ROW(queue, r.u.queue.settings.grace_ms = -1, settings);
    ROW(queue, r.u.queue.settings.retry = 0, settings);
    ROW(queue, r.u.queue.settings.retry = INT64_C(1) << 40, settings);
    ROW(queue, r.u.queue.settings.redeliver = -1, settings);
    ROW(queue, r.u.queue.settings.redeliver = INT64_C(1) << 40, settings);
    ROW(queue, r.u.queue.settings.keep_ms = -1, settings);
    ROW(queue, r.u.queue.settings.wait_ms = -2, settings);
    ROW(queue, r.u.queue.settings.dead_keep_ms = -1, settings);
    ROW(queue, r.u.queue.settings.backoff_base_ms = -1, settings);
    ROW(queue, r.u.queue.settings.backoff_cap_ms = -1, settings);
    ROW(queue, r.u.queue.settings.factor_milli = 0, settings);
    ROW(queue, r.u.queue.settings.jitter = 101, settings);
    ROW(queue, r.u.queue.settings.expires_ms = -2, settings);
    ROW(queue, r.u.queue.settings.priority = -1, settings);
    ROW(queue, r.u.queue.settings.priority = CORE_PRIORITIES, settings);
    ROW(queue, r.u.queue.settings.fair = 2, settings);
    ROW(limiter, (void)0, NULL);
    ROW(limiter, r.u.limiter.name = STR("a b"), bounds);
    ROW(limiter, r.u.limiter.permits = -2, bounds);
    ROW(limiter, r.u.limiter.rate = -1, bounds);
    ROW(limiter, r.u.limiter.rate = 1, bounds);
    ROW(limiter, r.u.limiter.level = -1, bounds);
    ROW(limiter, r.u.limiter.level = 1, bounds);
    ROW(limiter, r.u.limiter.filled_ms = -1, bounds);
    ROW(limiter, r.u.limiter.name = STR("m"),
        "limiter with a number that is taken");
    ROW(limiter, r.id++, "limiter with another number");
    ROW(made(RECORD_LIMITER_DELETE, limiter.id), (void)0,
        "deletion of a limiter that is needed");
    ROW(session, (void)0, NULL);
    ROW(session, r.id = 0, numbers);
    ROW(session, r.u.session.first = 0, numbers);
    ROW(session, r.u.session.first = UINT64_MAX, numbers);
    ROW(session, r.u.session.first = INT64_MAX, numbers);
    ROW(session, r.u.session.ids.len--, numbers);
    ROW(session, r.u.session.ids.len = 0, numbers);
    daemon_free(w->d);
}
END_TEST

START_TEST(an_image_of_a_job_that_cannot_be_is_refused)
{
    static const char wrong[] = "image of an impossible job";
    struct world world, *w = &world;
    struct record ready, running, done;

    world_init(w);
    daemon_compact(w->d);
    ready = latest(w, RECORD_JOB_IMAGE, w->ready);
    running = latest(w, RECORD_JOB_IMAGE, w->running);
    done = latest(w, RECORD_JOB_IMAGE, w->done);
    ready.id = running.id = done.id = NEW;
    ROW(ready, (void)0, NULL);
    ROW(running, (void)0, NULL);
    ROW(done, (void)0, NULL);
    for (int state = 0; state < 3; state++) {
        struct record image = state == 0 ? ready : state == 1 ? running : done;

        ROW(image, r.id = 0, "job with impossible options");
        ROW(image, r.u.job_image.submitted_ms = -1, wrong);
        ROW(image, r.u.job_image.submitted_ms = INT64_C(1) << 48, wrong);
        ROW(image, r.u.job_image.state = JOB_PARKED, wrong);
        ROW(image, r.u.job_image.job.priority = CORE_PRIORITIES,
            "job with impossible options");
        ROW(image, r.u.job_image.dead = true, wrong);
    }
    ROW(ready, r.u.job_image.state = JOB_DELAYED, wrong);
    ROW(ready, r.u.job_image.job.group = w->ended, wrong);
    ROW(running, r.u.job_image.session = 0, wrong);
    ROW(running, r.u.job_image.attempt = 0, wrong);
    ROW(running, r.u.job_image.asked = CAUSE_CANCEL, wrong);
    ROW(running, r.u.job_image.job.group = w->ended, wrong);
    ROW(running, r.u.job_image.state = JOB_CANCELLING, wrong);
    ROW(running, r.u.job_image.state = JOB_CANCELLING;
        r.u.job_image.asked = CAUSES_COUNT, wrong);
    ROW(running, r.u.job_image.state = JOB_CANCELLING;
        r.u.job_image.asked = CAUSE_CANCEL, NULL);
    ROW(running, r.u.job_image.state = JOB_JOINING;
        r.u.job_image.verdict = VERDICT_COUNT, wrong);
    ROW(running, r.u.job_image.state = JOB_JOINING;
        r.u.job_image.asked = CAUSES_COUNT, wrong);
    ROW(running, r.u.job_image.state = JOB_JOINING;
        r.u.job_image.attempt = 0, wrong);
    ROW(running, r.u.job_image.state = JOB_DELIVERING, wrong);
    ROW(done, r.u.job_image.outcome = OUTCOME_NONE, wrong);
    ROW(done, r.u.job_image.outcome = OUTCOMES_COUNT, wrong);
    ROW(done, r.u.job_image.ended_ms = -1, wrong);
    daemon_free(w->d);
}
END_TEST

START_TEST(an_image_of_a_group_that_cannot_be_is_refused)
{
    static const char wrong[] = "image of an impossible group";
    struct world world, *w = &world;
    struct record live, ended;

    world_init(w);
    daemon_compact(w->d);
    live = latest(w, RECORD_GROUP_IMAGE, w->group);
    ended = latest(w, RECORD_GROUP_IMAGE, w->ended);
    live.id = ended.id = NEW;
    live.u.group_image.members = live.u.group_image.done = 0;
    ended.u.group_image.members = ended.u.group_image.done = 0;
    ROW(live, (void)0, NULL);
    ROW(ended, (void)0, NULL);
    for (int state = 0; state < 2; state++) {
        struct record image = state == 0 ? live : ended;

        ROW(image, r.id |= ID_GROUP, wrong);
        ROW(image, r.u.group_image.group.width = 0, wrong);
        ROW(image, r.u.group_image.cause = CAUSES_COUNT, wrong);
        ROW(image, r.u.group_image.outcome = OUTCOMES_COUNT, wrong);
        ROW(image, r.u.group_image.done_dropped = -1, wrong);
        ROW(image, r.u.group_image.members = UINT64_MAX,
            "group of far more members than members-max allows");
        ROW(image, r.u.group_image.done = UINT64_MAX,
            "group of far more members than members-max allows");
    }
    ROW(live, r.u.group_image.group.parent = w->ended, wrong);
    ROW(ended, r.u.group_image.outcome = OUTCOME_NONE, wrong);
    daemon_free(w->d);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {a_job_that_cannot_be_is_refused, 1},
        {a_step_that_a_job_cannot_take_is_refused, 1},
        {a_group_that_cannot_be_is_refused, 1},
        {a_queue_or_a_limiter_or_a_session_that_cannot_be_is_refused, 1},
        {an_image_of_a_job_that_cannot_be_is_refused, 1},
        {an_image_of_a_group_that_cannot_be_is_refused, 1},
    };

    return laws_run("what cannot be", laws, ARRAY_LEN(laws));
}
