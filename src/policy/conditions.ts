import { attributeNamed, isElement, textOf, type XmlElement } from "../presence/xml.ts";
import type { Report } from "./common-policy.ts";
import { asciiDomain, domainOf, identityOf } from "./identity.ts";

/** Conditions of RFC 4745 7: read once, asked often. */
export type Condition =
  /** Of somebody who has proved who he is, if any of these is true. */
  | { readonly kind: "identity"; readonly any: readonly IdentityTest[] }
  /** In lower case. */
  | { readonly kind: "sphere"; readonly values: readonly string[] }
  /** Milliseconds since 1970, from inclusive. */
  | { readonly kind: "validity"; readonly windows: readonly { readonly from: number; readonly until: number }[] }
  /** Not understood. */
  | { readonly kind: "never" };

type IdentityTest =
  | { readonly one: string }
  | {
      readonly domain: string | null;
      readonly exceptIds: ReadonlySet<string>;
      readonly exceptDomains: ReadonlySet<string>;
    };

/** Whom and when a rule is asked about. */
export interface Circumstances {
  /** Identity of the watcher or sender (identity.ts); null: he has not proved who he is. */
  readonly identity: string | null;
  /** Of the user; null: not known. */
  readonly sphere: string | null;
  /** Milliseconds since 1970. */
  readonly now: number;
}

const NEVER: Condition = { kind: "never" };
const NAMESPACE = "urn:ietf:params:xml:ns:common-policy";

export function holds(condition: Condition, { identity, sphere, now }: Circumstances): boolean {
  switch (condition.kind) {
    case "identity":
      return identity !== null && condition.any.some((each) => names(each, identity));
    case "sphere":
      return sphere !== null && condition.values.includes(sphere.trim().toLowerCase());
    case "validity":
      return condition.windows.some(({ from, until }) => from <= now && now < until);
    case "never":
      return false;
  }
}

/** When next after `now` it may hold or cease to, by time alone; null: never. */
export function nextChange(condition: Condition, now: number): number | null {
  if (condition.kind !== "validity") return null;
  const ahead = condition.windows.flatMap(({ from, until }) => [from, until]).filter((each) => each > now);
  return ahead.length === 0 ? null : Math.min(...ahead);
}

function names(test: IdentityTest, identity: string): boolean {
  if ("one" in test) return test.one === identity;
  const domain = domainOf(identity);
  if (test.domain !== null && (domain === "" || test.domain !== domain)) return false;
  return !test.exceptIds.has(identity) && !(domain !== "" && test.exceptDomains.has(domain));
}

export function readCondition(element: XmlElement, report: Report): Condition {
  if (element.uri === NAMESPACE) {
    if (element.local === "identity") return readIdentity(element, report);
    if (element.local === "sphere") return readSphere(element, report);
    if (element.local === "validity") return readValidity(element, report);
  }
  report("warning", `The condition <${element.local}> is not known: the rule matches nobody (RFC 4745 7).`);
  return NEVER;
}

/** A test that is not understood is false; the others count (RFC 4745 7.1.1). */
function readIdentity(element: XmlElement, report: Report): Condition {
  const any: IdentityTest[] = [];
  for (const each of element.children.filter(isElement)) {
    const test = each.uri !== NAMESPACE ? null : each.local === "one" ? readOne(each) : readMany(each);
    if (test === null) report("warning", `<${each.local}> in <identity> is not understood and matches nobody.`);
    else any.push(test);
  }
  if (any.length === 0) report("warning", "An <identity> without any in it matches nobody.");
  return { kind: "identity", any };
}

function readOne(element: XmlElement): IdentityTest | null {
  const id = attributeNamed(element, "id");
  if (id === undefined || id.trim() === "" || element.children.some(isElement)) return null;
  return { one: identityOf(id) };
}

/** An exception that is not understood could be anybody. */
function readMany(element: XmlElement): IdentityTest | null {
  if (element.local !== "many") return null;
  const exceptIds = new Set<string>();
  const exceptDomains = new Set<string>();
  for (const each of element.children.filter(isElement)) {
    const [id, domain] = [attributeNamed(each, "id"), attributeNamed(each, "domain")];
    if (each.uri !== NAMESPACE || each.local !== "except" || (id === undefined && domain === undefined)) return null;
    if (id !== undefined) exceptIds.add(identityOf(id));
    if (domain === undefined) continue;
    const ascii = asciiDomain(domain);
    if (ascii === "") return null;
    exceptDomains.add(ascii);
  }
  const text = attributeNamed(element, "domain");
  const domain = text === undefined ? null : asciiDomain(text);
  return domain === "" ? null : { domain, exceptIds, exceptDomains };
}

function readSphere(element: XmlElement, report: Report): Condition {
  const values = (attributeNamed(element, "value") ?? "").toLowerCase().split(/[ \t\r\n]+/);
  const given = values.filter((each) => each !== "");
  if (given.length === 0) report("error", "A <sphere> has no value.");
  return { kind: "sphere", values: given };
}

/** RFC 4745 7.4: `from` and `until` by turns. */
function readValidity(element: XmlElement, report: Report): Condition {
  const windows: { from: number; until: number }[] = [];
  const parts = element.children.filter(isElement);
  for (let i = 0; i < parts.length; i += 2) {
    const [from, until] = [timeOf(parts[i], "from"), timeOf(parts[i + 1], "until")];
    if (from === null || until === null) {
      report("error", "A <validity> has pairs of <from> and <until>, each a date and time.");
      return NEVER;
    }
    windows.push({ from, until });
  }
  if (windows.length === 0) report("error", "A <validity> has no pair of <from> and <until>.");
  return { kind: "validity", windows };
}

const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?$/;

/** xs:dateTime; without a zone it is UTC. */
function timeOf(element: XmlElement | undefined, local: string): number | null {
  if (element === undefined || element.uri !== NAMESPACE || element.local !== local) return null;
  const text = textOf(element);
  const match = DATE_TIME.exec(text);
  if (match === null) return null;
  const ms = Date.parse(match[1] === undefined ? `${text}Z` : text);
  return Number.isNaN(ms) ? null : ms;
}
