import type { UnionView } from "../federation/plan.ts";
import type { Report } from "../presence/composition.ts";
import { subscriberWakeAt } from "../sip/dialog/subscriber.ts";
import type { ChildView, Standing } from "./composed-decision.ts";
import type { Document } from "./documents.ts";
import type { Leg } from "./leg.ts";
import type { UnionNow } from "./ports.ts";

/** Nothing has come on this leg. */
export const NO_VERSION = -2;
/** What came had no version. */
export const UNVERSIONED = -1;

/** 64*T1: as long as it takes to find out that a server does not answer. */
export const STALE_MS = 32_000;

/** One server of a composed subscription: its leg, and what it has said. All moments are monotonic. */
export class Child {
  readonly server: string;
  standing: Standing = "asked";
  /** It was confirmed, and is pending again. */
  withdrew = false;
  /** Null: it has dropped out, it waits for the next try, or the try is being prepared. */
  leg: Leg | null = null;
  /** When it is asked again; 0: not by the clock. */
  retryAt = 0;
  /** Out: not before then does his refresh have it asked again. */
  restsUntil = 0;
  /** Tries in a row that came to nothing, or not for long. */
  failures = 0;
  /** What it has shown stays true for ever: it is asked no more. */
  isFinal = false;
  /** From when on nobody waits for it; 0: it speaks, or is `late` already. */
  staleAt = 0;
  late = false;
  /** Where the whole may be shown without it, nobody waits. */
  optional = false;
  /** A visited row stands for it. */
  taken = false;
  /** When its leg was begun last. */
  askedAt = Number.NEGATIVE_INFINITY;
  /** The credits that its server may still spend for its leg, by the name they were granted under; null: none. */
  granted: string | null = null;
  /** The subscription in which its server sends the leg's on; null: it has not come. */
  wentOn: string | null = null;
  /** When it was last asked anew because its server had let go of those below it. */
  askedAnewAt = Number.NEGATIVE_INFINITY;
  /** Something about the next try is being asked of the database. */
  preparing = false;
  /** Number of the leg that the row has; 0: none. */
  written = 0;

  /** Of what it has shown: number of the leg, CSeq of the NOTIFY. 0: nothing in this process. */
  epoch = 0;
  cseq = 0;
  /** Its last good document, a whole one; null: it has nothing to show. */
  content: Document | null = null;
  /** Of the last document on this leg that had one (RFC 5262). */
  version = NO_VERSION;
  /** The whole was asked for, because a difference did not fit. */
  wholeAsked = false;

  constructor(server: string) {
    this.server = server;
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
  }

  /** @param document read of `content`. */
  report(document: Report["document"]): Report {
    return { epoch: this.epoch, cseq: this.cseq, document };
  }
}

export type Activation =
  | "no"
  /** That he is told `active` is being written down. */
  | "asked"
  /** It is: no owner after this one takes him back to pending. */
  | "written";

/** What a subscription to a user of several servers has beside the watcher's side. */
export class Composed {
  readonly view: UnionView;
  /** Of the first SUBSCRIBE of each leg (RFC 7332 5). */
  readonly maxForwards: number;
  /** Session-ID: the watcher's local UUID (RFC 7989); empty: none is told. */
  readonly session: string;
  /** `+sip.instance` of the watcher's device, without quotes; empty: he has none. */
  readonly instance: string;
  /** Peer: a visited row is taken before a server is asked. */
  visits: boolean;
  /** One document is wanted, and then it ends. */
  readonly isFetch: boolean;
  children: Child[] = [];
  /** As it was looked at last; shared by all who look from there. Null: it is another owner's, or not known at once. */
  union: UnionNow | null;
  activation: Activation = "no";
  /** Peer: it goes on in a chain that another began. Not in the row. */
  isBehind = false;
  /** Which of the union's changes it was looked at for. */
  seen = 0;

  constructor(given: ComposedParts) {
    this.view = given.view;
    this.maxForwards = given.maxForwards;
    this.session = given.session;
    this.instance = given.instance;
    this.visits = given.visits;
    this.isFetch = given.isFetch;
    this.union = given.union;
  }

  childOf(leg: Leg): Child | undefined {
    return this.children.find((each) => each.leg === leg);
  }

  legNumbered(number: number): Leg | null {
    for (const { leg } of this.children) if (leg?.number === number) return leg;
    return null;
  }

  /** When something is due next; Infinity: nothing. */
  wakeAt(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const { leg, retryAt, staleAt } of this.children) {
      if (leg !== null) at = Math.min(at, subscriberWakeAt(leg.machine));
      if (retryAt > 0) at = Math.min(at, retryAt);
      if (staleAt > 0) at = Math.min(at, staleAt);
    }
    return at;
  }
}

export interface ComposedParts {
  readonly view: UnionView;
  readonly maxForwards: number;
  readonly session: string;
  readonly instance: string;
  readonly visits: boolean;
  readonly isFetch: boolean;
  readonly union: UnionNow | null;
}

/** What a leg's chain carries so that one device of a watcher is told from another; null: nothing. */
export function evidenceOf({ session, instance }: Pick<Composed, "session" | "instance">): string | null {
  if (session !== "") return session;
  return instance === "" ? null : instance;
}
