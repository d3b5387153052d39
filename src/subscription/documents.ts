import { PIDF } from "../presence/closed-document.ts";
import { parsePidf } from "../presence/pidf.ts";
import { PIDF_DIFF_TYPE } from "../presence/pidf-diff.ts";
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
  readonly #byContent = new Map<string, Document>();
  #made = 0;

  get size(): number {
    return this.#byContent.size;
  }

  /** Counted for its holder, who gives it back by `release`. */
  hold(type: string, text: string): Document {
    const key = `${type}\n${text}`;
    let document = this.#byContent.get(key);
    if (document === undefined) {
      // A copy: what was cut from a message would keep the whole message.
      const own = ownText(key);
      document = new Document(this.#typeOf(type), own.slice(type.length + 1), ++this.#made);
      this.#byContent.set(own, document);
    }
    document.holders++;
    return document;
  }

  release(content: Content | null): void {
    if (!(content instanceof Document)) return;
    content.holders--;
    if (content.holders === 0) this.#byContent.delete(`${content.type}\n${content.text}`);
  }

  clear(): void {
    this.#byContent.clear();
  }

  /** Most are of the same few types. */
  #typeOf(type: string): string {
    return TYPES.find((each) => each === type) ?? ownText(type);
  }
}

/** Of a presence document. @throws MalformedDocument */
export function treeOf({ text, isMade }: Document): XmlElement {
  return parsePidf(text, isMade ? NO_LIMITS : undefined);
}

const NO_LIMITS: XmlLimits = { octets: Infinity, depth: Infinity, elements: Infinity, attributes: Infinity };
const TYPES: readonly string[] = [PIDF, PIDF_DIFF_TYPE];

/** A flat copy of a latin1 text, which shares memory with nothing. */
export function ownText(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}
