/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cycle - load driver: producers that pipeline, workers that take and finish
 * in batches, all in one thread, over one of two protocols.
 *
 *     cycle yoke|beanstalkd PORT JOBS PRODUCERS WORKERS DEPTH BATCH
 *           [RATE WINDOW]
 *
 * Puts JOBS jobs of 100 bytes into an empty server on 127.0.0.1, at most DEPTH
 * unanswered per producer. Each worker asks for up to BATCH jobs, and reports
 * them all in one write together with its next request. Prints the seconds
 * between the first byte and the answer to the last job's report (the last put,
 * when there are no workers). Any answer that is not the expected one ends it.
 *
 * With RATE so many jobs are put each second, at their times and whether those
 * before were answered or not (DEPTH means nothing then); it prints how long
 * each was under way from the time at which it was due until a worker had it,
 * for each WINDOW of so many seconds (latency.h).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/read.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/mem.h"
#include "latency.h"

enum { PAYLOAD = 100, CONNECTIONS_MAX = 64, READ_MAX = 256 * 1024 };

struct bench;

struct connection {
    int fd;
    bool worker;
    bool writable;  /* the last write was taken whole */
    size_t awaited; /* answers to puts, or to requests for jobs */
    struct buf in, out;
    redisReader *reader;
    struct bench *bench;
};

struct protocol {
    const char *name;
    void (*put)(struct connection *c);
    void (*take)(struct connection *c, size_t batch); /* and counts awaited */
    void (*finish)(struct connection *c, const char *id, size_t len);
    void (*read)(struct connection *c);
};

struct bench {
    const struct protocol *protocol;
    size_t jobs, depth, batch;
    size_t sent, stored, finished;
    bool paced;
    struct latency latency; /* when it is */
    struct connection connections[CONNECTIONS_MAX];
    size_t count;
};

/* Begins with the number of the job. */
static char payload[PAYLOAD];

static _Noreturn void fail(const char *what, const char *text, size_t len)
{
    fprintf(stderr, "cycle: %s: %.*s\n", what, (int)len, text);
    exit(1);
}

static _Noreturn void fail_text(const char *what, const char *text)
{
    fail(what, text, strlen(text));
}

static _Noreturn void fail_errno(const char *what)
{
    fail_text(what, strerror(errno));
}

static void answered(struct connection *c)
{
    if (c->awaited == 0)
        fail_text("unexpected", "an answer too many");
    c->awaited--;
}

static void number_payload(size_t n)
{
    for (int i = 10; i-- > 0; n /= 10)
        payload[i] = (char)('0' + n % 10);
}

/* A worker has this job now. */
static void arrived(struct bench *b, const char *job)
{
    size_t n = 0;

    if (!b->paced)
        return;
    for (int i = 0; i < 10; i++)
        n = n * 10 + (size_t)(job[i] - '0');
    if (n >= b->sent)
        fail_text("unexpected", "a job that was not put");
    latency_note(&b->latency, n,
                 latency_now_ns() - latency_due_ns(&b->latency, n));
}

/* ------------------------------------------------------------------- yoke */

static void yoke_put(struct connection *c)
{
    static const char head[] = "*3\r\n$6\r\nSUBMIT\r\n$5\r\nbench\r\n$100\r\n";

    buf_append(&c->out, head, sizeof(head) - 1);
    buf_append(&c->out, payload, sizeof(payload));
    buf_append(&c->out, "\r\n", 2);
}

static void yoke_take(struct connection *c, size_t batch)
{
    buf_printf(&c->out, "FETCH %zu -1 bench\r\n", batch);
    c->awaited++;
}

static void yoke_finish(struct connection *c, const char *id, size_t len)
{
    buf_append(&c->out, "*2\r\n$4\r\nDONE\r\n$", 15);
    buf_printf(&c->out, "%zu\r\n", len);
    buf_append(&c->out, id, len);
    buf_append(&c->out, "\r\n", 2);
}

/*
 * The reader's object functions see each value with its place: an id or an OK
 * stands alone, a token is the second string of an array in the answer of
 * FETCH, a payload the fourth. No object is made; the address of one of these
 * stands for it.
 */
static char an_array, a_value;

static void *on_string(const redisReadTask *task, char *text, size_t len)
{
    struct connection *c = task->privdata;
    const redisReadTask *entry = task->parent;

    if (task->type == REDIS_REPLY_ERROR)
        fail("the daemon answers", text, len);
    if (!entry) {
        if (c->worker)
            c->bench->finished++;
        else
            c->bench->stored++;
    } else if (entry->parent && !entry->parent->parent && task->idx == 1) {
        c->bench->protocol->finish(c, text, len);
    } else if (entry->parent && !entry->parent->parent && task->idx == 3) {
        arrived(c->bench, text);
    }
    return &a_value;
}

