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
import type { Random } from "../runtime/runtime.ts";
import type { Telemetry } from "../telemetry/events.ts";

export interface ImRoutingParts {
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly documents: Pick<DocumentCache, "get" | "peek">;
  /** Server -> its last document about the user, as somebody who watches him here has it; null: nobody does. */
  readonly presence: (aor: string) => ReadonlyMap<string, XmlElement> | null;
  /** Of users who have no setting of their own. */
  readonly standard: () => Algorithm;
}

/** Who takes turns is remembered for so many; of one who was forgotten they begin anew, anywhere. */
const MOST_TURNS = 100_000;
const TURNS = 2 ** 40;

/**
 * Where a user's messages go (routing-choice.ts), with what that depends on: his setting, which is the same whichever proxy
 * serves him; his presence, as far as somebody watches him through this proxy; and turns, which each proxy counts for
 * itself. So over any run of his messages each proxy is even within one of each server, all of them within their number.
 */
export class ImRouting {
  readonly #parts: ImRoutingParts;
  readonly #turns = new LRUCache<string, number>({ max: MOST_TURNS });
  /** Settings as they were read; a new document is another object. */
  readonly #settings = new WeakMap<UserDocument, RoutingSetting>();
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

  /** @param counts false: it is only looked at, and nobody's turn passes. */
  choose(
    aor: string,
    setting: RoutingSetting,
    question: { readonly method: string; readonly servers: readonly string[]; readonly disposition: Disposition },
    counts = true,
  ): Routing {
    const turn = this.#turns.get(aor) ?? this.#parts.random.integer(TURNS);
    const routing = chooseRouting({ ...question, setting, turn, activity: this.#activityOf(aor) });
    if (routing.tookTurn) this.#turns.set(aor, turn + (counts ? 1 : 0));
    return routing;
  }

  #activityOf(aor: string): ReadonlyMap<string, number> | null {
    const documents = this.#parts.presence(aor);
    return documents && new Map([...documents].map(([server, document]) => [server, this.#active(document)]));
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
