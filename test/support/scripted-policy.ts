import type { Contact, Policy, Question, SenderVerdict, WatcherVerdict } from "../../src/policy/policy.ts";
import { isElement, type XmlElement } from "../../src/presence/xml.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";

const PLAIN: WatcherVerdict = {
  handling: "allow",
  transform: null,
  transformKey: "",
  rule: "the test",
  until: null,
  bySphere: false,
  known: true,
};
export const ALLOW = PLAIN;
export const BLOCK: WatcherVerdict = { ...PLAIN, handling: "block" };
export const CONFIRM: WatcherVerdict = { ...PLAIN, handling: "confirm" };
export const POLITE_BLOCK: WatcherVerdict = { ...PLAIN, handling: "polite-block" };
export const UNKNOWN: WatcherVerdict = { ...PLAIN, handling: "block", known: false };

/** Elements of this name are taken out, wherever they stand. */
export function without(local: string): WatcherVerdict {
  const pruned = (from: XmlElement): XmlElement => ({
    ...from,
    children: from.children
      .filter((each) => !isElement(each) || each.local !== local)
      .map((each) => (isElement(each) ? pruned(each) : each)),
  });
  return { ...PLAIN, transform: pruned, transformKey: `without ${local}` };
}

/** Rules that do what a test says, the same for every proxy. A change is told to each of them as by the feed. */
export class ScriptedPolicy {
  active = true;
  /** Who has no verdict of his own gets this one. */
  otherwise: WatcherVerdict = ALLOW;
  /** Of whom rules are kept. */
  governs: (aor: string) => boolean = () => true;
  /** Where it says something, it is that. */
  decide: (question: Question) => WatcherVerdict | undefined = () => undefined;
  /** Verdicts take so long; 0: they are known at once. */
  delayMs = 0;
  /** Late answers are of the moment they were asked for. */
  isEarly = false;
  readonly asked: Question[] = [];
  readonly #watchers = new Map<string, WatcherVerdict>();
  readonly #senders = new Map<string, SenderVerdict>();
  readonly #tell = new Set<(aor: string | null) => void>();

  /** For WorldOptions. */
  readonly of = ({ runtime }: { readonly runtime: Runtime }): Policy => {
    const listeners = new Set<(aor: string | null) => void>();
    // A proxy that was killed has no timers any more.
    this.#tell.add((aor) =>
      runtime.timers.soon(() => {
        for (const each of [...listeners]) each(aor);
      }),
    );
    const answer = <T>(verdict: () => T): T | Promise<T> => {
      if (this.delayMs === 0) return verdict();
      const early = verdict();
      return new Promise((resolve) =>
        runtime.timers.after(this.delayMs, () => resolve(this.isEarly ? early : verdict())),
      );
    };
    const script = this;
    return {
      get active() {
        return script.active;
      },
      governs: (aor) => this.governs(aor),
      watcher: (question) => {
        this.asked.push(question);
        return answer(() => this.#verdict(question));
      },
      sender: (question, method) => {
        this.asked.push(question);
        return answer(() => this.#senderVerdict(question, method));
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
  };

  /** From now on, for one watcher who was proved to be it; told to all. */
  rule(watcher: string, verdict: WatcherVerdict, aor: string | null = "alice@example.com"): void {
    this.#watchers.set(watcher, verdict);
    this.tell(aor);
  }

  refuse(sender: string, method: Contact, verdict: Partial<SenderVerdict> = {}): void {
    this.#senders.set(`${method} ${sender}`, { allowed: false, rule: "the test", known: true, ...verdict });
  }

  tell(aor: string | null): void {
    for (const each of this.#tell) each(aor);
  }

  #verdict(question: Question): WatcherVerdict {
    const { watcher, trusted } = question;
    return this.decide(question) ?? (trusted ? this.#watchers.get(watcher) : undefined) ?? this.otherwise;
  }

  #senderVerdict({ watcher, trusted }: Question, method: Contact): SenderVerdict {
    const refused = trusted ? this.#senders.get(`${method} ${watcher}`) : undefined;
    return refused ?? { allowed: true, rule: "the test", known: true };
  }
}
