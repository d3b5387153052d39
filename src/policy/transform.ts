import { prefixesIn } from "../presence/canonical.ts";
import { DATA_MODEL_NAMESPACE, PIDF_NAMESPACE, RPID_NAMESPACE } from "../presence/pidf.ts";
import { isMark } from "../presence/source-mark.ts";
import { childrenOf, isElement, type XmlAttribute, type XmlElement } from "../presence/xml.ts";
import { ATTRIBUTES, type Attribute, isEverything, type Permissions, type UserInput } from "./permissions.ts";
import { compileSelection, type Selects } from "./selection.ts";

/**
 * What a watcher may see of a presence document (RFC 5025 3.3): data components that are provided to him, and in each of
 * them the attributes that are. Everything else is left out, whatever it is: an element nobody here knows, a location in a
 * tuple's status (RFC 4119), a note at the root, attributes of other namespaces, text between elements, a namespace declared
 * for what was taken out.
 *
 * Beyond RFC 5025: elements in `status` beside `basic` are attributes as those in the tuple; the `note` of the whole document
 * (RFC 3863 4.1.6) is shown to whom notes and all persons are; other elements of the root only where everything is provided.
 * The source marks of composed documents stay, with nothing in them but what we put there.
 *
 * @returns null where everything is provided: documents stay as they are.
 */
export function transformOf(permissions: Permissions): ((presence: XmlElement) => XmlElement) | null {
  if (isEverything(permissions)) return null;
  const plan: Plan = {
    permissions,
    services: compileSelection(permissions.services),
    persons: compileSelection(permissions.persons),
    devices: compileSelection(permissions.devices),
  };
  return (presence) => {
    const children = presence.children.filter(isElement).flatMap((each) => component(each, plan));
    return withNeededNamespaces({ ...presence, attributes: presence.attributes.filter(isRootAttribute), children });
  };
}

interface Plan {
  readonly permissions: Permissions;
  readonly services: Selects;
  readonly persons: Selects;
  readonly devices: Selects;
}

const XML = "http://www.w3.org/XML/1998/namespace";

function isRootAttribute({ uri, local }: XmlAttribute): boolean {
  return uri === XML || (uri === "" && local === "entity");
}

function component(element: XmlElement, plan: Plan): XmlElement[] {
  const { uri, local } = element;
  const { permissions } = plan;
  if (uri === PIDF_NAMESPACE) {
    if (local === "tuple") return plan.services(element) ? [data(element, "tuple", permissions)] : [];
    if (local === "note") return permissions.persons === "all" && provides(permissions, "note") ? [element] : [];
  }
  if (uri !== DATA_MODEL_NAMESPACE) return [];
  if (local === "person") return plan.persons(element) ? [data(element, "person", permissions)] : [];
  if (local === "device") return plan.devices(element) ? [data(element, "device", permissions)] : [];
  return [];
}

type Component = "tuple" | "person" | "device";

function data(element: XmlElement, kind: Component, permissions: Permissions): XmlElement {
  if (permissions.attributes === "all") return element;
  const attributes = element.attributes.filter(({ uri, local }) => uri === XML || (uri === "" && local === "id"));
  const children = element.children.filter(isElement).flatMap((each) => attribute(each, kind, permissions));
  return withNeededNamespaces({ ...element, attributes, children });
}

/** One child of a component, or of a tuple's status. */
function attribute(element: XmlElement, kind: Component, permissions: Permissions): XmlElement[] {
  if (isMark(element)) return [cleanMark(element)];
  if (isAlways(element, kind)) return [element.local === "service-class" ? element : plainly(element)];
  if (kind === "tuple" && element.uri === PIDF_NAMESPACE && element.local === "status") {
    const children = element.children.filter(isElement).flatMap((each) => attribute(each, kind, permissions));
    return [withNeededNamespaces({ ...element, attributes: element.attributes.filter(isPlain), children })];
  }
  const known = knownAttribute(element);
  if (known === "user-input") return userInput(element, permissions.userInput);
  if (known !== null) return provides(permissions, known) ? [element] : [];
  return !OWN_PERMISSIONS.has(element.uri) && permissions.unknown.has(`{${element.uri}}${element.local}`)
    ? [element]
    : [];
}

