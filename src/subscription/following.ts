import { closedDocument, PIDF } from "../presence/closed-document.ts";
import { backOffMs } from "../sip/dialog/usage.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { decidePlace, type LegEvent, type LegRole, type LegStep, ON_LEG, type PlaceStep } from "./decision.ts";
import type { Desk, Said } from "./desk.ts";
import type { Content, Documents } from "./documents.ts";
import type { Leg } from "./leg.ts";
import type { LegSide } from "./leg-side.ts";
import type { ServerDesk } from "./ports.ts";
import type { Registry } from "./registry.ts";
import type { Subscription } from "./subscription.ts";
import type { WatcherSide } from "./watcher-side.ts";

/** Carries out the decision tables: the watcher's dialog stays, and its leg follows the user from server to server. */
export class Following {
  readonly #desk: Desk;
  readonly #telemetry: Telemetry;
  readonly #servers: ServerDesk;
  readonly #documents: Documents;
  readonly #registry: Registry;
  readonly #watchers: WatcherSide;
  readonly #legs: LegSide;

  constructor(
    desk: Desk,
    telemetry: Telemetry,
    servers: ServerDesk,
    documents: Documents,
    registry: Registry,
    watchers: WatcherSide,
    legs: LegSide,
  ) {
    this.#desk = desk;
    this.#telemetry = telemetry;
    this.#servers = servers;
    this.#documents = documents;
    this.#registry = registry;
    this.#watchers = watchers;
    this.#legs = legs;
  }

  /** Where the user is, from the feed or from a statement: it may be old news, and then changes nothing. */
  learn(subscription: Subscription, server: string | null, epoch: number): void {
    if (epoch > subscription.epoch) {
      subscription.server = server;
      subscription.epoch = epoch;
      subscription.retryAt = 0;
      subscription.legFailures = 0;
    } else if (epoch === subscription.epoch && subscription.server === null && server !== null) {
      // The slot as it was read by a plan that found nobody; a claim can only have raised it.
      subscription.server = server;
    }
    this.place(subscription);
  }

  /** A moment has come that was waited for. */
  due(subscription: Subscription): void {
    const { leg, epoch, content } = subscription;
    // The server he has moved to shows nothing of its own: what the one before showed does not stay true for ever.
    if (leg !== null && leg.epoch === epoch && leg.active && content === null) this.#showClosed(subscription);
    this.place(subscription);
  }

