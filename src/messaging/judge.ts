import { meaningOf } from "../federation/answers.ts";
import type { Reply } from "../sip/transaction/outbound.ts";

/** What the answer to a try means for the message (models.md, "Stored messages"). */
export type Verdict =
  | { readonly verdict: "delivered"; readonly status: number; readonly detail: string }
  /** It stays. `retryAfterMs`: not before this, where the server said so. */
  | {
      readonly verdict: "kept";
      readonly status: number;
      readonly detail: string;
      readonly retryAfterMs: number;
      readonly notHere: boolean;
    }
  | { readonly verdict: "final"; readonly status: number; readonly detail: string };

/** *Not here*, *could not be asked* and 429 keep it; a 2xx delivers it; every other final answer is final. */
export function judgeReply(reply: Reply, server: string): Verdict {
  if (typeof reply === "string") {
    const detail = `${reply === "timeout" ? "no answer" : "cannot be reached"}: ${server}`;
    return { verdict: "kept", status: 0, detail, retryAfterMs: 0, notHere: false };
  }
  const { status } = reply;
  const detail = `${status} from ${server}`;
  const meaning = meaningOf(status);
  if (meaning === "here") return { verdict: "delivered", status, detail };
  if (meaning === "answered" && status !== 429) return { verdict: "final", status, detail };
  const retryAfterMs = retryAfterOf(reply.header("Retry-After"));
  return { verdict: "kept", status, detail, retryAfterMs, notHere: meaning === "not-here" };
}

/** RFC 3261 20.33: seconds, then a comment or parameters. */
function retryAfterOf(value: string | undefined): number {
  const seconds = /^\s*(\d{1,9})/.exec(value ?? "")?.[1];
  return seconds === undefined ? 0 : Number(seconds) * 1000;
}

/** Until the next try: doubled with every one, a quarter more or less by chance (`draw`, from 0 to below 1), never more than the most. */
export function backOff(tries: number, retryMs: number, maxRetryMs: number, draw: number): number {
  const plain = Math.min(maxRetryMs, retryMs * 2 ** Math.min(tries, 20));
  return Math.round(Math.min(maxRetryMs, plain * (0.75 + draw / 2)));
}
