import type { Contact, Handling, Question, SenderVerdict, WatcherVerdict } from "./policy.ts";

/** One way of deciding: by rules, by a decision point, by policies of its own. */
export interface Decider {
  watcher(question: Question): WatcherVerdict | Promise<WatcherVerdict>;
  sender(question: Question, method: Contact): SenderVerdict | Promise<SenderVerdict>;
  /** Why, a line each; decides anew, and sends nothing that a request would not send. @param method null: he watches. */
  explain(question: Question, method: Contact | null): Promise<readonly string[]>;
  /** What was remembered of verdicts about this user, or about anybody, is not to be believed any more. */
  changed(aor: string | null): void;
  stop(): void;
}

/** Where a user has no rules of his own. */
export interface Defaults {
  readonly presence: Handling;
  readonly contact: "allow" | "block";
}
