import type { UserRecord } from "../directory/directory.ts";
import type { ModelFacts } from "./facts.ts";

/** Which model a user has: his own record beats the configuration's `models`, whose first match wins, else partitioned. */

export interface ModelRule {
  /** Glob over the canonical AoR; `*` is any run of characters, nothing else is special. */
  readonly match: string;
  readonly model: ModelFacts;
}

export interface FoundModel {
  readonly model: ModelFacts;
  /** `user record`, `models[0] *@example.com`, `default`. */
  readonly from: string;
}

export interface ModelTable {
  readonly rules: readonly { readonly matches: (aor: string) => boolean; readonly found: FoundModel }[];
}

const PARTITIONED: ModelFacts = Object.freeze({ model: "partitioned" });
const DEFAULT: FoundModel = Object.freeze({ model: PARTITIONED, from: "default" });

export function compileModels(rules: readonly ModelRule[]): ModelTable {
  return {
    rules: rules.map((rule, index) => ({
      matches: compileGlob(rule.match),
      found: Object.freeze({ model: rule.model, from: `models[${index}] ${rule.match}` }),
    })),
  };
}

export function modelOf(table: ModelTable, aor: string, record: UserRecord | null): FoundModel {
  if (record?.model == null) return configuredFor(table, aor);
  const { model, settings } = record;
  const names = settings["style"] ?? settings["tree"] ?? settings["servers"];
  if (model === "unioned" && names === undefined) {
    const configured = configuredFor(table, aor);
    if (configured.model.model === model) return configured;
  }
  return { model: modelOfRecord(model, settings), from: "user record" };
}

function configuredFor(table: ModelTable, aor: string): FoundModel {
  for (const rule of table.rules) if (rule.matches(aor)) return rule.found;
  return DEFAULT;
}

/** A record's settings are free-form: what is missing or makes no sense there has its default. */
function modelOfRecord(model: NonNullable<UserRecord["model"]>, settings: UserRecord["settings"]): ModelFacts {
  if (model === "exclusive") {
    return {
      model,
      conflict: settings["conflict"] === "refuse" ? "refuse" : "takeover",
      refuseWith: settings["refuse-with"] === 302 ? 302 : 403,
    };
  }
  if (model === "unioned") {
    const { style, tree, servers } = settings;
    return {
      model,
      style: style === "peer" || (style !== "hierarchical" && tree === undefined) ? "peer" : "hierarchical",
      ...(typeof tree === "string" ? { tree } : {}),
      ...(Array.isArray(servers) ? { servers: servers.filter((each) => typeof each === "string") } : {}),
    };
  }
  return PARTITIONED;
}

/** A match takes time linear in the AoR for one `*`, and never more than |glob| x |AoR|; AoRs are compared canonically. */
export function compileGlob(glob: string): (aor: string) => boolean {
  const at = glob.lastIndexOf("@");
  const parts = (at === -1 ? glob : glob.slice(0, at) + glob.slice(at).toLowerCase()).split("*");
  const first = parts[0]!;
  if (parts.length === 1) return (aor) => aor === first;
  const last = parts[parts.length - 1]!;
  const middle = parts.slice(1, -1);
  return (aor) => {
    if (aor.length < first.length + last.length || !aor.startsWith(first) || !aor.endsWith(last)) return false;
    const end = aor.length - last.length;
    let from = first.length;
    for (const part of middle) {
      const found = aor.indexOf(part, from);
      if (found === -1 || found + part.length > end) return false;
      from = found + part.length;
    }
    return true;
  };
}
