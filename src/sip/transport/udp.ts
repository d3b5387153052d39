import { LRUCache } from "lru-cache";
import { TransportError } from "../../base/errors.ts";
import type { Address, Network, Timer, Timers, UdpSocket } from "../../runtime/runtime.ts";
import { bracketed } from "./address.ts";
import type { Point } from "./points.ts";
import type { Flow } from "./transport.ts";

/** The most octets a datagram can carry over IPv4: 65535 less the IP and UDP headers. */
const LARGEST = 65_507;
/** A network error that comes within this after a send is told to its sender. */
const ERROR_WINDOW_MS = 1_000;
/** Senders remembered per peer: the last ones. */
const WAITING = 32;
/** Recently used flows, found without building a key. A power of two. */
const RECENT = 64;

/** What a UDP point hands its datagrams to. */
export interface DatagramUser {
  datagram(bytes: Uint8Array, flow: UdpFlow): void;
  sent(raw: string, flow: UdpFlow): void;
  /** The network said that a peer cannot be reached. */
  unreachable(error: Error, host: string, port: number): void;
}

/** RFC 3261 18.4: errors that pass by themselves are not told; a retransmission heals them. */
const PASSING = new Set(["ENOBUFS", "EAGAIN", "EWOULDBLOCK", "EINTR"]);

export class UdpFlow implements Flow {
  readonly transport = "udp";
  readonly reliable = false;
  readonly peerNames: readonly string[] = [];
  readonly connectionId = 0;
  readonly point: Point;
  readonly remoteHost: string;
  readonly remotePort: number;
  readonly #port: UdpPort;
  /** Who to tell of an error: the last `WAITING` senders of this window, and those of the window before. */
  #waiting: Array<(error: Error) => void> = [];
  #before: ReadonlyArray<(error: Error) => void> = [];
  #next = 0;
  #expected = false;

  constructor(port: UdpPort, remoteHost: string, remotePort: number) {
    this.#port = port;
    this.point = port.point;
    this.remoteHost = remoteHost;
    this.remotePort = remotePort;
  }

  send(raw: string, failed?: (error: Error) => void): void {
    if (raw.length > LARGEST) {
      if (failed !== undefined) this.#port.later(() => failed(new TransportError("the message is too long for UDP")));
      return;
    }
    if (failed !== undefined) this.#wait(failed);
    this.#port.write(raw, this);
  }

  get local(): Address {
    return this.point;
  }

  /** A datagram path has no end to watch. */
  watch(): () => void {
    return () => {};
  }

  /** Tells those who sent just now. */
  fail(error: Error): void {
    const told = [...this.#before, ...this.#waiting];
    this.#before = [];
    this.#waiting = [];
    this.#next = 0;
    for (const each of told) each(error);
  }

  /** A window has passed. False: nobody waits any more. */
  turn(): boolean {
    this.#before = this.#waiting;
    this.#waiting = [];
    this.#next = 0;
    this.#expected = this.#before.length > 0;
    return this.#expected;
  }

  #wait(failed: (error: Error) => void): void {
    if (this.#waiting.length < WAITING) this.#waiting.push(failed);
    else {
      this.#waiting[this.#next] = failed;
      this.#next = (this.#next + 1) % WAITING;
    }
    if (this.#expected) return;
    this.#expected = true;
    this.#port.expect(this);
  }
}

/** One UDP listen point and the flows over it. */
export class UdpPort {
  readonly point: Point;
  readonly #timers: Timers;
  readonly #user: DatagramUser;
  readonly #flows: LRUCache<string, UdpFlow>;
  readonly #recent: Array<UdpFlow | undefined> = new Array(RECENT).fill(undefined);
  #socket: UdpSocket | undefined;
  /** Flows with senders that wait for errors. */
  #expecting: UdpFlow[] = [];
  #window: Timer | undefined;

  constructor(point: Point, timers: Timers, user: DatagramUser, maxFlows: number) {
    this.point = point;
    this.#timers = timers;
    this.#user = user;
    this.#flows = new LRUCache({ max: maxFlows });
  }

  async open(network: Network): Promise<void> {
    this.#socket = await network.udp(
      { host: this.point.host, port: this.point.port },
      {
        receive: (bytes, host, port) => this.#user.datagram(bytes, this.flow(host, port)),
        failed: (error, host, port) => this.#failed(error, host, port),
      },
    );
    this.point.bound(this.#socket.local);
  }

  async close(): Promise<void> {
    this.#window?.cancel();
    this.#window = undefined;
    this.#expecting = [];
    const socket = this.#socket;
    this.#socket = undefined;
    await socket?.close();
  }

  /** The one flow to a peer while it is in use. */
  flow(host: string, port: number): UdpFlow {
    const slot = (port + host.charCodeAt(host.length - 1)) & (RECENT - 1);
    const recent = this.#recent[slot];
    if (recent !== undefined && recent.remotePort === port && recent.remoteHost === host) return recent;
    const key = `${host} ${port}`;
    let flow = this.#flows.get(key);
    if (flow === undefined) {
      flow = new UdpFlow(this, host, port);
      this.#flows.set(key, flow);
    }
    this.#recent[slot] = flow;
    return flow;
  }

  write(raw: string, flow: UdpFlow): void {
    this.#socket?.send(Buffer.from(raw, "latin1"), flow.remoteHost, flow.remotePort);
    this.#user.sent(raw, flow);
  }

  later(run: () => void): void {
    this.#timers.soon(run);
  }

  expect(flow: UdpFlow): void {
    this.#expecting.push(flow);
    this.#window ??= this.#timers.after(ERROR_WINDOW_MS, () => this.#turn());
  }

  /** Each sender is remembered for one whole window at least, two at most. */
  #turn(): void {
    this.#expecting = this.#expecting.filter((flow) => flow.turn());
    const idle = this.#expecting.length === 0;
    this.#window = idle ? undefined : this.#timers.after(ERROR_WINDOW_MS, () => this.#turn());
  }

  #failed(error: Error, host: string, port: number): void {
    const code = "code" in error ? String(error.code) : "";
    if (PASSING.has(code)) return;
    this.#user.unreachable(error, host, port);
    const told = new TransportError(`udp ${bracketed(host)}:${port}: ${error.message}`, { cause: error });
    this.#flows.get(`${host} ${port}`)?.fail(told);
  }
}
