import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { type EventName, type Events, Telemetry } from "../../src/telemetry/events.ts";
import { createMetrics, type Metrics } from "../../src/telemetry/metrics.ts";
import type { MetricsSources, ServerState } from "../../src/telemetry/state-metrics.ts";

/** A clock and one timer, moved by hand. */
class Hand {
  now = 0;
  #due: { at: number; run: () => void } | undefined;
  readonly runtime: Pick<Runtime, "clock" | "timers"> = {
    clock: { now: () => this.now, wall: () => this.now },
    timers: {
      after: (ms, run) => {
        const due = { at: this.now + ms, run };
        this.#due = due;
        const cancel = (): void => {
          if (this.#due === due) this.#due = undefined;
        };
        return { cancel };
      },
      soon: () => {},
    },
  };

  /** Lets time pass; what was due in between runs only at its end, as after a pause. */
  pause(ms: number): void {
    this.now += ms;
    const due = this.#due;
    if (due === undefined || due.at > this.now) return;
    this.#due = undefined;
    due.run();
  }

  get armed(): boolean {
    return this.#due !== undefined;
  }
}

const EAST: ServerState = { name: "east", drained: false, nodes: [{ uri: "sip:127.0.0.11", up: true }] };

const REQUEST: Events["request"] = {
  method: "MESSAGE",
  callId: "a",
  domain: "example.com",
  user: "joe",
  origin: "client",
  plan: "relay east",
  status: 200,
  durationMs: 2,
  reasons: [],
};

let metrics: Metrics | undefined;

function setUp(servers: () => readonly ServerState[] = () => [EAST]) {
  const telemetry = new Telemetry();
  const hand = new Hand();
  const sources: MetricsSources = {
    servers,
    transactions: () => ({ server: 3, client: 4, completed: 5, completedBytes: 600 }),
    cached: () => 7,
    openForks: () => 8,
    subscriptions: () => ({ held: 4, live: 2, composed: 3 }),
    parts: () => [
      { server: "east", standing: "confirmed", count: 3 },
      { server: "gone", standing: "asked", count: 1 },
    ],
    stored: () => ({ messages: 3, octets: 900, inFlight: 1 }),
    waiting: () => 9,
  };
  metrics = createMetrics(hand.runtime, telemetry, sources);
  return { telemetry, hand, metrics };
}

afterEach(() => metrics?.stop());

async function lines(of: Metrics, name: string): Promise<string[]> {
  const text = await of.text();
  return text.split("\n").filter((line) => line.startsWith(name) && !line.startsWith("#"));
}

describe("metrics", () => {
  it("count requests by method, plan and class of status", async () => {
    const { telemetry, metrics } = setUp();
    telemetry.emit("request", REQUEST);
    telemetry.emit("request", { ...REQUEST, plan: "relay west" });
    telemetry.emit("request", { ...REQUEST, plan: "fork east,west", status: 404 });
    telemetry.emit("request", { ...REQUEST, method: "BREW", plan: "?", status: 0 });
    expect(await lines(metrics, "codomain_requests_total")).toEqual([
      'codomain_requests_total{method="MESSAGE",plan="relay",status="2xx"} 2',
      'codomain_requests_total{method="MESSAGE",plan="fork",status="4xx"} 1',
      'codomain_requests_total{method="other",plan="other",status="none"} 1',
    ]);
  });

  it("are not counted twice when the page is asked for twice", async () => {
    const { telemetry, metrics } = setUp();
    telemetry.emit("request", REQUEST);
    telemetry.emit("configReloaded", { changes: [] });
    const page = async (): Promise<string[]> =>
      (await lines(metrics, "codomain_")).filter((line) => !line.startsWith("codomain_resident"));
    expect(await page()).toEqual(await page());
    expect(await lines(metrics, "codomain_config_reloads_total")).toEqual(["codomain_config_reloads_total 1"]);
  });

  it("say of each server what it said of its parts, how long it took, and how they stand", async () => {
    const { telemetry, metrics } = setUp();
    const part = { server: "east", aor: "bob@example.com", tookMs: 40 } as const;
    telemetry.emit("part", { ...part, said: "confirmed" });
    telemetry.emit("part", { ...part, said: "denied" });
    telemetry.emit("part", { ...part, said: "denied", server: "unheard-of" });
    expect(await lines(metrics, "codomain_parts_total")).toEqual([
      'codomain_parts_total{server="east",said="confirmed"} 1',
      'codomain_parts_total{server="east",said="denied"} 1',
      'codomain_parts_total{server="other",said="denied"} 1',
    ]);
    expect(await lines(metrics, "codomain_part_confirmation_seconds_sum")).toEqual([
      'codomain_part_confirmation_seconds_sum{server="east"} 0.04',
    ]);
    expect(await lines(metrics, "codomain_composed_parts")).toEqual([
      'codomain_composed_parts{server="east",standing="confirmed"} 3',
    ]);
  });

  it("put durations into buckets that add up", async () => {
    const { telemetry, metrics } = setUp();
    for (const durationMs of [0.4, 0.5, 3, 60_000]) telemetry.emit("request", { ...REQUEST, durationMs });
    const name = "codomain_request_duration_seconds";
    expect(await lines(metrics, `${name}_bucket{method="MESSAGE",le="0.0005"}`)).toEqual([
      `${name}_bucket{method="MESSAGE",le="0.0005"} 2`,
    ]);
    expect(await lines(metrics, `${name}_bucket{method="MESSAGE",le="0.005"}`)).toEqual([
      `${name}_bucket{method="MESSAGE",le="0.005"} 3`,
    ]);
    expect(await lines(metrics, `${name}_bucket{method="MESSAGE",le="32"}`)).toEqual([
      `${name}_bucket{method="MESSAGE",le="32"} 3`,
    ]);
    expect(await lines(metrics, `${name}_bucket{method="MESSAGE",le="+Inf"}`)).toEqual([
      `${name}_bucket{method="MESSAGE",le="+Inf"} 4`,
    ]);
    expect(await lines(metrics, `${name}_count`)).toEqual([`${name}_count{method="MESSAGE"} 4`]);
    expect(await lines(metrics, `${name}_sum`)).toEqual([`${name}_sum{method="MESSAGE"} 60.0039`]);
  });

  it("know open connections, the database and the state of nodes", async () => {
    const { telemetry, metrics } = setUp();
    const connection = { transport: "tcp", remote: "127.0.0.1:9", reason: "" };
    telemetry.emit("connection", { ...connection, state: "opened" });
    telemetry.emit("connection", { ...connection, state: "opened" });
    telemetry.emit("connection", { ...connection, state: "closed" });
    expect(await lines(metrics, "codomain_open_connections")).toEqual(['codomain_open_connections{transport="tcp"} 1']);
    expect(await lines(metrics, "codomain_database_up")).toEqual(["codomain_database_up 1"]);
    telemetry.emit("database", { up: false, reason: "refused" });
    expect(await lines(metrics, "codomain_database_up")).toEqual(["codomain_database_up 0"]);
    expect(await lines(metrics, "codomain_node_up")).toEqual([
      'codomain_node_up{server="east",node="sip:127.0.0.11"} 1',
    ]);
    expect(await lines(metrics, "codomain_transactions")).toEqual([
      'codomain_transactions{side="server"} 3',
      'codomain_transactions{side="client"} 4',
    ]);
    expect(await lines(metrics, "codomain_completed_transactions_bytes")).toEqual([
      "codomain_completed_transactions_bytes 600",
    ]);
    expect(await lines(metrics, "codomain_waiting_requests")).toEqual(["codomain_waiting_requests 9"]);
  });

  it("tell a server that a reload brought from those that do not exist", async () => {
    let servers = [EAST];
    const { telemetry, metrics } = setUp(() => servers);
    telemetry.emit("learned", { aor: "a@b", server: "west", epoch: 1 });
    servers = [EAST, { ...EAST, name: "west" }];
    telemetry.emit("learned", { aor: "a@b", server: "west", epoch: 1 });
    expect(await lines(metrics, "codomain_learned_total")).toEqual([
      'codomain_learned_total{server="other"} 1',
      'codomain_learned_total{server="west"} 1',
    ]);
  });

  it("know the longest pause, since last asked and ever", async () => {
    const { hand, metrics } = setUp();
    hand.pause(50);
    hand.pause(250);
    hand.pause(60);
    expect(await lines(metrics, "codomain_longest_pause_seconds")).toEqual(["codomain_longest_pause_seconds 0.2"]);
    expect(await lines(metrics, "codomain_longest_pause_seconds")).toEqual(["codomain_longest_pause_seconds 0"]);
    expect(await lines(metrics, "codomain_longest_pause_ever_seconds")).toEqual([
      "codomain_longest_pause_ever_seconds 0.2",
    ]);
  });

  it("listen no more and leave no timer once stopped", () => {
    const { telemetry, hand, metrics } = setUp();
    expect(hand.armed).toBe(true);
    expect(telemetry.wants("request")).toBe(true);
    metrics.stop();
    expect(hand.armed).toBe(false);
    expect(telemetry.wants("request")).toBe(false);
  });

  it("of two instances do not mix", async () => {
    const first = setUp();
    const second = setUp();
    first.telemetry.emit("request", REQUEST);
    expect(await lines(first.metrics, "codomain_requests_total")).toHaveLength(1);
    expect(await lines(second.metrics, "codomain_requests_total")).toHaveLength(0);
    first.metrics.stop();
  });

  it("stay bounded whatever the network sends: no label takes its value from a message", async () => {
    const text = fc.oneof(fc.string(), fc.constantFrom("INVITE", "relay east", "udp", "east"));
    const number = fc.oneof(fc.integer(), fc.integer({ min: 0, max: 700 }));
    const { telemetry, metrics } = setUp();
    const send = (a: string, b: string, c: string, n: number): void => {
      const events: { [N in EventName]: Events[N] } = {
        request: { ...REQUEST, method: a, plan: b, origin: c, status: n, durationMs: n },
        malformed: { transport: a, source: b, status: n, reason: c },
        stray: { kind: a as "ack", callId: b },
        limited: { what: a, source: b },
        connection: { transport: a, remote: b, state: c as "opened", reason: b },
        transportError: { transport: a, remote: b, reason: c },
        message: {
          direction: a as "in",
          transport: b,
          localHost: a,
          localPort: n,
          remoteHost: c,
          remotePort: n,
          raw: a,
        },
        retransmission: { side: a as "client", method: b },
        branch: { method: a, server: b, status: n, durationMs: n },
        spread: { method: a, callId: b, aor: c, rule: a, servers: [b, c], took: [c] },
        copied: { aor: a, server: b, status: n },
        learned: { aor: a, server: b, epoch: n },
        unlearned: { aor: a, server: b, reason: c },
        conflict: { aor: a, servers: [b] },
        bound: { aor: a, server: b, origin: c, epoch: n, changed: true },
        refused: { aor: a, server: b, holder: c, reason: c },
        evicted: { aor: a, server: b, by: c as "register", result: a as "done", detail: c },
        health: { server: a, node: b, up: true, reason: c },
        proofRemoved: { server: a, method: b },
        database: { up: n > 0, reason: a },
        decisionPoint: { url: a, up: n > 0, reason: b },
        push: { aor: a, server: b, outcome: b as "pushed", reductions: n, error: a },
        loop: { callId: a, status: n, reason: b },
        subscription: {
          id: a,
          aor: b,
          watcher: c,
          event: a,
          epoch: n,
          change: b as "moved",
          server: c,
          reason: a,
        },
        part: { server: a, aor: b, said: c as "denied", tookMs: n },
        lease: { owner: a, state: b as "lost", rows: n },
        moveStep: { batch: a, aor: b, from: c, to: a, reason: b },
        reconciled: { aor: a, server: b, verdict: c, detail: a },
        moveBatch: { batch: a, state: b as "done", moved: n, refused: n },
        messageStored: { id: a, recipient: b, sender: c, server: a, octets: n },
        messageTried: { id: a, server: b, status: n, tries: n, durationMs: n },
        messageEnded: { id: a, recipient: b, sender: c, state: a as "failed", detail: b, waitedMs: n },
        configReloaded: { changes: [a] },
        warning: { what: a, detail: b },
      };
      for (const [name, event] of Object.entries(events)) telemetry.emit(name as EventName, event as never);
    };
    fc.assert(
      fc.property(text, text, text, number, (a, b, c, n) => send(a, b, c, n)),
      { numRuns: 3000, seed: 1 },
    );
    const before = (await metrics.text()).split("\n").length;
    fc.assert(
      fc.property(text, text, text, number, (a, b, c, n) => send(a, b, c, n)),
      { numRuns: 3000, seed: 2 },
    );
    const after = (await metrics.text()).split("\n").length;
    expect(before).toBeLessThan(2000);
    expect(after).toBeLessThan(2000);
    for (const line of (await metrics.text()).split("\n")) expect(line.length).toBeLessThan(300);
  });
});

describe("docs/metrics.md", () => {
  it("names every metric there is, and no other", async () => {
    const page = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
    const documented = [...page.matchAll(/^\| `(codomain_\w+)/gm)].map((match) => match[1]!).sort();
    const { metrics } = setUp();
    const real = [...(await metrics.text()).matchAll(/^# TYPE (\w+)/gm)].map((match) => match[1]!).sort();
    expect(documented).toEqual(real);
  });
});