  /** Looks at where the user is and does what is not done yet. Nothing, most times. */
  place(subscription: Subscription): void {
    if (!subscription.stored || subscription.ending || !this.#desk.isOurs(subscription)) return;
    if (subscription.kind !== "presence") return this.#desk.moved(subscription);
    const follows = this.#desk.gate.follows(subscription);
    if (follows === null) return;
    if (subscription.searched && subscription.server === null && this.#desk.gate.isOpen(subscription)) {
      // RFC 6665 4.1.3: he subscribes again at once, and the user is searched for.
      return this.finish(subscription, "deactivated");
    }
    const { epoch, extendedEpoch, active, leg, next } = subscription;
    // For a watcher who is to be shown nothing the user is on no server.
    const server = follows ? subscription.server : null;
    const steps = decidePlace({
      server,
      epoch,
      takesLegs: server === null || this.#servers.takesLegs(server),
      extendedEpoch,
      active,
      leg,
      next: next === null ? null : { epoch: next.epoch, server: next.server, ahead: next.ahead > 0 },
      waiting: subscription.retryAt > 0,
    });
    for (const step of steps) this.#atPlace(subscription, step);
  }

  /** A second leg ahead of a move, to wait for it. @param until monotonic. */
  prepare(subscription: Subscription, server: string, until: number): void {
    if (!subscription.stored || subscription.ending || subscription.kind !== "presence") return;
    const { next } = subscription;
    if (this.#desk.gate.follows(subscription) !== true) return;
    if (subscription.server === server || !this.#servers.takesLegs(server) || until <= this.#desk.now()) return;
    if (next?.ahead && next.server === server) {
      next.ahead = Math.max(next.ahead, until);
      return this.#desk.arm(subscription);
    }
    if (next !== null && next.ahead === 0) return;
    this.#dropNext(subscription);
    const leg = this.#legs.begin(subscription, server, 0, this.#desk.options.legs.expires, null);
    leg.ahead = until;
    this.#desk.arm(subscription);
  }

  /** The move that was prepared for did not come in time. */
  lapse(subscription: Subscription): void {
    this.#dropNext(subscription);
  }

  /** models.md "Exclusive": what its server said, looked up in the table and carried out. */
  said(subscription: Subscription, leg: Leg, event: LegEvent, said: Said): void {
    const role = roleOf(subscription, leg);
    let { content } = said;
    const unsafe = this.#desk.options.unsafe?.showsSuperseded === true && role === "superseded" && event === "active";
    const steps: readonly LegStep[] = unsafe ? ["show"] : ON_LEG[role][event];
    for (const step of steps) {
      if (subscription.ending) break;
      if (this.#atLeg(subscription, leg, step, { ...said, content })) content = null;
    }
    this.#documents.release(content);
    // After all of it: that he was told `active` belongs to what a new owner must know of the leg.
    if (steps.includes("promote") && !subscription.ending) void this.#desk.save(subscription);
    this.#desk.arm(subscription);
  }

  #atPlace(subscription: Subscription, step: PlaceStep): void {
    switch (step) {
      case "hold":
        return this.#hold(subscription);
      case "note":
        subscription.extendedEpoch = subscription.epoch;
        return;
      case "deactivate":
        return this.finish(subscription, "deactivated");
      case "drop-next":
        return this.#dropNext(subscription);
      case "adopt":
        return this.#adopt(subscription);
      case "open":
        this.#legs.begin(subscription, subscription.server!, subscription.epoch, this.#desk.options.legs.expires, null);
        return;
    }
  }

  #hold(subscription: Subscription): void {
    const { leg } = subscription;
    this.#registry.setLeg(subscription, null);
    if (leg !== null) this.#legs.end(subscription, leg);
    if (subscription.next !== null && subscription.next.ahead === 0) this.#dropNext(subscription);
    subscription.extendedEpoch = subscription.epoch;
    subscription.retryAt = 0;
    if (subscription.event !== "presence" && subscription.active) {
      // He cannot be shown to be gone: the watcher is to ask again later.
      return this.#watchers.end(subscription, "probation", this.#desk.options.retryAfterS);
    }
    this.#showClosed(subscription);
    this.#telemetry.emit("subscription", { ...named(subscription), change: "held", server: leg?.server ?? null });
    void this.#desk.save(subscription);
  }

  #adopt(subscription: Subscription): void {
    const leg = subscription.next!;
    leg.ahead = 0;
    leg.epoch = subscription.epoch;
    if (!leg.notified) return;
    const { content } = leg;
    leg.content = null;
    this.said(subscription, leg, leg.active ? "active" : "pending", {
      content,
      retryAfter: undefined,
      gone: null,
      what: "ahead",
    });
  }

  /** True: it has kept the content. */
  #atLeg(subscription: Subscription, leg: Leg, step: LegStep, said: Said): boolean {
    switch (step) {
      case "show":
        return this.#show(subscription, said.content);
      case "close":
        this.#showClosed(subscription);
        return false;
      case "promote":
        this.#promote(subscription, leg);
        return false;
      case "keep":
        this.#documents.release(leg.content);
        leg.content = said.content;
        return true;
      case "drop":
        this.#forget(subscription, leg);
        return false;
      case "again":
        this.#again(subscription, leg, said);
        return false;
      case "retry":
        this.#retry(subscription, leg, said);
        return false;
      case "reject":
        this.finish(subscription, "rejected");
        return false;
      case "noresource":
        this.finish(subscription, "noresource");
        return false;
      case "invariant":
        this.finish(subscription, "invariant");
        return false;
    }
  }

