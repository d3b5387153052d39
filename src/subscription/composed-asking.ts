import { DirectoryUnavailable } from "../base/errors.ts";
import { SENT_ON_MS, type UnionStore } from "../directory/unions.ts";
import { backOffMs } from "../sip/dialog/usage.ts";
import { Child, NO_VERSION } from "./child.ts";
import { type Composed, evidenceOf, UNKNOWN } from "./composed.ts";
import { decideAsked, decideChildren } from "./composed-decision.ts";
import type { ComposedShowing } from "./composed-showing.ts";
import type { Desk } from "./desk.ts";
import type { Documents } from "./documents.ts";
import { Granting } from "./granting.ts";
import type { LegSide } from "./leg-side.ts";
import type { ServerDesk, UnionFound } from "./ports.ts";
import type { Subscription } from "./subscription.ts";

export interface AskingParts {
  readonly desk: Desk;
  readonly unions: Pick<UnionStore, "visit" | "leave" | "grant" | "arrived" | "revoke" | "fate">;
  readonly servers: ServerDesk;
  readonly documents: Documents;
  readonly legs: LegSide;
  /** The name that rows bear; null: no lease runs. */
  readonly owner: () => string | null;
}

/** Whom a composed subscription asks: which children there are, now and when that changes, and what allows to ask them. */
export class ComposedAsking {
  /** Changes after which children are to be looked at again. */
  changes = 0;
  readonly #parts: AskingParts;
  readonly #desk: Desk;
  readonly #showing: ComposedShowing;

  constructor(parts: AskingParts, showing: ComposedShowing) {
    this.#parts = parts;
    this.#desk = parts.desk;
    this.#showing = showing;
  }

