import type { Runtime } from "../runtime/runtime.ts";
import type { Circumstances } from "./conditions.ts";
import type { Decider, Defaults } from "./decider.ts";
import { tellContact, tellPresence } from "./explain-rules.ts";
import { identityOf } from "./identity.ts";
import { judgeContact, judgePresence, type PresenceJudgement } from "./judge.ts";
import { EVERYTHING } from "./permissions.ts";
import { ALLOWED, type Contact, type Question, type SenderVerdict, type WatcherVerdict } from "./policy.ts";
import type { RuleBook, RulesOf } from "./rule-book.ts";
import { isHimself, unknownSender, unknownWatcher, watcherVerdict } from "./verdicts.ts";

/** So soon the directory is asked again where it could not be, milliseconds. */
const AGAIN = 5000;

/**
 * Ways `root-only` and `central`: users' rules in the directory decide. They speak of presence: a subscription to who
 * watches a user (RFC 3857 4.6) is his alone, and other event packages are left to his servers.
 */
export class RuleDecider implements Decider {
  readonly #runtime: Runtime;
  readonly #book: RuleBook;
  readonly #defaults: (aor: string) => Defaults;

  constructor(runtime: Runtime, book: RuleBook, defaults: (aor: string) => Defaults) {
    this.#runtime = runtime;
    this.#book = book;
    this.#defaults = defaults;
  }

  watcher(question: Question): WatcherVerdict | Promise<WatcherVerdict> {
    if (isHimself(question)) return { ...ALLOWED, rule: "the user himself" };
    if (question.event === "presence.winfo")
      return { ...ALLOWED, handling: "block", rule: "his watchers are told to him" };
    if (question.event !== "presence") return { ...ALLOWED, rule: `rules do not speak of ${question.event || "this"}` };
    const answer = (rules: RulesOf<"pres-rules">): WatcherVerdict => this.#watcher(question, rules);
    const rules = this.#book.get(question.aor, "pres-rules");
    if (!(rules instanceof Promise)) return answer(rules);
    return rules.then(answer, () => unknownWatcher("his rules cannot be read now", this.#now + AGAIN));
  }

  sender(question: Question, method: Contact): SenderVerdict | Promise<SenderVerdict> {
    if (isHimself(question)) return { allowed: true, rule: "the user himself", known: true };
    const answer = (rules: RulesOf<"im-rules">): SenderVerdict => this.#sender(question, method, rules);
    const rules = this.#book.get(question.aor, "im-rules");
    if (!(rules instanceof Promise)) return answer(rules);
    return rules.then(answer, () => unknownSender("his rules cannot be read now"));
  }

  async explain(question: Question, method: Contact | null): Promise<readonly string[]> {
    const about = this.#about(question);
    try {
      if (method !== null) return tellContact(await this.#book.get(question.aor, "im-rules"), method, about);
      if (isHimself(question) || question.event !== "presence") return [];
      return tellPresence(await this.#book.get(question.aor, "pres-rules"), about);
    } catch {
      return ["his rules cannot be read now"];
    }
  }

  changed(aor: string | null): void {
    this.#book.forget(aor);
  }

  stop(): void {
    this.#book.forget(null);
  }

  get #now(): number {
    return this.#runtime.clock.wall();
  }

  #watcher(question: Question, rules: RulesOf<"pres-rules">): WatcherVerdict {
    const told = { until: null, bySphere: false };
    if (rules === "none") {
      const { presence } = this.#defaults(question.aor);
      return watcherVerdict(presence, EVERYTHING, { ...told, rule: "default" });
    }
    if (rules === "unreadable") return { ...ALLOWED, handling: "block", rule: "his rules cannot be understood" };
    const judgement = judgePresence(rules, this.#about(question));
    return watcherVerdict(judgement.handling, judgement.permissions, { ...judgement, rule: ruleText(judgement) });
  }

  #sender(question: Question, method: Contact, rules: RulesOf<"im-rules">): SenderVerdict {
    if (rules === "none")
      return { allowed: this.#defaults(question.aor).contact === "allow", rule: "default", known: true };
    if (rules === "unreadable") return { allowed: false, rule: "his rules cannot be understood", known: true };
    const { allowed, matched } = judgeContact(rules, method, this.#about(question));
    return { allowed, rule: allowed ? `rule ${matched.join(", ")}` : "no rule", known: true };
  }

  #about({ watcher, trusted, sphere }: Question): Circumstances {
    return { identity: trusted ? identityOf(watcher) : null, sphere: sphere ?? null, now: this.#now };
  }
}

function ruleText({ matched }: PresenceJudgement): string {
  return matched.length === 0 ? "no rule" : `rule ${matched.join(", ")}`;
}
