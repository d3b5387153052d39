import type { Clock } from "../runtime/runtime.ts";

/** So many failures in a row, and it counts as away. */
const LIMIT = 3;
/** How long then nobody asks, milliseconds; twice as long each time it is still away. */
const FIRST = 1000;
const LONGEST = 30_000;

/** Keeps who asks from waiting for somebody who is away: closed, open for a while, then doubtful until one try has told. */
export class Breaker {
  readonly #clock: Clock;
  readonly #told: (up: boolean, reason: string) => void;
  #failures = 0;
  #rest = 0;
  #openUntil = 0;

  /** @param told when it begins and ends to count as away. */
  constructor(clock: Clock, told: (up: boolean, reason: string) => void) {
    this.#clock = clock;
    this.#told = told;
  }

  get isOpen(): boolean {
    return this.#clock.now() < this.#openUntil;
  }

  /** It has been away, and has not answered since. */
  get isDoubtful(): boolean {
    return this.#rest > 0;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#rest === 0) return;
    this.#rest = 0;
    this.#openUntil = 0;
    this.#told(true, "it answers again");
  }

  failed(reason: string): void {
    this.#failures++;
    // What was sent before it counted as away says nothing new.
    if (this.#failures < LIMIT || this.isOpen) return;
    if (this.#rest === 0) this.#told(false, reason);
    this.#rest = Math.min(LONGEST, this.#rest === 0 ? FIRST : this.#rest * 2);
    this.#openUntil = this.#clock.now() + this.#rest;
  }
}
