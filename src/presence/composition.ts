import { canonicalForm, compareText } from "./canonical.ts";
import { printXml, type XmlElement } from "./xml.ts";

/**
 * What is known of a user's presence at all his servers (models.md, "Composition"): for each source server the newest it
 * has said. Joining two of them takes for each source the greater report, so it is commutative, associative and
 * idempotent: reports may come in any order, twice, by several ways and to several proxies, and the same is known in the
 * end. What is shown of it is another matter (projection.ts).
 *
 * Only the leg's epoch and the NOTIFY's CSeq order reports; the clocks of devices never do. A report is of the whole
 * document, so what a server drops from its document is gone.
 *
 * docs/composition.md tells what comes of it; subscription/composed-documents.ts makes it of what servers say.
 */
export type Composition = ReadonlyMap<string, Report>;

export interface Report {
  /** Of the leg: a later leg at that server has a greater one. */
  readonly epoch: number;
  /** Of the NOTIFY, within the leg's dialog. */
  readonly cseq: number;
  /**
   * The server's whole document, under the name we know the user by (`mapIdentity`).
   * `none`: it has confirmed the subscription and has nothing to show. `gone`: it is asked no more, and what others still
   * tell of it is not believed.
   */
  readonly document: XmlElement | "none" | "gone";
}

export const NOTHING_KNOWN: Composition = new Map();

/** @returns `a` itself where `b` has nothing new. */
export function join(a: Composition, b: Composition): Composition {
  let joined: Map<string, Report> | null = null;
  for (const [source, report] of b) {
    const known = a.get(source);
    if (known !== undefined && greater(known, report) === known) continue;
    joined ??= new Map(a);
    joined.set(source, report);
  }
  return joined ?? a;
}

/**
 * What a source is to be shown itself, where it asks us for the others': nothing that came by it or is an echo of its own,
 * or what has ended elsewhere would go round between it and us for ever.
 */
export function seenFrom(source: string, composition: Composition): Composition {
  return new Map(composition).set(source, { epoch: 0, cseq: 0, document: "gone" });
}

/** A total order: of two with the same epoch and CSeq, which no sane server sends, everybody takes the same. */
function greater(a: Report, b: Report): Report {
  const order =
    a.epoch - b.epoch || a.cseq - b.cseq || (a.document === b.document ? 0 : compareDocuments(a.document, b.document));
  return order < 0 ? b : a;
}

function compareDocuments(a: Report["document"], b: Report["document"]): number {
  if (typeof a === "string" || typeof b === "string") return rankOf(a) - rankOf(b);
  return compareText(canonicalForm(a), canonicalForm(b)) || compareText(printXml(a), printXml(b));
}

function rankOf(document: Report["document"]): number {
  return document === "gone" ? 0 : document === "none" ? 1 : 2;
}