/** For what is in these there are permissions, or there will be none (RFC 5025 3.3.2.14). */
const OWN_PERMISSIONS: ReadonlySet<string> = new Set([PIDF_NAMESPACE, DATA_MODEL_NAMESPACE, RPID_NAMESPACE]);

/** RFC 5025 3.3.2: always reported. */
function isAlways({ uri, local }: XmlElement, kind: Component): boolean {
  if (kind === "tuple") {
    if (uri === PIDF_NAMESPACE) return local === "contact" || local === "basic" || local === "timestamp";
    return uri === RPID_NAMESPACE && local === "service-class";
  }
  if (uri !== DATA_MODEL_NAMESPACE) return false;
  return local === "timestamp" || (kind === "device" && local === "deviceID");
}

/** The permission that an element is under; null: none that is known here, so that `provide-unknown-attribute` counts. */
function knownAttribute({ uri, local }: XmlElement): Attribute | "user-input" | null {
  if (local === "note") return uri === PIDF_NAMESPACE || uri === DATA_MODEL_NAMESPACE ? "note" : null;
  if (local === "deviceID") return uri === DATA_MODEL_NAMESPACE ? "deviceID" : null;
  if (uri !== RPID_NAMESPACE) return null;
  return local === "user-input" ? "user-input" : (ATTRIBUTES.find((each) => each === local) ?? null);
}

function provides({ attributes }: Permissions, attribute: Attribute): boolean {
  return attributes === "all" || attributes.has(attribute);
}

/** RFC 5025 3.3.2.12; RPID calls the moment `last-input`, and it goes where `since` does. */
function userInput(element: XmlElement, granted: UserInput): XmlElement[] {
  if (granted === "false") return [];
  if (granted === "full") return [element];
  const kept = granted === "thresholds" ? ["id", "idle-threshold"] : ["id"];
  const attributes = element.attributes.filter(({ uri, local }) => uri === "" && kept.includes(local));
  return [plainly({ ...element, attributes })];
}

/** Its text, its own attributes, and nothing that stands in it beside. */
function plainly(element: XmlElement): XmlElement {
  const attributes = element.attributes.filter(isPlain);
  return withNeededNamespaces({
    ...element,
    attributes,
    children: element.children.filter((each) => !isElement(each)),
  });
}

function isPlain({ uri }: XmlAttribute): boolean {
  return uri === "" || uri === XML;
}

/** RFC 5025 has no word for it: which server an element is from is told to everybody who sees the element. */
function cleanMark(mark: XmlElement): XmlElement {
  const renamed = childrenOf(mark, mark.uri, "renamed").map((each) => ({ ...only(each, ["id", "was"]), children: [] }));
  return { ...only(mark, ["server"]), children: renamed };
}

function only(element: XmlElement, names: readonly string[]): XmlElement {
  const attributes = element.attributes.filter(({ uri, local }) => uri === "" && names.includes(local));
  return { ...element, attributes };
}

/** Less what only the declaration of a namespace would tell of what was taken out. */
function withNeededNamespaces(element: XmlElement): XmlElement {
  const { declared, ...rest } = element;
  if (declared === undefined) return element;
  const used = namespacesIn(rest);
  const prefixes = prefixesIn(rest);
  const needed = [...declared].filter(([prefix, uri]) => used.has(uri) || prefixes.has(prefix));
  return needed.length === 0 ? rest : { ...rest, declared: new Map(needed) };
}

function namespacesIn(element: XmlElement, found: Set<string> = new Set()): Set<string> {
  found.add(element.uri);
  for (const each of element.attributes) found.add(each.uri);
  for (const each of element.children) if (isElement(each)) namespacesIn(each, found);
  return found;
}
