import { canonicalForm } from "../presence/canonical.ts";
import { PIDF_NAMESPACE, parsePidf } from "../presence/pidf.ts";
import { withoutMark } from "../presence/source-mark.ts";
import { attributeNamed, element, isElement, printXml, type XmlElement } from "../presence/xml.ts";

/**
 * What a vendor's server might do with its own document and those it got from others for the same user: everything of all
 * of them, each thing once. Its own is its own, whatever comes back of it: known by the mark, or by being equal.
 *
 * @param server its name, as it stands in marks.
 * @param own its own document; octets.
 * @param keepsMarks false: it knows nothing of marks: it drops them, and knows its own by being equal only.
 */
export function unionOf(server: string, own: string, others: readonly string[], keepsMarks = true): string {
  const mine = parsePidf(own);
  const elements: XmlElement[] = mine.children.filter(isElement);
  const said = new Set(elements.map(canonicalForm));
  for (const other of others) {
    for (const each of parsePidf(other).children.filter(isElement)) {
      const { element: bare, source } = withoutMark(each);
      const form = canonicalForm(bare);
      if ((keepsMarks && source === server) || said.has(form)) continue;
      said.add(form);
      elements.push(keepsMarks ? each : bare);
    }
  }
  return printXml({
    ...element(PIDF_NAMESPACE, "presence", { entity: attributeNamed(mine, "entity") ?? null }, elements),
    declared: new Map([["", PIDF_NAMESPACE]]),
  });
}
