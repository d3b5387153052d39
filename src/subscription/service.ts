import type { Change } from "../directory/directory.ts";
import type { StoredSubscription, TakenSubscription } from "../directory/subscriptions.ts";
import { type NotifierRules, notifierWakeAt } from "../sip/dialog/notifier.ts";
import { type SubscriberRules, subscriberWakeAt } from "../sip/dialog/subscriber.ts";
import { TimerWheel } from "../sip/transaction/timer-wheel.ts";
import type { Standing } from "./composed-decision.ts";
import { Composing } from "./composing.ts";
import { contactOfProxy } from "./contact.ts";
import type { LegEvent } from "./decision.ts";
import type { Desk, Said } from "./desk.ts";
import { Documents } from "./documents.ts";
import { Following } from "./following.ts";
import { Gate } from "./gate.ts";
import type { GateDesk } from "./gate-desk.ts";
import type { Leg } from "./leg.ts";
import { LegSide } from "./leg-side.ts";
import type { SubscriptionOptions } from "./options.ts";
import { LAPSED_MS, Owner } from "./owner.ts";
import type { SubscriptionParts } from "./ports.ts";
import { Registry } from "./registry.ts";
import { Rows, type Saved } from "./rows.ts";
import { type Moment, type Subscription, subscriptionFrom, type TimeKeeper } from "./subscription.ts";
import { KnownTerms } from "./terms.ts";
import { Upkeep } from "./upkeep.ts";
import { WatcherSide } from "./watcher-side.ts";

/** Of a kind that we are the source of ourselves (reg, RFC 3680): told when the whole state is to be shown, or nobody is left. */
export interface Source {
  /** It has begun, was refreshed or taken over: it is to be shown everything (`WatcherSide.show`). */
  whole(subscription: Subscription): void;
  /** Where its user is was learned, or looked at again: nothing new, most times. */
  moved(subscription: Subscription): void;
  ended(subscription: Subscription): void;
  /** Before the NOTIFY that his SUBSCRIBE asks for. */
  refreshing?(subscription: Subscription): void;
}

/**
 * The subscriptions of which this process is the notifier: built of their parts, and what happens to one as a whole.
 * Requests come in by `accept.ts` and `in-dialog.ts`, changes of bindings by the directory's feed, time by the wheel.
 */
export class Subscriptions implements Desk, TimeKeeper {
  readonly options: SubscriptionOptions;
  readonly notifierRules: NotifierRules;
  readonly winfoRules: NotifierRules;
  readonly subscriberRules: SubscriberRules;
  readonly parts: SubscriptionParts;
  readonly wheel: TimerWheel;
  readonly registry = new Registry();
  readonly documents = new Documents();
  readonly terms = new KnownTerms();
  readonly gate: Gate;
  readonly rows: Rows;
  readonly owner: Owner;
  readonly watchers: WatcherSide;
  readonly legs: LegSide;
  readonly following: Following;
  readonly composing: Composing;
  readonly #upkeep: Upkeep;
  /** Of whom only the end is left to be told. */
  readonly #endings = new Set<Subscription>();
  /** Fetches that wait for their document, by id. */
  readonly #fetches = new Map<string, Subscription>();
  readonly #sources = new Map<StoredSubscription["kind"], Source>();
  readonly #stops: Array<() => void> = [];