  /** Those that are to be, by what is known now. */
  look(subscription: Subscription): void {
    const composed = subscription.composed!;
    if (subscription.ending || !this.#desk.isOurs(subscription)) return;
    composed.seen = this.changes;
    const union = this.#parts.servers.union(subscription.aor, composed.view);
    if (!(union instanceof Promise)) return this.#found(subscription, union);
    // What is fetched is shown once: not before it is known of whom.
    if (composed.isFetch) composed.seen = UNKNOWN;
    union
      .then((found) => this.#found(subscription, found))
      .catch((error: Error) => this.#desk.failed("the servers of a user could not be found", error));
  }

  #found(subscription: Subscription, union: UnionFound): void {
    const composed = subscription.composed!;
    if (subscription.ending || !this.#desk.isOurs(subscription)) return;
    if (union === "elsewise") return this.#showing.end(subscription, "deactivated");
    if (union === "away") {
      composed.seen = UNKNOWN;
      return this.place(subscription);
    }
    if (composed.isFetch) composed.seen = this.changes;
    const before = composed.union;
    composed.union = union;
    composed.visits = union.visited;
    this.reshape(subscription);
    this.askOut(subscription, Number.POSITIVE_INFINITY);
    for (const child of composed.children)
      if (before !== null && !isSameList(before.below[child.server], union.below[child.server]))
        this.#askAnew(subscription, child);
    this.place(subscription);
    this.#showing.settle(subscription);
  }

  /** Those that there are to be become those that there are; who is new is asked by `place`. True: there are others now. */
  reshape(subscription: Subscription): boolean {
    const composed = subscription.composed!;
    const { union, children } = composed;
    if (union === null) return false;
    const named = (server: string): Child | undefined => children.find((each) => each.server === server);
    const there = children.map(({ server }) => server);
    const wanted = decideAsked(union.servers, union.below, there, (server) => named(server)?.stands ?? null);
    const { come, go } = decideChildren(wanted, there);
    if (come.length + go.length === 0) return false;
    for (const child of children) if (go.includes(child.server)) this.dismiss(subscription, child);
    composed.children = wanted.map((server) => named(server) ?? this.childFor(composed, server));
    // Where one that had consented for all below it is away, nobody's silence hides the whole.
    for (const each of composed.children)
      if (come.includes(each.server) && subscription.active && !union.servers.includes(each.server))
        each.optional = true;
    if (subscription.stored) void this.#desk.save(subscription);
    return true;
  }

  /**
   * Its server has unsubscribed from those below it, while our leg to it lives: it mistook one leg's for another's. It is
   * asked anew, and soon after that not at once: legs that are begun together are mistaken for each other together.
   */
  letGo(subscription: Subscription, child: Child): void {
    if (child.leg === null) return;
    const now = this.#desk.now();
    child.askAnewAt = Math.max(now, child.askedAnewAt + ASKED_ANEW_MS);
    if (child.askAnewAt === now) this.askAnew(subscription, child);
    this.#desk.arm(subscription);
  }

  /** The moment for it has come. */
  askAnew(subscription: Subscription, child: Child): void {
    child.askAnewAt = 0;
    if (child.leg !== null) child.askedAnewAt = this.#desk.now();
    this.#askAnew(subscription, child);
  }

  /** It sends a subscription on when it gets it, and to those that were below it then. */
  #askAnew(subscription: Subscription, child: Child): void {
    if (child.leg === null) return;
    this.forget(subscription, child);
    child.isSilent(this.#desk.now());
    this.open(subscription, child);
  }

  askOut(subscription: Subscription, now: number): void {
    for (const child of subscription.composed!.children)
      if (child.standing === "out" && child.restsUntil <= now) this.open(subscription, child);
  }

  childFor({ isFetch }: Composed, server: string): Child {
    const child = new Child(server);
    child.optional = !isFetch && this.#parts.servers.mayBeMissing(server);
    child.isSilent(this.#desk.now());
    return child;
  }

  dismiss(subscription: Subscription, child: Child): void {
    this.forget(subscription, child);
    this.dropDocument(child);
    this.leave(subscription, child);
  }

  /** Whoever is to be asked and is not, is; where the rules let him see nothing, nobody is. */
  place(subscription: Subscription): void {
    const composed = subscription.composed!;
    if (subscription.ending || !(subscription.stored || composed.isFetch) || !this.#desk.isOurs(subscription)) return;
    const follows = this.#desk.gate.follows(subscription);
    if (follows === false) return this.#rest(subscription);
    if (follows === null) return;
    for (const child of composed.children)
      if (child.retryAt === 0 && !child.isFinal && !DROPPED.has(child.standing)) this.open(subscription, child);
    this.#desk.arm(subscription);
  }

  /** For a watcher who is to be shown nothing no server is asked. */
  #rest(subscription: Subscription): void {
    const { children } = subscription.composed!;
    if (children.every(({ leg }) => leg === null)) return;
    for (const child of children) {
      this.dismiss(subscription, child);
      child.standing = "asked";
      child.epoch = 0;
      child.retryAt = 0;
      child.speaks();
      child.isSilent(this.#desk.now());
    }
    this.#showing.showClosed(subscription);
    if (subscription.stored) void this.#desk.save(subscription);
  }

  /** What allows a SUBSCRIBE is written down before it is sent (concurrency.md 8). */
  open(subscription: Subscription, child: Child): void {
    if (child.leg !== null || child.preparing || this.#desk.gate.follows(subscription) !== true) return;
    const { visits, union } = subscription.composed!;
    child.retryAt = 0;
    const isToVisit = visits && !child.taken;
    const count = union?.credits[child.server] ?? 0;
    if (!isToVisit && count === 0) return this.#begin(subscription, child);
    child.preparing = true;
    this.#prepare(subscription, child, isToVisit, count)
      .catch((error: Error) => {
        child.preparing = false;
        this.later(child);
        this.#desk.failed("a leg could not be prepared", error);
      })
      .finally(() => this.#desk.arm(subscription));
  }

  async #prepare(subscription: Subscription, child: Child, isToVisit: boolean, count: number): Promise<void> {
    const outcome = await this.#allowed(subscription, child, isToVisit, count);
    child.preparing = false;
    if (outcome === "lost") return this.#desk.lost(subscription);
    if (outcome === "taken") child.taken = isToVisit || child.taken;
    const isWanted = subscription.composed!.children.includes(child) && !subscription.ending;
    if (!isWanted || !this.#desk.isOurs(subscription)) return this.#giveUp(subscription, child);
    if (outcome !== "taken") this.revoke(child);
    if (outcome === "visited") {
      this.dropDocument(child);
      this.elsewhere(child);
    } else if (outcome === "away") this.later(child);
    else this.#begin(subscription, child);
    this.#showing.settle(subscription);
  }

  async #allowed(
    { id, fence, watcher, aor, event, composed }: Subscription,
    child: Child,
    isToVisit: boolean,
    count: number,
  ): Promise<"taken" | "visited" | "lost" | "away"> {
    const { unions, owner } = this.#parts;
    const { server } = child;
    const name = owner();
    if (name === null) return "away";
    try {
      const visit = isToVisit ? await unions.visit(name, id, fence, server, evidenceOf(composed!)) : "taken";
      if (visit !== "taken" || count === 0) return visit;
      const credit = { watcher, aor, event, digest: "", server, count, underWay: true };
      const { now, wall } = this.#desk.moment();
      child.granted = new Granting(this.#desk.token(GRANT_CHARACTERS), server, now + CREDIT_MS, unions, this.#desk);
      await unions.grant(child.granted.id, [credit], wall + CREDIT_MS);
      return "taken";
    } catch (error) {
      if (error instanceof DirectoryUnavailable) return "away";
      throw error;
    }
  }

  #begin(subscription: Subscription, child: Child): void {
    child.version = NO_VERSION;
    child.wholeAsked = false;
    child.wentOn = null;
    child.askAnewAt = 0;
    child.askedAt = this.#desk.now();
    const { isFetch } = subscription.composed!;
    const expires = isFetch ? FETCH_SECONDS : this.#desk.options.legs.expires;
    this.#parts.legs.begin(subscription, child.server, 0, expires, child);
  }

  /** It was let in, and is not wanted any more. */
  #giveUp(subscription: Subscription, child: Child): void {
    this.revoke(child);
    this.leave(subscription, child);
  }

  /** Its leg ends. Where it was asked but now, and we end it, what its server has sent on is on its way. */
  revokeAtEnd(child: Child): void {
    const { leg, askedAt } = child;
    const isFresh = this.#desk.now() - askedAt < ON_ITS_WAY_MS;
    const isEnded = leg !== null && leg.machine.phase !== "terminated";
    this.revoke(child, isEnded && isFresh ? SENT_ON_MS : 0);
  }

  /** @param ms what is on its way may still come. */
  revoke(child: Child, ms = 0): void {
    child.granted?.over(ms);
    child.granted = null;
  }

  /** Others may go there now. */
  leave({ id, fence }: Subscription, child: Child): void {
    const owner = this.#parts.owner();
    if (!child.taken) return;
    child.taken = false;
    if (owner === null) return;
    // Where it cannot be said it goes with the row, and `visit` finds it is ours.
    this.#parts.unions.leave(owner, id, fence, child.server).catch((error: Error) => {
      if (!(error instanceof DirectoryUnavailable))
        this.#desk.failed("a visited server could not be given back", error);
    });
  }

  forget(subscription: Subscription, child: Child): void {
    const { leg } = child;
    this.revokeAtEnd(child);
    child.leg = null;
    // A server that has accepted and then never said a word may still keep it.
    if (leg !== null) this.#parts.legs.end(subscription, leg);
  }

  later(child: Child, retryAfter?: number): void {
    child.failures++;
    child.retryAt = this.#desk.now() + backOffMs(this.#desk.options.legs.backOff, child.failures, retryAfter);
    if (child.standing !== "visited") child.isSilent(this.#desk.now());
  }

  elsewhere(child: Child): void {
    child.standing = "visited";
    child.speaks();
    this.later(child);
  }

  dropDocument(child: Child): void {
    this.#parts.documents.release(child.content);
    child.content = null;
  }
}

function isSameList(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

const DROPPED: ReadonlySet<string> = new Set(["out", "visited"]);
/** models.md, "Unioned, hierarchical". */
const CREDIT_MS = 32_000;
const ON_ITS_WAY_MS = 1_000;
const GRANT_CHARACTERS = 20;
/** A fetch waits for an active NOTIFY, which only a subscription brings; it is ended when it has come. */
const FETCH_SECONDS = 60;
/** Least time between two askings of one server that has let go of those below it. */
const ASKED_ANEW_MS = 32_000;
