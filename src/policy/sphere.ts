import { DATA_MODEL_NAMESPACE, RPID_NAMESPACE } from "../presence/pidf.ts";
import { childrenOf, isElement, textOf, type XmlElement } from "../presence/xml.ts";

/**
 * The sphere a user is in, by what he publishes of himself as a person (RFC 5025 3.1.2).
 * @param presence as it was published, before anything was taken out of it.
 * @returns null where he says none, or persons differ.
 */
export function sphereOf(presence: XmlElement): string | null {
  const said = new Set<string>();
  for (const person of childrenOf(presence, DATA_MODEL_NAMESPACE, "person")) {
    for (const sphere of childrenOf(person, RPID_NAMESPACE, "sphere")) said.add(nameOf(sphere));
  }
  const [sphere] = said;
  return said.size === 1 && sphere !== "" ? sphere! : null;
}

/** RFC 4480 3.11: text, or an element such as `<home/>`. Case does not matter (RFC 4745 7.3). */
function nameOf(sphere: XmlElement): string {
  const inner = sphere.children.find(isElement);
  return (inner === undefined ? textOf(sphere) : inner.local).toLowerCase();
}
