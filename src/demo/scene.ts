import { at, type ExampleDomain } from "./domain.ts";

/** One step of the demo: what is done, and what must be true afterwards. */
export interface Scene {
  readonly title: string;
  play(domain: ExampleDomain): Promise<readonly Check[]>;
}

export interface Check {
  readonly what: string;
  readonly holds: boolean;
  /** What was found instead. */
  readonly found?: string;
}

/** What `explain` would do with such a request. */
export async function plan(domain: ExampleDomain, method: string, user: string, wanted: string): Promise<Check> {
  const { json } = await domain.proxy.proxy.explain({ method, aor: at(user) });
  return is(`explain ${method} ${at(user)} says: ${wanted}`, json.summary, wanted);
}

export function is(what: string, found: unknown, wanted: unknown): Check {
  return found === wanted ? { what, holds: true } : { what, holds: false, found: String(found) };
}
