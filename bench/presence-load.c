/* Watchers and presence servers in one bare UDP process, told by lines on stdin what to do; each line is answered by one line of JSON.
 *   presence-load -p PORT[,PORT] -w PORT -s PORT[,PORT…] -n SUBSCRIPTIONS -k WATCHERS [-e EVENT]
 * Subscription i is that of watcher wI to user(I/K), by way of proxy I%P. Watchers live on port -w; servers 0… on the ports -s.
 *   subscribe FIRST COUNT WINDOW SECONDS     watchers subscribe, so many unanswered at a time
 *   bind FIRST COUNT RATE WINDOW SERVER SHIFT  REGISTER of users from a server, to proxy (user+SHIFT)%P; RATE 0: as many as WINDOW lets
 *   mark                                     forgets when things were seen, and counts from 0
 *   settle FIRST COUNT SERVER SECONDS        until each was shown the document of that server
 *   told FIRST COUNT SECONDS                 until each was sent a NOTIFY
 *   publish FIRST COUNT WINDOW SECONDS       servers in turn change what they show, so many not yet seen by their watchers at a time
 *   dump FIRST COUNT FILE                    a line a subscription: user, REGISTER sent, answered, SUBSCRIBE seen, document shown
 *   counts                                   what was received and sent since `mark`
 * With -d 1 every server has all users, and keeps its dialogs for `publish`. Watchers take what is too large for a datagram over TCP (RFC 3261 18.1.1).
 * Moments are those of CLOCK_MONOTONIC. Of its own only servers'
 * NOTIFYs are sent again; what a proxy sends again is counted and answered again. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SIZE = 16384, PEERS = 8, CODES = 700, STREAM = 1 << 20 };

typedef struct {
  int fd, port, queued, is_stream;
  char out[BATCH][SIZE];
  struct sockaddr_in to[BATCH];
  size_t length[BATCH];
} Peer;

typedef struct {
  /* Of the SUBSCRIBE and of its answer; of the first NOTIFY; of the leg's SUBSCRIBE; of the last document; of the first NOTIFY since `mark`. 0: not yet. */
  double asked, answered, notified, leg, shown, told;
  uint64_t leg_branch[PEERS];
  uint32_t notify_cseq;
  /* Of `publish`: what it waits to be shown, since when; 0: nothing. */
  uint32_t change;
  double changed;
  /* Server whose document was shown last; -1: none. */
  int8_t server;
} Subscription;

typedef struct {
  double asked, answered;
} Binding;

/* A NOTIFY of a server that was not answered yet; sent again as RFC 3261 17.1.2.2 has it, at most for 32 s. */
typedef struct Unanswered {
  struct Unanswered *next, *previous;
  struct sockaddr_in to;
  double first, again, interval;
  uint32_t cseq;
  int length;
  char text[];
} Unanswered;

/* A leg's dialog, as its server writes it. */
typedef struct {
  char *contact, *from, *to, *call;
  struct sockaddr_in where;
} Dialog;

static Peer watchers, servers[PEERS], streams[PEERS];
static char *stream_in[PEERS];
static size_t stream_filled[PEERS];
static int listening = -1, keeps_dialogs;
static Dialog *dialogs[PEERS];
static int server_count, proxies[PEERS], proxy_count, watched_by = 1;
static const char *event = "presence";
static uint32_t total, run;
static Subscription *subscriptions;
static Binding *bindings;
/* The last one of each server and subscription, and all of a server in the order they were sent. */
static Unanswered **unanswered[PEERS], waiting[PEERS];
static char in[BATCH][SIZE];
static uint32_t rounds, notify_cseq;
static struct {
  long legs, ended, repeated, notifies, told, told_ok, told_other, again, unknown, codes[CODES];
} counts;
/* Of the phase that is under way. */
static struct {
  char kind;
  uint32_t first, count, next, answered, open, window, ok, other, notified;
  int server, shift;
  double rate, began, until, last;
  long codes[CODES];
  double *took;
} phase;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void open_peer(Peer *peer, int port) {
  int space = 64 << 20;
  peer->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  peer->port = port;
  if (setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUFFORCE, &space, sizeof space)) {
    space = 4 << 20;
    setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
  }
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
  own.sin_addr.s_addr = inet_addr("127.0.0.1");
  if (bind(peer->fd, (void *)&own, sizeof own)) {
    perror("bind");
    exit(1);
  }
}

