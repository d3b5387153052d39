import type { Binding } from "../directory/directory.ts";
import type { Facts, ServerFacts } from "./facts.ts";
import type { HoldPlan, RedirectPlan, RejectPlan, RelayPlan, Reliance, StaleBinding } from "./plan.ts";

/** Small constructors and questions that the models share. */

const PHRASES: Readonly<Record<number, string>> = {
  403: "Forbidden",
  404: "Not Found",
  480: "Temporarily Unavailable",
  482: "Loop Detected",
  500: "Server Internal Error",
};

export interface RejectOptions {
  readonly retryAfter?: number;
  readonly warning?: string;
  readonly unlearn?: StaleBinding | null;
}

export function reject(status: number, reasons: readonly string[], options: RejectOptions = {}): RejectPlan {
  return {
    kind: "reject",
    status,
    phrase: PHRASES[status] ?? "",
    retryAfter: options.retryAfter ?? null,
    warning: options.warning ?? null,
    unlearn: options.unlearn ?? null,
    reasons,
  };
}

const DIRECTORY_AWAY = Object.freeze(["the directory is away, and this must be stored, claimed or loop-checked"]);

/** RFC 3261 10.3: 500 where a binding cannot be read or written; 503 would make peers stop sending us everything. */
export function directoryAway(facts: Facts): RejectPlan {
  return reject(500, DIRECTORY_AWAY, { retryAfter: facts.settings.retryAfter });
}

/** The binding that holds now; null where there is none or it has run out. */
export function liveBinding(facts: Facts): Binding | null {
  const lookup = facts.lookup;
  if (lookup.state !== "bound") return null;
  const { expiresAt } = lookup.binding;
  return expiresAt !== null && expiresAt <= facts.now ? null : lookup.binding;
}

/** True while the memory that every server said 404 lasts. */
export function allSaid404(facts: Facts): boolean {
  return facts.lookup.state === "all-said-404" && facts.lookup.until > facts.now;
}

export function serverNamed(facts: Facts, name: string): ServerFacts | undefined {
  const servers = facts.servers;
  for (let i = 0; i < servers.length; i++) if (servers[i]!.name === name) return servers[i];
  return undefined;
}

export function isAsker(facts: Facts, server: string): boolean {
  return facts.origin.kind === "server" && facts.origin.server === server;
}

/** What was learned is wrong where that very server asks, where it has just said 404, and where it is configured no more. */
export function isStale(facts: Facts, server: string): boolean {
  return isAsker(facts, server) || facts.without.includes(server) || serverNamed(facts, server) === undefined;
}

/** A *not here* may unlearn what was learned and have the request decided once more; once only. */
export function relianceOn(facts: Facts, binding: Binding): Reliance {
  return {
    origin: binding.origin,
    epoch: binding.epoch,
    retry: binding.origin === "learned" && facts.without.length === 0,
  };
}

export function staleBinding(binding: Binding): StaleBinding {
  return { server: binding.server, epoch: binding.epoch };
}

/** Relay, or 302 where the domain is run as a redirect server. */
export function send(
  facts: Facts,
  server: string,
  binding: Reliance | null,
  unlearn: StaleBinding | null,
  reasons: readonly string[],
): RelayPlan | RedirectPlan {
  const subdomain = facts.settings.subdomains[server] ?? null;
  const identity = facts.identities?.[server] ?? null;
  if (facts.settings.routing === "redirect" && unlearn === null) {
    return { kind: "redirect", server, subdomain, identity, reasons };
  }
  return { kind: "relay", server, binding, subdomain, identity, unlearn, reasons };
}

/** Back-to-back. `server` null: the user is on none, and it is held. */
export function holdPlan(facts: Facts, server: string | null, epoch: number, reasons: readonly string[]): HoldPlan {
  const searched = facts.model.model === "partitioned";
  return { kind: "hold", server, epoch, known: facts.settings.hold.users === "known", searched, reasons };
}
