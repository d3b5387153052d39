import { DirectoryUnavailable } from "../base/errors.ts";
import type { UnionStore } from "../directory/unions.ts";
import { closedDocument, PIDF } from "../presence/closed-document.ts";
import type { XmlElement } from "../presence/xml.ts";
import { subscriberWakeAt } from "../sip/dialog/subscriber.ts";
import { backOffMs } from "../sip/dialog/usage.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { Child, type Composed, evidenceOf, NO_VERSION, STALE_MS } from "./composed.ts";
import { type ChildStep, childEvent, decideAsked, decideChildren, decideShown, ON_CHILD } from "./composed-decision.ts";
import { ComposedDocuments } from "./composed-documents.ts";
import type { LegEvent } from "./decision.ts";
import type { Desk, Said } from "./desk.ts";
import type { Content, Document, Documents } from "./documents.ts";
import type { Leg } from "./leg.ts";
import type { LegSide } from "./leg-side.ts";
import { Differences, PartialContent, takesDifferences } from "./partial-content.ts";
import type { ServerDesk, UnionFound } from "./ports.ts";
import type { Registry } from "./registry.ts";
import type { Subscription } from "./subscription.ts";
import type { WatcherSide } from "./watcher-side.ts";

export interface ComposingParts {
  readonly desk: Desk;
  readonly telemetry: Telemetry;
  readonly unions: Pick<UnionStore, "visit" | "leave" | "grant">;
  readonly servers: ServerDesk;
  readonly documents: Documents;
  readonly registry: Registry;
  readonly watchers: WatcherSide;
  readonly legs: LegSide;
  /** The name that rows bear; null: no lease runs. */
  readonly owner: () => string | null;
}

/** Carries out the tables of `composed-decision.ts`: one dialog with the watcher, a leg to each server the user is on. */
export class Composing {
  readonly #parts: ComposingParts;
  readonly #desk: Desk;
  readonly #composed: ComposedDocuments;
  /** Changes after which children are to be looked at again. */
  #changes = 0;

  constructor(parts: ComposingParts) {
    this.#parts = parts;
    this.#desk = parts.desk;
    this.#composed = new ComposedDocuments(parts.documents);
  }

