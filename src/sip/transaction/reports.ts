import type { Telemetry } from "../../telemetry/events.ts";
import type { SipMessage } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";

/** What the layer lets the world know; built only where somebody listens. */
export class Reports {
  readonly #telemetry: Telemetry;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  retransmission(side: "client" | "server", method: string): void {
    if (this.#telemetry.wants("retransmission")) this.#telemetry.emit("retransmission", { side, method });
  }

  /** RFC 6026 7.2: "consider the impact of large numbers of malicious stray responses". */
  stray(kind: "response" | "cancel", message: SipMessage): void {
    if (this.#telemetry.wants("stray"))
      this.#telemetry.emit("stray", { kind, callId: message.header("Call-ID") ?? "" });
  }

  limited(what: "transactions" | "completed-transactions", source: string): void {
    if (this.#telemetry.wants("limited")) this.#telemetry.emit("limited", { what, source });
  }

  /** RFC 3261 17.2.1: Timer H "implies that the ACK was never received". */
  unacknowledged(flow: Flow, status: number): void {
    if (!this.#telemetry.wants("transportError")) return;
    this.#telemetry.emit("transportError", {
      transport: flow.transport,
      remote: remote(flow),
      reason: `no ACK came for a ${status}`,
    });
  }

  malformed(flow: Flow, error: unknown): void {
    if (!this.#telemetry.wants("malformed")) return;
    const reason = error instanceof Error ? error.message : String(error);
    this.#telemetry.emit("malformed", { transport: flow.transport, source: remote(flow), status: 0, reason });
  }
}

function remote(flow: Flow): string {
  return `${flow.remoteHost}:${flow.remotePort}`;
}
