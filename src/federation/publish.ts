/**
 * PUBLISH to a compositor that keeps nothing (RFC 3903 6; models.md, "A claim"). What it must know of a publication is
 * in the entity-tag: the epoch of the binding that was made by it, so that every proxy, and one started anew, knows the
 * tags of what still holds and no others.
 */

/** A PUBLISH; a SipRequest is one. */
export interface Publishing {
  readonly body: string;
  values(name: string): readonly string[];
  header(name: string): string | undefined;
}

export type Publication =
  | { readonly kind: "initial" }
  /** `epoch`: null where the tag is none of ours. */
  | { readonly kind: "conditional"; readonly epoch: number | null }
  /** RFC 3903 6 steps 3 and 5. */
  | { readonly kind: "fault"; readonly status: 400 | 415; readonly reason: string };

export const PUBLISHED_TYPE = "application/pidf+xml";

export function publicationOf(request: Publishing): Publication {
  const tags = request.values("SIP-If-Match");
  if (tags.length > 1) return { kind: "fault", status: 400, reason: "More Than One Entity-Tag" };
  const type = request.header("Content-Type")?.split(";")[0]?.trim().toLowerCase();
  if (request.body !== "" && type !== undefined && type !== PUBLISHED_TYPE) {
    return { kind: "fault", status: 415, reason: "Unsupported Media Type" };
  }
  if (tags.length === 1) return { kind: "conditional", epoch: epochOfTag(tags[0]!) };
  return request.body === "" ? { kind: "fault", status: 400, reason: "Nothing Is Published" } : { kind: "initial" };
}

/** @param token never used before: each success has a tag of its own (step 6). */
export function entityTag(epoch: number, token: string): string {
  return `e${epoch}.${token}`;
}

function epochOfTag(tag: string): number | null {
  const found = /^e(\d{1,15})\.\w{1,64}$/.exec(tag);
  return found === null ? null : Number(found[1]);
}
