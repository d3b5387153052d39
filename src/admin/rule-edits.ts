import { isCommon } from "../policy/common-policy.ts";
import { type Circumstances, holds } from "../policy/conditions.ts";
import { identityOf } from "../policy/identity.ts";
import { IM_RULES_NAMESPACE, readImRules } from "../policy/im-rules.ts";
import { HANDLINGS, type Handling } from "../policy/policy.ts";
import { PRES_RULES_NAMESPACE, readPresenceRules } from "../policy/pres-rules.ts";
import { attributeNamed, type XmlElement } from "../presence/xml.ts";
import { type Place, placesOf, scopeAt } from "../xcap/places.ts";

/**
 * Rules as lists of people, for who does not want to write XML: one watcher's handling is set, and all else in the
 * document stays as its writer left it, to the octet. Rules only ever grant (RFC 4745 10), so to give somebody less he is
 * taken out of whatever grants him more. Pure.
 */

export type RulesKind = "pres-rules" | "im-rules";

export type RuleEdit =
  | { readonly done: "changed"; readonly text: string }
  /** He has it already. */
  | { readonly done: "same" }
  /** This rule grants him more, and names nobody he could be taken out of; empty: he cannot be named at all. */
  | { readonly done: "refused"; readonly rule: string };

const COMMON = "urn:ietf:params:xml:ns:common-policy";
/** Ids of the rules that are our lists. */
const OURS = "codomain-";
/** Tests he may have to be taken out of. */
const MOST_PASSES = 200;

/** A document that says of everybody who has proved who he is what the domain says without it. */
export function seedRules(kind: RulesKind, handling: Handling): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="${COMMON}">
  <rule id="${OURS}default">
    <conditions><identity><many/></identity></conditions>
    ${granting(kind, handling)}
  </rule>
</ruleset>
`;
}

/**
 * @param text a document that its reader can read.
 * @param watcher canonical AoR.
 * @param wanted of im-rules: `allow` or `block`.
 * @throws MalformedDocument
 */
export function setHandling(text: string, kind: RulesKind, watcher: string, wanted: Handling): RuleEdit {
  // Who cannot be written in a rule cannot be excepted by one.
  if (identityOf(`sip:${watcher}`) !== watcher) return { done: "refused", rule: "" };
  let edited = text;
  for (let pass = 0; ; pass++) {
    const rules = rulesOf(edited, kind);
    const more = rules.find((each) => mayMatch(each, watcher) && isMore(each, wanted));
    if (more === undefined) break;
    const next = without(edited, more, watcher);
    if (next === null || pass === MOST_PASSES) return { done: "refused", rule: more.id };
    edited = next;
  }
  if (!rulesOf(edited, kind).some((each) => names(each, watcher) && each.rank === rankOf(wanted))) {
    edited = withWatcher(edited, kind, watcher, wanted);
  }
  return edited === text ? { done: "same" } : { done: "changed", text: edited };
}

interface PlacedRule {
  readonly id: string;
  readonly place: Place;
  readonly conditions: ReturnType<typeof readPresenceRules>[number]["conditions"];
  /** Of what it grants; -1: nothing. */
  readonly rank: number;
}

function rankOf(handling: Handling): number {
  return HANDLINGS.indexOf(handling);
}

function rulesOf(text: string, kind: RulesKind): readonly PlacedRule[] {
  const places = placesOf(text).children.filter((each) => isCommon(each.element, "rule"));
  const read =
    kind === "pres-rules"
      ? readPresenceRules(text).map((each) => ({ ...each, rank: each.handling === null ? -1 : rankOf(each.handling) }))
      : readImRules(text).map((each) => ({ ...each, rank: each.allows.size === 0 ? -1 : rankOf("allow") }));
  return read.map(({ id, conditions, rank }, i) => ({ id, conditions, rank, place: places[i]! }));
}

function isMore({ rank }: PlacedRule, wanted: Handling): boolean {
  return rank > rankOf(wanted);
}

/** At some time, in some sphere. */
function mayMatch({ conditions }: PlacedRule, watcher: string): boolean {
  const about: Circumstances = { identity: watcher, sphere: null, now: 0 };
  const lasting = conditions.filter((each) => each.kind === "identity" || each.kind === "never");
  return lasting.every((each) => holds(each, about));
}

/** Always, and him by his name. */
function names({ place, conditions }: PlacedRule, watcher: string): boolean {
  if (conditions.length !== 1 || conditions[0]!.kind !== "identity") return false;
  return identities(place).some((each) => each.children.some((test) => isOne(test.element, watcher)));
}

function identities(rule: Place): readonly Place[] {
  return rule.children
    .filter((each) => isCommon(each.element, "conditions"))
    .flatMap((each) => each.children.filter(({ element }) => isCommon(element, "identity")));
}

function isOne(element: XmlElement, watcher: string): boolean {
  return isCommon(element, "one") && identityOf(attributeNamed(element, "id") ?? "") === watcher;
}

/** The document with one rule no longer for him; null: the rule is for everybody. */
function without(text: string, { place }: PlacedRule, watcher: string): string | null {
  const [identity] = identities(place);
  if (identity === undefined) return null;
  const one = identity.children.find((each) => isOne(each.element, watcher));
  if (one !== undefined) return identity.children.length === 1 ? removed(text, place) : removed(text, one);
  // By a domain, or as anybody: he is made an exception of each.
  const except = (many: Place): string => inserted(text, many, tagOf(many, "except", { id: `sip:${watcher}` }));
  const many = identity.children.find(
    (each) =>
      isCommon(each.element, "many") &&
      !each.children.some((inner) => excepts(inner.element, watcher)) &&
      covers(each, watcher),
  );
  return many === undefined ? null : except(many);
}

function excepts(element: XmlElement, watcher: string): boolean {
  return isCommon(element, "except") && identityOf(attributeNamed(element, "id") ?? "") === watcher;
}

function covers({ element }: Place, watcher: string): boolean {
  const domain = attributeNamed(element, "domain");
  return domain === undefined || domain.trim().toLowerCase() === watcher.slice(watcher.lastIndexOf("@") + 1);
}

function removed(text: string, { start, end }: Place): string {
  // With the white space that set it on its line; by hand, since a regular expression looks for it everywhere.
  const blanks = (to: number): number => {
    let from = to;
    while (from > 0 && (text[from - 1] === " " || text[from - 1] === "\t")) from--;
    return from;
  };
  let from = blanks(start);
  if (text[from - 1] === "\n") {
    from -= text[from - 2] === "\r" ? 2 : 1;
    from = blanks(from);
  }
  return text.slice(0, from) + text.slice(end);
}

/** In our list of that handling, which is made where there is none. */
function withWatcher(text: string, kind: RulesKind, watcher: string, wanted: Handling): string {
  const id = `${OURS}${wanted}`;
  const list = rulesOf(text, kind).find((each) => each.id === id && each.rank === rankOf(wanted) && isList(each));
  const identity = list === undefined ? undefined : identities(list.place)[0];
  if (identity !== undefined) return inserted(text, identity, tagOf(identity, "one", { id: `sip:${watcher}` }));
  const taken = new Set(rulesOf(text, kind).map((each) => each.id));
  let free = id;
  for (let n = 2; taken.has(free); n++) free = `${id}-${n}`;
  const rule = `  <rule xmlns="${COMMON}" id="${free}">
    <conditions><identity><one id="${escaped(`sip:${watcher}`)}"/></identity></conditions>
    ${granting(kind, wanted)}
  </rule>
