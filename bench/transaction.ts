import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Runtime, Timer } from "../src/runtime/runtime.ts";
import { buildResponse } from "../src/sip/message/build.ts";
import type { SipRequest } from "../src/sip/message/message.ts";
import { parseMessage } from "../src/sip/message/parse.ts";
import { createTransactionLayer } from "../src/sip/transaction/layer.ts";
import type { ServerTransaction, TransactionLayer } from "../src/sip/transaction/transaction.ts";
import type { Flow, ListenPoint, TransportLayer, TransportUser } from "../src/sip/transport/transport.ts";
import { Telemetry } from "../src/telemetry/events.ts";

/**
 * The transaction layer alone, between a transport that goes nowhere and a TU that relays every MESSAGE: one server and one
 * client transaction and one completed entry a request, over UDP, on virtual time, so that Timer J is in it.
 *   npm run bench transaction -- [--rate 30000] [--seconds 40]
 */
export async function run(args: string[]): Promise<void> {
  const rate = option(args, "--rate", 30_000);
  const seconds = option(args, "--seconds", 40);
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;

  const codec = codecOnly();
  const bench = new Relay();
  bench.load(20_000, 1000);
  bench.advance(40_000);
  gc();
  const before = process.memoryUsage();
  const { elapsed, longest, busiest, p999 } = bench.load(rate * seconds, rate);
  const counts = bench.layer.counts();
  gc();
  const after = process.memoryUsage();
  const total = rate * seconds;
  const perRelay = (elapsed * 1000) / total;
  const rows: Array<[string, string]> = [
    ["relays (virtual time)", `${total} at ${rate}/s for ${seconds} s`],
    ["relays/s on this core, codec included", String(Math.round((total / elapsed) * 1000))],
    ["a relay", `${perRelay.toFixed(2)} µs, of which parsing and editing ${codec.toFixed(2)} µs`],
    ["completed transactions held", String(counts.completed)],
    ["off-heap octets each", (counts.completedBytes / counts.completed).toFixed(0)],
    ["heap octets each", ((after.heapUsed - before.heapUsed) / counts.completed).toFixed(1)],
    ["longest single relay", `${longest.toFixed(2)} ms (p99.9 ${p999.toFixed(3)} ms)`],
    // All threads; what the wall shows beyond it is waiting for a core.
    ["longest in processor time", `${busiest.toFixed(2)} ms`],
  ];
  bench.advance(40_000);
  const rest = bench.layer.counts();
  rows.push([
    "left after 40 s of silence",
    `${rest.server + rest.client + rest.completed}, ${rest.completedBytes} octets`,
  ]);
  for (const [name, value] of rows) console.log(`${name.padEnd(40)}${value}`);
  if (rest.server + rest.client + rest.completed !== 0) throw new Error("transactions were left behind");
}

function option(args: readonly string[], name: string, standard: number): number {
  const at = args.indexOf(name);
  return at < 0 ? standard : Number(args[at + 1]);
}

const HEAD = [
  "MESSAGE sip:user1234@example.com SIP/2.0",
  "Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK-",
  ";rport=5080;received=127.0.0.1\r\nMax-Forwards: 70\r\nFrom: <sip:sender@example.com>;tag=from1234\r\n" +
    "To: <sip:user1234@example.com>\r\nCall-ID: 1234567890abcdef@127.0.0.1\r\nCSeq: 1 MESSAGE\r\n" +
    "Contact: <sip:sender@127.0.0.1:5080>\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nhello world",
] as const;

function messageText(n: number): string {
  return `${HEAD[0]}\r\n${HEAD[1]}${n}${HEAD[2]}`;
}

/** Microseconds that parsing a request and its response, adding a Via and taking it off cost by themselves. */
function codecOnly(): number {
  const rounds = 200_000;
  let octets = 0;
  let started = 0;
  for (let n = -20_000; n < rounds; n++) {
    if (n === 0) started = performance.now();
    const request = parseMessage(messageText(n)) as SipRequest;
    const sent = request.edit().prepend("Via", `SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKours${n};rport`).build();
    const response = parseMessage(buildResponse(sent as SipRequest, 200).raw);
    octets += request.via.branch!.length + response.via.branch!.length + response.cseq.number;
    octets += response.edit().removeFirstValue("Via").build().raw.length;
  }
  if (octets === 0) throw new Error("nothing was done");
  return ((performance.now() - started) * 1000) / rounds;
}

