/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A spare descriptor is kept for the moment when there are no more: it is
 * given up, the connection that waits is taken and closed, and it is taken
 * back. Without that the loop would spin on a connection it cannot take.
 */
#include "server/listener.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

#define BACKLOG 1024
/* Connections taken in one turn. */
#define ACCEPT_MAX 64
/* When the system cannot give us a connection, look again after (s). */
#define REST 0.1

struct listener {
    int fd, reserve;
    bool local;
    char *path; /* of a socket file of ours, else NULL */
    char name[LISTENER_TEXT_MAX];
    struct ev_loop *loop; /* NULL: not started */
    ev_io io;
    ev_timer rest;
    listener_fn *fn;
    void *arg;
};

static int say(char text[LISTENER_TEXT_MAX], int rc, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* Writes the text and returns rc. */
static int say(char text[LISTENER_TEXT_MAX], int rc, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, LISTENER_TEXT_MAX, fmt, ap);
    va_end(ap);
    return rc;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

    if (address->ss_family == AF_UNIX)
        return true;
    if (address->ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return address->ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* Name and locality of what the descriptor is bound to. */
static int describe(struct listener *l)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    char host[64], port[16];

    if (getsockname(l->fd, (struct sockaddr *)&address, &len) != 0)
        return -errno;
    l->local = is_loopback(&address);
    if (address.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)&address;

        (void)snprintf(l->name, sizeof(l->name), "%.*s",
                       (int)sizeof(un->sun_path), un->sun_path);
        return 0;
    }
    if (getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EAFNOSUPPORT;
    (void)snprintf(l->name, sizeof(l->name),
                   address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
                   port);
    return 0;
}

/* Wraps a bound, listening descriptor, which it takes. */
static int wrap(int fd, const char *path, struct listener **out,
                char text[LISTENER_TEXT_MAX])
{
    struct listener *l = mem_zalloc(sizeof(*l));
    int rc;

    l->fd = fd;
    l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    l->path = path ? mem_dup_text(path, strlen(path)) : NULL;
    rc = describe(l);
    if (rc) {
        listener_free(l);
        return say(text, rc, "descriptor %d is no socket that listens: %s", fd,
                   strerror(-rc));
    }
    *out = l;
    return 0;
}

/* Splits "host:port"; false: there is no port. */
static bool split(const char *address, char host[256], char port[16])
{
    const char *colon = strrchr(address, ':');
    size_t len;

    if (!colon || colon[1] == '\0' || strlen(colon + 1) >= 16)
        return false;
    len = (size_t)(colon - address);
    if (len > 1 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len)) {
        return false; /* half of a v6 address is not meant */
    }
    if (len >= 256)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

static int bind_tcp(const struct addrinfo *info)
{
    int on = 1, off = 0, rc;
    int fd =
        socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* ":port" is every address, of both families. */
    if (info->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    rc = -errno;
    (void)close(fd);
    return rc;
}

int listener_open_tcp(const char *address, struct listener **out,
                      char text[LISTENER_TEXT_MAX])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE},
                    *info = NULL;
    char host[256], port[16];
    int fd = -1, rc;

    if (!split(address, host, port))
        return say(text, -EINVAL, "%s: expected host:port or [v6]:port",
                   address);
    if (host[0] == '\0')
        hints.ai_family = AF_INET6;
    rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &info);
    if (rc == 0)
        fd = bind_tcp(info);
    if (host[0] == '\0' && (rc != 0 || fd == -EAFNOSUPPORT)) {
        /* A machine without IPv6. */
        if (rc == 0)
            freeaddrinfo(info);
        hints.ai_family = AF_INET;
        rc = getaddrinfo(NULL, port, &hints, &info);
        if (rc == 0)
            fd = bind_tcp(info);
    }
    if (rc != 0)
        return say(text, -EINVAL, "%s: %s", address, gai_strerror(rc));
    freeaddrinfo(info);
    if (fd < 0)
        return say(text, fd, "%s: %s", address, strerror(-fd));
    return wrap(fd, NULL, out, text);
}

/* Is somebody listening at that socket file? 0: no, it is stale or not there;
 * -EADDRINUSE; -errno: it is something else. */
