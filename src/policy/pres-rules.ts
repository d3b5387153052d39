import { attributeNamed, isElement, textOf, type XmlElement } from "../presence/xml.ts";
import { type Report, type Rule, type RulesFault, readRules } from "./common-policy.ts";
import {
  ATTRIBUTES,
  type Attribute,
  DEVICE_SELECTORS,
  EVERYTHING,
  joinPermissions,
  NOTHING,
  PERSON_SELECTORS,
  type Permissions,
  SERVICE_SELECTORS,
  type Selection,
  USER_INPUT,
  type UserInput,
} from "./permissions.ts";
import { HANDLINGS, type Handling } from "./policy.ts";

/** Presence authorization rules (RFC 5025): what a rule of RFC 4745 grants a watcher. */
export const PRES_RULES_NAMESPACE = "urn:ietf:params:xml:ns:pres-rules";

export interface PresenceRule extends Pick<Rule, "id" | "conditions"> {
  /** null: it says none. */
  readonly handling: Handling | null;
  readonly permissions: Permissions;
}

/** @throws MalformedDocument */
export function readPresenceRules(text: string, report?: (fault: RulesFault) => void): readonly PresenceRule[] {
  return readRules(text, report).map(({ id, conditions, actions, transformations }) => {
    const tell: Report = (severity, message) => report?.({ severity, rule: id, message });
    let permissions = NOTHING;
    for (const each of transformations) permissions = joinPermissions(permissions, permissionOf(each, tell));
    return { id, conditions, handling: handlingOf(actions, tell), permissions };
  });
}

/** RFC 5025 3.2.1. */
function handlingOf(actions: readonly XmlElement[], report: Report): Handling | null {
  let highest = -1;
  for (const each of actions) {
    if (each.uri !== PRES_RULES_NAMESPACE || each.local !== "sub-handling") {
      report("warning", `The action <${each.local}> is not known, and grants nothing.`);
      continue;
    }
    const rank = HANDLINGS.indexOf(textOf(each) as Handling);
    if (rank < 0) report("error", `sub-handling is one of ${HANDLINGS.join(", ")}.`);
    highest = Math.max(highest, rank);
  }
  return highest < 0 ? null : HANDLINGS[highest]!;
}

/** What one transformation grants (RFC 5025 3.3); of what is not understood: nothing. */
function permissionOf(element: XmlElement, report: Report): Permissions {
  const { local } = element;
  if (element.uri !== PRES_RULES_NAMESPACE) return unknownOf(local, report);
  switch (local) {
    case "provide-services":
      return { ...NOTHING, services: selectionOf(element, "all-services", SERVICE_SELECTORS, report) };
    case "provide-persons":
      return { ...NOTHING, persons: selectionOf(element, "all-persons", PERSON_SELECTORS, report) };
    case "provide-devices":
      return { ...NOTHING, devices: selectionOf(element, "all-devices", DEVICE_SELECTORS, report) };
    case "provide-all-attributes":
      return allAttributes(element, report);
    case "provide-user-input":
      return { ...NOTHING, userInput: userInputOf(element, report) };
    case "provide-unknown-attribute":
      return unknownAttribute(element, report);
  }
  const attribute = ATTRIBUTES.find((each) => local === `provide-${each}`);
  if (attribute === undefined) return unknownOf(local, report);
  return isTrue(element, report) ? { ...NOTHING, attributes: new Set<Attribute>([attribute]) } : NOTHING;
}

function unknownOf(local: string, report: Report): Permissions {
  report("warning", `The transformation <${local}> is not known, and provides nothing.`);
  return NOTHING;
}

function selectionOf(element: XmlElement, all: string, selectors: readonly string[], report: Report): Selection {
  const members = new Set<string>();
  for (const each of element.children.filter(isElement)) {
    if (each.uri === PRES_RULES_NAMESPACE && each.local === all) return "all";
    if (each.uri === PRES_RULES_NAMESPACE && selectors.includes(each.local))
      members.add(`${each.local} ${textOf(each)}`);
    else report("warning", `<${each.local}> in <${element.local}> is not known, and selects nothing.`);
  }
  return members;
}

/** It has no content; who writes a plain "false" into it does not mean that it is granted. */
function allAttributes(element: XmlElement, report: Report): Permissions {
  if (textOf(element) !== "" && !isTrue(element, report)) return NOTHING;
  return { ...NOTHING, attributes: EVERYTHING.attributes, userInput: EVERYTHING.userInput };
}

function userInputOf(element: XmlElement, report: Report): UserInput {
  const value = textOf(element);
  const found = USER_INPUT.find((each) => each === value);
  if (found === undefined) report("error", `provide-user-input is one of ${USER_INPUT.join(", ")}.`);
  return found ?? "false";
}

/** RFC 5025 3.3.2.14. */
function unknownAttribute(element: XmlElement, report: Report): Permissions {
  const [name, ns] = [attributeNamed(element, "name"), attributeNamed(element, "ns")];
  if (name === undefined || ns === undefined || name.trim() === "" || name.includes(":")) {
    report("error", "provide-unknown-attribute has a name without prefix, and ns.");
    return NOTHING;
  }
  return isTrue(element, report) ? { ...NOTHING, unknown: new Set([`{${ns.trim()}}${name.trim()}`]) } : NOTHING;
}

/** xs:boolean. */
function isTrue(element: XmlElement, report: Report): boolean {
  const value = textOf(element);
  if (!["true", "1", "false", "0"].includes(value)) report("error", `<${element.local}> is true or false.`);
  return value === "true" || value === "1";
}
