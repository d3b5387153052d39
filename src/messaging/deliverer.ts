import { type EndOutcome, IDLE_MS, type MessageEnd, type QueueRef, type StoredMessage } from "../directory/messages.ts";
import type { Plan } from "../federation/plan.ts";
import type { Timer } from "../runtime/runtime.ts";
import type { Reply } from "../sip/transaction/outbound.ts";
import { copyOf, requestUriFor } from "./copy.ts";
import { backOff, judgeReply, type Verdict } from "./judge.ts";
import type { Notifier } from "./notifier.ts";
import type { DeliveryOptions } from "./options.ts";
import type { MessagingParts, Where } from "./ports.ts";
import { bestVerdict, isOut, leadsOn, namesAt, stagesOf } from "./stages.ts";
import { Wakes } from "./wakes.ts";

/** A queue in our hands. */
interface Held {
  readonly queue: QueueRef;
  /** Servers noted as being asked. */
  asked: readonly string[];
  /** Monotonic milliseconds, counted from before the taking was sent: nothing is sent after this. */
  until: number;
  /** The user was bound anew, or the server came back, while a try was under way. */
  woken: boolean;
  /** Asked now, or a moment ago; empty: none yet. */
  server: string;
}

/** Left of the hold when a try has ended, for what is written then. */
const MARGIN_MS = 4_000;
const SLOW_MS = 10_000;
/** Nothing is stored anywhere: who stores something is heard. */
const QUIET_MS = 30_000;
/** A server that has answered within this time is not silent. */
const LIVELY_MS = 10_000;
/** Enough waits for a server that is silent. */
const CROWDED_MS = 1_000;
/** His server is down for this proxy; another may see it otherwise. */
export const DOWN_MS = 60_000;
/** Beyond this many who wait for their servers they are looked at when their time comes. */
const MOST_UNPLACED = 10_000;
/** For one try at each of several servers. */
const SEVERAL_MS = 8_000;
const SWEEP = 1_000;
const STOP_MS = 2_000;
/** Messages that were delivered and could not be removed yet: if they come up again they are not sent again. */
const MOST_DELIVERED = 10_000;
const END_AGAIN_MS = 500;

/**
 * Delivers what is stored (models.md, "Stored messages"): in order per (sender, recipient), one in flight, removed only
 * after a 2xx. Takes queues that are due, each for a while; what happens in that while: a message is sent where the
 * decision says, and by the answer it is removed and the next one follows, or it stays and the queue is given up until
 * later. When this proxy dies, or cannot reach the database, the while passes and another takes the queue: a message may
 * then be sent twice, with the same Call-ID, From tag, CSeq and body, and is never lost.
 */
export class Deliverer {
  readonly #parts: MessagingParts;
  readonly #options: DeliveryOptions;
  readonly #notifier: Notifier;
  readonly #wakes: Wakes;
  readonly #held = new Set<Held>();
  readonly #delivered = new Map<string, MessageEnd>();
  /** Recipients who wait for any of their servers. */
  readonly #unplaced = new Set<string>();
  /** When each server answered a try last, monotonic milliseconds. */
  readonly #answeredAt = new Map<string, number>();
  readonly #ends: Array<() => void> = [];
  #poll: Timer | null = null;
  #taking = false;
  #again = false;
  /** More was due than could be taken. */
  #more = false;
  #slowAt = 0;
  #sweeping = false;
  #running = false;
  #onQuiet: () => void = () => undefined;
  #waiting = { messages: 0, queues: 0, octets: 0 };

  constructor(parts: MessagingParts, notifier: Notifier, options: DeliveryOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#notifier = notifier;
    this.#wakes = new Wakes(parts.directory.messages, parts.runtime, () => this.kick());
  }

  /** Queues in this proxy's hands. */
  get inFlight(): number {
    return this.#held.size;
  }

  /** What waits in the database, as it was told last. */
  get waiting(): { readonly messages: number; readonly queues: number; readonly octets: number } {
    return this.#waiting;
  }

