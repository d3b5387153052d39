import type { Report } from "../presence/composition.ts";
import type { ChildView, Standing } from "./composed-decision.ts";
import type { Document } from "./documents.ts";
import type { Granting } from "./granting.ts";
import type { Leg } from "./leg.ts";

/** Nothing has come on this leg. */
export const NO_VERSION = -2;
/** What came had no version. */
export const UNVERSIONED = -1;

/** 64*T1: as long as it takes to find out that a server does not answer. */
export const STALE_MS = 32_000;

/** A moment before all others, which takes no more memory than they do. */
const LONG_AGO = -86_400_000;

/** What there is of one only while it does not simply speak: kept apart, for most do. */
interface Aside {
  isFinal: boolean;
  withdrew: boolean;
  retryAt: number;
  restsUntil: number;
  failures: number;
  staleAt: number;
  late: boolean;
  granted: Granting | null;
  askedAnewAt: number;
  askAnewAt: number;
  preparing: boolean;
  wholeAsked: boolean;
}

const NOTHING: Readonly<Aside> = Object.freeze({
  isFinal: false,
  withdrew: false,
  retryAt: 0,
  restsUntil: 0,
  failures: 0,
  staleAt: 0,
  late: false,
  granted: null,
  askedAnewAt: LONG_AGO,
  askAnewAt: 0,
  preparing: false,
  wholeAsked: false,
});
const KEYS = Object.keys(NOTHING) as (keyof Aside)[];

function changed<K extends keyof Aside>(aside: Aside | null, key: K, value: Aside[K]): Aside | null {
  if (aside === null) return value === NOTHING[key] ? null : { ...NOTHING, [key]: value };
  aside[key] = value;
  return aside;
}

/** One server of a composed subscription: its leg, and what it has said. All moments are monotonic. */
export class Child {
  readonly server: string;
  standing: Standing = "asked";
  /** Null: it has dropped out, it waits for the next try, or the try is being prepared. */
  leg: Leg | null = null;
  /** Where the whole may be shown without it, nobody waits. */
  optional = false;
  /** A visited row stands for it. */
  taken = false;
  /** When its leg was begun last. */
  askedAt = LONG_AGO;
  /** The subscription in which its server sends the leg's on; null: it has not come. */
  wentOn: string | null = null;
  /** Number of the leg that the row has; 0: none. */
  written = 0;

  /** Of what it has shown: number of the leg, CSeq of the NOTIFY. 0: nothing in this process. */
  epoch = 0;
  cseq = 0;
  /** Its last good document, a whole one; null: it has nothing to show. */
  content: Document | null = null;
  /** Of the last document on this leg that had one (RFC 5262). */
  version = NO_VERSION;

  #aside: Aside | null = null;

  constructor(server: string) {
    this.server = server;
  }

  /** What it has shown stays true for ever: it is asked no more. */
  get isFinal(): boolean {
    return (this.#aside ?? NOTHING).isFinal;
  }

  set isFinal(is: boolean) {
    this.#aside = changed(this.#aside, "isFinal", is);
  }

  /** It was confirmed, and is pending again. */
  get withdrew(): boolean {
    return (this.#aside ?? NOTHING).withdrew;
  }

  set withdrew(is: boolean) {
    this.#aside = changed(this.#aside, "withdrew", is);
  }

  /** When it is asked again; 0: not by the clock. */
  get retryAt(): number {
    return (this.#aside ?? NOTHING).retryAt;
  }

  set retryAt(at: number) {
    this.#aside = changed(this.#aside, "retryAt", at);
  }

  /** Out: not before then does his refresh have it asked again. */
  get restsUntil(): number {
    return (this.#aside ?? NOTHING).restsUntil;
  }

  set restsUntil(at: number) {
    this.#aside = changed(this.#aside, "restsUntil", at);
  }

  /** Tries in a row that came to nothing, or not for long. */
  get failures(): number {
    return (this.#aside ?? NOTHING).failures;
  }

  set failures(count: number) {
    this.#aside = changed(this.#aside, "failures", count);
  }

  /** From when on nobody waits for it; 0: it speaks, or is `late` already. */
  get staleAt(): number {
    return (this.#aside ?? NOTHING).staleAt;
  }

  set staleAt(at: number) {
    this.#aside = changed(this.#aside, "staleAt", at);
  }

  get late(): boolean {
    return (this.#aside ?? NOTHING).late;
  }

  set late(is: boolean) {
    this.#aside = changed(this.#aside, "late", is);
  }

  /** The credits that its server may still spend for its leg; null: none. */
  get granted(): Granting | null {
    return (this.#aside ?? NOTHING).granted;
  }

  set granted(granting: Granting | null) {
    this.#aside = changed(this.#aside, "granted", granting);
  }

  /** When it was last asked anew because its server had let go of those below it. */
  get askedAnewAt(): number {
    return (this.#aside ?? NOTHING).askedAnewAt;
  }

  set askedAnewAt(at: number) {
    this.#aside = changed(this.#aside, "askedAnewAt", at);
  }

  /** When it is asked anew for that, though its leg lives; 0: it need not be. */
  get askAnewAt(): number {
    return (this.#aside ?? NOTHING).askAnewAt;
  }

  set askAnewAt(at: number) {
    this.#aside = changed(this.#aside, "askAnewAt", at);
  }

  /** Something about the next try is being asked of the database. */
  get preparing(): boolean {
    return (this.#aside ?? NOTHING).preparing;
  }

  set preparing(is: boolean) {
    this.#aside = changed(this.#aside, "preparing", is);
  }

  /** The whole was asked for, because a difference did not fit. */
  get wholeAsked(): boolean {
    return (this.#aside ?? NOTHING).wholeAsked;
  }

  set wholeAsked(is: boolean) {
    this.#aside = changed(this.#aside, "wholeAsked", is);
  }

  /** What it has from others comes by it; null: it has not said yet. */
  get stands(): boolean | null {
    if (this.standing === "out" || this.late) return false;
    return this.standing === "confirmed" && this.epoch > 0 ? true : null;
  }

  get view(): ChildView {
    const { standing, withdrew, late, optional, leg, retryAt } = this;
    return { standing, withdrew, late, optional, heard: this.epoch > 0, away: leg === null && retryAt > 0 };
  }

  /** It is asked, or cannot be: waited for as long as a server may take to answer. @param now monotonic. */
  isSilent(now: number): void {
    if (!this.late && this.staleAt === 0) this.staleAt = now + STALE_MS;
  }

  /** Nobody waits for it. */
  speaks(): void {
    this.staleAt = 0;
    this.late = false;
    const aside = this.#aside;
    if (aside !== null && KEYS.every((key) => aside[key] === NOTHING[key])) this.#aside = null;
  }

  /** @param document read of `content`. */
  report(document: Report["document"]): Report {
    return { epoch: this.epoch, cseq: this.cseq, document };
  }
}
