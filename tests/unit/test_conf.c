/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/conf.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct conf conf;
static struct buf errors, text;

static void setup(void)
{
    buf_init(&errors);
    buf_init(&text);
    conf_init(&conf);
}

static void teardown(void)
{
    conf_clear(&conf);
    buf_clear(&errors);
    buf_clear(&text);
}

/* Reads into a fresh conf; what went wrong is in `errors`. */
static int read_text(const char *ini)
{
    conf_clear(&conf);
    conf_init(&conf);
    buf_reset(&errors);
    return conf_read(&conf, "f.ini", str_from(ini), NULL, 0, &errors);
}

static const char *error_text(void)
{
    buf_append_byte(&errors, '\0');
    return buf_front(&errors);
}

static const char *format(const struct conf *c, const struct conf_setting *s)
{
    buf_reset(&text);
    conf_format(c, s, &text);
    buf_append_byte(&text, '\0');
    return buf_front(&text);
}

#define assert_error(ini, expected)                    \
    do {                                               \
        ck_assert_int_eq(read_text(ini), -EINVAL);     \
        ck_assert_str_eq(error_text(), expected "\n"); \
    } while (0)

static bool is_number(const struct conf_setting *s)
{
    return s->kind <= CONF_MODE;
}

static void write_number(char *to, size_t size, const struct conf_setting *s,
                         int64_t n)
{
    if (s->kind == CONF_MODE)
        (void)snprintf(to, size, "[%s]\n%s = %llo\n", s->section, s->key,
                       (unsigned long long)n);
    else
        (void)snprintf(to, size, "[%s]\n%s = %lld\n", s->section, s->key,
                       (long long)n);
}

static int64_t number_of(const struct conf_setting *s)
{
    return *(const int64_t *)((const char *)&conf + s->offset);
}

/* Bounds that hold between settings are the next test's. */
static bool refused_alone(const struct conf_setting *s)
{
    char where[128];

    (void)snprintf(where, sizeof(where), "f.ini:2: [%s] %s: '", s->section,
                   s->key);
    return strstr(error_text(), where) != NULL;
}

START_TEST(default_of_each_setting_is_what_the_list_says)
{
    size_t n;
    const struct conf_setting *s = conf_settings(&n);

    ck_assert_uint_gt(n, 30);
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(format(&conf, &s[i]), s[i].preset);
}
END_TEST

START_TEST(defaults_of_the_limits_are_those_of_the_core)
{
    struct core_limits limits;

    memset(&limits, 0, sizeof(limits));
    core_limits_init(&limits);
    ck_assert_mem_eq(&conf.limits, &limits, sizeof(limits));
}
END_TEST

START_TEST(each_number_is_taken_at_its_bounds_and_refused_beyond)
{
    size_t n;
    const struct conf_setting *s = conf_settings(&n);
    char ini[256];

    for (size_t i = 0; i < n; i++, s++) {
        if (!is_number(s))
            continue;
        write_number(ini, sizeof(ini), s, s->min);
        (void)read_text(ini);
        ck_assert_msg(!refused_alone(s), "%s refused", ini);
        ck_assert_int_eq(number_of(s), s->min);
        write_number(ini, sizeof(ini), s, s->max);
        (void)read_text(ini);
        ck_assert_msg(!refused_alone(s), "%s refused", ini);
        ck_assert_int_eq(number_of(s), s->max);
        if (s->min > 0) {
            write_number(ini, sizeof(ini), s, s->min - 1);
            ck_assert_int_eq(read_text(ini), -EINVAL);
            ck_assert_msg(refused_alone(s), "%s taken", ini);
            ck_assert_ptr_nonnull(strstr(error_text(), "; expected "));
        }
        write_number(ini, sizeof(ini), s, s->max + 1);
        ck_assert_int_eq(read_text(ini), -EINVAL);
        ck_assert_msg(refused_alone(s), "%s taken", ini);
        ck_assert_ptr_nonnull(strstr(error_text(), "; expected "));
    }
}
END_TEST

START_TEST(each_setting_refuses_what_it_is_not)
{
    static const char *const bad[] = {"",   "-1",     "99999999999999999999",
                                      "1x", "maybe?", "9223372036854775807d"};
    size_t n;
    const struct conf_setting *s = conf_settings(&n);
    char ini[256];

    for (size_t i = 0; i < n; i++, s++) {
        for (size_t j = 0; j < ARRAY_LEN(bad); j++) {
            /* Any name may be the name of a group, but not none at all. */
            if ((s->kind == CONF_NAME || s->kind == CONF_CLASSES) && j > 0)
                continue;
            (void)snprintf(ini, sizeof(ini), "[%s]\n%s = %s\n", s->section,
                           s->key, bad[j]);
            ck_assert_int_eq(read_text(ini), -EINVAL);
            ck_assert_msg(refused_alone(s), "%s taken", ini);
        }
    }
}
END_TEST

