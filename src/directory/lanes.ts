import { DirectoryUnavailable } from "../base/errors.ts";

/** So many at a time, the others in a bounded line: what takes several statements leaves connections to everybody else. */
export class Lanes {
  readonly #most: number;
  readonly #maxWaiting: number;
  readonly #waiting: Array<() => void> = [];
  #busy = 0;

  constructor(most: number, maxWaiting: number) {
    this.#most = most;
    this.#maxWaiting = maxWaiting;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy >= this.#most) await this.#turn();
    else this.#busy++;
    try {
      return await work();
    } finally {
      // Whoever is next takes this place over, so that nobody comes in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy--;
      else next();
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new DirectoryUnavailable("The database does not keep up with the messages; try again later.");
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}
