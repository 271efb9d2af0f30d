/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parts of the runner that are pure: settings, command lines, the texts
 * of /proc and cgroups, environments.
 */
#include "runner/cgroup.h"
#include "runner/command.h"
#include "runner/environment.h"
#include "runner/memory.h"
#include "runner/message.h"
#include "runner/proc.h"
#include "runner/settings.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --------------------------------------------------------------- commands */

static struct command command;
static char why[SETTINGS_WHY_SIZE];

static int parse(const char *payload, size_t len)
{
    command_clear(&command);
    return command_parse(payload, len, &command, why, sizeof(why));
}

#define assert_payload_error(literal, text)                             \
    do {                                                                \
        ck_assert_int_eq(parse(literal, sizeof(literal) - 1), -EINVAL); \
        ck_assert_ptr_null(command.argv);                               \
        ck_assert_ptr_nonnull(strstr(why, text));                       \
    } while (0)

START_TEST(payload_is_read_whole)
{
    static const char payload[] = "dir=/tmp\0env=A=1\0arg=sh\0arg=\0arg=a b\0"
                                  "env=B=\0stdin=x\0y\0arg=no";

    ck_assert_int_eq(parse(payload, sizeof(payload) - 1), 0);
    ck_assert_str_eq(command.dir, "/tmp");
    ck_assert_uint_eq(command.argc, 3);
    ck_assert_str_eq(command.argv[0], "sh");
    ck_assert_str_eq(command.argv[1], "");
    ck_assert_str_eq(command.argv[2], "a b");
    ck_assert_ptr_null(command.argv[3]);
    ck_assert_uint_eq(command.envc, 2);
    ck_assert_str_eq(command.env[0], "A=1");
    ck_assert_str_eq(command.env[1], "B=");
    ck_assert_ptr_null(command.env[2]);
    ck_assert_uint_eq(command.input_len, 10);
    ck_assert_int_eq(memcmp(command.input, "x\0y\0arg=no", 10), 0);
    command_clear(&command);
}
END_TEST

START_TEST(payload_that_is_not_one_says_why)
{
    assert_payload_error("", "there is no arg=");
    assert_payload_error("stdin=x", "there is no arg=");
    assert_payload_error("arg=\0", "is empty");
    assert_payload_error("arg=sh", "not ended by a NUL");
    assert_payload_error("arg=sh\0rest", "not ended by a NUL");
    assert_payload_error("ls -l\0", "unknown field 'ls -l'");
    assert_payload_error("dir=tmp\0arg=sh\0", "absolute path");
    assert_payload_error("dir=/a\0dir=/b\0arg=sh\0", "twice");
    assert_payload_error("env=A\0arg=sh\0", "NAME=value");
    assert_payload_error("env==1\0arg=sh\0", "NAME=value");
    command_clear(&command);
}
END_TEST

START_TEST(arguments_have_a_most)
{
    struct buffer b = {0};

    for (size_t i = 0; i < COMMAND_WORDS_MAX; i++)
        buffer_append(&b, "arg=x", 6);
    ck_assert_int_eq(parse(b.data, b.len), 0);
    ck_assert_uint_eq(command.argc, COMMAND_WORDS_MAX);
    ck_assert_ptr_null(command.argv[COMMAND_WORDS_MAX]);
    buffer_append(&b, "arg=x", 6);
    ck_assert_int_eq(parse(b.data, b.len), -EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "too many arguments"));
    buffer_clear(&b);
    command_clear(&command);
}
END_TEST

START_TEST(every_prefix_of_a_payload_is_safe)
{
    static const char payload[] = "dir=/tmp\0env=A=1\0arg=sh\0arg=x\0stdin=abc";

    for (size_t n = 0; n < sizeof(payload); n++) {
        /* A copy of just that size, for the sanitizer to watch. */
        char *copy = malloc(n + 1);

        memcpy(copy, payload, n);
        copy = realloc(copy, n ? n : 1);
        ck_assert_int_le(parse(copy, n), 0);
        free(copy);
    }
    command_clear(&command);
}
END_TEST

