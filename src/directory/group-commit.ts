import { DirectoryUnavailable } from "../base/errors.ts";

export interface GroupCommitOptions<Ask, Answer> {
  /** What two asks must not have in common to share a statement, such as the row they write. */
  readonly key: (ask: Ask) => string;
  /**
   * One statement for all of them; answers in the order of the batch. One that takes another statement comes later: nobody
   * else waits for it, and its key stays taken.
   */
  readonly run: (batch: readonly Ask[]) => Promise<ReadonlyArray<Answer | Promise<Answer>>>;
  /** At most this many in one statement. */
  readonly maxBatch: number;
  /** Statements in flight at once. */
  readonly lanes: number;
  /** Beyond this many waiting, callers are turned away. */
  readonly maxWaiting: number;
  /** True: one of them may be at fault; each is then tried by itself, so that the others get their answers. */
  readonly splits: (error: unknown) => boolean;
  /** Runs a function a moment later, so that those who arrive together share the first statement too. */
  readonly soon: (run: () => void) => void;
}

interface Waiting<Ask, Answer> {
  readonly key: string;
  readonly ask: Ask;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Group commit (concurrency.md 3): those who arrive while statements are in flight share the next one. A key is in one
 * statement at a time, so two asks for it are judged in the order they came; a batch is sorted by key, so that the
 * batches of two proxies lock their rows in one order. Each caller gets his own answer.
 */
export class GroupCommit<Ask, Answer> {
  readonly #options: GroupCommitOptions<Ask, Answer>;
  #waiting: Array<Waiting<Ask, Answer>> = [];
  readonly #inFlight = new Set<string>();
  #busy = 0;
  #scheduled = false;

  constructor(options: GroupCommitOptions<Ask, Answer>) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  submit(ask: Ask): Promise<Answer> {
    if (this.#waiting.length >= this.#options.maxWaiting) {
      return Promise.reject(
        new DirectoryUnavailable("The database does not keep up with the requests; try again later."),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key: this.#options.key(ask), ask, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#busy >= this.#options.lanes) return;
    this.#scheduled = true;
    this.#options.soon(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#busy < this.#options.lanes) {
      const batch = this.#take();
      if (batch.length === 0) return;
      void this.#run(batch);
    }
  }

  /** The longest-waiting first; whose key is in flight or in this batch already stays for a later one. */
  #take(): Array<Waiting<Ask, Answer>> {
    const batch: Array<Waiting<Ask, Answer>> = [];
    const left: Array<Waiting<Ask, Answer>> = [];
    let at = 0;
    for (; at < this.#waiting.length && batch.length < this.#options.maxBatch; at++) {
      const each = this.#waiting[at] as Waiting<Ask, Answer>;
      if (this.#inFlight.has(each.key)) {
        left.push(each);
      } else {
        this.#inFlight.add(each.key);
        batch.push(each);
      }
    }
    if (batch.length === 0) return batch;
    this.#waiting = left.concat(this.#waiting.slice(at));
    batch.sort((a, b) => (a.key < b.key ? -1 : 1));
    return batch;
  }

  async #run(batch: ReadonlyArray<Waiting<Ask, Answer>>): Promise<void> {
    this.#busy++;
    try {
      await this.#answer(batch);
    } finally {
      this.#busy--;
      if (this.#waiting.length > 0) this.#start();
    }
  }

  async #answer(batch: ReadonlyArray<Waiting<Ask, Answer>>): Promise<void> {
    let answers: ReadonlyArray<Answer | Promise<Answer>>;
    try {
      answers = await this.#options.run(batch.map((each) => each.ask));
    } catch (error) {
      if (batch.length > 1 && this.#options.splits(error)) {
        for (const each of batch) await this.#answer([each]);
      } else {
        for (const each of batch) this.#end(each, () => each.reject(error));
      }
      return;
    }
    for (const [i, each] of batch.entries()) {
      const answer = answers[i] as Answer | Promise<Answer>;
      if (answer instanceof Promise) this.#endLater(each, answer);
      else this.#end(each, () => each.resolve(answer));
    }
  }

  #endLater(each: Waiting<Ask, Answer>, answer: Promise<Answer>): void {
    const free = (tell: () => void) => {
      this.#end(each, tell);
      if (this.#waiting.length > 0) this.#schedule();
    };
    answer.then(
      (value) => free(() => each.resolve(value)),
      (error) => free(() => each.reject(error)),
    );
  }

  #end(each: Waiting<Ask, Answer>, tell: () => void): void {
    this.#inFlight.delete(each.key);
    tell();
  }
}
