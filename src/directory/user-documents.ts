/**
 * Documents that users and admins keep about a user: who may see him, who may write to him, where his messages go. The
 * port; they are read and written over XCAP (RFC 4825) and the admin API, and every change is told by the feed. Text is
 * kept as it was written: parsing and checking it is its reader's.
 */

/** XCAP application usages (RFC 4825 5). `pres-rules`: RFC 5025. The others are ours (docs/policy.md, docs/messages.md). */
export const DOCUMENT_KINDS = ["pres-rules", "im-rules", "im-routing"] as const;
export type DocumentKind = (typeof DOCUMENT_KINDS)[number];

export interface UserDocument {
  readonly aor: string;
  readonly kind: DocumentKind;
  /** Changes with every write (RFC 4825 7.11). */
  readonly etag: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly changedAt: number;
}

/** RFC 9110 13.1. `match`: only if its etag is one of these; `noneMatch: "*"`: only if there is none. */
export interface Precondition {
  readonly match?: readonly string[] | "*";
  readonly noneMatch?: readonly string[] | "*";
}

export type WriteOutcome =
  | { readonly outcome: "written"; readonly etag: string; readonly created: boolean }
  /** The precondition does not hold. `etag` of what is there; null: nothing is. */
  | { readonly outcome: "failed"; readonly etag: string | null };

/** MOST_TEXT octets of text; more is the caller's fault. */
export const MOST_TEXT = 65_536;

export interface UserDocuments {
  /** From the database. */
  get(aor: string, kind: DocumentKind): Promise<UserDocument | null>;
  /** Test-and-set; audited. */
  put(aor: string, kind: DocumentKind, text: string, when: Precondition, actor: string): Promise<WriteOutcome>;
  /** `written` with `created: false`: it is gone. `failed` with null: there was none. */
  remove(aor: string, kind: DocumentKind, when: Precondition, actor: string): Promise<WriteOutcome>;
  /** In order of the AoR. @param after exclusive lower bound of the AoR; limit at most 1000. */
  list(query: {
    readonly kind: DocumentKind;
    readonly after?: string;
    readonly limit: number;
  }): Promise<readonly UserDocument[]>;
}
