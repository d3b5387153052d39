import type { AuthzenOptions } from "../../src/policy/options.ts";
import type { HttpAnswer, HttpRequest } from "../../src/runtime/runtime.ts";

/** As the configuration has them where it says nothing. */
export const AUTHZEN_DEFAULTS = {
  token: null,
  ca: null,
  timeoutMs: 2000,
  cacheMs: 300_000,
  entries: 100_000,
  staleMs: 0,
  unavailable: "block",
  batch: 50,
  connections: 4,
} as const satisfies Omit<AuthzenOptions, "url">;

interface Asked {
  readonly subject: { readonly type: string; readonly id: string; readonly properties: { readonly domain: string } };
  readonly action: { readonly name: string; readonly properties?: { readonly event: string } };
  readonly resource: { readonly type: string; readonly id: string };
  readonly context: { readonly time: string; readonly sphere?: string };
}

/** A decision point of the AuthZEN Authorization API for tests: what it answers, and what it was asked. */
export class DecisionPoint {
  /** Requests, oldest first: path, and the number of questions in it. */
  readonly requests: {
    readonly path: string;
    readonly questions: readonly Asked[];
    readonly headers: Readonly<Record<string, string>>;
  }[] = [];
  decide: (asked: Asked) => unknown = () => ({ decision: true });
  /** Instead of an answer, by path; undefined: as it should be. */
  fault: (path: string) => HttpAnswer | undefined = () => undefined;
  /** Of `/.well-known/authzen-configuration`; null: it has none. */
  metadata: unknown = null;

  answer = (request: Pick<HttpRequest, "url" | "headers" | "body">): HttpAnswer => {
    const path = new URL(request.url, "http://pdp").pathname;
    const body = request.body.length === 0 ? null : (JSON.parse(Buffer.from(request.body).toString()) as unknown);
    const batch = body !== null && typeof body === "object" && "evaluations" in body;
    const questions = (batch ? body.evaluations : body === null ? [] : [body]) as Asked[];
    this.requests.push({ path, questions, headers: request.headers });
    const fault = this.fault(path);
    if (fault !== undefined) return fault;
    if (path.startsWith("/.well-known")) return this.metadata === null ? json(404, null) : json(200, this.metadata);
    if (batch) return json(200, { evaluations: questions.map((each) => this.decide(each)) });
    return json(200, this.decide(questions[0]!));
  };

  /** Of everything that was asked, `subject action resource`. */
  get asked(): string[] {
    return this.requests.flatMap(({ questions }) =>
      questions.map(({ subject, action, resource }) => `${subject.id} ${action.name} ${resource.id}`),
    );
  }

  /** Numbers of questions in the requests for decisions. */
  get sizes(): number[] {
    return this.requests.filter(({ path }) => path.includes("/access/")).map(({ questions }) => questions.length);
  }
}

export function json(status: number, value: unknown): HttpAnswer {
  return { status, headers: { "content-type": "application/json" }, body: Buffer.from(JSON.stringify(value)) };
}
