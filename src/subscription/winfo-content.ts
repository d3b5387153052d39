import { MOST_VERSION } from "../presence/versioned.ts";
import { printWinfo, type WatcherEvent, type WatcherState, WINFO_TYPE } from "../presence/winfo.ts";
import type { Content } from "./documents.ts";
import { versionOf } from "./reg-content.ts";

/** What a presentity is told of his watchers (RFC 3857, RFC 3858): pure. */

export interface WatcherRow {
  /** A token that says nothing else; the same on every proxy and in every document. */
  readonly id: string;
  /** Canonical AoR. */
  readonly watcher: string;
  readonly trusted: boolean;
  /** He wants nobody to be told who he is (RFC 3325 7). */
  readonly secretive: boolean;
  /** RFC 3857 4.7.1: nothing else is asked of a user than to decide about those that are pending or waiting. */
  readonly status: "pending" | "active" | "waiting";
  /** When his subscription runs out, milliseconds since 1970; null: he has none. */
  readonly until: number | null;
}

/** How the reader is told of users: as they are called where he reads it. */
export interface WinfoReader {
  /** URI of the user himself. */
  readonly resource: string;
  uriOf(watcher: string): string;
  /** Milliseconds since 1970. */
  now(): number;
}

interface Told {
  readonly row: WatcherRow;
  readonly status: WatcherState["status"];
  readonly event: WatcherEvent;
}

/** In one document at most; about 150 octets each, where a message may have 64 kB. */
export const MOST_IN_DOCUMENT = 200;
const PACKAGE = "presence";

/**
 * The documents of one subscription: the first is full, or the first part of it, as is the one after a refresh; what
 * follows are its other parts and those whose state has changed (RFC 3857 4.3). What did not arrive is told once more.
 */
export class WinfoContent implements Content {
  readonly type = WINFO_TYPE;
  readonly #reader: WinfoReader;
  /** Something is still to be told, and what was told before has arrived or not. */
  readonly #next: () => void;
  /** As they are; what was told of them last, or is about to be. */
  readonly #known = new Map<string, Told>();
  readonly #waiting = new Map<string, Told>();
  #full = true;
  #sent: readonly Told[] | null = null;
  #sentFull = false;

  constructor(reader: WinfoReader, next: () => void) {
    this.#reader = reader;
    this.#next = next;
  }

  get owed(): boolean {
    return this.#full || this.#waiting.size > 0;
  }

  /**
   * @param rows all of them, and
   * @param endOf why one that is there no more has gone.
   * @returns something is to be told.
   */
  update(rows: readonly WatcherRow[], endOf: (row: WatcherRow) => WatcherEvent): boolean {
    const present = new Set<string>();
    for (const row of rows) {
      present.add(row.id);
      const before = this.#known.get(row.id);
      if (before?.row.status === row.status) {
        this.#known.set(row.id, { ...before, row });
        continue;
      }
      const told = { row, status: row.status, event: eventFor(before?.row.status, row.status) };
      this.#known.set(row.id, told);
      this.#waiting.set(row.id, told);
    }
    for (const [id, { row }] of this.#known) {
      if (present.has(id)) continue;
      this.#known.delete(id);
      this.#waiting.set(id, { row: { ...row, until: null }, status: "terminated", event: endOf(row) });
    }
    return this.owed;
  }

  /** RFC 3857 4.3: what a SUBSCRIBE brings about "contain[s] full state". */
  wholeNext(): void {
    this.#full = true;
    this.#waiting.clear();
    for (const [id, told] of this.#known) this.#waiting.set(id, told);
  }

  body(cseq: number): string {
    const told: Told[] = [];
    for (const each of this.#waiting.values()) {
      if (told.length >= MOST_IN_DOCUMENT) break;
      told.push(each);
    }
    for (const { row } of told) this.#waiting.delete(row.id);
    this.#sent = told;
    this.#sentFull = this.#full;
    this.#full = false;
    const watchers = told
      .filter(({ status }) => !this.#sentFull || status !== "terminated")
      .map((each) => this.#stateOf(each));
    return printWinfo({
      version: Math.min(versionOf(cseq), MOST_VERSION),
      state: this.#sentFull ? "full" : "partial",
      lists: [{ resource: this.#reader.resource, package: PACKAGE, watchers }],
    });
  }

  answered(arrived: boolean): void {
    const sent = this.#sent;
    this.#sent = null;
    if (sent === null) return;
    if (!arrived) {
      if (this.#sentFull) this.wholeNext();
      for (const each of sent) if (!this.#waiting.has(each.row.id)) this.#waiting.set(each.row.id, each);
    }
    if (this.owed) this.#next();
  }

  #stateOf({ row, status, event }: Told): WatcherState {
    const { id, watcher, secretive, until } = row;
    const expiration = until === null ? null : Math.max(0, Math.round((until - this.#reader.now()) / 1000));
    return { id, uri: secretive ? ANONYMOUS : this.#reader.uriOf(watcher), status, event, expiration };
  }
}

/** RFC 3323 4.1.1.3. */
const ANONYMOUS = "sip:anonymous@anonymous.invalid";

/** RFC 3857 4.7.1, Figure 1. */
function eventFor(before: WatcherRow["status"] | undefined, now: WatcherRow["status"]): WatcherEvent {
  if (now === "active") return before === undefined ? "subscribe" : "approved";
  return now === "waiting" ? "timeout" : "subscribe";
}