  constructor(parts: SubscriptionParts, options: SubscriptionOptions) {
    this.parts = parts;
    this.options = options;
    const { runtime, directory, outbound, servers, telemetry } = parts;
    this.notifierRules = {
      minExpires: options.expires.least,
      maxExpires: options.expires.most,
      defaultExpires: options.expires.default,
      minIntervalMs: options.notify.minIntervalMs,
      backOff: options.notify.backOff,
      reserve: CSEQS,
    };
    // RFC 3857 4.10: "not […] at a rate faster than once every 5 seconds"; of a moment up to a millisecond is cut off.
    this.winfoRules = { ...this.notifierRules, minIntervalMs: Math.max(5_001, options.notify.minIntervalMs) };
    this.subscriberRules = {
      maxExpires: MOST_LEG_SECONDS,
      timerNMs: TIMER_N_MS,
      backOff: options.legs.backOff,
      reserve: CSEQS,
    };
    this.wheel = new TimerWheel(runtime);
    this.owner = new Owner(runtime, directory.leases, options.leaseMs, () => contactOfProxy(parts.points()), {
      begun: () => this.#begun(),
      lost: () => this.#lost(),
      resumed: () => this.#upkeep.hurry(),
      takeable: () => this.#upkeep.take(),
    });
    this.rows = new Rows(directory.subscriptions, () => this.owner.name, {
      moment: () => this.moment(),
      reserved: (subscription, state) => {
        const now = this.now();
        for (const leg of state.leg === null ? [] : subscription.writtenLegs())
          this.legs.step(subscription, leg, { kind: "reserved", now, upTo: state.legReserved });
        this.watchers.step(subscription, { kind: "reserved", now, upTo: state.notifyReserved });
      },
    });
    this.gate = new Gate(this.#gateDesk(), parts.policy, runtime.timers, options.verdictMs);
    this.watchers = new WatcherSide(this, outbound);
    this.legs = new LegSide(this, outbound, servers, this.documents);
    this.following = new Following(this, telemetry, servers, this.documents, this.registry, this.watchers, this.legs);
    this.composing = new Composing({
      desk: this,
      clock: runtime.clock,
      telemetry,
      unions: directory.unions,
      servers,
      documents: this.documents,
      registry: this.registry,
      watchers: this.watchers,
      legs: this.legs,
      owner: () => this.owner.name,
    });
    this.#upkeep = new Upkeep(parts, options, this);
  }

  /** Kinds of which no server has the documents. */
  serve(kind: "reg" | "winfo", source: Source): void {
    this.#sources.set(kind, source);
  }

  async start(): Promise<void> {
    this.#stops.push(this.parts.directory.onChange((change) => this.#changed(change)));
    this.#stops.push(this.parts.servers.onUp((server) => this.#cameUp(server)));
    this.gate.start();
    await this.owner.start();
    this.#upkeep.start();
  }

  /** What is owned is given up; its watchers hear from whoever takes it over. */
  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    this.gate.stop();
    this.#upkeep.stop();
    this.#forgetAll();
    await this.owner.stop();
  }

  get size(): number {
    return this.registry.size;
  }

  /** What this process owns. */
  get counts(): { readonly held: number; readonly live: number; readonly composed: number } {
    const { size, live, composed } = this.registry;
    return { held: size - live - composed, live, composed };
  }

  /** Servers of its composed subscriptions, by how they stand. */
  get standings(): readonly { readonly server: string; readonly standing: Standing; readonly count: number }[] {
    const counts = new Map<string, { readonly server: string; readonly standing: Standing; count: number }>();
    for (const { composed } of this.registry.all()) {
      for (const { server, standing } of composed?.children ?? []) {
        const key = `${server} ${standing}`;
        const entry = counts.get(key);
        if (entry === undefined) counts.set(key, { server, standing, count: 1 });
        else entry.count++;
      }
    }
    return [...counts.values()];
  }

  /** What is still to be done about subscriptions that have ended. */
  get leftovers(): number {
    return this.#endings.size + this.#fetches.size + this.legs.leaving + this.rows.leaving;
  }

  // ── Desk ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** In whole milliseconds, which are kept in half the memory of others. */
  now(): number {
    return Math.floor(this.parts.runtime.clock.now());
  }

  moment(): Moment {
    return { now: this.now(), wall: this.parts.runtime.clock.wall() };
  }

  token(length: number): string {
    return this.parts.runtime.random.token(length);
  }

  after(ms: number): Promise<void> {
    return new Promise((resolve) => this.parts.runtime.timers.after(ms, resolve));
  }

  failed(what: string, error: Error): void {
    this.parts.telemetry.emit("warning", { what, detail: error.stack ?? error.message });
  }

  maySend(): boolean {
    return this.owner.maySend() || (this.options.unsafe?.withoutLease === true && this.owner.name !== null);
  }

  isOurs(subscription: Subscription): boolean {
    return (
      this.registry.get(subscription.id) === subscription ||
      this.#endings.has(subscription) ||
      this.#fetches.get(subscription.id) === subscription
    );
  }

  async save(subscription: Subscription): Promise<Saved> {
    const saved = await this.rows.save(subscription);
    if (!this.isOurs(subscription) || subscription.ending) return saved;
    if (saved === "lost") this.forget(subscription);
    subscription.saveAt = saved === "away" ? this.now() + SAVE_AGAIN_MS : 0;
    if (saved === "away") this.arm(subscription);
    return saved;
  }

