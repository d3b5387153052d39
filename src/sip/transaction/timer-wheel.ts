import type { Runtime, Timer } from "../../runtime/runtime.ts";

/** Has timers on a wheel, told apart by their label. */
export interface TimerOwner<L extends string> {
  fired(label: L): void;
}

/** One timer of an owner, and its own link in the wheel's lists: starting and stopping it allocates nothing. */
export class WheelTimer<L extends string = string> {
  readonly owner: TimerOwner<L> | null;
  /** What the owner is told when it fires; meaningful while running. */
  label: L | null = null;
  /** The links and `slot` are the wheel's. `slot` is IDLE, DUE or a slot's number. */
  previous: WheelTimer<never> | null = null;
  next: WheelTimer<never> | null = null;
  slot = IDLE;
  due = 0;

  constructor(owner: TimerOwner<L> | null) {
    this.owner = owner;
  }

  get running(): boolean {
    return this.slot !== IDLE;
  }
}

const IDLE = -1;
const DUE = -2;
const TICK_MS = 10;
const SLOTS = 4096;
const MASK = SLOTS - 1;

type Link = WheelTimer<never>;

function listHead(): Link {
  const head: Link = new WheelTimer<never>(null);
  head.previous = head;
  head.next = head;
  return head;
}

function append(head: Link, link: Link): void {
  const last = head.previous!;
  link.previous = last;
  link.next = head;
  last.next = link;
  head.previous = link;
}

/**
 * A hashed timing wheel: 4096 slots of 10 ms, so that the transaction timers of 32 s lie within one turn and longer ones
 * wait for theirs. Starting and stopping are O(1). Timers fire in the order of their ticks, within a tick in the order they
 * were started, never early and at most one tick late. It asks the runtime for one timer, to the next slot that holds
 * anything, and for none while it is empty.
 */
export class TimerWheel {
  readonly #runtime: Runtime;
  readonly #slots: Link[] = Array.from({ length: SLOTS }, listHead);
  /** A bit per slot that is not empty. */
  readonly #occupied = new Uint32Array(SLOTS / 32);
  readonly #dueNow = listHead();
  readonly #wake = (): void => this.#advance();
  #size = 0;
  /** The last tick whose slot was emptied. */
  #cursor: number;
  #alarm: Timer | null = null;
  #alarmTick = 0;
  #advancing = false;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    this.#cursor = Math.floor(runtime.clock.now() / TICK_MS);
  }

  /** Timers running. */
  get size(): number {
    return this.#size;
  }

  /** Starts or restarts `timer` to fire in `ms` milliseconds from `now`, which who has just read the clock hands over. */
  start<L extends string>(timer: WheelTimer<L>, ms: number, label: L, now = this.#runtime.clock.now()): void {
    const link = timer as unknown as Link;
    if (timer.slot !== IDLE) this.#unlink(link);
    else this.#size++;
    if (this.#size === 1 && !this.#advancing) this.#cursor = Math.floor(now / TICK_MS);
    const due = Math.max(Math.ceil((now + ms) / TICK_MS), this.#cursor + 1);
    const slot = due & MASK;
    timer.label = label;
    timer.due = due;
    timer.slot = slot;
    append(this.#slots[slot]!, link);
    this.#occupied[slot >>> 5]! |= 1 << (slot & 31);
    if (!this.#advancing && (this.#alarm === null || due < this.#alarmTick)) this.#setAlarm(due, now);
  }

  /** Does nothing where it is not running. */
  stop<L extends string>(timer: WheelTimer<L>): void {
    if (timer.slot === IDLE) return;
    this.#unlink(timer as unknown as Link);
    timer.slot = IDLE;
    this.#size--;
    if (this.#size === 0 && !this.#advancing) this.#clearAlarm();
  }

  /** Stops every timer. */
  clear(): void {
    for (const head of this.#slots) this.#clearList(head);
    this.#clearList(this.#dueNow);
    this.#occupied.fill(0);
    this.#size = 0;
    this.#clearAlarm();
  }

  #clearList(head: Link): void {
    while (head.next !== head) {
      const link = head.next!;
      this.#unlink(link);
      link.slot = IDLE;
    }
  }

  #unlink(link: Link): void {
    link.previous!.next = link.next;
    link.next!.previous = link.previous;
    link.previous = null;
    link.next = null;
    const slot = link.slot;
    if (slot < 0) return;
    const head = this.#slots[slot]!;
    if (head.next === head) this.#occupied[slot >>> 5]! &= ~(1 << (slot & 31));
  }

  #advance(): void {
    this.#alarm = null;
    const nowTick = Math.floor(this.#runtime.clock.now() / TICK_MS);
    this.#advancing = true;
    try {
      this.#fire();
      // After a pause of more than a turn every slot is visited once; all that is due in it fires.
      this.#cursor = Math.max(this.#cursor, nowTick - SLOTS);
      for (let tick = this.#nextOccupied(); tick <= nowTick; tick = this.#nextOccupied()) {
        this.#cursor = tick;
        this.#collect(this.#slots[tick & MASK]!, nowTick);
        this.#fire();
      }
      this.#cursor = Math.max(this.#cursor, nowTick);
    } finally {
      this.#advancing = false;
      // An owner that threw has left others behind it in the list of those due: they come first next time.
      const left = this.#dueNow.next !== this.#dueNow;
      if (this.#size > 0) this.#setAlarm(left ? nowTick : this.#nextOccupied(), this.#runtime.clock.now());
    }
  }

  #collect(head: Link, nowTick: number): void {
    let link = head.next!;
    while (link !== head) {
      const next = link.next!;
      if (link.due <= nowTick) {
        this.#unlink(link);
        link.slot = DUE;
        append(this.#dueNow, link);
      }
      link = next;
    }
  }

  #fire(): void {
    const head = this.#dueNow;
    while (head.next !== head) {
      const link = head.next!;
      this.#unlink(link);
      link.slot = IDLE;
      this.#size--;
      link.owner?.fired(link.label as never);
    }
  }

  /** The first tick after the cursor whose slot holds anything (it may be for a later turn), or Infinity. */
  #nextOccupied(): number {
    const from = this.#cursor + 1;
    const first = from & MASK;
    const words = this.#occupied;
    let index = first >>> 5;
    // Bits of the first word below the start belong to the end of the turn.
    let word = words[index]! & (-1 << (first & 31));
    for (let i = 0; i <= words.length; i++) {
      if (word !== 0) {
        const slot = (index << 5) + 31 - Math.clz32(word & -word);
        return from + ((slot - first) & MASK);
      }
      index = (index + 1) & (words.length - 1);
      word = words[index]!;
    }
    return Number.POSITIVE_INFINITY;
  }

  #setAlarm(tick: number, now: number): void {
    this.#alarm?.cancel();
    this.#alarmTick = tick;
    this.#alarm = this.#runtime.timers.after(Math.max(0, tick * TICK_MS - now), this.#wake);
  }

  #clearAlarm(): void {
    this.#alarm?.cancel();
    this.#alarm = null;
  }
}
