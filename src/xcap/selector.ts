import { attributeNamed, type XmlElement } from "../presence/xml.ts";
import { type ExpandedName, matches } from "../presence/xml-select.ts";
import type { AttributePlace, Place } from "./places.ts";

/** Node selectors (RFC 4825 6.3): the part of XPath that finds one element, one attribute or an element's namespaces. */

export interface Step {
  /** null: `*`. */
  readonly name: ExpandedName | null;
  readonly position: number | null;
  readonly attribute: { readonly name: ExpandedName; readonly value: string } | null;
}

export interface NodeSelector {
  /** At least one. */
  readonly steps: readonly Step[];
  readonly terminal:
    | { readonly kind: "attribute"; readonly name: ExpandedName }
    | { readonly kind: "namespaces" }
    | null;
}

/** Why a selector cannot be evaluated. */
export type BadSelector =
  /** An extension selector, or no selector at all: 404. */
  | { readonly bad: "unknown" }
  /** A prefix that the query does not bind: 400 (RFC 4825 8). */
  | { readonly bad: "prefix"; readonly prefix: string };

const NAME = "[\\p{L}_][\\p{L}\\p{N}_.\\-\\u00b7]*";
const QNAME = `(?:${NAME}:)?${NAME}`;
const STEP = new RegExp(
  `(\\*|${QNAME})(?:\\[(\\d{1,9})\\])?(?:\\[@(${QNAME})\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')\\])?`,
  "uy",
);
const TERMINAL = new RegExp(`(?:@(${QNAME})|namespace::\\*)$`, "uy");
const XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace";

/**
 * @param text decoded.
 * @param bindings of prefixes, from the query.
 * @param namespace of element names without a prefix: the default document namespace of the application usage.
 */
export function parseSelector(
  text: string,
  bindings: ReadonlyMap<string, string>,
  namespace: string,
): NodeSelector | BadSelector {
  const steps: Step[] = [];
  let unbound: string | null = null;
  const expanded = (name: string, otherwise: string): ExpandedName => {
    const colon = name.indexOf(":");
    if (colon < 0) return { uri: otherwise, local: name, prefix: "" };
    const prefix = name.slice(0, colon);
    const uri = prefix === "xml" ? XML_NAMESPACE : bindings.get(prefix);
    if (uri === undefined) unbound ??= prefix;
    return { uri: uri ?? "", local: name.slice(colon + 1), prefix };
  };
  const whole = (terminal: NodeSelector["terminal"]): NodeSelector | BadSelector =>
    unbound === null ? { steps, terminal } : { bad: "prefix", prefix: unbound };
  let at = 0;
  for (;;) {
    const last = steps.length > 0 ? exec(TERMINAL, text, at) : null;
    if (last !== null) {
      return whole(last[1] === undefined ? { kind: "namespaces" } : { kind: "attribute", name: expanded(last[1], "") });
    }
    const step = exec(STEP, text, at);
    if (step === null || steps.length >= MOST_STEPS) return { bad: "unknown" };
    const [token, name, position, attribute, double, single] = step;
    steps.push({
      name: name === "*" ? null : expanded(name!, namespace),
      position: position === undefined ? null : Number(position),
      attribute:
        attribute === undefined ? null : { name: expanded(attribute, ""), value: unquoted(double ?? single ?? "") },
    });
    at += token.length;
    if (at === text.length) return whole(null);
    if (text[at++] !== "/") return { bad: "unknown" };
  }
}

const MOST_STEPS = 64;

function exec(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** AttValue of XML 1.0 with its references taken for what they mean. */
function unquoted(text: string): string {
  return text.replace(
    /&(?:#x([\da-fA-F]{1,6})|#(\d{1,7})|(\w+));/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name] ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}

export type Found =
  | { readonly found: "element"; readonly place: Place }
  | { readonly found: "attribute"; readonly place: Place; readonly attribute: AttributePlace }
  | { readonly found: "namespaces"; readonly place: Place }
  | { readonly found: "none" }
  /** A step leads to more than one element: the selector is invalid. */
  | { readonly found: "several" };

const NONE: Found = { found: "none" };

/** RFC 4825 6.3: every step leads to one element, or to nothing. */
export function find(root: Place, { steps, terminal }: NodeSelector): Found {
  let place: Place | null = null;
  for (const step of steps) {
    const all = matching(place === null ? [root] : place.children, step);
    if (all.length > 1) return { found: "several" };
    if (all.length === 0) return NONE;
    place = all[0]!;
  }
  if (place === null) return NONE;
  if (terminal === null) return { found: "element", place };
  if (terminal.kind === "namespaces") return { found: "namespaces", place };
  const index = place.element.attributes.findIndex((each) => matches(each, terminal.name));
  const attribute = place.attributes[index];
  return attribute === undefined ? NONE : { found: "attribute", place, attribute };
}

/** The elements of a name, before predicates. */
export function named(places: readonly Place[], name: Step["name"]): readonly Place[] {
  return name === null ? places : places.filter((each) => matches(each.element, name));
}

function matching(places: readonly Place[], { name, position, attribute }: Step): readonly Place[] {
  let left = named(places, name);
  if (position !== null) left = left.slice(position - 1, position === 0 ? 0 : position);
  if (attribute !== null)
    left = left.filter((each) => valueOfAttribute(each.element, attribute.name) === attribute.value);
  return left;
}

function valueOfAttribute(element: XmlElement, name: ExpandedName): string | undefined {
  if (name.uri === "") return attributeNamed(element, name.local);
  return element.attributes.find((each) => matches(each, name))?.value;
}
