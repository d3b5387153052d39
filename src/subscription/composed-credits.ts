import { DirectoryUnavailable } from "../base/errors.ts";
import type { Fate, UnionStore } from "../directory/unions.ts";
import type { ComposedShowing } from "./composed-showing.ts";
import type { Desk } from "./desk.ts";
import type { Subscription } from "./subscription.ts";

/**
 * In the middle of a tree a credit tells what a server was sent, and sends on, from what its own users want. It tells so rightly
 * only where what it was granted for has come there; before, the others are not asked whether he who is let in by it may see.
 */
export class ComposedCredits {
  readonly #desk: Desk;
  readonly #unions: Pick<UnionStore, "fate">;
  readonly #showing: ComposedShowing;

  constructor(desk: Desk, unions: Pick<UnionStore, "fate">, showing: ComposedShowing) {
    this.#desk = desk;
    this.#unions = unions;
    this.#showing = showing;
  }

  /** Waits until it is known that the credit was spent rightly. One that was not is to be asked for anew, and goes up. */
  vouch(subscription: Subscription): void {
    const composed = subscription.composed!;
    // Who was shown something was vouched for.
    if (subscription.active) composed.spender = "";
    if (composed.spender === "") return;
    this.#wait(subscription).catch((error: Error) => this.#desk.failed("a credit could not be looked for", error));
  }

  async #wait(subscription: Subscription): Promise<void> {
    const composed = subscription.composed!;
    for (let ms = FIRST_MS; ; ms = Math.min(2 * ms, MOST_MS)) {
      const fate = await this.#fate(subscription);
      if (subscription.ending || !this.#desk.isOurs(subscription)) return;
      if (fate === "gone") return this.#showing.end(subscription, "deactivated");
      if (fate === "arrived") break;
      await this.#desk.after(ms);
      if (subscription.ending || !this.#desk.isOurs(subscription)) return;
    }
    composed.spender = "";
    this.#showing.settle(subscription);
  }

  async #fate({ watcher, aor, event, origin, composed }: Subscription): Promise<Fate> {
    const credit = { watcher, aor, event, digest: "", server: origin ?? "" };
    try {
      return await this.#unions.fate(credit, composed!.spender);
    } catch (error) {
      if (error instanceof DirectoryUnavailable) return "under-way";
      throw error;
    }
  }
}

/** Between two looks: the one whose answer it is has come, or is coming. */
const FIRST_MS = 25;
const MOST_MS = 1_600;
