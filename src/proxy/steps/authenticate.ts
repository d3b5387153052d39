import { type DigestAnswer, parseDigest } from "../../base/digest.ts";
import { DirectoryUnavailable } from "../../base/errors.ts";
import type { Credentials } from "../../directory/directory.ts";
import type { SipRequest } from "../../sip/message/message.ts";
import { equalUris, parseUri } from "../../sip/message/uri.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { answer } from "../responses.ts";
import { isOwnDialog } from "./identify.ts";
import { aorFor } from "./resolve.ts";

/**
 * Clients prove who they are where the proxy is told to ask. What follows the route of a dialog set up through us comes
 * from who has done so; what the directory is asked about does not, whatever tag and Route it carries.
 */
export function mustAuthenticate(core: Core, exchange: Exchange): boolean {
  const { origin, ownRoute, request } = exchange;
  if (core.options.clients.authenticate !== "digest" || origin.kind !== "client") return false;
  if (isOwnDialog(core, request)) return false;
  if (request.to.tag === undefined || ownRoute?.authentic !== true || request.method === "REGISTER") return true;
  return !request.has("Route") && ownRoute.connectionId === 0 && aorFor(core, request, origin) !== undefined;
}

/** RFC 3261 22.2, 22.3: a REGISTER is challenged with 401, all else with 407. True: it may go on. */
export async function authenticate(core: Core, exchange: Exchange): Promise<boolean> {
  const { request } = exchange;
  const registering = request.method === "REGISTER";
  const { realm } = core.options.clients;
  const given = request
    .headers(registering ? "Authorization" : "Proxy-Authorization")
    .map(parseDigest)
    .find((each) => each?.realm === realm);
  if (given === undefined || !isFor(given, exchange.transaction.request))
    return challenge(core, exchange, registering, false);
  const user = aorOfUser(core, given);
  let credentials: Credentials | null;
  try {
    credentials = await core.credentials.of(user);
  } catch (error) {
    if (!(error instanceof DirectoryUnavailable)) throw error;
    answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
    return false;
  }
  const verdict = core.nonces.verify(given, request.method, credentials);
  if (verdict !== "right") return challenge(core, exchange, registering, verdict === "stale");
  exchange.origin = { kind: "client", authenticated: user };
  return true;
}

/** RFC 7616 3.4.6: an answer is for one resource, and proves nothing for another. */
function isFor(given: DigestAnswer, { requestUri, uri }: SipRequest): boolean {
  if (given.uri === requestUri) return true;
  try {
    return equalUris(parseUri(given.uri), uri);
  } catch {
    return false;
  }
}

function challenge(core: Core, exchange: Exchange, registering: boolean, stale: boolean): false {
  const name = registering ? "WWW-Authenticate" : "Proxy-Authenticate";
  const headers = core.nonces.challenges(core.options.clients.realm, stale).map((value) => [name, value] as const);
  answer(core, exchange, {
    status: registering ? 401 : 407,
    phrase: registering ? "Unauthorized" : "Proxy Authentication Required",
    headers,
  });
  return false;
}

/** `alice` and `alice@example.com` are both written as user names. */
function aorOfUser(core: Core, given: DigestAnswer): string {
  return core.canonical(
    given.username.includes("@") ? given.username : `${given.username}@${core.options.domains[0]}`,
    null,
  );
}
