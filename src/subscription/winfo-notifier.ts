import { createHash } from "node:crypto";
import { DirectoryUnavailable } from "../base/errors.ts";
import type { Change, Directory } from "../directory/directory.ts";
import type { ListedSubscription } from "../directory/subscriptions.ts";
import type { PutOffWatcher } from "../directory/watchers.ts";
import { isGoverned, type Policy } from "../policy/policy.ts";
import { WATCHER_EVENTS, type WatcherEvent, WINFO_TYPE } from "../presence/winfo.ts";
import type { Timer } from "../runtime/runtime.ts";
import { buildResponse } from "../sip/message/build.ts";
import type { Accepting } from "./accept.ts";
import { handlingOf } from "./gate.ts";
import type { GateListener } from "./gate-desk.ts";
import type { Handed } from "./ports.ts";
import type { Source, Subscriptions } from "./service.ts";
import { type Subscription, watcherIn } from "./subscription.ts";
import { type WatcherRow, WinfoContent } from "./winfo-content.ts";

/** What the notifier of watchers asks of the program around it. */
export interface WinfoDesk {
  readonly directory: Pick<Directory, "subscriptions" | "watchers" | "onChange">;
  readonly policy: Policy;
  /** What a server calls a user; `server` null: his AoR. */
  identity(aor: string, server: string | null): string;
}

/** One user who is told of his watchers here. */
interface Presentity {
  readonly readers: Set<Subscription>;
  /** Null: they have not been read yet. */
  rows: readonly WatcherRow[] | null;
  /** When they were read last, monotonic. */
  readAt: number;
  /** Until it may be read again: however often his watchers change, the database is asked only so often. */
  pause: Timer | null;
  /** Read, or about to be. */
  state: "idle" | "queued" | "reading" | "stale";
}

/**
 * Tells users who watches them (RFC 3857), by itself the notifier of event presence.winfo. Who watches whom is in the
 * database, whichever proxy owns the subscription: it is read again where a proxy tells of a change (`WatcherStore.tell`), where rules change, and where
 * nothing was heard for a while. All subscriptions of one watcher are one watcher to the user: they share one verdict, and
 * servers subscribe on his behalf as often as they need.
 */
export class WinfoNotifier implements Source, GateListener {
  readonly #subscriptions: Subscriptions;
  readonly #desk: WinfoDesk;
  readonly #presentities = new Map<string, Presentity>();
  readonly #queue = new Set<string>();
  #reading = 0;
  /** Why subscriptions here have ended lately: key of the watcher -> event. */
  readonly #ends = new Map<string, WatcherEvent>();
  /** Users whose watchers have changed here, to be told of in one statement. */
  readonly #changed = new Set<string>();
  #telling: Timer | null = null;
  /** What the fetch that is being accepted now is to be shown. */
  #fetched: readonly WatcherRow[] | null = null;
  readonly #stops: Array<() => void> = [];

  constructor(subscriptions: Subscriptions, desk: WinfoDesk) {
    this.#subscriptions = subscriptions;
    this.#desk = desk;
    subscriptions.gate.listener = this;
  }

