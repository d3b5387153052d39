import { describe, expect, it } from "vitest";
import { type EventName, type Events, Telemetry } from "../../src/telemetry/events.ts";
import { createLogger, type LogLevel } from "../../src/telemetry/logger.ts";

const NAMES: readonly EventName[] = [
  "request",
  "malformed",
  "stray",
  "limited",
  "connection",
  "transportError",
  "retransmission",
  "branch",
  "learned",
  "unlearned",
  "conflict",
  "bound",
  "refused",
  "evicted",
  "health",
  "proofRemoved",
  "database",
  "loop",
  "moveStep",
  "reconciled",
  "moveBatch",
  "configReloaded",
  "warning",
];

const REQUEST: Events["request"] = {
  method: "MESSAGE",
  callId: "call-1@example.com",
  domain: "example.com",
  user: "joe",
  origin: "server:east",
  plan: "relay west",
  status: 200,
  durationMs: 1.23456,
  reasons: ["bound to west (learned)"],
};

function setUp(level: LogLevel) {
  const telemetry = new Telemetry();
  const written: string[] = [];
  const time = { now: 0 };
  const clock = { now: () => time.now, wall: () => 1_700_000_000_000 + time.now };
  const logger = createLogger(telemetry, { level, clock, destination: { write: (line) => void written.push(line) } });
  const lines = (): Record<string, unknown>[] => written.map((line) => JSON.parse(line) as Record<string, unknown>);
  return { telemetry, logger, written, lines, time };
}

describe("the log", () => {
  it("is one JSON line a request at info, with Call-ID, domain, user, origin, plan and outcome", () => {
    const { telemetry, lines, written } = setUp("info");
    telemetry.emit("request", REQUEST);
    telemetry.emit("branch", { method: "MESSAGE", server: "west", status: 200, durationMs: 1 });
    expect(lines()).toEqual([
      {
        level: "info",
        time: 1_700_000_000_000,
        method: "MESSAGE",
        callId: "call-1@example.com",
        domain: "example.com",
        user: "joe",
        origin: "server:east",
        plan: "relay west",
        outcome: 200,
        ms: 1.235,
        reasons: ["bound to west (learned)"],
        msg: "request",
      },
    ]);
    expect(written[0]).toMatch(/^[^\n]*\n$/);
  });

  it("listens to nothing at level off, so that it costs nothing", () => {
    const { telemetry } = setUp("off");
    expect(NAMES.filter((name) => telemetry.wants(name))).toEqual([]);
  });

  it("listens only to what its level may write", () => {
    expect(NAMES.filter((name) => setUp("error").telemetry.wants(name))).toEqual(["database"]);
    expect(setUp("warn").telemetry.wants("request")).toBe(false);
    expect(setUp("info").telemetry.wants("retransmission")).toBe(false);
    expect(NAMES.filter((name) => !setUp("debug").telemetry.wants(name))).toEqual([]);
  });

  it("changes its level while running", () => {
    const { telemetry, logger, lines } = setUp("off");
    telemetry.emit("request", REQUEST);
    logger.setLevel("info");
    telemetry.emit("request", REQUEST);
    logger.setLevel("error");
    telemetry.emit("request", REQUEST);
    expect(lines()).toHaveLength(1);
  });

  it("says good news more quietly than bad", () => {
    const { telemetry, lines } = setUp("debug");
    for (const up of [true, false]) {
      telemetry.emit("database", { up, reason: "" });
      telemetry.emit("health", { server: "east", node: "sip:127.0.0.11", up, reason: "" });
    }
    expect(lines().map((line) => line["level"])).toEqual(["info", "info", "error", "warn"]);
  });

  it("holds nothing that is not named: an event with more in it writes no more", () => {
    const { telemetry, written } = setUp("debug");
    telemetry.emit("request", { ...REQUEST, body: "my secret", authorization: "Digest s3cret" } as Events["request"]);
    expect(written.join("")).not.toMatch(/secret|s3cret|Digest/);
  });

  it("breaks no line and grows no line whatever a message holds", () => {
    const { telemetry, written, lines } = setUp("info");
    telemetry.emit("request", { ...REQUEST, callId: `a\n{"level":"error"}\u0000`, user: "x".repeat(60_000) });
    expect(written).toHaveLength(1);
    expect(written[0]!.indexOf("\n")).toBe(written[0]!.length - 1);
    expect(written[0]!.length).toBeLessThan(1000);
    expect(lines()[0]?.["callId"]).toBe(`a\n{"level":"error"}\u0000`);
  });

  it("is not flooded by what outsiders send: twenty lines a second, the rest counted", () => {
    const { telemetry, lines, time } = setUp("info");
    const event = { transport: "udp", source: "192.0.2.1", status: 400, reason: "no message" };
    for (let i = 0; i < 1000; i++) telemetry.emit("malformed", event);
    expect(lines()).toHaveLength(20);
    time.now = 1000;
    telemetry.emit("malformed", event);
    expect(lines()).toHaveLength(21);
    expect(lines()[20]?.["dropped"]).toBe(980);
  });

  it("listens no more once stopped", () => {
    const { telemetry, logger } = setUp("debug");
    logger.stop();
    expect(NAMES.filter((name) => telemetry.wants(name))).toEqual([]);
  });
});
