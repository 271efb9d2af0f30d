/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer - the other side of a libyoke handle, as a thread that follows a script.
 *
 * The peer reads whole requests and writes whatever bytes the script says; what
 * it did not expect is kept and fails the test when the peer is joined. Its
 * allocator can be told to fail, in place of src/client/memory.c.
 */
#ifndef YOKE_TEST_PEER_H
#define YOKE_TEST_PEER_H

#include "client/client.h"

#include <check.h>
#include <dirent.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 10000 /* after which a condition will not come true */
#define HELLO_REPLY                                                           \
    "[ server yoke version 0.1.0 proto :2 id :1 mode standalone role master " \
    "modules [ ] session s0000000000001 lease :%lld ]"

#define ENDED "[ id j1 kind job outcome ok result fine ]"

#define A_JOB                                                                 \
    "[ [ job j7.2 mail a@b [ attempt :2 timeout :500 grace :30 group root ] " \
    "] ]"

/* ----------------------------------------------------------------- memory */

/* These replace src/client/memory.c: an allocation can be made to fail. */
static _Atomic long allocations_left = -1; /* -1: no limit */

static inline bool refused(void)
{
    long left = atomic_load(&allocations_left);

    if (left > 0)
        atomic_store(&allocations_left, left - 1);
    return left == 0;
}

void *yk_alloc(size_t size)
{
    return refused() ? NULL : malloc(size);
}

void *yk_zalloc(size_t n, size_t size)
{
    return refused() ? NULL : calloc(n, size);
}

void *yk_resize(void *old, size_t n, size_t size)
{
    return refused() ? NULL : reallocarray(old, n, size);
}

/* ------------------------------------------------------------------- peer */

#define WORDS_MAX 1024 /* of a request; a batch of AWAIT has 1001 */

struct peer;
typedef void script_fn(struct peer *p);

struct peer {
    int fd;
    pthread_t thread;
    script_fn *script;
    int64_t lease_ms;
    _Atomic(yoke *) y; /* of the client, once it is open */
    atomic_int step;   /* for scripts that meet with the test */
    long count;        /* for scripts that need a number */
    size_t len, at;    /* of what was read */
    char in[1 << 17];
    size_t nwords;
    struct yoke_bytes word[WORDS_MAX];
    char wrong[512]; /* the first thing that was not expected */
};

static struct peer peer;
static yoke *client;
static int fds_before;

static inline bool peer_fill(struct peer *p)
{
    ssize_t n;

    if (p->at > 0) {
        memmove(p->in, p->in + p->at, p->len - p->at);
        p->len -= p->at;
        p->at = 0;
    }
    n = recv(p->fd, p->in + p->len, sizeof(p->in) - p->len, 0);
    if (n <= 0)
        return false;
    p->len += (size_t)n;
    return true;
}

/* The number after a mark, at *at; false: not all of it is there. */
static inline bool peer_number(struct peer *p, size_t *at, size_t *number)
{
    const char *end = memchr(p->in + *at, '\n', p->len - *at);

    if (!end)
        return false;
    *number = strtoul(p->in + *at + 1, NULL, 10);
    *at = (size_t)(end + 1 - p->in);
    return true;
}

static inline bool peer_parse(struct peer *p)
{
    size_t at = p->at;

    if (at == p->len || !peer_number(p, &at, &p->nwords))
        return false;
    for (size_t i = 0; i < p->nwords && i < WORDS_MAX; i++) {
        size_t len;

        if (at >= p->len || !peer_number(p, &at, &len) || p->len - at < len + 2)
            return false;
        p->word[i] = (struct yoke_bytes){p->in + at, len};
        p->in[at + len] = '\0'; /* the CR */
        at += len + 2;
    }
    p->at = at;
    return true;
}

/* The next request; false: the client has closed. */
static inline bool peer_read(struct peer *p)
{
    while (!peer_parse(p))
        if (!peer_fill(p))
            return false;
    return true;
}

static inline void peer_write(struct peer *p, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(p->fd, data, len, MSG_NOSIGNAL);

        if (n < 0)
            return; /* the test is over */
        data += n;
        len -= (size_t)n;
    }
}

static inline size_t word_length(const char *at)
{
    return strcspn(at, " ");
}

/* The items up to the bracket that closes what has just been opened. */
static inline size_t count_items(const char *at)
{
    size_t n = 0, depth = 0;

    for (;; at += word_length(at)) {
        at += strspn(at, " ");
        if (*at == ']' && depth-- == 0)
            return n;
        n += depth == 0 && *at != ']';
        depth += *at == '[';
    }
}

static inline const char *encode(const char *at, FILE *out)
{
    size_t len;

    at += strspn(at, " ");
    len = word_length(at);
    if (*at == '[') {
        fprintf(out, "*%zu\r\n", count_items(at + len));
        for (at += len; at += strspn(at, " "), *at != ']';)
            at = encode(at, out);
        return at + 1;
    }
    if (*at == '~')
        fprintf(out, "$-1\r\n");
    else if (*at == ':' || *at == '+')
        fprintf(out, "%.*s\r\n", (int)len, at);
    else if (*at == '\'')
        fprintf(out, "$0\r\n\r\n");
    else {
        fprintf(out, "$%zu\r\n", len);
        for (size_t i = 0; i < len; i++)
            fputc(at[i] == '@' ? '\0' : at[i], out);
        fprintf(out, "\r\n");
    }
    return at + len;
}

