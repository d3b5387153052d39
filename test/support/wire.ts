import { createSocket, type Socket } from "node:dgram";

/** One SIP message as text, with where it came from. Deliberately not our own parser: what judges the proxy must not share its faults. */
export interface WireMessage {
  readonly text: string;
  readonly host: string;
  readonly port: number;
  /** Response status, 0 for a request. */
  readonly status: number;
  /** Request method, or the CSeq's for a response. */
  readonly method: string;
}

/** A UDP peer driven by hand: says what it is told, keeps what it hears. */
export interface WirePeer {
  readonly host: string;
  readonly port: number;
  /** Everything heard so far, in order. */
  readonly heard: readonly WireMessage[];
  /** Called for every message, before it is kept. */
  onMessage: ((message: WireMessage) => void) | undefined;
  send(text: string, host: string, port: number): void;
  /** The first message, heard already or yet to come, that `wanted` accepts; each is given once. */
  next(what: string, wanted: (message: WireMessage) => boolean, ms?: number): Promise<WireMessage>;
  close(): Promise<void>;
}

interface Waiter {
  readonly wanted: (message: WireMessage) => boolean;
  readonly resolve: (message: WireMessage) => void;
}

export async function wirePeer(host: string, port = 0): Promise<WirePeer> {
  const socket: Socket = createSocket("udp4");
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(port, host, () => resolve());
  });
  const heard: WireMessage[] = [];
  const given = new Set<WireMessage>();
  const waiters = new Set<Waiter>();
  const peer: WirePeer = {
    host,
    port: socket.address().port,
    heard,
    onMessage: undefined,
    send: (text, toHost, toPort) => socket.send(Buffer.from(text, "latin1"), toPort, toHost),
    next: (what, wanted, ms = 5_000) => {
      const already = heard.find((message) => !given.has(message) && wanted(message));
      if (already !== undefined) {
        given.add(already);
        return Promise.resolve(already);
      }
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiters.delete(waiter);
          reject(
            new Error(
              `${host}:${peer.port} waited ${ms} ms for ${what}; last heard: ${heard.slice(-12).map(line).join(" | ")}`,
            ),
          );
        }, ms);
        const waiter: Waiter = {
          wanted,
          resolve: (message) => {
            clearTimeout(timer);
            resolve(message);
          },
        };
        waiters.add(waiter);
      });
    },
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
  socket.on("message", (bytes, from) => {
    const message = read(bytes.toString("latin1"), from.address, from.port);
    if (message === undefined) return;
    peer.onMessage?.(message);
    heard.push(message);
    for (const waiter of waiters) {
      if (!waiter.wanted(message)) continue;
      waiters.delete(waiter);
      given.add(message);
      waiter.resolve(message);
      return;
    }
  });
  return peer;
}

function read(text: string, host: string, port: number): WireMessage | undefined {
  const status = /^SIP\/2\.0 (\d{3})/.exec(text);
  const method =
    status === null
      ? /^([A-Z]+) \S+ SIP\/2\.0\r\n/.exec(text)?.[1]
      : /\s([A-Z]+)$/.exec(field(text, "CSeq") ?? "")?.[1];
  if (method === undefined) return undefined;
  return { text, host, port, status: status === null ? 0 : Number(status[1]), method };
}

function line(message: WireMessage): string {
  return message.text.slice(0, message.text.indexOf("\r\n"));
}

/** The first header line of this name, compact forms not looked for. */
export function field(text: string, name: string): string | undefined {
  return fields(text, name)[0];
}

export function fields(text: string, name: string): string[] {
  const head = text.split("\r\n\r\n", 1)[0] ?? "";
  return head
    .split("\r\n")
    .slice(1)
    .filter((each) => each.toLowerCase().startsWith(`${name.toLowerCase()}:`))
    .map((each) => each.slice(name.length + 1).trim());
}

let counter = 0;

export interface RequestParts {
  readonly method: string;
  readonly uri: string;
  readonly from: string;
  readonly to?: string;
  readonly callId?: string;
  readonly cseq?: number;
  readonly fromTag?: string;
  readonly branch?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

/** A request as `peer` would send it over UDP. `from` and `to` are URIs, or whole header values where they start with `<`. */
export function requestText(peer: Pick<WirePeer, "host" | "port">, parts: RequestParts): string {
  counter += 1;
  const unique = `${process.pid.toString(36)}${counter.toString(36)}`;
  const angle = (uri: string): string => (uri.includes("<") ? uri : `<${uri}>`);
  const from = angle(parts.from);
  const body = parts.body ?? "";
  return [
    `${parts.method} ${parts.uri} SIP/2.0`,
    `Via: SIP/2.0/UDP ${peer.host}:${peer.port};branch=${parts.branch ?? `z9hG4bK${unique}`};rport`,
    "Max-Forwards: 70",
    `From: ${from.includes(";tag=") ? from : `${from};tag=${parts.fromTag ?? `f${unique}`}`}`,
    `To: ${angle(parts.to ?? parts.uri)}`,
    `Call-ID: ${parts.callId ?? `c${unique}@${peer.host}`}`,
    `CSeq: ${parts.cseq ?? 1} ${parts.method}`,
    ...(parts.headers ?? []),
    `Content-Length: ${Buffer.byteLength(body, "latin1")}`,
    "",
    body,
  ].join("\r\n");
}

/** A response to `request` with its Vias, From, To, Call-ID and CSeq. `extra` lines go before Content-Length. */
export function responseText(
  request: string,
  status: number,
  reason: string,
  extra: readonly string[] = [],
  body = "",
): string {
  const to = field(request, "To") ?? "";
  return [
    `SIP/2.0 ${status} ${reason}`,
    ...fields(request, "Via").map((via) => `Via: ${via}`),
    ...fields(request, "Record-Route").map((route) => `Record-Route: ${route}`),
    `From: ${field(request, "From")}`,
    `To: ${to.includes(";tag=") || status === 100 ? to : `${to};tag=t${process.pid.toString(36)}`}`,
    `Call-ID: ${field(request, "Call-ID")}`,
    `CSeq: ${field(request, "CSeq")}`,
    ...extra,
    `Content-Length: ${Buffer.byteLength(body, "latin1")}`,
    "",
    body,
  ].join("\r\n");
}

/** Sends a request and waits for its final response. */
export async function ask(
  peer: WirePeer,
  to: { host: string; port: number },
  parts: RequestParts,
  ms = 10_000,
): Promise<WireMessage> {
  const text = requestText(peer, parts);
  const callId = field(text, "Call-ID");
  const cseq = field(text, "CSeq");
  const answer = peer.next(
    `the final response to ${parts.method} ${parts.uri}`,
    (m) => m.status >= 200 && field(m.text, "Call-ID") === callId && field(m.text, "CSeq") === cseq,
    ms,
  );
  peer.send(text, to.host, to.port);
  return answer;
}