START_TEST(each_formatted_value_reads_back_as_itself)
{
    size_t n;
    const struct conf_setting *s = conf_settings(&n);
    char ini[512], value[256];

    for (size_t i = 0; i < n; i++, s++) {
        for (int which = 0; is_number(s) && which < 3; which++) {
            int64_t number = which == 0   ? s->min
                             : which == 1 ? s->max
                                          : s->min + (s->max - s->min) / 3;

            write_number(ini, sizeof(ini), s, number);
            (void)read_text(ini);
            (void)snprintf(value, sizeof(value), "%s", format(&conf, s));
            (void)snprintf(ini, sizeof(ini), "[%s]\n%s = %s\n", s->section,
                           s->key, value);
            (void)read_text(ini);
            ck_assert_int_eq(number_of(s), number);
        }
    }
}
END_TEST

START_TEST(errors_name_file_line_and_what_would_be_right)
{
    assert_error("[limits]\n\npayload-max = lots\n",
                 "f.ini:3: [limits] payload-max: 'lots' is not a size; "
                 "expected a size (bytes, or K, M, G, T) from 1 to 8M");
    assert_error("[limits]\nlease = 10ms\n",
                 "f.ini:2: [limits] lease: '10ms' is not within the bounds; "
                 "expected a duration (ms, s, m, h, d) from 100ms to 1d");
    assert_error("[queue]\ntimeout = 0\n",
                 "f.ini:2: [queue] timeout: '0' is not within the bounds; "
                 "expected none or a duration (ms, s, m, h, d) from 1ms to "
                 "3650d");
    assert_error("[daemon]\nlog-level = loud\n",
                 "f.ini:2: [daemon] log-level: 'loud' is not one of the "
                 "choices; expected error, warn, info or debug");
    assert_error("[runner]\nstart = true\n",
                 "f.ini:2: [runner] start: 'true' is not one of the choices; "
                 "expected no or yes");
    assert_error("[daemon]\nsocket = yoked.sock\n",
                 "f.ini:2: [daemon] socket: 'yoked.sock' is not an absolute "
                 "path; expected none or an absolute path of at most 107 "
                 "bytes");
    assert_error("[daemon]\nsocket-mode = 0855\n",
                 "f.ini:2: [daemon] socket-mode: '0855' is not octal; "
                 "expected permissions in octal from 0600 to 0777");
    assert_error("[daemon]\nlisten = localhost:9653\n",
                 "f.ini:2: [daemon] listen: 'localhost:9653' is not a list of "
                 "addresses; expected none, or up to 16 numeric addresses "
                 "such as 127.0.0.1:9653 or [::1]:9653");
    assert_error("[journal]\nsink = always\n",
                 "f.ini:2: [journal] sink: 'sink' is not a setting; expected "
                 "one of store, sync, sync-interval, segment-size, disk-max, "
                 "backup-idle");
    assert_error(
        "[limit]\nlease = 1s\n",
        "f.ini:1: [limit] 'limit' is not a section; expected daemon, "
        "journal, limits, queue, queue NAME, limiter NAME, runner or run NAME");
    assert_error("lease = 1s\n",
                 "f.ini:1: 'lease' is not in a section; expected a line such "
                 "as [daemon] before it");
    assert_error("[limits]\nlease\n",
                 "f.ini:2: this line is not a setting; expected [SECTION] or "
                 "KEY = VALUE");
}
END_TEST

START_TEST(a_value_that_is_set_twice_is_an_error)
{
    assert_error("[limits]\nlease = 1s\n[queue]\n[limits]\nlease = 2s\n",
                 "f.ini:5: [limits] lease: '2s' is not the only value; "
                 "expected one, and line 2 has one already");
    assert_error("[queue a]\nretry = 1\n[queue b]\nretry = 2\n[queue a]\n"
                 "retry = 3\n",
                 "f.ini:6: [queue a] retry: '3' is not the only value; "
                 "expected one, and line 2 has one already");
}
END_TEST

START_TEST(each_mistake_is_reported)
{
    ck_assert_int_eq(read_text("[limits]\nlease = x\ndepth-max = 0\n"
                               "[what]\na = b\n"),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text(), "f.ini:2: "));
    ck_assert_ptr_nonnull(strstr(buf_front(&errors), "\nf.ini:3: "));
    ck_assert_ptr_nonnull(strstr(buf_front(&errors), "\nf.ini:4: "));
}
END_TEST

