import type { XmlElement } from "../presence/xml.ts";
import type { Clock } from "../runtime/runtime.ts";
import { subscriberWakeAt } from "../sip/dialog/subscriber.ts";
import type { PartSaid, Telemetry } from "../telemetry/events.ts";
import type { Child } from "./child.ts";
import { type AskingParts, ComposedAsking } from "./composed-asking.ts";
import { ComposedCredits } from "./composed-credits.ts";
import { type ChildStep, childEvent, ON_CHILD } from "./composed-decision.ts";
import { ComposedDocuments } from "./composed-documents.ts";
import { ComposedShowing } from "./composed-showing.ts";
import type { LegEvent } from "./decision.ts";
import type { Desk, Said } from "./desk.ts";
import type { Content } from "./documents.ts";
import type { Leg } from "./leg.ts";
import { PartialContent } from "./partial-content.ts";
import type { UnionFound } from "./ports.ts";
import type { Registry } from "./registry.ts";
import type { Subscription } from "./subscription.ts";
import type { WatcherSide } from "./watcher-side.ts";

export interface ComposingParts extends AskingParts {
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly registry: Registry;
  readonly watchers: WatcherSide;
}

/**
 * A subscription to a user of several servers: one dialog with the watcher, a leg to each of them. What a server said is
 * looked up in the tables of `composed-decision.ts` and carried out here.
 */
export class Composing {
  readonly #parts: ComposingParts;
  readonly #desk: Desk;
  readonly #composed: ComposedDocuments;
  readonly #asking: ComposedAsking;
  readonly #showing: ComposedShowing;
  readonly #credits: ComposedCredits;

