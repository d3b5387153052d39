import { createHash } from "node:crypto";
import { isAor } from "./rows.ts";

/**
 * Documents that users and admins keep about a user: who may see him, who may write to him, where his messages go. The
 * port; they are read and written over XCAP (RFC 4825) and the admin API, and every change is told by the feed. Text is
 * kept as it was written: parsing and checking it is its reader's. They go with the user (`Directory.removeUser`), but a user
 * needs no record to have some.
 */

/** XCAP application usages (RFC 4825 5). `pres-rules`: RFC 5025. The others are ours (docs/policy.md, docs/messages.md). */
export const DOCUMENT_KINDS = ["pres-rules", "im-rules", "im-routing"] as const;
export type DocumentKind = (typeof DOCUMENT_KINDS)[number];

export interface UserDocument {
  readonly aor: string;
  readonly kind: DocumentKind;
  /** A digest of the text, a token without quotes: another text has another one (RFC 4825 7.11, RFC 9110 8.8.3). */
  readonly etag: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly changedAt: number;
}

/** RFC 9110 13.1. `match`: only if its etag is one of these; `"*"`: only if there is one. `noneMatch`: only if neither. */
export interface Precondition {
  readonly match?: readonly string[] | "*";
  readonly noneMatch?: readonly string[] | "*";
}

export type WriteOutcome =
  | { readonly outcome: "written"; readonly etag: string; readonly created: boolean }
  /** The precondition does not hold. `etag` of what is there; null: nothing is. */
  | { readonly outcome: "failed"; readonly etag: string | null };

/** Octets of text, as UTF-8, at most. */
export const MOST_TEXT = 65_536;
export const MOST_DOCUMENTS = 1000;

export interface UserDocuments {
  /** From the database. */
  get(aor: string, kind: DocumentKind): Promise<UserDocument | null>;
  /**
   * Test-and-set; audited and told where it changes anything. Safe to repeat: what stands there already as it was asked for is
   * `written` even where `match` names its predecessor (RFC 9110 13.1.1).
   * @throws RangeError where the text is longer than MOST_TEXT or has a NUL in it, or the AoR is none.
   */
  put(aor: string, kind: DocumentKind, text: string, when: Precondition, actor: string): Promise<WriteOutcome>;
  /** `written` with `created: false`: it is gone. `failed` with null: there was none. */
  remove(aor: string, kind: DocumentKind, when: Precondition, actor: string): Promise<WriteOutcome>;
  /** In order of the AoR. @param after exclusive lower bound of the AoR; limit at most MOST_DOCUMENTS. */
  list(query: {
    readonly kind: DocumentKind;
    readonly after?: string;
    readonly limit: number;
  }): Promise<readonly UserDocument[]>;
}

export function etagOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

/** @throws RangeError: the caller has not checked what he was given. */
export function checkDocument(aor: string, text: string): void {
  if (!isAor(aor)) throw new RangeError("A document is kept about somebody who cannot be a user.");
  if (text.includes("\0")) throw new RangeError("A document has a NUL in it.");
  if (Buffer.byteLength(text) > MOST_TEXT) throw new RangeError(`A document has more than ${MOST_TEXT} octets.`);
}

export type WriteJudgement =
  /** Nothing is to be done. */
  | WriteOutcome
  /** What was read is to be replaced by this, or removed. */
  | { readonly outcome: "go" };

/**
 * Whether the precondition lets a write be done: pure.
 * @param etag of what is there; null: nothing.
 * @param next etag of what is to stand there; null: nothing.
 */
export function judgeWrite(
  etag: string | null,
  next: string | null,
  { match, noneMatch }: Precondition,
): WriteJudgement {
  const failed = { outcome: "failed", etag } as const;
  if (etag !== null && noneMatch !== undefined && names(noneMatch, etag)) return failed;
  // It may be what was asked for a moment ago, under an answer that was lost.
  if (etag !== null && etag === next) return { outcome: "written", etag, created: false };
  if (match !== undefined && (etag === null || !names(match, etag))) return failed;
  return etag === null && next === null ? failed : { outcome: "go" };
}

function names(condition: readonly string[] | "*", etag: string): boolean {
  return condition === "*" || condition.includes(etag);
}
