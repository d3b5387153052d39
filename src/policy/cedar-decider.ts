import { LRUCache } from "lru-cache";
import type { Runtime } from "../runtime/runtime.ts";
import { type CedarDecision, CedarPolicies } from "./cedar-engine.ts";
import type { Decider } from "./decider.ts";
import { permissionsText } from "./explain-rules.ts";
import type { CedarOptions } from "./options.ts";
import { higherHandling, joinPermissions, NOTHING } from "./permissions.ts";
import { evaluationOf, questionKey } from "./point-question.ts";
import {
  ALLOWED,
  type Contact,
  type Handling,
  type Question,
  type SenderVerdict,
  type WatcherVerdict,
} from "./policy.ts";
import { watcherVerdict } from "./verdicts.ts";

/** Where policies speak of the time, what they decide is looked at again so often, milliseconds. */
const AGAIN = 60_000;
/** Decisions remembered at most, where they hang on nothing but the question. */
const MOST_KNOWN = 100_000;

/**
 * Way `pdp` without a decision point: policies in Cedar, evaluated here. A `forbid` that matches blocks; else the `permit`s
 * that match are combined as rules are (RFC 4745 10.2): the highest handling, and of those that allow, all they provide.
 */
export class CedarDecider implements Decider {
  readonly #runtime: Runtime;
  readonly #policies: CedarPolicies;
  readonly #file: string;
  readonly #known: LRUCache<string, CedarDecision>;

  /** @throws CodomainError where something is wrong with the policies. */
  constructor(runtime: Runtime, { file, text }: CedarOptions) {
    this.#runtime = runtime;
    this.#file = file;
    this.#policies = new CedarPolicies(text);
    this.#known = new LRUCache({ maxSize: MOST_KNOWN, sizeCalculation: () => 1 });
  }

  watcher(question: Question): WatcherVerdict {
    const decided = this.#decide(question, null);
    const told = { rule: this.#rule(decided), until: this.#until, bySphere: this.#policies.bySphere };
    if (decided.decision !== "permit") return { ...ALLOWED, ...told, handling: "block" };
    let handling: Handling = "block";
    let permissions = NOTHING;
    for (const each of decided.by) {
      handling = higherHandling(handling, each.handling);
      if (each.handling === "allow") permissions = joinPermissions(permissions, each.permissions);
    }
    return watcherVerdict(handling, permissions, told);
  }

  sender(question: Question, method: Contact): SenderVerdict {
    const decided = this.#decide(question, method);
    return { allowed: decided.decision === "permit", rule: this.#rule(decided), known: true };
  }

  async explain(question: Question, method: Contact | null): Promise<readonly string[]> {
    const decided = this.#decide(question, method);
    if (decided.decision === "failed") return [`a policy failed, so it is blocked: ${decided.reason}`];
    if (decided.decision === "forbid") {
      return [decided.by.length === 0 ? "no policy permits it" : `forbidden by ${decided.by.join(", ")}`];
    }
    return decided.by.map(({ name, handling, permissions }) => {
      const shown = method === null && handling === "allow" ? `, shown: ${permissionsText(permissions)}` : "";
      return `permitted by ${name}${method === null ? `: ${handling}` : ""}${shown}`;
    });
  }

  changed(): void {
    this.#known.clear();
  }

  stop(): void {
    this.#known.clear();
    this.#policies.close();
  }

  get #until(): number | null {
    return this.#policies.timed ? this.#runtime.clock.wall() + AGAIN : null;
  }

  #decide(question: Question, method: Contact | null): CedarDecision {
    const key = questionKey(question, method);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const decided = this.#policies.decide(evaluationOf(question, method, this.#runtime.clock.wall()));
    if (!this.#policies.timed) this.#known.set(key, decided);
    return decided;
  }

  #rule(decided: CedarDecision): string {
    const by =
      decided.decision === "failed"
        ? decided.reason
        : decided.by.map((each) => (typeof each === "string" ? each : each.name)).join(", ");
    return `cedar ${this.#file}: ${by === "" ? "no policy permits it" : by}`;
  }
}
