/* Closed-loop REGISTER generator: third-party registrations of user0..userN-1 from one address, each with a Call-ID of its
 * own and a CSeq that rises by one every round (RFC 3261 10.2), contact the sender itself.
 *   register-load -s PORT -c PORT -w WINDOW -U USERS -t SECONDS -d DOMAIN
 * Prints sent, ok, other, lost, rate, p50, p99, p99.9 and the status codes on one line. */
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

enum { BATCH = 64, SIZE = 2048, SLOTS = 65536, BUCKETS = 200000 };

static char out[BATCH][SIZE], in[BATCH][SIZE];
static double sent_at[SLOTS];
static char busy[SLOTS];
static uint32_t histogram[BUCKETS];
static long codes[700];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double percentile(long total, double share) {
  long seen = 0;
  for (int i = 0; i < BUCKETS; i++) {
    seen += histogram[i];
    if (seen >= total * share) return i / 100.0;
  }
  return BUCKETS / 100.0;
}

int main(int argc, char **argv) {
  int system_port = 5160, own_port = 5180, window = 64, users = 10000;
  double seconds = 10;
  const char *domain = "example.com";
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *value = argv[i + 1];
    switch (argv[i][1]) {
      case 's': system_port = atoi(value); break;
      case 'c': own_port = atoi(value); break;
      case 'w': window = atoi(value); break;
      case 'U': users = atoi(value); break;
      case 't': seconds = atof(value); break;
      case 'd': domain = value; break;
      default: fprintf(stderr, "unknown option %s\n", argv[i]); return 2;
    }
  }
  if (window < 1 || window > 4096 || users < window) {
    fprintf(stderr, "the window is 1 to 4096 and at most the number of users\n");
    return 2;
  }
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), space = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(own_port)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(system_port)};
  own.sin_addr.s_addr = to.sin_addr.s_addr = inet_addr("127.0.0.1");
  if (bind(fd, (void *)&own, sizeof own)) {
    perror("bind");
    return 1;
  }
  uint32_t run = (uint32_t)time(NULL), sequence = 0;
  long sent = 0, ok = 0, other = 0, lost = 0;
  int open = 0;
  double start = now(), end = start + seconds, swept = start;
  while (1) {
    double t = now();
    if (t > end && (open == 0 || t > end + 2)) break;
    struct mmsghdr batch[BATCH];
    struct iovec parts[BATCH];
    int filled = 0;
    while (t < end && open < window && filled < BATCH) {
      uint32_t n = sequence++, slot = n % SLOTS;
      uint32_t user = n % users, round = n / users + 1;
      if (busy[slot]) lost++, open--;
      busy[slot] = 1;
      sent_at[slot] = now();
      int length = snprintf(out[filled], SIZE,
                            "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%08x%08x;rport\r\n"
                            "Max-Forwards: 70\r\nFrom: <sip:user%u@%s>;tag=%08x\r\nTo: <sip:user%u@%s>\r\n"
                            "Call-ID: %08x-%u@127.0.0.1\r\nCSeq: %u REGISTER\r\nContact: <sip:127.0.0.1:%d>\r\n"
                            "Expires: 3600\r\nContent-Length: 0\r\n\r\n",
                            domain, own_port, run, n, user, domain, n, user, domain, run, user, round, own_port);
      parts[filled] = (struct iovec){out[filled], length};
      batch[filled] = (struct mmsghdr){.msg_hdr = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &parts[filled], .msg_iovlen = 1}};
      filled++, open++, sent++;
    }
    for (int done = 0; done < filled;) {
      int n = sendmmsg(fd, batch + done, filled - done, 0);
      if (n > 0) done += n;
      else if (errno != EAGAIN) break;
    }
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    poll(&waiting, 1, 1);
    for (int i = 0; i < BATCH; i++) {
      parts[i] = (struct iovec){in[i], SIZE - 1};
      batch[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    int got = recvmmsg(fd, batch, BATCH, 0, NULL);
    t = now();
    for (int i = 0; i < got; i++) {
      in[i][batch[i].msg_len] = 0;
      int code = strncmp(in[i], "SIP/2.0 ", 8) ? 0 : atoi(in[i] + 8);
      /* The branch names the request: its run and its number. */
      char *branch = strstr(in[i], "z9hG4bK");
      uint32_t from, n;
      if (code < 200 || code > 699 || !branch || sscanf(branch + 7, "%8x%8x", &from, &n) != 2 || from != run) continue;
      uint32_t slot = n % SLOTS;
      if (!busy[slot]) continue;
      busy[slot] = 0, open--, codes[code]++;
      if (code < 300) ok++;
      else other++;
      long bucket = (t - sent_at[slot]) * 1e5;
      histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
    if (t - swept > 0.5) {
      swept = t;
      for (int i = 0; i < SLOTS; i++)
        if (busy[i] && t - sent_at[i] > 4) busy[i] = 0, open--, lost++;
    }
  }
  double elapsed = now() - start;
  if (elapsed > seconds) elapsed = seconds;
  long total = ok + other;
  printf("REGISTER sent=%ld ok=%ld other=%ld lost=%ld rate=%.0f/s p50=%.2fms p99=%.2fms p99.9=%.2fms codes:", sent, ok, other, lost,
         total / elapsed, percentile(total, 0.5), percentile(total, 0.99), percentile(total, 0.999));
  for (int i = 0; i < 700; i++)
    if (codes[i]) printf(" %d=%ld", i, codes[i]);
  printf("\n");
  return 0;
}
