import { type Circumstances, type Condition, holds, nextChange } from "./conditions.ts";
import type { ImRule } from "./im-rules.ts";
import { higherHandling, joinPermissions, NOTHING, type Permissions } from "./permissions.ts";
import type { Contact, Handling } from "./policy.ts";
import type { PresenceRule } from "./pres-rules.ts";

/** Combining what all matching rules grant (RFC 4745 10.2). Pure. */

export interface PresenceJudgement {
  readonly handling: Handling;
  readonly permissions: Permissions;
  /** Ids of the rules that matched, in the order of the document. */
  readonly matched: readonly string[];
  /** When next a matching may change by time alone, milliseconds since 1970; null: never. */
  readonly until: number | null;
  /** Some rule would match, or not, in another sphere. */
  readonly bySphere: boolean;
}

export function judgePresence(rules: readonly PresenceRule[], about: Circumstances): PresenceJudgement {
  const matching = rules.filter((each) => matches(each, about));
  let handling: Handling = "block";
  let permissions = NOTHING;
  for (const rule of matching) {
    handling = higherHandling(handling, rule.handling ?? "block");
    permissions = joinPermissions(permissions, rule.permissions);
  }
  return { handling, permissions, matched: matching.map((each) => each.id), ...prospects(rules, about) };
}

export interface ImJudgement {
  readonly allowed: boolean;
  /** Ids of the rules that allow it. */
  readonly matched: readonly string[];
}

export function judgeContact(rules: readonly ImRule[], method: Contact, about: Circumstances): ImJudgement {
  const allowing = rules.filter((each) => each.allows.has(method) && matches(each, about));
  return { allowed: allowing.length > 0, matched: allowing.map((each) => each.id) };
}

interface Conditional {
  readonly conditions: readonly Condition[];
}

function matches({ conditions }: Conditional, about: Circumstances): boolean {
  return conditions.every((each) => holds(each, about));
}

/** What of the rules that are for him, whenever and wherever, may change. */
function prospects(rules: readonly Conditional[], about: Circumstances): { until: number | null; bySphere: boolean } {
  let until: number | null = null;
  let bySphere = false;
  for (const { conditions } of rules) {
    const lasting = conditions.filter((each) => each.kind === "identity" || each.kind === "never");
    if (!lasting.every((each) => holds(each, about))) continue;
    for (const each of conditions) {
      if (each.kind === "sphere") bySphere = true;
      const next = nextChange(each, about.now);
      if (next !== null) until = until === null ? next : Math.min(until, next);
    }
  }
  return { until, bySphere };
}