static int probe(const struct sockaddr_un *un)
{
    struct stat st;
    int fd, rc;

    if (lstat(un->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    rc =
        connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0 : -errno;
    (void)close(fd);
    if (rc == -ECONNREFUSED)
        return unlink(un->sun_path) == 0 ? 0 : -errno;
    return rc == 0 || rc == -EAGAIN ? -EADDRINUSE : rc;
}

static int bind_unix(const struct sockaddr_un *un, mode_t mode, gid_t group)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before;
    int rc;

    if (fd < 0)
        return -errno;
    before = umask(0177);
    rc = bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0 : -errno;
    (void)umask(before);
    if (rc == 0) {
        if ((group != (gid_t)-1 && chown(un->sun_path, (uid_t)-1, group)) ||
            chmod(un->sun_path, mode) || listen(fd, BACKLOG))
            rc = -errno;
        if (rc)
            (void)unlink(un->sun_path);
    }
    if (rc) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

int listener_open_unix(const char *path, mode_t mode, gid_t group,
                       struct listener **out, char text[LISTENER_TEXT_MAX])
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int rc;

    if (len == 0 || len >= sizeof(un.sun_path))
        return say(text, -ENAMETOOLONG,
                   "%s: the path of a socket has 1 to %zu bytes", path,
                   sizeof(un.sun_path) - 1);
    memcpy(un.sun_path, path, len + 1);
    rc = probe(&un);
    if (rc == -EADDRINUSE)
        return say(text, rc, "%s: another daemon is listening there", path);
    if (rc)
        return say(text, rc, "%s: %s", path, strerror(-rc));
    rc = bind_unix(&un, mode, group);
    if (rc < 0)
        return say(text, rc, "%s: %s", path, strerror(-rc));
    return wrap(rc, path, out, text);
}

int listener_adopt(int fd, struct listener **out, char text[LISTENER_TEXT_MAX])
{
    int listening = 0, flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof(listening);

    if (flags < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 ||
        !listening)
        return say(text, -ENOTSOCK, "descriptor %d is no socket that listens",
                   fd);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return wrap(fd, NULL, out, text);
}

/* A worker whose machine has vanished is noticed within two minutes. */
static void keep_alive(int fd)
{
    int on = 1, idle = 60, interval = 20, count = 3;

    /* Fails on Unix sockets, which need none of this. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
                     sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* Takes one connection only to close it. */
static void turn_away(struct listener *l)
{
    int fd;

    if (l->reserve >= 0) {
        (void)close(l->reserve);
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            (void)close(fd);
        l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    ev_io_stop(l->loop, &l->io);
    ev_timer_set(&l->rest, REST, 0.);
    ev_timer_start(l->loop, &l->rest);
}

static void on_connection(struct ev_loop *loop, ev_io *w, int events)
{
    struct listener *l = container_of(w, struct listener, io);

    (void)loop;
    (void)events;
    for (int i = 0; i < ACCEPT_MAX && l->loop; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            keep_alive(fd);
            l->fn(l->arg, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM) {
            turn_away(l);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static void on_rest(struct ev_loop *loop, ev_timer *w, int events)
{
    struct listener *l = container_of(w, struct listener, rest);

    (void)events;
    if (l->reserve < 0)
        l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ev_io_start(loop, &l->io);
}

void listener_start(struct listener *l, struct ev_loop *loop, listener_fn *fn,
                    void *arg)
{
    ASSERT(!l->loop);
    l->loop = loop;
    l->fn = fn;
    l->arg = arg;
    ev_io_init(&l->io, on_connection, l->fd, EV_READ);
    ev_timer_init(&l->rest, on_rest, REST, 0.);
    ev_io_start(loop, &l->io);
}

void listener_stop(struct listener *l)
{
    if (!l->loop)
        return;
    ev_io_stop(l->loop, &l->io);
    ev_timer_stop(l->loop, &l->rest);
    l->loop = NULL;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    listener_stop(l);
    (void)close(l->fd);
    if (l->reserve >= 0)
        (void)close(l->reserve);
    if (l->path)
        (void)unlink(l->path); /* it may be gone already */
    mem_free(l->path);
    mem_free(l);
}

const char *listener_name(const struct listener *l)
{
    return l->name;
}

bool listener_is_local(const struct listener *l)
{
    return l->local;
}