`;
  return inserted(text, placesOf(text), rule);
}

function isList({ conditions }: PlacedRule): boolean {
  return conditions.length === 1 && conditions[0]!.kind === "identity";
}

function granting(kind: RulesKind, handling: Handling): string {
  if (kind === "im-rules") {
    return `<actions><handling xmlns="${IM_RULES_NAMESPACE}">${handling === "allow" ? "allow" : "block"}</handling></actions>`;
  }
  const actions = `<actions><sub-handling xmlns="${PRES_RULES_NAMESPACE}">${handling}</sub-handling></actions>`;
  if (handling !== "allow") return actions;
  const all = ["services", "persons", "devices"].map((each) => `<provide-${each}><all-${each}/></provide-${each}>`);
  const inner = [...all, "<provide-all-attributes/>"].map((each) =>
    each.replace(/^<([\w-]+)/, `<$1 xmlns="${PRES_RULES_NAMESPACE}"`),
  );
  return `${actions}
    <transformations>${inner.join("")}</transformations>`;
}

/** As the last in an element. */
function inserted(text: string, into: Place, what: string): string {
  if (into.close !== null) return text.slice(0, into.close) + what + text.slice(into.close);
  return `${text.slice(0, into.tagEnd)}>${what}</${into.name}>${text.slice(into.end)}`;
}

/** A tag of common policy, by the prefix that stands for it there. */
function tagOf(where: Place, local: string, attributes: Readonly<Record<string, string>>): string {
  const prefix = [...scopeAt(where)].find(([, uri]) => uri === COMMON)?.[0];
  const name = prefix === undefined || prefix === "" ? local : `${prefix}:${local}`;
  const given = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`);
  return `<${name}${prefix === undefined ? ` xmlns="${COMMON}"` : ""}${given.join("")}/>`;
}

function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
}