  /**
   * Its row stands, or it is a fetch and has none: every server is asked.
   * @param wanted of the plan, and
   * @param entered of these those that the chain had not visited.
   */
  begin(subscription: Subscription, wanted: readonly string[], entered: readonly string[]): void {
    const composed = subscription.composed!;
    composed.seen = this.#changes;
    const union = this.#parts.servers.union(subscription.aor, composed.view);
    if (typeof union !== "string" && !(union instanceof Promise)) composed.union = union;
    composed.children = wanted.map((server) => this.#childFor(composed, server));
    for (const child of composed.children) {
      if (entered.includes(child.server)) child.taken = composed.visits;
      else this.#elsewhere(child);
    }
    this.place(subscription);
  }

  /** It was another owner's: what every child has is told anew. */
  adopted(subscription: Subscription): void {
    const now = this.#desk.now();
    for (const { leg } of subscription.composed!.children)
      if (leg !== null) this.#parts.legs.step(subscription, leg, { kind: "time", now });
    this.#look(subscription);
  }

  /** Looked at again by the sweep, or its user has been bound somewhere: nothing new, most times. */
  moved(subscription: Subscription): void {
    if (subscription.composed!.seen !== this.#changes) this.#look(subscription);
  }

  /** The configuration, or what is known of any user, may have changed: each is looked at when `moved` comes by. */
  changed(): void {
    this.#changes++;
  }

  /** What the rules let him see is another, or known again. */
  judged(subscription: Subscription): void {
    this.place(subscription);
    this.settle(subscription);
  }

  /** What is known of this user has changed. */
  userChanged(aor: string): void {
    for (const each of this.#parts.registry.ofUser(aor)) if (each.composed !== null) this.#look(each);
  }

  /** His SUBSCRIBE has been granted once more: those that dropped out a while ago are asked again. */
  refreshed(subscription: Subscription): void {
    this.#askOut(subscription, this.#desk.now());
  }

  #askOut(subscription: Subscription, now: number): void {
    for (const child of subscription.composed!.children)
      if (child.standing === "out" && child.restsUntil <= now) this.#open(subscription, child);
  }

  /** Before a NOTIFY that a SUBSCRIBE asked for. RFC 5263 4.4: it has the whole. */
  refreshing({ content }: Subscription): void {
    if (content instanceof PartialContent) content.differences.wholeNext();
  }

  /** @param at what a leg there may have lost is asked for then. */
  cameUp(subscription: Subscription, server: string, at: number): void {
    for (const child of subscription.composed!.children) {
      if (child.server !== server) continue;
      child.failures = 0;
      if (child.leg !== null) this.#parts.legs.renew(subscription, child.leg, at);
      else if (child.retryAt > 0 || child.standing === "out") this.#open(subscription, child);
    }
    this.#desk.arm(subscription);
  }

  /** A moment has come that was waited for. */
  due(subscription: Subscription, now: number): void {
    const composed = subscription.composed!;
    let lapsed = false;
    for (const child of [...composed.children]) {
      const { leg } = child;
      if (child.staleAt > 0 && child.staleAt <= now) {
        child.staleAt = 0;
        child.late = true;
        lapsed = true;
      }
      if (leg !== null && subscriberWakeAt(leg.machine) <= now)
        this.#parts.legs.step(subscription, leg, { kind: "time", now });
      if (child.retryAt > 0 && child.retryAt <= now) this.#open(subscription, child);
    }
    if (!lapsed) return;
    if (this.#reshape(subscription)) this.place(subscription);
    this.settle(subscription);
  }

  /** What its server said, looked up in the table and carried out. */
  said(subscription: Subscription, leg: Leg, event: LegEvent, said: Said): void {
    const child = subscription.composed!.childOf(leg);
    if (child === undefined || subscription.ending) return this.#parts.documents.release(said.content);
    const before = child.standing;
    const step = this.#stepFor(subscription, child, event, said);
    if (step !== "confirm" && step !== "fix") this.#parts.documents.release(said.content);
    this.#carryOut(subscription, child, leg, step, said);
    if (subscription.ending) return;
    this.#write(subscription, child, before !== child.standing);
    if (this.#reshape(subscription)) this.place(subscription);
    this.settle(subscription);
    this.#desk.arm(subscription);
  }

  #stepFor(subscription: Subscription, child: Child, event: LegEvent, { gone }: Said): ChildStep {
    const step = ON_CHILD[child.standing][childEvent(event, gone)];
    const deaf = this.#desk.options.unsafe?.ignoresDenials === true && subscription.active;
    return deaf && step === "deny" ? "drop" : step;
  }

  #carryOut(subscription: Subscription, child: Child, leg: Leg, step: ChildStep, said: Said): void {
    switch (step) {
      case "confirm":
        return this.#confirm(subscription, child, leg, said.content);
      case "fix":
        this.#confirm(subscription, child, leg, said.content);
        child.isFinal = true;
        this.#forget(subscription, child);
        return this.#leave(subscription, child);
      case "withhold":
        child.standing = "pending";
        child.failures = 0;
        this.#speaks(child);
        return;
      case "deny":
        return this.#end(subscription, "rejected");
      case "out":
      case "elsewhere":
        this.#forget(subscription, child);
        this.#dropDocument(child);
        this.#leave(subscription, child);
        if (step === "elsewhere") return this.#elsewhere(child);
        child.standing = "out";
        child.retryAt = 0;
        child.restsUntil = this.#desk.now() + this.#desk.options.legs.backOff.mostMs;
        return this.#speaks(child);
      case "retry":
        return this.#retry(subscription, child, leg, said.retryAfter);
      case "again":
        // RFC 6665 4.1.3: at once; but not in a circle with a server that ends what it has just accepted.
        if (!this.#hasLived(leg)) return this.#retry(subscription, child, leg, said.retryAfter);
        this.#forget(subscription, child);
        child.failures = 0;
        this.#isSilent(child);
        return this.#open(subscription, child);
      case "drop":
        this.#forget(subscription, child);
        return this.#leave(subscription, child);
    }
  }

  /** RFC 6665 4.4.1: a NOTIFY is the whole state, so that what it leaves out is gone. */
  #confirm(subscription: Subscription, child: Child, leg: Leg, content: Content | null): void {
    child.standing = "confirmed";
    child.failures = 0;
    child.retryAt = 0;
    const isFirst = child.epoch !== leg.number;
    child.epoch = leg.number;
    child.cseq = leg.machine.heard;
    const read = this.#composed.read(child, content);
    if (read.outcome === "read") {
      if (child.content !== read.content) this.#dropDocument(child);
      child.content = read.content;
      child.version = read.version;
      child.wholeAsked = false;
      return this.#speaks(child);
    }
    // With its last good document it has confirmed all the same.
    this.#speaks(child);
    const { aor, id } = subscription;
    this.#parts.telemetry.emit("warning", {
      what: "a presence document could not be read",
      detail: `of ${aor} from ${child.server}, for subscription ${id}: ${read.why}`,
    });
    if (read.outcome !== "refresh" || child.wholeAsked || isFirst) return;
    child.wholeAsked = true;
    this.#parts.legs.refresh(subscription, leg);
  }

