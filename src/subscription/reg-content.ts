import type { BindingOrigin } from "../directory/directory.ts";
import { type ContactState, printReginfo, REGINFO_TYPE, type RegistrationState } from "../presence/reginfo.ts";
import type { Content } from "./documents.ts";

/**
 * What a server is told of registrations (RFC 3680; models.md, "Eviction"): pure. A server hears of one contact of each
 * user, which is itself: active while it has him, terminated and `rejected` once another has taken him.
 */

/** The server that is told. */
export interface RegReader {
  /** Its contact, as it registers itself. */
  readonly contact: string;
  /** `whole`: it acts only on a terminated registration, so one that ends for it ends as a whole. */
  readonly reads: "contact" | "whole";
}

/** Where one user is, as the server that is told is concerned. */
export interface RegPlace {
  /** Canonical AoR: what identifies the registration. */
  readonly aor: string;
  /** Full AoR by which that server knows him. */
  readonly identity: string;
  readonly epoch: number;
  /**
   * `here`: it has him. `taken`: another has. `gone`: nobody has, and it had him before. `nowhere`: nobody has.
   */
  readonly at: "here" | "taken" | "gone" | "nowhere";
  /** Of the binding, where it is known. */
  readonly origin: BindingOrigin | null;
  /** Seconds the binding lasts; null: not known, or for ever. */
  readonly expires: number | null;
}

/**
 * Null: nothing is said of him.
 * COMPAT Kamailio 5.6.3 pua_reginfo (`whole`): it takes an active contact, which is itself, into its own location table;
 * so it hears of terminated ones only.
 */
export function registrationFor(reader: RegReader, place: RegPlace): RegistrationState | null {
  const { aor, identity, at } = place;
  if (reader.reads === "whole" && (at === "here" || at === "nowhere")) return null;
  const contact = at === "nowhere" ? [] : [contactFor(reader, place)];
  return { aor: `sip:${identity}`, id: aor, state: stateFor(reader, at), contacts: contact };
}

/** RFC 3680 4.7.1: active while there is a contact anywhere; `init` is what has no history. */
function stateFor(reader: RegReader, at: RegPlace["at"]): RegistrationState["state"] {
  switch (at) {
    case "here":
      return "active";
    case "taken":
      return reader.reads === "whole" ? "terminated" : "active";
    case "gone":
      return "terminated";
    case "nowhere":
      return "init";
  }
}

function contactFor(reader: RegReader, { aor, at, origin, expires }: RegPlace): ContactState {
  const contact = { id: `c:${aor}`, uri: reader.contact };
  switch (at) {
    case "here": {
      const bySip = origin === null || origin === "registered" || origin === "published";
      return { ...contact, state: "active", event: bySip ? "registered" : "created", expires };
    }
    case "taken":
      // `deactivated` would ask it to register him again, and he would bounce back (4.1.2).
      return { ...contact, state: "terminated", event: "rejected" };
    default:
      return { ...contact, state: "terminated", event: "unregistered" };
  }
}

/**
 * RFC 3680 5.1: versions begin at 0 and go up by one. NOTIFYs are numbered from 1, and the first one only accepts; a
 * fetch has no other.
 */
export function versionOf(cseq: number): number {
  return Math.max(0, cseq - 2);
}

function registrationsFor(reader: RegReader, places: readonly RegPlace[]): RegistrationState[] {
  return places.map((place) => registrationFor(reader, place)).filter((each) => each !== null);
}

/** Told of what became of a document that had these evictions in it. */
export type Told = (evicted: readonly RegPlace[]) => void;

/** A subscription to one user: each document is whole. */
export class RegUserContent implements Content {
  readonly type = REGINFO_TYPE;
  readonly #reader: RegReader;
  readonly #told: Told;
  /** Epoch of the last taking that was told. */
  #reported = -1;
  #sent: RegPlace | null = null;
  place: RegPlace;

  constructor(reader: RegReader, place: RegPlace, told: Told) {
    this.#reader = reader;
    this.#told = told;
    this.place = place;
  }

  body(cseq: number): string {
    this.#sent = this.place;
    const registrations = registrationsFor(this.#reader, [this.place]);
    return printReginfo({ version: versionOf(cseq), state: "full", registrations });
  }

  answered(arrived: boolean): void {
    const sent = this.#sent;
    this.#sent = null;
    if (!arrived || sent?.at !== "taken" || sent.epoch <= this.#reported) return;
    this.#reported = sent.epoch;
    this.#told([sent]);
  }
}

/** In one document at most; about 300 octets each, where a message may have 64 kB. */
export const MOST_IN_DOCUMENT = 100;
/** Waiting to be told at most; beyond that all is told anew. */
export const MOST_WAITING = 10_000;

/**
 * A subscription to all users of a server: the first document is full, or the first part of it; what follows are its other
 * parts and what has changed, in partial ones. What did not arrive is told once more.
 */
export class RegServerContent implements Content {
  readonly type = REGINFO_TYPE;
  readonly #reader: RegReader;
  readonly #told: Told;
  /** A document was answered, and what has become of it is known. */
  readonly #next: () => void;
  readonly #waiting = new Map<string, RegPlace>();
  #sent: readonly RegPlace[] | null = null;
  #full = true;
  #sentFull = false;

  constructor(reader: RegReader, told: Told, next: () => void = () => undefined) {
    this.#reader = reader;
    this.#told = told;
    this.#next = next;
  }

  /** Something is still to be told. */
  get owed(): boolean {
    return this.#full || this.#waiting.size > 0;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** All is told anew: the next document is a full one. */
  begin(): void {
    this.#waiting.clear();
    this.#sent = null;
    this.#full = true;
  }

  /** False: too much is waiting. Of two places of one user the newer counts. */
  note(place: RegPlace): boolean {
    const known = this.#waiting.get(place.aor);
    if (known === undefined && this.#waiting.size >= MOST_WAITING) return false;
    if (known === undefined || known.epoch <= place.epoch) this.#waiting.set(place.aor, place);
    return true;
  }

  body(cseq: number): string {
    const places: RegPlace[] = [];
    for (const place of this.#waiting.values()) {
      if (places.length >= MOST_IN_DOCUMENT) break;
      places.push(place);
    }
    for (const { aor } of places) this.#waiting.delete(aor);
    this.#sent = places;
    this.#sentFull = this.#full;
    this.#full = false;
    const state = this.#sentFull ? "full" : "partial";
    const registrations = registrationsFor(this.#reader, places);
    return printReginfo({ version: versionOf(cseq), state, registrations });
  }

  answered(arrived: boolean): void {
    const sent = this.#sent;
    this.#sent = null;
    if (sent === null) return;
    if (arrived) {
      const evicted = sent.filter((place) => place.at === "taken");
      if (evicted.length > 0) this.#told(evicted);
    } else {
      this.#full ||= this.#sentFull;
      for (const place of sent) if (!this.#waiting.has(place.aor)) this.#waiting.set(place.aor, place);
    }
    this.#next();
  }
}
