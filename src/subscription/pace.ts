/**
 * So many at a time for each server; the rest waits in order. A server that does not answer holds up nobody but those who
 * ask it.
 */
export class Pace {
  readonly #most: number;
  readonly #servers = new Map<string, { busy: number; waiting: Array<() => void>; first: number }>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Resolves when it is one's turn; what it gives is to be called once, when that is over. */
  turn(server: string): Promise<() => void> {
    let lane = this.#servers.get(server);
    if (lane === undefined) {
      lane = { busy: 0, waiting: [], first: 0 };
      this.#servers.set(server, lane);
    }
    const release = (): void => this.#release(server);
    if (lane.busy < this.#most) {
      lane.busy++;
      return Promise.resolve(release);
    }
    const { waiting } = lane;
    return new Promise((resolve) => waiting.push(() => resolve(release)));
  }

  clear(): void {
    for (const lane of this.#servers.values()) {
      lane.waiting = [];
      lane.first = 0;
    }
  }

  #release(server: string): void {
    const lane = this.#servers.get(server);
    if (lane === undefined) return;
    const next = lane.waiting[lane.first];
    if (next !== undefined) {
      lane.first++;
      // The front that is done with goes in one piece, now and then.
      if (lane.first > 1000 && lane.first * 2 > lane.waiting.length) {
        lane.waiting = lane.waiting.slice(lane.first);
        lane.first = 0;
      }
      next();
      return;
    }
    lane.waiting = [];
    lane.first = 0;
    lane.busy--;
    if (lane.busy === 0) this.#servers.delete(server);
  }
}
