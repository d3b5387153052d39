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
  USER_INPUT,
} from "./permissions.ts";
import { HANDLINGS, type Handling } from "./policy.ts";

/**
 * What annotations of a Cedar `permit` say of how it is carried out; docs/policy.md tells operators.
 *
 * `@handling("polite-block")`: allow where there is none. `@provide("services persons.class=biz note user-input=bare
 * unknown={urn:x}foo")`: what is shown, as RFC 5025 has it; everything where there is none.
 */
export interface PermitTerms {
  readonly handling: Handling;
  readonly permissions: Permissions;
}

const SELECTORS: Readonly<Record<string, readonly string[]>> = {
  services: SERVICE_SELECTORS,
  persons: PERSON_SELECTORS,
  devices: DEVICE_SELECTORS,
};

/** @returns a text where they cannot be understood. */
export function readTerms(annotations: Readonly<Record<string, string>>): PermitTerms | string {
  const said = annotations["handling"] ?? "allow";
  const handling = HANDLINGS.find((each) => each === said);
  if (handling === undefined) return `@handling is one of ${HANDLINGS.join(", ")}, not "${said}".`;
  const provide = annotations["provide"];
  if (provide === undefined) return { handling, permissions: EVERYTHING };
  let permissions = NOTHING;
  for (const word of provide.split(/\s+/).filter((each) => each !== "")) {
    const granted = grantOf(word);
    if (granted === null) return `@provide does not know "${word}".`;
    permissions = joinPermissions(permissions, granted);
  }
  return { handling, permissions };
}

function grantOf(word: string): Permissions | null {
  if (word === "services" || word === "persons" || word === "devices") return { ...NOTHING, [word]: "all" };
  if (word === "attributes") return { ...NOTHING, attributes: "all", userInput: "full" };
  const attribute = ATTRIBUTES.find((each) => each === word);
  if (attribute !== undefined) return { ...NOTHING, attributes: new Set<Attribute>([attribute]) };
  const [, name = "", value = ""] = /^([a-zA-Z.-]+)=(.+)$/s.exec(word) ?? [];
  if (name === "user-input") {
    const userInput = USER_INPUT.find((each) => each === value);
    return userInput === undefined ? null : { ...NOTHING, userInput };
  }
  if (name === "unknown") return /^\{[^{}]*\}[^{}:]+$/.test(value) ? { ...NOTHING, unknown: new Set([value]) } : null;
  const [component = "", selector = ""] = name.split(".");
  if (SELECTORS[component]?.includes(selector) !== true) return null;
  return { ...NOTHING, [component]: new Set([`${selector} ${value}`]) };
}
