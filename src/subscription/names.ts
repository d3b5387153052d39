import { mapBody } from "../presence/map-identity.ts";
import type { Dialog } from "../sip/dialog/dialog.ts";
import { MalformedUri } from "../sip/message/errors.ts";
import { parseUri, tryAorOf } from "../sip/message/uri.ts";
import type { Subscription } from "./subscription.ts";

/**
 * A document as the server reads it that the watcher's SUBSCRIBE came from: the user has there the name by which it asked
 * for him (models.md, "Identity and policy"). Documents of our own making (reg, winfo) are made with these names.
 */
export function bodyFor({ origin, kind, aor }: Subscription, dialog: Dialog, type: string, body: string): string {
  if (origin === null || body === "" || (kind !== "presence" && kind !== "composed")) return body;
  if (dialog.local.includes(`:${aor}`)) return body;
  const name = askedName(dialog.local);
  // A subdomain of a server's is an address of the same user, and no name of his.
  if (name === undefined || name === aor || hostOf(name) !== hostOf(aor)) return body;
  return mapBody(type, body, aor, name);
}

function askedName(to: string): string | undefined {
  const uri = /<([^>]*)>/.exec(to)?.[1] ?? to.split(";")[0]!;
  try {
    return tryAorOf(parseUri(uri.trim()));
  } catch (error) {
    if (!(error instanceof MalformedUri)) throw error;
    return undefined;
  }
}

function hostOf(aor: string): string {
  return aor.slice(aor.lastIndexOf("@") + 1);
}
