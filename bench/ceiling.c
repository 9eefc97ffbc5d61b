/* The ceiling: recv, send of a canned reply or of the body received, and edge-triggered epoll, in C.

       ceiling PORT [LOOKS]

   Nothing that answers over epoll does less for a request: where its core idles, the load generator is the limit, and
   rates tell servers apart no more. Another server may still be a few per cent above it there, if its answers come in
   batches that suit the load generator better, or if it does not sleep, so that the load generator need not wake it: with
   LOOKS it looks that often for events before it sleeps. It is no HTTP server: it looks at the first letters of what came,
   counts blank lines, and has everybody wait for a body that did not come with its head, as wrk's do. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 512, RECEIVE_BYTES = 16 * 1024, REPLIES = 64 };

#define HEAD "HTTP/1.1 200 OK\r\nServer: ceiling\r\nContent-Type: text/plain\r\nContent-Length: "
static const char WELCOME[] = HEAD "19\r\n\r\nWelcome to mreactor";
static const char HELLO[] = HEAD "13\r\n\r\nHello, world!";

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, BACKLOG)) {
        perror("ceiling");
        exit(1);
    }
    return listener;
}

static void welcome(int poller, int listener) {
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
    if (client < 0) return;
    struct epoll_event edges = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = client};
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(poller, EPOLL_CTL_ADD, client, &edges);
}

/* Send back what follows the head. */
static int echo(int client, char *data, size_t length) {
    static char reply[sizeof HEAD + 32 + RECEIVE_BYTES];
    char *blank = memmem(data, length, "\r\n\r\n", 4);
    char *field = memmem(data, length, "Content-Length: ", 16);
    if (!blank || !field) return 0;
    char *body = blank + 4;
    size_t size = strtoul(field + 16, NULL, 10), came = data + length - body;
    while (came < size && body + size <= data + RECEIVE_BYTES) {
        struct pollfd readable = {.fd = client, .events = POLLIN};
        poll(&readable, 1, 1000);
        ssize_t more = recv(client, body + came, size - came, 0);
        if (more <= 0) return 0;
        came += more;
    }
    if (came != size) return 0;
    size_t head = sprintf(reply, HEAD "%zu\r\n\r\n", size);
    memcpy(reply + head, body, size);
    return send(client, reply, head + size, MSG_NOSIGNAL) == (ssize_t)(head + size);
}

/* Send a canned reply for each blank line. */
static int repeat(int client, const char *data, size_t length, const char *canned, size_t size) {
    static char replies[REPLIES * sizeof WELCOME];
    const char *end = data + length;
    size_t total = 0;
    while ((data = memmem(data, end - data, "\r\n\r\n", 4)) && total + size <= sizeof replies) {
        memcpy(replies + total, canned, size);
        total += size;
        data += 4;
    }
    return total && send(client, replies, total, MSG_NOSIGNAL) == (ssize_t)total;
}

/* Read once, answer all of it; 0 where the client is done. */
static int answer(int client) {
    static char data[RECEIVE_BYTES];
    ssize_t length = recv(client, data, sizeof data, 0);
    if (length <= 0) return 0;
    if (data[0] == 'P') return echo(client, data, length);
    if (length > 7 && !memcmp(data, "GET /he", 7)) return repeat(client, data, length, HELLO, sizeof HELLO - 1);
    return repeat(client, data, length, WELCOME, sizeof WELCOME - 1);
}

int main(int count, char **arguments) {
    int listener = listen_on(count > 1 ? atoi(arguments[1]) : 0), poller = epoll_create1(0);
    int looks = count > 2 ? atoi(arguments[2]) : 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = 0;
        for (int look = 0; look < looks && !ready; look++) ready = epoll_wait(poller, events, EVENTS, 0);
        if (!ready) ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int number = events[i].data.fd;
            if (number == listener)
                welcome(poller, listener);
            else if (events[i].events & ~EPOLLIN || !answer(number))
                close(number);
        }
    }
}
