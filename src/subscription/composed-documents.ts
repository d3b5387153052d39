import { canonicalForm } from "../presence/canonical.ts";
import { PIDF } from "../presence/closed-document.ts";
import { type Composition, join, NOTHING_KNOWN, type Report, seenFrom } from "../presence/composition.ts";
import { PIDF_DIFF_TYPE, parsePidfDiff, updatePresence } from "../presence/pidf-diff.ts";
import { project } from "../presence/projection.ts";
import { unmarked } from "../presence/source-mark.ts";
import { isElement, MalformedDocument, printXml, type XmlElement } from "../presence/xml.ts";
import type { Clock } from "../runtime/runtime.ts";
import { type Child, NO_VERSION, UNVERSIONED } from "./child.ts";
import type { Composed } from "./composed.ts";
import { partOf } from "./composed-decision.ts";
import { type Content, type Document, type Documents, treeOf } from "./documents.ts";
import { RecentMap } from "./recent-map.ts";

/** What a NOTIFY of a child brought. */
export type Read =
  /** `content`: the whole, held; null: there is nothing to show. `version`: of a partial document, else as before. */
  | { readonly outcome: "read"; readonly content: Document | null; readonly version: number }
  /** A difference that does not fit: the whole is to be asked for. */
  | { readonly outcome: "refresh"; readonly why: string }
  | { readonly outcome: "unreadable"; readonly why: string };

/** A document that was read: its tree, and once it was asked for what it says (canonical.ts). */
interface Known {
  readonly tree: XmlElement;
  form: string | null;
}

/**
 * Documents of children, read and put together. Ten thousand watchers of one user see the same: each document is kept,
 * read and composed once for all of them. What was read is many times as large as its text, so of users to whom nothing
 * happens only texts are kept.
 */
export class ComposedDocuments {
  readonly #documents: Documents;
  readonly #marked: boolean;
  readonly #known: RecentMap<Document, Known>;
  /** What was composed of which documents, seen from where -> the text. */
  readonly #composed: RecentMap<string, string>;

  /** @param marked false, for tests only: what is shown does not say whose it is. */
  constructor(documents: Documents, clock: Clock, marked = true) {
    this.#documents = documents;
    this.#marked = marked;
    this.#known = new RecentMap(clock, MOST_READ);
    this.#composed = new RecentMap(clock, MOST_COMPOSED);
  }

  /** @param content as it came, under our name for the user; it is given back or kept. */
  read(child: Child, content: Content | null): Read {
    if (content === null) return { outcome: "read", content: null, version: child.version };
    try {
      return this.#read(child, content as Document);
    } catch (error) {
      this.#documents.release(content);
      if (!(error instanceof MalformedDocument)) throw error;
      return { outcome: "unreadable", why: error.message };
    }
  }

  #read(child: Child, content: Document): Read {
    const type = content.type.split(";")[0]!.trim().toLowerCase();
    if (type === PIDF) {
      this.treeOf(content);
      return { outcome: "read", content, version: Math.max(child.version, UNVERSIONED) };
    }
    if (type !== PIDF_DIFF_TYPE) throw new MalformedDocument(`It is ${type}.`);
    const update = parsePidfDiff(content.text);
    // RFC 5263 4.5: the counter outlives a refresh; but where the whole was asked for, whatever whole comes is taken.
    const begins = child.version === NO_VERSION || (child.wholeAsked && update.kind === "full");
    const known = begins || child.content === null ? null : this.treeOf(child.content);
    const version = child.version < 0 ? null : child.version;
    const updated = updatePresence(known === null ? null : { version, presence: known }, update);
    this.#documents.release(content);
    switch (updated.outcome) {
      case "discarded":
        if (child.content !== null) this.#documents.hold(child.content.type, child.content.text);
        return { outcome: "read", content: child.content, version: child.version };
      case "refresh":
        return { outcome: "refresh", why: updated.why };
      case "applied": {
        const { presence, version: now } = updated.state;
        return { outcome: "read", content: this.#hold(presence), version: now ?? UNVERSIONED };
      }
    }
  }

  /** What the watcher may see of what all of them have said; held. @param aor the user. */
  compose(composed: Composed, aor: string): Document {
    const { children } = composed;
    const asker = askerIn(composed);
    const key = keyOf(children, asker, aor);
    const before = this.#composed.get(key, key.length);
    if (before !== undefined) return this.#documents.hold(PIDF, before);
    const known = this.known(children);
    const shown = project(asker === null ? known : seenFrom(asker, known), `sip:${aor}`);
    const document = this.#hold(this.#marked ? shown : withoutMarks(shown));
    this.#composed.set(key, document.text, key.length + document.text.length);
    return document;
  }

  /** What is known of each server. */
  known(children: readonly Child[]): Composition {
    let known = NOTHING_KNOWN;
    for (const child of children) {
      const part = partOf(child.view);
      if (part === "not-asked") continue;
      const document: Report["document"] =
        part === "gone" ? "gone" : child.content === null ? "none" : this.treeOf(child.content);
      known = join(known, new Map([[child.server, child.report(document)]]));
    }
    return known;
  }

  /** Said to be the same: whoever was shown the one need not be shown the other. */
  isSame(a: Document, b: Document): boolean {
    return a === b || this.#formOf(a) === this.#formOf(b);
  }

  /** @throws MalformedDocument */
  treeOf(document: Document): XmlElement {
    return this.#knownOf(document).tree;
  }

  #knownOf(document: Document): Known {
    const known = this.#known.get(document, document.text.length);
    if (known !== undefined) return known;
    const read = { tree: treeOf(document), form: null };
    this.#known.set(document, read, document.text.length);
    return read;
  }

  #hold(presence: XmlElement): Document {
    const document = this.#documents.hold(PIDF, printXml(presence));
    document.isMade = true;
    if (this.#known.get(document, document.text.length) === undefined)
      this.#known.set(document, { tree: presence, form: null }, document.text.length);
    return document;
  }

  #formOf(document: Document): string {
    const known = this.#knownOf(document);
    known.form ??= canonicalForm(known.tree);
    return known.form;
  }
}

function keyOf(children: readonly Child[], asker: string | null, aor: string): string {
  const parts = children.map((child) => {
    const part = partOf(child.view);
    const shown = part !== "own" ? part : child.content === null ? "none" : child.content.number;
    return `${child.server}:${shown}`;
  });
  return `${aor} ${asker ?? ""} ${parts.join(" ")}`;
}

/**
 * The server that puts its own data to the others' by itself, and is told nothing that others have from it. What goes up in
 * a tree is the whole, in which the asker's own is as the root has it (draft, "Hierarchical Model").
 */
function askerIn({ view, visits }: Composed): string | null {
  return visits || view.direction === "down" ? view.from : null;
}

function withoutMarks(presence: XmlElement): XmlElement {
  return { ...presence, children: presence.children.map((each) => (isElement(each) ? unmarked(each) : each)) };
}

/** Octets of texts, in each half of the last minute: trees of them take five times as much. */
const MOST_READ = 16_000_000;
const MOST_COMPOSED = 4_000_000;
