import type { RequestParts, WirePeer } from "./wire.ts";
import { field, fields, responseText } from "./wire.ts";

/** A PIDF document (RFC 3863) with one tuple. */
export function pidf(aor: string, basic: "open" | "closed", tuple = "t1"): string {
  return `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:${aor}"><tuple id="${tuple}"><status><basic>${basic}</basic></status></tuple></presence>`;
}

export function subscribeParts(
  peer: Pick<WirePeer, "host" | "port">,
  presentity: string,
  watcher: string,
  expires = 600,
): RequestParts {
  const user = watcher.split("@")[0];
  return {
    method: "SUBSCRIBE",
    uri: `sip:${presentity}`,
    from: `sip:${watcher}`,
    headers: [
      `Contact: <sip:${user}@${peer.host}:${peer.port}>`,
      "Event: presence",
      `Expires: ${expires}`,
      "Accept: application/pidf+xml",
    ],
  };
}

export function publishParts(aor: string, basic: "open" | "closed", ifMatch?: string): RequestParts {
  return {
    method: "PUBLISH",
    uri: `sip:${aor}`,
    from: `sip:${aor}`,
    headers: [
      "Event: presence",
      "Expires: 600",
      ...(ifMatch === undefined ? [] : [`SIP-If-Match: ${ifMatch}`]),
      "Content-Type: application/pidf+xml",
    ],
    body: pidf(aor, basic),
  };
}

export function messageParts(to: string, from: string, text = "hello"): RequestParts {
  return {
    method: "MESSAGE",
    uri: `sip:${to}`,
    from: `sip:${from}`,
    headers: ["Content-Type: text/plain"],
    body: text,
  };
}

export function registerParts(peer: Pick<WirePeer, "host" | "port">, aor: string, expires = 600): RequestParts {
  const [user, domain] = aor.split("@");
  return {
    method: "REGISTER",
    uri: `sip:${domain}`,
    from: `sip:${aor}`,
    to: `sip:${aor}`,
    headers: [`Contact: <sip:${user}@${peer.host}:${peer.port}>`, `Expires: ${expires}`],
  };
}

/** Answers NOTIFY and MESSAGE with 200 as they come, as a user's phone does. */
export function answering(peer: WirePeer): WirePeer {
  peer.onMessage = (message) => {
    if (message.status !== 0) return;
    if (message.method === "NOTIFY" || message.method === "MESSAGE") {
      peer.send(responseText(message.text, 200, "OK"), message.host, message.port);
    }
  };
  return peer;
}

/** The next SUBSCRIBE within the dialog that `notify` made, along its route set (RFC 3261 12.1.1, RFC 6665 4.4.1). */
export function refreshParts(
  peer: Pick<WirePeer, "host" | "port">,
  notify: string,
  cseq: number,
  expires: number,
): RequestParts {
  const contact = /<([^>]+)>/.exec(field(notify, "Contact") ?? "")?.[1] ?? "";
  const routes = (notify.match(/^Record-Route: .*$/gim) ?? []).flatMap((line) => line.slice(14).split(","));
  return {
    method: "SUBSCRIBE",
    uri: contact,
    from: field(notify, "To") ?? "",
    to: field(notify, "From") ?? "",
    callId: field(notify, "Call-ID") ?? "",
    cseq,
    headers: [
      ...routes.map((route) => `Route: ${route.trim()}`),
      `Contact: <sip:watcher@${peer.host}:${peer.port}>`,
      "Event: presence",
      `Expires: ${expires}`,
    ],
  };
}

/** The next SUBSCRIBE within the dialog that the 2xx to the first one made, along its route set (RFC 3261 12.1.2). */
export function resubscribeParts(
  peer: Pick<WirePeer, "host" | "port">,
  answer: string,
  cseq: number,
  expires: number,
): RequestParts {
  const routes = fields(answer, "Record-Route").flatMap((value) => value.split(",").map((each) => each.trim()));
  return {
    method: "SUBSCRIBE",
    uri: /<([^>]+)>/.exec(field(answer, "Contact") ?? "")?.[1] ?? "",
    from: field(answer, "From") ?? "",
    to: field(answer, "To") ?? "",
    callId: field(answer, "Call-ID") ?? "",
    cseq,
    headers: [
      ...routes.reverse().map((route) => `Route: ${route}`),
      `Contact: <sip:watcher@${peer.host}:${peer.port}>`,
      "Event: presence",
      `Expires: ${expires}`,
    ],
  };
}
