import type { Handles } from "./handles.ts";
import type { Address, Connection, ConnectionHandler, StreamKind } from "./runtime.ts";
import type { Scheduled } from "./simulated-queue.ts";
import { at, type ConnectionEnd, type Machine, systemError, type World } from "./simulated-world.ts";

/** What the system takes over from us before `buffered` starts to count. */
const SYSTEM_BUFFER = 256 * 1024;
/** Milliseconds without an acknowledgement after which a sender gives its connection up (a system may take much longer). */
const GIVE_UP = 20_000;
/** Milliseconds after which an idle end finds out that the other is not there any more. */
const KEEP_ALIVE = 60_000;
/** Milliseconds of waiting for the other side after end(). */
const LINGER = 5000;
/** Milliseconds after which a lost segment is sent again. */
const RETRANSMIT = 200;

/** What travels in one direction. */
interface Piece {
  at: number;
  readonly bytes: Uint8Array | undefined;
  /** Without bytes: how the sender's end came about. */
  readonly error?: Error | undefined;
}

/** One end of a simulated connection: what it sends arrives in order or not at all. */
export class Side implements Connection, ConnectionEnd {
  readonly kind: StreamKind;
  readonly local: Address;
  readonly remote: Address;
  readonly peerNames: readonly string[];
  readonly machine: Machine;
  /** Set once, right after both ends were made. */
  peer!: Side;
  /** Called when this end has closed. */
  released: () => void = () => {};
  readonly #world: World;
  readonly #handles: Handles;
  #handler: ConnectionHandler | undefined;
  #unheard: Piece[] = [];
  #outgoing: Piece[] = [];
  #inFlight = 0;
  #lastArrival = 0;
  #pump: Scheduled | undefined;
  #watch: Scheduled | undefined;
  #linger: Scheduled | undefined;
  #state: "open" | "ending" | "closed" = "open";
  #finSent = false;
  #error: Error | undefined;
  #told = false;

  constructor(
    world: World,
    machine: Machine,
    handles: Handles,
    ends: Pick<Connection, "kind" | "local" | "remote" | "peerNames">,
  ) {
    this.#world = world;
    this.machine = machine;
    this.#handles = handles;
    this.kind = ends.kind;
    this.local = ends.local;
    this.remote = ends.remote;
    this.peerNames = ends.peerNames;
    machine.sides.add(this);
    handles.opened(this, `${this.kind} connection ${at(this.local)} - ${at(this.remote)}`);
  }