START_TEST(a_section_without_settings_is_judged_like_any_other)
{
    assert_error("[limits]\n[limist]\n",
                 "f.ini:2: [limist] 'limist' is not a section; expected "
                 "daemon, journal, limits, queue, queue NAME, limiter NAME, "
                 "runner or run NAME");
    assert_error("[queue a b]\n",
                 "f.ini:1: [queue a b] 'a b' is not the name of a queue; "
                 "expected 1 to 64 of A-Z a-z 0-9 _ . : - that do not begin "
                 "with -");
    ck_assert_int_eq(read_text("[]\n"), -EINVAL);
    ck_assert_int_eq(read_text("[run]\n"), -EINVAL);
    ck_assert_int_eq(read_text("[daemon]\n[limits] ; all as it is\n[run a]"),
                     0);
}
END_TEST

START_TEST(an_unknown_section_is_told_once_and_not_for_each_setting)
{
    assert_error("[limist]\nlease = 1s\ndepth-max = 0\n",
                 "f.ini:1: [limist] 'limist' is not a section; expected "
                 "daemon, journal, limits, queue, queue NAME, limiter NAME, "
                 "runner or run NAME");
}
END_TEST

START_TEST(what_a_section_names_is_made_without_a_setting)
{
    ck_assert_int_eq(read_text("[queue a]\n[limiter b]\n"), 0);
    ck_assert_uint_eq(conf.nqueues, 1);
    ck_assert_str_eq(conf.queues[0].name, "a");
    ck_assert_int_eq(conf.queues[0].settings.retry, CORE_UNSET);
    ck_assert_uint_eq(conf.nlimiters, 1);
    ck_assert_str_eq(conf.limiters[0].name, "b");
    ck_assert_int_eq(conf.limiters[0].permits, CORE_UNSET);
}
END_TEST

START_TEST(what_inih_would_cut_is_an_error)
{
    char ini[1024], most[198 + 1];

    /* 198 bytes are the longest line, as the file's head says. */
    memset(most, 'x', 198);
    most[198] = '\0';
    memcpy(most, "socket-group = ", 15);
    (void)snprintf(ini, sizeof(ini), "[daemon]\n%s\n", most);
    ck_assert_int_eq(read_text(ini), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text(), "is not within the bounds"));
    (void)snprintf(ini, sizeof(ini), "[daemon]\n%sx\n", most);
    ck_assert_int_eq(read_text(ini), -EINVAL);
    ck_assert_str_eq(error_text(), "f.ini:2: this line of 199 bytes is not "
                                   "short enough; expected at most 198\n");
    /* Comments may be longer. */
    (void)snprintf(ini, sizeof(ini), "[daemon]\n#%s%s\nsocket = /a\n", most,
                   most);
    ck_assert_int_eq(read_text(ini), 0);

    memset(most, 'q', 60);
    most[60] = '\0';
    (void)snprintf(ini, sizeof(ini), "[queue %.43s]\nretry = 2\n", most);
    ck_assert_int_eq(read_text(ini), 0);
    ck_assert_uint_eq(strlen(conf.queues[0].name), 43);
    (void)snprintf(ini, sizeof(ini), "[queue %.44s]\nretry = 2\n", most);
    ck_assert_int_eq(read_text(ini), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text(), "f.ini:1: this name is not"));

    ck_assert_int_eq(conf_read(&conf, "f.ini", STR("[daemon]\nso\0cket = /a\n"),
                               NULL, 0, &errors),
                     -EINVAL);
}
END_TEST

START_TEST(indented_lines_are_settings_of_their_own)
{
    ck_assert_int_eq(read_text("[limits]\n  lease = 2s ; short\n"
                               "\tdepth-max: 3\r\n  [queue]\n retry = 9"),
                     0);
    ck_assert_int_eq(conf.limits.lease_ms, 2000);
    ck_assert_int_eq(conf.limits.depth_max, 3);
    ck_assert_int_eq(conf.limits.queue_defaults.retry, 9);
}
END_TEST

START_TEST(units_multiply)
{
    ck_assert_int_eq(read_text("[limits]\nlease = 1500\nsession-grace = 3m\n"
                               "keep-max = 2d\npayload-max = 3K\n"
                               "memory-max = 2T\n[queue]\nkeep = 4h\n"
                               "grace = 250ms\nwait = none\n"),
                     0);
    ck_assert_int_eq(conf.limits.lease_ms, 1500);
    ck_assert_int_eq(conf.limits.session_grace_ms, 180000);
    ck_assert_int_eq(conf.limits.keep_max_ms, 2 * 86400000);
    ck_assert_int_eq(conf.limits.payload_max, 3072);
    ck_assert_int_eq(conf.limits.memory_max, INT64_C(2) << 40);
    ck_assert_int_eq(conf.limits.queue_defaults.keep_ms, 4 * 3600000);
    ck_assert_int_eq(conf.limits.queue_defaults.grace_ms, 250);
    ck_assert_int_eq(conf.limits.queue_defaults.wait_ms, CORE_NONE);
}
END_TEST

