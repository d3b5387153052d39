import { DirectoryUnavailable } from "../base/errors.ts";
import type { OwnedSubscription, SlotState, TakenSubscription } from "../directory/subscriptions.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { SubscriptionOptions } from "./options.ts";
import type { Owner } from "./owner.ts";
import type { SubscriptionParts } from "./ports.ts";
import type { Registry } from "./registry.ts";
import type { Rows } from "./rows.ts";
import type { Subscription } from "./subscription.ts";

/** What is looked after. */
export interface Kept {
  readonly owner: Owner;
  readonly registry: Registry;
  readonly rows: Rows;
  readonly watchers: { readonly told: { readonly sent: number; readonly answered: number } };
  /** Those that only pass by, too. */
  find(id: string): Subscription | undefined;
  readonly following: { learn(subscription: Subscription, server: string | null, epoch: number): void };
  adopt(taken: TakenSubscription, used: "reserve" | "before-reserve"): void;
}

/**
 * What goes on in the background: rows of dead owners are taken in batches, one's own rows are looked at again page by
 * page (in haste after a break of the feed), removals that did not get through are repeated.
 */
export class Upkeep {
  readonly #runtime: Runtime;
  readonly #parts: SubscriptionParts;
  readonly #options: SubscriptionOptions;
  readonly #kept: Kept;
  #timer: Timer | null = null;
  #stopped = false;
  /** Where the look at one's own rows has got to. */
  #after = "";
  /** Pages are read one after the other until this many rounds have ended. */
  #hurried = 0;
  /** Rows under our name that were not known here: in the round before, and in this one so far. */
  #unknownBefore: ReadonlySet<string> = new Set();
  #unknown = new Set<string>();
  #taking = false;
  #takeAgain = false;
  /** As many answers to NOTIFYs there are to be before more rows are put in place. */
  #enough = 0;
  /** What the feed said of users while rows were on their way to us (subscriptions.ts, `take`). */
  readonly #heard = new Map<string, SlotState>();
  /** Statements under way that bring rows. */
  #bringing = 0;

  constructor(parts: SubscriptionParts, options: SubscriptionOptions, kept: Kept) {
    this.#runtime = parts.runtime;
    this.#parts = parts;
    this.#options = options;
    this.#kept = kept;
  }