static void *on_array(const redisReadTask *task, int elements)
{
    (void)task;
    (void)elements;
    return &an_array;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    (void)task;
    (void)value;
    return &a_value;
}

static void *on_null(const redisReadTask *task)
{
    (void)task;
    return &a_value;
}

static void on_free(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions yoke_values = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_null,
    .freeObject = on_free,
};

static void yoke_read(struct connection *c)
{
    void *reply;

    if (!c->reader) {
        c->reader = redisReaderCreateWithFunctions(&yoke_values);
        c->reader->privdata = c;
    }
    redisReaderFeed(c->reader, buf_front(&c->in), buf_size(&c->in));
    buf_reset(&c->in);
    for (;;) {
        reply = NULL;
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
            fail_text("no RESP", c->reader->errstr);
        if (!reply)
            return;
        /* A worker waits for jobs, not for the answers to its reports. */
        if (!c->worker || reply == &an_array)
            answered(c);
    }
}

/* ------------------------------------------------------------- beanstalkd */

static void beanstalkd_put(struct connection *c)
{
    buf_append(&c->out, "put 1024 0 60 100\r\n", 19);
    buf_append(&c->out, payload, sizeof(payload));
    buf_append(&c->out, "\r\n", 2);
}

/* Like FETCH: waits for the first, takes what else is there. A reserve that
 * waits would hold back the deletes of what the others of its batch got. */
static void beanstalkd_take(struct connection *c, size_t batch)
{
    buf_append(&c->out, "reserve\r\n", 9);
    for (size_t i = 1; i < batch; i++)
        buf_append(&c->out, "reserve-with-timeout 0\r\n", 24);
    c->awaited += batch;
}

static void beanstalkd_finish(struct connection *c, const char *id, size_t len)
{
    buf_append(&c->out, "delete ", 7);
    buf_append(&c->out, id, len);
    buf_append(&c->out, "\r\n", 2);
}

/* The bytes of the answer at the front, 0 when it is not all there yet. */
static size_t beanstalkd_answer(struct connection *c)
{
    static const char reserved[] = "RESERVED ";
    const char *front = buf_front(&c->in), *id = front + sizeof(reserved) - 1;
    const char *end = memchr(front, '\n', buf_size(&c->in));
    size_t len = end ? (size_t)(end - front) + 1 : 0;

    if (len == 0)
        return 0;
    if (len > sizeof(reserved) &&
        memcmp(front, reserved, sizeof(reserved) - 1) == 0) {
        if (buf_size(&c->in) < len + PAYLOAD + 2)
            return 0;
        c->bench->protocol->finish(c, id, strcspn(id, " "));
        arrived(c->bench, front + len);
        answered(c);
        return len + PAYLOAD + 2;
    }
    if (strncmp(front, "DELETED\r\n", len) == 0) {
        c->bench->finished++;
        return len;
    }
    if (len > 9 && memcmp(front, "INSERTED ", 9) == 0)
        c->bench->stored++;
    else if (strncmp(front, "TIMED_OUT\r\n", len) != 0)
        fail("beanstalkd answers", front, len);
    answered(c);
    return len;
}

static void beanstalkd_read(struct connection *c)
{
    size_t len;

    while (buf_size(&c->in) > 0 && (len = beanstalkd_answer(c)) > 0)
        buf_consume(&c->in, len);
}

static const struct protocol protocols[] = {
    {"yoke", yoke_put, yoke_take, yoke_finish, yoke_read},
    {"beanstalkd", beanstalkd_put, beanstalkd_take, beanstalkd_finish,
     beanstalkd_read},
};

/* ------------------------------------------------------------------- loop */

static void connection_open(struct bench *b, uint16_t port, bool worker)
{
    struct connection *c = &b->connections[b->count++];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;

    *c = (struct connection){.worker = worker, .writable = true, .bench = b};
    buf_init(&c->in);
    buf_init(&c->out);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        connect(c->fd, (struct sockaddr *)&address, sizeof(address)) ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
        fail_errno("connect");
}

static void put(struct connection *c)
{
    number_payload(c->bench->sent++);
    c->bench->protocol->put(c);
    c->awaited++;
}

/* A worker asks again when it has all that it asked for; its reports go first
 * in the same write. A producer tops its pipeline up when half is left, so that
 * writes stay large. */
static void request(struct connection *c)
{
    struct bench *b = c->bench;

    if (c->worker) {
        if (c->awaited == 0)
            b->protocol->take(c, b->batch);
        return;
    }
    if (b->paced || c->awaited > b->depth / 2)
        return;
    while (c->awaited < b->depth && b->sent < b->jobs)
        put(c);
}