static void flush_stream(Peer *peer) {
  for (int i = 0; i < peer->queued && peer->fd >= 0; i++)
    for (size_t done = 0; done < peer->length[i];) {
      ssize_t n = send(peer->fd, peer->out[i] + done, peer->length[i] - done, MSG_NOSIGNAL);
      if (n <= 0) break;
      done += n;
    }
  peer->queued = 0;
}

static void flush(Peer *peer) {
  if (peer->is_stream) {
    flush_stream(peer);
    return;
  }
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

/* Room for one more message; `queue` says how long it became. */
static char *room(Peer *peer) {
  if (peer->queued == BATCH) flush(peer);
  return peer->out[peer->queued];
}

static void queue(Peer *peer, struct sockaddr_in to, size_t length) {
  peer->to[peer->queued] = to;
  peer->length[peer->queued++] = length;
}

static struct sockaddr_in proxy(int i) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(proxies[i % proxy_count])};
  to.sin_addr.s_addr = inet_addr("127.0.0.1");
  return to;
}

/* The value of a header as proxies write it, in full; its end by `length`. */
static const char *header(const char *message, const char *name, size_t *length) {
  const char *at = message;
  size_t n = strlen(name);
  while ((at = strstr(at, "\r\n")) && at[2] != '\r') {
    at += 2;
    if (strncasecmp(at, name, n) || at[n] != ':') continue;
    at += n + 1;
    while (*at == ' ') at++;
    *length = strcspn(at, "\r");
    return at;
  }
  *length = 0;
  return "";
}

/* The number behind a prefix such as "sip:w" in a header. */
static long numbered(const char *message, const char *name, const char *prefix) {
  size_t length;
  const char *value = header(message, name, &length), *at = strstr(value, prefix);
  if (!at || at > value + length) return -1;
  char *end;
  unsigned long n = strtoul(at + strlen(prefix), &end, 10);
  return end == at + strlen(prefix) ? -1 : (long)n;
}

