import { DATA_MODEL_NAMESPACE, PIDF_NAMESPACE, RPID_NAMESPACE } from "../presence/pidf.ts";
import { SOURCE_NAMESPACE } from "../presence/source-mark.ts";
import { attributeNamed, childrenOf, textOf, type XmlElement } from "../presence/xml.ts";
import type { Selection } from "./permissions.ts";
import { schemeOf, UriSet } from "./uris.ts";

/** Whether a data component is one of those selected (RFC 5025 3.3.1). */
export type Selects = (component: XmlElement) => boolean;

export function compileSelection(selection: Selection): Selects {
  if (selection === "all") return () => true;
  const exact = new Set<string>();
  const services = new UriSet();
  const devices = new UriSet();
  for (const member of selection) {
    const space = member.indexOf(" ");
    const [type, value] = [member.slice(0, space), member.slice(space + 1)];
    if (type === "service-uri") services.add(value);
    else if (type === "deviceID") devices.add(value);
    else exact.add(member);
  }
  if (selection.size === 0) return () => false;
  return (component) =>
    childrenOf(component, RPID_NAMESPACE, "class").some((each) => exact.has(`class ${textOf(each)}`)) ||
    occurrenceIds(component).some((each) => exact.has(`occurrence-id ${each}`)) ||
    serviceUris(component).some((each) => exact.has(`service-uri-scheme ${schemeOf(each)}`) || services.has(each)) ||
    deviceIds(component).some((each) => devices.has(each));
}

/** Its id; in a composed document also the one that its server gave it, which is what rules know it by. */
function occurrenceIds(component: XmlElement): string[] {
  const id = attributeNamed(component, "id");
  if (id === undefined) return [];
  const renamed = childrenOf(component, SOURCE_NAMESPACE, "source")
    .flatMap((mark) => childrenOf(mark, SOURCE_NAMESPACE, "renamed"))
    .filter((each) => attributeNamed(each, "id") === id);
  return [id, ...renamed.map((each) => attributeNamed(each, "was") ?? id)];
}

function serviceUris(tuple: XmlElement): string[] {
  return childrenOf(tuple, PIDF_NAMESPACE, "contact").map(textOf);
}

function deviceIds(device: XmlElement): string[] {
  return childrenOf(device, DATA_MODEL_NAMESPACE, "deviceID").map(textOf);
}