  arm(subscription: Subscription): void {
    if (!this.isOurs(subscription)) return this.wheel.stop(subscription.timer);
    const { leg, next, retryAt, saveAt } = subscription;
    // Until it is written down there is nothing to be done for it.
    let at = subscription.stored || subscription.ending ? notifierWakeAt(subscription.notifier) : NEVER;
    if (leg !== null) at = Math.min(at, subscriberWakeAt(leg.machine));
    if (next !== null) at = Math.min(at, subscriberWakeAt(next.machine), next.ahead > 0 ? next.ahead : NEVER);
    if (retryAt > 0) at = Math.min(at, retryAt);
    if (saveAt > 0) at = Math.min(at, saveAt);
    if (subscription.judgeAt > 0) at = Math.min(at, subscription.judgeAt);
    if (subscription.composed !== null && !subscription.ending) at = Math.min(at, subscription.composed.wakeAt());
    if (at === NEVER) return this.wheel.stop(subscription.timer);
    const now = this.now();
    this.wheel.start(subscription.timer, Math.max(at - now, this.maySend() ? 0 : LAPSED_MS), "due", now);
  }

  due(subscription: Subscription): void {
    if (!this.isOurs(subscription)) return;
    const now = this.now();
    if (subscription.saveAt > 0 && subscription.saveAt <= now) {
      subscription.saveAt = 0;
      void this.save(subscription);
    }
    if (subscription.judgeAt > 0 && subscription.judgeAt <= now) this.gate.judge(subscription);
    // A leg that is ahead of a move is not given up for another try where he still is.
    if (subscription.retryAt > 0 && subscription.next !== null && subscription.next.ahead > now) {
      subscription.retryAt = Math.max(subscription.retryAt, subscription.next.ahead);
    }
    if (subscription.retryAt > 0 && subscription.retryAt <= now) {
      subscription.retryAt = 0;
      if (this.#fetches.get(subscription.id) === subscription) return this.fetched(subscription, "timeout");
      this.following.due(subscription);
    }
    if (subscription.composed !== null && !subscription.ending) this.composing.due(subscription, now);
    const { leg, next } = subscription;
    if (leg !== null && subscriberWakeAt(leg.machine) <= now) this.legs.step(subscription, leg, { kind: "time", now });
    if (next !== null && next.ahead > 0 && next.ahead <= now) this.following.lapse(subscription);
    else if (next !== null && subscriberWakeAt(next.machine) <= now)
      this.legs.step(subscription, next, { kind: "time", now });
    if (notifierWakeAt(subscription.notifier) <= now) this.watchers.step(subscription, { kind: "time", now });
    this.arm(subscription);
  }

  accepted(subscription: Subscription, leg: Leg): void {
    if (subscription.composed !== null) this.composing.arrived(subscription, leg);
  }

  said(subscription: Subscription, leg: Leg, event: LegEvent, said: Said): void {
    if (subscription.composed !== null) return this.composing.said(subscription, leg, event, said);
    if (this.#fetches.get(subscription.id) !== subscription) return this.following.said(subscription, leg, event, said);
    subscription.content = said.content;
    subscription.active = said.content !== null;
    this.fetched(subscription, event === "denied" ? "rejected" : "timeout");
  }

  ending(subscription: Subscription): void {
    subscription.judgeAt = 0;
    const kept = this.registry.remove(subscription);
    if (kept) this.rows.remove(subscription.id, subscription.fence);
    this.#endings.add(subscription);
    this.#endLegs(subscription);
    this.#sources.get(subscription.kind)?.ended(subscription);
    if (subscription.composed !== null) this.composing.ended(subscription);
    // A fetch was never accepted to be kept; but the servers it has visited go with a row.
    if (!kept && subscription.composed?.visits === true) this.rows.remove(subscription.id, subscription.fence);
    if (!kept) return;
    this.gate.ended(subscription);
    const { id, aor, watcher, event, epoch, server, notifier } = subscription;
    const change = "ended";
    this.parts.telemetry.emit("subscription", { id, aor, watcher, event, epoch, server, change, reason: notifier.end });
  }

  ended(subscription: Subscription): void {
    // Refused by the watcher, it is over without a word.
    if (!this.#endings.has(subscription)) this.ending(subscription);
    this.#endings.delete(subscription);
    this.#release(subscription);
  }

  // ── One subscription as a whole ───────────────────────────────────────────────────────────────────────────────────

  lost(subscription: Subscription): void {
    this.forget(subscription);
  }

  /** It is another's now, or gone: nothing is said to anybody. */
  forget(subscription: Subscription): void {
    this.registry.remove(subscription);
    this.#endings.delete(subscription);
    this.#sources.get(subscription.kind)?.ended(subscription);
    this.#release(subscription);
  }

  /** It was never accepted: nothing is said to anybody. False: it was another's, or had been ended already. */
  drop(subscription: Subscription): boolean {
    const known = this.registry.remove(subscription) || this.#endings.delete(subscription);
    if (known) this.#release(subscription);
    return known;
  }

  /** A fetch of a user who is somewhere: it waits for his server's document, or servers', for a while. */
  fetch(subscription: Subscription, begin: () => void): void {
    this.expectFetch(subscription);
    subscription.retryAt = this.now() + this.options.legs.fetchMs;
    begin();
    this.arm(subscription);
  }

  /** Its row may be in the database before it has begun: it is nobody's to take over. */
  expectFetch(subscription: Subscription): void {
    this.#fetches.set(subscription.id, subscription);
  }

  /** It does not begin. */
  forgetFetch(subscription: Subscription): void {
    this.#fetches.delete(subscription.id);
  }

  get fetching(): number {
    return this.#fetches.size;
  }

  /** Told of every fetch that has got its document. */
  onFetched: (subscription: Subscription) => void = () => undefined;

  fetched(subscription: Subscription, reason: "timeout" | "rejected" | "noresource" | "deactivated"): void {
    this.#fetches.delete(subscription.id);
    this.#endings.add(subscription);
    subscription.retryAt = 0;
    if (subscription.active) this.onFetched(subscription);
    this.watchers.end(subscription, reason);
  }

  /** A fetch of whom there is nothing to wait for: only its end is told. */
  tellOnly(subscription: Subscription): void {
    this.#endings.add(subscription);
  }

  /** They are in no registry, and may not take what they are shown from servers of yesterday. @param aor null: of everybody. */
  #lookAtFetches(aor: string | null): void {
    for (const each of [...this.#fetches.values()])
      if (each.composed !== null && (aor === null || each.aor === aor)) this.composing.look(each);
  }

  find(id: string): Subscription | undefined {
    return this.registry.get(id) ?? this.#fetches.get(id);
  }

  moved(subscription: Subscription): void {
    if (subscription.composed !== null) return this.composing.moved(subscription);
    this.#sources.get(subscription.kind)?.moved(subscription);
  }

  /** Before the NOTIFY that a SUBSCRIBE of the watcher asks for. */
  refreshing(subscription: Subscription): void {
    if (subscription.composed !== null) this.composing.refreshing(subscription);
    this.#sources.get(subscription.kind)?.refreshing?.(subscription);
  }

  /** Of a source: what is to be shown now. */
  whole(subscription: Subscription): void {
    if (subscription.composed !== null) this.composing.refreshed(subscription);
    this.#sources.get(subscription.kind)?.whole(subscription);
  }

  /** A row that was another's. `slot`: where the user is, as far as was heard by now. */
  adopt({ subscription: stored, slot }: TakenSubscription, used: "reserve" | "before-reserve"): void {
    if (this.registry.get(stored.id) !== undefined) return;
    const subscription = subscriptionFrom(this, this.#shared(stored), this.moment(), used, this.terms);
    // concurrency.md 7: who hangs on a connection of the dead proxy comes back by himself.
    if (subscription.connectionId !== 0) return this.#leaveAlone(subscription);
    this.registry.add(subscription);
    this.gate.adopt(subscription);
    const isBehind = slot.epoch > stored.extendedEpoch && this.gate.follows(subscription) === true;
    const mayBeActive = subscription.leg !== null || isBehind;
    if (subscription.kind === "presence" && mayBeActive) this.watchers.presumeActive(subscription);
    if (subscription.kind === "presence" && subscription.active && subscription.leg === null)
      this.following.showClosedAgain(subscription);
    const now = this.now();
    this.watchers.step(subscription, { kind: "time", now });
    const { leg } = subscription;
    if (leg !== null) this.legs.step(subscription, leg, { kind: "time", now });
    if (subscription.composed !== null) this.composing.adopted(subscription);
    this.following.learn(subscription, slot.server, slot.epoch);
    if (subscription.kind !== "presence") this.whole(subscription);
    this.gate.settle(subscription, false);
  }

  /** With the one text kept of each name. */
  #shared(stored: StoredSubscription): StoredSubscription {
    const { aor, watcher, origin } = stored;
    return {
      ...stored,
      aor: this.registry.share("user", aor),
      watcher: this.registry.share("watcher", watcher),
      origin: origin === null ? null : this.registry.share("origin", origin),
    };
  }

  #leaveAlone(subscription: Subscription): void {
    this.rows.remove(subscription.id, subscription.fence);
    for (const leg of subscription.writtenLegs()) this.legs.end(subscription, leg);
  }

  #endLegs(subscription: Subscription): void {
    const { leg, next } = subscription;
    this.registry.setLeg(subscription, null);
    subscription.next = null;
    if (leg !== null) this.legs.end(subscription, leg);
    if (next !== null) this.legs.end(subscription, next);
  }

  #release(subscription: Subscription): void {
    this.wheel.stop(subscription.timer);
    if (subscription.composed !== null) this.composing.release(subscription);
    this.documents.release(subscription.content);
    subscription.content = null;
  }

  // ── What happens around ───────────────────────────────────────────────────────────────────────────────────────────

  #changed(change: Change): void {
    switch (change.kind) {
      case "binding":
        this.#upkeep.heard(change.aor, change.server, change.epoch);
        for (const each of this.registry.ofUser(change.aor)) this.following.learn(each, change.server, change.epoch);
        return;
      case "preparing": {
        const { now, wall } = this.moment();
        const until = change.until - wall + now;
        for (const each of this.registry.ofUser(change.aor)) this.following.prepare(each, change.server, until);
        return;
      }
      case "user":
        this.#lookAtFetches(change.aor);
        return this.composing.userChanged(change.aor);
      case "reset":
        this.composing.changed();
        this.#lookAtFetches(null);
        this.#upkeep.hurry();
    }
  }

