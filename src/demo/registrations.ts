import { parseReginfo, REGINFO_TYPE, type Reginfo, type RegistrationState } from "../presence/reginfo.ts";
import { equalUris, parseUri } from "../sip/message/uri.ts";
import type { Notified } from "./watches.ts";

/** What a registration information document makes an example server do with one of its users. */
export interface Told {
  /** User part. */
  readonly user: string;
  /** `let-go`: he is somewhere else now. `again`: he is to be registered again at once (RFC 3680 4.1.2, `deactivated`). */
  readonly what: "let-go" | "again";
  /** Of the REGISTER it is about; undefined: not said. */
  readonly callId: string | undefined;
}

/**
 * Which users of a server a NOTIFY of event reg is about (RFC 3680 5).
 * @param reads `contacts`: the contact that is this server, as a full implementation does. `whole`: only whether the whole
 *   registration is terminated, which is all that some know.
 * @param uri the server's own, as it registers itself.
 */
export function toldBy(notified: Notified, reads: "contacts" | "whole", uri: string): readonly Told[] {
  if (notified.document === "") return [];
  return read(notified.document).registrations.flatMap((registration) => {
    const aor = parseUri(registration.aor);
    const user = aor.kind === "sip" ? aor.user : undefined;
    const told = reads === "whole" ? wholly(registration) : byContact(registration, uri);
    return user === undefined || told === undefined ? [] : [{ user, ...told }];
  });
}

export const REGINFO_ACCEPT: string = REGINFO_TYPE;

function read(document: string): Pick<Reginfo, "registrations"> {
  try {
    return parseReginfo(document);
  } catch {
    return { registrations: [] };
  }
}

function wholly(registration: RegistrationState): Omit<Told, "user"> | undefined {
  return registration.state === "terminated" ? { what: "let-go", callId: undefined } : undefined;
}

function byContact(registration: RegistrationState, uri: string): Omit<Told, "user"> | undefined {
  const own = parseUri(uri);
  const mine = registration.contacts.find(
    ({ state, event, uri: contact }) =>
      state === "terminated" && (event === "rejected" || event === "deactivated") && equalUris(parseUri(contact), own),
  );
  if (mine === undefined) return undefined;
  return { what: mine.event === "rejected" ? "let-go" : "again", callId: mine.callId ?? undefined };
}