START_TEST(a_named_queue_keeps_what_was_not_said_unset)
{
    ck_assert_int_eq(read_text("[queue a.b:c]\nmax-jobs = 10\nwait = 0\n"
                               "[queue other]\ntimeout = none\n"),
                     0);
    ck_assert_uint_eq(conf.nqueues, 2);
    ck_assert_str_eq(conf.queues[0].name, "a.b:c");
    ck_assert_int_eq(conf.queues[0].settings.max_jobs, 10);
    ck_assert_int_eq(conf.queues[0].settings.wait_ms, 0);
    ck_assert_int_eq(conf.queues[0].settings.timeout_ms, CORE_UNSET);
    ck_assert_int_eq(conf.queues[1].settings.timeout_ms, CORE_NONE);
    ck_assert_int_eq(conf.limits.queue_defaults.max_jobs, 100000);
    ck_assert_int_eq(read_text("[queue -a]\nretry = 1\n"), -EINVAL);
    ck_assert_int_eq(read_text("[queue a b]\nretry = 1\n"), -EINVAL);
    ck_assert_int_eq(read_text("[queue ]\nretry = 1\n"), -EINVAL);
}
END_TEST

START_TEST(a_named_limiter_keeps_what_was_not_said_unset)
{
    static const char *const over[] = {"limiter a.b.permits=3"};

    ck_assert_int_eq(read_text("[limiter gpu]\npermits = 2\n"
                               "[limiter a.b]\nrate = 10/1s\n"
                               "[limiter free]\npermits = none\nrate = none\n"),
                     0);
    ck_assert_uint_eq(conf.nlimiters, 3);
    ck_assert_str_eq(conf.limiters[0].name, "gpu");
    ck_assert_int_eq(conf.limiters[0].permits, 2);
    ck_assert_int_eq(conf.limiters[0].rate.n, CORE_UNSET);
    ck_assert_int_eq(conf.limiters[0].rate.ms, CORE_UNSET);
    ck_assert_int_eq(conf.limiters[1].permits, CORE_UNSET);
    ck_assert_int_eq(conf.limiters[1].rate.n, 10);
    ck_assert_int_eq(conf.limiters[1].rate.ms, 1000);
    ck_assert_int_eq(conf.limiters[2].permits, CORE_NONE);
    ck_assert_int_eq(conf.limiters[2].rate.n, 0);
    ck_assert_int_eq(conf.limiters[2].rate.ms, 0);
    ck_assert_int_eq(conf_read(&conf, "f.ini",
                               STR("[limiter a.b]\nrate = 5/m\n"), over, 1,
                               &errors),
                     0);
    ck_assert_int_eq(conf.limiters[1].permits, 3);
    ck_assert_int_eq(conf.limiters[1].rate.n, 5);
    ck_assert_int_eq(conf.limiters[1].rate.ms, 60000);
}
END_TEST

START_TEST(what_is_no_limiter_is_told_with_what_would_be_right)
{
    assert_error("[limiter gpu]\n\npermits = many\n",
                 "f.ini:3: [limiter gpu] permits: 'many' is not an integer; "
                 "expected none or an integer from 0 to 1000000000");
    assert_error("[limiter gpu]\npermits = 1000000001\n",
                 "f.ini:2: [limiter gpu] permits: '1000000001' is not within "
                 "the bounds; expected none or an integer from 0 to "
                 "1000000000");
    assert_error("[limiter gpu]\nrate = 10\n",
                 "f.ini:2: [limiter gpu] rate: '10' is not a rate; expected "
                 "none, or a rate such as 10/1s: from 1 to 1000000 in an "
                 "interval of 1ms to 366d");
    assert_error("[limiter gpu]\nrates = 10/s\n",
                 "f.ini:2: [limiter gpu] rates: 'rates' is not a setting; "
                 "expected one of permits, rate");
    assert_error("[limiter a:b]\npermits = 1\n",
                 "f.ini:1: [limiter a:b] 'a:b' is not the name of a limiter; "
                 "expected 1 to 64 of A-Z a-z 0-9 _ . - that do not begin "
                 "with -");
    assert_error("[limiter]\npermits = 1\n",
                 "f.ini:1: [limiter] 'limiter' is not a section; expected "
                 "daemon, journal, limits, queue, queue NAME, limiter NAME, "
                 "runner or run NAME");
    assert_error("[limiter gpu]\npermits = 1\npermits = 1\n",
                 "f.ini:3: [limiter gpu] permits: '1' is not the only value; "
                 "expected one, and line 2 has one already");
    assert_error("[limits]\nlimiters-max = 1\n[limiter a]\npermits = 1\n"
                 "[limiter b]\npermits = 1\n",
                 "f.ini: the file is not within [limits] limiters-max: it has "
                 "2 limiters; expected at most 1");
}
END_TEST