  constructor(parts: ComposingParts) {
    const { desk, watchers, documents, servers } = parts;
    this.#parts = parts;
    this.#desk = desk;
    this.#composed = new ComposedDocuments(documents, parts.clock, desk.options.unsafe?.dropsMarks !== true);
    this.#showing = new ComposedShowing(
      desk,
      watchers,
      documents,
      this.#composed,
      (aor, server) => servers.isMember(aor, server) !== false,
    );
    this.#asking = new ComposedAsking(parts, this.#showing);
    this.#credits = new ComposedCredits(desk, parts.unions, this.#showing);
  }

  /**
   * Its row stands, or it is a fetch and has none: every server is asked.
   * @param wanted of the plan, and
   * @param entered of these those that the chain had not visited.
   */
  begin(subscription: Subscription, wanted: readonly string[], entered: readonly string[]): void {
    const composed = subscription.composed!;
    composed.seen = this.#asking.changes;
    const union = this.#parts.servers.union(subscription.aor, composed.view);
    if (typeof union !== "string" && !(union instanceof Promise)) composed.union = union;
    composed.children = wanted.map((server) => this.#asking.childFor(composed, server));
    for (const child of composed.children) {
      if (entered.includes(child.server)) child.taken = composed.visits;
      else this.#asking.elsewhere(child);
    }
    this.#asking.place(subscription);
    this.#credits.vouch(subscription);
  }

  /** It was another owner's: what every child has is told anew. */
  adopted(subscription: Subscription): void {
    this.#credits.vouch(subscription);
    const now = this.#desk.now();
    for (const { leg } of subscription.composed!.children)
      if (leg !== null) this.#parts.legs.step(subscription, leg, { kind: "time", now });
    this.#asking.look(subscription);
  }

  /** Looked at again by the sweep, or its user has been bound somewhere: nothing new, most times. */
  moved(subscription: Subscription): void {
    if (subscription.composed!.seen !== this.#asking.changes) this.#asking.look(subscription);
  }

  /** The configuration, or what is known of any user, may have changed: each is looked at when `moved` comes by. */
  changed(): void {
    this.#asking.changes++;
  }

  /** What the rules let him see is another, or known again. */
  judged(subscription: Subscription): void {
    this.#asking.place(subscription);
    this.#showing.settle(subscription);
  }

  /** What is known of this user has changed. */
  userChanged(aor: string): void {
    for (const each of this.#parts.registry.ofUser(aor)) this.look(each);
  }

  /** The configuration, or what is known of its user, has changed. */
  look(subscription: Subscription): void {
    if (subscription.composed !== null) this.#asking.look(subscription);
    else if (subscription.kind === "presence" && subscription.event === "presence") this.#leaveAlone(subscription);
  }

  /** One that followed its user from server to server: is he on several at once now, his watcher is to subscribe anew. */
  #leaveAlone(subscription: Subscription): void {
    const { aor, origin: from } = subscription;
    const found = this.#parts.servers.union(aor, { from, direction: "up" });
    const act = (union: UnionFound): void => {
      if (typeof union === "string" || subscription.ending || !this.#desk.isOurs(subscription)) return;
      this.#parts.watchers.end(subscription, "deactivated");
    };
    if (!(found instanceof Promise)) return act(found);
    found.then(act).catch((error: Error) => this.#desk.failed("the model of a user could not be found", error));
  }

  /** His SUBSCRIBE has been granted once more: those that dropped out a while ago are asked again. */
  refreshed(subscription: Subscription): void {
    this.#asking.askOut(subscription, this.#desk.now());
  }

  /** Before a NOTIFY that a SUBSCRIBE asked for. RFC 5263 4.4: it has the whole. */
  refreshing({ content }: Subscription): void {
    if (content instanceof PartialContent) content.differences.wholeNext();
  }

  /** No node of it answers any more: what it has shown stays for as long as of one whose subscription has ended. */
  wentDown(subscription: Subscription, server: string): void {
    const now = this.#desk.now();
    const { children, isBehind } = subscription.composed!;
    if (isBehind && subscription.origin === server) this.#giveBack(subscription, [...children]);
    for (const child of children)
      if (child.server === server && child.standing === "confirmed" && !child.isFinal) child.isSilent(now);
    this.#desk.arm(subscription);
  }

  /** @param at what a leg there may have lost is asked for then. */
  cameUp(subscription: Subscription, server: string, at: number): void {
    for (const child of subscription.composed!.children) {
      if (child.server !== server) continue;
      child.failures = 0;
      if (child.standing === "confirmed" && child.epoch > 0 && child.leg !== null && !child.late) child.speaks();
      if (child.leg !== null) this.#parts.legs.renew(subscription, child.leg, at);
      else if (child.retryAt > 0 || child.standing === "out") this.#asking.open(subscription, child);
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
        this.#takeBehind(subscription, child);
      }
      if (leg !== null && subscriberWakeAt(leg.machine) <= now)
        this.#parts.legs.step(subscription, leg, { kind: "time", now });
      if (child.retryAt > 0 && child.retryAt <= now) this.#asking.open(subscription, child);
      if (child.askAnewAt > 0 && child.askAnewAt <= now) this.#asking.askAnew(subscription, child);
    }
    if (!lapsed) return;
    if (this.#asking.reshape(subscription)) this.#asking.place(subscription);
    this.#showing.settle(subscription);
  }

  /** Its server has answered the SUBSCRIBE that opened a leg, or sent a NOTIFY. */
  arrived(subscription: Subscription, leg: Leg): void {
    subscription.composed!.childOf(leg)?.granted?.arrived();
  }

  /** What its server said, looked up in the table and carried out. */
  said(subscription: Subscription, leg: Leg, event: LegEvent, said: Said): void {
    const child = subscription.composed!.childOf(leg);
    if (child === undefined || subscription.ending) return this.#parts.documents.release(said.content);
    if (leg.notified) child.granted?.arrived();
    const before = child.standing;
    const step = this.#stepFor(subscription, child, event, said);
    this.#report(subscription, child, leg, step);
    if (step !== "confirm" && step !== "fix") this.#parts.documents.release(said.content);
    this.#carryOut(subscription, child, leg, step, said);
    if (subscription.ending) return;
    this.#write(subscription, child, before !== child.standing);
    if (this.#asking.reshape(subscription)) this.#asking.place(subscription);
    this.#showing.settle(subscription);
    this.#desk.arm(subscription);
  }

  #stepFor(subscription: Subscription, child: Child, event: LegEvent, { gone }: Said): ChildStep {
    const step = ON_CHILD[child.standing][childEvent(event, gone)];
    const deaf = this.#desk.options.unsafe?.ignoresDenials === true && subscription.active;
    return deaf && step === "deny" ? "drop" : step;
  }

  #report({ aor }: Subscription, child: Child, leg: Leg, step: ChildStep): void {
    const said = SAID[step];
    const { server, standing, askedAt, epoch } = child;
    // What another proxy has asked for and was told is no news here; nor is what it has said already.
    const isNews = said === "confirmed" ? epoch !== leg.number && askedAt >= 0 : said !== standing;
    if (said === undefined || !isNews) return;
    this.#parts.telemetry.emit("part", { server, aor, said, tookMs: askedAt < 0 ? 0 : this.#desk.now() - askedAt });
  }

  #carryOut(subscription: Subscription, child: Child, leg: Leg, step: ChildStep, said: Said): void {
    switch (step) {
      case "confirm":
        return this.#confirm(subscription, child, leg, said.content);
      case "fix":
        this.#confirm(subscription, child, leg, said.content);
        child.isFinal = true;
        this.#asking.forget(subscription, child);
        return this.#asking.leave(subscription, child);
      case "withhold":
        child.withdrew ||= child.standing === "confirmed";
        child.standing = "pending";
        child.failures = 0;
        // One that had not consented may be about to: it is waited for as one that says nothing.
        if (child.withdrew) child.speaks();
        else child.isSilent(this.#desk.now());
        return;
      case "deny":
        return this.#showing.end(subscription, "rejected");
      case "out":
      case "elsewhere":
        this.#asking.forget(subscription, child);
        this.#asking.dropDocument(child);
        this.#asking.leave(subscription, child);
        if (step === "elsewhere") return this.#asking.elsewhere(child);
        child.standing = "out";
        child.retryAt = 0;
        child.restsUntil = this.#desk.now() + this.#desk.options.legs.backOff.mostMs;
        this.#takeBehind(subscription, child);
        return child.speaks();
      case "retry":
        return this.#retry(subscription, child, leg, said.retryAfter);
      case "again":
        // RFC 6665 4.1.3: at once; but not in a circle with a server that ends what it has just accepted.
        if (!this.#hasLived(leg)) return this.#retry(subscription, child, leg, said.retryAfter);
        this.#asking.forget(subscription, child);
        child.failures = 0;
        child.isSilent(this.#desk.now());
        return this.#asking.open(subscription, child);
      case "drop":
        this.#asking.forget(subscription, child);
        return this.#asking.leave(subscription, child);
    }
  }

  /** RFC 6665 4.4.1: a NOTIFY is the whole state, so that what it leaves out is gone. */
  #confirm(subscription: Subscription, child: Child, leg: Leg, content: Content | null): void {
    child.standing = "confirmed";
    child.withdrew = false;
    this.#asking.revoke(child);
    child.failures = 0;
    child.retryAt = 0;
    const isFirst = child.epoch !== leg.number;
    child.epoch = leg.number;
    child.cseq = leg.machine.heard;
    const read = this.#composed.read(child, content);
    if (read.outcome === "read") {
      if (child.content !== read.content) this.#asking.dropDocument(child);
      child.content = read.content;
      child.version = read.version;
      child.wholeAsked = false;
      return child.speaks();
    }
    // With its last good document it has confirmed all the same.
    child.speaks();
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
    this.#asking.forget(subscription, child);
    this.#asking.leave(subscription, child);
    this.#asking.later(child, retryAfter);
  }

  /**
   * models.md, "Unioned, peer": a path is dead. What its server has by a subscription of its own, and we have by way of it, is
   * asked by us; that server's own subscription may live on for an hour, and nobody is there to be told.
   */
  #takeBehind(subscription: Subscription, dead: Child): void {
    const { aor, watcher, composed } = subscription;
    const behind = composed!.children.filter(({ standing, leg }) => standing === "visited" && leg === null);
    if (!composed!.visits || behind.length === 0) return;
    for (const other of this.#parts.registry.ofUser(aor)) {
      const isIts = other.watcher === watcher && other.origin === dead.server && other.composed?.visits === true;
      if (!isIts || other === subscription || other.ending || !this.#desk.isOurs(other)) continue;
      const given = other.composed!.children.filter(
        (each) => each.taken && behind.some(({ server }) => server === each.server),
      );
      this.#giveBack(other, given);
      for (const each of behind.filter(({ server }) => given.some((its) => its.server === server))) {
        each.failures = 0;
        each.retryAt = this.#desk.now() + ROW_GOES_MS;
      }
    }
  }

  /** Whom they were visited for is not there: the chain may have them by another way. */
  #giveBack(subscription: Subscription, children: readonly Child[]): void {
    const given = children.filter(({ taken }) => taken);
    if (given.length === 0) return;
    for (const each of given) {
      this.#asking.dismiss(subscription, each);
      this.#asking.elsewhere(each);
    }
    if (subscription.stored) void this.#desk.save(subscription);
    this.#showing.settle(subscription);
    this.#desk.arm(subscription);
  }

  #hasLived(leg: Leg): boolean {
    return leg.notified && this.#desk.now() - leg.since >= SHORT_LIFE_MS;
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
      this.#asking.revokeAtEnd(child);
      child.leg = null;
      child.taken = false;
      if (leg !== null) this.#parts.legs.end(subscription, leg);
    }
    this.#letGo(subscription);
    // Of a denial nothing would be heard any more: what cannot be told at once is not told.
    if (subscription.notifier.owed !== "no") this.#dropContent(subscription);
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

  /** What a server had of those below it for a leg of ours is over, by its own will: without the leg that is how it ends. */
  #letGo({ id, aor, watcher, origin, composed, notifier }: Subscription): void {
    if (origin === null || composed!.view.direction === "up" || notifier.end !== ";reason=timeout") return;
    for (const other of this.#parts.registry.ofUser(aor)) {
      if (other.watcher !== watcher || other.composed === null || other.ending) continue;
      for (const child of other.composed.children)
        if (child.server === origin && child.wentOn === id) this.#asking.letGo(other, child);
    }
  }

  release(subscription: Subscription): void {
    this.#dropContent(subscription);
    for (const child of subscription.composed!.children) this.#asking.dropDocument(child);
  }

  #dropContent(subscription: Subscription): void {
    const { content } = subscription;
    this.#parts.documents.release(content instanceof PartialContent ? content.document : content);
    subscription.content = null;
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

const SAID: Readonly<Partial<Record<ChildStep, PartSaid>>> = {
  confirm: "confirmed",
  fix: "confirmed",
  withhold: "pending",
  deny: "denied",
  out: "out",
  elsewhere: "elsewhere",
  retry: "away",
};
const SHORT_LIFE_MS = 10_000;
/** Until the row of one that has ended is gone, with the servers it has visited. */
const ROW_GOES_MS = 500;
const MOST_LOOKED = 8;
