import { element, isElement, MalformedDocument, parseXml, printXml, textOf, type XmlElement } from "../presence/xml.ts";
import { ALGORITHMS, type Algorithm, MOST_WEIGHT, type RoutingSetting } from "./routing-choice.ts";

/**
 * A user's setting of where his messages go, as a document of his own (user-documents.ts, kind `im-routing`):
 *
 *     <im-routing xmlns="urn:x-codomain:im-routing" algorithm="weighted">
 *       <server name="east" weight="3"/>
 *     </im-routing>
 *
 * docs/messages.md has its schema. Elements and attributes of other namespaces are passed over.
 */
export const ROUTING_NAMESPACE = "urn:x-codomain:im-routing";
export const ROUTING_TYPE = "application/im-routing+xml";

const MOST_SERVERS = 100;
const LIMITS = { octets: 65_536, depth: 8, elements: 512, attributes: 16 };

/**
 * @param text Unicode.
 * @throws MalformedDocument with one sentence for who wrote it.
 */
export function parseRouting(text: string): RoutingSetting {
  const root = parseXml(Buffer.from(text, "utf8").toString("latin1"), LIMITS);
  if (root.uri !== ROUTING_NAMESPACE || root.local !== "im-routing") {
    throw new MalformedDocument(`It is no im-routing element of ${ROUTING_NAMESPACE}.`);
  }
  const { algorithm = "all" } = attributesOf(root, ["algorithm"]);
  if (!isAlgorithm(algorithm)) {
    throw new MalformedDocument(`The algorithm is none of ${ALGORITHMS.join(", ")}.`);
  }
  const weights: Record<string, number> = Object.create(null);
  for (const child of elementsOf(root)) {
    if (child.local !== "server") throw new MalformedDocument(`There is no element ${child.local} in it.`);
    const { name = "", weight = "1" } = attributesOf(child, ["name", "weight"]);
    if (name === "" || name.length > 64) throw new MalformedDocument("A server has no name, or a longer one than 64.");
    if (Object.hasOwn(weights, name)) throw new MalformedDocument(`The server ${name} is named twice.`);
    if (!/^\d{1,3}$/.test(weight) || Number(weight) > MOST_WEIGHT) {
      throw new MalformedDocument(`The weight of ${name} is no whole number from 0 to ${MOST_WEIGHT}.`);
    }
    if (Object.keys(weights).length >= MOST_SERVERS) throw new MalformedDocument(`More than ${MOST_SERVERS} servers.`);
    weights[name] = Number(weight);
  }
  return { algorithm, weights };
}

/** Throws MalformedDocument where the document cannot be read. */
export function checkRouting(text: string): void {
  parseRouting(text);
}

/** Unicode; `parseRouting` reads it back the same. */
export function printRouting({ algorithm, weights }: RoutingSetting): string {
  const servers = Object.entries(weights).map(([name, weight]) =>
    element(ROUTING_NAMESPACE, "server", { name, weight }),
  );
  const octets = printXml(element(ROUTING_NAMESPACE, "im-routing", { algorithm }, servers));
  return Buffer.from(octets, "latin1").toString("utf8");
}

function isAlgorithm(text: string): text is Algorithm {
  return (ALGORITHMS as readonly string[]).includes(text);
}

/** Of no namespace; what is not known is a mistake of who wrote it. */
function attributesOf(of: XmlElement, known: readonly string[]): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { uri, local, value } of of.attributes) {
    if (uri !== "") continue;
    if (!known.includes(local)) throw new MalformedDocument(`${of.local} has no attribute ${local}.`);
    found[local] = value;
  }
  return found;
}

function elementsOf(of: XmlElement): readonly XmlElement[] {
  if (of.children.some((each) => !isElement(each) && each.trim() !== "")) {
    throw new MalformedDocument(`${of.local} has text in it: ${textOf(of).slice(0, 20)}.`);
  }
  return of.children.filter(isElement).filter(({ uri }) => uri === ROUTING_NAMESPACE);
}