START_TEST(classes_are_what_the_core_takes)
{
    assert_error("[queue]\nretry-on = a,,b\n",
                 "f.ini:2: [queue] retry-on: 'a,,b' is not a list of classes; "
                 "expected none, or classes and globs of them, separated by "
                 "commas, of at most 512 bytes");
    ck_assert_int_eq(read_text("[queue a]\nretry-on = a,\n"), -EINVAL);
    ck_assert_int_eq(read_text("[queue a]\nretry-on = \303\274\n"), -EINVAL);
    ck_assert_int_eq(read_text("[queue a]\nretry-on = a b\n"), -EINVAL);
    ck_assert_int_eq(read_text("[queue a]\nretry-on = exit:7?,net*\n"), 0);
}
END_TEST

START_TEST(a_rate_is_taken_at_its_bounds_and_refused_beyond)
{
    static const char *const good[] = {"1/1ms", "1000000/366d", "7/s", "7/2"};
    static const char *const bad[] = {
        "0/1s", "1000001/1s", "1/0",  "1/367d", "1/",
        "/s",   "1/s/s",      "-1/s", "1/x",    ""};
    char ini[64];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        (void)snprintf(ini, sizeof(ini), "[limiter a]\nrate = %s\n", good[i]);
        ck_assert_msg(read_text(ini) == 0, "%s refused", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(ini, sizeof(ini), "[limiter a]\nrate = %s\n", bad[i]);
        ck_assert_msg(read_text(ini) == -EINVAL, "%s taken", bad[i]);
    }
}
END_TEST

START_TEST(sections_of_the_runner_are_skipped)
{
    ck_assert_int_eq(read_text("[runner]\nstart = yes\nslots = many\n"
                               "[run mail]\ncommand = /bin/true\n"),
                     0);
    ck_assert(conf.runner_start);
    ck_assert(conf_is_runners("runner"));
    ck_assert(conf_is_runners("run a.b"));
    ck_assert(!conf_is_runners("runs"));
    ck_assert(!conf_is_runners("queue a"));
    ck_assert_int_eq(read_text("[runner]\nstart = perhaps\n"), -EINVAL);
    ck_assert_int_eq(read_text("[runner]\nstop-grace = 2d\n"), -EINVAL);
}
END_TEST

START_TEST(addresses_are_numeric_and_know_whether_they_are_loopback)
{
    static const struct {
        const char *in, *out;
        bool loopback;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1:9653", true},
        {"127.1.2.3:0", "127.1.2.3:0", true},
        {"[::1]", "[::1]:9653", true},
        {"[0:0::1]:65535", "[::1]:65535", true},
        {"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", true},
        {"0.0.0.0:1", "0.0.0.0:1", false},
        {"128.0.0.1:1", "128.0.0.1:1", false},
        {"[::]:1", "[::]:1", false},
        {"[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1", false},
        {"[fe80::1]:1", "[fe80::1]:1", false},
    };
    static const char *const bad[] = {
        "::1",        "[::1",          "[::1]x",
        "127.0.0.1:", "127.0.0.1:x",   "127.0.0.1:65536",
        "1.2.3",      "[127.0.0.1]:1", "[::1]9653",
        ":9653",      "[]:1",          "1.2.3.4:1:2",
        ",",          "none 1.2.3.4"};
    char ini[512];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)snprintf(ini, sizeof(ini), "[daemon]\nlisten = %s\n", rows[i].in);
        ck_assert_int_eq(read_text(ini), 0);
        ck_assert_uint_eq(conf.listen.len, 1);
        ck_assert_str_eq(conf.listen.list[0].text, rows[i].out);
        ck_assert_int_eq(conf.listen.list[0].loopback, rows[i].loopback);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(ini, sizeof(ini), "[daemon]\nlisten = %s\n", bad[i]);
        ck_assert_msg(read_text(ini) == -EINVAL, "%s taken", bad[i]);
    }
    ck_assert_int_eq(read_text("[daemon]\nlisten = none\n"), 0);
    ck_assert_uint_eq(conf.listen.len, 0);
}
END_TEST