START_TEST(line_is_split_into_words)
{
    static const struct {
        const char *line, *words[5];
    } cases[] = {
        {"a", {"a"}},
        {"  a\tb  ", {"a", "b"}},
        {"'a b' \"c d\"", {"a b", "c d"}},
        {"a' 'b\" \"c", {"a b c"}},
        {"\"a\\\"b\" 'a\\b' a\\ b", {"a\"b", "a\\b", "a b"}},
        {"'' \"\"", {"", ""}},
        {"sh -c 'a; b | $c # d'", {"sh", "-c", "a; b | $c # d"}},
        {"", {NULL}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = 0;

        command_clear(&command);
        ck_assert_int_eq(
            command_split(cases[i].line, &command, why, sizeof(why)), 0);
        while (n < 5 && cases[i].words[n]) {
            ck_assert_uint_gt(command.argc, n);
            ck_assert_str_eq(command.argv[n], cases[i].words[n]);
            n++;
        }
        ck_assert_uint_eq(command.argc, n);
    }
    /* More words come behind the others; a bad line changes nothing. */
    command_clear(&command);
    ck_assert_int_eq(command_split("a 'b c'", &command, why, sizeof(why)), 0);
    ck_assert_int_eq(command_split("d", &command, why, sizeof(why)), 0);
    ck_assert_int_eq(command_split("'e", &command, why, sizeof(why)), -EINVAL);
    ck_assert_int_eq(command_split("e\\", &command, why, sizeof(why)), -EINVAL);
    ck_assert_uint_eq(command.argc, 3);
    ck_assert_str_eq(command.argv[1], "b c");
    ck_assert_str_eq(command.argv[2], "d");
    command_clear(&command);
}
END_TEST

/* --------------------------------------------------------------- settings */

static struct settings settings;

/* Reads a text as a file would be. */
static int load(const char *text)
{
    char file[] = "/tmp/test_runner.XXXXXX";
    int fd = mkstemp(file), rc;
    char *at;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    settings_clear(&settings);
    settings_init(&settings);
    rc = settings_load(&settings, file, why);
    unlink(file);
    /* The name is another one each time. */
    at = strstr(why, file);
    if (rc < 0 && at)
        memmove(at, at + strlen(file), strlen(at + strlen(file)) + 1);
    return rc;
}

#define assert_load_error(text, expected) \
    do {                                  \
        ck_assert_int_lt(load(text), 0);  \
        ck_assert_str_eq(why, expected);  \
    } while (0)

START_TEST(file_is_read)
{
    ck_assert_int_eq(
        load("[daemon]\nwhat = ever\n[runner]\nstart = yes\nslots = 7\n"
             "  # indented remark\nresult-max = 2M ; a remark\n"
             "stop-grace = 3m\numask = 077\npass-env = CC CFLAGS\n"
             "command-queues = run build\n"
             "[run mail]\ncommand = /bin/sh -c 'a ; b' x\n    and more\n"
             "dir = /var/mail\nslots = 2\n[queue mail]\nmax-jobs = 3\n"),
        0);
    ck_assert(settings.start);
    ck_assert_int_eq(settings.slots, 7);
    ck_assert_int_eq(settings.result_max, 2 << 20);
    ck_assert_int_eq(settings.stop_grace_ms, 180000);
    ck_assert_int_eq(settings.umask_bits, 077);
    ck_assert_uint_eq(settings.pass_env.argc, 2);
    ck_assert_uint_eq(settings.command_queues.argc, 2);
    ck_assert_uint_eq(settings.nqueues, 1);
    ck_assert_str_eq(settings.queues[0].name, "mail");
    ck_assert_uint_eq(settings.queues[0].command.argc, 6);
    ck_assert_str_eq(settings.queues[0].command.argv[2], "a ; b");
    ck_assert_str_eq(settings.queues[0].command.argv[5], "more");
    ck_assert_str_eq(settings.queues[0].dir, "/var/mail");
    ck_assert_int_eq(settings.queues[0].slots, 2);
    settings_clear(&settings);
}
END_TEST

START_TEST(long_lines_are_whole)
{
    struct buffer b = {0};

    buffer_printf(&b, "[run q]\ncommand = prog");
    for (int i = 0; i < 500; i++)
        buffer_printf(&b, " word%d", i);
    buffer_append(&b, "\n", 2);
    ck_assert_int_eq(load(b.data), 0);
    ck_assert_uint_eq(settings.queues[0].command.argc, 501);
    ck_assert_str_eq(settings.queues[0].command.argv[500], "word499");
    buffer_clear(&b);
    settings_clear(&settings);
}
END_TEST

START_TEST(wrong_lines_are_named)
{
    assert_load_error(
        "[runner]\nslot = 1\n",
        ":2: [runner] slot: unknown key 'slot'; known are start name slots "
        "allow-commands command-queues cgroup result-max drain stop-grace "
        "pass-env "
        "umask log-level");
    assert_load_error(
        "[run q]\n\nshell = x\n",
        ":3: [run q] shell: unknown key 'shell'; known are "
        "command dir slots pool pool-jobs-max pool-memory-max user group umask "
        "pass-env pass-password nice ionice rlimits "
        "no-new-privileges private-tmp private-tmp-max private-pids memory-max "
        "pids-max "
        "cpu-max success-exit result "
        "stop-signals log-file log-file-max log-files log-journal");
    assert_load_error("[run q]\nlog-file = jobs.log\n",
                      ":2: [run q] log-file: 'jobs.log' is not valid; "
                      "expected an absolute path");
    assert_load_error("[runner]\nslots = x\n",
                      ":2: [runner] slots: 'x' is not valid; expected a "
                      "number");
    assert_load_error("[runner]\nslots = 4097\n",
                      ":2: [runner] slots: '4097' is out of range; expected 0 "
                      "to 4096");
    assert_load_error("[runner]\nslots = -1\n",
                      ":2: [runner] slots: '-1' is not valid; expected a "
                      "number");
    assert_load_error("[runner]\numask = 1000\n",
                      ":2: [runner] umask: '1000' is out of range; expected 0 "
                      "to 777");
    assert_load_error("[runner]\nallow-commands = true\n",
                      ":2: [runner] allow-commands: 'true' is not a switch; "
                      "expected yes or no");
    assert_load_error("[runner]\nslots = 1\nslots = 2\n",
                      ":3: [runner] slots: 'slots' is set twice");
    assert_load_error("[runner]\npass-env = NOTIFY_SOCKET\n",
                      ":2: [runner] pass-env: 'NOTIFY_SOCKET' is never passed "
                      "on to jobs");
    assert_load_error("[run a b]\ncommand = x\n",
                      ":1: [run a b]: 'a b' cannot be the name of a "
                      "queue; expected 1 to 64 of A-Z a-z 0-9 _ . : -, not "
                      "starting with -");
    assert_load_error("[run q]\ncommand = 'x\n",
                      ":2: [run q] command: ''x' a quote is not closed");
    assert_load_error("[run q]\ncommand =\n",
                      ":2: [run q] command: 0 words; expected 1 to 16384");
    assert_load_error("[run q]\ndir = here\n",
                      ":2: [run q] dir: 'here' is not valid; expected an "
                      "absolute path");
    assert_load_error("[runner]\nresult-max = 1025M\n",
                      ":2: [runner] result-max: '1025M' is out of range; "
                      "expected 0 to 1073741824");
    assert_load_error("[runner]\nresult-max = 99999999999999999999\n",
                      ":2: [runner] result-max: '99999999999999999999' is not "
                      "valid; expected a number of bytes, or of K, M, G, T");
    assert_load_error("[runner]\nresult-max = 2T\n",
                      ":2: [runner] result-max: '2T' is out of range; "
                      "expected 0 to 1073741824");
    assert_load_error("[runner]\npass-env = A*B\n",
                      ":2: [runner] pass-env: 'A*B' is not the name of a "
                      "variable");
    assert_load_error("nonsense\n", ":1: expected [section] or key = value");
    ck_assert_int_eq(settings_load(&settings, "/no/such", why), -ENOENT);
    ck_assert_str_eq(why, "/no/such: No such file or directory");
    settings_clear(&settings);
}
END_TEST

/* Each key of a queue is in the text, from its section on. */
static void assert_shown(const char *file, const char *section,
                         const char *before, const char *after)
{
#define NAME_OF(name, member, type, initial, min, max) name,
    static const char *const names[] = {SETTINGS_RUN(NAME_OF)};
    struct buffer text = {0};
    FILE *f = fopen(file, "re");
    char part[4096], line[64];
    const char *start;
    size_t n;

    ck_assert_ptr_nonnull(f);
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        buffer_append(&text, part, n);
    fclose(f);
    buffer_append(&text, "", 1);
    start = strstr(text.data, section);
    ck_assert_ptr_nonnull(start);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(line, sizeof(line), "\n%s%s%s", before, names[i], after);
        ck_assert_msg(strstr(start, line), "%s: no%s", file, line);
    }
    buffer_clear(&text);
}