static uint64_t branch_of(const char *message) {
  const char *at = strstr(message, "branch=");
  uint64_t hash = 1469598103934665603u;
  if (at)
    for (at += 7; *at && !strchr(";,\r ", *at); at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
  return hash;
}

static void answer(Peer *peer, const char *request, struct sockaddr_in to, const char *tag, int expires) {
  char *out = room(peer), *end = out + sprintf(out, "SIP/2.0 200 OK\r\n");
  for (const char *at = strstr(request, "\r\n"); at && at[2] != '\r'; at = strstr(at + 2, "\r\n")) {
    const char *line = at + 2;
    size_t n = strcspn(line, "\r");
    int is_to = !strncasecmp(line, "To:", 3);
    if (!is_to && strncasecmp(line, "Via:", 4) && strncasecmp(line, "From:", 5) && strncasecmp(line, "Call-ID:", 8) && strncasecmp(line, "CSeq:", 5)) continue;
    memcpy(end, line, n);
    end += n;
    if (is_to && !memmem(line, n, ";tag=", 5)) end += sprintf(end, ";tag=%s", tag);
    end += sprintf(end, "\r\n");
  }
  if (expires >= 0) end += sprintf(end, "Contact: <sip:127.0.0.1:%d>\r\nExpires: %d\r\n", peer->port, expires);
  end += sprintf(end, "Content-Length: 0\r\n\r\n");
  queue(peer, to, end - out);
}

static void settled(Unanswered **at) {
  Unanswered *each = *at;
  if (!each) return;
  each->previous->next = each->next;
  each->next->previous = each->previous;
  free(each);
  *at = NULL;
}

static void keep(int server, uint32_t i, struct sockaddr_in to, const char *text, int length) {
  Unanswered *each = malloc(sizeof *each + length), *end = &waiting[server];
  double t = now();
  settled(&unanswered[server][i]);
  *each = (Unanswered){.next = end, .previous = end->previous, .to = to, .first = t, .again = t + 0.5, .interval = 0.5, .cseq = notify_cseq, .length = length};
  end->previous->next = each;
  end->previous = each;
  memcpy(each->text, text, length);
  unanswered[server][i] = each;
}

static void send_again(int server, double t) {
  for (Unanswered *each = waiting[server].next; each != &waiting[server]; each = each->next) {
    if (each->again > t || t > each->first + 32) continue;
    each->interval = each->interval < 4 ? each->interval * 2 : 4;
    each->again = t + each->interval;
    memcpy(room(&servers[server]), each->text, each->length);
    queue(&servers[server], each->to, each->length);
    counts.again++;
  }
}

static char *copied(const char *text, size_t length, const char *more) {
  char *own = malloc(length + strlen(more) + 1);
  memcpy(own, text, length);
  strcpy(own + length, more);
  return own;
}

/* A NOTIFY with the user's document as this server has it now; `expires` 0: the last one, without. */
static void notify(int server, uint32_t watcher, long user, const Dialog *dialog, int expires, uint32_t change) {
  Peer *peer = &servers[server];
  char body[1024] = "";
  int size = 0;
  if (expires > 0)
    size = sprintf(body,
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"pres:user%ld@example.com\">\n"
                   "  <tuple id=\"at-%d\">\n    <status><basic>open</basic></status>\n    <contact priority=\"0.8\">sip:user%ld@example.com</contact>\n"
                   "    <note>at the desk n%u.</note>\n  </tuple>\n</presence>\n",
                   user, server, user, change);
  char *out = room(peer);
  notify_cseq++;
  int length = snprintf(out, SIZE,
                        "NOTIFY %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%08xn%08x\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\n"
                        "Call-ID: %s\r\nCSeq: %u NOTIFY\r\nContact: <sip:127.0.0.1:%d>\r\nEvent: presence\r\nSubscription-State: %s\r\n%sContent-Length: %d\r\n\r\n%s",
                        dialog->contact, peer->port, run, notify_cseq, dialog->to, dialog->from, dialog->call, notify_cseq, peer->port,
                        expires > 0 ? "active;expires=3600" : "terminated;reason=timeout", size ? "Content-Type: application/pidf+xml\r\n" : "", size, body);
  keep(server, watcher, dialog->where, out, length);
  queue(peer, dialog->where, length);
  counts.told++;
}

static void forget(Dialog *dialog) {
  free(dialog->contact), free(dialog->from), free(dialog->to), free(dialog->call);
  memset(dialog, 0, sizeof *dialog);
}

static void tell(int server, const char *subscribe, struct sockaddr_in to, uint32_t watcher, long user, int expires) {
  size_t from_length, to_length, call_length, contact_length;
  const char *from = header(subscribe, "From", &from_length), *whom = header(subscribe, "To", &to_length);
  const char *call = header(subscribe, "Call-ID", &call_length), *contact = header(subscribe, "Contact", &contact_length);
  const char *open = memchr(contact, '<', contact_length), *close = open ? memchr(open, '>', contact + contact_length - open) : NULL;
  if (!close) return;
  char own[16];
  snprintf(own, sizeof own, ";tag=s%d", server);
  if (memmem(whom, to_length, ";tag=", 5)) own[0] = 0;
  Dialog dialog = {copied(open + 1, close - open - 1, ""), copied(from, from_length, ""), copied(whom, to_length, own), copied(call, call_length, ""), to};
  notify(server, watcher, user, &dialog, expires, 0);
  if (keeps_dialogs && expires > 0) {
    forget(&dialogs[server][watcher]);
    dialogs[server][watcher] = dialog;
  } else {
    forget(&dialog);
  }
}

static void on_subscribe(int server, const char *request, struct sockaddr_in from, double at) {
  Peer *peer = &servers[server];
  long watcher = numbered(request, "From", "sip:w"), user = numbered(request, "To", "sip:user");
  size_t length;
  const char *value = header(request, "Expires", &length);
  int expires = length ? atoi(value) : 3600;
  char tag[16];
  snprintf(tag, sizeof tag, "s%d", server);
  answer(peer, request, from, tag, expires);
  if (watcher < 0 || watcher >= total || user < 0) {
    counts.unknown++;
    return;
  }
  Subscription *each = &subscriptions[watcher];
  uint64_t branch = branch_of(request);
  if (branch == each->leg_branch[server]) {
    counts.repeated++;
    return;
  }
  each->leg_branch[server] = branch;
  if (expires > 0) {
    counts.legs++;
    if (each->leg == 0) each->leg = at;
  } else {
    counts.ended++;
  }
  tell(server, request, from, watcher, user, expires);
}

static void took(uint32_t i, double at) {
  Subscription *each = &subscriptions[i];
  if (phase.kind == 'c') {
    phase.took[phase.ok++] = (at - each->changed) * 1e3;
    phase.open--;
  }
  each->change = 0;
}

static void on_notify(Peer *peer, const char *request, struct sockaddr_in from, double at) {
  answer(peer, request, from, "w", -1);
  size_t length;
  uint32_t i, its_run, cseq;
  const char *call = header(request, "Call-ID", &length);
  if (sscanf(call, "%8x-%u@", &its_run, &i) != 2 || its_run != run || i >= total) {
    counts.unknown++;
    return;
  }
  Subscription *each = &subscriptions[i];
  const char *number = header(request, "CSeq", &length);
  cseq = strtoul(number, NULL, 10);
  if (each->notified != 0 && cseq <= each->notify_cseq) {
    counts.repeated++;
    return;
  }
  counts.notifies++;
  each->notify_cseq = cseq;
  if (each->notified == 0) {
    each->notified = at;
    phase.notified += phase.kind == 's' && i >= phase.first && i < phase.first + phase.count;
  }
  if (each->told == 0) each->told = at;
  const char *mark = strstr(request, "id=\"at-");
  each->server = mark ? atoi(mark + 7) : -1;
  if (mark) each->shown = at;
  if (each->change != 0) {
    char text[24];
    snprintf(text, sizeof text, " n%u.<", each->change);
    if (strstr(request, text)) took(i, at);
  }
}

static void on_answer(int server, const char *response, double at) {
  int code = atoi(response + 8);
  const char *branch = strstr(response, "branch=z9hG4bK");
  uint32_t its_run, i;
  char kind;
  if (code < 200 || code >= CODES || !branch || sscanf(branch + 14, "%8x%c%8x", &its_run, &kind, &i) != 3 || its_run != run) return;
  if (kind == 'n') {
    long watcher = numbered(response, "To", "sip:w");
    if (watcher < 0 || watcher >= total) return;
    Unanswered **last = &unanswered[server][watcher];
    if (!*last || (*last)->cseq != i) return;
    settled(last);
    counts.codes[code]++;
    if (code < 300) counts.told_ok++;
    else counts.told_other++;
    return;
  }
  if (kind != phase.kind || i < phase.first || i >= phase.first + phase.count) return;
  double *answered = kind == 's' ? &subscriptions[i].answered : &bindings[i].answered;
  if (*answered != 0) return;
  *answered = at;
  phase.answered++, phase.open--, phase.codes[code]++;
  if (code < 300) phase.ok++;
  else phase.other++;
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
  double at = now();
  for (int i = 0; i < got; i++) {
    in[i][batch[i].msg_len] = 0;
    if (!strncmp(in[i], "SIP/2.0 ", 8)) on_answer(server, in[i], at);
    else if (!strncmp(in[i], "NOTIFY ", 7)) on_notify(peer, in[i], from[i], at);
    else if (!strncmp(in[i], "SUBSCRIBE ", 10) && server >= 0) on_subscribe(server, in[i], from[i], at);
    else if (!strncmp(in[i], "OPTIONS ", 8)) answer(peer, in[i], from[i], "o", -1);
  }
}

static void accept_stream(void) {
  int fd = accept(listening, NULL, NULL);
  for (int i = 0; fd >= 0 && i < PEERS; i++) {
    if (streams[i].fd >= 0) continue;
    streams[i].fd = fd, streams[i].port = watchers.port, stream_filled[i] = 0;
    if (!stream_in[i]) stream_in[i] = malloc(STREAM + 1);
    return;
  }
  if (fd >= 0) close(fd);
}

/* Messages of one connection: each as long as its Content-Length says (RFC 3261 18.3). */
static void receive_stream(int i) {
  Peer *peer = &streams[i];
  struct sockaddr_in nowhere = {0};
  ssize_t got = recv(peer->fd, stream_in[i] + stream_filled[i], STREAM - stream_filled[i], 0);
  if (got <= 0) {
    close(peer->fd);
    peer->fd = -1;
    return;
  }
  double at = now();
  char *start = stream_in[i], *end = start + stream_filled[i] + got;
  *end = 0;
  while (start < end) {
    if (*start == '\r' || *start == '\n') {
      start++;
      continue;
    }
    char *head = strstr(start, "\r\n\r\n");
    if (!head) break;
    size_t length;
    const char *value = header(start, "Content-Length", &length);
    char *next = head + 4 + (length ? atoi(value) : 0);
    if (next > end) break;
    char kept = *next;
    *next = 0;
    if (!strncmp(start, "NOTIFY ", 7)) on_notify(peer, start, nowhere, at);
    *next = kept;
    start = next;
  }
  stream_filled[i] = end - start;
  memmove(stream_in[i], start, stream_filled[i]);
  flush(peer);
}

static void change(uint32_t i, int server, uint32_t number) {
  Subscription *each = &subscriptions[i];
  each->change = number, each->changed = now();
  notify(server, i, i / watched_by, &dialogs[server][i], 3600, number);
}

static void subscribe(uint32_t i) {
  char *out = room(&watchers);
  int length = snprintf(out, SIZE,
                        "SUBSCRIBE sip:user%u@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%08xs%08x;rport\r\nMax-Forwards: 70\r\n"
                        "From: <sip:w%u@example.com>;tag=%08xw\r\nTo: <sip:user%u@example.com>\r\nCall-ID: %08x-%u@127.0.0.1\r\nCSeq: 1 SUBSCRIBE\r\n"
                        "Contact: <sip:w%u@127.0.0.1:%d>\r\nP-Asserted-Identity: <sip:w%u@example.com>\r\nEvent: %s\r\n"
                        "Expires: 3600\r\nContent-Length: 0\r\n\r\n",
                        i / watched_by, watchers.port, run, i, i, i, i / watched_by, run, i, i, watchers.port, i, event);
  subscriptions[i].asked = now();
  queue(&watchers, proxy(i), length);
}

static void bind_user(uint32_t user) {
  Peer *peer = &servers[phase.server];
  char *out = room(peer);
  int length = snprintf(out, SIZE,
                        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%08xr%08x;rport\r\nMax-Forwards: 70\r\n"
                        "From: <sip:user%u@example.com>;tag=%08xr\r\nTo: <sip:user%u@example.com>\r\nCall-ID: %08x-%u-%u@127.0.0.1\r\nCSeq: 1 REGISTER\r\n"
                        "Contact: <sip:127.0.0.1:%d>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n",
                        peer->port, run, user, user, user, user, run, rounds, user, peer->port);
  bindings[user] = (Binding){.asked = now()};
  queue(peer, proxy(user + phase.shift), length);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_codes(const long *codes) {
  printf("\"codes\":{");
  for (int i = 0, any = 0; i < CODES; i++)
    if (codes[i]) printf("%s\"%d\":%ld", any++ ? "," : "", i, codes[i]);
  printf("}");
}

static void finish(void) {
  double *took = malloc((phase.count + 1) * sizeof *took), last = phase.began;
  uint32_t n = 0;
  for (uint32_t i = phase.first; i < phase.first + phase.next; i++) {
    double asked = phase.kind == 's' ? subscriptions[i].asked : bindings[i].asked;
    double answered = phase.kind == 's' ? subscriptions[i].answered : bindings[i].answered;
    if (answered != 0) took[n++] = (answered - asked) * 1e3;
    if (answered > last) last = answered;
  }
  qsort(took, n, sizeof *took, by_value);
  double seconds = last - phase.began;
  printf("{\"sent\":%u,\"ok\":%u,\"other\":%u,\"lost\":%u,\"notified\":%u,\"seconds\":%.3f,\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,", phase.next, phase.ok, phase.other,
         phase.next - n, phase.notified, seconds, n ? took[n / 2] : 0, n ? took[(uint32_t)((n - 1) * 0.99)] : 0, n ? took[(uint32_t)((n - 1) * 0.999)] : 0);
  print_codes(phase.codes);
  printf("}\n");
  free(took);
  phase.kind = 0;
}

/* Sends what is due; ends the phase when all of it was answered, or nothing has come for a while. */
static void drive(void) {
  double t = now();
  if (phase.kind == 't') {
    if (t < phase.last + 0.02) return;
    phase.last = t;
    uint32_t told = 0;
    double first = 0, last = 0;
    for (uint32_t i = phase.first; i < phase.first + phase.count; i++) {
      double at = subscriptions[i].told;
      told += at != 0;
      if (at > last) last = at;
      if (at != 0 && (first == 0 || at < first)) first = at;
    }
    if (told == phase.count || t > phase.until) {
      printf("{\"told\":%u,\"first\":%.6f,\"last\":%.6f}\n", told, first, last);
      phase.kind = 0;
    }
    return;
  }
  if (phase.kind == 'd') {
    if (t < phase.last + 0.02) return;
    phase.last = t;
    uint32_t shown = 0;
    for (uint32_t i = phase.first; i < phase.first + phase.count; i++) shown += subscriptions[i].server == phase.server;
    if (shown == phase.count || t > phase.until) {
      double last = 0;
      for (uint32_t i = phase.first; i < phase.first + phase.count; i++)
        if (subscriptions[i].shown > last) last = subscriptions[i].shown;
      printf("{\"shown\":%u,\"last\":%.6f}\n", shown, last);
      phase.kind = 0;
    }
    return;
  }
  if (phase.kind == 'c') {
    for (int some = 0; some < BATCH && phase.open < phase.window && t < phase.until; some++) {
      uint32_t n = phase.next, i = phase.first + n % phase.count;
      int server = (n / phase.count + n) % server_count;
      if (subscriptions[i].change != 0 && t < subscriptions[i].changed + 8) break;
      if (subscriptions[i].change != 0) phase.open--;
      phase.next++;
      if (!dialogs[server][i].contact) continue;
      phase.open++;
      change(i, server, n + 1);
      phase.last = t;
    }
    if (t < phase.until || (phase.open > 0 && t < phase.last + 8)) return;
    qsort(phase.took, phase.ok, sizeof *phase.took, by_value);
    printf("{\"changes\":%u,\"shown\":%u,\"seconds\":%.3f,\"p50\":%.2f,\"p99\":%.2f}\n", phase.next, phase.ok, t - phase.began,
           phase.ok ? phase.took[phase.ok / 2] : 0, phase.ok ? phase.took[(uint32_t)((phase.ok - 1) * 0.99)] : 0);
    free(phase.took);
    for (uint32_t i = 0; i < total; i++) subscriptions[i].change = 0;
    phase.kind = 0;
    return;
  }
  uint32_t due = phase.rate > 0 ? (uint32_t)((t - phase.began) * phase.rate) : UINT32_MAX;
  for (int some = 0; some < BATCH && phase.next < phase.count && phase.next < due && phase.open < phase.window && t < phase.until; some++) {
    uint32_t i = phase.first + phase.next++;
    phase.open++;
    phase.last = t;
    if (phase.kind == 's') subscribe(i);
    else bind_user(i);
  }
  int all_sent = phase.next == phase.count || t >= phase.until;
  int over = phase.open == 0 && (phase.kind != 's' || phase.notified >= phase.ok);
  if (all_sent && (over || t > phase.last + 8)) finish();
}

static void command(char *line) {
  uint32_t first = 0, count = 0, window = 0;
  double seconds = 0, rate = 0;
  int server = 0, shift = 0;
  char file[1024];
  memset(&phase, 0, sizeof phase);
  phase.began = phase.last = now();
  if (sscanf(line, "subscribe %u %u %u %lf", &first, &count, &window, &seconds) == 4) {
    phase.kind = 's', phase.until = phase.began + seconds;
  } else if (sscanf(line, "bind %u %u %lf %u %d %d", &first, &count, &rate, &window, &server, &shift) == 6) {
    rounds++;
    phase.kind = 'r', phase.rate = rate, phase.server = server, phase.shift = shift, phase.until = phase.began + 600;
    for (uint32_t i = first; i < first + count; i++) bindings[i] = (Binding){0};
  } else if (sscanf(line, "settle %u %u %d %lf", &first, &count, &server, &seconds) == 4) {
    phase.kind = 'd', phase.server = server, phase.until = phase.began + seconds;
  } else if (sscanf(line, "told %u %u %lf", &first, &count, &seconds) == 3) {
    phase.kind = 't', phase.until = phase.began + seconds;
  } else if (sscanf(line, "publish %u %u %u %lf", &first, &count, &window, &seconds) == 4 && keeps_dialogs) {
    phase.kind = 'c', phase.until = phase.began + seconds;
    phase.took = malloc((size_t)(seconds * 200000 + 1000) * sizeof *phase.took);
  } else if (sscanf(line, "dump %u %u %1000s", &first, &count, file) == 3) {
    FILE *out = fopen(file, "w");
    for (uint32_t i = first; out && i < first + count; i++) {
      Binding *b = &bindings[i / watched_by];
      fprintf(out, "%u %.6f %.6f %.6f %.6f\n", i / watched_by, b->asked, b->answered, subscriptions[i].leg, subscriptions[i].shown);
    }
    if (out) fclose(out);
    printf("{}\n");
  } else if (!strncmp(line, "mark", 4)) {
    memset(&counts, 0, sizeof counts);
    for (uint32_t i = 0; i < total; i++) subscriptions[i].leg = subscriptions[i].shown = subscriptions[i].told = 0, subscriptions[i].server = -1;
    printf("{\"at\":%.6f}\n", phase.began);
  } else {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    printf("{\"legs\":%ld,\"ended\":%ld,\"notifies\":%ld,\"told\":%ld,\"toldOk\":%ld,\"toldOther\":%ld,\"repeated\":%ld,\"again\":%ld,\"unknown\":%ld,\"cpu\":%.3f,\"at\":%.6f,",
           counts.legs, counts.ended, counts.notifies, counts.told, counts.told_ok, counts.told_other, counts.repeated, counts.again, counts.unknown, cpu, phase.began);
    print_codes(counts.codes);
    printf("}\n");
  }
  phase.first = first, phase.count = count, phase.window = window;
  fflush(stdout);
}

static int ports(const char *list, int *into) {
  int n = 0;
  for (const char *at = list; n < PEERS && *at; at += strcspn(at, ","), at += *at == ',') into[n++] = atoi(at);
  return n;
}

int main(int argc, char **argv) {
  int own = 5180, server_ports[PEERS];
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *value = argv[i + 1];
    switch (argv[i][1]) {
      case 'p': proxy_count = ports(value, proxies); break;
      case 's': server_count = ports(value, server_ports); break;
      case 'w': own = atoi(value); break;
      case 'n': total = strtoul(value, NULL, 10); break;
      case 'e': event = value; break;
      case 'd': keeps_dialogs = atoi(value); break;
      case 'k': watched_by = atoi(value); break;
      default: fprintf(stderr, "unknown option %s\n", argv[i]); return 2;
    }
  }
  if (proxy_count < 1 || total < 1 || watched_by < 1) {
    fprintf(stderr, "presence-load -p PORT[,PORT] -w PORT -s PORT[,PORT] -n SUBSCRIPTIONS -k WATCHERS\n");
    return 2;
  }
  run = (uint32_t)time(NULL);
  subscriptions = calloc(total, sizeof *subscriptions);
  bindings = calloc(total, sizeof *bindings);
  open_peer(&watchers, own);
  int on = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(own)};
  at.sin_addr.s_addr = inet_addr("127.0.0.1");
  listening = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listening, (void *)&at, sizeof at) || listen(listening, 16)) {
    perror("listen");
    return 1;
  }
  for (int i = 0; i < PEERS; i++) streams[i].fd = -1, streams[i].is_stream = 1;
  for (int i = 0; i < server_count; i++) {
    open_peer(&servers[i], server_ports[i]);
    unanswered[i] = calloc(total, sizeof *unanswered[i]);
    waiting[i].next = waiting[i].previous = &waiting[i];
    if (keeps_dialogs) dialogs[i] = calloc(total, sizeof *dialogs[i]);
  }
  printf("{\"ready\":true}\n");
  fflush(stdout);
  char line[2048];
  size_t filled = 0;
  double looked = 0;
  while (1) {
    struct pollfd ready[2 * PEERS + 3] = {{.fd = 0, .events = phase.kind ? 0 : POLLIN}, {.fd = watchers.fd, .events = POLLIN}, {.fd = listening, .events = POLLIN}};
    for (int i = 0; i < PEERS; i++) {
      ready[i + 3] = (struct pollfd){.fd = streams[i].fd, .events = POLLIN};
      ready[i + 3 + PEERS] = (struct pollfd){.fd = i < server_count ? servers[i].fd : -1, .events = POLLIN};
    }
    poll(ready, 2 * PEERS + 3, phase.kind == 'd' || phase.kind == 't' ? 20 : phase.kind ? 1 : 100);
    if (ready[1].revents) receive(&watchers, -1);
    if (ready[2].revents) accept_stream();
    for (int i = 0; i < PEERS; i++) {
      if (ready[i + 3].revents) receive_stream(i);
      if (ready[i + 3 + PEERS].revents) receive(&servers[i], i);
    }
    if (ready[0].revents) {
      ssize_t n = read(0, line + filled, sizeof line - 1 - filled);
      if (n <= 0) return 0;
      filled += n;
      line[filled] = 0;
      if (line[filled - 1] == '\n') filled = 0, command(line);
    }
    if (phase.kind) {
      char kind = phase.kind;
      drive();
      if (kind && !phase.kind) fflush(stdout);
    }
    double t = now();
    if (t > looked + 0.1) {
      looked = t;
      for (int i = 0; i < server_count; i++) send_again(i, t);
    }
    flush(&watchers);
    for (int i = 0; i < server_count; i++) flush(&servers[i]);
  }
}