START_TEST(sixteen_addresses_are_taken_and_seventeen_refused)
{
    char ini[512];

    (void)snprintf(ini, sizeof(ini), "[daemon]\nlisten =");
    for (int i = 0; i < CONF_LISTEN_MAX; i++)
        (void)snprintf(ini + strlen(ini), sizeof(ini) - strlen(ini),
                       ",1.1.1.1");
    ck_assert_int_eq(read_text(ini), 0);
    ck_assert_uint_eq(conf.listen.len, CONF_LISTEN_MAX);
    (void)snprintf(ini + strlen(ini), sizeof(ini) - strlen(ini), ",1.1.1.1");
    ck_assert_int_eq(read_text(ini), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text(), "is not within the bounds"));
}
END_TEST

START_TEST(overrides_win_over_the_file)
{
    static const char *const over[] = {"limits.lease=7s", "limits.lease=8s",
                                       "queue a.b.retry=3", "runner.slots=2"};
    static const char *const bad[] = {"lease=7s", ".lease=7s", "limits.=7s",
                                      "limits.lease", "limits.lease=x"};

    ck_assert_int_eq(conf_read(&conf, "f.ini",
                               STR("[limits]\nlease = 2s\n[queue a.b]\n"
                                   "retry = 1\n"),
                               over, ARRAY_LEN(over), &errors),
                     0);
    ck_assert_int_eq(conf.limits.lease_ms, 8000);
    ck_assert_uint_eq(conf.nqueues, 1);
    ck_assert_int_eq(conf.queues[0].settings.retry, 3);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_reset(&errors);
        ck_assert_int_eq(
            conf_read(&conf, "f.ini", STR(""), &bad[i], 1, &errors), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error_text(), "-o: "));
        ck_assert_ptr_nonnull(strstr(buf_front(&errors), "; expected "));
    }
}
END_TEST

START_TEST(settings_that_contradict_each_other_are_errors)
{
    ck_assert_int_eq(read_text("[daemon]\noutput-max = 1M\n"), -EINVAL);
    ck_assert_int_eq(read_text("[daemon]\noutput-max = 2M\n"), 0);
    ck_assert_int_eq(read_text("[journal]\nsegment-size = 1M\n"), -EINVAL);
    ck_assert_int_eq(read_text("[journal]\nsegment-size = 2559K\n"), -EINVAL);
    ck_assert_int_eq(read_text("[journal]\nsegment-size = 2560K\n"), 0);
    ck_assert_int_eq(
        read_text("[daemon]\noutput-max = 9M\n"
                  "[limits]\npayload-max = 8M\nresult-max = 6145K\n"),
        -EINVAL);
    ck_assert_int_eq(read_text("[daemon]\noutput-max = 9M\n"
                               "[limits]\npayload-max = 8M\nresult-max = 6M\n"),
                     0);
    ck_assert_int_eq(read_text("[limits]\nkeep-max = 10m\n"), -EINVAL);
    ck_assert_int_eq(read_text("[queue a]\nkeep = 31d\n"), -EINVAL);
    ck_assert_int_eq(read_text("[queue a]\ndead-keep = 31d\n"), -EINVAL);
    ck_assert_int_eq(read_text("[daemon]\nlisten = none\nsocket = none\n"),
                     -EINVAL);
    ck_assert_int_eq(read_text("[limits]\nqueues-max = 1\n[queue a]\n"
                               "retry = 1\n[queue b]\nretry = 1\n"),
                     -EINVAL);
}
END_TEST

START_TEST(a_reload_takes_over_what_it_may_and_tells_the_rest)
{
    struct conf wanted;
    struct buf late;

    conf_init(&wanted);
    buf_init(&late);
    ck_assert_int_eq(read_text("[queue old]\nretry = 2\n"
                               "[limiter old]\npermits = 2\n"),
                     0);
    ck_assert_int_eq(conf_read(&wanted, "f.ini",
                               STR("[daemon]\nlisten = none\nlog-level = warn\n"
                                   "password-file = /p\n[journal]\n"
                                   "sync = never\n[limits]\nlease = 1s\n"
                                   "[queue]\nwait = 5s\n[queue new]\n"
                                   "retry = 3\n[limiter new]\n"
                                   "permits = 3\n"),
                               NULL, 0, &errors),
                     0);
    conf_unapplied(&conf, &wanted, &late);
    buf_append_byte(&late, '\0');
    ck_assert_str_eq(buf_front(&late), "[daemon] listen, [journal] sync");
    conf_adopt(&conf, &wanted);
    ck_assert_uint_eq(conf.listen.len, 2);
    ck_assert_int_eq(conf.sync, STORE_SYNC_ALWAYS);
    ck_assert_int_eq(conf.log_level, LOG_LEVEL_WARN);
    ck_assert_str_eq(conf.password_file, "/p");
    ck_assert_int_eq(conf.limits.lease_ms, 1000);
    ck_assert_int_eq(conf.limits.queue_defaults.wait_ms, 5000);
    ck_assert_uint_eq(conf.nqueues, 1);
    ck_assert_str_eq(conf.queues[0].name, "new");
    ck_assert_uint_eq(conf.nlimiters, 1);
    ck_assert_str_eq(conf.limiters[0].name, "new");
    conf_clear(&wanted);
    buf_clear(&late);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_an_error)
{
    char path[] = "/tmp/yoke-test-conf-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(conf_load(&conf, path, NULL, 0, &errors), 0);
    ck_assert_int_eq(ftruncate(fd, CONF_FILE_MAX + 1), 0);
    ck_assert_int_eq(conf_load(&conf, path, NULL, 0, &errors), -EFBIG);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(close(fd), 0);
    buf_reset(&errors);
    ck_assert_int_eq(conf_load(&conf, path, NULL, 0, &errors), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error_text(), path));
}
END_TEST