START_TEST(manual_page_and_packaged_file_show_each_key_of_a_queue)
{
    assert_shown(TEST_SRCDIR "/doc/yoked.ini.5", "\n.Ss [run NAME]\n",
                 ".It Ic ", " No =");
    assert_shown(TEST_SRCDIR "/etc/yoked.ini", "\n#[run mail]\n", "#", " =");
}
END_TEST

START_TEST(a_section_needs_no_keys)
{
    ck_assert_int_eq(load("[runner]\n[run mail]\n[daemon]\n[what]\n"), 0);
    ck_assert_uint_eq(settings.nqueues, 1);
    ck_assert_str_eq(settings.queues[0].name, "mail");
    ck_assert_int_lt(settings_finish(&settings, NULL, 0, why), 0);
    ck_assert_str_eq(why, "queue 'mail' has nothing to run; give [run mail] a "
                          "command, or set [runner] allow-commands = yes");
    assert_load_error("[run]\n",
                      ":1: [run]: expected the name of a queue: [run NAME]");
    assert_load_error("[runner]\n[run -a]\n",
                      ":2: [run -a]: '-a' cannot be the name of a queue; "
                      "expected 1 to 64 of A-Z a-z 0-9 _ . : -, not starting "
                      "with -");
    settings_clear(&settings);
}
END_TEST

