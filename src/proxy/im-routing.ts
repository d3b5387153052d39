import { LRUCache } from "lru-cache";
import type { DocumentCache } from "../directory/document-cache.ts";
import type { UserDocument } from "../directory/user-documents.ts";
import {
  type Algorithm,
  chooseRouting,
  type Disposition,
  type Routing,
  type RoutingSetting,
} from "../federation/routing-choice.ts";
import { parseRouting } from "../federation/routing-document.ts";
import { activityOf } from "../presence/activity.ts";
import { MalformedDocument, type XmlElement } from "../presence/xml.ts";
import type { Clock, Random } from "../runtime/runtime.ts";
import type { Telemetry } from "../telemetry/events.ts";

export interface ImRoutingParts {
  readonly random: Random;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly documents: Pick<DocumentCache, "get" | "peek">;
  /** Server -> its last document about the user, as somebody who watches him here has it; null: nobody does. */
  readonly presence: (aor: string) => ReadonlyMap<string, XmlElement> | null;
  /** The same, asked of servers once. Never rejects. */
  readonly fetch: (aor: string, servers: readonly string[]) => Promise<ReadonlyMap<string, XmlElement>>;
  /** Of users who have no setting of their own. */
  readonly standard: () => Algorithm;
}

/** Who takes turns is remembered for so many; of one who was forgotten they begin anew, anywhere. */
const MOST_TURNS = 20_000;
const TURNS = 2 ** 40;
/** How long what was fetched counts, and of how many users. */
const FETCHED_MS = 30_000;
const MOST_FETCHED = 4_000;

/** Server -> its document, as it was fetched or is being. */
interface Fetched {
  readonly at: number;
  documents: ReadonlyMap<string, XmlElement> | null;
  readonly done: Promise<void>;
}

/**
 * Where a user's messages go (routing-choice.ts), with what that depends on: his setting, which is the same whichever proxy
 * serves him; his presence, as far as somebody watches him through this proxy; and turns, which each proxy counts for
 * itself. So over any run of his messages each proxy is even within one of each server, all of them within their number.
 */
export class ImRouting {
  readonly #parts: ImRoutingParts;
  /** These lists are made when first needed: they take their memory at once. */
  #turns: LRUCache<string, number> | null = null;
  /** Settings as they were read; a new document is another object. */
  readonly #settings = new WeakMap<UserDocument, RoutingSetting>();
  #fetched: LRUCache<string, Fetched> | null = null;
  readonly #activity = new WeakMap<XmlElement, number>();

  constructor(parts: ImRoutingParts) {
    this.#parts = parts;
  }

  /** At once where his setting is known here. Never rejects: where it cannot be read, he is as one who has none. */
  settingOf(aor: string): RoutingSetting | Promise<RoutingSetting> {
    const { documents } = this.#parts;
    const known = documents.peek(aor, "im-routing");
    if (known !== undefined) return this.#read(known);
    return documents.get(aor, "im-routing").then(
      (document) => this.#read(document),
      () => this.#read(null),
    );
  }

  /**
   * What the choice depends on and is not known here is asked for: his presence, of his most active server. At once where
   * nothing is to be asked.
   * @param servers those that can be asked without a loop.
   */
  prepare(aor: string, { algorithm }: RoutingSetting, servers: readonly string[]): void | Promise<void> {
    if (algorithm !== "mostactive" || servers.length === 0 || this.#parts.presence(aor) !== null) return;
    const known = this.#fetched?.get(aor);
    if (known !== undefined && this.#parts.clock.now() - known.at < FETCHED_MS) {
      return known.documents === null ? known.done : undefined;
    }
    const done = this.#parts.fetch(aor, servers).then((documents) => {
      fetched.documents = documents;
    });
    const fetched: Fetched = { at: this.#parts.clock.now(), documents: null, done };
    this.#fetched ??= new LRUCache({ max: MOST_FETCHED });
    this.#fetched.set(aor, fetched);
    return done;
  }

  /** @param counts false: it is only looked at, and nobody's turn passes. */
  choose(
    aor: string,
    setting: RoutingSetting,
    question: { readonly method: string; readonly servers: readonly string[]; readonly disposition: Disposition },
    counts = true,
  ): Routing {
    const turn = this.#turns?.get(aor) ?? this.#parts.random.integer(TURNS);
    const routing = chooseRouting({ ...question, setting, turn, activity: this.#activityOf(aor) });
    if (routing.tookTurn) {
      this.#turns ??= new LRUCache({ max: MOST_TURNS });
      this.#turns.set(aor, turn + (counts ? 1 : 0));
    }
    return routing;
  }

  #activityOf(aor: string): ReadonlyMap<string, number> | null {
    const documents = this.#parts.presence(aor) ?? this.#lately(aor);
    return documents && new Map([...documents].map(([server, document]) => [server, this.#active(document)]));
  }

  #lately(aor: string): ReadonlyMap<string, XmlElement> | null {
    const fetched = this.#fetched?.get(aor);
    return fetched === undefined || this.#parts.clock.now() - fetched.at > FETCHED_MS ? null : fetched.documents;
  }

  #active(document: XmlElement): number {
    const active = this.#activity.get(document) ?? activityOf(document);
    this.#activity.set(document, active);
    return active;
  }

  #read(document: UserDocument | null): RoutingSetting {
    if (document === null) return { algorithm: this.#parts.standard(), weights: {} };
    const known = this.#settings.get(document);
    if (known !== undefined) return known;
    let setting: RoutingSetting;
    try {
      setting = parseRouting(document.text);
    } catch (error) {
      if (!(error instanceof MalformedDocument)) throw error;
      // It was written past whoever checks.
      setting = this.#read(null);
      this.#parts.telemetry.emit("warning", { what: `the im-routing of ${document.aor}`, detail: error.message });
    }
    this.#settings.set(document, setting);
    return setting;
  }
}