/* RESP of values that are written so: [ array ] :integer +status word '' ~;
 * @ in a word is a NUL. */
static inline char *resp_of(const char *values, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    ck_assert_ptr_nonnull(out);
    for (; *values; values += strspn(values, " "))
        values = encode(values, out);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

static inline void ATTR_PRINTF(2, 3)
    peer_say(struct peer *p, const char *fmt, ...)
{
    char values[1024], *text;
    size_t len;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(values, sizeof(values), fmt, ap);
    va_end(ap);
    text = resp_of(values, &len);
    peer_write(p, text, len);
    free(text);
}

static inline void peer_line(struct peer *p, const char *line)
{
    peer_write(p, line, strlen(line));
    peer_write(p, "\r\n", 2);
}

/* Byte for byte: the next one goes when the client has taken the last. */
static inline void peer_drip(struct peer *p, const char *text, size_t len)
{
    int64_t until = yk_now_ms() + PATIENCE_MS;

    for (size_t i = 0; i < len; i++) {
        int waiting = 1;

        peer_write(p, text + i, 1);
        while (waiting > 0 && yk_now_ms() < until) {
            if (ioctl(p->fd, SIOCOUTQ, &waiting) < 0)
                return;
            (void)sched_yield();
        }
    }
}

static inline bool peer_expect(struct peer *p, const char *words)
{
    char got[1024] = "";
    size_t len = 0;

    if (!peer_read(p)) {
        if (!p->wrong[0])
            (void)snprintf(p->wrong, sizeof(p->wrong), "closed instead of: %s",
                           words);
        return false;
    }
    for (size_t i = 0; i < p->nwords && len < sizeof(got); i++)
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%s",
                                i ? " " : "", p->word[i].data);
    if (strcmp(got, words) != 0 && !p->wrong[0])
        (void)snprintf(p->wrong, sizeof(p->wrong), "got: %.200s, not: %s", got,
                       words);
    return !p->wrong[0];
}

/* Until the test has come this far. */
static inline void await_step(struct peer *p, int step)
{
    int64_t until = yk_now_ms() + PATIENCE_MS;

    while (atomic_load(&p->step) < step && yk_now_ms() < until)
        (void)sched_yield();
    if (atomic_load(&p->step) < step)
        (void)snprintf(p->wrong, sizeof(p->wrong), "step %d never came", step);
}

static inline void *peer_run(void *arg)
{
    struct peer *p = arg;

    if (peer_expect(p, "HELLO 2")) {
        peer_say(p, HELLO_REPLY, (long long)p->lease_ms);
        p->script(p);
        while (peer_read(p)) /* QUIT, and what the script left */
            peer_say(p, "+OK");
    }
    (void)shutdown(p->fd, SHUT_RDWR);
    return NULL;
}

static inline int peer_start(script_fn *script, int64_t lease_ms)
{
    int pair[2];

    memset(&peer, 0, sizeof(peer));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    peer.fd = pair[0];
    peer.script = script;
    peer.lease_ms = lease_ms;
    ck_assert_int_eq(pthread_create(&peer.thread, NULL, peer_run, &peer), 0);
    return pair[1];
}

static inline void peer_join(void)
{
    ck_assert_int_eq(pthread_join(peer.thread, NULL), 0);
    (void)close(peer.fd);
    peer.fd = -1;
    ck_assert_msg(peer.wrong[0] == '\0', "peer: %s", peer.wrong);
}

/* A client whose peer says HELLO and then follows the script. */
static inline yoke *meet_with_lease(script_fn *script, int64_t lease_ms)
{
    struct yoke_options o = {.fd = peer_start(script, lease_ms)};

    ck_assert_int_eq(yoke_open(NULL, &o, &client), 0);
    atomic_store(&peer.y, client);
    return client;
}

static inline yoke *meet(script_fn *script)
{
    return meet_with_lease(script, 30000);
}

static inline void part(void)
{
    yoke_close(client);
    client = NULL;
    peer_join();
}

static inline yoke *peer_client(struct peer *p)
{
    while (!atomic_load(&p->y))
        (void)sched_yield();
    return atomic_load(&p->y);
}

static inline int open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

static inline void setup(void)
{
    fds_before = open_fds();
}

static inline void teardown(void)
{
    ck_assert_int_eq(open_fds(), fds_before);
}

static inline void silent(struct peer *p)
{
    (void)p;
}

#define ASSERT_TEXT(y, text) ck_assert_str_eq(yoke_error_text(y), text)

static inline struct yoke_bytes bytes(const char *text)
{
    return (struct yoke_bytes){.data = text, .len = strlen(text)};
}

/* As a program with a loop of its own would do it. */
static inline int loop_until_idle(yoke *y)
{
    while (yoke_pending(y) > 0) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};
        int status;

        ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
        status = yoke_process(y);
        if (status < 0)
            return status;
    }
    return 0;
}

static inline int run_suite(const char *name, const TTest *const *laws,
                            size_t n)
{
    Suite *s = suite_create(name);
    TCase *c = tcase_create(name);
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(c, laws[i]);
    suite_add_tcase(s, c);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
