import { createHash } from "node:crypto";
import { HANDLINGS, type Handling } from "./policy.ts";

/**
 * What of presence is provided (RFC 5025 3.3), as sets and values that only ever grow: joining two permissions gives at
 * least what either gives (RFC 4745 10.2). Nothing here takes away.
 */
export interface Permissions {
  readonly services: Selection;
  readonly persons: Selection;
  readonly devices: Selection;
  /** Attributes by their element's name: `activities`, `note`, `deviceID`. "all": `provide-all-attributes`. */
  readonly attributes: ReadonlySet<Attribute> | "all";
  readonly userInput: UserInput;
  /** Expanded names, `{namespace}local`, of attributes that nobody here has a permission for. */
  readonly unknown: ReadonlySet<string>;
}

/** Which data components: all of them, or those that one of these names: `class biz`, `service-uri-scheme sip`. */
export type Selection = ReadonlySet<string> | "all";

/** Those of RFC 5025 3.3.2 that are booleans. */
export const ATTRIBUTES = [
  "activities",
  "class",
  "deviceID",
  "mood",
  "place-is",
  "place-type",
  "privacy",
  "relationship",
  "sphere",
  "status-icon",
  "time-offset",
  "note",
] as const;
export type Attribute = (typeof ATTRIBUTES)[number];

/** RFC 5025 3.3.2.12, in rising order. */
export const USER_INPUT = ["false", "bare", "thresholds", "full"] as const;
export type UserInput = (typeof USER_INPUT)[number];

export const SERVICE_SELECTORS = ["class", "occurrence-id", "service-uri", "service-uri-scheme"] as const;
export const PERSON_SELECTORS = ["class", "occurrence-id"] as const;
export const DEVICE_SELECTORS = ["class", "occurrence-id", "deviceID"] as const;

const NONE: ReadonlySet<never> = new Set();

export const NOTHING: Permissions = {
  services: NONE,
  persons: NONE,
  devices: NONE,
  attributes: NONE,
  userInput: "false",
  unknown: NONE,
};

export const EVERYTHING: Permissions = {
  services: "all",
  persons: "all",
  devices: "all",
  attributes: "all",
  userInput: "full",
  unknown: NONE,
};

/** Where a value is not said it is the lowest there is (RFC 4745 10.2). */
export function joinPermissions(a: Permissions, b: Permissions): Permissions {
  const all = a.attributes === "all" || b.attributes === "all";
  return {
    services: joinSets(a.services, b.services),
    persons: joinSets(a.persons, b.persons),
    devices: joinSets(a.devices, b.devices),
    attributes: joinSets(a.attributes, b.attributes),
    // provide-all-attributes is each of the others, at its most (RFC 5025 3.3.2.15).
    userInput: all ? "full" : highest(USER_INPUT, a.userInput, b.userInput),
    unknown: all ? NONE : (joinSets(a.unknown, b.unknown) as ReadonlySet<string>),
  };
}

export function higherHandling(a: Handling, b: Handling): Handling {
  return highest(HANDLINGS, a, b);
}

export function lowerHandling(a: Handling, b: Handling): Handling {
  return highest(HANDLINGS, a, b) === a ? b : a;
}

/** Whatever is in a document, it is shown. */
export function isEverything(permissions: Permissions): boolean {
  const { services, persons, devices, attributes } = permissions;
  return [services, persons, devices, attributes].every((each) => each === "all");
}

/** The same text exactly where the same is provided; empty: everything. */
export function keyOf(permissions: Permissions): string {
  if (isEverything(permissions)) return "";
  const { services, persons, devices, attributes, userInput, unknown } = permissions;
  const parts = [services, persons, devices, attributes, unknown].map((each) =>
    each === "all" ? "all" : [...each].sort(),
  );
  return createHash("sha256")
    .update(JSON.stringify([...parts, userInput]))
    .digest("base64url");
}

function joinSets<T>(a: ReadonlySet<T> | "all", b: ReadonlySet<T> | "all"): ReadonlySet<T> | "all" {
  if (a === "all" || b === "all") return "all";
  if (b.size === 0) return a;
  if (a.size === 0) return b;
  return new Set([...a, ...b]);
}

function highest<T>(rising: readonly T[], a: T, b: T): T {
  return rising.indexOf(a) < rising.indexOf(b) ? b : a;
}
