import { createHash } from "node:crypto";
import type { Binding, BindingOrigin, Claim, ClaimOutcome, Damping, Unbind, UnbindOutcome } from "./directory.ts";

/**
 * The judgement of a claim and of an unbind, pure. The in-memory twin calls it; `postgres/claim.ts` and
 * `postgres/unbind.ts` say the same in SQL, and a differential test holds the two together.
 * Words and rules: models.md, "Words" and "Exclusive: a claim"; RFC 3261 section 10.3 step 7.
 */

/** What a slot remembers of one Call-ID: the last CSeq seen with it and the claim it made. */
export interface KnownClaim {
  /** The server it bound; null where it never bound any. */
  readonly server: string | null;
  readonly cseq: number;
  /** Milliseconds since 1970 at which the granted registration ends. */
  readonly until: number;
  /** Deregistered. */
  readonly ended: boolean;
  /** The last CSeq was refused for another holder: a repeat of it is told the same. */
  readonly refused: boolean;
}

/** One row per AoR that was ever claimed. A binding that has expired is still in it until the sweep takes it out. */
export interface Slot {
  readonly server: string | null;
  readonly origin: BindingOrigin | null;
  readonly epoch: number;
  readonly expiresAt: number | null;
  readonly claims: Readonly<Record<string, KnownClaim>>;
  /** When nothing of past takings counts any more, milliseconds since 1970; null: he was never taken. See `countTaking`. */
  readonly calmAt: number | null;
}

/** A claim, a move (`onlyFrom`) or a learn (with the fork it closes): all go through one test-and-set. */
export interface ClaimAsk extends Omit<Claim, "refreshOnly"> {
  readonly onlyFrom: string | null;
  /** With `onlyFrom`; null: any. */
  readonly onlyEpoch: number | null;
  /** The open fork that this ends, in the same transaction. */
  readonly fork: string | null;
  /** True: nothing is done for a user who has a record. */
  readonly unread?: boolean;
}

export interface ClaimJudgement {
  readonly slot: Slot;
  readonly outcome: ClaimOutcome;
  /** Others must hear of it: server or origin changed, or it ends earlier than was known. */
  readonly tell: boolean;
  readonly previous: string | null;
}

export interface UnbindJudgement {
  readonly slot: Slot | null;
  readonly outcome: UnbindOutcome;
}

/** A slot remembers at most this many Call-IDs, those whose grants end last. */
const CLAIMS_KEPT = 16;
/** A Call-ID is forgotten this long after its grant has ended. */
const CLAIM_REMEMBERED_MS = 3_600_000;

const LONGEST_KEY = 128;

/** The key under which a Call-ID is remembered: itself, or a digest of one that is enormous or cannot be stored. */
export function claimKey(callId: string): string {
  if (callId.length <= LONGEST_KEY && !callId.includes("\0")) return callId;
  return `sha256:${createHash("sha256").update(callId, "latin1").digest("hex")}`;
}

/** `provisioned`/`admin` > `registered`/`published` > `learned`; exclusive: only `provisioned` stands above the rest. */
export function rank(origin: BindingOrigin, equalRank: boolean): number {
  if (origin === "provisioned") return 2;
  if (origin === "admin") return equalRank ? 1 : 2;
  return origin === "learned" ? 0 : 1;
}

/** An expired binding is unbound, one epoch later, whether or not the sweep came by. */
export function currentBinding(
  aor: string,
  slot: Slot | undefined,
  now: number,
): { epoch: number; binding: Binding | null } {
  if (slot === undefined) return { epoch: 0, binding: null };
  const { server, origin, epoch, expiresAt } = slot;
  if (server === null || origin === null) return { epoch, binding: null };
  if (expiresAt !== null && expiresAt <= now) return { epoch: epoch + 1, binding: null };
  return { epoch, binding: { aor, server, origin, epoch, expiresAt } };
}

