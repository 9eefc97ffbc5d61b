/* The load of requests that all differ: closed loop, one thread, edge-triggered epoll.

       traffic PORT CONNECTIONS SECONDS START FILE

   FILE holds the kinds of requests and the order in which they are sent (`bench/generator.py` writes it). Each request
   is its kind's template with fresh digits in its slots. The digits follow from START and the number of the request by
   a function that gives distinct numbers distinct digits. Each response is compared with what its kind expects: the
   status, and the whole body if the kind has one. Each connection sends its next request when it has its response. It
   leaves and connects again if its request or the response says `Connection: close`.

   SIGINT ends it early. The result is one line of JSON behind MREACTOR-BENCH, with the fields that wrk's script writes.
   The first wrong response is described on the error stream. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, RESPONSE_BYTES = 64 * 1024, LATENCIES = 4 << 20, LATE_US = 2000000, NAMES = 16 };
enum form { HEX, NUMBER };
static const uint64_t NUMBERS = 9000000000, FIRST_NUMBER = 1000000000;

/* The digits of a slot with a period come again after so many requests, and in each run. */
struct slot { uint32_t offset, form, name, period; };
struct template { uint32_t length, slots; struct slot *slot; char *bytes; };
struct kind { uint32_t status, closes; struct template request, response; };
struct connection { int socket; struct kind *kind; uint64_t number, sent_us; size_t length; char *response; };

static struct kind *kinds;
static uint32_t *order, order_length;
static uint64_t start, issued, requests, bytes, now;
static uint64_t read_errors, write_errors, wrong, timeouts;
static uint32_t latencies[LATENCIES];
static int port, poller;
static volatile sig_atomic_t interrupted;

static void fail(const char *what, const char *about) {
    fprintf(stderr, "%s %s: %s\n", what, about, strerror(errno));
    exit(1);
}

static void interrupt(int number) {
    interrupted = number;
}

static uint64_t clock_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000ull + time.tv_nsec / 1000;
}

/* --- The templates. --- */

static void *read_exactly(FILE *file, size_t size) {
    void *found = malloc(size + 1);
    if (fread(found, 1, size, file) != size) fail("unable to read", "the kinds");
    return found;
}

static uint32_t read_number(FILE *file) {
    uint32_t *found = read_exactly(file, sizeof *found), number = *found;
    free(found);
    return number;
}

static struct template read_template(FILE *file) {
    struct template made = {.length = read_number(file)};
    made.slots = read_number(file);
    made.slot = read_exactly(file, made.slots * sizeof *made.slot);
    made.bytes = read_exactly(file, made.length);
    return made;
}

static void read_kinds(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("unable to read", path);
    uint32_t count = read_number(file);
    kinds = calloc(count, sizeof *kinds);
    for (uint32_t i = 0; i < count; i++) {
        kinds[i].status = read_number(file);
        kinds[i].closes = read_number(file);
        kinds[i].request = read_template(file);
        kinds[i].response = read_template(file);
    }
    order_length = read_number(file);
    order = read_exactly(file, order_length * sizeof *order);
    fclose(file);
}

/* Distinct numbers give distinct results (the finalizer of splitmix64, which is a bijection). */
static uint64_t mix(uint64_t number) {
    number += 0x9e3779b97f4a7c15;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
    number = (number ^ number >> 27) * 0x94d049bb133111eb;
    return number ^ number >> 31;
}

static void write_hex(char *to, uint64_t value) {
    for (int i = 15; i >= 0; i--, value >>= 4) to[i] = "0123456789abcdef"[value & 15];
}

static void write_decimal(char *to, uint64_t value) {
    for (int i = 9; i >= 0; i--, value /= 10) to[i] = '0' + value % 10;
}

/* Put the digits of request `number` into the template. */
static void fill(struct template *template, uint64_t number) {
    for (uint32_t i = 0; i < template->slots; i++) {
        struct slot *slot = &template->slot[i];
        char *to = template->bytes + slot->offset;
        uint64_t turn = slot->period ? number % slot->period : start + number;
        if (slot->form == NUMBER)
            write_decimal(to, FIRST_NUMBER + (turn + ((uint64_t)slot->name << 28)) % NUMBERS);
        else
            write_hex(to, mix(turn * NAMES + slot->name));
    }
}

/* --- The connections. --- */

static void ask(struct connection *client) {
    client->number = issued++;
    client->kind = &kinds[order[(start + client->number) % order_length]];
    client->length = 0;
    client->sent_us = now;
    struct template *request = &client->kind->request;
    fill(request, client->number);
    if (send(client->socket, request->bytes, request->length, MSG_NOSIGNAL) != (ssize_t)request->length) write_errors++;
}

/* The kernel completes the handshake by itself: connecting to this machine does not wait for the server. */
static void come(struct connection *client) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event edges = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = client};
    struct timeval patience = {.tv_sec = 2};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->socket = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(client->socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(client->socket, (struct sockaddr *)&address, sizeof address)) fail("unable to connect to", "127.0.0.1");
    epoll_ctl(poller, EPOLL_CTL_ADD, client->socket, &edges);
    ask(client);
}

