import { attributeNamed, textOf, type XmlElement } from "../presence/xml.ts";
import { type Report, type Rule, type RulesFault, readRules } from "./common-policy.ts";
import type { Contact } from "./policy.ts";

/**
 * Who may write to a user and call him: rule sets of RFC 4745 with one action of ours,
 *
 *     <handling xmlns="urn:x-codomain:im-rules" methods="MESSAGE INVITE">allow</handling>
 *
 * `allow` or `block`; block is the lowest, and what is not said. Without `methods` it is for both. docs/policy.md
 */
export const IM_RULES_NAMESPACE = "urn:x-codomain:im-rules";

const CONTACTS: readonly Contact[] = ["MESSAGE", "INVITE"];

export interface ImRule extends Pick<Rule, "id" | "conditions"> {
  readonly allows: ReadonlySet<Contact>;
}

/** @throws MalformedDocument */
export function readImRules(text: string, report?: (fault: RulesFault) => void): readonly ImRule[] {
  return readRules(text, report).map(({ id, conditions, actions, transformations }) => {
    const tell: Report = (severity, message) => report?.({ severity, rule: id, message });
    for (const each of transformations) tell("warning", `Messages are not transformed: <${each.local}> does nothing.`);
    return { id, conditions, allows: new Set(actions.flatMap((each) => allowedBy(each, tell))) };
  });
}

function allowedBy(action: XmlElement, report: Report): readonly Contact[] {
  if (action.uri !== IM_RULES_NAMESPACE || action.local !== "handling") {
    report("warning", `The action <${action.local}> is not known, and allows nothing.`);
    return [];
  }
  const value = textOf(action);
  if (value !== "allow" && value !== "block") report("error", "handling is allow or block.");
  if (value !== "allow") return [];
  const methods = attributeNamed(action, "methods");
  if (methods === undefined) return CONTACTS;
  const given = methods.split(/[ \t\r\n]+/).filter((each) => each !== "");
  for (const each of given) {
    if (!CONTACTS.some((method) => method === each))
      report("error", `methods are ${CONTACTS.join(" and ")}, not ${each}.`);
  }
  return CONTACTS.filter((each) => given.includes(each));
}
