import { DirectoryUnavailable } from "../base/errors.ts";
import type { UnionStore } from "../directory/unions.ts";
import type { Desk } from "./desk.ts";

/**
 * The credits of one leg (models.md, "Unioned, hierarchical"), by the name they were granted under. What becomes of the leg is
 * told of them in its order, and again and again where the database is away, until they have lapsed.
 */
export class Granting {
  readonly id: string;
  readonly #server: string;
  readonly #until: number;
  readonly #unions: Pick<UnionStore, "arrived" | "revoke">;
  readonly #desk: Pick<Desk, "now" | "after" | "failed">;
  #hasArrived = false;
  #told: Promise<void> = Promise.resolve();

  /** @param until monotonic: they have lapsed then. */
  constructor(
    id: string,
    server: string,
    until: number,
    unions: Pick<UnionStore, "arrived" | "revoke">,
    desk: Pick<Desk, "now" | "after" | "failed">,
  ) {
    this.id = id;
    this.#server = server;
    this.#until = until;
    this.#unions = unions;
    this.#desk = desk;
  }

  /** The leg's SUBSCRIBE has come to its server. */
  arrived(): void {
    if (this.#hasArrived) return;
    this.#hasArrived = true;
    this.#tell(() => this.#unions.arrived(this.id, this.#server));
  }

  /**
   * Its server has asked its own children, or will not: a credit that is left would have what its own users send up taken
   * for what it sends down.
   * @param ms what is on its way may still come.
   */
  over(ms = 0): void {
    if (ms > 0) this.#tell(() => this.#desk.after(ms));
    this.#tell(() => this.#unions.revoke(this.id, this.#server));
  }

  #tell(tell: () => Promise<void>): void {
    this.#told = this.#told.then(() => this.#insist(tell));
  }

  async #insist(tell: () => Promise<void>): Promise<void> {
    while (this.#desk.now() < this.#until) {
      try {
        return await tell();
      } catch (error) {
        if (!(error instanceof DirectoryUnavailable))
          return this.#desk.failed("what became of credits could not be told", error as Error);
      }
      await this.#desk.after(AGAIN_MS);
    }
  }
}

const AGAIN_MS = 500;
