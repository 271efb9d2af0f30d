/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host - a peer that listens, takes one connection after the other, and follows
 * a script for each; and a client that visits it, over HOST_LAYER.
 */
#ifndef YOKE_TEST_HOST_H
#define YOKE_TEST_HOST_H

#include "odd_layer.h"
#include "peer.h"

#include <sys/un.h>

#ifndef HOST_LAYER
#define HOST_LAYER (&yk_layer_none)
#endif

#define NCONNECTIONS 8

/* What happens on the connections, one script for each; the last one stays
 * until the client closes. */
static struct host {
    int listener;
    pthread_t thread;
    script_fn *scripts[NCONNECTIONS + 1];
    char address[108];
    const char *hello; /* what is expected; NULL: one without a password */
    atomic_int connections;
    struct gate gate; /* of this connection, over a layer */
} host;

/* Breaks without a word; the client can know it when this returns. */
static inline void cut(struct peer *p)
{
    (void)shutdown(p->fd, SHUT_RDWR);
    while (HOST_LAYER != &yk_layer_none && !atomic_load(&host.gate.over))
        (void)sched_yield();
}

static inline bool greeted(struct peer *p)
{
    if (!peer_expect(p, host.hello ? host.hello : "HELLO 2"))
        return false;
    peer_say(p, HELLO_REPLY, (long long)p->lease_ms);
    return true;
}

static inline bool asked_to_resume(struct peer *p)
{
    return greeted(p) && peer_expect(p, "SESSION RESUME s0000000000001");
}

static inline bool back(struct peer *p)
{
    if (!asked_to_resume(p))
        return false;
    peer_say(p, "[ ]");
    return true;
}

/* In the place of a script: from the one before on, nobody listens. */
static inline void deaf(struct peer *p)
{
    (void)p;
}

static inline void *host_run(void *arg)
{
    struct peer *p = arg;

    for (int i = 0; host.scripts[i]; i++) {
        p->fd = accept(host.listener, NULL, NULL);
        if (p->fd < 0)
            break;
        if (HOST_LAYER != &yk_layer_none)
            p->fd = gate_open(&host.gate, p->fd, false);
        atomic_store(&host.connections, i + 1);
        p->len = p->at = 0;
        if (host.scripts[i + 1] == deaf)
            (void)unlink(host.address); /* it is there */
        if (i > 0 || greeted(p))
            host.scripts[i](p);
        if (!host.scripts[i + 1])
            while (peer_read(p)) /* QUIT, and what the script left */
                peer_say(p, "+OK");
        if (host.scripts[i + 1] == deaf) {
            (void)close(host.listener); /* before the client can notice */
            host.listener = -1;
            host.scripts[i + 1] = NULL;
        }
        (void)shutdown(p->fd, SHUT_RDWR);
        (void)close(p->fd);
        if (HOST_LAYER != &yk_layer_none)
            gate_close(&host.gate);
    }
    if (host.listener >= 0)
        (void)close(host.listener);
    return NULL;
}

static inline void host_start(int64_t lease_ms, script_fn *const *scripts,
                              size_t n)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    memset(&peer, 0, sizeof(peer));
    memset(&host, 0, sizeof(host));
    peer.lease_ms = lease_ms;
    ck_assert_uint_le(n, NCONNECTIONS);
    memcpy(host.scripts, scripts, n * sizeof(*scripts));
    (void)snprintf(host.address, sizeof(host.address), "/tmp/yoke-test.%d.sock",
                   (int)getpid());
    memcpy(un.sun_path, host.address, sizeof(host.address));
    (void)unlink(host.address); /* of a test that failed */
    host.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(host.listener, (struct sockaddr *)&un, sizeof(un)),
                     0);
    ck_assert_int_eq(listen(host.listener, 8), 0);
    ck_assert_int_eq(pthread_create(&host.thread, NULL, host_run, &peer), 0);
}

static inline int host_open(const struct yoke_options *o, yoke **out)
{
    int status = yk_open_over(HOST_LAYER, NULL, host.address, o, out);

    return status < 0 ? status : yk_open_wait(*out);
}

static inline yoke *visit_for(int64_t lease_ms, int64_t reconnect_ms,
                              script_fn *const *scripts, size_t n)
{
    const struct yoke_options o = {.reconnect_ms = reconnect_ms};

    host_start(lease_ms, scripts, n);
    ck_assert_int_eq(host_open(&o, &client), 0);
    atomic_store(&peer.y, client);
    return client;
}

#define VISIT(...)                                         \
    visit_for(30000, 0, (script_fn *const[]){__VA_ARGS__}, \
              ARRAY_LEN(((script_fn *const[]){__VA_ARGS__})))

static inline void leave(void)
{
    yoke_close(client);
    client = NULL;
    ck_assert_int_eq(pthread_join(host.thread, NULL), 0);
    (void)unlink(host.address); /* it is there */
    ck_assert_msg(peer.wrong[0] == '\0', "peer: %s", peer.wrong);
}

struct calls {
    char text[256];
};

static inline void note(yoke *y, int status, const struct yoke_value *reply,
                        void *arg)
{
    struct calls *c = arg;
    size_t len = strlen(c->text);

    (void)y;
    (void)snprintf(c->text + len, sizeof(c->text) - len, "%s%s", len ? " " : "",
                   status < 0 ? yoke_status_name(status) : reply->s.data);
}

/* As a program with a loop of its own, which is told when to look again. */
static inline int drive(yoke *y)
{
    while (yoke_pending(y) > 0) {
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

#endif
