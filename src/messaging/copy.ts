import type { Origin } from "../federation/facts.ts";
import type { Editor } from "../sip/message/edit.ts";
import { SipRequest } from "../sip/message/message.ts";
import { parseMessage } from "../sip/message/parse.ts";
import { tryAorOf } from "../sip/message/uri.ts";

/** What the request says of its way here, and what only we were to read. */
const OURS = ["Via", "Route", "Record-Route", "Proxy-Authorization", "P-Preferred-Identity", "Max-Breadth"];

/**
 * The request as it is stored: without its way here, one hop further, with a Date where its sender gave none, so that it
 * can be told how old it is and an Expires still means what it meant (RFC 3428 8).
 * @param receivedAt milliseconds since 1970.
 */
export function storedForm(request: SipRequest, origin: Origin, receivedAt: number): string {
  const editor = request.edit();
  for (const name of OURS) editor.remove(name);
  editor.set("Max-Forwards", String((request.maxForwards ?? 70) - 1));
  // RFC 3325 5: servers are trusted, of a client we vouch for whom he authenticated as.
  if (origin.kind !== "server") {
    editor.remove("P-Asserted-Identity");
    if (origin.kind === "client" && origin.authenticated !== null) {
      editor.append("P-Asserted-Identity", `<sip:${origin.authenticated}>`);
    }
  }
  if (!request.has("Date")) editor.append("Date", new Date(receivedAt).toUTCString());
  editor.set("Content-Length", String(request.body.length));
  return editor.build().raw;
}

/**
 * The copy of one try: only the Request-URI is the server's, and so is what it calls the sender (models.md, "Proxy or
 * back-to-back"); the Via of the way is added when it is sent.
 * @param requestUri null: as it came. @param sender AoR by which the server knows the sender; null: as it came.
 */
export function copyOf(stored: string, requestUri: string | null, sender: string | null): Editor<SipRequest> {
  const message = parseMessage(stored);
  if (!(message instanceof SipRequest)) throw new TypeError("what was stored is no request");
  const editor = message.edit();
  if (requestUri !== null) editor.setRequestUri(requestUri);
  const asserted = sender === null ? undefined : message.identities.find((each) => each.uri.kind === "sip");
  if (asserted !== undefined && tryAorOf(asserted.uri) !== sender) {
    const renamed = asserted.raw.replace(asserted.uri.raw, () => `sip:${sender}`);
    editor.set(
      "P-Asserted-Identity",
      message.identities.map((each) => (each === asserted ? renamed : each.raw)).join(", "),
    );
  }
  return editor;
}

/** Where the plan knows the user by another name or subdomain, the Request-URI that says so; null: as it came. */
export function requestUriFor(
  stored: string,
  recipient: string,
  identity: string | null,
  subdomain: string | null,
): string | null {
  if (identity === null && subdomain === null) return null;
  const aor = identity ?? recipient;
  const at = aor.lastIndexOf("@");
  const scheme = /^\S+ sips:/i.test(stored) ? "sips" : "sip";
  return `${scheme}:${aor.slice(0, at)}@${subdomain ?? aor.slice(at + 1)}`;
}
