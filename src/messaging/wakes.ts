import type { Change } from "../directory/directory.ts";
import type { MessageStore } from "../directory/messages.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

/** Changes of one moment share a statement. */
const GATHER_MS = 10;
const AGAIN_MS = 1_000;
const BATCH = 500;
/** Beyond this many recipients everybody who is bound is looked at. */
const MOST = 20_000;
const WAKE_BOUND = 1_000;
/** Queues of a server that came back are due within this time, so that it is not run over. */
const SPREAD_MS = 1_000;

/**
 * Makes queues due when their recipient is bound or their server comes back. What cannot be written now, because the
 * database is away, is kept and written later. One statement under way at a time.
 */
export class Wakes {
  readonly #store: MessageStore;
  readonly #runtime: Runtime;
  readonly #woken: () => void;
  readonly #recipients = new Set<string>();
  /** Servers whose users are to be woken; `""`: everybody who is bound. */
  readonly #servers = new Set<string>();
  #anything = true;
  /** Counts what may have made `#anything` true. */
  #heard = 0;
  #timer: Timer | null = null;
  #busy = false;
  #stopped = false;

  /** @param woken something is due, or may be, that was not. */
  constructor(store: MessageStore, runtime: Runtime, woken: () => void) {
    this.#store = store;
    this.#runtime = runtime;
    this.#woken = woken;
  }

  onChange(change: Change): void {
    if (change.kind === "binding") {
      if (change.server !== null && this.#anything) this.recipient(change.aor);
    } else if (change.kind === "user") {
      // Bindings that were nobody's business may have waited for this very insert, and were told before it: in the order
      // of the feed a transaction stands where it wrote first.
      if (!this.#anything) this.serverUp("");
      this.somethingStored();
    } else if (change.kind === "reset") {
      this.somethingStored();
      this.serverUp("");
    }
  }

  /** Nothing is waiting anywhere, as the database said after `heard` was read: then a binding is nobody's business here. */
  nothingStored(heard: number): void {
    if (heard === this.#heard) this.#anything = false;
  }

  get heard(): number {
    return this.#heard;
  }

  /** False: nothing is stored anywhere, so nothing can be due. */
  get anything(): boolean {
    return this.#anything;
  }

  somethingStored(): void {
    this.#heard++;
    const first = !this.#anything;
    this.#anything = true;
    if (first) this.#woken();
  }

  serverUp(server: string): void {
    this.#servers.add(server);
    this.#arm(GATHER_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.#recipients.clear();
    this.#servers.clear();
  }

  /** His queues are to be due. */
  recipient(aor: string): void {
    this.#recipients.add(aor);
    if (this.#recipients.size > MOST) {
      this.#recipients.clear();
      this.#servers.add("");
    }
    this.#arm(GATHER_MS);
  }

  #arm(ms: number): void {
    if (this.#stopped || this.#busy || this.#timer !== null) return;
    this.#timer = this.#runtime.timers.after(ms, () => {
      this.#timer = null;
      void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#busy = true;
    let again = GATHER_MS;
    try {
      const batch = [...this.#recipients].slice(0, BATCH);
      for (const aor of batch) this.#recipients.delete(aor);
      await this.#wakeRecipients(batch);
      for (const server of [...this.#servers]) await this.#wakeServer(server);
    } catch {
      again = AGAIN_MS;
    }
    this.#busy = false;
    if (this.#recipients.size > 0 || this.#servers.size > 0) this.#arm(again);
  }

  async #wakeRecipients(batch: readonly string[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      if ((await this.#store.wake(batch)) > 0) this.#woken();
    } catch (error) {
      for (const aor of batch) this.#recipients.add(aor);
      throw error;
    }
  }

  async #wakeServer(server: string): Promise<void> {
    this.#servers.delete(server);
    try {
      const woken = await this.#store.wakeBound(server === "" ? null : server, WAKE_BOUND, SPREAD_MS);
      if (woken > 0) this.#woken();
      if (woken >= WAKE_BOUND) this.#servers.add(server);
    } catch (error) {
      this.#servers.add(server);
      throw error;
    }
  }
}
