import type { HttpAnswer, HttpClient, Runtime, Timer } from "../runtime/runtime.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { Breaker } from "./breaker.ts";
import type { AuthzenOptions } from "./options.ts";
import { type PointAnswer, readAnswer } from "./point-answer.ts";
import type { Evaluation } from "./point-question.ts";

/** Why a decision point gave no decision. */
class PointUnavailable extends Error {}

/** Questions that wait for a connection at most; one more is told at once that nobody can be asked. */
const MOST_WAITING = 10_000;
/** Of an answer. */
const MOST_OCTETS = 1024 * 1024;

interface Asked {
  readonly evaluation: Evaluation;
  readonly resolve: (answer: PointAnswer) => void;
  readonly reject: (error: PointUnavailable) => void;
  readonly patience: Timer;
  /** It was sent, and no answer came. */
  tried: boolean;
  settled: boolean;
}

interface Endpoints {
  readonly evaluation: string;
  /** null: it takes one question at a time. */
  readonly evaluations: string | null;
}

/**
 * A client of the OpenID AuthZEN Authorization API 1.0. Questions of one moment go in one request (Access Evaluations), and
 * so do those that had to wait for a connection; a point that has no such endpoint is asked one by one. Where it is, it
 * tells by itself (`/.well-known/authzen-configuration`), on its own origin only, for the token goes there. After failures
 * in a row nobody is kept waiting until it has been tried again.
 */
export class AuthzenClient {
  readonly #runtime: Runtime;
  readonly #options: AuthzenOptions;
  readonly #http: HttpClient;
  readonly #breaker: Breaker;
  #endpoints: Endpoints | null = null;
  #discovering = false;
  #waiting: Asked[] = [];
  #running = 0;
  #scheduled = false;
  #stopped = false;

  constructor(runtime: Runtime, telemetry: Telemetry, options: AuthzenOptions) {
    this.#runtime = runtime;
    this.#options = options;
    const { connections, ca, url } = options;
    this.#http = runtime.network.http({ connections, ...(ca === null ? {} : { ca }) });
    this.#breaker = new Breaker(runtime.clock, (up, reason) => telemetry.emit("decisionPoint", { url, up, reason }));
  }