static void flush(struct connection *c)
{
    ssize_t n;

    while (buf_size(&c->out) > 0) {
        n = send(c->fd, buf_front(&c->out), buf_size(&c->out),
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            fail_errno("send");
        buf_consume(&c->out, (size_t)n);
    }
    c->writable = buf_size(&c->out) == 0;
}

static void receive(struct connection *c)
{
    ssize_t n =
        recv(c->fd, buf_reserve(&c->in, READ_MAX), READ_MAX, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0)
        fail_errno("recv");
    if (n == 0)
        fail_text("recv", "the server closed the connection");
    c->in.len += (size_t)n;
    c->bench->protocol->read(c);
}

static void watch(int loop, struct connection *c, int how)
{
    struct epoll_event event = {.data.ptr = c};

    event.events = EPOLLIN;
    if (!c->writable)
        event.events |= EPOLLOUT;
    if (epoll_ctl(loop, how, c->fd, &event))
        fail_errno("epoll_ctl");
}

static void write_out(int loop, struct connection *c)
{
    bool writable = c->writable;

    flush(c);
    if (c->writable != writable)
        watch(loop, c, EPOLL_CTL_MOD);
}

/* Puts what is due, on one producer after the other. */
static void put_due(struct bench *b, int loop, size_t producers)
{
    int64_t now_ns = latency_now_ns();
    size_t first = b->sent;

    while (b->sent < b->jobs && latency_due_ns(&b->latency, b->sent) <= now_ns)
        put(&b->connections[b->sent % producers]);
    for (size_t i = first; i < b->sent && i < first + producers; i++)
        write_out(loop, &b->connections[i % producers]);
}

/* Until the next job is due, when there is one. */
static int wait_events(const struct bench *b, int loop,
                       struct epoll_event *events)
{
    struct timespec t;
    int64_t left_ns;

    if (!b->paced || b->sent == b->jobs)
        return epoll_wait(loop, events, CONNECTIONS_MAX, -1);
    left_ns = latency_due_ns(&b->latency, b->sent) - latency_now_ns();
    if (left_ns < 0)
        left_ns = 0;
    t = (struct timespec){.tv_sec = left_ns / 1000000000,
                          .tv_nsec = left_ns % 1000000000};
    return epoll_pwait2(loop, events, CONNECTIONS_MAX, &t, NULL);
}

static bool over(const struct bench *b, bool workers)
{
    return (workers ? b->finished : b->stored) >= b->jobs;
}

static void run(struct bench *b, size_t producers)
{
    bool workers = b->count > producers;
    struct epoll_event events[CONNECTIONS_MAX];
    int loop = epoll_create1(EPOLL_CLOEXEC), n;

    if (loop < 0)
        fail_errno("epoll_create1");
    for (size_t i = 0; i < b->count; i++) {
        request(&b->connections[i]);
        flush(&b->connections[i]);
        watch(loop, &b->connections[i], EPOLL_CTL_ADD);
    }
    while (!over(b, workers)) {
        n = wait_events(b, loop, events);
        if (n < 0 && errno != EINTR)
            fail_errno("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;

            receive(c);
            request(c);
            write_out(loop, c);
        }
        if (b->paced)
            put_due(b, loop, producers);
    }
    (void)close(loop);
}

static size_t number(const char *text, size_t max)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || n > max)
        fail_text("not a number in range", text);
    return (size_t)n;
}

int main(int argc, char **argv)
{
    static struct bench b;
    size_t producers, workers;
    uint16_t port;
    int64_t began_ns;

    if (argc != 8 && argc != 10)
        fail_text("usage", "cycle yoke|beanstalkd PORT JOBS PRODUCERS WORKERS "
                           "DEPTH BATCH [RATE WINDOW]");
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (strcmp(argv[1], protocols[i].name) == 0)
            b.protocol = &protocols[i];
    if (!b.protocol)
        fail_text("no such protocol", argv[1]);
    port = (uint16_t)number(argv[2], UINT16_MAX);
    b.jobs = number(argv[3], SIZE_MAX);
    producers = number(argv[4], CONNECTIONS_MAX / 2);
    workers = number(argv[5], CONNECTIONS_MAX / 2);
    b.depth = number(argv[6], 1 << 20);
    b.batch = number(argv[7], 1 << 20);
    memset(payload, 'x', sizeof(payload));

    for (size_t i = 0; i < producers; i++)
        connection_open(&b, port, false);
    for (size_t i = 0; i < workers; i++)
        connection_open(&b, port, true);
    b.paced = argc == 10;
    if (b.paced)
        latency_start(&b.latency, (int64_t)number(argv[8], 10000000), b.jobs,
                      (int64_t)number(argv[9], 100000));
    began_ns = latency_now_ns();
    run(&b, producers);
    if (b.paced)
        latency_print(&b.latency);
    else
        printf("%.6f\n", (double)(latency_now_ns() - began_ns) / 1e9);
    return 0;
}
