import type { ListenPoint } from "../sip/transport/transport.ts";

/** The user part of every Contact of ours; requests to it are told apart by their To tag. */
const USER = "cdm";

const TRANSPORT_PARAMETER: Readonly<Record<ListenPoint["transport"], string>> = {
  udp: "",
  tcp: ";transport=tcp",
  tls: ";transport=tls",
  ws: ";transport=ws",
  wss: ";transport=ws",
};

/** Where requests within our dialogs are to be sent to: a URI without brackets (RFC 3261 8.1.1.8). */
export function contactAt(point: Pick<ListenPoint, "transport" | "sentBy">): string {
  return `sip:${USER}@${point.sentBy}${TRANSPORT_PARAMETER[point.transport]}`;
}

/**
 * By which the other proxies of the domain reach this one, and no other: a name may be advertised that stands for all of
 * them, and at a loopback address everybody finds himself.
 */
export function contactOfProxy(points: readonly ListenPoint[]): string {
  const distant = points.filter((each) => !LOOPBACK.test(each.host));
  const usable = distant.length > 0 ? distant : points;
  const point = usable.find((each) => each.transport === "udp") ?? usable[0];
  if (point === undefined) throw new Error("subscriptions need a listen point");
  if (WILDCARD.test(point.host)) return contactAt(point);
  const host = point.host.includes(":") ? `[${point.host}]` : point.host;
  return contactAt({ transport: point.transport, sentBy: `${host}:${point.port}` });
}

const LOOPBACK = /^(127\.|::1$)/;
const WILDCARD = /^(0\.0\.0\.0|::)$/;