  #retry(subscription: Subscription, child: Child, leg: Leg, retryAfter: number | undefined): void {
    if (this.#hasLived(leg)) child.failures = 0;
    this.#forget(subscription, child);
    this.#leave(subscription, child);
    this.#later(child, retryAfter);
  }

  #later(child: Child, retryAfter?: number): void {
    child.failures++;
    child.retryAt = this.#desk.now() + backOffMs(this.#desk.options.legs.backOff, child.failures, retryAfter);
    if (child.standing !== "visited") this.#isSilent(child);
  }

  #elsewhere(child: Child): void {
    child.standing = "visited";
    this.#speaks(child);
    this.#later(child);
  }

  #isSilent(child: Child): void {
    if (!child.late && child.staleAt === 0) child.staleAt = this.#desk.now() + STALE_MS;
  }

  /** Nobody waits for it. */
  #speaks(child: Child): void {
    child.staleAt = 0;
    child.late = false;
  }

  #hasLived(leg: Leg): boolean {
    return leg.notified && this.#desk.now() - leg.since >= SHORT_LIFE_MS;
  }

  #forget(subscription: Subscription, child: Child): void {
    const { leg } = child;
    child.leg = null;
    // A server that has accepted and then never said a word may still keep it.
    if (leg !== null) this.#parts.legs.end(subscription, leg);
  }

  #dropDocument(child: Child): void {
    this.#parts.documents.release(child.content);
    child.content = null;
  }

  // ── Which children there are ──────────────────────────────────────────────────────────────────────────────────────

  /** Those that are to be, by what is known now. */
  #look(subscription: Subscription): void {
    const composed = subscription.composed!;
    if (subscription.ending || !this.#desk.isOurs(subscription)) return;
    composed.seen = this.#changes;
    const union = this.#parts.servers.union(subscription.aor, composed.view);
    if (!(union instanceof Promise)) return this.#found(subscription, union);
    union
      .then((found) => this.#found(subscription, found))
      .catch((error: Error) => this.#desk.failed("the servers of a user could not be found", error));
  }

  #found(subscription: Subscription, union: UnionFound): void {
    const composed = subscription.composed!;
    if (subscription.ending || !this.#desk.isOurs(subscription)) return;
    if (union === "elsewise") return this.#end(subscription, "deactivated");
    if (union === "away") {
      composed.seen = -1;
      return this.place(subscription);
    }
    const before = composed.union;
    composed.union = union;
    composed.visits = union.visited;
    this.#reshape(subscription);
    this.#askOut(subscription, Number.POSITIVE_INFINITY);
    for (const child of composed.children)
      if (before !== null && !isSameList(before.below[child.server], union.below[child.server]))
        this.#askAnew(subscription, child);
    this.place(subscription);
    this.settle(subscription);
  }

  /** Those that there are to be become those that there are; who is new is asked by `place`. True: there are others now. */
  #reshape(subscription: Subscription): boolean {
    const composed = subscription.composed!;
    const { union, children } = composed;
    if (union === null) return false;
    const named = (server: string): Child | undefined => children.find((each) => each.server === server);
    const stands = (server: string): boolean => named(server)?.stands ?? true;
    const wanted = decideAsked(union.servers, union.below, stands);
    const { come, go } = decideChildren(
      wanted,
      children.map(({ server }) => server),
    );
    if (come.length + go.length === 0) return false;
    for (const child of children) if (go.includes(child.server)) this.#dismiss(subscription, child);
    composed.children = wanted.map((server) => named(server) ?? this.#childFor(composed, server));
    // Where one that had consented for all below it is away, nobody's silence hides the whole.
    for (const each of composed.children)
      if (come.includes(each.server) && subscription.active && !union.servers.includes(each.server))
        each.optional = true;
    if (subscription.stored) void this.#desk.save(subscription);
    return true;
  }

  /** It sends a subscription on when it gets it, and to those that were below it then. */
  #askAnew(subscription: Subscription, child: Child): void {
    if (child.leg === null) return;
    this.#forget(subscription, child);
    this.#isSilent(child);
    this.#open(subscription, child);
  }

  #childFor({ isFetch }: Composed, server: string): Child {
    const child = new Child(server);
    child.optional = !isFetch && this.#parts.servers.mayBeMissing(server);
    this.#isSilent(child);
    return child;
  }

  #dismiss(subscription: Subscription, child: Child): void {
    this.#forget(subscription, child);
    this.#dropDocument(child);
    this.#leave(subscription, child);
  }

  /** Whoever is to be asked and is not, is; where the rules let him see nothing, nobody is. */
  place(subscription: Subscription): void {
    const composed = subscription.composed!;
    if (subscription.ending || !(subscription.stored || composed.isFetch) || !this.#desk.isOurs(subscription)) return;
    const follows = this.#desk.gate.follows(subscription);
    if (follows === false) return this.#rest(subscription);
    if (follows === null) return;
    for (const child of composed.children)
      if (child.retryAt === 0 && !child.isFinal && !DROPPED.has(child.standing)) this.#open(subscription, child);
    this.#desk.arm(subscription);
  }

  /** For a watcher who is to be shown nothing no server is asked. */
  #rest(subscription: Subscription): void {
    const { children } = subscription.composed!;
    if (children.every(({ leg }) => leg === null)) return;
    for (const child of children) {
      this.#dismiss(subscription, child);
      child.standing = "asked";
      child.epoch = 0;
      child.retryAt = 0;
      this.#speaks(child);
      this.#isSilent(child);
    }
    this.#showClosed(subscription);
    if (subscription.stored) void this.#desk.save(subscription);
  }

  /** What allows a SUBSCRIBE is written down before it is sent (concurrency.md 8). */
  #open(subscription: Subscription, child: Child): void {
    if (child.leg !== null || child.preparing || this.#desk.gate.follows(subscription) !== true) return;
    const { visits, union } = subscription.composed!;
    child.retryAt = 0;
    const isToVisit = visits && !child.taken;
    const count = union?.credits[child.server] ?? 0;
    if (!isToVisit && count === 0) return this.#begin(subscription, child);
    child.preparing = true;
    this.#prepare(subscription, child, isToVisit, count)
      .catch((error: Error) => this.#desk.failed("a leg could not be prepared", error))
      .finally(() => this.#desk.arm(subscription));
  }

  async #prepare(subscription: Subscription, child: Child, isToVisit: boolean, count: number): Promise<void> {
    const outcome = await this.#allowed(subscription, child, isToVisit, count);
    child.preparing = false;
    if (outcome === "lost") return this.#desk.lost(subscription);
    if (outcome === "taken") child.taken = isToVisit || child.taken;
    const isWanted = subscription.composed!.children.includes(child) && !subscription.ending;
    if (!isWanted || !this.#desk.isOurs(subscription)) return this.#leave(subscription, child);
    if (outcome === "visited") {
      this.#dropDocument(child);
      this.#elsewhere(child);
    } else if (outcome === "away") this.#later(child);
    else this.#begin(subscription, child);
    this.settle(subscription);
  }

  async #allowed(
    { id, fence, watcher, aor, event, composed }: Subscription,
    { server }: Child,
    isToVisit: boolean,
    count: number,
  ): Promise<"taken" | "visited" | "lost" | "away"> {
    const { unions, owner } = this.#parts;
    const name = owner();
    if (name === null) return "away";
    try {
      const visit = isToVisit ? await unions.visit(name, id, fence, server, evidenceOf(composed!)) : "taken";
      if (visit !== "taken" || count === 0) return visit;
      const credit = { watcher, aor, event, digest: "", server, count };
      await unions.grant(this.#desk.token(GRANT_CHARACTERS), [credit], this.#desk.moment().wall + CREDIT_MS);
      return "taken";
    } catch (error) {
      if (error instanceof DirectoryUnavailable) return "away";
      throw error;
    }
  }

  #begin(subscription: Subscription, child: Child): void {
    child.version = NO_VERSION;
    child.wholeAsked = false;
    const { isFetch } = subscription.composed!;
    const expires = isFetch ? FETCH_SECONDS : this.#desk.options.legs.expires;
    this.#parts.legs.begin(subscription, child.server, 0, expires, child);
  }

  /** Others may go there now. */
  #leave({ id, fence }: Subscription, child: Child): void {
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

  // ── What the watcher is shown ─────────────────────────────────────────────────────────────────────────────────────

  /** Looks at what all of them have said. */
  settle(subscription: Subscription): void {
    const composed = subscription.composed!;
    if (subscription.ending || !this.#desk.isOurs(subscription)) return;
    const children = composed.children.map(({ view }) => view);
    switch (decideShown(subscription.active || composed.activation !== "no", children)) {
      case "wait":
        return;
      case "close":
        return this.#showClosed(subscription);
      case "noresource":
        return this.#end(subscription, "noresource");
      case "show":
        if (composed.isFetch) return this.#showFetched(subscription);
        if (subscription.active || composed.activation === "written") return this.#show(subscription);
        if (composed.activation === "no") void this.#activate(subscription);
    }
  }

  /** No machine goes back to pending: that he was told `active` is known to whoever takes over before he is told. */
  async #activate(subscription: Subscription): Promise<void> {
    const composed = subscription.composed!;
    composed.activation = "asked";
    const saved = await this.#desk.save(subscription);
    if (saved === "lost") return;
    composed.activation = saved === "done" ? "written" : "no";
    if (saved === "done") return this.settle(subscription);
    await this.#desk.after(SAVED_AGAIN_MS);
    this.settle(subscription);
  }

  #showFetched(subscription: Subscription): void {
    subscription.content = this.#composed.compose(subscription.composed!, subscription.aor);
    subscription.active = true;
    this.#desk.fetched(subscription, "timeout");
  }

  #show(subscription: Subscription): void {
    this.#put(subscription, this.#composed.compose(subscription.composed!, subscription.aor));
  }

  /** Only to one who was shown something: to a pending watcher nothing is to be taken back. */
  #showClosed(subscription: Subscription): void {
    if (!subscription.active) return;
    this.#put(subscription, this.#parts.documents.hold(PIDF, closedDocument(subscription.aor)));
  }

  /** One NOTIFY for a real change, and none for any other. */
  #put(subscription: Subscription, document: Document): void {
    const { content } = subscription;
    const last = content instanceof PartialContent ? content.document : (content as Document | null);
    if (subscription.active && last !== null && this.#composed.isSame(last, document))
      return this.#parts.documents.release(document);
    this.#parts.documents.release(last);
    subscription.content = this.#contentFor(subscription, document);
    this.#parts.watchers.show(subscription);
  }

  #contentFor(subscription: Subscription, document: Document): Content {
    const { content, accept, isTakenOver } = subscription;
    if (content instanceof PartialContent) return new PartialContent(document, content.differences);
    if (!takesDifferences(accept)) return document;
    return new PartialContent(document, new Differences((each) => this.#composed.treeOf(each), isTakenOver));
  }

  #end(subscription: Subscription, reason: "rejected" | "noresource" | "deactivated"): void {
    if (subscription.composed!.isFetch) return this.#desk.fetched(subscription, reason);
    this.#parts.watchers.end(subscription, reason);
  }

  /** The row has which legs there are, and who has consented. */
  #write(subscription: Subscription, child: Child, isOther: boolean): void {
    const now = child.leg?.notified === true ? child.leg.number : 0;
    if (!subscription.stored || (now === child.written && !isOther)) return;
    child.written = now;
    void this.#desk.save(subscription);
  }

  /** It ends: its servers are given back, and who waited for them need not wait. */
  ended(subscription: Subscription): void {
    const { aor, watcher } = subscription;
    const { visits, children } = subscription.composed!;
    for (const child of children) {
      const { leg } = child;
      child.leg = null;
      child.taken = false;
      if (leg !== null) this.#parts.legs.end(subscription, leg);
    }
    if (!visits) return;
    for (const other of this.#parts.registry.ofUser(aor)) {
      if (other.watcher !== watcher || other.composed === null || other === subscription) continue;
      for (const child of other.composed.children) {
        if (child.standing !== "visited" || child.leg !== null) continue;
        child.failures = 0;
        child.retryAt = this.#desk.now() + ROW_GOES_MS;
      }
      this.#desk.arm(other);
    }
  }

  release(subscription: Subscription): void {
    const { content } = subscription;
    if (content instanceof PartialContent) this.#parts.documents.release(content.document);
    for (const child of subscription.composed!.children) this.#dropDocument(child);
  }

  /** What each of his servers shows now, as far as anybody watches him here; null: nobody does. */
  activity(aor: string): ReadonlyMap<string, XmlElement> | null {
    const found = new Map<string, XmlElement>();
    let looked = 0;
    for (const { composed } of this.#parts.registry.ofUser(aor)) {
      if (composed === null) continue;
      if (++looked > MOST_LOOKED) break;
      for (const [server, { document }] of this.#composed.known(composed.children))
        if (typeof document !== "string") found.set(server, document);
    }
    return looked === 0 ? null : found;
  }
}

function isSameList(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

const DROPPED: ReadonlySet<string> = new Set(["out", "visited"]);
const SHORT_LIFE_MS = 10_000;
const SAVED_AGAIN_MS = 2_000;
/** models.md, "Unioned, hierarchical". */
const CREDIT_MS = 32_000;
const GRANT_CHARACTERS = 20;
/** A fetch waits for an active NOTIFY, which only a subscription brings; it is ended when it has come. */
const FETCH_SECONDS = 60;
/** Until the row of one that has ended is gone, with the servers it has visited. */
const ROW_GOES_MS = 500;
const MOST_LOOKED = 8;