  get handler(): ConnectionHandler {
    if (this.#handler === undefined) throw new Error("This connection has no handler yet.");
    return this.#handler;
  }

  set handler(handler: ConnectionHandler) {
    this.#handler = handler;
    if (this.#unheard.length > 0 || this.#state === "closed") this.#world.queue.schedule(0, () => this.#hear());
  }

  get buffered(): number {
    return Math.max(0, this.#inFlight - SYSTEM_BUFFER);
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** Nothing sent from this end arrives before this moment: the other has yet to hear that it is connected. */
  notBefore(moment: number): void {
    this.#lastArrival = Math.max(this.#lastArrival, moment);
  }

  send(bytes: Uint8Array): void {
    if (this.#state !== "open" || !this.machine.alive || bytes.length === 0) return;
    const { split } = this.#world.conditions.between(this.local.host, this.remote.host);
    let rest = bytes.slice();
    while (this.#isByteStream() && rest.length > 1 && this.#world.chance.chance(split)) {
      const cut = 1 + Math.floor(this.#world.chance.between(0, rest.length - 1));
      this.#post(rest.subarray(0, cut));
      this.#lastArrival += this.#world.chance.between(0.01, 1);
      rest = rest.subarray(cut);
    }
    this.#post(rest);
  }

  end(): void {
    if (this.#state !== "open" || !this.machine.alive) return;
    this.#state = "ending";
    this.#fin();
    this.#linger = this.#world.queue.schedule(this.#world.queue.now + LINGER, () => this.destroy());
  }

  destroy(): void {
    if (this.#state === "closed" || !this.machine.alive) return;
    this.#fin();
    this.#close(undefined);
  }

  /** Its listener would not have it: reset before anybody saw it. */
  refuse(): void {
    this.#fin(systemError("ECONNRESET", "read"));
    this.#close(undefined);
  }

  /** The process died, or with it the whole machine: then nothing more is sent, not even a goodbye. */
  crash(power: boolean): void {
    if (this.#state === "closed") return;
    if (power) this.#outgoing = [];
    else this.#fin(this.#world.chance.chance(0.5) ? systemError("ECONNRESET", "read") : undefined);
    this.#state = "closed";
    this.#release();
  }

  /** The paths of the network changed: who has lost its peer will find out, though it sends nothing. */
  disturbed(): void {
    if (this.#state === "closed" || !this.#stranded() || this.#watch !== undefined) return;
    const patience = this.#silent() ? KEEP_ALIVE : this.#world.chance.between(0, KEEP_ALIVE);
    this.#watch = this.#world.queue.schedule(this.#world.queue.now + patience, () => {
      this.#watch = undefined;
      if (this.#stranded()) this.#lost();
    });
  }

  /** Is there nobody at the other end who could ever tell us something? */
  #stranded(): boolean {
    return this.#silent() || (this.peer.#state === "closed" && this.peer.#outgoing.length === 0);
  }

  /** A machine that is gone or cut off is silent; one that lives, or lives again, answers with a reset. */
  #silent(): boolean {
    return this.#world.unreachable(this.machine, this.local, this.remote);
  }

  #lost(): void {
    this.#outgoing = [];
    this.#close(systemError(this.#silent() ? "ETIMEDOUT" : "ECONNRESET", "read"));
  }

  #fin(error?: Error): void {
    if (this.#finSent) return;
    this.#finSent = true;
    this.#post(undefined, error);
  }

  #post(bytes: Uint8Array | undefined, error?: Error): void {
    const { now } = this.#world.queue;
    const faults = this.#world.conditions.between(this.local.host, this.remote.host);
    let delay = this.#local() ? 0.05 : this.#world.chance.between(...faults.delay);
    for (let round = 0; round < 6 && !this.#local() && this.#world.chance.chance(faults.loss); round++) {
      delay += RETRANSMIT * 2 ** round;
    }
    this.#lastArrival = Math.max(this.#lastArrival, now + delay);
    this.#outgoing.push({ at: this.#lastArrival, bytes, error });
    this.#inFlight += bytes?.length ?? 0;
    if (this.#pump === undefined) this.#arm();
  }

  #local(): boolean {
    return this.peer.machine === this.machine;
  }

  #arm(): void {
    const head = this.#outgoing[0];
    this.#pump = head === undefined ? undefined : this.#world.queue.schedule(head.at, () => this.#arrive());
  }

  /** What is due reaches the other side, or finds the way closed. */
  #arrive(): void {
    this.#pump = undefined;
    if (this.#outgoing.length === 0) return;
    if (this.#silent()) {
      this.#retry(this.#world.queue.now + GIVE_UP);
      return;
    }
    const piece = this.#due();
    if (this.peer.#state === "closed") {
      if (this.#state !== "closed" && this.peer.#outgoing.length === 0) this.#resetSoon();
    } else {
      const what = () => `${this.kind} ${at(this.local)} > ${at(this.remote)} ${piece.bytes?.length ?? "end"}`;
      this.#world.record(what, piece.bytes ?? 3);
      this.peer.#receive(piece);
    }
    this.#arm();
  }

  /** The first piece under way, on a byte stream joined with all that are due with it. */
  #due(): Piece {
    const first = this.#outgoing.shift() as Piece;
    const joined = first.bytes === undefined ? [] : [first.bytes];
    while (joined.length > 0 && this.#isByteStream()) {
      const next = this.#outgoing[0];
      if (next?.bytes === undefined || next.at > this.#world.queue.now) break;
      this.#outgoing.shift();
      joined.push(next.bytes);
    }
    const bytes = joined.length > 1 ? new Uint8Array(Buffer.concat(joined)) : first.bytes;
    this.#inFlight -= bytes?.length ?? 0;
    return { ...first, bytes };
  }

  #isByteStream(): boolean {
    return this.kind === "tcp" || this.kind === "tls";
  }

  /** Tries the way again each second, as long as a system would. */
  #retry(limit: number): void {
    this.#pump = this.#world.queue.schedule(this.#world.queue.now + 1000, () => {
      if (!this.#silent()) this.#arrive();
      else if (this.#world.queue.now < limit) this.#retry(limit);
      else {
        this.#pump = undefined;
        this.#lost();
      }
    });
  }

  #resetSoon(): void {
    const back = this.#world.queue.now + this.#world.delay(this.remote.host, this.local.host);
    this.#outgoing = [];
    this.#world.queue.schedule(back, () => this.#close(systemError("ECONNRESET", "read")));
  }

  #receive(piece: Piece): void {
    if (!this.machine.alive || this.#state === "closed") return;
    if (this.#handler === undefined || this.#unheard.length > 0) {
      this.#unheard.push(piece);
      return;
    }
    if (piece.bytes !== undefined) this.#handler.data(piece.bytes);
    else this.#ended(piece.error);
  }

  #hear(): void {
    const pieces = this.#unheard;
    this.#unheard = [];
    for (const piece of pieces) this.#receive(piece);
    if (this.#state === "closed") this.#tell();
  }

  #ended(error: Error | undefined): void {
    if (error === undefined) this.#fin();
    this.#close(error);
  }

  #close(error: Error | undefined): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#error = error;
    this.#release();
    this.#world.queue.schedule(0, () => this.#tell());
  }

  #tell(): void {
    if (this.#told || this.#handler === undefined || !this.machine.alive) return;
    this.#told = true;
    this.#handler.closed(this.#error);
  }

  #release(): void {
    if (this.#watch !== undefined) this.#world.queue.cancel(this.#watch);
    if (this.#linger !== undefined) this.#world.queue.cancel(this.#linger);
    this.machine.sides.delete(this);
    this.#handles.closed(this);
    this.released();
  }
}
