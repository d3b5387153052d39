/** What an answer of a server says about the user (models.md, "What answers mean"). */
export type Meaning =
  /** He is not there. */
  | "not-here"
  /** Nobody can tell: it goes upstream as 480 with Retry-After. */
  | "could-not-ask"
  /** He may or may not be there; the answer is forwarded in preference to a 404 and teaches nothing. */
  | "answered"
  /** Success; whether it proves anything is another question (`provesHere`). */
  | "here";

/** How a branch ended: a final status, or none. */
export type Ending = number | "timeout" | "transport-error";

/** Every final status has a meaning, the known ones and those to come. */
export function meaningOf(ending: Ending): Meaning {
  if (typeof ending !== "number") return "could-not-ask";
  if (ending < 300) return "here";
  switch (ending) {
    case 404:
    case 410:
    case 604:
    // The branch came back to us: what it asked for, it does not have.
    case 482:
      return "not-here";
    case 408:
    case 480:
      return "could-not-ask";
    case 501:
    case 505:
    case 513:
      return "answered";
    default:
      return ending >= 500 && ending < 600 ? "could-not-ask" : "answered";
  }
}

/**
 * The status under which an ending goes upstream: 604 of one partition is its 404 and never more, as is a loop that came
 * back to us; what could not be asked is 480, a branch's 503 above all (RFC 3261 16.7 step 6); the rest stays as it is.
 */
export function upstreamStatus(ending: Ending): number {
  const meaning = meaningOf(ending);
  if (meaning === "not-here") return ending === 410 ? 410 : 404;
  return meaning === "could-not-ask" ? 480 : (ending as number);
}

/** The state of a NOTIFY that followed a SUBSCRIBE's 2xx (RFC 6665 4.1.3). */
export type NotifyState = "active" | "pending" | "terminated";

/**
 * True where a success shows that the user lives on the server (models.md, "Proof"): the server's mark for the method,
 * and MESSAGE 200 (202 is no delivery, RFC 3428 7), any 2xx to INVITE, an active NOTIFY after a SUBSCRIBE's 2xx. A
 * method with a mark and no rule of its own counts as MESSAGE does.
 */
export function provesHere(proves: readonly string[], method: string, status: number, notify?: NotifyState): boolean {
  if (status < 200 || status >= 300 || !proves.includes(method)) return false;
  if (method === "INVITE") return true;
  if (method === "SUBSCRIBE") return notify === "active";
  return status !== 202;
}