  start(): void {
    this.#stops.push(this.#desk.directory.onChange((change) => this.#heard(change)));
    this.#stops.push(this.#desk.policy.onChange((aor) => this.#rulesChanged(aor)));
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#telling?.cancel();
    this.#telling = null;
    for (const [aor, presentity] of [...this.#presentities]) this.#forget(aor, presentity);
    this.#queue.clear();
  }

  /** Only the user himself comes here (federation/watcherinfo.ts). */
  async subscribe(accepting: Accepting, handed: Handed): Promise<void> {
    const { request, aor } = handed;
    const accepted = request.values("Accept");
    // RFC 3857 4.5: application/watcherinfo+xml MUST be listed in any Accept.
    if (accepted.length > 0 && !accepted.some(takesWinfo)) {
      const headers = [["Accept", WINFO_TYPE] as const];
      return handed.respond(buildResponse(handed.transaction.request, 406, undefined, { headers }));
    }
    const asked = { kind: "winfo", aor, server: null, epoch: 0, known: false } as const;
    if (request.expires !== 0) return accepting.subscribe(handed, asked);
    // 4.7.2: a fetch is to get the full state in its one NOTIFY, so it is read first.
    const rows = await this.#read(aor).catch(onlyUnavailable);
    if (rows === undefined) {
      const headers = [["Retry-After", String(this.#subscriptions.options.retryAfterS)]] as const;
      return handed.respond(buildResponse(handed.transaction.request, 500, undefined, { headers }));
    }
    this.#fetched = rows;
    // It is shown within this call.
    const over = accepting.subscribe(handed, asked);
    this.#fetched = null;
    return over;
  }

  // ── Source ────────────────────────────────────────────────────────────────────────────────────────────────────────

  whole(subscription: Subscription): void {
    if (!isGoverned(this.#desk.policy, subscription.aor))
      return this.#subscriptions.watchers.end(subscription, "deactivated");
    const content = this.#contentOf(subscription);
    if (this.#fetched !== null) {
      content.update(this.#fetched, () => "timeout");
      return this.#subscriptions.watchers.show(subscription);
    }
    const known = this.#presentities.get(subscription.aor);
    const presentity = known ?? { readers: new Set(), rows: null, readAt: -READ_APART_MS, pause: null, state: "idle" };
    if (known === undefined) this.#presentities.set(subscription.aor, presentity);
    presentity.readers.add(subscription);
    this.#readSoon(subscription.aor);
  }

  /** The NOTIFY that goes at once has the full state as it is known. */
  refreshing(subscription: Subscription): void {
    if (subscription.content instanceof WinfoContent) subscription.content.wholeNext();
  }

  moved(subscription: Subscription): void {
    const presentity = this.#presentities.get(subscription.aor);
    if (presentity === undefined || this.#subscriptions.now() - presentity.readAt < POLL_MS) return;
    this.#readSoon(subscription.aor);
  }

  ended(subscription: Subscription): void {
    const presentity = this.#presentities.get(subscription.aor);
    if (presentity?.readers.delete(subscription) && presentity.readers.size === 0)
      this.#forget(subscription.aor, presentity);
  }

  #forget(aor: string, presentity: Presentity): void {
    presentity.pause?.cancel();
    this.#presentities.delete(aor);
  }

  #contentOf(subscription: Subscription): WinfoContent {
    const { content, aor, origin } = subscription;
    if (content instanceof WinfoContent) return content;
    const made = new WinfoContent(
      {
        resource: uriOf(this.#desk.identity(aor, origin)),
        uriOf: (watcher) => uriOf(this.#desk.identity(watcher, origin)),
        now: () => this.#subscriptions.moment().wall,
      },
      () => this.#next(subscription),
    );
    subscription.content = made;
    return made;
  }

  #next(subscription: Subscription): void {
    if (subscription.ending || !this.#subscriptions.isOurs(subscription)) return;
    this.#subscriptions.watchers.show(subscription);
  }

  // ── What happens to watchers here ─────────────────────────────────────────────────────────────────────────────────

  judged(subscription: Subscription): void {
    const { aor, watcher, trusted, secretive, event, verdict } = subscription;
    if (event !== PACKAGE) return;
    // Who wants to be told to nobody is not remembered for anybody.
    if (!secretive && verdict?.known && handlingOf(verdict) === "confirm") {
      // RFC 3857 4.7.1: what he has asked for outlives his subscription, and this process.
      this.#write(this.#desk.directory.watchers.putOff({ aor, watcher, trusted, event }, WAITING_MS), aor);
    } else this.#tell(aor);
  }

  watcherEnded({ aor, watcher, trusted, event, notifier }: Subscription): void {
    if (event !== PACKAGE) return;
    const reason = /;reason=(\w+)/.exec(notifier.end)?.[1];
    const why = WATCHER_EVENTS.find((each) => each === reason);
    if (why !== undefined) {
      if (this.#ends.size >= MOST_ENDS) for (const oldest of this.#ends.keys()) if (this.#ends.delete(oldest)) break;
      this.#ends.set(`${aor}\n${idOf({ aor, watcher, trusted, event })}`, why);
    }
    this.#tell(aor);
  }

  #write(written: Promise<void>, aor: string): void {
    written.then(
      () => this.#tell(aor),
      (error: Error) => {
        if (error instanceof DirectoryUnavailable) return this.#tell(aor);
        this.#subscriptions.failed("a watcher who waits could not be written down", error);
      },
    );
  }

  /** Here at once, and everywhere where he is told of it. */
  #tell(aor: string): void {
    if (this.#presentities.has(aor)) this.#readSoon(aor);
    if (this.#changed.size < MOST_CHANGED) this.#changed.add(aor);
    this.#telling ??= this.#subscriptions.parts.runtime.timers.after(TELL_MS, () => {
      this.#telling = null;
      const aors = [...this.#changed];
      this.#changed.clear();
      // Where it cannot be told, it is found by the next look.
      this.#desk.directory.watchers.tell(aors).catch(onlyUnavailable);
    });
  }

  #heard(change: Change): void {
    if (change.kind === "watchers" && this.#presentities.has(change.aor)) this.#readSoon(change.aor);
    if (change.kind === "reset") for (const aor of this.#presentities.keys()) this.#readSoon(aor);
  }

  #rulesChanged(aor: string | null): void {
    if (aor !== null) {
      if (this.#presentities.has(aor)) this.#readSoon(aor);
      return;
    }
    for (const [each, { readers }] of [...this.#presentities]) {
      if (isGoverned(this.#desk.policy, each)) this.#readSoon(each);
      else for (const reader of [...readers]) this.#subscriptions.watchers.end(reader, "deactivated");
    }
  }

  // ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #readSoon(aor: string): void {
    const presentity = this.#presentities.get(aor);
    if (presentity === undefined) return;
    if (presentity.state === "reading") presentity.state = "stale";
    if (presentity.state !== "idle" || presentity.pause !== null) return;
    const { timers } = this.#subscriptions.parts.runtime;
    const left = presentity.readAt + READ_APART_MS - this.#subscriptions.now();
    if (left > 0) {
      presentity.pause = timers.after(left, () => {
        presentity.pause = null;
        this.#readSoon(aor);
      });
      return;
    }
    presentity.state = "queued";
    this.#queue.add(aor);
    this.#turn();
  }

  #turn(): void {
    for (const aor of this.#queue) {
      if (this.#reading >= READING_AT_ONCE) return;
      this.#queue.delete(aor);
      const presentity = this.#presentities.get(aor);
      if (presentity === undefined) continue;
      this.#reading++;
      presentity.state = "reading";
      const ended = (): void => {
        this.#reading--;
        const isStale = presentity.state === "stale";
        presentity.state = "idle";
        if (isStale) this.#readSoon(aor);
        this.#turn();
      };
      this.#bring(aor, presentity)
        .catch((error: Error) => this.#subscriptions.failed("a user could not be told who watches him", error))
        .finally(ended);
    }
  }

  async #bring(aor: string, presentity: Presentity): Promise<void> {
    const rows = await this.#read(aor).catch((error: Error) => {
      if (!(error instanceof DirectoryUnavailable)) this.#subscriptions.failed("watchers could not be read", error);
      return undefined;
    });
    presentity.readAt = this.#subscriptions.now();
    if (rows === undefined || this.#presentities.get(aor) !== presentity) return;
    const present = new Set(rows.map(({ id }) => id));
    const gone = (presentity.rows ?? []).filter(({ id }) => !present.has(id));
    const ends = await this.#endsOf(aor, gone);
    presentity.rows = rows;
    for (const reader of [...presentity.readers]) {
      if (!this.#subscriptions.isOurs(reader)) {
        presentity.readers.delete(reader);
        continue;
      }
      const content = this.#contentOf(reader);
      const isNew = content.update(rows, (row) => ends.get(row.id) ?? "timeout");
      if (isNew) this.#next(reader);
    }
    if (presentity.readers.size === 0) this.#forget(aor, presentity);
  }

  /** Why those who are there no more have gone: what was seen here, else what the rules say of them now. */
  async #endsOf(aor: string, gone: readonly WatcherRow[]): Promise<ReadonlyMap<string, WatcherEvent>> {
    const ends = new Map<string, WatcherEvent>();
    for (const { id, watcher, trusted, status } of gone) {
      const verdict = await this.#desk.policy.watcher({ watcher, trusted, aor, event: PACKAGE });
      const handling = handlingOf(verdict);
      const seen = this.#ends.get(`${aor}\n${id}`);
      this.#ends.delete(`${aor}\n${id}`);
      if (handling === "block" && !verdict.bySphere) ends.set(id, "rejected");
      else if (status === "waiting") ends.set(id, handling === "confirm" ? "giveup" : "approved");
      else ends.set(id, seen ?? "timeout");
    }
    return ends;
  }

  /** Rejects with DirectoryUnavailable. */
  async #read(aor: string): Promise<readonly WatcherRow[]> {
    const { subscriptions, watchers } = this.#desk.directory;
    const waiting = await watchers.waiting(aor, PACKAGE);
    const found = new Map<string, Found>();
    for (const { watcher, trusted } of waiting) note(found, aor, watcher, { trusted, secretive: false }, null);
    const { wall } = this.#subscriptions.moment();
    let after = "";
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      const rows: readonly ListedSubscription[] = await subscriptions.list({ aor, after, limit: PAGE });
      for (const row of rows) {
        const watches = (row.kind === "presence" || row.kind === "composed") && row.event === PACKAGE;
        const isOver = row.expiresAt <= wall || this.#subscriptions.rows.isLeaving(row.id);
        if (watches && !isOver) note(found, aor, row.watcher, watcherIn(row), row.expiresAt);
      }
      if (rows.length < PAGE) break;
      after = rows.at(-1)!.id;
    }
    const putOff = new Set(waiting.map((each) => idOf({ ...each, aor })));
    const rows: WatcherRow[] = [];
    const decided: PutOffWatcher[] = [];
    for (const [id, { watcher, trusted, secretive, until }] of found) {
      const verdict = await this.#desk.policy.watcher({ watcher, trusted, aor, event: PACKAGE });
      const handling = handlingOf(verdict);
      if (putOff.has(id) && handling !== "confirm") decided.push({ aor, watcher, trusted, event: PACKAGE });
      // A rule for another sphere may let him in: then he is there.
      if (handling === "block" && !(verdict.bySphere && until !== null)) continue;
      if (until !== null)
        rows.push({ id, watcher, trusted, secretive, status: handling === "confirm" ? "pending" : "active", until });
      else if (handling === "confirm") rows.push({ id, watcher, trusted, secretive, status: "waiting", until });
    }
    if (decided.length > 0) watchers.decided(decided).catch(onlyUnavailable);
    return rows;
  }
}

interface Found {
  readonly watcher: string;
  readonly trusted: boolean;
  /** He is, in one subscription of his at least. */
  secretive: boolean;
  /** Of the subscription that lasts longest, milliseconds since 1970; null: he has none. */
  until: number | null;
}

function note(
  found: Map<string, Found>,
  aor: string,
  watcher: string,
  { trusted, secretive }: { readonly trusted: boolean; readonly secretive: boolean },
  until: number | null,
): void {
  const id = idOf({ aor, watcher, trusted, event: PACKAGE });
  const known = found.get(id);
  if (known === undefined) found.set(id, { watcher, trusted, secretive, until });
  else {
    known.secretive ||= secretive;
    if (until !== null) known.until = Math.max(known.until ?? 0, until);
  }
}

/** Says nothing of dialogs, whose tags are nobody's business. */
function idOf({ aor, watcher, trusted, event }: PutOffWatcher): string {
  return createHash("sha256").update([aor, watcher, trusted, event].join("\n")).digest("hex").slice(0, ID_CHARACTERS);
}

function uriOf(name: string): string {
  return /^[a-z][a-z0-9+.-]*:[^@]*$/i.test(name) && !/^\[?[^:]*:\d+$/.test(name) ? name : `sip:${name}`;
}

function takesWinfo(value: string): boolean {
  const type = value.split(";")[0]!.trim().toLowerCase();
  return type === WINFO_TYPE || type === "application/*" || type === "*/*";
}

function onlyUnavailable(error: unknown): undefined {
  if (!(error instanceof DirectoryUnavailable)) throw error;
  return undefined;
}

const PACKAGE = "presence";
const ID_CHARACTERS = 24;
/** RFC 3857 4.7.1: "a user should be able to log in days later and see that someone tried to subscribe to them". */
const WAITING_MS = 3 * 86_400_000;
/** Changes of this long are told in one statement. */
const TELL_MS = 50;
const MOST_CHANGED = 1_000;
const MOST_ENDS = 1_000;
const READING_AT_ONCE = 4;
const READ_APART_MS = 500;
/** A user who has more watchers than these pages hold is told of no more. */
const PAGE = 1_000;
const MOST_PAGES = 5;
/** What nobody has told of is found after this long: a row that ran out with its owner. */
const POLL_MS = 60_000;
