import { createHmac, timingSafeEqual } from "node:crypto";
import type { NameAddr } from "../sip/message/headers/name-addr.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { ListenPoint } from "../sip/transport/transport.ts";

/**
 * The URIs this proxy writes into Record-Route and Path, and reads back from Route. State is kept in the URI, not in a
 * table (RFC 3261 16.6 step 4): a key that shows the dialog is one we record-routed, the connection of a client that
 * cannot be connected to (RFC 5626 5.2), and the branch of a forked SUBSCRIBE, which tells whose NOTIFY this is.
 */
export interface OwnRoute {
  /** The dialog key is right for this Call-ID: the dialog was set up through us. */
  readonly authentic: boolean;
  /** Connection to send on, if the request goes towards the client; 0: none. */
  readonly connectionId: number;
  /** Branch of a forked SUBSCRIBE; -1: not forked. */
  readonly branch: number;
}

export interface OwnRouteParams {
  readonly callId: string;
  readonly connectionId?: number;
  readonly branch?: number;
}

export class RouteKeys {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  #mac(text: string): string {
    return createHmac("sha256", this.#key).update(text).digest("hex").slice(0, 16);
  }

  /** The header value `<sip:…;lr>` for a listen point. */
  write(point: ListenPoint, params: OwnRouteParams, secure: boolean): string {
    const transport = TRANSPORT_PARAMETER[point.transport];
    const scheme = secure && point.transport !== "udp" ? "sips" : "sip";
    const flow = params.connectionId === undefined ? "" : `;cf=${params.connectionId.toString(36)}`;
    const fork = params.branch === undefined ? "" : `;fb=${params.branch}`;
    const key = this.#mac(`${params.callId}|${params.connectionId ?? 0}|${params.branch ?? -1}`);
    return `<${scheme}:${point.sentBy}${transport};lr${flow}${fork};k=${key}>`;
  }

  read(uri: SipUri, callId: string): OwnRoute {
    const connectionId = Number.parseInt(uri.params.get("cf") || "0", 36) || 0;
    const branch = Number.parseInt(uri.params.get("fb") || "-1", 10);
    const given = uri.params.get("k") || "";
    const isKey = (id: string): boolean => sameText(this.#mac(`${id}|${connectionId}|${branch}`), given);
    const authentic = isKey(callId);
    // What was given out as Path outlives any call: it leads to its connection, and proves no dialog.
    const usable = authentic || (connectionId !== 0 && isKey(""));
    return { authentic, connectionId: usable ? connectionId : 0, branch: authentic ? branch : -1 };
  }

  /**
   * A Path value (RFC 3327): the same shape, keyed by nothing but the connection, for it outlives any Call-ID.
   * @param point where the registrar reaches us, which may know no transport of the client's.
   */
  path(point: ListenPoint, connectionId: number): string {
    return this.write(point, { callId: "", connectionId }, false);
  }
}

function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

const TRANSPORT_PARAMETER: Readonly<Record<ListenPoint["transport"], string>> = {
  udp: "",
  tcp: ";transport=tcp",
  tls: ";transport=tls",
  ws: ";transport=ws",
  wss: ";transport=ws",
};

/** A Route value's URI, if it is a SIP URI that could be ours. */
export function sipUriOf(route: NameAddr): SipUri | undefined {
  return route.uri.kind === "sip" ? route.uri : undefined;
}
