import { MalformedDocument } from "../presence/xml.ts";
import type { RulesFault } from "./common-policy.ts";
import { readImRules } from "./im-rules.ts";
import { readPresenceRules } from "./pres-rules.ts";

export type RulesKind = "pres-rules" | "im-rules";

/**
 * What is wrong with a rule document, for who is about to store it. With an error it would not say what its writer means;
 * a warning tells of rules without effect.
 * @param text Unicode.
 */
export function checkRules(kind: RulesKind, text: string): readonly RulesFault[] {
  const faults: RulesFault[] = [];
  const report = (fault: RulesFault): void => void faults.push(fault);
  try {
    if (kind === "pres-rules") readPresenceRules(text, report);
    else readImRules(text, report);
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    faults.push({ severity: "error", rule: "", message: error.message });
  }
  return faults;
}
