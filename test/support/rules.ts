import { COMMON_POLICY_NAMESPACE } from "../../src/policy/common-policy.ts";
import { IM_RULES_NAMESPACE } from "../../src/policy/im-rules.ts";
import { PRES_RULES_NAMESPACE } from "../../src/policy/pres-rules.ts";

/** Rule documents as a user's client writes them: common policy under `cp:`, presence rules under none, ours under `im:`. */
export function ruleset(...rules: readonly string[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<cp:ruleset xmlns="${PRES_RULES_NAMESPACE}" xmlns:cp="${COMMON_POLICY_NAMESPACE}" xmlns:im="${IM_RULES_NAMESPACE}">
${rules.join("\n")}
</cp:ruleset>
`;
}

export function rule(id: string, conditions: string, actions = "", transformations = ""): string {
  return (
    `<cp:rule id="${id}"><cp:conditions>${conditions}</cp:conditions><cp:actions>${actions}</cp:actions>` +
    `<cp:transformations>${transformations}</cp:transformations></cp:rule>`
  );
}

export function one(...aors: readonly string[]): string {
  return `<cp:identity>${aors.map((aor) => `<cp:one id="sip:${aor}"/>`).join("")}</cp:identity>`;
}

export function handling(value: string): string {
  return `<sub-handling>${value}</sub-handling>`;
}

export const ANYBODY = "<cp:identity><cp:many/></cp:identity>";

export const ALL =
  "<provide-services><all-services/></provide-services><provide-persons><all-persons/></provide-persons>" +
  "<provide-devices><all-devices/></provide-devices><provide-all-attributes/>";
