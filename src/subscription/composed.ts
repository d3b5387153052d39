import type { UnionView } from "../federation/plan.ts";
import { subscriberWakeAt } from "../sip/dialog/subscriber.ts";
import type { Child } from "./child.ts";
import type { Leg } from "./leg.ts";
import type { UnionNow } from "./ports.ts";

export type Activation =
  | "no"
  /** That he is told `active` is being written down. */
  | "asked"
  /** It is: no owner after this one takes him back to pending. */
  | "written";

/** What a subscription to a user of several servers has beside the watcher's side. */
export class Composed {
  readonly #from: string | null;
  readonly #direction: UnionView["direction"];
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
  /**
   * Tree: which request spent the credit by which it was let in, as long as nobody knows that it was rightly spent. Nothing is
   * shown until then: it may be of its server's own user, whom others deny. Empty: there is nothing to be known.
   */
  spender: string;
  /** Peer: it goes on in a chain that another began. */
  isBehind = false;
  /** Which of the union's changes it was looked at for, or UNKNOWN: the directory could not say, or has not said yet. */
  seen = 0;

  constructor(given: ComposedParts) {
    this.#from = given.view.from;
    this.#direction = given.view.direction;
    this.maxForwards = given.maxForwards;
    this.session = given.session;
    this.instance = given.instance;
    this.visits = given.visits;
    this.isFetch = given.isFetch;
    this.union = given.union;
    this.spender = given.spender;
  }

  get view(): UnionView {
    return { from: this.#from, direction: this.#direction };
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
    for (const { leg, retryAt, staleAt, askAnewAt } of this.children) {
      if (leg !== null) at = Math.min(at, subscriberWakeAt(leg.machine));
      if (retryAt > 0) at = Math.min(at, retryAt);
      if (staleAt > 0) at = Math.min(at, staleAt);
      if (askAnewAt > 0) at = Math.min(at, askAnewAt);
    }
    return at;
  }
}

/** Of `Composed.seen`. */
export const UNKNOWN = -1;

export interface ComposedParts {
  readonly view: UnionView;
  readonly maxForwards: number;
  readonly session: string;
  readonly instance: string;
  readonly visits: boolean;
  readonly isFetch: boolean;
  readonly union: UnionNow | null;
  readonly spender: string;
}

/** What a leg's chain carries so that one device of a watcher is told from another; null: nothing. */
export function evidenceOf({ session, instance }: Pick<Composed, "session" | "instance">): string | null {
  if (session !== "") return session;
  return instance === "" ? null : instance;
}