  finish(subscription: Subscription, reason: "rejected" | "noresource" | "invariant" | "deactivated"): void {
    this.#watchers.end(subscription, reason);
  }

  /** Taken over: what he was shown last is not known here, but that nothing else can have been. */
  showClosedAgain(subscription: Subscription): void {
    subscription.content = this.#closed(subscription);
  }

  /** Null: in other packages than presence nothing stands for an absent user. */
  #closed({ event, aor }: Subscription): Content | null {
    return event === "presence" ? this.#documents.hold(PIDF, closedDocument(aor)) : null;
  }

  #show(subscription: Subscription, content: Content | null): boolean {
    if (content !== null) {
      this.#documents.release(subscription.content);
      subscription.content = content;
    }
    this.#watchers.show(subscription);
    return content !== null;
  }

  /** Only to one who was shown something: to a pending watcher nothing is to be taken back. */
  #showClosed(subscription: Subscription): void {
    if (!subscription.active) return;
    const content = this.#closed(subscription);
    if (content === subscription.content) return this.#documents.release(content);
    if (content !== null) this.#show(subscription, content);
  }

  #promote(subscription: Subscription, leg: Leg): void {
    const old = subscription.leg;
    this.#registry.setLeg(subscription, leg);
    subscription.next = null;
    subscription.extendedEpoch = leg.epoch;
    subscription.retryAt = 0;
    this.#telemetry.emit("subscription", {
      ...named(subscription),
      change: old === null ? "extended" : "moved",
      server: leg.server,
    });
    // What the one before it has shown is of an older epoch. Who has just come may be about to publish.
    if (subscription.content !== null) subscription.retryAt = this.#desk.now() + SETTLE_MS;
    this.#documents.release(subscription.content);
    subscription.content = null;
    if (old !== null) this.#legs.end(subscription, old);
  }

  #forget(subscription: Subscription, leg: Leg): void {
    if (subscription.leg === leg) this.#registry.setLeg(subscription, null);
    if (subscription.next === leg) subscription.next = null;
    this.#documents.release(leg.content);
    leg.content = null;
    // A server that has accepted and then never said a word may still keep it.
    this.#legs.end(subscription, leg);
  }

  #dropNext(subscription: Subscription): void {
    const { next } = subscription;
    if (next !== null) this.#forget(subscription, next);
  }

  #again(subscription: Subscription, leg: Leg, said: Said): void {
    // RFC 6665 4.1.3: at once; but not in a circle with a server that ends what it has just accepted.
    if (!this.#hasLived(leg)) return this.#retry(subscription, leg, said);
    subscription.retryAt = 0;
    subscription.legFailures = 0;
    this.place(subscription);
  }

  #hasLived(leg: Leg): boolean {
    return leg.notified && this.#desk.now() - leg.since >= SHORT_LIFE_MS;
  }

  #retry(subscription: Subscription, leg: Leg, { retryAfter }: Said): void {
    const { backOff } = this.#desk.options.legs;
    if (this.#hasLived(leg)) subscription.legFailures = 0;
    subscription.legFailures++;
    const own = backOffMs(backOff, subscription.legFailures, retryAfter);
    subscription.retryAt = this.#desk.now() + own;
    // What was shown last may be long out of date by then.
    if (own > STALE_MS) this.#showClosed(subscription);
  }
}

const SHORT_LIFE_MS = 10_000;
/** From a move until a watcher is shown that the new server has no document. */
const SETTLE_MS = 10_000;
/** 64*T1: as long as it takes to find out that a server does not answer. */
const STALE_MS = 32_000;

/** Which row of the table a leg is in. */
export function roleOf({ leg, next, epoch }: Pick<Subscription, "leg" | "next" | "epoch">, asked: Leg): LegRole {
  if (asked === next) return asked.ahead > 0 ? "ahead" : "coming";
  return asked === leg && asked.epoch >= epoch ? "serving" : "superseded";
}

function named({ id, aor, watcher, event, epoch }: Subscription) {
  return { id, aor, watcher, event, epoch };
}
