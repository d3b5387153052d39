import { MAX_BREADTH } from "../federation/loop-hash.ts";
import { ownText } from "./documents.ts";
import { DEFAULT_HOPS } from "./hops.ts";

/** What a SUBSCRIBE says of itself, and many say alike. */
export interface Terms {
  /** Who he is was proved to us: servers behind are told so (RFC 3325). */
  readonly trusted: boolean;
  /** Who he is stays among servers (RFC 3325 7). */
  readonly secretive: boolean;
  /** Asked for by a SIPS URI: legs go over TLS or nowhere (RFC 3261 26.2.2). */
  readonly secure: boolean;
  /** The user is partitioned: on no server he is searched for, by the next SUBSCRIBE. */
  readonly searched: boolean;
  readonly accept: string;
  /** Of a leg's first SUBSCRIBE (RFC 7332 5); of a composed one its own. Not in the row. */
  readonly maxForwards: number;
  /** Of all its legs together (RFC 7332 6). Not in the row. */
  readonly maxBreadth: number;
  /** It was another owner's. */
  readonly isTakenOver: boolean;
}

export const PLAIN: Terms = Object.freeze({
  trusted: false,
  secretive: false,
  secure: false,
  searched: false,
  accept: "",
  maxForwards: DEFAULT_HOPS,
  maxBreadth: MAX_BREADTH,
  isTakenOver: false,
});

/** The few different ones there are, each kept once. Bounded: one more than that is a copy of its own. */
export class KnownTerms {
  readonly #known = new Map<string, Terms>();

  share(terms: Terms): Terms {
    const { trusted, secretive, secure, searched, accept, maxForwards, maxBreadth, isTakenOver } = terms;
    const key = [trusted, secretive, secure, searched, maxForwards, maxBreadth, isTakenOver, accept].join(" ");
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const own = { ...terms, accept: ownText(accept.slice(0, MOST_CHARACTERS)) };
    if (this.#known.size < MOST_KNOWN && key.length < MOST_CHARACTERS) this.#known.set(key, own);
    return own;
  }
}

const MOST_KNOWN = 1000;
const MOST_CHARACTERS = 500;