START_TEST(queue_names_have_a_most)
{
    char name[80];

    memset(name, 'q', sizeof(name));
    name[64] = '\0';
    ck_assert(settings_queue_name_ok(name));
    name[64] = 'q';
    name[65] = '\0';
    ck_assert(!settings_queue_name_ok(name));
    ck_assert(!settings_queue_name_ok(""));
    ck_assert(!settings_queue_name_ok("-a"));
    ck_assert(!settings_queue_name_ok("a/b"));
    ck_assert(settings_queue_name_ok("a.B_9:-"));
}
END_TEST

START_TEST(options_override_the_file)
{
    ck_assert_int_eq(load("[runner]\nslots = 7\n[run a.b]\ncommand = x\n"), 0);
    ck_assert_int_eq(settings_override(&settings, "runner.slots=8", why), 0);
    ck_assert_int_eq(settings_override(&settings, "runner.slots=9", why), 0);
    ck_assert_int_eq(settings.slots, 9);
    ck_assert_int_eq(
        settings_override(&settings, "run a.b.command=y 'z z'", why), 0);
    ck_assert_uint_eq(settings.queues[0].command.argc, 2);
    ck_assert_str_eq(settings.queues[0].command.argv[1], "z z");
    ck_assert_int_eq(settings_override(&settings, "daemon.x=1", why), 0);
    ck_assert_int_lt(settings_override(&settings, "slots", why), 0);
    ck_assert_str_eq(why, "-o 'slots': expected section.key=value");
    ck_assert_int_lt(settings_override(&settings, "runner.slots=no", why), 0);
    ck_assert_str_eq(why, "-o [runner] slots: 'no' is not valid; expected a "
                          "number");
    settings_clear(&settings);
}
END_TEST

