import { createHash } from "node:crypto";
import type { Credit } from "../directory/unions.ts";

/** How long a server may take to send on, or back, what it was sent (models.md, "Unioned"). */
export const CREDIT_MS = 32_000;

/** What a credit is for; a request handed over is one. */
export interface Credited {
  /** `body`: octets as characters (SipRequest). */
  readonly request: { readonly method: string; readonly body: string };
  readonly event: string;
  readonly aor: string;
  readonly sender: { readonly aor: string };
}

/**
 * The same for the request that is sent to a server and for what comes of it there: a SUBSCRIBE of the pair and event
 * package, a MESSAGE of the pair and text, an INVITE of the pair. A B2BUA keeps nothing else of it for certain.
 */
export function creditFor({ request, event, aor, sender }: Credited, server: string): Credit {
  const { method, body } = request;
  const digest = method === "MESSAGE" ? createHash("sha256").update(body, "latin1").digest("base64url") : "";
  return { watcher: sender.aor, aor, event: method === "SUBSCRIBE" ? event : method, digest, server };
}