/* ------------------------------------------------------- etc/yoked.ini */

static char packaged[64 * 1024];

static void read_packaged(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    ck_assert_int_ge(fd, 0);
    n = read(fd, packaged, sizeof(packaged) - 1);
    ck_assert_int_gt(n, 0);
    ck_assert_int_lt(n, (ssize_t)sizeof(packaged) - 1);
    packaged[n] = '\0';
    ck_assert_int_eq(close(fd), 0);
}

/* The paragraph above a setting of the packaged file, in one line. */
static void paragraph_above(const char *at, char *to, size_t size)
{
    const char *from = at;
    size_t used = 0;

    ck_assert(at >= packaged + 2);
    while (!(from[-1] == '\n' && from[-2] == '\n'))
        from--;
    for (; from < at && used < size - 1; from++) {
        if (*from != '\n' && !(*from == '#' && from[-1] == '\n'))
            to[used++] = *from;
    }
    to[used] = '\0';
}

static void find_in_packaged(const struct conf_setting *s)
{
    char line[512], section[64], above[2048], bounds[128], from[64];
    const char *start, *end, *at;
    struct conf c;

    (void)snprintf(section, sizeof(section), "\n[%s]\n", s->section);
    start = strstr(packaged, section);
    ck_assert_msg(start != NULL, "no %s", section);
    end = strstr(start + strlen(section), "\n[");
    (void)snprintf(line, sizeof(line), "\n#%s = %s\n", s->key, s->preset);
    at = strstr(start, line);
    ck_assert_msg(at != NULL && (!end || at < end), "no %s in %s", line,
                  section);
    paragraph_above(at + 1, above, sizeof(above));
    ck_assert_msg(strstr(above, s->help) != NULL, "%s: '%s' has no '%s'",
                  s->key, above, s->help);
    ck_assert_int_eq(strstr(above, "At start only.") != NULL,
                     s->apply == CONF_RESTART);
    if (!is_number(s))
        return;
    memset(&c, 0, sizeof(c));
    memcpy((char *)&c + s->offset, &s->min, sizeof(s->min));
    (void)snprintf(from, sizeof(from), "%s", format(&c, s));
    memcpy((char *)&c + s->offset, &s->max, sizeof(s->max));
    (void)snprintf(bounds, sizeof(bounds), "From %s to %s.", from,
                   format(&c, s));
    ck_assert_msg(strstr(above, bounds) != NULL, "%s: '%s' has no '%s'", s->key,
                  above, bounds);
}

START_TEST(packaged_file_shows_each_setting_with_default_and_bounds)
{
    size_t n;
    const struct conf_setting *s = conf_settings(&n);

    read_packaged(TEST_SRCDIR "/etc/yoked.ini");
    for (size_t i = 0; i < n; i++)
        find_in_packaged(&s[i]);
}
END_TEST

START_TEST(packaged_file_changes_nothing)
{
    size_t n;
    const struct conf_setting *s = conf_settings(&n);

    read_packaged(TEST_SRCDIR "/etc/yoked.ini");
    ck_assert_msg(read_text(packaged) == 0, "%s", error_text());
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(format(&conf, &s[i]), s[i].preset);
    ck_assert_uint_eq(conf.nqueues, 0);
}
END_TEST

START_TEST(manual_page_shows_each_setting_with_its_default)
{
    size_t n;
    const struct conf_setting *s = conf_settings(&n);
    char line[512];
    const char *start, *end, *at;

    read_packaged(TEST_SRCDIR "/doc/yoked.ini.5");
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(line, sizeof(line), "\n.Ss [%s]\n", s[i].section);
        start = strstr(packaged, line);
        ck_assert_msg(start != NULL, "no %s", line);
        end = strstr(start + 1, "\n.Ss ");
        (void)snprintf(line, sizeof(line), "\n.It Ic %s No = Ar %s\n", s[i].key,
                       s[i].preset);
        at = strstr(start, line);
        ck_assert_msg(at != NULL && (!end || at < end), "no %s", line);
    }
}
END_TEST

