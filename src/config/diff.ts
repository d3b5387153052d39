import { isDeepStrictEqual } from "node:util";
import type { Config } from "./config.ts";

/** One thing that differs between two configurations. */
export interface ConfigChange {
  /** `servers.east`, `limits.connections`, `listen`. */
  readonly path: string;
  readonly kind: "added" | "removed" | "changed";
  /** True: it takes effect at the next start only. */
  readonly restart: boolean;
  /** For people; names no secret. */
  readonly text: string;
}

/** What is built once, at start. */
const AT_START: readonly string[] = [
  "listen",
  "database",
  "admin",
  "proxyName",
  "timers.t1",
  "timers.t2",
  "timers.t4",
  "limits",
  "subscriptions.longestExpiryMs",
  "subscriptions.shortestExpiryMs",
  "subscriptions.notifyIntervalMs",
  "subscriptions.perWatcher",
  "subscriptions.perUser",
  "subscriptions.perOrigin",
  "subscriptions.most",
  "absentMs",
  "capture",
];
/** Their values hold passwords, tokens or keys. */
const SECRET: readonly string[] = ["listen", "database", "admin.token", "capture"];
const BY_NAME: readonly string[] = ["servers", "trees"];
const SECTIONS: readonly string[] = [
  "admin",
  "clients",
  "messages",
  "subscriptions",
  "exclusive",
  "reconcile",
  "policy",
  "timers",
  "limits",
  "health",
  "logging",
];

/** Everything that differs, in the order of the configuration; empty: nothing. */
export function diffConfig(before: Config, after: Config): readonly ConfigChange[] {
  const changes: ConfigChange[] = [];
  const add = (path: string, kind: ConfigChange["kind"], from?: unknown, to?: unknown): void => {
    const simple =
      kind === "changed" &&
      !SECRET.includes(path) &&
      [from, to].every((each) => typeof each !== "object" || each === null);
    const restart = AT_START.some((each) => path === each || path.startsWith(`${each}.`));
    const values = simple ? ` from ${String(from)} to ${String(to)}` : "";
    changes.push({ path, kind, restart, text: `${path} ${kind}${values}${restart ? " (at the next start)" : ""}` });
  };
  for (const key of Object.keys(before) as (keyof Config)[]) {
    const from = before[key];
    const to = after[key];
    if (isDeepStrictEqual(from, to)) continue;
    if (BY_NAME.includes(key)) diffNamed(key, from as readonly Named[], to as readonly Named[], add);
    else if (SECTIONS.includes(key)) diffSection(key, from as object, to as object, add);
    else add(key, "changed", from, to);
  }
  return changes;
}

interface Named {
  readonly name: string;
}

type Add = (path: string, kind: ConfigChange["kind"], from?: unknown, to?: unknown) => void;

function diffNamed(key: string, before: readonly Named[], after: readonly Named[], add: Add): void {
  for (const old of before) {
    const now = after.find((each) => each.name === old.name);
    if (now === undefined) add(`${key}.${old.name}`, "removed");
    else if (!isDeepStrictEqual(old, now)) add(`${key}.${old.name}`, "changed", old, now);
  }
  for (const now of after) if (!before.some((each) => each.name === now.name)) add(`${key}.${now.name}`, "added");
  const order = (list: readonly Named[], other: readonly Named[]): string[] =>
    list.map((each) => each.name).filter((name) => other.some((each) => each.name === name));
  if (!isDeepStrictEqual(order(before, after), order(after, before))) add(key, "changed", before, after);
}

function diffSection(key: string, before: object, after: object, add: Add): void {
  const now = new Map<string, unknown>(Object.entries(after));
  for (const [part, from] of Object.entries(before)) {
    if (key === "admin" && (part === "host" || part === "port")) continue;
    if (!isDeepStrictEqual(from, now.get(part))) add(`${key}.${part}`, "changed", from, now.get(part));
  }
}
