import type { Address, Runtime } from "../runtime/runtime.ts";
import type { Events, Telemetry } from "./events.ts";
import { encodeHep } from "./hep.ts";

export interface CaptureOptions {
  /** The collector: an IP address and a port, UDP. */
  readonly url: Address;
  /** Tells this proxy from other agents at the collector; 32 bits. */
  readonly agentId: number;
  /** What the collector asks agents for. */
  readonly key?: string;
}

export interface Capture {
  /** Datagrams handed to the network, and those of them and others that failed. */
  counts(): { readonly sent: number; readonly errors: number };
  stop(): Promise<void>;
}

/** Characters of a Call-ID that are told: peers choose it. */
const MAX_CALL_ID = 256;
const UDP = 17;
const TCP = 6;
/** RFC 3261 7.3.3: `i` is the compact form. */
const CALL_ID = /\r?\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)/i;

/**
 * Sends a copy of every SIP message, whole and with its body, to a Homer collector: one HEP3 datagram each, at once. Nothing waits or
 * is sent again; what fails is counted, and told once. Rejects where no socket can be had.
 */
export async function createCapture(runtime: Runtime, telemetry: Telemetry, options: CaptureOptions): Promise<Capture> {
  const { url } = options;
  let sent = 0;
  let errors = 0;
  const failed = (error: unknown): void => {
    errors++;
    if (errors > 1) return;
    const detail = error instanceof Error ? error.message : String(error);
    telemetry.emit("warning", { what: "the capture's collector cannot be reached", detail });
  };
  const any = { host: url.host.includes(":") ? "::" : "0.0.0.0", port: 0 };
  const socket = await runtime.network.udp(any, { receive: () => {}, failed });
  const end = telemetry.on("message", (event) => {
    try {
      socket.send(packet(event, runtime.clock.wall(), options), url.host, url.port);
      sent++;
    } catch (error) {
      failed(error);
    }
  });
  return {
    counts: () => ({ sent, errors }),
    stop() {
      end();
      return socket.close();
    },
  };
}

function packet(event: Events["message"], timeMs: number, { agentId, key }: CaptureOptions): Uint8Array {
  const { direction, transport, localHost, localPort, remoteHost, remotePort, raw } = event;
  const incoming = direction === "in";
  const correlationId = callIdOf(raw);
  return encodeHep({
    sourceHost: incoming ? remoteHost : localHost,
    sourcePort: incoming ? remotePort : localPort,
    destinationHost: incoming ? localHost : remoteHost,
    destinationPort: incoming ? localPort : remotePort,
    protocol: transport === "udp" ? UDP : TCP,
    timeMs,
    agentId,
    payload: raw,
    ...(key === undefined ? {} : { key }),
    ...(correlationId === undefined ? {} : { correlationId }),
  });
}

function callIdOf(raw: string): string | undefined {
  const end = raw.indexOf("\r\n\r\n");
  return (
    CALL_ID.exec(end < 0 ? raw : raw.slice(0, end))?.[1]
      ?.trim()
      .slice(0, MAX_CALL_ID) || undefined
  );
}
