import { DirectoryUnavailable } from "../base/errors.ts";
import type { Change, Directory, Lookup, UserRecord, UserRow } from "../directory/directory.ts";
import { REGINFO_TYPE } from "../presence/reginfo.ts";
import { buildResponse } from "../sip/message/build.ts";
import type { Accepting } from "./accept.ts";
import type { Handed } from "./ports.ts";
import { MOST_IN_DOCUMENT, type RegPlace, type RegReader, RegServerContent, RegUserContent } from "./reg-content.ts";
import type { Source, Subscriptions } from "./service.ts";
import type { Subscription } from "./subscription.ts";

/** What the notifier of registrations asks of the program around it. */
export interface RegDesk {
  readonly directory: Pick<Directory, "users" | "evictions" | "onChange">;
  /** Null: no such server is configured any more. */
  reader(server: string): RegReader | null;
  /** Full AoR by which the server knows the user. */
  identity(aor: string, server: string, record: UserRecord | null): string;
  /** From memory at once where it can be. Rejects with DirectoryUnavailable. */
  lookup(aor: string): Lookup | Promise<Lookup>;
}

/** What is known of a subscription to all users of a server. */
interface Whole {
  readonly server: string;
  readonly content: RegServerContent;
  /** The last user read; undefined: none yet. */
  after: string | undefined;
  /** Those it has lost lately are to be told too: it may have missed it. */
  losses: boolean;
  reading: boolean;
  read: boolean;
}

const PREFIX = "server:";
/** Of a server, told at the beginning. */
const MOST_LOSSES = 1_000;
/** Users whose last epoch is remembered, so that old news is known for what it is. */
const MOST_SEEN = 10_000;

/** Tells servers of registrations, by themselves the notifier of event reg (RFC 3680); documents are made from the directory. */
export class RegNotifier implements Source {
  readonly #subscriptions: Subscriptions;
  readonly #desk: RegDesk;
  readonly #wholes = new Map<Subscription, Whole>();
  readonly #seen = new Map<string, number>();
  /** What the fetch that is being accepted now is to be shown. */
  #fetched: readonly UserRow[] | null = null;
  #end: (() => void) | null = null;

  constructor(subscriptions: Subscriptions, desk: RegDesk) {
    this.#subscriptions = subscriptions;
    this.#desk = desk;
  }

  start(): void {
    this.#end = this.#desk.directory.onChange((change) => this.#changed(change));
  }

  stop(): void {
    this.#end?.();
    this.#end = null;
    this.#wholes.clear();
  }

