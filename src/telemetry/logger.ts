import { pino } from "pino";
import type { Clock } from "../runtime/runtime.ts";
import type { EventName, Events, Telemetry } from "./events.ts";

export type LogLevel = "off" | "error" | "warn" | "info" | "debug";
type LineLevel = Exclude<LogLevel, "off">;

const SEVERITY: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50, off: 100 };

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Wall time of the lines. */
  readonly clock: Clock;
  /** Where lines go; default: standard output, written in the background. */
  readonly destination?: LogDestination;
}

export interface LogDestination {
  write(line: string): void;
  flushSync?(): void;
}

export interface Logger {
  setLevel(level: LogLevel): void;
  /** Listens no more, and writes what is left. */
  stop(): void;
}

/** One line for one event. */
interface Line {
  readonly level: LineLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

interface Source<N extends EventName> {
  /** The most severe its lines get: below the level set, the event is not even listened to. */
  readonly worst: LineLevel;
  /** Outsiders can cause as many as they like: at most so many lines a second, the rest counted. */
  readonly throttled?: boolean;
  line(event: Events[N]): Line;
}

/** All but whole messages: those are for captures. */
type LoggedName = Exclude<EventName, "message">;
type Sources = { readonly [N in LoggedName]: Source<N> };

/** What outsiders chose, at a length that a log can bear. */
const MAX_TEXT = 256;
const LINES_PER_SECOND = 20;

function text(value: string): string {
  return value.length <= MAX_TEXT ? value : `${value.slice(0, MAX_TEXT)}…`;
}

function source<N extends EventName>(
  worst: LineLevel,
  message: string,
  fields: (event: Events[N]) => Readonly<Record<string, unknown>>,
  more: { readonly throttled?: boolean; level?(event: Events[N]): LineLevel } = {},
): Source<N> {
  return {
    worst,
    throttled: more.throttled ?? false,
    line: (event) => ({ level: more.level?.(event) ?? worst, message, fields: fields(event) }),
  };
}

/** Bodies, header values and credentials are in no event; here too fields are named one by one, never passed through. */
const SOURCES: Sources = {
  request: source("info", "request", (e) => ({
    method: text(e.method),
    callId: text(e.callId),
    domain: text(e.domain),
    user: text(e.user),
    origin: text(e.origin),
    plan: e.plan,
    outcome: e.status,
    ms: Math.round(e.durationMs * 1000) / 1000,
    reasons: e.reasons,
  })),
  malformed: source(
    "info",
    "malformed",
    (e) => ({ transport: e.transport, source: text(e.source), outcome: e.status, reason: text(e.reason) }),
    { throttled: true },
  ),
  stray: source("debug", "stray", (e) => ({ kind: e.kind, callId: text(e.callId) }), { throttled: true }),
  limited: source("warn", "limited", (e) => ({ what: text(e.what), source: text(e.source) }), { throttled: true }),
  connection: source("debug", "connection", (e) => ({
    transport: e.transport,
    remote: e.remote,
    state: e.state,
    reason: text(e.reason),
  })),
  transportError: source(
    "warn",
    "transport error",
    (e) => ({ transport: e.transport, remote: e.remote, reason: text(e.reason) }),
    {
      throttled: true,
    },
  ),
  retransmission: source("debug", "retransmission", (e) => ({ side: e.side, method: text(e.method) })),
  spread: source("info", "spread", (e) => ({
    method: text(e.method),
    callId: text(e.callId),
    aor: text(e.aor),
    rule: e.rule,
    servers: e.servers,
    took: e.took,
  })),
  copied: source("debug", "copied", (e) => ({ aor: text(e.aor), server: e.server, outcome: e.status })),
  branch: source("debug", "branch", (e) => ({
    method: text(e.method),
    server: e.server,
    outcome: e.status,
    ms: e.durationMs,
  })),
  learned: source("info", "learned", (e) => ({ user: text(e.aor), server: e.server, epoch: e.epoch })),
  unlearned: source("info", "unlearned", (e) => ({ user: text(e.aor), server: e.server, reason: text(e.reason) })),
  conflict: source("warn", "conflict", (e) => ({ user: text(e.aor), servers: e.servers })),
  bound: source(
    "info",
    "bound",
    (e) => ({ user: text(e.aor), server: e.server, origin: e.origin, epoch: e.epoch, changed: e.changed }),
    { level: (e) => (e.changed ? "info" : "debug") },
  ),
  refused: source("info", "claim refused", (e) => ({
    user: text(e.aor),
    server: e.server,
    holder: e.holder,
    reason: text(e.reason),
  })),
  evicted: source(
    "info",
    "evicted",
    (e) => ({ user: text(e.aor), server: e.server, by: e.by, result: e.result, detail: text(e.detail) }),
    { level: (e) => (e.result === "failed" ? "warn" : "info") },
  ),
  health: source("warn", "health", (e) => ({ server: e.server, node: e.node, up: e.up, reason: text(e.reason) }), {
    level: (e) => (e.up ? "info" : "warn"),
  }),
  proofRemoved: source("warn", "proof removed", (e) => ({ server: e.server, method: e.method })),
  database: source("error", "database", (e) => ({ up: e.up, reason: text(e.reason) }), {
    level: (e) => (e.up ? "info" : "error"),
  }),
  decisionPoint: source("error", "decision point", (e) => ({ url: e.url, up: e.up, reason: text(e.reason) }), {
    level: (e) => (e.up ? "info" : "error"),
  }),
  push: source(
    "warn",
    "rules pushed",
    (e) => ({
      user: text(e.aor),
      server: e.server,
      outcome: e.outcome,
      reductions: e.reductions,
      reason: text(e.error),
    }),
    { level: (e) => (e.outcome === "failed" ? "warn" : "info"), throttled: true },
  ),
  loop: source("info", "loop", (e) => ({ callId: text(e.callId), outcome: e.status, reason: text(e.reason) }), {
    throttled: true,
  }),
  subscription: source("debug", "subscription", (e) => ({
    id: text(e.id),
    user: text(e.aor),
    watcher: text(e.watcher),
    event: text(e.event),
    change: e.change,
    server: e.server,
    epoch: e.epoch,
    ...(e.reason === undefined ? {} : { reason: text(e.reason) }),
  })),
  part: source("debug", "part", (e) => ({ server: e.server, user: text(e.aor), said: e.said, ms: e.tookMs })),
  lease: source("info", "lease", (e) => ({ owner: e.owner, state: e.state, rows: e.rows }), {
    level: (e) => (e.state === "lost" ? "warn" : "info"),
  }),
  moveStep: source("debug", "move", (e) => ({
    batch: text(e.batch),
    user: text(e.aor),
    from: e.from,
    to: e.to,
    reason: e.reason,
  })),
  reconciled: source(
    "warn",
    "reconciled",
    (e) => ({ user: text(e.aor), server: e.server, verdict: e.verdict, detail: text(e.detail) }),
    { level: (e) => (["repaired", "pinned", "conflict"].includes(e.verdict) ? "warn" : "debug") },
  ),
  moveBatch: source("info", "batch of moves", (e) => ({
    batch: text(e.batch),
    state: e.state,
    moved: e.moved,
    refused: e.refused,
  })),
  messageStored: source("info", "message stored", (e) => ({
    id: e.id,
    user: text(e.recipient),
    sender: text(e.sender),
    server: e.server,
    octets: e.octets,
  })),
  messageTried: source("debug", "message tried", (e) => ({
    id: e.id,
    server: e.server,
    outcome: e.status,
    tries: e.tries,
    ms: Math.round(e.durationMs),
  })),
  messageEnded: source(
    "warn",
    "message ended",
    (e) => ({
      id: e.id,
      user: text(e.recipient),
      sender: text(e.sender),
      state: e.state,
      reason: text(e.detail),
      ms: Math.round(e.waitedMs),
    }),
    { level: (e) => (e.state === "delivered" ? "info" : "warn") },
  ),
  configReloaded: source("info", "configuration reloaded", (e) => ({ changes: e.changes })),
  warning: source("warn", "warning", (e) => ({ what: text(e.what), detail: text(e.detail) })),
};

/** JSON lines (pino) of what happens. Level `off` listens to nothing, so it costs nothing. */
export function createLogger(telemetry: Telemetry, options: LoggerOptions): Logger {
  const { clock } = options;
  const own =
    options.destination === undefined
      ? pino.destination({ dest: 1, sync: false, minLength: 4096, periodicFlush: 250 })
      : undefined;
  const destination: LogDestination = options.destination ?? own!;
  const log = pino(
    {
      level: "trace",
      base: null,
      timestamp: () => `,"time":${clock.wall()}`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  let ends: (() => void)[] = [];

  const listen = <N extends LoggedName>(name: N, threshold: number): void => {
    const { worst, throttled, line } = SOURCES[name] as Source<N>;
    if (SEVERITY[worst] < threshold) return;
    const throttle = throttled ? new Throttle(clock) : undefined;
    const end = telemetry.on(name, (event) => {
      const dropped = throttle?.take();
      if (dropped === null) return;
      const { level, message, fields } = line(event);
      if (SEVERITY[level] < threshold) return;
      log[level](dropped === undefined || dropped === 0 ? fields : { ...fields, dropped }, message);
    });
    ends.push(end);
  };

  const stop = (): void => {
    for (const end of ends) end();
    ends = [];
  };
  const setLevel = (level: LogLevel): void => {
    stop();
    if (level === "off") return;
    for (const name of Object.keys(SOURCES) as LoggedName[]) listen(name, SEVERITY[level]);
  };
  setLevel(options.level);
  return {
    setLevel,
    stop: () => {
      stop();
      destination.flushSync?.();
    },
  };
}

class Throttle {
  readonly #clock: Clock;
  #second = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #dropped = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many lines were dropped before this one; null: drop this one too. */
  take(): number | null {
    const now = this.#clock.now();
    if (now - this.#second >= 1000) {
      this.#second = now;
      this.#lines = 0;
    }
    if (this.#lines >= LINES_PER_SECOND) {
      this.#dropped++;
      return null;
    }
    this.#lines++;
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
