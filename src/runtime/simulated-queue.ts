/** Something that will happen at a moment of virtual time. */
export interface Scheduled {
  readonly at: number;
  readonly order: number;
  /** Undefined once it ran or was cancelled. */
  run: (() => void) | undefined;
}

/** More events than this without the clock moving are taken for a loop. */
const STANDSTILL = 200_000;
/** So often the real event loop gets a turn, so that a test's own time limit still works. */
const BREATH = 4096;

/** Virtual time: events in order of their moment, and of their making where that is the same. */
export class EventQueue {
  /** Milliseconds since the simulation began. */
  now = 0;
  #heap: Scheduled[] = [];
  #made = 0;
  #cancelled = 0;
  #ran = 0;
  #atThisMoment = 0;

  /** A moment in the past counts as now. */
  schedule(at: number, run: () => void): Scheduled {
    const event: Scheduled = { at: at > this.now ? at : this.now, order: this.#made++, run };
    this.#heap.push(event);
    this.#up(this.#heap.length - 1);
    return event;
  }

  cancel(event: Scheduled): void {
    if (event.run === undefined) return;
    event.run = undefined;
    this.#cancelled++;
    if (this.#cancelled > 1024 && this.#cancelled > this.#heap.length / 2) this.#compact();
  }

  /** The moment of the next event; undefined when nothing will ever happen again. */
  next(): number | undefined {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.run !== undefined) return first.at;
      this.#pop();
      this.#cancelled--;
    }
    return undefined;
  }

  /** Runs the next event, then all promises it settled. What it throws comes out here. */
  async step(): Promise<void> {
    if (this.next() === undefined) return;
    const event = this.#pop();
    const run = event.run as () => void;
    event.run = undefined;
    if (event.at > this.now) {
      this.now = event.at;
      this.#atThisMoment = 0;
    } else if (++this.#atThisMoment > STANDSTILL) {
      throw new Error(`Time stands still at ${this.now} ms: ${STANDSTILL} events, and still more are due.`);
    }
    run();
    await this.quiet();
  }

  /** Waits until every promise that can go on without time passing has gone on. */
  async quiet(): Promise<void> {
    // A tick runs only when no microtask is left; the second one is for promises that ticks of others settled.
    await new Promise<void>(soonest);
    await new Promise<void>(soonest);
    if (++this.#ran % BREATH === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  #pop(): Scheduled {
    const heap = this.#heap;
    const first = heap[0] as Scheduled;
    const last = heap.pop() as Scheduled;
    if (heap.length > 0) {
      heap[0] = last;
      this.#down(0);
    }
    return first;
  }

  #compact(): void {
    const live = this.#heap.filter((event) => event.run !== undefined);
    // A sorted array is a heap.
    live.sort((one, other) => (before(one, other) ? -1 : 1));
    this.#heap = live;
    this.#cancelled = 0;
  }

  #up(index: number): void {
    const heap = this.#heap;
    const event = heap[index] as Scheduled;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above] as Scheduled;
      if (!before(event, parent)) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = event;
  }

  #down(index: number): void {
    const heap = this.#heap;
    const event = heap[index] as Scheduled;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && before(heap[below + 1] as Scheduled, heap[below] as Scheduled)) below++;
      const child = heap[below] as Scheduled;
      if (!before(child, event)) break;
      heap[index] = child;
      index = below;
    }
    heap[index] = event;
  }
}

function soonest(resolve: () => void): void {
  process.nextTick(resolve);
}

function before(one: Scheduled, other: Scheduled): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