class Relay implements TransportLayer, Flow {
  readonly transport = "udp";
  readonly reliable = false;
  readonly remoteHost = "127.0.0.2";
  readonly remotePort = 5060;
  readonly peerNames = [];
  readonly connectionId = 0;
  readonly points = [];
  readonly point: ListenPoint = {
    index: 0,
    transport: "udp",
    host: "127.0.0.1",
    port: 5060,
    sentBy: "127.0.0.1:5060",
    direction: "up",
    unknown: "refuse",
  };
  readonly layer: TransactionLayer;
  user: TransportUser = { receive() {} };
  readonly #time = new VirtualTime();
  #waiting = "";
  #sent = 0;
  #next = 0;

  constructor() {
    this.layer = createTransactionLayer(this.#time, this, new Telemetry());
    const layer = this.layer;
    let server: ServerTransaction;
    const client = {
      onResponse(response: Parameters<Parameters<TransactionLayer["send"]>[2]["onResponse"]>[0]) {
        server.respond(response.edit().removeFirstValue("Via").build() as typeof response);
      },
      onTimeout() {},
      onTransportError() {},
    };
    layer.user = {
      onRequest: (transaction) => {
        server = transaction;
        layer.send(transaction.request, this, client, { timeoutMs: 8000 });
      },
      onAck() {},
      onCancel() {},
    };
  }

  /** `total` relays at `rate` a second of virtual time; milliseconds of real time in all, and of the slowest single ones. */
  load(total: number, rate: number): { elapsed: number; longest: number; busiest: number; p999: number } {
    const buckets = new Uint32Array(100_000);
    let elapsed = 0;
    let longest = 0;
    let busiest = 0;
    for (let n = 0; n < total; n++) {
      const request = messageText(this.#next++);
      const before = process.cpuUsage();
      const started = performance.now();
      this.#time.advance(1000 / rate);
      this.user.receive(parseMessage(request), this);
      const response = buildResponse(parseMessage(this.#waiting) as SipRequest, 200).raw;
      this.user.receive(parseMessage(response), this);
      const took = performance.now() - started;
      elapsed += took;
      longest = Math.max(longest, took);
      if (took > 1) {
        const { user, system } = process.cpuUsage(before);
        busiest = Math.max(busiest, (user + system) / 1000);
      }
      buckets[Math.min(buckets.length - 1, Math.floor(took * 1000))]!++;
    }
    let over = total / 1000;
    let p999 = buckets.length - 1;
    for (; p999 > 0 && over > 0; p999--) over -= buckets[p999]!;
    return { elapsed, longest, busiest, p999: p999 / 1000 };
  }

  advance(ms: number): void {
    this.#time.advance(ms);
  }

  send(raw: string): void {
    this.#waiting = raw;
  }

  respond(raw: string): void {
    this.#sent += raw.length;
  }

  watch(): () => void {
    return () => {};
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  flowTo(): Flow {
    return this;
  }
  connection(): undefined {}
  pointFor(): ListenPoint {
    return this.point;
  }
  isOwn(): boolean {
    return false;
  }
}

/** The wheel asks for one timer at a time, so that a list will do. */
class VirtualTime implements Runtime {
  #now = 0;
  #timers: Array<{ at: number; run: () => void }> = [];
  readonly clock = { now: (): number => this.#now, wall: (): number => this.#now };
  readonly timers = {
    after: (ms: number, run: () => void): Timer => {
      const entry = { at: this.#now + ms, run };
      this.#timers.push(entry);
      return { cancel: () => this.#remove(entry) };
    },
    soon: (run: () => void): void => run(),
  };
  readonly random = {
    integer: (): number => 12345,
    bytes: (length: number): Uint8Array => new Uint8Array(length),
    token: (length: number): string => "r".repeat(length),
  };

  get network(): never {
    throw new Error("There is no network here.");
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#timers.find((each) => each.at <= end);
      if (due === undefined) break;
      this.#remove(due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = end;
  }

  #remove(entry: { at: number; run: () => void }): void {
    const at = this.#timers.indexOf(entry);
    if (at >= 0) this.#timers.splice(at, 1);
  }
}