  start(): void {
    this.#schedule(this.#options.sweep.everyMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  heard(aor: string, server: string | null, epoch: number): void {
    if (this.#bringing === 0 || (this.#heard.get(aor)?.epoch ?? -1) > epoch) return;
    this.#heard.set(aor, { server, epoch });
  }

  /** The feed was interrupted, or our lease: all that is owned is looked at, now. */
  hurry(): void {
    this.#after = "";
    this.#hurried = HURRIED_ROUNDS;
    this.#schedule(0);
  }

  /** Calls this for every subscription, some at a time, so that nothing else has to wait long. */
  each(run: (subscription: Subscription) => void): void {
    const all = this.#kept.registry.all();
    const some = (): void => {
      for (let i = 0; i < PIECE; i++) {
        const next = all.next();
        if (next.done === true) return;
        run(next.value);
      }
      if (!this.#stopped) this.#runtime.timers.soon(some);
    };
    some();
  }

  /** Takes what nobody owns, until nothing is left. */
  take(): void {
    this.#takeAgain = true;
    if (!this.#taking) void this.#takeAll();
  }

  async #takeAll(): Promise<void> {
    this.#taking = true;
    let rows = 0;
    try {
      while (this.#takeAgain && !this.#stopped) {
        this.#takeAgain = false;
        rows += await this.#takeOnce();
      }
    } catch (error) {
      // Under an answer that was lost the rows are ours all the same: the next looks show them.
      if (!(error instanceof DirectoryUnavailable)) throw error;
      this.hurry();
    } finally {
      this.#taking = false;
    }
    const { name } = this.#kept.owner;
    if (rows > 0) this.#parts.telemetry.emit("lease", { owner: name ?? "", state: "took-over", rows });
  }

  async #takeOnce(): Promise<number> {
    const { owner, watchers } = this.#kept;
    const { name } = owner;
    if (name === null || !owner.maySend()) return 0;
    const taken = await this.#bring(
      async () => {
        const rows = this.#parts.directory.subscriptions.take(name, this.#options.takeBatch);
        return (await Promise.all([rows, this.#mostAnswered()]))[0];
      },
      (rows) => {
        const before = watchers.told;
        if (owner.name === name) for (const each of rows) this.#adopt(each, "before-reserve");
        this.#enough = before.answered + (watchers.told.sent - before.sent) * MOST_ANSWERED;
      },
    );
    if (taken.length > 0) this.#takeAgain = true;
    return taken.length;
  }

  /**
   * Each of a batch is sent a NOTIFY at once, and over UDP nobody says that it is too much: the next one is put in place
   * when most of these were answered, and no later than they would be sent again.
   */
  async #mostAnswered(): Promise<void> {
    const { clock, timers } = this.#runtime;
    const until = clock.now() + TAKE_WAIT_MS;
    while (this.#kept.watchers.told.answered < this.#enough && clock.now() < until && !this.#stopped)
      await new Promise<void>((resolve) => timers.after(TAKE_PAUSE_MS, resolve));
  }

  /** Runs a statement that brings rows, with an ear on the feed until they are where the feed finds them. */
  async #bring(
    ask: () => Promise<readonly TakenSubscription[]>,
    put: (rows: readonly TakenSubscription[]) => void,
  ): Promise<readonly TakenSubscription[]> {
    this.#bringing++;
    try {
      const rows = await ask();
      put(rows);
      return rows;
    } finally {
      this.#bringing--;
      if (this.#bringing === 0) this.#heard.clear();
    }
  }

  #adopt(taken: TakenSubscription, used: "reserve" | "before-reserve"): void {
    const newer = this.#heard.get(taken.subscription.aor);
    const slot = newer !== undefined && newer.epoch > taken.slot.epoch ? newer : taken.slot;
    this.#kept.adopt({ subscription: taken.subscription, slot }, used);
  }

  #schedule(ms: number): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#stopped) return;
    this.#timer = this.#runtime.timers.after(ms, () => {
      this.#timer = null;
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    try {
      await this.#page();
      this.#kept.rows.retry();
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
      if (this.#hurried > 0) return this.#schedule(this.#options.sweep.everyMs);
    }
    // A hurry that came meanwhile has set its own time.
    const hasty = this.#hurried > 0 && this.#kept.owner.name !== null;
    if (this.#timer === null) this.#schedule(hasty ? 0 : this.#options.sweep.everyMs);
  }

  async #page(): Promise<void> {
    const { owner } = this.#kept;
    const { name } = owner;
    if (name === null) return;
    const after = this.#after;
    const size = this.#hurried > 0 ? HURRIED_PAGE : this.#options.sweep.page;
    const page = await this.#parts.directory.subscriptions.owned(name, after, size);
    if (owner.name !== name || this.#after !== after) return;
    const strangers = page.filter((row) => !this.#review(row)).map((row) => row.id);
    const seenTwice = strangers.filter((id) => this.#unknownBefore.has(id));
    for (const id of strangers) this.#unknown.add(id);
    const last = page.at(-1);
    const done = page.length < size || last === undefined;
    this.#after = done ? "" : last.id;
    if (seenTwice.length > 0) await this.#load(name, seenTwice);
    if (!done) return;
    this.#unknownBefore = this.#unknown;
    this.#unknown = new Set();
    if (this.#hurried > 0) this.#hurried--;
  }

  /** False: it is not known here. */
  #review(row: OwnedSubscription): boolean {
    const { registry, rows, following } = this.#kept;
    const subscription = registry.get(row.id);
    if (subscription === undefined)
      return rows.isLeaving(row.id) || this.#taking || this.#kept.find(row.id) !== undefined;
    following.learn(subscription, row.slot.server, row.slot.epoch);
    return true;
  }

  async #load(name: string, ids: readonly string[]): Promise<void> {
    await this.#bring(
      () => this.#parts.directory.subscriptions.load(name, ids),
      (rows) => {
        if (this.#kept.owner.name !== name) return;
        for (const each of rows) if (!this.#kept.rows.isLeaving(each.subscription.id)) this.#adopt(each, "reserve");
      },
    );
  }
}

const PIECE = 500;
const HURRIED_PAGE = 5_000;
/** A row under an answer that was lost is loaded when it is seen the second time. */
const HURRIED_ROUNDS = 2;
const TAKE_PAUSE_MS = 20;
/** T1. */
const TAKE_WAIT_MS = 500;
const MOST_ANSWERED = 0.9;