  /** Who waits for a server to answer again waits no longer; what it had may be forgotten there, and is asked for soon. */
  #cameUp(server: string): void {
    const spread = Math.max(1_000, (this.registry.live + this.registry.composed) * RENEWED_EVERY_MS);
    this.#upkeep.each((subscription) => {
      if (subscription.composed !== null)
        return this.composing.cameUp(subscription, server, this.now() + this.#below(spread));
      const { leg } = subscription;
      if (leg?.server === server) this.legs.renew(subscription, leg, this.now() + this.#below(spread));
      if (subscription.server !== server || subscription.retryAt === 0 || leg?.epoch === subscription.epoch) return;
      subscription.retryAt = 0;
      subscription.legFailures = 0;
      this.following.place(subscription);
    });
  }

  #gateDesk(): GateDesk {
    return {
      moment: () => this.moment(),
      isOurs: (subscription) => this.isOurs(subscription),
      failed: (what, error) => this.failed(what, error),
      arm: (subscription) => this.arm(subscription),
      rejudged: (subscription) => {
        if (subscription.composed !== null) this.composing.judged(subscription);
        else this.following.place(subscription);
      },
      show: (subscription) => this.watchers.show(subscription),
      reject: (subscription) => this.watchers.end(subscription, "rejected"),
      deactivate: (subscription) => this.watchers.end(subscription, "deactivated"),
      isMember: ({ composed, origin, aor }) =>
        composed !== null && origin !== null && this.parts.servers.isMember(aor, origin),
      ofUser: (aor) => this.registry.ofUser(aor),
      each: (run) => this.#upkeep.each(run),
    };
  }

  /** No node of a server answers any more. */
  wentDown(server: string): void {
    if (this.registry.composed === 0) return;
    this.#upkeep.each((subscription) => {
      if (subscription.composed !== null) this.composing.wentDown(subscription, server);
    });
  }

  /** The configuration is another: servers, trees, models. */
  reconfigured(): void {
    this.composing.changed();
    this.#lookAtFetches(null);
    this.#upkeep.each((subscription) => this.composing.look(subscription));
  }

  #below(most: number): number {
    return this.parts.runtime.random.integer(Math.ceil(most));
  }

  #begun(): void {
    this.parts.telemetry.emit("lease", { owner: this.owner.name ?? "", state: "begun", rows: 0 });
    this.#upkeep.take();
  }

  #lost(): void {
    this.parts.telemetry.emit("lease", { owner: "", state: "lost", rows: this.registry.size });
    this.#forgetAll();
  }

  #forgetAll(): void {
    for (const each of this.registry.all()) this.#sources.get(each.kind)?.ended(each);
    this.registry.clear();
    this.#endings.clear();
    this.#fetches.clear();
    this.legs.clear();
    this.rows.clear();
    this.documents.clear();
    this.gate.clear();
    this.wheel.clear();
  }
}

const NEVER = Number.POSITIVE_INFINITY;
/** Reserved at a time, of the watcher's dialog and of a leg's. */
const CSEQS = 16;
/** 64*T1 (RFC 6665 4.1.2.4). */
const TIMER_N_MS = 32_000;
const MOST_LEG_SECONDS = 86_400;
const SAVE_AGAIN_MS = 2_000;
/** Legs at a server that has come back: one after the other, at this distance. */
const RENEWED_EVERY_MS = 2;
