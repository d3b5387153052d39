import { DirectoryUnavailable } from "../base/errors.ts";
import type { Leases } from "../directory/leases.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

export interface OwnerEvents {
  /** A lease has begun: nothing is owned yet, and what nobody owns may be taken. */
  begun(): void;
  /** It was declared over: everything is another's, or will be. Another lease begins soon. */
  lost(): void;
  /** It had run out by our clock and was renewed all the same: what waited may be sent. */
  resumed(): void;
  /** Owners are over of whom something is left to take. */
  takeable(): void;
}

/** A way to the peer was found only after the lease had run out: nothing may leave by it now (concurrency.md 7). */
export class LeaseLapsed extends Error {}

/** How long something that is due waits before it is looked at again, while our lease has run out. */
export const LAPSED_MS = 500;

/**
 * The lease of this process (concurrency.md 7): opened, renewed every fifth of its length, given up in the end. Sending a
 * packet is no statement that could check it, so `maySend` counts on the monotonic clock from before the last successful
 * renewal was sent. Others' lapsed leases are declared over only by who has renewed his own without a gap for a whole
 * lease: after an outage of the database everybody's have lapsed.
 */
export class Owner {
  readonly #runtime: Runtime;
  readonly #leases: Leases;
  readonly #leaseMs: number;
  readonly #contact: () => string;
  readonly #events: OwnerEvents;
  #name: string | null = null;
  /** Monotonic; nothing is sent from here on. */
  #until = Number.NEGATIVE_INFINITY;
  /** Since when it has been renewed without a gap, monotonic. */
  #since = 0;
  #timer: Timer | null = null;
  #stopped = false;

  constructor(runtime: Runtime, leases: Leases, leaseMs: number, contact: () => string, events: OwnerEvents) {
    this.#runtime = runtime;
    this.#leases = leases;
    this.#leaseMs = leaseMs;
    this.#contact = contact;
    this.#events = events;
  }

  /** The name that rows bear; null: no lease runs. */
  get name(): string | null {
    return this.#name;
  }

  maySend(): boolean {
    return this.#name !== null && this.#runtime.clock.now() < this.#until;
  }

  /** Resolves once a lease was opened, or the first try failed; it goes on trying. */
  async start(): Promise<void> {
    await this.#turn();
  }

  /** Gives up what is owned, so that another may take it at once. Where the database is away the lease lapses instead. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = null;
    const name = this.#name;
    this.#name = null;
    if (name === null) return;
    await this.#leases.close(name).catch(onlyUnavailable);
  }

  /** A statement has answered that the lease is over. */
  declaredOver(name: string): void {
    if (name !== this.#name) return;
    this.#name = null;
    this.#until = Number.NEGATIVE_INFINITY;
    this.#events.lost();
    this.#schedule(0);
  }

  async #turn(): Promise<void> {
    try {
      if (this.#name === null) await this.#open();
      else await this.#renew(this.#name);
    } catch (error) {
      onlyUnavailable(error);
    }
    // Where the lease was lost meanwhile, the next turn is set already, and comes sooner.
    if (this.#timer === null) this.#schedule(this.#leaseMs / 5);
  }

  #schedule(ms: number): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#stopped) return;
    this.#timer = this.#runtime.timers.after(ms, () => {
      this.#timer = null;
      void this.#turn();
    });
  }

  async #open(): Promise<void> {
    const asked = this.#runtime.clock.now();
    const name = await this.#leases.open(this.#contact(), this.#leaseMs);
    if (this.#stopped) return this.#leases.close(name);
    this.#name = name;
    this.#until = asked + this.#leaseMs;
    this.#since = asked;
    this.#events.begun();
  }

  async #renew(name: string): Promise<void> {
    const asked = this.#runtime.clock.now();
    const answer = await this.#leases.renew(name, this.#leaseMs);
    if (this.#stopped || this.#name !== name) return;
    if (answer === "over") return this.declaredOver(name);
    // Between two renewals the lease may have run out, and somebody may have been about to say so: count anew.
    const lapsed = asked >= this.#until;
    if (lapsed) this.#since = asked;
    this.#until = asked + this.#leaseMs;
    if (lapsed) this.#events.resumed();
    if (asked - this.#since < this.#leaseMs) return;
    if ((await this.#leases.endLapsed()).length > 0 && this.maySend()) this.#events.takeable();
  }
}

function onlyUnavailable(error: unknown): void {
  if (!(error instanceof DirectoryUnavailable)) throw error;
}
