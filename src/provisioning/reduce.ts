import { COMMON_POLICY_NAMESPACE, type RulesFault } from "../policy/common-policy.ts";
import type { Condition } from "../policy/conditions.ts";
import { domainOf } from "../policy/identity.ts";
import { ATTRIBUTES, isEverything, type Permissions, type Selection } from "../policy/permissions.ts";
import { HANDLINGS, type Handling } from "../policy/policy.ts";
import { PRES_RULES_NAMESPACE, type PresenceRule, readPresenceRules } from "../policy/pres-rules.ts";
import { element, printXml, type XmlElement, type XmlNode } from "../presence/xml.ts";

/**
 * A user's rules as one server can keep them (the draft, "Central Provisioning"), pure. Rules only ever grant (RFC 4745 10):
 * a rule that a server would understand as wider is left out, a grant that it has no word for becomes a lesser one. So
 * nobody gets more from the server than from the rules themselves, and who is denied by them is denied by it. Everything
 * that was lost is told.
 */

/**
 * What a server's rules can say. `identity`: somebody by his address; `many`: a domain, or anybody; `except`: but these.
 * `confirm`, `polite-block`: of sub-handling, beside allow and block. `transformations`: a part of the document; a server
 * without them shows whom it allows everything.
 */
export const EXPRESSIONS = [
  "identity",
  "many",
  "except",
  "sphere",
  "validity",
  "confirm",
  "polite-block",
  "transformations",
] as const;
export type Expression = (typeof EXPRESSIONS)[number];

export interface Reduced {
  /** Unicode. */
  readonly text: string;
  /** What of the rules the server cannot express, one sentence each. */
  readonly reductions: readonly string[];
}

export interface ServerDialect {
  readonly expresses: readonly Expression[];
  /** Domains whose users the server may know by other names. */
  readonly domains: readonly string[];
  /** Its name for an identity (policy/identity.ts). */
  readonly nameOf: (identity: string) => string;
}

/** The identities that a rule document names. @throws MalformedDocument */
export function namedIn(text: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { conditions } of readPresenceRules(text)) {
    for (const each of conditions) {
      if (each.kind !== "identity") continue;
      for (const test of each.any) {
        if ("one" in test) found.add(test.one);
        else for (const id of test.exceptIds) found.add(id);
      }
    }
  }
  return found;
}

/** @throws MalformedDocument where the rules cannot be read. */
export function reduceRules(text: string, dialect: ServerDialect): Reduced {
  const reductions: string[] = [];
  const notUnderstood = new Map<string, string[]>();
  const rules = readPresenceRules(text, ({ rule, message }: RulesFault) => {
    notUnderstood.set(rule, [...(notUnderstood.get(rule) ?? []), message]);
  });
  const kept = rules.flatMap((rule) => {
    const lost: string[] = [];
    const reduced = reduceRule(rule, dialect, lost);
    // What is not understood here grants nothing here, and must not there.
    for (const each of [...(notUnderstood.get(rule.id) ?? []), ...lost]) reductions.push(`Rule ${rule.id}: ${each}`);
    return reduced === null ? [] : [reduced];
  });
  // Their order means nothing (RFC 4745 10); for servers that go by the first that matches the highest is it.
  kept.sort((a, b) => b.rank - a.rank);
  const root: XmlElement = {
    ...element(
      COMMON_POLICY_NAMESPACE,
      "ruleset",
      {},
      kept.map((each) => each.rule),
    ),
    declared: new Map([
      ["", COMMON_POLICY_NAMESPACE],
      ["pr", PRES_RULES_NAMESPACE],
    ]),
  };
  return { text: Buffer.from(printXml(root), "latin1").toString("utf8"), reductions };
}

interface Kept {
  readonly rule: XmlElement;
  /** Of its handling; -1: it says none. */
  readonly rank: number;
}

function reduceRule(rule: PresenceRule, dialect: ServerDialect, lost: string[]): Kept | null {
  const conditions: XmlElement[] = [];
  const kinds = rule.conditions.map(({ kind }) => kind);
  for (const [at, each] of rule.conditions.entries()) {
    // All of them must hold; a server may look at the first only, or take one of them for enough.
    const isAgain = kinds.indexOf(each.kind) !== at;
    if (isAgain) lost.push(`the server may not know what two conditions <${each.kind}> mean:`);
    const reduced = isAgain ? null : reduceCondition(each, dialect, lost);
    if (reduced === null) {
      if (rule.handling !== null || !isNothing(rule.permissions)) lost.push("it is left out.");
      return null;
    }
    conditions.push(reduced);
  }
  const handling = reduceHandling(rule, dialect.expresses, lost);
  const transformations = dialect.expresses.includes("transformations") ? permissionsOf(rule.permissions) : [];
  const kept = common("rule", { id: rule.id }, [
    ...(conditions.length === 0 ? [] : [common("conditions", {}, conditions)]),
    ...(handling === null ? [] : [common("actions", {}, [own("sub-handling", {}, [handling])])]),
    ...(transformations.length === 0 ? [] : [common("transformations", {}, transformations)]),
  ]);
  return { rule: kept, rank: handling === null ? -1 : HANDLINGS.indexOf(handling) };
}

