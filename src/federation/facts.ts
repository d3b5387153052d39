import type { Lookup, ModelName } from "../directory/directory.ts";

/** Where a request came from (models.md, "The way of one request"). */
export type Origin =
  | { readonly kind: "server"; readonly server: string }
  | { readonly kind: "client"; readonly authenticated: string | null }
  | { readonly kind: "peer"; readonly domain: string }
  | { readonly kind: "unknown" };

export type Onward = "none" | "up" | "children" | "both";

/** One federated server as the decision needs to know it. */
export interface ServerFacts {
  readonly name: string;
  /** In rotation: at least one node answers and an admin did not drain it. */
  readonly up: boolean;
  readonly drained: boolean;
  /** Methods whose success shows that the user lives there; marks that failed their check are gone already. */
  readonly proves: readonly string[];
  /** Requests it sends that bind: `register`, `publish`. */
  readonly claims: readonly ("register" | "publish")[];
  readonly onward: Onward;
}

/** How a user's model was found, and its settings. */
export type ModelFacts =
  | { readonly model: "partitioned" }
  | { readonly model: "exclusive"; readonly conflict: "takeover" | "refuse"; readonly refuseWith: 403 | 302 }
  | { readonly model: "unioned"; readonly style: "hierarchical" | "peer"; readonly tree?: string; readonly servers?: readonly string[] };

/** Everything `decide` may look at. Plain data: what traffic runs on, `explain` and tests can make by hand. */
export interface Facts {
  readonly method: string;
  /** Event package of SUBSCRIBE, NOTIFY and PUBLISH; empty elsewhere. */
  readonly event: string;
  readonly origin: Origin;
  /** Canonical AoR the request is for. */
  readonly aor: string;
  /** Canonical AoR of the watcher or sender, and whether it may be believed. */
  readonly sender: { readonly aor: string; readonly trusted: boolean };
  readonly lookup: Lookup | { readonly state: "unavailable" };
  readonly model: ModelFacts;
  /** Which rule gave the model: `users record`, `models[0] *@example.com`, `default`. */
  readonly modelFrom: string;
  /** In order of configuration. */
  readonly servers: readonly ServerFacts[];
  readonly settings: DecisionSettings;
  /** Set when the stored 404 from the server learned has made this a second attempt: fork without these, once. */
  readonly without: readonly string[];
}

export interface DecisionSettings {
  /** Where an unbound user's REGISTER goes, and a partitioned user's PUBLISH; null: nowhere. */
  readonly home: string | null;
  /** `redirect`: 302 in place of relaying (draft, "Redirect Server"). */
  readonly routing: "proxy" | "redirect";
  /** Server name -> subdomain host, where users are handed out or rewritten as `user@host` (draft, "Subdomaining"). */
  readonly subdomains: Readonly<Record<string, string>>;
}

export type { Lookup, ModelName };
