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
export function contactAt(point: ListenPoint): string {
  return `sip:${USER}@${point.sentBy}${TRANSPORT_PARAMETER[point.transport]}`;
}

/** By which the other proxies of the domain reach this one. */
export function contactOfProxy(points: readonly ListenPoint[]): string {
  const point = points.find((each) => each.transport === "udp") ?? points[0];
  if (point === undefined) throw new Error("subscriptions need a listen point");
  return contactAt(point);
}
