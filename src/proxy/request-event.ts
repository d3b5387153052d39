import { originText, planSummary } from "../federation/explain.ts";
import type { Events } from "../telemetry/events.ts";
import type { Exchange } from "./exchange.ts";

type RequestEnd = Events["request"];

/** What is told of a request that came to its end. Texts are made when somebody reads them: who only counts does not. */
export class RequestEvent implements RequestEnd {
  readonly status: number;
  readonly durationMs: number;
  readonly #exchange: Exchange;

  constructor(exchange: Exchange, status: number, durationMs: number) {
    this.#exchange = exchange;
    this.status = status;
    this.durationMs = durationMs;
  }

  get method(): string {
    return this.#exchange.method;
  }

  get callId(): string {
    return this.#exchange.request.callId;
  }

  get domain(): string {
    const { aor } = this.#exchange;
    return aor.slice(aor.lastIndexOf("@") + 1);
  }

  get user(): string {
    const { aor } = this.#exchange;
    return aor.slice(0, Math.max(0, aor.lastIndexOf("@")));
  }

  get origin(): string {
    return originText(this.#exchange.origin);
  }

  get plan(): string {
    const { plan } = this.#exchange;
    return plan === null ? "" : planSummary(plan);
  }

  get reasons(): readonly string[] {
    return this.#exchange.plan?.reasons ?? [];
  }
}
