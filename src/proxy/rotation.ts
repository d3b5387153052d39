import type { ServerFacts } from "../federation/facts.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { Telemetry } from "../telemetry/events.ts";
import type { ServerOptions } from "./options.ts";

/** How a probe of a node or of a proof mark went; "no-answer" covers timeouts and transport errors. */
export type ProbeResult = number | "no-answer";

export interface Prober {
  /** OPTIONS to this node. */
  alive(node: SipUri): Promise<ProbeResult>;
  /** `method` to the server for a user that cannot exist (models.md, "Proof"). */
  impossible(node: SipUri, method: string): Promise<ProbeResult>;
}

export interface RotationOptions {
  readonly intervalMs: number;
  readonly failures: number;
}

export interface NodeStatus {
  readonly uri: string;
  readonly up: boolean;
  readonly consecutiveFailures: number;
}

export interface ServerStatus {
  readonly name: string;
  readonly up: boolean;
  readonly drained: boolean;
  readonly nodes: readonly NodeStatus[];
  readonly proves: readonly string[];
  /** Marks that failed their check. */
  readonly proofRemoved: readonly string[];
}

interface Node {
  readonly uri: SipUri;
  up: boolean;
  failures: number;
  /** It has answered or failed before; until then one failure is enough. */
  known: boolean;
}

const UNKNOWN_NODE = { up: true, failures: 0, known: false };

interface Server {
  options: ServerOptions;
  nodes: Node[];
  drained: boolean;
  turn: number;
  /** Nodes in rotation, in order. */
  ready: readonly SipUri[];
  /** Marks that hold: checked, and no 2xx for an impossible user. */
  proven: readonly string[];
  removed: readonly string[];
}

const DOWN_INTERVAL_MS = 2_000;

/** Marks for which a server may be asked about an impossible user; INVITE never is (models.md, "Proof"). */
const CHECKABLE = ["MESSAGE", "SUBSCRIBE", "OPTIONS"];

/**
 * Which servers and nodes are asked. A node leaves the rotation after consecutive failures (of probes or of traffic) and
 * comes back with the first answer. Proof marks count from when they were checked: at start, and at every recovery.
 */
export class Rotation {
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry;
  readonly #prober: Prober;
  readonly #onUp: (server: string) => void;
  #options: RotationOptions;
  #servers = new Map<string, Server>();
  #facts: readonly ServerFacts[] = [];
  #timer: Timer | undefined;
  #started = false;
  #stopped = false;
  #lastRound = Number.NEGATIVE_INFINITY;

  constructor(
    runtime: Runtime,
    telemetry: Telemetry,
    prober: Prober,
    options: RotationOptions,
    onUp: (server: string) => void,
  ) {
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#prober = prober;
    this.#options = options;
    this.#onUp = onUp;
  }