/** Null: it would be lost, and the rule be for more. */
function reduceCondition(condition: Condition, dialect: ServerDialect, lost: string[]): XmlElement | null {
  switch (condition.kind) {
    case "never":
      return null;
    case "sphere":
      if (!dialect.expresses.includes("sphere")) {
        lost.push("the server knows no spheres:");
        return null;
      }
      return common("sphere", { value: condition.values.join(" ") });
    case "validity":
      if (!dialect.expresses.includes("validity")) {
        lost.push("the server knows no times:");
        return null;
      }
      return common(
        "validity",
        {},
        condition.windows.flatMap(({ from, until }) => [
          common("from", {}, [time(from)]),
          common("until", {}, [time(until)]),
        ]),
      );
    case "identity":
      return reduceIdentity(condition, dialect, lost);
  }
}

type IdentityTest = (Condition & { readonly kind: "identity" })["any"][number];

/** One of its tests is enough, so each may be left out (RFC 4745 7.1). */
function reduceIdentity(
  { any }: Condition & { readonly kind: "identity" },
  dialect: ServerDialect,
  lost: string[],
): XmlElement | null {
  const tests = any.flatMap((each) => {
    const fault = faultOf(each, dialect);
    if (fault !== null) lost.push(fault);
    return fault === null ? [testOf(each, dialect)] : [];
  });
  return tests.length === 0 ? null : common("identity", {}, tests);
}

function faultOf(test: IdentityTest, { expresses, domains }: ServerDialect): string | null {
  if ("one" in test) {
    return expresses.includes("identity") ? null : `the server cannot name ${test.one}.`;
  }
  const whom = test.domain === null ? "anybody" : `anybody of ${test.domain}`;
  if (!expresses.includes("many")) return `the server cannot say ${whom}.`;
  if (!expresses.includes("except") && test.exceptIds.size + test.exceptDomains.size > 0) {
    return `the server cannot except anybody from ${whom}.`;
  }
  // Our users may be of another domain there, and slip through.
  const own = [...test.exceptDomains].find((each) => domains.includes(each));
  return own === undefined ? null : `${whom} but ${own} is left out: the server may know users of ${own} otherwise.`;
}

function testOf(test: IdentityTest, { nameOf }: ServerDialect): XmlElement {
  if ("one" in test) return common("one", { id: uriOf(nameOf(test.one)) });
  const excepts = [
    ...[...test.exceptIds].map((id) => common("except", { id: uriOf(nameOf(id)) })),
    ...[...test.exceptDomains].map((domain) => common("except", { domain })),
  ];
  return common("many", { domain: test.domain }, excepts);
}

function uriOf(identity: string): string {
  return domainOf(identity) === "" && /^[A-Za-z][A-Za-z0-9+.-]*:/.test(identity) ? identity : `sip:${identity}`;
}

function reduceHandling(
  { handling, permissions }: PresenceRule,
  expresses: readonly Expression[],
  lost: string[],
): Handling | null {
  if (handling === null || handling === "block") return handling;
  if (handling === "allow") {
    if (expresses.includes("transformations") || isEverything(permissions)) return handling;
    const instead = expressible("polite-block", expresses);
    lost.push(`the server cannot show a part only: ${instead} in place of allow.`);
    return instead;
  }
  const instead = expressible(handling, expresses);
  if (instead !== handling) lost.push(`the server knows no ${handling}: ${instead} in its place.`);
  return instead;
}

/** The highest that is no more. */
function expressible(most: Handling, expresses: readonly Expression[]): Handling {
  const falling = HANDLINGS.slice(0, HANDLINGS.indexOf(most) + 1).toReversed();
  return falling.find((each) => each === "block" || expresses.includes(each as Expression)) ?? "block";
}

function isNothing({ services, persons, devices, attributes, userInput, unknown }: Permissions): boolean {
  const sets = [services, persons, devices, attributes, unknown];
  return userInput === "false" && sets.every((each) => each !== "all" && each.size === 0);
}

function permissionsOf({ services, persons, devices, attributes, userInput, unknown }: Permissions): XmlElement[] {
  const selected = (name: string, selection: Selection): XmlElement[] => {
    if (selection === "all") return [own(`provide-${name}`, {}, [own(`all-${name}`, {})])];
    if (selection.size === 0) return [];
    const members = [...selection].map((each) => {
      const space = each.indexOf(" ");
      return own(each.slice(0, space), {}, [each.slice(space + 1)]);
    });
    return [own(`provide-${name}`, {}, members)];
  };
  return [
    ...selected("services", services),
    ...selected("persons", persons),
    ...selected("devices", devices),
    ...(attributes === "all"
      ? [own("provide-all-attributes", {})]
      : ATTRIBUTES.filter((each) => attributes.has(each)).map((each) => own(`provide-${each}`, {}, ["true"]))),
    ...(attributes === "all" || userInput === "false" ? [] : [own("provide-user-input", {}, [userInput])]),
    ...[...unknown].map((each) => {
      const end = each.lastIndexOf("}");
      return own("provide-unknown-attribute", { name: each.slice(end + 1), ns: each.slice(1, end) }, ["true"]);
    }),
  ];
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function common(local: string, attributes: Readonly<Record<string, string | null>>, children: readonly XmlNode[] = []) {
  return element(COMMON_POLICY_NAMESPACE, local, attributes, children);
}

function own(
  local: string,
  attributes: Readonly<Record<string, string>>,
  children: readonly XmlNode[] = [],
): XmlElement {
  return { ...element(PRES_RULES_NAMESPACE, local, attributes, children), prefix: "pr" };
}