  /** Rejects with a PointUnavailable, within the time limit. */
  ask(evaluation: Evaluation): Promise<PointAnswer> {
    return new Promise((resolve, reject) => {
      const refused = this.#refusal();
      if (refused !== null) {
        reject(new PointUnavailable(refused));
        return;
      }
      const patience = this.#runtime.timers.after(this.#options.timeoutMs, () => fail(asked, "no answer in time"));
      const asked: Asked = { evaluation, resolve, reject, patience, tried: false, settled: false };
      this.#waiting.push(asked);
      this.#schedule();
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const each of this.#waiting.splice(0)) fail(each, "stopped");
    this.#http.close();
  }

  #refusal(): string | null {
    if (this.#stopped) return "stopped";
    if (this.#waiting.length >= MOST_WAITING) return "too many questions wait";
    return this.#breaker.isOpen ? "it did not answer lately" : null;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#runtime.timers.soon(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#stopped) return;
    this.#waiting = this.#waiting.filter((each) => !each.settled);
    if (this.#waiting.length === 0) return;
    if (this.#endpoints === null) {
      void this.#discover();
      return;
    }
    // One at a time, until it is known to be back.
    const most = this.#breaker.isDoubtful ? 1 : this.#options.connections;
    while (this.#running < most && this.#waiting.length > 0) {
      const size = this.#endpoints.evaluations === null ? 1 : this.#options.batch;
      void this.#send(this.#waiting.splice(0, size), this.#endpoints);
    }
  }

  /** AuthZEN 1.0, Policy Decision Point Metadata. A point without it is where the standard says. */
  async #discover(): Promise<void> {
    if (this.#discovering) return;
    this.#discovering = true;
    const { url } = this.#options;
    const base = new URL(url);
    const place = `${base.origin}/.well-known/authzen-configuration${base.pathname.replace(/\/$/, "")}`;
    try {
      this.#endpoints = endpointsOf(url, await this.#request("GET", place, null));
    } catch (error) {
      const reason = (error as Error).message;
      this.#breaker.failed(reason);
      for (const each of this.#waiting.splice(0)) fail(each, reason);
    }
    this.#discovering = false;
    this.#flush();
  }

  async #send(batch: Asked[], endpoints: Endpoints): Promise<void> {
    this.#running++;
    try {
      const single = batch.length === 1;
      const answer = single
        ? await this.#request("POST", endpoints.evaluation, batch[0]!.evaluation)
        : await this.#request("POST", endpoints.evaluations!, { evaluations: batch.map((each) => each.evaluation) });
      if (!single && [404, 405, 501].includes(answer.status)) {
        this.#endpoints = { ...endpoints, evaluations: null };
        this.#waiting.unshift(...batch);
        return;
      }
      this.#settle(batch, answer);
    } catch (error) {
      this.#unanswered(batch, (error as Error).message);
    } finally {
      this.#running--;
      this.#flush();
    }
  }

  /** A connection that was kept may be closed as it is used again: asking twice does no harm, and is done once. */
  #unanswered(batch: readonly Asked[], reason: string): void {
    const again = this.#breaker.isDoubtful ? [] : batch.filter((each) => !each.tried && !each.settled);
    if (again.length === 0) this.#breaker.failed(reason);
    for (const each of batch) {
      if (!again.includes(each)) fail(each, reason);
      each.tried = true;
    }
    this.#waiting.unshift(...again);
  }

  #settle(batch: readonly Asked[], answer: HttpAnswer): void {
    const failure = failureOf(answer);
    const answers = failure === null ? answersOf(batch.length, answer.body) : null;
    if (answers === null) {
      const reason = failure ?? "its answer cannot be understood";
      // What is wrong with one question is no sign that it is away.
      if (answer.status !== 400) this.#breaker.failed(reason);
      if (answer.status === 404) this.#endpoints = null;
      for (const each of batch) fail(each, reason);
      return;
    }
    this.#breaker.succeeded();
    batch.forEach((each, index) => {
      const read = readAnswer(answers[index]);
      if (read === null) fail(each, "its answer cannot be understood");
      else if ("failed" in read) fail(each, read.failed);
      else succeed(each, read);
    });
  }

  #request(method: "GET" | "POST", url: string, body: unknown): Promise<HttpAnswer> {
    const { token, timeoutMs } = this.#options;
    return this.#http.request({
      method,
      url,
      headers: {
        accept: "application/json",
        ...(body === null ? {} : { "content-type": "application/json" }),
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        "x-request-id": this.#runtime.random.token(20),
      },
      body: body === null ? new Uint8Array() : Buffer.from(JSON.stringify(body), "utf8"),
      timeoutMs,
      mostOctets: MOST_OCTETS,
    });
  }
}

function succeed(asked: Asked, answer: PointAnswer): void {
  if (asked.settled) return;
  asked.settled = true;
  asked.patience.cancel();
  asked.resolve(answer);
}

function fail(asked: Asked, reason: string): void {
  if (asked.settled) return;
  asked.settled = true;
  asked.patience.cancel();
  asked.reject(new PointUnavailable(reason));
}

/** AuthZEN 1.0, Error Responses: what is no 200 says nothing about anybody. */
function failureOf({ status }: HttpAnswer): string | null {
  if (status === 200) return null;
  if (status === 401 || status === 403) return `it does not know this proxy: ${status}`;
  return `it answers ${status}`;
}

function answersOf(count: number, body: Uint8Array): readonly unknown[] | null {
  const json = jsonOf(body);
  if (count === 1) return [json];
  const answers = json !== null && typeof json === "object" && "evaluations" in json ? json.evaluations : null;
  return Array.isArray(answers) && answers.length === count ? answers : null;
}

function endpointsOf(url: string, answer: HttpAnswer): Endpoints {
  const base = url.replace(/\/$/, "");
  const standard = { evaluation: `${base}/access/v1/evaluation`, evaluations: `${base}/access/v1/evaluations` };
  const json = answer.status === 200 ? jsonOf(answer.body) : null;
  if (json === null || typeof json !== "object" || !("policy_decision_point" in json)) return standard;
  const said = json as Record<string, unknown>;
  if (String(said["policy_decision_point"]).replace(/\/$/, "") !== base) return standard;
  const evaluation = ownEndpoint(said["access_evaluation_endpoint"], base) ?? standard.evaluation;
  return { evaluation, evaluations: ownEndpoint(said["access_evaluations_endpoint"], base) };
}

function ownEndpoint(value: unknown, base: string): string | null {
  if (typeof value !== "string") return null;
  try {
    return new URL(value).origin === new URL(base).origin ? value : null;
  } catch {
    return null;
  }
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString("utf8")) as unknown;
  } catch {
    return null;
  }
}