  /** @param aor null: all users of the server that asks. */
  async subscribe(accepting: Accepting, handed: Handed, server: string, aor: string | null): Promise<void> {
    const accepted = handed.request.values("Accept");
    // RFC 3680 4.5: "If the header field is present, it MUST include application/reginfo+xml".
    if (accepted.length > 0 && !accepted.some(takesReginfo)) {
      const headers = [["Accept", REGINFO_TYPE] as const];
      return handed.respond(buildResponse(handed.transaction.request, 406, undefined, { headers }));
    }
    const asked = { kind: "reg", aor: aor ?? PREFIX + server, server: null, epoch: 0, known: false } as const;
    if (aor !== null || handed.request.expires !== 0) return accepting.subscribe(handed, asked);
    // 4.7.2: a fetch is to get everything in its one NOTIFY, so it is read first.
    const users = await this.#desk.directory.users({ server, limit: MOST_IN_DOCUMENT }).catch(onlyUnavailable);
    if (users === undefined) {
      const headers = [["Retry-After", String(this.#subscriptions.options.retryAfterS)]] as const;
      return handed.respond(buildResponse(handed.transaction.request, 500, undefined, { headers }));
    }
    this.#fetched = users;
    // It is shown within this call.
    const over = accepting.subscribe(handed, asked);
    this.#fetched = null;
    return over;
  }

  whole(subscription: Subscription): void {
    const reader = this.#readerOf(subscription);
    if (reader === null) return this.#subscriptions.watchers.end(subscription, "noresource");
    if (!subscription.aor.startsWith(PREFIX)) return this.#tellUser(subscription, reader, true);
    const whole = this.#wholes.get(subscription) ?? this.#wholeOf(subscription, reader);
    if (this.#fetched !== null) {
      for (const row of this.#fetched) whole.content.note(this.#placeOfRow(whole.server, row));
      return this.#subscriptions.watchers.show(subscription);
    }
    this.#forgetLost();
    this.#wholes.set(subscription, whole);
    this.#begin(subscription, whole);
  }

  #begin(subscription: Subscription, whole: Whole): void {
    whole.content.begin();
    whole.after = undefined;
    whole.read = false;
    void this.#readOn(subscription, whole);
  }

  #wholeOf(subscription: Subscription, reader: RegReader): Whole {
    const server = subscription.aor.slice(PREFIX.length);
    const told = (evicted: readonly RegPlace[]): void => this.#report(server, evicted);
    const content = new RegServerContent(reader, told, () => this.#next(subscription));
    subscription.content = content;
    return { server, content, after: undefined, losses: true, reading: false, read: false };
  }

  /** Those that went to another proxy. */
  #forgetLost(): void {
    for (const each of this.#wholes.keys()) if (!this.#subscriptions.isOurs(each)) this.#wholes.delete(each);
  }

  moved(subscription: Subscription): void {
    const whole = this.#wholes.get(subscription);
    if (whole !== undefined) {
      if (!whole.read) void this.#readOn(subscription, whole);
      return;
    }
    // A server's own, on its way in: it is shown whole in a moment.
    if (subscription.aor.startsWith(PREFIX)) return;
    const { content } = subscription;
    const shown = content instanceof RegUserContent ? content.place.epoch : -1;
    const reader = this.#readerOf(subscription);
    if (subscription.epoch > shown && reader !== null) this.#tellUser(subscription, reader, false);
  }

  ended(subscription: Subscription): void {
    this.#wholes.delete(subscription);
  }

  #readerOf({ origin }: Subscription): RegReader | null {
    return origin === null ? null : this.#desk.reader(origin);
  }

  // ── One user ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param again also where nothing has changed. */
  #tellUser(subscription: Subscription, reader: RegReader, again: boolean): void {
    const show = (lookup: Lookup | null): void => {
      if (!this.#subscriptions.isOurs(subscription)) return;
      const { content } = subscription;
      const known = content instanceof RegUserContent ? content : null;
      const place = this.#placeOf(subscription, lookup, known?.place.at);
      if (known !== null && place.epoch < known.place.epoch) return;
      if (known !== null && place.epoch === known.place.epoch && !again) return;
      const server = subscription.origin!;
      if (known !== null) known.place = place;
      else subscription.content = new RegUserContent(reader, place, (evicted) => this.#report(server, evicted));
      subscription.extendedEpoch = place.epoch;
      this.#subscriptions.watchers.show(subscription);
    };
    const lookup = this.#desk.lookup(subscription.aor);
    if (!(lookup instanceof Promise)) return show(lookup);
    // Without the database there is what the feed has said.
    lookup.then(show, (error) => {
      if (!(error instanceof DirectoryUnavailable)) throw error;
      show(null);
    });
  }

  #placeOf(subscription: Subscription, lookup: Lookup | null, before: RegPlace["at"] | undefined): RegPlace {
    const { aor, origin } = subscription;
    const asker = origin!;
    const fresh = lookup !== null && lookup.epoch >= subscription.epoch;
    const binding = fresh && lookup.state === "bound" ? lookup.binding : null;
    const server = fresh ? (binding?.server ?? null) : subscription.server;
    const nobody = before === undefined || before === "nowhere" ? "nowhere" : "gone";
    const { wall } = this.#subscriptions.moment();
    return {
      aor,
      identity: this.#desk.identity(aor, asker, recordIn(lookup)),
      epoch: fresh ? lookup.epoch : subscription.epoch,
      at: server === null ? nobody : server === asker ? "here" : "taken",
      origin: binding?.origin ?? null,
      expires: binding?.expiresAt == null ? null : Math.max(0, Math.round((binding.expiresAt - wall) / 1000)),
    };
  }

  // ── All users of a server ─────────────────────────────────────────────────────────────────────────────────────────

  /** Page by page: the next is read when what was read before has been told. */
  async #readOn(subscription: Subscription, whole: Whole): Promise<void> {
    if (whole.reading || whole.read || whole.content.waiting >= MOST_IN_DOCUMENT) return;
    whole.reading = true;
    const { server, after } = whole;
    try {
      if (whole.losses) await this.#noteLosses(subscription, whole);
      const rows = await this.#desk.directory.users({
        server,
        limit: MOST_IN_DOCUMENT,
        ...(after === undefined ? {} : { after }),
      });
      // Where it was begun anew meanwhile, this page is of no use.
      if (whole.after === after) {
        for (const row of rows) this.#note(subscription, whole, this.#placeOfRow(server, row));
        whole.after = rows.at(-1)?.aor;
        whole.read = rows.length < MOST_IN_DOCUMENT;
      }
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
      // Read again when the subscription is looked at next (`moved`).
      whole.reading = false;
      return;
    }
    whole.reading = false;
    this.#next(subscription);
  }

  async #noteLosses(subscription: Subscription, whole: Whole): Promise<void> {
    const lost = await this.#desk.directory.evictions.lostLately(whole.server, MOST_LOSSES);
    const known = await Promise.all(lost.map((aor) => this.#desk.lookup(aor)));
    whole.losses = false;
    for (const [i, aor] of lost.entries()) {
      const lookup = known[i]!;
      const holder = lookup.state === "bound" ? lookup.binding.server : null;
      if (holder === whole.server) continue;
      const identity = this.#desk.identity(aor, whole.server, recordIn(lookup));
      const at = holder === null ? "gone" : "taken";
      this.#note(subscription, whole, { aor, identity, epoch: lookup.epoch, at, origin: null, expires: null });
    }
  }

  #placeOfRow(server: string, { aor, record, binding, epoch }: UserRow): RegPlace {
    const identity = this.#desk.identity(aor, server, record);
    return { aor, identity, epoch, at: "here", origin: binding?.origin ?? null, expires: null };
  }

  #next(subscription: Subscription): void {
    const whole = this.#wholes.get(subscription);
    if (whole === undefined || !this.#subscriptions.isOurs(subscription)) return;
    if (whole.content.owed && (whole.after !== undefined || whole.read))
      this.#subscriptions.watchers.show(subscription);
    else if (!whole.read) void this.#readOn(subscription, whole);
  }

  #note(subscription: Subscription, whole: Whole, place: RegPlace): void {
    if ((this.#seen.get(place.aor) ?? -1) > place.epoch) return;
    if (!whole.content.note(place)) this.whole(subscription);
  }

  #changed(change: Change): void {
    if (this.#wholes.size === 0) return;
    if (change.kind === "reset") {
      this.#seen.clear();
      for (const [subscription, whole] of [...this.#wholes]) {
        whole.losses = true;
        this.#begin(subscription, whole);
      }
    }
    if (change.kind !== "binding") return;
    const { aor, epoch, server, previous } = change;
    if ((this.#seen.get(aor) ?? -1) >= epoch) return;
    this.#remember(aor, epoch);
    for (const name of new Set([previous, server])) {
      if (name === null) continue;
      for (const subscription of this.#subscriptions.registry.ofUser(PREFIX + name)) {
        const whole = this.#wholes.get(subscription);
        if (whole !== undefined) void this.#tell(subscription, whole, change);
      }
    }
  }

  async #tell(subscription: Subscription, whole: Whole, change: Change & { readonly kind: "binding" }): Promise<void> {
    const { aor, epoch, server } = change;
    const known = await Promise.resolve(this.#desk.lookup(aor)).catch(() => null);
    if (this.#wholes.get(subscription) !== whole) return;
    const origin = known?.state === "bound" && known.epoch === epoch ? known.binding.origin : null;
    const at = server === whole.server ? "here" : server === null ? "gone" : "taken";
    const identity = this.#desk.identity(aor, whole.server, recordIn(known));
    this.#note(subscription, whole, { aor, identity, epoch, at, origin, expires: null });
    this.#next(subscription);
  }

  #remember(aor: string, epoch: number): void {
    this.#seen.delete(aor);
    this.#seen.set(aor, epoch);
    if (this.#seen.size <= MOST_SEEN) return;
    for (const oldest of this.#seen.keys()) {
      this.#seen.delete(oldest);
      return;
    }
  }

  #report(server: string, evicted: readonly RegPlace[]): void {
    const { telemetry } = this.#subscriptions.parts;
    for (const { aor } of evicted) {
      telemetry.emit("evicted", { aor, server, by: "reginfo", result: "done", detail: "NOTIFY" });
    }
  }
}

function recordIn(lookup: Lookup | null): UserRecord | null {
  return lookup?.state === "bound" || lookup?.state === "no-binding" ? lookup.user : null;
}

function onlyUnavailable(error: unknown): undefined {
  if (!(error instanceof DirectoryUnavailable)) throw error;
  return undefined;
}

function takesReginfo(value: string): boolean {
  const type = value.split(";")[0]!.trim().toLowerCase();
  return type === REGINFO_TYPE || type === "application/*" || type === "*/*";
}
