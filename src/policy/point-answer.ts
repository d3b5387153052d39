import {
  ATTRIBUTES,
  type Attribute,
  DEVICE_SELECTORS,
  EVERYTHING,
  lowerHandling,
  NOTHING,
  PERSON_SELECTORS,
  type Permissions,
  SERVICE_SELECTORS,
  type Selection,
  USER_INPUT,
} from "./permissions.ts";
import { HANDLINGS, type Handling } from "./policy.ts";

/**
 * What a decision point says (AuthZEN 1.0, Access Evaluation Response): `decision`, and in `context` how it is to be carried
 * out. docs/policy.md tells operators:
 *
 * - `handling`: block, confirm, polite-block, allow. `decision: true` without it is allow, false without it block; a false
 *   one is never more than polite-block.
 * - `provide`: what is shown, as RFC 5025 has it; absent: everything.
 * - `rule`: a text for people. `ttl`: for how many seconds it may be remembered.
 * - `depends`: `["sphere"]`, where it is to be asked again when the user's sphere changes.
 *
 * What is there and not understood decides for less, never for more.
 */
export interface PointAnswer {
  readonly decision: boolean;
  readonly handling: Handling;
  readonly permissions: Permissions;
  /** Empty: none was given. */
  readonly rule: string;
  /** Milliseconds; null: none was given. */
  readonly ttlMs: number | null;
  /** It may be another where the user's sphere is. */
  readonly bySphere: boolean;
}

/** No decision: the point says that it failed over this question (AuthZEN, Errors). */
export interface PointFailure {
  readonly failed: string;
}

/** null: it is no answer at all. */
export function readAnswer(json: unknown): PointAnswer | PointFailure | null {
  if (!isRecord(json) || typeof json["decision"] !== "boolean") return null;
  const decision = json["decision"];
  const context = json["context"] ?? {};
  if (!isRecord(context)) return null;
  const error = context["error"];
  if (isRecord(error) && Number(error["status"]) >= 500) return { failed: String(error["message"] ?? error["status"]) };
  const provide = context["provide"];
  const permissions = provide === undefined ? EVERYTHING : readProvided(provide);
  const rule = context["rule"] ?? context["reason"];
  const ttl = context["ttl"];
  return {
    decision,
    handling: handlingOf(decision, context["handling"]),
    permissions,
    rule: typeof rule === "string" ? rule.slice(0, 200) : "",
    ttlMs: typeof ttl === "number" && ttl >= 0 ? ttl * 1000 : null,
    bySphere: Array.isArray(context["depends"]) && context["depends"].includes("sphere"),
  };
}

function handlingOf(decision: boolean, said: unknown): Handling {
  if (said === undefined) return decision ? "allow" : "block";
  const handling = HANDLINGS.find((each) => each === said) ?? "block";
  return decision ? handling : lowerHandling(handling, "polite-block");
}

const SETS = [
  ["services", SERVICE_SELECTORS],
  ["persons", PERSON_SELECTORS],
  ["devices", DEVICE_SELECTORS],
] as const;

/**
 * `{ "services": "all", "persons": [{ "class": "biz" }], "attributes": ["mood"], "user-input": "bare",
 * "unknown": [{ "ns": "urn:x", "name": "foo" }] }`
 */
function readProvided(json: unknown): Permissions {
  if (json === "all") return EVERYTHING;
  if (!isRecord(json)) return NOTHING;
  const sets = SETS.map(([name, selectors]) => [name, selectionOf(json[name], selectors)]);
  const attributes = attributesOf(json["attributes"]);
  const userInput = USER_INPUT.find((each) => each === json["user-input"]) ?? "false";
  return {
    ...NOTHING,
    ...(Object.fromEntries(sets) as Pick<Permissions, "services" | "persons" | "devices">),
    attributes,
    userInput: attributes === "all" ? "full" : userInput,
    unknown: attributes === "all" ? NOTHING.unknown : unknownOf(json["unknown"]),
  };
}

function selectionOf(json: unknown, selectors: readonly string[]): Selection {
  if (json === "all") return "all";
  const members = new Set<string>();
  for (const each of Array.isArray(json) ? json : []) {
    if (!isRecord(each)) continue;
    for (const [type, value] of Object.entries(each)) {
      if (selectors.includes(type) && typeof value === "string") members.add(`${type} ${value.trim()}`);
    }
  }
  return members;
}

function attributesOf(json: unknown): ReadonlySet<Attribute> | "all" {
  if (json === "all") return "all";
  const given: unknown[] = Array.isArray(json) ? json : [];
  return new Set(ATTRIBUTES.filter((each) => given.includes(each)));
}

function unknownOf(json: unknown): ReadonlySet<string> {
  const names = new Set<string>();
  for (const each of Array.isArray(json) ? json : []) {
    if (!isRecord(each)) continue;
    const { ns, name } = each;
    if (typeof ns === "string" && typeof name === "string" && name !== "") names.add(`{${ns}}${name}`);
  }
  return names;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