  /** Takes over a new list of servers; what is known of unchanged nodes and drains is kept. */
  configure(servers: readonly ServerOptions[], options: RotationOptions): void {
    this.#options = options;
    const probing = options.intervalMs > 0;
    const next = new Map<string, Server>();
    for (const each of servers) {
      const old = this.#servers.get(each.name);
      next.set(each.name, {
        options: each,
        nodes: each.nodes.map((uri) => ({
          ...(old?.nodes.find((node) => node.uri.raw === uri.raw) ?? UNKNOWN_NODE),
          uri,
        })),
        drained: old?.drained ?? false,
        turn: old?.turn ?? 0,
        ready: [],
        proven: each.proves.filter((mark) => !probing || !CHECKABLE.includes(mark) || old?.proven.includes(mark)),
        removed: (old?.removed ?? []).filter((mark) => each.proves.includes(mark)),
      });
    }
    this.#servers = next;
    this.#refresh();
    if (this.#started) this.#arm();
  }

  /** Probes every node and checks every mark once, then goes on in the background. Resolves after the first round. */
  async start(): Promise<void> {
    if (this.#options.intervalMs > 0) await this.#round();
    this.#started = true;
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Rebuilt only when something changes: the decision reads it for every request. */
  get facts(): readonly ServerFacts[] {
    return this.#facts;
  }

  status(): ServerStatus[] {
    return [...this.#servers.values()].map((server) => ({
      name: server.options.name,
      up: isUp(server),
      drained: server.drained,
      nodes: server.nodes.map((node) => ({ uri: node.uri.raw, up: node.up, consecutiveFailures: node.failures })),
      proves: server.proven,
      proofRemoved: server.removed,
    }));
  }

  server(name: string): ServerOptions | undefined {
    return this.#servers.get(name)?.options;
  }

  /** Nodes to try, in order: those in rotation, the next in turn first. */
  nodes(name: string): readonly SipUri[] {
    const server = this.#servers.get(name);
    if (server === undefined) return [];
    const { ready } = server;
    if (ready.length < 2 || server.options.balance !== "round-robin") return ready;
    const first = server.turn++ % ready.length;
    return [...ready.slice(first), ...ready.slice(0, first)];
  }

  /** An admin's drain: no new requests go there. False: there is no such server. */
  drain(name: string, drained: boolean): boolean {
    const server = this.#servers.get(name);
    if (server === undefined) return false;
    server.drained = drained;
    this.#refresh();
    if (!drained) this.#onUp(name);
    return true;
  }

  /** What traffic learned of a node: an answer of any kind, or none. */
  report(name: string, node: SipUri, answered: boolean, reason: string): void {
    const server = this.#servers.get(name);
    const found = server?.nodes.find((each) => each.uri.raw === node.raw);
    if (server === undefined || found === undefined) return;
    const known = found.known;
    found.known = true;
    if (answered) {
      if (found.failures === 0 && found.up) return;
      found.failures = 0;
      if (found.up) return;
      const wasUp = isUp(server);
      found.up = true;
      // What it showed before it was away proves nothing until it is asked again.
      if (!wasUp && this.#options.intervalMs > 0) {
        server.proven = server.proven.filter((mark) => !CHECKABLE.includes(mark));
      }
      this.#telemetry.emit("health", { server: name, node: node.raw, up: true, reason });
      this.#refresh();
      if (!wasUp) void this.#recovered(server);
      return;
    }
    found.failures++;
    if (!found.up || (known && found.failures < this.#options.failures)) return;
    found.up = false;
    this.#telemetry.emit("health", { server: name, node: node.raw, up: false, reason });
    this.#refresh();
    if (this.#started) this.#arm();
  }

  async #recovered(server: Server): Promise<void> {
    if (this.#options.intervalMs > 0) await this.#checkMarks(server);
    this.#onUp(server.options.name);
  }

  /** A mark that nobody answered about, or with a 5xx, stays unproven and is asked about again with the next round. */
  async #checkMarks(server: Server): Promise<void> {
    const node = server.nodes.find((each) => each.up);
    if (node === undefined) return;
    const name = server.options.name;
    const verdicts = await Promise.all(
      CHECKABLE.filter((mark) => server.options.proves.includes(mark)).map(
        async (mark) => [mark, await this.#prober.impossible(node.uri, mark)] as const,
      ),
    );
    const fooled = (mark: string): boolean =>
      verdicts.some(([each, result]) => each === mark && result !== "no-answer" && result >= 200 && result < 300);
    const silent = (mark: string): boolean =>
      verdicts.some(([each, result]) => each === mark && (result === "no-answer" || (result >= 500 && result < 600)));
    for (const mark of server.options.proves) {
      if (fooled(mark) && !server.removed.includes(mark))
        this.#telemetry.emit("proofRemoved", { server: name, method: mark });
    }
    server.removed = server.options.proves.filter(fooled);
    server.proven = server.options.proves.filter((mark) => !fooled(mark) && !silent(mark));
    this.#refresh();
  }

  /** Nodes out of rotation are asked more often, and even without probes: what comes back is to be used again soon. */
  async #round(): Promise<void> {
    const now = this.#runtime.clock.now();
    const { intervalMs } = this.#options;
    const everybody = intervalMs > 0 && now - this.#lastRound >= intervalMs;
    if (everybody) this.#lastRound = now;
    const probes: Promise<void>[] = [];
    for (const server of this.#servers.values()) {
      for (const node of server.nodes) {
        if (!everybody && node.up) continue;
        probes.push(
          this.#prober.alive(node.uri).then((result) => {
            const answered = result !== "no-answer" && result !== 503;
            this.report(server.options.name, node.uri, answered, answered ? "answers" : "does not answer OPTIONS");
          }),
        );
      }
    }
    await Promise.all(probes);
    if (intervalMs <= 0) return;
    const unchecked = [...this.#servers.values()].filter(
      (server) => isUp(server) && server.proven.length + server.removed.length < server.options.proves.length,
    );
    await Promise.all(unchecked.map((server) => this.#checkMarks(server)));
  }

  #arm(): void {
    if (this.#stopped || this.#timer !== undefined) return;
    const { intervalMs } = this.#options;
    if (intervalMs <= 0 && !this.#isAnyDown()) return;
    const wait = intervalMs > 0 ? Math.min(intervalMs, DOWN_INTERVAL_MS) : DOWN_INTERVAL_MS;
    this.#timer = this.#runtime.timers.after(wait, () => {
      void this.#round().then(() => {
        this.#timer = undefined;
        this.#arm();
      });
    });
  }

  #isAnyDown(): boolean {
    return [...this.#servers.values()].some((server) => server.nodes.some((node) => !node.up));
  }

  #refresh(): void {
    for (const server of this.#servers.values()) {
      server.ready = server.nodes.filter((node) => node.up).map((node) => node.uri);
    }
    this.#facts = [...this.#servers.values()].map((server) => ({
      name: server.options.name,
      up: isUp(server),
      drained: server.drained,
      proves: server.proven,
      claims: server.options.claims,
      onward: server.options.onward,
      neverDenies: server.options.neverDenies,
      preserves: server.options.preserves,
      repoint: server.options.repoint,
      evict: server.options.evict,
      reginfo: server.options.reginfo,
    }));
  }
}

function isUp(server: Server): boolean {
  return !server.drained && server.nodes.some((node) => node.up);
}
