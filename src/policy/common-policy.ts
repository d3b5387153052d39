import { isElement, MalformedDocument, parseXml, type XmlElement } from "../presence/xml.ts";
import { type Condition, readCondition } from "./conditions.ts";

/**
 * Rule sets of RFC 4745: rules of conditions, and of what is granted where they hold. Reading is lenient and safe: what is
 * not understood grants nothing, and a condition that is not understood holds for nobody (RFC 4745 7).
 */
export const COMMON_POLICY_NAMESPACE = "urn:ietf:params:xml:ns:common-policy";

/** Of rule documents of every kind (RFC 4745 15.2). */
export const RULES_TYPE = "application/auth-policy+xml";

export interface Rule {
  /** Of the rule in its document; empty: it has none. */
  readonly id: string;
  /** All must hold; none: it matches everybody. */
  readonly conditions: readonly Condition[];
  readonly actions: readonly XmlElement[];
  readonly transformations: readonly XmlElement[];
}

/** What is wrong with a rule document. `error`: it is not to be stored; `warning`: it has no effect, or not the one meant. */
export interface RulesFault {
  readonly severity: "error" | "warning";
  /** Id of the rule; empty: the whole document. */
  readonly rule: string;
  readonly message: string;
}

export type Report = (severity: RulesFault["severity"], message: string) => void;

/**
 * @param text Unicode.
 * @throws MalformedDocument where it is not well-formed, over a limit, or no rule set.
 */
export function readRules(text: string, report: (fault: RulesFault) => void = () => undefined): readonly Rule[] {
  const root = parseXml(Buffer.from(text, "utf8").toString("latin1"));
  if (!isCommon(root, "ruleset")) throw new MalformedDocument("It is no rule set (RFC 4745).");
  const rules: Rule[] = [];
  const ids = new Set<string>();
  for (const each of root.children.filter(isElement)) {
    const id = each.attributes.find(({ uri, local }) => uri === "" && local === "id")?.value.trim() ?? "";
    const tell: Report = (severity, message) => report({ severity, rule: id, message });
    if (!isCommon(each, "rule")) {
      tell("error", `<${each.local}> is no rule.`);
      continue;
    }
    if (id === "") tell("error", "A rule has no id.");
    else if (ids.has(id)) tell("error", `Two rules have the id ${id} (RFC 4745 6.1).`);
    ids.add(id);
    rules.push(readRule(id, each, tell));
  }
  return rules;
}

export function isCommon(element: XmlElement, local: string): boolean {
  return element.uri === COMMON_POLICY_NAMESPACE && element.local === local;
}

function readRule(id: string, rule: XmlElement, report: Report): Rule {
  const parts = rule.children.filter(isElement);
  const named = (local: string): XmlElement[] => parts.filter((each) => isCommon(each, local));
  for (const each of parts) {
    if (!["conditions", "actions", "transformations"].some((local) => isCommon(each, local)))
      report("error", `<${each.local}> is no part of a rule.`);
  }
  for (const local of ["conditions", "actions", "transformations"])
    if (named(local).length > 1) report("error", `A rule has <${local}> once.`);
  // Of conditions given twice all must hold; what is granted twice counts once.
  const conditions = named("conditions").flatMap((each) => each.children.filter(isElement));
  const first = (local: string): XmlElement[] => named(local)[0]?.children.filter(isElement) ?? [];
  return {
    id,
    conditions: conditions.map((each) => readCondition(each, report)),
    actions: first("actions"),
    transformations: first("transformations"),
  };
}
