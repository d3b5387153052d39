import { Registry } from "prom-client";
import type { Runtime } from "../runtime/runtime.ts";
import type { EventName, Listener, Telemetry } from "./events.ts";
import { Gauges } from "./gauges.ts";
import { LoopLag } from "./loop-lag.ts";
import { type MetricsSources, readState } from "./state-metrics.ts";
import { type Bound, Tally, Timings, words } from "./tally.ts";

export interface MetricValue {
  readonly labels: Readonly<Partial<Record<string, string | number>>>;
  readonly value: number;
}

/** RFC 3261 and its extensions; what else comes in is `other`. */
const METHODS = [
  "INVITE",
  "ACK",
  "BYE",
  "CANCEL",
  "REGISTER",
  "OPTIONS",
  "MESSAGE",
  "SUBSCRIBE",
  "NOTIFY",
  "PUBLISH",
  "INFO",
  "UPDATE",
  "PRACK",
  "REFER",
];
const PLANS = [
  ...["relay", "fork", "redirect", "reject", "claim", "deregister", "refresh", "none", "hold", "compose", "store"],
  ...["spread", "credit", "reginfo", "winfo", "in-dialog", "stateless"],
];
const SPREAD_RULES = ["all", "mostactive", "roundrobin", "weighted", "only", "part", "Request-Disposition"];
const CLASSES = ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];
const TRANSPORTS = ["udp", "tcp", "tls", "ws", "wss"];
const ORIGINS = ["learned", "published", "registered", "admin", "provisioned"];
const STATUSES = ["0", "400", "403", "413", "414", "416", "420", "482", "483", "503", "505", "513"];
/** Labels whose words are ours, not the network's, but are not listed: the first so many are kept apart. */
const OWN_WORDS = 24;
const WAITS = [0.1, 1, 10, 60, 600, 3600, 21_600, 86_400, 604_800];
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 8, 32];

function statusClass(status: number): string {
  return CLASSES[Math.trunc(status / 100)] ?? "none";
}

/** The first word of a plan: `fork east,west` -> `fork`, `hold, extended to east` -> `hold`. */
function planKind(plan: string): string {
  const space = plan.indexOf(" ");
  const word = space < 0 ? plan : plan.slice(0, space);
  return word.endsWith(",") ? word.slice(0, -1) : word;
}