START_TEST(queues_served_have_something_to_run)
{
    static const char *const two[] = {"b", "other"};

    ck_assert_int_eq(load("[run a]\ncommand = x\n[run b]\ncommand = y\n"), 0);
    ck_assert_int_eq(settings_finish(&settings, NULL, 0, why), 0);
    ck_assert_uint_eq(settings.nqueues, 2);
    ck_assert_int_gt(settings.slots, 0);
    ck_assert(*settings.name);
    ck_assert_int_lt(settings_finish(&settings, two, 2, why), 0);
    ck_assert_str_eq(why, "queue 'other' has nothing to run; give [run other] "
                          "a command, or set [runner] allow-commands = yes");
    ck_assert_int_eq(
        settings_override(&settings, "runner.allow-commands=yes", why), 0);
    ck_assert_int_eq(settings_finish(&settings, two, 2, why), 0);
    ck_assert_uint_eq(settings.nqueues, 2);
    ck_assert_str_eq(settings.queues[0].name, "b");
    ck_assert_str_eq(settings.queues[0].command.argv[0], "y");
    ck_assert_uint_eq(settings.queues[1].command.argc, 0);

    ck_assert_int_eq(load("[runner]\nallow-commands = yes\n"), 0);
    ck_assert_int_eq(settings_finish(&settings, NULL, 0, why), 0);
    ck_assert_uint_eq(settings.nqueues, 1);
    ck_assert_str_eq(settings.queues[0].name, "run");

    ck_assert_int_eq(load("[run a]\ncommand = x\nlog-file = /log\n"
                          "[run b]\ncommand = y\nlog-file = /log\n"),
                     0);
    ck_assert_int_lt(settings_finish(&settings, NULL, 0, why), 0);
    ck_assert_str_eq(why, "[run b] log-file is that of [run a]; give each "
                          "queue a file of its own");
    settings_clear(&settings);
}
END_TEST

/* ------------------------------------------------------- the kernel's texts */

START_TEST(mount_is_found)
{
    char point[256], root[256];

    ck_assert(cgroup_parse_mount(
        "30 24 0:26 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 "
        "cgroup2 rw\n",
        point, root, sizeof(point)));
    ck_assert_str_eq(point, "/sys/fs/cgroup/unified");
    ck_assert_str_eq(root, "/");
    ck_assert(cgroup_parse_mount(
        "41 31 0:38 /a\\040b /mnt/c\\134d rw - cgroup2 none rw", point, root,
        sizeof(point)));
    ck_assert_str_eq(root, "/a b");
    ck_assert_str_eq(point, "/mnt/c\\d");
    ck_assert(!cgroup_parse_mount("30 24 0:26 / /sys rw - cgroup c rw\n", point,
                                  root, sizeof(point)));
    ck_assert(!cgroup_parse_mount("", point, root, sizeof(point)));
    ck_assert(!cgroup_parse_mount(" - cgroup2 ", point, root, sizeof(point)));
}
END_TEST

START_TEST(own_cgroup_is_found)
{
    char path[64];

    ck_assert(
        cgroup_parse_self("4:memory:/x\n0::/a/b c\n", path, sizeof(path)));
    ck_assert_str_eq(path, "/a/b c");
    ck_assert(cgroup_parse_self("0::/\n", path, sizeof(path)));
    ck_assert_str_eq(path, "/");
    ck_assert(!cgroup_parse_self("4:memory:/x\n", path, sizeof(path)));
    ck_assert(!cgroup_parse_self("0::/0123456789\n", path, 8));
}
END_TEST