/* Take the # away from each line that is a setting or a section. */
START_TEST(packaged_file_is_right_when_all_is_uncommented)
{
    char *to = packaged;

    read_packaged(TEST_SRCDIR "/etc/yoked.ini");
    for (const char *from = packaged; *from; from++) {
        bool first = from == packaged || from[-1] == '\n';

        if (!(first && *from == '#' && from[1] != ' ' && from[1] != '\n'))
            *to++ = *from;
    }
    *to = '\0';
    ck_assert_msg(read_text(packaged) == 0, "%s", error_text());
    ck_assert_uint_eq(conf.nqueues, 1);
    ck_assert_uint_eq(conf.nlimiters, 1);
}
END_TEST

/* The default stands in the manual page; the file shows an example. */
START_TEST(packaged_file_and_manual_page_show_limiters)
{
    size_t n;
    const struct conf_setting *s = conf_limiter_settings(&n);
    char line[512], above[2048];
    const char *start, *at;

    read_packaged(TEST_SRCDIR "/etc/yoked.ini");
    start = strstr(packaged, "\n#[limiter ");
    ck_assert_ptr_nonnull(start);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(line, sizeof(line), "\n#%s = ", s[i].key);
        at = strstr(start, line);
        ck_assert_msg(at != NULL, "no %s", line);
        paragraph_above(at + 1, above, sizeof(above));
        ck_assert_msg(strstr(above, s[i].help) != NULL, "%s: '%s' has no '%s'",
                      s[i].key, above, s[i].help);
    }
    read_packaged(TEST_SRCDIR "/doc/yoked.ini.5");
    start = strstr(packaged, "\n.Ss [limiter NAME]\n");
    ck_assert_ptr_nonnull(start);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(line, sizeof(line), "\n.It Ic %s No = Ar %s\n", s[i].key,
                       s[i].preset);
        ck_assert_msg(strstr(start, line) != NULL, "no %s", line);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf");
    TCase *tc = tcase_create("conf");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, default_of_each_setting_is_what_the_list_says);
    tcase_add_test(tc, defaults_of_the_limits_are_those_of_the_core);
    tcase_add_test(tc, each_number_is_taken_at_its_bounds_and_refused_beyond);
    tcase_add_test(tc, each_setting_refuses_what_it_is_not);
    tcase_add_test(tc, each_formatted_value_reads_back_as_itself);
    tcase_add_test(tc, errors_name_file_line_and_what_would_be_right);
    tcase_add_test(tc, a_value_that_is_set_twice_is_an_error);
    tcase_add_test(tc, each_mistake_is_reported);
    tcase_add_test(tc, a_section_without_settings_is_judged_like_any_other);
    tcase_add_test(tc,
                   an_unknown_section_is_told_once_and_not_for_each_setting);
    tcase_add_test(tc, what_a_section_names_is_made_without_a_setting);
    tcase_add_test(tc, what_inih_would_cut_is_an_error);
    tcase_add_test(tc, indented_lines_are_settings_of_their_own);
    tcase_add_test(tc, units_multiply);
    tcase_add_test(tc, a_named_queue_keeps_what_was_not_said_unset);
    tcase_add_test(tc, a_named_limiter_keeps_what_was_not_said_unset);
    tcase_add_test(tc, what_is_no_limiter_is_told_with_what_would_be_right);
    tcase_add_test(tc, classes_are_what_the_core_takes);
    tcase_add_test(tc, a_rate_is_taken_at_its_bounds_and_refused_beyond);
    tcase_add_test(tc, packaged_file_and_manual_page_show_limiters);
    tcase_add_test(tc, sections_of_the_runner_are_skipped);
    tcase_add_test(tc,
                   addresses_are_numeric_and_know_whether_they_are_loopback);
    tcase_add_test(tc, sixteen_addresses_are_taken_and_seventeen_refused);
    tcase_add_test(tc, overrides_win_over_the_file);
    tcase_add_test(tc, settings_that_contradict_each_other_are_errors);
    tcase_add_test(tc, a_reload_takes_over_what_it_may_and_tells_the_rest);
    tcase_add_test(tc, a_file_that_cannot_be_read_is_an_error);
    tcase_add_test(tc,
                   packaged_file_shows_each_setting_with_default_and_bounds);
    tcase_add_test(tc, packaged_file_changes_nothing);
    tcase_add_test(tc, manual_page_shows_each_setting_with_its_default);
    tcase_add_test(tc, packaged_file_is_right_when_all_is_uncommented);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
