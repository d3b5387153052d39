import type { Directory, DirectoryCache } from "../directory/directory.ts";
import type { Explanation } from "../federation/explain.ts";
import type { DecisionSettings } from "../federation/facts.ts";
import type { ModelTable } from "../federation/model.ts";
import type { UnionView } from "../federation/plan.ts";
import type { Algorithm } from "../federation/routing-choice.ts";
import type { Checker } from "../moving/checker.ts";
import type { Way } from "../policy/options.ts";
import type { Handling } from "../policy/policy.ts";

/** What the admin API asks of the program around it, and no more. */

export interface ExplainQuestion {
  readonly method: string;
  /** Canonical. */
  readonly aor: string;
  /** Server the request comes from; absent: a client. */
  readonly from?: string;
  readonly watcher?: string;
  readonly event?: string;
  /** Of the listener it comes to; absent: up. */
  readonly direction?: "up" | "down";
}

export interface ServerState {
  readonly name: string;
  /** In rotation: not drained, and at least one node answers. */
  readonly up: boolean;
  readonly drained: boolean;
  readonly nodes: readonly { readonly uri: string; readonly up: boolean; readonly consecutiveFailures: number }[];
  /** Methods whose success shows that a user lives there, as checked. */
  readonly proves: readonly string[];
  /** Marks that failed their check. */
  readonly proofRemoved: readonly string[];
}

export interface ProxyPort {
  explain(question: ExplainQuestion): Promise<Explanation>;
  /** Of whom a subscription to a unioned user is made; null: he is of another model. */
  children(aor: string, view: UnionView): Promise<readonly string[] | null>;
  servers(): readonly ServerState[];
  readonly rotation: {
    /** False: there is no such server. */
    drain(name: string, drained: boolean): boolean;
  };
  readonly draining: boolean;
  /** Requests that have no final answer yet. */
  readonly open: number;
  readonly models: ModelTable;
  readonly settings: Pick<DecisionSettings, "unions">;
  readonly openForks: { readonly size: number; readonly waiting: number };
  readonly subscriptionForks: { readonly size: number };
}

/** Brings users' rules to the servers that keep their own. */
export interface PusherPort {
  /** Everybody's rules are compared with what was pushed. */
  sweep(): void;
}

export interface PolicyPort {
  /** Who decides about a user of this AoR. */
  wayOf(aor: string): Way;
  /** What holds for a user of this AoR who has no rules. */
  defaultsOf(aor: string): { readonly presence: Handling; readonly contact: "allow" | "block" };
  /** A decision point elsewhere decides otherwise now; null: about anybody. */
  changed(aor: string | null): void;
}

/** One value of a metric. */
export interface Count {
  readonly labels: Readonly<Partial<Record<string, string | number>>>;
  readonly value: number;
}

export interface AdminOptions {
  readonly listen: {
    /** An IP address without brackets. */
    readonly host: string;
    /** 0: any free one. */
    readonly port: number;
    /** Bearer token; null: none is asked for, which only a loopback address may. */
    readonly token: string | null;
  };
  readonly version: string;
  readonly directory: Directory;
  readonly cache: Pick<DirectoryCache, "size">;
  /** What is decided here of who may see and reach whom; absent: nothing. */
  readonly policy?: PolicyPort;
  readonly pusher?: PusherPort | null;
  readonly proxy: ProxyPort;
  /** Runs batches of moves; told when there is something new. @param id of the batch that was steered. */
  readonly mover: { wake(id?: string): void };
  /** Asks servers whether they have a user. */
  readonly checker: Pick<Checker, "look" | "repair" | "askable">;
  /** Domains served now, the default one first. */
  readonly domains: () => readonly string[];
  /** Which of his servers get the messages of a user who has not set it himself. */
  readonly routing: () => Algorithm;
  /** Digest realm of passwords set now. */
  readonly realm: () => string;
  /** Canonical `user@host` of an address as written, with or without its scheme; undefined: it is none. */
  readonly canonicalAor: (text: string) => string | undefined;
  /** Where SIP is listened on; empty: nowhere. */
  readonly listening: () => readonly unknown[];
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
  /** Values of one metric. */
  readonly counts: (name: string) => Promise<readonly Count[]>;
  /** Takes over the configuration file as it is now, and tells what changed; null: there is no file. Throws a UsageError that names every fault. */
  readonly reload: (() => readonly string[]) | null;
  /** Something unexpected, for the log. */
  readonly warn: (what: string, detail: string) => void;
}
