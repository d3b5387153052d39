import type { ClaimOutcome } from "../directory/directory.ts";

/** How a claim is answered (models.md, "Exclusive"; RFC 3261 10.3). */
export interface ClaimAnswer {
  readonly status: 200 | 302 | 403 | 500;
  readonly phrase: string;
  /** Text of a Warning header (399, RFC 3261 20.43); null: none. */
  readonly warning: string | null;
  /** The server a 302 leads to; null: none. */
  readonly redirectTo: string | null;
  /** Seconds; null: no such header. */
  readonly retryAfter: number | null;
}

const OK: ClaimAnswer = Object.freeze({ status: 200, phrase: "OK", warning: null, redirectTo: null, retryAfter: null });

/** RFC 3261 10.3 step 7: what comes out of order is aborted and fails. */
export const OVERTAKEN: ClaimAnswer = Object.freeze({
  status: 500,
  phrase: "Out of Order",
  warning: "A later REGISTER came before",
  redirectTo: null,
  retryAfter: null,
});

/**
 * @param server the claimant.
 * @param refuseWith how a conflict is answered: 403 naming the holder, or 302 to him.
 * @param calmMs how long a user who was taken too often must be left where he is.
 */
export function answerToClaim(outcome: ClaimOutcome, server: string, refuseWith: 403 | 302, calmMs = 0): ClaimAnswer {
  switch (outcome.outcome) {
    case "bound":
      return OK;
    case "held-by": {
      const holder = outcome.binding.server;
      // A provisioned user is pinned: nobody is led to believe that he could be claimed elsewhere.
      if (refuseWith === 302 && outcome.binding.origin !== "provisioned") {
        return { status: 302, phrase: "Moved Temporarily", warning: null, redirectTo: holder, retryAfter: null };
      }
      const how = outcome.binding.origin === "provisioned" ? "is provisioned on" : "is held by";
      return refusal(`The user ${how} server ${holder}`);
    }
    case "damped": {
      const text = `The user was moved too often lately: server ${outcome.binding.server} keeps him for now`;
      return { ...refusal(text), retryAfter: Math.max(1, Math.ceil(calmMs / 1000)) };
    }
    case "stale":
      // Its sender holds the user all the same.
      if (outcome.binding?.server === server) {
        return OVERTAKEN;
      }
      return refusal(
        outcome.binding === null
          ? "A late refresh of a registration that has ended"
          : `A late refresh: the user is held by server ${outcome.binding.server}`,
      );
  }
}

function refusal(warning: string): ClaimAnswer {
  return { status: 403, phrase: "Forbidden", warning, redirectTo: null, retryAfter: null };
}

/** A Warning value (RFC 3261 20.43): code 399, the agent, the text quoted. */
export function warningValue(agent: string, text: string): string {
  return `399 ${agent} "${text.replace(/[\\"]/g, "\\$&")}"`;
}
