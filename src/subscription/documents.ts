import { parsePidf } from "../presence/pidf.ts";
import type { XmlElement, XmlLimits } from "../presence/xml.ts";

/** What a NOTIFY carries. */
export interface Content {
  readonly type: string;
  /** latin1. `cseq`: of the NOTIFY that will carry it, for documents that count their versions. */
  body(cseq: number): string;
  /** What became of the last NOTIFY that carried it. */
  answered?(arrived: boolean): void;
  /** The whole of it, where it is at hand: what rules take pieces out of. */
  readonly presence?: XmlElement | undefined;
  /** Another was sent in its place: what only tells differences has nothing to build on. */
  skipped?(): void;
}

/** A document as it came, shared by every watcher who is shown the same. */
export class Document implements Content {
  readonly type: string;
  readonly text: string;
  /** What no other one here has. */
  readonly number: number;
  /** Here: what is put together of many may be larger than what is read of anybody. */
  isMade = false;
  /** Subscriptions that hold it. */
  holders = 0;

  constructor(type: string, text: string, number = 0) {
    this.type = type;
    this.text = text;
    this.number = number;
  }

  body(): string {
    return this.text;
  }
}

/** Documents by their content: a presentity's watchers mostly see the same one. */
export class Documents {
  /** By type, and by text. */
  readonly #byType = new Map<string, Map<string, Document>>();
  #made = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Counted for its holder, who gives it back by `release`. */
  hold(type: string, text: string): Document {
    let document = this.#byType.get(type)?.get(text);
    if (document === undefined) {
      const { name, texts } = this.#ofType(type);
      // A copy: what was cut from a message would keep the whole message.
      document = new Document(name, ownText(text), ++this.#made);
      texts.set(document.text, document);
      this.#size++;
    }
    document.holders++;
    return document;
  }

  release(content: Content | null): void {
    if (!(content instanceof Document)) return;
    const { type, text } = content;
    content.holders--;
    if (content.holders > 0) return;
    const texts = this.#byType.get(type);
    if (texts?.delete(text) !== true) return;
    this.#size--;
    if (texts.size === 0) this.#byType.delete(type);
  }

  clear(): void {
    this.#byType.clear();
    this.#size = 0;
  }

  /** The one text kept of its name. */
  #ofType(type: string): { readonly name: string; readonly texts: Map<string, Document> } {
    const texts = this.#byType.get(type);
    const [first] = texts?.values() ?? [];
    if (texts !== undefined && first !== undefined) return { name: first.type, texts };
    const made = { name: ownText(type), texts: new Map<string, Document>() };
    this.#byType.set(made.name, made.texts);
    return made;
  }
}

/** Of a presence document. @throws MalformedDocument */
export function treeOf({ text, isMade }: Document): XmlElement {
  return parsePidf(text, isMade ? NO_LIMITS : undefined);
}

const NO_LIMITS: XmlLimits = { octets: Infinity, depth: Infinity, elements: Infinity, attributes: Infinity };

/** A flat copy of a latin1 text, which shares memory with nothing. */
export function ownText(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}
