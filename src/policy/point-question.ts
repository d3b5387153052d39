import type { Contact, Question } from "./policy.ts";

/** What a decision point is asked (AuthZEN 1.0, Access Evaluation Request); docs/policy.md tells operators. */
export interface Evaluation {
  readonly subject: Entity;
  readonly action: {
    readonly name: "subscribe" | "message" | "invite";
    readonly properties?: { readonly event: string };
  };
  readonly resource: Entity;
  readonly context: { readonly time: string; readonly sphere?: string };
}

interface Entity {
  /** `anonymous`: a watcher or sender who has not proved who he is; `id` is what he says, and he is of no domain. */
  readonly type: "user" | "anonymous";
  readonly id: string;
  readonly properties?: { readonly domain: string };
}

/** @param method null: he wants to watch. @param now milliseconds since 1970. */
export function evaluationOf(question: Question, method: Contact | null, now: number): Evaluation {
  const { watcher, trusted, aor, event, sphere } = question;
  return {
    subject: trusted ? { type: "user", ...named(watcher) } : { type: "anonymous", id: watcher },
    action: method === null ? { name: "subscribe", properties: { event } } : { name: actionOf(method) },
    resource: { type: "user", ...named(aor) },
    context: { time: new Date(now).toISOString(), ...(sphere == null ? {} : { sphere }) },
  };
}

/** Questions with one key have one answer, as long as it is believed. */
export function questionKey({ watcher, trusted, aor, event, sphere }: Question, method: Contact | null): string {
  return JSON.stringify([aor, watcher, trusted, method ?? event, sphere ?? null]);
}

function actionOf(method: Contact): "message" | "invite" {
  return method === "MESSAGE" ? "message" : "invite";
}

function named(aor: string): Pick<Entity, "id" | "properties"> {
  return { id: aor, properties: { domain: aor.slice(aor.lastIndexOf("@") + 1) } };
}
