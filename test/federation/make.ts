import type { BindingOrigin, Lookup } from "../../src/directory/directory.ts";
import type { Facts, Origin, ServerFacts } from "../../src/federation/facts.ts";
import type { ForkPlan } from "../../src/federation/plan.ts";

export const NOW = 1_700_000_000_000;
export const AOR = "alice@example.com";

export const CLIENT: Origin = { kind: "client", authenticated: null };

export function fromServer(server: string): Origin {
  return { kind: "server", server };
}

/** A server with the default marks. */
export function server(name: string, change: Partial<ServerFacts> = {}): ServerFacts {
  return {
    name,
    up: true,
    drained: false,
    proves: ["MESSAGE", "INVITE", "SUBSCRIBE"],
    claims: ["register"],
    onward: "none",
    neverDenies: false,
    preserves: [],
    repoint: true,
    evict: "reginfo",
    reginfo: "contact",
    ...change,
  };
}

export const NO_BINDING: Lookup = { state: "no-binding", epoch: 3, user: null };
export const NO_RECORD: Lookup = { state: "no-record", epoch: 0 };

export function bound(
  name: string,
  origin: BindingOrigin = "learned",
  change: { epoch?: number; expiresAt?: number | null } = {},
): Lookup {
  const epoch = change.epoch ?? 7;
  const expiresAt = change.expiresAt === undefined ? NOW + 60_000 : change.expiresAt;
  return {
    state: "bound",
    epoch,
    user: null,
    binding: { aor: AOR, server: name, origin, epoch, expiresAt },
  };
}

export const DEFAULT_SETTINGS: Facts["settings"] = {
  home: null,
  routing: "proxy",
  subdomains: {},
  hold: { users: "known", events: ["presence"] },
  absentMessages: "refuse",
  watcherinfo: false,
  exclusive: { damping: { limit: 6, windowMs: 60_000 }, graceMs: 5_000 },
  unions: { trees: [], downListener: false, unreachable: "wait" },
  retryAfter: 10,
};

/** A MESSAGE from a client for an unbound partitioned user; servers east, west, north are up. */
export function facts(change: Partial<Facts> = {}): Facts {
  return {
    now: NOW,
    method: "MESSAGE",
    event: "",
    origin: CLIENT,
    aor: AOR,
    regServer: null,
    sender: { aor: "bob@example.com", trusted: false },
    lookup: NO_BINDING,
    directoryAvailable: true,
    model: { model: "partitioned" },
    modelFrom: "default",
    servers: [server("east"), server("west"), server("north")],
    identities: null,
    claim: "client",
    mayQueue: true,
    direction: "up",
    credit: "unasked",
    settings: DEFAULT_SETTINGS,
    without: [],
    ...change,
  };
}

export function settings(change: Partial<Facts["settings"]>): Facts["settings"] {
  return { ...DEFAULT_SETTINGS, ...change };
}

export function forkPlan(
  stages: readonly (readonly string[])[],
  change: { unasked?: readonly string[]; provers?: readonly string[] } = {},
): ForkPlan {
  return {
    kind: "fork",
    stages,
    unasked: change.unasked ?? [],
    provers: change.provers ?? stages.flat(),
    identities: null,
    unlearn: null,
    reasons: [],
  };
}

/** Property tests draw the same values every time; a seed of one's own looks further: `FAST_CHECK_SEED=7`. */
export function runs(numRuns: number): { readonly numRuns: number; readonly seed: number } {
  return { numRuns, seed: Number(process.env["FAST_CHECK_SEED"] ?? 3261) };
}
