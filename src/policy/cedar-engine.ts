import { createRequire } from "node:module";
import type * as Cedar from "@cedar-policy/cedar-wasm/nodejs";
import { CodomainError } from "../base/errors.ts";
import { type PermitTerms, readTerms } from "./cedar-annotations.ts";
import type { Evaluation } from "./point-question.ts";

/**
 * What policies may speak of. `Anonymous` is who has not proved who he is: he is of no domain, and a policy that names a
 * `User` never means him.
 */
export const CEDAR_SCHEMA = `
entity Domain;
entity User in [Domain];
entity Anonymous;
action subscribe appliesTo {
  principal: [User, Anonymous], resource: [User], context: { event: String, sphere?: String, time: datetime }
};
action message, invite appliesTo {
  principal: [User, Anonymous], resource: [User], context: { sphere?: String, time: datetime }
};
`;

/** What is wrong with a policy file, and where. */
export interface CedarFault {
  /** 1-based. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

export type CedarDecision =
  /** Names of the policies that permit it, and on what terms. */
  | { readonly decision: "permit"; readonly by: readonly (PermitTerms & { readonly name: string })[] }
  /** By which policies; none: nothing permits it. */
  | { readonly decision: "forbid"; readonly by: readonly string[] }
  /** A policy could not be evaluated: its `forbid` may be the one that counts. */
  | { readonly decision: "failed"; readonly reason: string };

interface Named {
  readonly name: string;
  readonly terms: PermitTerms;
}

let loaded: typeof Cedar | null = null;
let instances = 0;

/** 14 MB of memory and 50 ms at first, 100 MB with policies in it: only for who has configured it. */
function cedar(): typeof Cedar {
  if (loaded !== null) return loaded;
  try {
    loaded = createRequire(import.meta.url)("@cedar-policy/cedar-wasm/nodejs") as typeof Cedar;
  } catch (cause) {
    throw new CodomainError("cedar", "The package @cedar-policy/cedar-wasm cannot be loaded: run npm ci.", { cause });
  }
  return loaded;
}

/** Syntax, types by the schema, and annotations; empty: nothing is wrong. */
export function checkCedar(text: string): readonly CedarFault[] {
  const engine = cedar();
  const policies = { staticPolicies: text };
  const parsed = engine.checkParsePolicySet(policies);
  if (parsed.type === "failure") return parsed.errors.map((error) => faultOf(text, error));
  const faults: CedarFault[] = [];
  const validation = engine.validate({ schema: CEDAR_SCHEMA, policies });
  if (validation.type === "failure") faults.push(...validation.errors.map((error) => faultOf(text, error)));
  else {
    for (const { error } of validation.validationErrors) {
      const fault = faultOf(text, error);
      const again = faults.some(({ line, column }) => line === fault.line && column === fault.column);
      if (!again) faults.push(fault);
    }
  }
  let from = 0;
  for (const { source, json } of partsOf(text)) {
    const start = Math.max(from, text.indexOf(source, from));
    from = start + source.length;
    const terms = json.effect === "permit" ? readTerms(json.annotations ?? {}) : null;
    if (typeof terms === "string") faults.push({ ...placeOf(text, start), message: terms });
  }
  return faults;
}

/** Policies ready to be asked. */
export class CedarPolicies {
  readonly #id = `codomain-${++instances}`;
  /** By the number of the policy in its file, which the engine names it by. */
  readonly #named: readonly Named[];
  /** What is decided depends on the time, or on the sphere the user is in. */
  readonly timed: boolean;
  readonly bySphere: boolean;

  /** @throws CodomainError where something is wrong with the policies. */
  constructor(text: string) {
    const [fault] = checkCedar(text);
    if (fault !== undefined) {
      throw new CodomainError("cedar", `The Cedar policies have a fault in line ${fault.line}: ${fault.message}`);
    }
    this.#named = partsOf(text).map(({ json }, index) => {
      const annotations = json.annotations ?? {};
      return { name: annotations["id"] ?? `policy ${index + 1}`, terms: readTerms(annotations) as PermitTerms };
    });
    this.timed = /\bcontext\s*(?:\.\s*time\b|\[)/.test(text);
    this.bySphere = /\bcontext\s*(?:\.\s*sphere\b|\[)/.test(text);
    cedar().preparsePolicySet(this.#id, { staticPolicies: text });
  }

  decide({ subject, action, resource, context }: Evaluation): CedarDecision {
    const principal = { type: subject.type === "user" ? "User" : "Anonymous", id: subject.id };
    const user = { type: "User", id: resource.id };
    const entities = [entity(principal, subject.properties)];
    if (principal.type !== "User" || principal.id !== user.id) entities.push(entity(user, resource.properties));
    const answer = cedar().statefulIsAuthorized({
      preparsedPolicySetId: this.#id,
      principal,
      action: { type: "Action", id: action.name },
      resource: user,
      context: {
        time: { __extn: { fn: "datetime", arg: context.time } },
        ...(action.properties ?? {}),
        ...(context.sphere === undefined ? {} : { sphere: context.sphere }),
      },
      entities,
    });
    if (answer.type === "failure") return { decision: "failed", reason: messageOf(answer.errors) };
    const { decision, diagnostics } = answer.response;
    const [failed] = diagnostics.errors;
    if (failed !== undefined) {
      return { decision: "failed", reason: `${this.#nameOf(failed.policyId)}: ${failed.error.message}` };
    }
    const by = diagnostics.reason.map((id) => numberOf(id)).sort((a, b) => a - b);
    if (decision === "deny") return { decision: "forbid", by: by.map((n) => this.#named[n]?.name ?? "") };
    return { decision: "permit", by: by.flatMap((n) => this.#permit(n)) };
  }

  /** What the engine keeps of them is given up. */
  close(): void {
    cedar().preparsePolicySet(this.#id, { staticPolicies: "" });
  }

  #permit(number: number): (PermitTerms & { readonly name: string })[] {
    const named = this.#named[number];
    return named === undefined ? [] : [{ name: named.name, ...named.terms }];
  }

  #nameOf(id: string): string {
    return this.#named[numberOf(id)]?.name ?? id;
  }
}

function entity(uid: Cedar.TypeAndId, properties: { readonly domain: string } | undefined): Cedar.EntityJson {
  return { uid, attrs: {}, parents: properties === undefined ? [] : [{ type: "Domain", id: properties.domain }] };
}

function numberOf(policyId: string): number {
  return Number(/\d+$/.exec(policyId)?.[0] ?? -1);
}

function partsOf(text: string): { readonly source: string; readonly json: Cedar.PolicyJson }[] {
  const parts = cedar().policySetTextToParts(text);
  if (parts.type === "failure") return [];
  return parts.policies.flatMap((source) => {
    const answer = cedar().policyToJson(source);
    return answer.type === "success" ? [{ source, json: answer.json }] : [];
  });
}

function faultOf(text: string, error: Cedar.DetailedError): CedarFault {
  const octets = error.sourceLocations?.[0]?.start ?? 0;
  const start = Buffer.from(text, "utf8").subarray(0, octets).toString("utf8").length;
  return { ...placeOf(text, start), message: messageOf([error]) };
}

function placeOf(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: before[before.length - 1]!.length + 1 };
}

function messageOf([error]: readonly Cedar.DetailedError[]): string {
  if (error === undefined) return "It cannot be understood.";
  const text = error.message.replace(/^failed to parse [a-z ]+: /, "").replace(/^for policy `[^`]*`, /, "");
  return `${text}${error.help === null || error.help === undefined ? "" : ` (${error.help})`}.`;
}