export function judgeClaim(slot: Slot | undefined, ask: ClaimAsk, now: number): ClaimJudgement {
  const { epoch, binding } = currentBinding(ask.aor, slot, now);
  const key = ask.order === undefined ? null : claimKey(ask.order.callId);
  const known = key === null ? undefined : slot?.claims[key];
  const judged = verdictOf(ask, binding, known, now);
  // Only a server's taking him from another is counted; what is refused for another reason is not.
  const taking = judged === "bound" && binding !== null && binding.server !== ask.server ? ask.damping : undefined;
  const counted = taking === undefined ? null : countTaking(slot?.calmAt ?? null, taking, now);
  const verdict = counted?.damped === true ? "damped" : judged;
  const calmAt = counted === null ? (slot?.calmAt ?? null) : counted.calmAt;
  const claims = key === null ? (slot?.claims ?? {}) : remember(slot?.claims ?? {}, key, ask, known, verdict, now);
  const kept: Slot = {
    ...(slot ?? { server: null, origin: null, epoch: 0, expiresAt: null }),
    claims,
    calmAt,
  };
  const previous = binding?.server ?? null;

  if (verdict === "stale") {
    return { slot: kept, outcome: { outcome: "stale", binding }, tell: false, previous };
  }
  if (verdict === "held-by" || verdict === "damped") {
    return { slot: kept, outcome: { outcome: verdict, binding: binding as Binding }, tell: false, previous };
  }
  const same = binding !== null && binding.server === ask.server;
  const asIs = same && (verdict === "repeat" || rank(ask.origin, ask.equalRank) < rank(binding.origin, ask.equalRank));
  const next: Binding = asIs
    ? binding
    : {
        aor: ask.aor,
        server: ask.server,
        origin: ask.origin,
        epoch: same ? epoch : epoch + 1,
        expiresAt: ask.expiresAt,
      };
  return {
    slot: { server: next.server, origin: next.origin, epoch: next.epoch, expiresAt: next.expiresAt, claims, calmAt },
    outcome: { outcome: "bound", binding: next, changed: !same, previous },
    tell: !same || next.origin !== binding.origin || endsEarlier(next.expiresAt, binding.expiresAt),
    previous,
  };
}

type Verdict = "bound" | "repeat" | "held-by" | "stale" | "damped";

/**
 * One moment is all that is kept: each taking moves it on by the share of the window that it may have, so that it is a
 * whole window ahead when the limit is reached. A refused one moves it so far that only a whole window of quiet lets the
 * next one in: else two servers that both try again and again would take turns for ever.
 */
function countTaking(
  calmAt: number | null,
  { limit, windowMs }: Damping,
  now: number,
): { readonly damped: boolean; readonly calmAt: number } {
  const share = windowMs / limit;
  const ahead = Math.max((calmAt ?? 0) - now, 0);
  if (ahead + share > windowMs + TOLERANCE_MS) return { damped: true, calmAt: now + 2 * windowMs - share };
  return { damped: false, calmAt: now + ahead + share };
}

/** Moments are stored in microseconds. */
const TOLERANCE_MS = 1;

function verdictOf(ask: ClaimAsk, holder: Binding | null, known: KnownClaim | undefined, now: number): Verdict {
  const sameServer = holder?.server === ask.server;
  if (ask.onlyFrom !== null && !sameServer) {
    if (holder === null) return "stale";
    if (holder.server !== ask.onlyFrom || (ask.onlyEpoch ?? holder.epoch) !== holder.epoch) return "held-by";
  }
  // He is where the move leads, by an earlier try of it or by another's doing: as it is.
  if (ask.onlyFrom !== null && sameServer && ask.onlyFrom !== ask.server) return "repeat";
  if (known !== undefined && ask.order !== undefined) {
    if (ask.order.cseq < known.cseq) return "stale";
    if (ask.order.cseq === known.cseq) {
      // A repeated (Call-ID, CSeq) never claims; whoever holds already is told so again (concurrency.md 9).
      if (sameServer) return "repeat";
      return known.refused && holder !== null ? "held-by" : "stale";
    }
    const superseded = known.server !== null && holder !== null && holder.server !== known.server;
    if (superseded && !sameServer && !known.ended && known.until > now) return "stale";
  }
  if (holder === null || sameServer) return "bound";
  const asked = rank(ask.origin, ask.equalRank);
  const held = rank(holder.origin, ask.equalRank);
  if (asked > held) return "bound";
  return asked === held && ask.conflict === "takeover" ? "bound" : "held-by";
}