static void come_anew(struct connection *client) {
    close(client->socket);
    come(client);
}

/* --- The responses. --- */

/* The value of a field in a head that ends at `end`, or nothing. */
static const char *field(const char *head, const char *end, const char *name) {
    size_t length = strlen(name);
    for (const char *line = memchr(head, '\n', end - head); line && line < end; line = memchr(line, '\n', end - line)) {
        line++;
        if (end - line > (ssize_t)length && line[length] == ':' && !strncasecmp(line, name, length)) {
            line += length + 1;
            return line + strspn(line, " ");
        }
    }
    return NULL;
}

static void complain(struct connection *client, int status, const char *body, size_t size) {
    if (wrong++) return;
    struct template *request = &client->kind->request;
    int line = (char *)memchr(request->bytes, '\r', request->length) - request->bytes;
    int shown = size < 200 ? size : 200;
    fprintf(stderr, "wrong response to %.*s: status %d, expected %u, and %zu bytes of body: %.*s\n", line,
            request->bytes, status, client->kind->status, size, shown, body);
}

static void check(struct connection *client, int status, const char *body, size_t size) {
    struct template *expected = &client->kind->response;
    int right = status == (int)client->kind->status;
    if (right && expected->length) {
        fill(expected, client->number);
        right = size == expected->length && !memcmp(body, expected->bytes, size);
    }
    if (!right) complain(client, status, body, size);
}

static void count(struct connection *client) {
    uint64_t latency = now - client->sent_us;
    requests++;
    latencies[latency < LATENCIES ? latency : LATENCIES - 1]++;
    if (latency > LATE_US) timeouts++;
}

/* Look at what has come: 0 while the response is incomplete. Another one follows when it is complete. */
static int respond(struct connection *client) {
    char *end = memmem(client->response, client->length, "\r\n\r\n", 4);
    if (!end) return 0;
    end += 4;
    int status = client->length > 12 ? atoi(client->response + 9) : 0;
    const char *length = field(client->response, end, "content-length");
    size_t size = length ? strtoul(length, NULL, 10) : 0, came = client->length - (end - client->response);
    if (came < size) return 0;
    const char *persistence = field(client->response, end, "connection");
    int closes = client->kind->closes || (persistence && !strncasecmp(persistence, "close", 5));
    count(client);
    check(client, came == size ? status : 0, end, size);
    if (closes)
        come_anew(client);
    else
        ask(client);
    return 1;
}

static void receive(struct connection *client) {
    for (;;) {
        size_t room = RESPONSE_BYTES - client->length;
        ssize_t length = room ? recv(client->socket, client->response + client->length, room, MSG_DONTWAIT) : 0;
        if (length < 0 && errno == EAGAIN) return;
        if (length <= 0) {
            read_errors++;
            come_anew(client);
            return;
        }
        bytes += length;
        client->length += length;
        client->response[client->length] = 0;
        if (respond(client)) return;
    }
}

/* --- The result. --- */

static unsigned percentile(double share) {
    uint64_t below = 0, rank = share * requests;
    for (unsigned i = 0; i < LATENCIES; i++)
        if ((below += latencies[i]) > rank || (below == requests && latencies[i])) return i ? i : 1;
    return 0;
}

static void report(uint64_t duration) {
    printf("MREACTOR-BENCH {\"duration_us\":%lu,\"requests\":%lu,\"bytes\":%lu,"
           "\"connect\":0,\"read\":%lu,\"write\":%lu,\"status\":%lu,\"timeout\":%lu,"
           "\"p50\":%u,\"p90\":%u,\"p99\":%u,\"p99.9\":%u,\"p100\":%u}\n",
           duration, requests, bytes, read_errors, write_errors, wrong, timeouts, percentile(0.5),
           percentile(0.9), percentile(0.99), percentile(0.999), percentile(1));
}

int main(int count, char **arguments) {
    if (count != 6) return 2;
    port = atoi(arguments[1]);
    int connections = atoi(arguments[2]);
    start = strtoull(arguments[4], NULL, 10);
    signal(SIGINT, interrupt);
    read_kinds(arguments[5]);
    poller = epoll_create1(0);
    struct connection *clients = calloc(connections, sizeof *clients);
    uint64_t begun = now = clock_us(), end = begun + (uint64_t)(atof(arguments[3]) * 1e6);
    for (int i = 0; i < connections; i++) {
        clients[i].response = malloc(RESPONSE_BYTES + 1);
        come(&clients[i]);
    }
    struct epoll_event events[EVENTS];
    while (now < end && !interrupted) {
        int ready = epoll_wait(poller, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            now = clock_us();
            receive(events[i].data.ptr);
        }
        now = clock_us();
    }
    for (int i = 0; i < connections; i++) timeouts += now - clients[i].sent_us > LATE_US;
    report(now - begun);
}
