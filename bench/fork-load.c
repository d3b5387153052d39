/* A sender of MESSAGEs and the servers of one domain, as bare UDP peers. userU lives on server U modulo N; the others answer 404.
 *   fork-load -s PORT -c PORT -b PORT -N SERVERS -U USERS -w WINDOW
 * Servers have the ports -b, -b+1, …. Each line on stdin is a round: one MESSAGE to each user, WINDOW unanswered at a time,
 * answered by one line of JSON: sent, ok, other, lost, asked (MESSAGEs the servers got), seconds, p50, p99. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SIZE = 4096, MOST = 64 };

typedef struct {
  int fd, queued;
  char out[BATCH][SIZE];
  struct sockaddr_in to[BATCH];
  size_t length[BATCH];
} Peer;

static Peer caller, servers[MOST];
static char in[BATCH][SIZE];
static int server_count = 2, window = 64;
static uint32_t users = 1000, run, base, answered, open_now, ok, other;
static long asked;
static double *sent_at, *took;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void open_peer(Peer *peer, int port) {
  int space = 16 << 20;
  peer->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUFFORCE, &space, sizeof space);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
  own.sin_addr.s_addr = inet_addr("127.0.0.1");
  if (bind(peer->fd, (void *)&own, sizeof own)) {
    perror("bind");
    exit(1);
  }
}

static void flush(Peer *peer) {
  struct mmsghdr batch[BATCH];
  struct iovec parts[BATCH];
  for (int i = 0; i < peer->queued; i++) {
    parts[i] = (struct iovec){peer->out[i], peer->length[i]};
    batch[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &peer->to[i], .msg_namelen = sizeof peer->to[i], .msg_iov = &parts[i], .msg_iovlen = 1}};
  }
  for (int done = 0; done < peer->queued;) {
    int n = sendmmsg(peer->fd, batch + done, peer->queued - done, 0);
    if (n > 0) done += n;
    else if (errno != EAGAIN) break;
  }
  peer->queued = 0;
}

static char *room(Peer *peer) {
  if (peer->queued == BATCH) flush(peer);
  return peer->out[peer->queued];
}

static void queue(Peer *peer, struct sockaddr_in to, size_t length) {
  peer->to[peer->queued] = to;
  peer->length[peer->queued++] = length;
}

static void answer(Peer *peer, const char *request, struct sockaddr_in to, const char *status) {
  char *out = room(peer), *end = out + sprintf(out, "SIP/2.0 %s\r\n", status);
  for (const char *at = strstr(request, "\r\n"); at && at[2] != '\r'; at = strstr(at + 2, "\r\n")) {
    const char *line = at + 2;
    size_t n = strcspn(line, "\r");
    int is_to = !strncasecmp(line, "To:", 3);
    if (!is_to && strncasecmp(line, "Via:", 4) && strncasecmp(line, "From:", 5) && strncasecmp(line, "Call-ID:", 8) && strncasecmp(line, "CSeq:", 5)) continue;
    memcpy(end, line, n);
    end += n;
    if (is_to && !memmem(line, n, ";tag=", 5)) end += sprintf(end, ";tag=s");
    end += sprintf(end, "\r\n");
  }
  end += sprintf(end, "Content-Length: 0\r\n\r\n");
  queue(peer, to, end - out);
}

static void on_request(int server, const char *request, struct sockaddr_in from) {
  unsigned user;
  if (!strncmp(request, "OPTIONS ", 8)) return answer(&servers[server], request, from, "200 OK");
  if (sscanf(request, "MESSAGE sip:user%u@", &user) != 1) return answer(&servers[server], request, from, "404 Not Found");
  asked++;
  answer(&servers[server], request, from, user % server_count == (unsigned)server ? "200 OK" : "404 Not Found");
}

static void on_answer(const char *response) {
  uint32_t its_run, n;
  int code = atoi(response + 8);
  const char *branch = strstr(response, "branch=z9hG4bK");
  if (code < 200 || !branch || sscanf(branch + 14, "%8xf%8x", &its_run, &n) != 2 || its_run != run || n < base || n >= base + users) return;
  uint32_t i = n - base;
  if (took[i] >= 0) return;
  took[i] = (now() - sent_at[i]) * 1e3;
  answered++, open_now--;
  if (code < 300) ok++;
  else other++;
}

static void receive(Peer *peer, int server) {
  struct mmsghdr batch[BATCH];
  struct iovec parts[BATCH];
  struct sockaddr_in from[BATCH];
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){in[i], SIZE - 1};
    batch[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1}};
  }
  int got = recvmmsg(peer->fd, batch, BATCH, 0, NULL);
  for (int i = 0; i < got; i++) {
    in[i][batch[i].msg_len] = 0;
    if (strncmp(in[i], "SIP/2.0 ", 8)) on_request(server, in[i], from[i]);
    else if (server < 0) on_answer(in[i]);
  }
}

static void serve(int timeout) {
  struct pollfd ready[MOST + 1] = {{.fd = caller.fd, .events = POLLIN}};
  for (int i = 0; i < server_count; i++) ready[i + 1] = (struct pollfd){.fd = servers[i].fd, .events = POLLIN};
  poll(ready, server_count + 1, timeout);
  if (ready[0].revents) receive(&caller, -1);
  for (int i = 0; i < server_count; i++)
    if (ready[i + 1].revents) receive(&servers[i], i);
  flush(&caller);
  for (int i = 0; i < server_count; i++) flush(&servers[i]);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void round_of(struct sockaddr_in to, int own_port) {
  double began = now(), last = began;
  uint32_t next = 0;
  answered = open_now = ok = other = 0, asked = 0;
  for (uint32_t i = 0; i < users; i++) took[i] = -1;
  while (answered < users && now() < last + 9) {
    for (int some = 0; some < BATCH && next < users && open_now < (uint32_t)window; some++, next++, open_now++) {
      int length = snprintf(room(&caller), SIZE,
                            "MESSAGE sip:user%u@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%08xf%08x;rport\r\nMax-Forwards: 70\r\n"
                            "From: <sip:caller@example.com>;tag=%08x\r\nTo: <sip:user%u@example.com>\r\nCall-ID: %08x-%u@127.0.0.1\r\nCSeq: 1 MESSAGE\r\n"
                            "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
                            next, own_port, run, base + next, base + next, next, run, base + next);
      sent_at[next] = last = now();
      queue(&caller, to, length);
    }
    flush(&caller);
    serve(1);
  }
  double seconds = now() - began;
  uint32_t n = 0;
  for (uint32_t i = 0; i < users; i++)
    if (took[i] >= 0) took[n++] = took[i];
  qsort(took, n, sizeof *took, by_value);
  printf("{\"sent\":%u,\"ok\":%u,\"other\":%u,\"lost\":%u,\"asked\":%ld,\"seconds\":%.3f,\"p50\":%.2f,\"p99\":%.2f}\n", next, ok, other, next - n, asked, seconds,
         n ? took[n / 2] : 0, n ? took[(uint32_t)((n - 1) * 0.99)] : 0);
  fflush(stdout);
  base += users;
}

int main(int argc, char **argv) {
  int system_port = 5160, own_port = 5180, first_port = 5200;
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *value = argv[i + 1];
    switch (argv[i][1]) {
      case 's': system_port = atoi(value); break;
      case 'c': own_port = atoi(value); break;
      case 'b': first_port = atoi(value); break;
      case 'N': server_count = atoi(value); break;
      case 'U': users = strtoul(value, NULL, 10); break;
      case 'w': window = atoi(value); break;
      default: fprintf(stderr, "unknown option %s\n", argv[i]); return 2;
    }
  }
  if (server_count < 1 || server_count > MOST || users < 1 || window < 1) {
    fprintf(stderr, "fork-load -s PORT -c PORT -b PORT -N SERVERS (1 to %d) -U USERS -w WINDOW\n", MOST);
    return 2;
  }
  run = (uint32_t)time(NULL);
  sent_at = calloc(users, sizeof *sent_at);
  took = calloc(users, sizeof *took);
  open_peer(&caller, own_port);
  for (int i = 0; i < server_count; i++) open_peer(&servers[i], first_port + i);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(system_port)};
  to.sin_addr.s_addr = inet_addr("127.0.0.1");
  printf("{\"ready\":true}\n");
  fflush(stdout);
  while (1) {
    struct pollfd order = {.fd = 0, .events = POLLIN};
    char line[64];
    if (poll(&order, 1, 0) > 0) {
      if (read(0, line, sizeof line) <= 0) return 0;
      round_of(to, own_port);
    }
    serve(20);
  }
}