/* A directory that looks like a cgroup, as the kernel would not have one. */
static void put_text(int dir, const char *file, const char *text)
{
    int fd = openat(dir, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static const char *get_text(int dir, const char *file)
{
    static char text[256];
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    close(fd);
    return text;
}

START_TEST(bounds_are_written_as_the_kernel_reads_them_and_once)
{
    static const char *const files[] = {"memory.max", "memory.oom.group",
                                        "memory.swap.max", "pids.max",
                                        "cpu.max"};
    struct cgroup_bounds bounds = {
        .of = {{512 << 20, false}, {100, false}, {150, false}}};
    struct cgroup_bounds none = {0};
    char place[] = "/tmp/test_runner.XXXXXX";
    struct cgroup c = {.base = -1, .base_file = place};
    struct cgroup_leaf leaf = {0};

    ck_assert_int_lt(cgroup_enable(&c, CGROUP_CPU, why, sizeof(why)), 0);
    ck_assert_str_eq(why, "there are no cgroups");
    ck_assert_ptr_nonnull(mkdtemp(place));
    c.base = leaf.dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put_text(c.base, "cgroup.controllers", "cpuset cpu memory hugepids\n");
    put_text(c.base, "cgroup.subtree_control", "");
    ck_assert_int_eq(cgroup_enable(&c, CGROUP_CPU, why, sizeof(why)), 0);
    ck_assert_str_eq(get_text(c.base, "cgroup.subtree_control"), "+cpu");
    put_text(c.base, "cgroup.subtree_control", "");
    ck_assert_int_eq(cgroup_enable(&c, CGROUP_MEMORY, why, sizeof(why)), 0);
    ck_assert_str_eq(get_text(c.base, "cgroup.subtree_control"), "+memory");
    /* It is in none of these files, and there is none above. */
    ck_assert_int_eq(cgroup_enable(&c, CGROUP_PIDS, why, sizeof(why)), -ENOENT);
    ck_assert_ptr_nonnull(strstr(why, "the controller pids of cgroup v2"));

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        put_text(leaf.dir, files[i], "");
    put_text(leaf.dir, "memory.events", "max 9\noom 4\noom_kill 2\n");
    ck_assert_int_eq(cgroup_bind(&c, &leaf, &bounds), 0);
    ck_assert_str_eq(get_text(leaf.dir, "memory.max"), "536870912");
    ck_assert_str_eq(get_text(leaf.dir, "memory.oom.group"), "1");
    ck_assert_str_eq(get_text(leaf.dir, "memory.swap.max"), "0");
    ck_assert_str_eq(get_text(leaf.dir, "cpu.max"), "150000 100000");
    ck_assert_str_eq(get_text(leaf.dir, "pids.max"), "");
    ck_assert(!cgroup_out_of_memory(&leaf));
    put_text(leaf.dir, "memory.events", "max 9\noom 4\noom_kill 3\n");
    ck_assert(cgroup_out_of_memory(&leaf));

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        put_text(leaf.dir, files[i], "");
    ck_assert_int_eq(cgroup_bind(&c, &leaf, &bounds), 0);
    ck_assert(!cgroup_out_of_memory(&leaf));
    ck_assert_str_eq(get_text(leaf.dir, "memory.max"), "");
    ck_assert_int_eq(cgroup_bind(&c, &leaf, &none), 0);
    ck_assert_str_eq(get_text(leaf.dir, "memory.max"), "max");
    ck_assert_str_eq(get_text(leaf.dir, "memory.oom.group"), "0");
    ck_assert_str_eq(get_text(leaf.dir, "memory.swap.max"), "max");
    ck_assert_str_eq(get_text(leaf.dir, "cpu.max"), "max");

    /* A kernel that counts no swap has nothing to set. */
    unlinkat(leaf.dir, "memory.swap.max", 0);
    ck_assert_int_eq(cgroup_bind(&c, &leaf, &bounds), 0);
    ck_assert_str_eq(get_text(leaf.dir, "memory.max"), "536870912");
    /* One that does not take what is set tells of it. */
    unlinkat(leaf.dir, "memory.max", 0);
    ck_assert_int_eq(cgroup_bind(&c, &leaf, &none), -ENOENT);

    unlinkat(c.base, "cgroup.controllers", 0);
    unlinkat(c.base, "cgroup.subtree_control", 0);
    unlinkat(c.base, "memory.events", 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlinkat(c.base, files[i], 0);
    close(c.base);
    ck_assert_int_eq(rmdir(place), 0);
}
END_TEST

START_TEST(cgroup_has_a_file_only_below_its_mount)
{
    char out[64];

    ck_assert(cgroup_file("/sys/c", "/", "/a/b", out, sizeof(out)));
    ck_assert_str_eq(out, "/sys/c/a/b");
    ck_assert(cgroup_file("/sys/c", "/", "/", out, sizeof(out)));
    ck_assert_str_eq(out, "/sys/c");
    ck_assert(cgroup_file("/sys/c", "/a", "/a/b", out, sizeof(out)));
    ck_assert_str_eq(out, "/sys/c/b");
    ck_assert(cgroup_file("/sys/c", "/a", "/a", out, sizeof(out)));
    ck_assert_str_eq(out, "/sys/c");
    ck_assert(!cgroup_file("/sys/c", "/a", "/ab", out, sizeof(out)));
    ck_assert(!cgroup_file("/sys/c", "/a", "/b", out, sizeof(out)));
    ck_assert(!cgroup_file("/sys/c", "/", "/abcdefghi", out, 12));
}
END_TEST

START_TEST(process_names_do_not_confuse_stat)
{
    struct proc_stat s;

    ck_assert_int_eq(
        proc_stat_parse("12 (a) b) R 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 "
                        "777 0 0\n",
                        &s),
        0);
    ck_assert_int_eq(s.state, 'R');
    ck_assert_int_eq(s.parent, 3);
    ck_assert_int_eq(s.group, 4);
    ck_assert_int_eq(s.session, 5);
    ck_assert_uint_eq(s.start, 777);
    ck_assert_int_eq(proc_stat_parse("12 (a) R 3 4\n", &s), -EINVAL);
    ck_assert_int_eq(proc_stat_parse("", &s), -EINVAL);
}
END_TEST

START_TEST(children_are_read)
{
    char text[] = "12 345 6 ", none[] = "";
    pid_t pids[3];

    ck_assert_uint_eq(proc_children_parse(text, pids, 3), 3);
    ck_assert_int_eq(pids[1], 345);
    ck_assert_uint_eq(proc_children_parse(text, pids, 2), 2);
    ck_assert_uint_eq(proc_children_parse(none, pids, 3), 0);
}
END_TEST

START_TEST(environment_is_an_allow_list)
{
    char *extra[] = {"CC", "MY_*", "*"}, *ours[] = {"YOKE_JOB=j"};
    char *own[] = {"PATH=/own", "YOKE_JOB=forged", "X=1"};
    struct environment e;
    char **list;
    size_t n = 0;

    clearenv();
    setenv("PATH", "/bin", 1);
    setenv("LC_ALL", "C", 1);
    setenv("SECRET", "s", 1);
    setenv("NOTIFY_SOCKET", "/n", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("CC", "gcc", 1);
    setenv("CCACHE", "no", 1);
    setenv("MY_X", "2", 1);
    environment_init(&e, extra, 2);
    ck_assert_uint_eq(e.count, 4);
    list = environment_make(&e, ours, 1, own, 3);
    while (list[n])
        n++;
    ck_assert_uint_eq(n, 6);
    ck_assert_str_eq(list[0], "YOKE_JOB=j");
    ck_assert_str_eq(list[1], "PATH=/own");
    ck_assert_str_eq(list[2], "X=1");
    for (size_t i = 3; i < n; i++)
        ck_assert(strncmp(list[i], "PATH", 4) != 0);
    free(list);
    environment_clear(&e);
    /* Not even a pattern for everything lets these pass. */
    environment_init(&e, extra + 2, 1);
    for (size_t i = 0; i < e.count; i++)
        ck_assert(strncmp(e.passed[i], "NOTIFY", 6) != 0 &&
                  strncmp(e.passed[i], "LISTEN", 6) != 0);
    environment_clear(&e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("runner");
    TCase *c = tcase_create("runner");
    SRunner *runner;
    int failed;

    tcase_add_test(c, payload_is_read_whole);
    tcase_add_test(c, payload_that_is_not_one_says_why);
    tcase_add_test(c, arguments_have_a_most);
    tcase_add_test(c, every_prefix_of_a_payload_is_safe);
    tcase_add_test(c, line_is_split_into_words);
    tcase_add_test(c, file_is_read);
    tcase_add_test(c, long_lines_are_whole);
    tcase_add_test(c, wrong_lines_are_named);
    tcase_add_test(c, manual_page_and_packaged_file_show_each_key_of_a_queue);
    tcase_add_test(c, a_section_needs_no_keys);
    tcase_add_test(c, queue_names_have_a_most);
    tcase_add_test(c, options_override_the_file);
    tcase_add_test(c, queues_served_have_something_to_run);
    tcase_add_test(c, mount_is_found);
    tcase_add_test(c, own_cgroup_is_found);
    tcase_add_test(c, bounds_are_written_as_the_kernel_reads_them_and_once);
    tcase_add_test(c, cgroup_has_a_file_only_below_its_mount);
    tcase_add_test(c, process_names_do_not_confuse_stat);
    tcase_add_test(c, children_are_read);
    tcase_add_test(c, environment_is_an_allow_list);
    suite_add_tcase(suite, c);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