  start(): void {
    const { directory, router } = this.#parts;
    this.#running = true;
    this.#ends.push(
      directory.onChange((change) => {
        if (change.kind === "binding" && change.server !== null)
          this.#rouse((held) => held.queue.recipient === change.aor);
        this.#wakes.onChange(change);
      }),
      router.onServerUp((server) => {
        // Empty: not decided yet, or that nobody can be asked.
        this.#rouse((held) => held.server === server || held.server === "");
        this.#serverUp(server);
      }),
    );
    // Whoever was bound while no proxy was there to hear of it.
    this.#wakes.serverUp("");
    this.kick();
  }

  /**
   * Nothing more is taken; what is under way has a moment to end, and the rest of its queue is given up at once. What is
   * under way longer is another's when its while is over.
   */
  async stop(): Promise<void> {
    this.#running = false;
    for (const end of this.#ends.splice(0)) end();
    this.#wakes.stop();
    this.#poll?.cancel();
    this.#poll = null;
    if (this.#held.size > 0) await this.#quiet();
    this.#held.clear();
    this.#delivered.clear();
    this.#unplaced.clear();
  }

  #quiet(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#parts.runtime.timers.after(STOP_MS, resolve);
      this.#onQuiet = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Something may be due. */
  kick(): void {
    if (!this.#running) return;
    if (this.#taking) this.#again = true;
    else this.#arm(0);
  }

  /** A message was stored here: bindings concern us from now on. */
  stored(due: boolean): void {
    this.#wakes.somethingStored();
    if (due) this.kick();
  }

  /** He is on his server, who may have been away from it when it was asked last: the back-off need not end first. */
  claimedAgain(recipient: string): void {
    this.#rouse((held) => held.queue.recipient === recipient);
    this.#wakes.recipient(recipient);
  }

  /** A queue whose first message is under way on the proxy's own branch: its answer is awaited like that of a try. */
  adopt(queue: QueueRef, message: StoredMessage, server: string, late: Promise<Reply>, until: number): void {
    const held: Held = { queue, asked: [server], until, woken: false, server };
    this.#held.add(held);
    void this.#carry(held, message, late);
  }

  /** A 2xx for a message that waits behind others in a queue that is not ours. */
  async deliveredLate(message: StoredMessage, detail: string): Promise<void> {
    await this.#end(null, message, { state: "delivered", detail }).catch(() => undefined);
  }

  #rouse(concerned: (held: Held) => boolean): void {
    for (const held of this.#held) if (concerned(held)) held.woken = true;
  }

  #arm(ms: number): void {
    this.#poll?.cancel();
    this.#poll = this.#parts.runtime.timers.after(ms, () => {
      this.#poll = null;
      void this.#round();
    });
  }

  async #round(): Promise<void> {
    this.#taking = true;
    this.#again = false;
    try {
      await this.#take();
    } catch {
      // The database is away, or too busy: nothing is lost, and it is asked again.
    }
    this.#taking = false;
    if (this.#running) void this.#slowly();
    if (this.#running && this.#poll === null)
      this.#arm(this.#again ? 0 : this.#wakes.anything ? this.#options.pollMs : QUIET_MS);
  }

  async #take(): Promise<void> {
    const { runtime, directory } = this.#parts;
    const free = this.#options.maxInFlight - this.#held.size;
    if (free <= 0) return;
    const until = runtime.clock.now() + this.#options.holdMs;
    const taken = await directory.messages.take(free, this.#options.holdMs);
    if (!this.#running) return;
    for (const { message, server, ...queue } of taken) {
      const held: Held = { queue, asked: server === null ? [] : [server], until, woken: false, server: "" };
      this.#held.add(held);
      void this.#carry(held, message, null);
    }
    // Half of the places are let go before more is taken, so that a statement takes many.
    this.#more = taken.length === free;
  }

  /** What is expired is ended, what ended long ago is forgotten; and is there anything at all? */
  async #slowly(): Promise<void> {
    const { runtime, directory } = this.#parts;
    const now = runtime.clock.now();
    if (this.#sweeping || now < this.#slowAt) return;
    this.#sweeping = true;
    this.#slowAt = now + SLOW_MS;
    try {
      const overdue = await directory.messages.overdue(SWEEP);
      for (const message of overdue) {
        if (!this.#running) break;
        await this.#fail(null, message, EXPIRED);
      }
      const forgotten = await directory.messages.sweep(this.#parts.options().traceMs, SWEEP);
      // There may be more: the next round goes on.
      if (overdue.length === SWEEP || forgotten === SWEEP) this.#slowAt = 0;
      const { heard } = this.#wakes;
      this.#waiting = await directory.messages.count();
      if (this.#waiting.queues === 0) this.#wakes.nothingStored(heard);
    } catch {
      // The next time.
    }
    this.#sweeping = false;
  }

  /** One queue, from its taking until it is empty or given up. */
  async #carry(held: Held, first: StoredMessage, late: Promise<Reply> | null): Promise<void> {
    try {
      let next: StoredMessage | null = await this.#first(held, first, late);
      while (next !== null && this.#running) next = await this.#deliver(held, next);
      if (next !== null) await this.#parts.directory.messages.defer(held.queue, 0, null);
    } catch (error) {
      // The database is away, so that nothing can be decided or noted: the while passes, and it is due again.
      if ((error as Error).name !== "DirectoryUnavailable") {
        this.#parts.telemetry.emit("warning", {
          what: "delivering a stored message",
          detail: (error as Error).message,
        });
      }
    } finally {
      this.#held.delete(held);
      if (this.#held.size === 0) this.#onQuiet();
      if (this.#more && this.#held.size <= this.#options.maxInFlight / 2) this.kick();
    }
  }

  async #first(held: Held, message: StoredMessage, late: Promise<Reply> | null): Promise<StoredMessage | null> {
    if (late === null) return this.#deliver(held, message);
    return this.#conclude(held, message, judgeReply(await late, held.server));
  }

  /** Null: the queue is out of our hands. */
  async #deliver(held: Held, message: StoredMessage): Promise<StoredMessage | null> {
    const { runtime, router, directory } = this.#parts;
    const done = this.#delivered.get(message.id);
    if (done !== undefined) return this.#end(held, message, done);
    if (message.expiresAt <= runtime.clock.wall()) return this.#fail(held, message, EXPIRED);
    held.woken = false;
    held.server = "";
    const where = await router.where(message);
    const { plan } = where;
    const stages = stagesOf(plan);
    const all = stages.flat();
    if (all.length === 0) return this.#nowhere(held, message, plan);
    const servers = await this.#secureOf(message, all);
    if (servers.length === 0) {
      return this.#fail(held, message, { state: "failed", detail: `a SIPS URI, and no TLS to ${all.join(", ")}` });
    }
    const first = servers[0]!;
    if (this.#isCrowded(held, first)) {
      return this.#giveUp(held, message, null, CROWDED_MS);
    }
    held.server = first;
    if (servers.some((server) => !held.asked.includes(server))) {
      if (!(await directory.messages.asking(held.queue, servers))) return null;
      held.asked = servers;
    }
    if (this.#options.unsafeRemoveFirst) {
      await directory.messages.end(message.id, { state: "delivered", detail: "" }, held.queue, this.#options.holdMs);
    }
    const verdicts: Verdict[] = [];
    for (const stage of stages) {
      const asked = stage.filter((server) => servers.includes(server));
      if (asked.length === 0) continue;
      const answered = await this.#tryStage(held, message, where, asked);
      // Too little is left of the while: what was found out so far is of no use to whoever goes on.
      if (answered.length === 0) return null;
      verdicts.push(...answered);
      if (!leadsOn(bestVerdict(answered), plan)) break;
    }
    return this.#conclude(held, message, bestVerdict(verdicts), plan);
  }

  /** All of these at once, and then whoever is asked in the place of some of them. */
  async #tryStage(held: Held, message: StoredMessage, where: Where, stage: readonly string[]): Promise<Verdict[]> {
    const verdicts: Verdict[] = [];
    const known = new Set(stage);
    let asked = stage;
    while (asked.length > 0) {
      held.server = asked[0]!;
      await where.allow(asked);
      const tried = await Promise.all(asked.map((server) => this.#try(held, message, where.plan, server)));
      verdicts.push(...tried.filter((each) => each !== null));
      const more = asked.filter((_, i) => isOut(tried[i] ?? null)).flatMap((server) => where.instead(server));
      asked = await this.#secureOf(
        message,
        [...new Set(more)].filter((server) => !known.has(server)),
      );
      for (const server of asked) known.add(server);
    }
    return verdicts;
  }

  /** Nobody can be asked now. */
  #nowhere(held: Held, message: StoredMessage, plan: Plan): Promise<null> {
    const waitsForServers = plan.kind === "spread" || (plan.kind === "store" && plan.until === "up");
    if (waitsForServers) this.waitsForServers(message.recipient);
    return this.#giveUp(held, message, null, this.#idle(waitsForServers || held.asked.length > 0));
  }

  /** No binding will tell when a server of his can be asked again: when any can, his queues are due. */
  waitsForServers(recipient: string): void {
    if (this.#unplaced.size < MOST_UNPLACED) this.#unplaced.add(recipient);
  }

  #serverUp(server: string): void {
    for (const recipient of this.#unplaced) this.#wakes.recipient(recipient);
    this.#unplaced.clear();
    this.#wakes.serverUp(server);
  }

  /** RFC 3261 26.2.2: a SIPS URI is reached over TLS or not at all. */
  async #secureOf(message: StoredMessage, servers: readonly string[]): Promise<readonly string[]> {
    if (!isSips(message)) return servers;
    const { outbound } = this.#parts;
    const secure = await Promise.all(servers.map((server) => outbound.hasTls(server)));
    return servers.filter((_server, i) => secure[i]);
  }

  /** Null: too little is left of the while to send anything. */
  async #try(held: Held, message: StoredMessage, plan: Plan, server: string): Promise<Verdict | null> {
    const { runtime, outbound, router, telemetry } = this.#parts;
    const began = runtime.clock.now();
    // Of several servers one that is silent holds up what the others have taken.
    const tryMs = plan.kind === "spread" && plan.servers.length > 1 ? SEVERAL_MS : this.#options.tryMs;
    const timeoutMs = Math.min(tryMs, this.#options.tryMs, held.until - began - MARGIN_MS);
    if (timeoutMs <= 0) return null;
    const { request, recipient, sender } = message;
    const uri = requestUriFor(request, recipient, ...namesAt(plan, server));
    // Neither a host nor the digest of a long name is anybody who has another one there.
    const named = sender.includes("@") ? router.nameOn(sender, server) : null;
    let broken = false;
    const build = () => {
      try {
        return copyOf(request, uri, named);
      } catch (error) {
        broken = true;
        throw error;
      }
    };
    const secure = isSips(message);
    const sent = outbound.toServer(server, build, { timeoutMs, size: request.length, secure });
    const reply = await sent.catch((error: unknown): Reply | null => {
      if (!broken) throw error;
      return null;
    });
    // What cannot be made into a request never can, and others wait behind it.
    if (reply === null) return { verdict: "final", status: 0, detail: "what was stored is no request" };
    const verdict = judgeReply(reply, server);
    if (verdict.status > 0) this.#answeredAt.set(server, runtime.clock.now());
    telemetry.emit("messageTried", {
      id: message.id,
      server,
      status: verdict.status,
      tries: message.tries + 1,
      durationMs: runtime.clock.now() - began,
    });
    return verdict;
  }

  #conclude(held: Held, message: StoredMessage, verdict: Verdict, plan?: Plan): Promise<StoredMessage | null> {
    switch (verdict.verdict) {
      case "delivered":
        this.#learn(message.recipient, held.server, verdict.status, plan);
        return this.#end(held, message, { state: "delivered", detail: verdict.detail });
      case "final":
        return this.#fail(held, message, { state: "failed", detail: verdict.detail });
      case "kept": {
        if (verdict.notHere) this.#unlearn(message.recipient, plan);
        const { retryMs, maxRetryMs } = this.#options;
        const draw = this.#parts.runtime.random.integer(1_000) / 1_000;
        const delay = Math.max(backOff(message.tries, retryMs, maxRetryMs, draw), verdict.retryAfterMs);
        return this.#giveUp(held, message, verdict.detail, Math.min(delay, maxRetryMs));
      }
    }
  }

  /** What a search found is learned, as by a fork's proving 2xx. */
  #learn(recipient: string, server: string, status: number, plan: Plan | undefined): void {
    const { router, directory, runtime } = this.#parts;
    if (plan?.kind !== "fork" || status === 202 || !router.proves(server)) return;
    directory.learn(recipient, server, runtime.clock.wall() + router.learnedMs).catch(() => undefined);
  }

  #unlearn(recipient: string, plan: Plan | undefined): void {
    if (plan?.kind !== "relay" || plan.binding?.retry !== true) return;
    this.#parts.directory.unlearn(recipient, plan.server, plan.binding.epoch).catch(() => undefined);
  }

  /** Gives the queue up; what woke it during the try makes it due at once. */
  async #giveUp(held: Held, message: StoredMessage, detail: string | null, delayMs: number): Promise<null> {
    const { woken } = held;
    const delay = woken ? this.#options.retryMs / 4 : Math.min(delayMs, this.#lifeOf(message));
    await this.#parts.directory.messages.defer(held.queue, delay, detail);
    // What woke it while it was being given up passed it over as one in somebody's hands.
    if (held.woken && !woken) this.#wakes.recipient(held.queue.recipient);
    if (held.woken) this.kick();
    return null;
  }

  #lifeOf(message: StoredMessage): number {
    return Math.max(0, message.expiresAt - this.#parts.runtime.clock.wall());
  }

  /** For good, and its sender is told if he asked for it: first written down, so that a crash tells him twice at most. */
  async #fail(held: Held | null, message: StoredMessage, end: MessageEnd): Promise<StoredMessage | null> {
    await this.#notifier.failed(message);
    return this.#end(held, message, end);
  }

  /**
   * Removes it and goes on with the next. Where the database is away this is tried as long as the queue is ours, and is
   * remembered after that.
   */
  async #end(held: Held | null, message: StoredMessage, end: MessageEnd): Promise<StoredMessage | null> {
    const { runtime, telemetry } = this.#parts;
    this.#remember(message.id, end);
    for (;;) {
      const until = runtime.clock.now() + this.#options.holdMs;
      try {
        const outcome = await this.#endOnce(held, message, end);
        this.#delivered.delete(message.id);
        if (outcome.ended) {
          const waitedMs = runtime.clock.wall() - message.receivedAt;
          const { id, recipient, sender } = message;
          telemetry.emit("messageEnded", { id, recipient, sender, state: end.state, detail: end.detail, waitedMs });
        }
        if (held !== null) held.until = until;
        return outcome.next;
      } catch (error) {
        if (held === null || runtime.clock.now() + END_AGAIN_MS >= held.until) throw error;
      }
      if (!this.#running) return null;
      await new Promise<void>((resolve) => runtime.timers.after(END_AGAIN_MS, resolve));
    }
  }

  #endOnce(held: Held | null, message: StoredMessage, end: MessageEnd): Promise<EndOutcome> {
    return this.#parts.directory.messages.end(message.id, end, held?.queue ?? null, this.#options.holdMs);
  }

  #remember(id: string, end: MessageEnd): void {
    if (this.#delivered.size >= MOST_DELIVERED) this.#delivered.delete(this.#delivered.keys().next().value!);
    this.#delivered.set(id, end);
  }

  /** Nobody can be asked: a binding, or a server that comes up, wakes it before this. */
  #idle(isSoon: boolean): number {
    const plain = isSoon ? DOWN_MS : IDLE_MS;
    return Math.round(plain * (0.75 + this.#parts.runtime.random.integer(500) / 1_000));
  }

  /** Of a server that is silent only so much waits at once, so that it does not take the place of the others. */
  #isCrowded(mine: Held, server: string): boolean {
    const answeredAt = this.#answeredAt.get(server) ?? Number.NEGATIVE_INFINITY;
    if (this.#parts.runtime.clock.now() - answeredAt < LIVELY_MS) return false;
    let count = 0;
    for (const held of this.#held) if (held !== mine && held.server === server) count++;
    return count >= this.#options.maxPerServer;
  }
}

const EXPIRED: MessageEnd = { state: "expired", detail: "its time was over" };

function isSips({ requestUri }: StoredMessage): boolean {
  return /^sips:/i.test(requestUri);
}