function remember(
  claims: Slot["claims"],
  key: string,
  ask: ClaimAsk,
  known: KnownClaim | undefined,
  verdict: Verdict,
  now: number,
): Slot["claims"] {
  const order = ask.order;
  if (order === undefined || verdict === "repeat") return claims;
  if (known !== undefined && order.cseq <= known.cseq) return claims;
  const next: KnownClaim =
    verdict === "bound"
      ? { server: ask.server, cseq: order.cseq, until: order.expiresAt, ended: false, refused: false }
      : {
          server: known?.server ?? null,
          cseq: order.cseq,
          until: known?.until ?? order.expiresAt,
          ended: known?.ended ?? false,
          refused: verdict === "held-by" || verdict === "damped",
        };
  return trim({ ...claims, [key]: next }, now);
}

/** Forgets what has long ended, and beyond the limit what ends first. */
function trim(claims: Slot["claims"], now: number): Slot["claims"] {
  const entries = Object.entries(claims);
  if (entries.length <= CLAIMS_KEPT) return claims;
  const kept = entries
    .filter(([, known]) => known.until > now - CLAIM_REMEMBERED_MS)
    .sort(([a, x], [b, y]) => y.until - x.until || (a < b ? -1 : 1));
  return Object.fromEntries(kept.slice(0, CLAIMS_KEPT));
}

function endsEarlier(next: number | null, before: number | null): boolean {
  if (next === null) return false;
  return before === null || next < before;
}

export function judgeUnbind(slot: Slot | undefined, ask: Unbind, now: number): UnbindJudgement {
  const { epoch, binding } = currentBinding(ask.aor, slot, now);
  if (slot === undefined) return { slot: null, outcome: { outcome: "stale", binding: null } };
  const key = ask.order === undefined ? null : claimKey(ask.order.callId);
  const known = key === null ? undefined : slot.claims[key];
  const overtaken = ask.order !== undefined && known !== undefined && ask.order.cseq <= known.cseq;
  // The same deregistration once more is none the worse for having been done (concurrency.md 9).
  const repeated = overtaken && ask.order.cseq === known.cseq && known.ended;
  const named =
    binding !== null &&
    (ask.server === undefined || ask.server === binding.server) &&
    (ask.epoch === undefined || ask.epoch === epoch) &&
    (ask.origins === undefined || ask.origins.includes(binding.origin));
  const acts = named && !overtaken;

  let claims = slot.claims;
  if (key !== null && ask.order !== undefined && !overtaken) {
    const cseq = ask.order.cseq;
    const fresh: KnownClaim = { server: ask.server ?? null, cseq, until: now, ended: true, refused: false };
    claims = trim(
      { ...claims, [key]: known === undefined ? fresh : { ...known, cseq, ended: true, refused: false } },
      now,
    );
    // His last contact there is gone, so every claim made for that server has been deregistered.
    if (acts) claims = endAll(claims, binding.server);
  }
  if (!acts) {
    const outcome = overtaken && !repeated ? "overtaken" : "stale";
    return { slot: { ...slot, claims }, outcome: { outcome, binding } };
  }
  return {
    slot: { ...slot, server: null, origin: null, epoch: epoch + 1, expiresAt: null, claims },
    outcome: { outcome: "unbound", epoch: epoch + 1, previous: binding },
  };
}

function endAll(claims: Slot["claims"], server: string): Slot["claims"] {
  return Object.fromEntries(
    Object.entries(claims).map(([key, known]) => [key, known.server === server ? { ...known, ended: true } : known]),
  );
}
