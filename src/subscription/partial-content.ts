import { diffPresence, fullPresence, PIDF_DIFF_TYPE } from "../presence/pidf-diff.ts";
import { printXml, type XmlElement } from "../presence/xml.ts";
import type { Content, Document } from "./documents.ts";

/**
 * What one watcher has who takes differences (RFC 5263 4.4): the whole first, then what has changed since the last one that
 * arrived; after one that may not have, and after a refresh, the whole again.
 */
export class Differences {
  readonly treeOf: (document: Document) => XmlElement;
  /** Null: the next one is whole. Not held. */
  #known: Document | null = null;
  #sent: Document | null = null;
  /** Of the last one sent; null: an owner before has counted, and never further than the NOTIFYs' CSeqs. */
  #version: number | null;

  constructor(treeOf: (document: Document) => XmlElement, isTakenOver: boolean) {
    this.treeOf = treeOf;
    this.#version = isTakenOver ? null : 0;
  }

  next(document: Document, cseq: number): string {
    const now = this.treeOf(document);
    const version = this.#version === null ? cseq : this.#version + 1;
    this.#version = version;
    this.#sent = document;
    const whole = printXml(fullPresence(now, version));
    const difference = this.#known === null ? null : diffPresence(this.treeOf(this.#known), now, version);
    if (difference === null) return whole;
    const text = printXml(difference);
    return text.length < whole.length ? text : whole;
  }

  answered(arrived: boolean): void {
    this.#known = arrived ? this.#sent : null;
  }

  wholeNext(): void {
    this.#known = null;
  }
}

/** A document for one watcher who takes differences. */
export class PartialContent implements Content {
  readonly type = PIDF_DIFF_TYPE;
  /** Held. */
  readonly document: Document;
  readonly differences: Differences;

  constructor(document: Document, differences: Differences) {
    this.document = document;
    this.differences = differences;
  }

  get presence(): XmlElement {
    return this.differences.treeOf(this.document);
  }

  body(cseq: number): string {
    return this.differences.next(this.document, cseq);
  }

  answered(arrived: boolean): void {
    this.differences.answered(arrived);
  }

  skipped(): void {
    this.differences.wholeNext();
  }
}

/** Whether a watcher who accepts these types is sent differences: he names them, and likes nothing better. */
export function takesDifferences(accept: string): boolean {
  const differences = qualityOf(accept, /^application\/pidf-diff\+xml\b/i);
  return differences > 0 && differences >= qualityOf(accept, /^application\/pidf\+xml\b/i);
}

/** RFC 3856 6.7: who names nothing is sent presence documents. */
export function takesPresence(accept: string): boolean {
  return accept === "" || qualityOf(accept, /^(application\/pidf(-diff)?\+xml\b|application\/\*|\*\/\*)/i) > 0;
}

function qualityOf(accept: string, type: RegExp): number {
  const found = accept
    .split(",")
    .map((each) => each.trim())
    .filter((each) => type.test(each));
  return Math.max(0, ...found.map((each) => Number(/;[ \t]*q[ \t]*=[ \t]*([\d.]+)/i.exec(each)?.[1] ?? "1")));
}
