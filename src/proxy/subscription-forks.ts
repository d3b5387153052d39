import type { NotifyState } from "../federation/answers.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

/** A forked SUBSCRIBE that still waits for NOTIFYs. */
export interface SubscriptionFork {
  /** A NOTIFY of this branch has come. False: the dialog is another branch's, it gets 481 (RFC 3856 6.9). */
  notified(branch: number, state: NotifyState): boolean;
}

/** The forked SUBSCRIBEs whose NOTIFYs may still come, by Call-ID and the watcher's tag. Bounded: the oldest goes first. */
export class SubscriptionForks {
  readonly #runtime: Runtime;
  readonly #max: number;
  readonly #forks = new Map<string, { fork: SubscriptionFork; timer: Timer }>();

  constructor(runtime: Runtime, max: number) {
    this.#runtime = runtime;
    this.#max = max;
  }

  get size(): number {
    return this.#forks.size;
  }

  /** @param keepMs how long NOTIFYs may come: the fork's own time and Timer N, 64*T1 (RFC 6665 4.1.2.4). */
  add(callId: string, watcherTag: string, keepMs: number, fork: SubscriptionFork): void {
    const key = `${callId}\n${watcherTag}`;
    this.#drop(key);
    if (this.#forks.size >= this.#max) this.#drop(this.#forks.keys().next().value as string);
    this.#forks.set(key, { fork, timer: this.#runtime.timers.after(keepMs, () => this.#drop(key)) });
  }

  find(callId: string, watcherTag: string): SubscriptionFork | undefined {
    return this.#forks.get(`${callId}\n${watcherTag}`)?.fork;
  }

  stop(): void {
    for (const key of [...this.#forks.keys()]) this.#drop(key);
  }

  #drop(key: string): void {
    this.#forks.get(key)?.timer.cancel();
    this.#forks.delete(key);
  }
}
