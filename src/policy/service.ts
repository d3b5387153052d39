import type { Directory } from "../directory/directory.ts";
import type { UserDocuments } from "../directory/user-documents.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { AuthzenClient } from "./authzen-client.ts";
import { CedarDecider } from "./cedar-decider.ts";
import type { Decider, Defaults } from "./decider.ts";
import { NO_POLICY_OPTIONS, type PointOptions, type PolicyOptions, type Way } from "./options.ts";
import { PointDecider } from "./point-decider.ts";
import {
  type Contact,
  NO_POLICY,
  type Policy,
  type PolicyExplanation,
  type Question,
  type SenderVerdict,
  type WatcherVerdict,
} from "./policy.ts";
import { RuleBook } from "./rule-book.ts";
import { RuleDecider } from "./rule-decider.ts";

export interface PolicyParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "onChange" | "tellVerdicts"> & { readonly documents: Pick<UserDocuments, "get"> };
}

/**
 * The policy of a proxy: for each user the way of his domain decides. It lives as long as the proxy; what is configured may
 * change under it, and then everybody's verdict may be another.
 */
export class PolicyService implements Policy {
  readonly #parts: PolicyParts;
  readonly #rules: RuleDecider;
  readonly #listeners = new Set<(aor: string | null) => void>();
  readonly #endFeed: () => void;
  #options: PolicyOptions = NO_POLICY_OPTIONS;
  #active = false;
  /** Way `pdp`; null: no domain has it. */
  #point: Decider | null = null;

  /** @throws CodomainError where Cedar policies cannot be read. */
  constructor(parts: PolicyParts, options: PolicyOptions) {
    this.#parts = parts;
    const book = new RuleBook(parts.directory.documents);
    this.#rules = new RuleDecider(parts.runtime, book, (aor) => this.defaultsOf(aor));
    this.configure(options);
    this.#endFeed = parts.directory.onChange((change) => {
      if (change.kind === "verdicts") return this.#changedHere(change.aor === "" ? null : change.aor);
      const whose = book.changed(change);
      if (whose !== undefined) this.#tell(whose);
    });
  }

  get active(): boolean {
    return this.#active;
  }

  watcher(question: Question): WatcherVerdict | Promise<WatcherVerdict> {
    return this.#deciderOf(question.aor)?.watcher(question) ?? NO_POLICY.watcher(question);
  }

  sender(question: Question, method: Contact): SenderVerdict | Promise<SenderVerdict> {
    return this.#deciderOf(question.aor)?.sender(question, method) ?? NO_POLICY.sender(question, method);
  }

  onChange(listener: (aor: string | null) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** @throws CodomainError where Cedar policies cannot be read: then all is as it was. */
  configure(options: PolicyOptions): void {
    if (JSON.stringify(options) === JSON.stringify(this.#options)) return;
    if (JSON.stringify(options.point) !== JSON.stringify(this.#options.point)) {
      const point = options.point === null ? null : createPoint(this.#parts, options.point);
      this.#point?.stop();
      this.#point = point;
    }
    this.#options = options;
    this.#active = Object.values(options.domains).some((each) => each.way !== "distributed");
    this.#tell(null);
  }

  /**
   * A change push: what is remembered of verdicts about this user, or about anybody, is asked anew, here from now on and by
   * every proxy as soon as the feed has told it.
   */
  changed(aor: string | null): void {
    this.#forget(aor);
    this.#parts.directory.tellVerdicts(aor ?? "").catch(() => this.#changedHere(aor));
  }

  governs(aor: string): boolean {
    return this.wayOf(aor) !== "distributed";
  }

  wayOf(aor: string): Way {
    return this.#options.domains[domainIn(aor)]?.way ?? "distributed";
  }

  /** What holds for a user without rules of his own. */
  defaultsOf(aor: string): Defaults {
    return this.#options.domains[domainIn(aor)] ?? { presence: "block", contact: "block" };
  }

  /** @param method null: he wants to watch. Asks as a request would. */
  async explain(question: Question, method: Contact | null): Promise<PolicyExplanation> {
    const way = this.wayOf(question.aor);
    const how = (await this.#deciderOf(question.aor)?.explain(question, method)) ?? [];
    if (method !== null) {
      const { allowed, rule, known } = await this.sender(question, method);
      return explanation(way, known ? (allowed ? "allow" : "block") : "unknown", rule, null, how);
    }
    const { handling, rule, until, known } = await this.watcher(question);
    return explanation(way, known ? handling : "unknown", rule, until, how);
  }

  stop(): void {
    this.#endFeed();
    this.#rules.stop();
    this.#point?.stop();
    this.#listeners.clear();
  }

  #deciderOf(aor: string): Decider | null {
    const way = this.wayOf(aor);
    if (way === "distributed") return null;
    return way === "pdp" ? this.#point : this.#rules;
  }

  #changedHere(aor: string | null): void {
    this.#forget(aor);
    this.#tell(aor);
  }

  #forget(aor: string | null): void {
    this.#rules.changed(aor);
    this.#point?.changed(aor);
  }

  #tell(aor: string | null): void {
    for (const listener of [...this.#listeners]) listener(aor);
  }
}

function createPoint({ runtime, telemetry }: PolicyParts, options: PointOptions): Decider {
  if (options.kind === "cedar") return new CedarDecider(runtime, options);
  return new PointDecider(runtime, new AuthzenClient(runtime, telemetry, options), options);
}

function explanation(
  way: Way,
  decision: string,
  rule: string,
  until: number | null,
  how: readonly string[],
): PolicyExplanation {
  const text = until === null ? null : new Date(until).toISOString();
  const lines = [`policy ${way}: ${decision}, by ${rule}`, ...how];
  return { way, decision, rule, until: text, lines: text === null ? lines : [...lines, `judged anew at ${text}`] };
}

function domainIn(aor: string): string {
  return aor.slice(aor.lastIndexOf("@") + 1).toLowerCase();
}
