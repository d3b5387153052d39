import type { Damping, Lookup } from "../directory/directory.ts";

/** Where a request came from (models.md, "The way of one request"). */
export type Origin =
  | { readonly kind: "server"; readonly server: string }
  /** `authenticated`: the AoR whose password or certificate was proved, null where none was. */
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
  /** It never denies a watcher by itself (`policy: none`): where it cannot be asked, the others may be shown without it. */
  readonly neverDenies: boolean;
  /** End-to-end headers that it leaves alone. */
  readonly preserves: readonly ("session-id" | "instance")[];
  /** Whether a dialog with it can be one leg of ours. */
  readonly repoint: boolean;
  /** How it is told that it has lost a user, and what of a reginfo document it acts on. */
  readonly evict: "reginfo" | "register" | "none";
  readonly reginfo: "contact" | "whole";
}

/** How a user's model was found, and its settings. */
export type ModelFacts =
  | { readonly model: "partitioned" }
  | { readonly model: "exclusive"; readonly conflict: "takeover" | "refuse"; readonly refuseWith: 403 | 302 }
  | {
      readonly model: "unioned";
      readonly style: "hierarchical" | "peer";
      readonly tree?: string;
      readonly servers?: readonly string[];
    };

/** What a REGISTER or PUBLISH says about whose user this is (`register.ts` finds it). */
export type ClaimFacts =
  /** It claims the user for the server that sent it. */
  | "claim"
  /** It gives him up for the server that sent it. */
  | "deregister"
  /** A conditional PUBLISH: renews what that server has, and claims nobody. */
  | "refresh"
  /** Of the sending server itself, but changing no binding: a PUBLISH without an open tuple. */
  | "none"
  /** A client's own request, whether he or a server on his behalf sent it; and every other method. */
  | "client";

/** Everything `decide` may look at. Plain data: what traffic runs on, `explain` and tests can make by hand. */
export interface Facts {
  /** Milliseconds since 1970: what an expiry is compared with. */
  readonly now: number;
  readonly method: string;
  /** Event package of SUBSCRIBE, NOTIFY and PUBLISH; empty elsewhere. */
  readonly event: string;
  readonly origin: Origin;
  /** Canonical AoR the request is for. */
  readonly aor: string;
  /** A SUBSCRIBE to `sip:reg@domain;server=NAME`, registrations of all that server's users: its name; else null. */
  readonly regServer: string | null;
  /** Canonical AoR of the watcher or sender, and whether it may be believed. `decide` reads it only where it must, so it may be a getter. */
  readonly sender: { readonly aor: string; readonly trusted: boolean };
  readonly lookup: Lookup | { readonly state: "unavailable" };
  /** False: the database is away. What must be stored, claimed or loop-checked gets 500. */
  readonly directoryAvailable: boolean;
  readonly model: ModelFacts;
  /** Which rule gave the model: `user record`, `models[0] *@example.com`, `default`. */
  readonly modelFrom: string;
  /** In order of configuration. */
  readonly servers: readonly ServerFacts[];
  /** Server name -> full AoR by which it knows this user, only where that differs; null: nowhere. */
  readonly identities: Readonly<Record<string, string>> | null;
  /** REGISTER and PUBLISH only; `client` elsewhere. */
  readonly claim: ClaimFacts;
  /** False: the store was asked, and nothing of this sender waits there. */
  readonly mayQueue: boolean;
  /** Of the listener it came by: a middle node of a tree sends what goes to its children to one marked `down`. */
  readonly direction: "up" | "down";
  /** Whether a credit of the asking server was spent for it; `unasked`: nobody has tried. */
  readonly credit: "unasked" | "spent" | "none";
  readonly settings: DecisionSettings;
  /** Set when a 404 from the server learned has made this a second attempt: fork without these, once. */
  readonly without: readonly string[];
}

/** A tree over servers (models.md, "Unioned, hierarchical"). */
export interface Tree {
  readonly name: string;
  readonly root: string;
  /** Server -> its children, in order; a leaf is not in it. */
  readonly children: Readonly<Record<string, readonly string[]>>;
}

export interface DecisionSettings {
  /** Where an unbound user's REGISTER goes, and a partitioned user's PUBLISH; null: nowhere. */
  readonly home: string | null;
  /** `redirect`: 302 in place of relaying (draft, "Redirect Server"). */
  readonly routing: "proxy" | "redirect";
  /** Server name -> subdomain host, where users are handed out or rewritten as `user@host` (draft, "Subdomaining"). */
  readonly subdomains: Readonly<Record<string, string>>;
  /** For whom subscriptions are held, and of which event packages while the user is on no server. */
  readonly hold: { readonly users: "known" | "any"; readonly events: readonly string[] };
  /** What becomes of a MESSAGE that cannot be delivered now. */
  readonly absentMessages: "refuse" | "store";
  /** Rules are kept here, so that users are told by us who watches them (RFC 3857). */
  readonly watcherinfo: boolean;
  /** Claims in the exclusive model. */
  readonly exclusive: {
    /** Null: takings are not counted. */
    readonly damping: Damping | null;
    /** How much longer than granted a binding lives, milliseconds. */
    readonly graceMs: number;
  };
  readonly unions: {
    readonly trees: readonly Tree[];
    /** Some listener is for what goes down in trees: nothing is told by credits. */
    readonly downListener: boolean;
    /** A server that cannot be asked: its part is waited for; `without`: those that never deny are left out. */
    readonly unreachable: "wait" | "without";
  };
  /** Retry-After where a server or the directory is away, seconds. */
  readonly retryAfter: number;
}
