import { createHash } from "node:crypto";
import { DirectoryUnavailable } from "../base/errors.ts";
import type { Grant } from "../directory/unions.ts";
import { CREDIT_MS, type Credited, creditFor } from "../federation/credit.ts";
import type { SpreadPlan } from "../federation/plan.ts";
import { fansOut, isRoot, type Union, unionOf } from "../federation/union-view.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";
import { spenderOf } from "./steps/credit.ts";

/**
 * MESSAGEs and INVITEs that servers of a user who is on several send on, or back: what is written down before they are
 * sent one, and what is recognized by it (models.md, "Unioned"). What a credit of the server tells by itself is the
 * decision's (steps/credit.ts).
 */

/** In a tree: the server that sends it, where it sends on to its children by itself. */
function sendsOn(exchange: Exchange, union: Union | null): string | null {
  const { origin, facts } = exchange;
  if (origin.kind !== "server" || union === null || union.tops === null || facts === null) return null;
  const { server } = origin;
  if (union.below(server).length === 0) return null;
  return facts.servers.some((each) => each.name === server && fansOut(each)) ? server : null;
}

export function unionFor({ facts }: Pick<Exchange, "facts">): Union | null {
  if (facts === null || facts.model.model !== "unioned") return null;
  return unionOf(facts.model, facts.settings.unions.trees, facts.servers);
}

/**
 * A server of his that sends on to others may send a copy for each of them, and all come to us, where the first is sent to them
 * all: true for each but the first. As a proxy it forks, and its copies are one request (RFC 3261 8.2.2.2); with new
 * identifiers they are told by what the server was sent.
 */
export async function isAnotherCopy(core: Core, exchange: Exchange): Promise<boolean> {
  const { origin, facts } = exchange;
  if (origin.kind !== "server") return false;
  const from = facts?.servers.find((each) => each.name === origin.server);
  if (from === undefined || unionFor(exchange)?.members.includes(from.name) !== true) return false;
  if (!fansOut(from)) return isGoingRound(core, exchange, from.name);
  try {
    return (await isMerged(core, exchange, origin.server)) || (await isSentOnAgain(core, exchange));
  } catch (error) {
    if (!(error instanceof DirectoryUnavailable)) throw error;
    // Twice at a server is better than not at all.
    return false;
  }
}

/** What makes two requests the same for whoever sends them back: who writes what to whom. */
export function textOf(exchange: Exchange): string {
  const { watcher, aor, event, digest } = creditFor(exchange, "");
  return `${event} ${digest} ${aor} ${watcher}`;
}

/** A server that goes onward to nobody sends back what it is being asked: it has no such user (models.md, "Default routes"). */
export function isReturned({ openSpreads }: Core, exchange: Exchange): boolean {
  const { origin, facts } = exchange;
  if (openSpreads.size === 0 || origin.kind !== "server") return false;
  const from = facts?.servers.find((each) => each.name === origin.server);
  return from !== undefined && !fansOut(from) && openSpreads.has(`${origin.server} ${textOf(exchange)}`);
}

function isGoingRound(core: Core, exchange: Exchange, server: string): boolean {
  if (!core.repeats.isTooMany(`${server} ${textOf(exchange)}`)) return false;
  const { aor, event } = creditFor(exchange, server);
  core.telemetry.emit("warning", {
    what: `${server} sends back what it is sent`,
    detail: `the same ${event} for ${aor} comes from it again and again; if it sends on to others, its onward is children or both`,
  });
  return true;
}

/** A test-and-set: the first copy's granting is all of theirs, and the first one spends it. Up and down again it is another. */
async function isMerged(core: Core, exchange: Exchange, server: string): Promise<boolean> {
  const { request, direction } = exchange;
  const { callId, from, cseq, requestUri } = request;
  const id = sha256(`${server} ${direction} ${callId} ${from.tag ?? ""} ${cseq.number} ${requestUri}`);
  // Whoever sends it: the digest is of one request.
  const own = { ...creditFor(exchange, `${server}/merged`), watcher: exchange.aor, digest: id, count: 1 };
  const { unions } = core.directory;
  await unions.grant(id, [own], core.runtime.clock.wall() + CREDIT_MS);
  return !(await unions.spend(own, spenderOf(exchange)));
}

/**
 * Of the root, and of who sends down by a listener of its own, no credit tells whether it was sent this or whether its own
 * user writes it. What is on nobody's record goes on: twice is better than not at all.
 */
async function isSentOnAgain(core: Core, exchange: Exchange): Promise<boolean> {
  const union = unionFor(exchange);
  const server = sendsOn(exchange, union);
  if (server === null) return false;
  const { unions } = core.directory;
  const by = spenderOf(exchange);
  const sent = exchange.credit === "spent" || (await unions.spend(creditFor(exchange, sentTo(server)), by));
  if (sent) exchange.sentOn = true;
  return sent && !(await unions.spend(creditFor(exchange, childrenOf(server)), by));
}

const sha256 = (text: string): string => createHash("sha256").update(text, "latin1").digest("base64url");

/** Names beside those of servers, which have no slash in them. */
const sentTo = (server: string): string => `${server}/sent`;
const childrenOf = (server: string): string => `${server}/children`;

/** What the servers asked may send on, or back: to be on record before it is sent to them. */
export function grantsFor(
  exchange: Credited & Pick<Exchange, "facts">,
  plan: SpreadPlan,
  asked: readonly string[],
): readonly Grant[] {
  const grants: Grant[] = [];
  const union = unionFor(exchange);
  for (const server of asked) {
    if (union === null || union.tops === null) {
      const count = plan.credits[server];
      if (count !== undefined) grants.push({ ...creditFor(exchange, server), count });
      continue;
    }
    const count = union.below(server).length;
    if (count === 0 || !exchange.facts?.servers.some((each) => each.name === server && fansOut(each))) continue;
    const byCredit = !isRoot(union, server) && !exchange.facts.settings.unions.downListener;
    grants.push({ ...creditFor(exchange, byCredit ? server : sentTo(server)), count });
    grants.push({ ...creditFor(exchange, childrenOf(server)), count: 1 });
  }
  return grants;
}

/** A granting of ours, by the name it was given. */
export interface Granted extends Grant {
  readonly id: string;
}

export function named(id: string, grants: readonly Grant[]): readonly Granted[] {
  return grants.map((grant) => ({ ...grant, id }));
}

/** True for what a server was granted, under its name or one beside it. */
export function isOf(grant: Grant, server: string): boolean {
  return grant.server === server || grant.server === sentTo(server) || grant.server === childrenOf(server);
}

/**
 * It has been taken, refused or given up: what servers could still send on of it counts no more, so that what their own
 * users write, and the next call, is not taken for it; but for what may be under way this very moment.
 */
export async function takeBack(
  { directory, runtime }: Core,
  given: readonly Granted[],
  underWayMs: number,
): Promise<void> {
  const { unions } = directory;
  if (underWayMs > 0) {
    const grants = given.map(({ id: _, ...grant }) => grant);
    await unions.grant(`${given[0]?.id ?? ""}/over`, grants, runtime.clock.wall() + underWayMs);
  }
  await Promise.all(given.map(({ id, server }) => unions.revoke(id, server)));
}
