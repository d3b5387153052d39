import { type Circumstances, type Condition, holds } from "./conditions.ts";
import { judgePresence } from "./judge.ts";
import { isEverything, type Permissions, type Selection } from "./permissions.ts";
import type { Contact } from "./policy.ts";
import type { RulesOf } from "./rule-book.ts";

/** What rules do with one question, for people: a line for each rule, and why those that do nothing do nothing. */
export function tellPresence(rules: RulesOf<"pres-rules">, about: Circumstances): string[] {
  if (typeof rules === "string") return [documentText(rules)];
  const { handling, permissions } = judgePresence(rules, about);
  const lines = rules.map((each) => {
    const failing = failingOf(each.conditions, about);
    const granted = each.handling ?? "says no handling";
    return failing === null ? `rule ${each.id} matches: ${granted}` : `rule ${each.id} does not match: ${failing}`;
  });
  return handling === "allow" ? [...lines, `shown: ${permissionsText(permissions)}`] : lines;
}

export function tellContact(rules: RulesOf<"im-rules">, method: Contact, about: Circumstances): string[] {
  if (typeof rules === "string") return [documentText(rules)];
  return rules.map((each) => {
    const failing = failingOf(each.conditions, about);
    if (failing !== null) return `rule ${each.id} does not match: ${failing}`;
    return `rule ${each.id} matches: ${each.allows.has(method) ? "allows" : "says nothing of"} ${method}`;
  });
}

function documentText(state: "none" | "unreadable"): string {
  return state === "none" ? "he has no rules of his own" : "his rules cannot be understood, and grant nothing";
}

function failingOf(conditions: readonly Condition[], about: Circumstances): string | null {
  const failing = conditions.find((each) => !holds(each, about));
  switch (failing?.kind) {
    case undefined:
      return null;
    case "identity":
      return about.identity === null ? "it names people, and he has not proved who he is" : "it is for others";
    case "sphere":
      return about.sphere === null ? "the user's sphere is not known" : `the user's sphere is ${about.sphere}`;
    case "validity":
      return "it is not its time";
    case "never":
      return "a condition in it is not understood";
  }
}

export function permissionsText(permissions: Permissions): string {
  if (isEverything(permissions)) return "everything";
  const { services, persons, devices, attributes, userInput, unknown } = permissions;
  const parts = [
    selectionText("services", services),
    selectionText("persons", persons),
    selectionText("devices", devices),
    attributes === "all" ? "all attributes" : [...attributes].sort().join(" "),
    attributes === "all" || userInput === "false" ? "" : `user-input ${userInput}`,
    [...unknown].sort().join(" "),
  ];
  return parts.filter((each) => each !== "").join("; ");
}

function selectionText(what: string, selection: Selection): string {
  if (selection === "all") return `all ${what}`;
  return selection.size === 0 ? `no ${what}` : `${what} of ${[...selection].sort().join(", ")}`;
}