/**
 * Counts what happens and prints it for Prometheus. Each instance has a registry of its own. Events are counted in
 * plain numbers; labels are put on when the page is asked for. Every label has a bounded set of values.
 * The names are documented in docs/metrics.md.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #gauges = new Gauges(this.#registry);
  readonly #ends: (() => void)[] = [];
  readonly #telemetry: Telemetry;
  readonly #lag: LoopLag;

  constructor(runtime: Pick<Runtime, "clock" | "timers">, telemetry: Telemetry, sources: MetricsSources) {
    this.#telemetry = telemetry;
    this.#lag = new LoopLag(runtime);
    const server = (): Bound => knownServers(sources);
    this.#countRequests();
    this.#countServers(server);
    this.#countParts(server);
    this.#countTransport();
    this.#countUsers(server);
    this.#countMessages(server);
    this.#countRest();
    readState(this.#gauges, sources, this.#lag);
    this.#lag.start();
  }

  readonly contentType: string = Registry.PROMETHEUS_CONTENT_TYPE;

  /** The page, in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** The values of one metric alone, each with its labels; empty: there is no such metric. */
  async values(name: string): Promise<readonly MetricValue[]> {
    const metric = this.#registry.getSingleMetric(name);
    return metric === undefined ? [] : (await metric.get()).values;
  }

  stop(): void {
    this.#lag.stop();
    for (const end of this.#ends) end();
    this.#ends.length = 0;
  }

  #on<N extends EventName>(name: N, listener: Listener<N>): void {
    this.#ends.push(this.#telemetry.on(name, listener));
  }

  #tally(name: string, help: string, labels: Readonly<Record<string, Bound>>): Tally {
    return new Tally(this.#registry, { name: `codomain_${name}_total`, help, labels });
  }

  #countRequests(): void {
    const requests = this.#tally(
      "requests",
      "Requests that came to their end, by method, plan and class of the final status.",
      {
        method: words(METHODS),
        plan: words(PLANS),
        status: words(CLASSES),
      },
    );
    const durations = new Timings(this.#registry, {
      name: "codomain_request_duration_seconds",
      help: "Time from receipt to the final response.",
      label: "method",
      bound: words(METHODS),
      bounds: SECONDS,
    });
    this.#on("request", (e) => {
      requests.add(e.method, planKind(e.plan), statusClass(e.status));
      durations.add(e.method, e.durationMs / 1000);
    });
    const retransmissions = this.#tally("retransmissions", "Retransmissions absorbed (server) or sent (client).", {
      side: words(["client", "server"]),
      method: words(METHODS),
    });
    this.#on("retransmission", (e) => retransmissions.add(e.side, e.method));
    const stray = this.#tally("stray", "Responses, ACKs and CANCELs that match nothing.", {
      kind: words(["response", "ack", "cancel"]),
    });
    this.#on("stray", (e) => stray.add(e.kind));
    const loops = this.#tally("loops", "Requests refused for a loop or a hop limit.", { status: words(STATUSES) });
    this.#on("loop", (e) => loops.add(String(e.status)));
  }

  #countServers(server: () => Bound): void {
    const branches = this.#tally("branches", "Answers of branches; none: timeout or transport error.", {
      server: server(),
      method: words(METHODS),
      status: words(CLASSES),
    });
    const durations = new Timings(this.#registry, {
      name: "codomain_branch_duration_seconds",
      help: "Time until a branch was answered.",
      label: "server",
      bound: server(),
      bounds: SECONDS,
    });
    this.#on("branch", (e) => {
      branches.add(e.server, e.method, statusClass(e.status));
      durations.add(e.server, e.durationMs / 1000);
    });
    const spreads = this.#tally("spreads", "Requests to users of several servers, by the rule that chose them.", {
      method: words(METHODS),
      rule: words(SPREAD_RULES),
    });
    const asked = this.#tally("spread_branches", "Servers that they went to; took: answered 2xx.", {
      server: server(),
      result: words(["took", "not"]),
    });
    this.#on("spread", (e) => {
      spreads.add(e.method, /^[A-Za-z-]*/.exec(e.rule)![0]);
      for (const each of e.servers) asked.add(each, e.took.includes(each) ? "took" : "not");
    });
    const copies = this.#tally("copies", "Copies of what users wrote to their other servers; none: no answer.", {
      server: server(),
      status: words(CLASSES),
    });
    this.#on("copied", (e) => copies.add(e.server, statusClass(e.status)));
    const health = this.#tally("health_changes", "Nodes that went in or out of rotation.", {
      server: server(),
      state: words(["up", "down"]),
    });
    this.#on("health", (e) => health.add(e.server, e.up ? "up" : "down"));
    const proofs = this.#tally(
      "proof_removed",
      "Marks removed because a server answered 2xx for a user that cannot exist.",
      {
        server: server(),
        method: words(METHODS),
      },
    );
    this.#on("proofRemoved", (e) => proofs.add(e.server, e.method));
  }

  #countParts(server: () => Bound): void {
    const said = this.#tally("parts", "What servers said of their part of a composed document.", {
      server: server(),
      said: words(["confirmed", "pending", "denied", "out", "elsewhere", "away"]),
    });
    const confirmed = new Timings(this.#registry, {
      name: "codomain_part_confirmation_seconds",
      help: "Time from asking a server for its part to its first active NOTIFY.",
      label: "server",
      bound: server(),
      bounds: SECONDS,
    });
    this.#on("part", (e) => {
      said.add(e.server, e.said);
      if (e.said === "confirmed") confirmed.add(e.server, e.tookMs / 1000);
    });
  }

  #countTransport(): void {
    const transport = words(TRANSPORTS);
    const malformed = this.#tally(
      "malformed",
      "Bytes that were no message, and messages refused before any plan, by status answered; 0: dropped.",
      {
        transport,
        status: words(STATUSES),
      },
    );
    this.#on("malformed", (e) => malformed.add(e.transport, String(e.status)));
    const limited = this.#tally("limited", "Requests and connections turned away for a limit.", {
      what: words([], OWN_WORDS),
    });
    this.#on("limited", (e) => limited.add(e.what));
    const connections = this.#tally("connections", "Connections opened and closed.", {
      transport,
      state: words(["opened", "closed"]),
    });
    const open = new Map<string, number>();
    this.#on("connection", (e) => {
      connections.add(e.transport, e.state);
      const name = transport(e.transport);
      open.set(name, (open.get(name) ?? 0) + (e.state === "opened" ? 1 : -1));
    });
    this.#gauges.many("open_connections", "Connections open now.", ["transport"], () =>
      [...open].map(([name, value]) => ({ labels: { transport: name }, value })),
    );
    const errors = this.#tally("transport_errors", "Messages that did not leave, and ways that could not be opened.", {
      transport,
    });
    this.#on("transportError", (e) => errors.add(e.transport));
  }

  #countUsers(server: () => Bound): void {
    const learned = this.#tally("learned", "Users whose server was learned.", { server: server() });
    this.#on("learned", (e) => learned.add(e.server));
    const unlearned = this.#tally("unlearned", "Learned bindings dropped.", { server: server() });
    this.#on("unlearned", (e) => unlearned.add(e.server));
    const conflicts = this.#tally("conflicts", "Users whom two servers proved to have.", {});
    this.#on("conflict", () => conflicts.add());
    const bound = this.#tally("bound", "Claims that won, by whether the user's server changed.", {
      server: server(),
      origin: words(ORIGINS),
      changed: words(["true", "false"]),
    });
    this.#on("bound", (e) => bound.add(e.server, e.origin, String(e.changed)));
    const refused = this.#tally("claims_refused", "Claims that lost.", {
      server: server(),
      reason: words(["held-by", "stale", "damped"]),
    });
    this.#on("refused", (e) => refused.add(e.server, e.reason));
    const evictions = this.#tally("evictions", "Servers told that they have lost a user.", {
      server: server(),
      by: words(["reginfo", "register"]),
      result: words(["done", "later", "failed", "needless"]),
    });
    this.#on("evicted", (e) => evictions.add(e.server, e.by, e.result));
  }

  #countMessages(server: () => Bound): void {
    const stored = this.#tally("messages_stored", "MESSAGE requests stored and answered 202.", {});
    this.#on("messageStored", () => stored.add());
    const tries = this.#tally("message_tries", "Tries to deliver a stored message.", {
      server: server(),
      status: words(CLASSES),
    });
    this.#on("messageTried", (e) => tries.add(e.server, statusClass(e.status)));
    const ended = this.#tally("messages_ended", "Stored messages that wait no more.", {
      state: words(["delivered", "failed", "expired"]),
    });
    const waited = new Timings(this.#registry, {
      name: "codomain_message_wait_seconds",
      help: "Time from the receipt of a stored message to its end.",
      label: "state",
      bound: words(["delivered", "failed", "expired"]),
      bounds: WAITS,
    });
    this.#on("messageEnded", (e) => {
      ended.add(e.state);
      waited.add(e.state, e.waitedMs / 1000);
    });
  }

  #countRest(): void {
    let up = 1;
    const database = this.#tally("database_changes", "Times the database went away or came back.", {
      state: words(["up", "down"]),
    });
    this.#on("database", (e) => {
      up = e.up ? 1 : 0;
      database.add(e.up ? "up" : "down");
    });
    this.#gauges.one("database_up", "1 while the database answers: a proxy starts only when it does.", () => up);
    const points = this.#tally("decision_point_changes", "Times the policy decision point went away or came back.", {
      state: words(["up", "down"]),
    });
    this.#on("decisionPoint", (e) => points.add(e.up ? "up" : "down"));
    const pushes = this.#tally("pushes", "Users' rules brought to servers that keep their own.", {
      outcome: words(["pushed", "removed", "failed"]),
      reduced: words(["yes", "no"]),
    });
    this.#on("push", (e) => pushes.add(e.outcome, e.reductions > 0 ? "yes" : "no"));
    const moves = this.#tally("moves", "Users of batches, moved or refused.", { outcome: words(["moved", "refused"]) });
    this.#on("moveStep", (e) => moves.add(e.reason === null ? "moved" : "refused"));
    const subscriptions = this.#tally("subscription_changes", "What became of subscriptions that end at this proxy.", {
      change: words(["accepted", "extended", "moved", "held", "ended"]),
    });
    this.#on("subscription", (e) => subscriptions.add(e.change));
    const leases = this.#tally("lease_changes", "Leases of this proxy begun and lost, and takeovers from others.", {
      state: words(["begun", "lost", "took-over"]),
    });
    this.#on("lease", (e) => leases.add(e.state));
    const reconciled = this.#tally("reconciled", "Users whose server was asked whether it has them.", {
      verdict: words(["here", "gone", "repaired", "pinned", "conflict", "moved", "unknown", "unbelieved", "unasked"]),
    });
    this.#on("reconciled", (e) => reconciled.add(e.verdict));
    const reloads = this.#tally("config_reloads", "Configurations taken over while running.", {});
    this.#on("configReloaded", () => reloads.add());
    const warnings = this.#tally("warnings", "Warnings, by what they are about.", { what: words([], OWN_WORDS) });
    this.#on("warning", (e) => warnings.add(e.what));
  }
}

/** A bound for server labels that follows the configuration: a name is looked up when it first comes. */
function knownServers(sources: MetricsSources): Bound {
  return (word) => (sources.servers().some((each) => each.name === word) ? word : "other");
}

/** Starts counting. `stop` ends it. */
export function createMetrics(
  runtime: Pick<Runtime, "clock" | "timers">,
  telemetry: Telemetry,
  sources: MetricsSources,
): Metrics {
  return new Metrics(runtime, telemetry, sources);
}
