import type { ForkKey, OpenFork } from "../directory/directory.ts";

export type OpenForkVerdict =
  /** A server being asked sends back what it was asked: it does not have him, 404 at once; never forked, never joined. */
  | "not-mine"
  /** It waits for the open fork's result, on its own clock. */
  | "wait"
  /** It opens a fork of its own. */
  | "open-own";

/**
 * A request for an unbound user meets the forks that are open for him (models.md, "Default routes point at us").
 * @param origin the server it came from; null: no server.
 * @param waited it has waited on a fork before: it waits no second time, so that nobody's clock runs out in a queue.
 */
export function judgeOpenForks(
  forks: readonly OpenFork[],
  request: ForkKey,
  origin: string | null,
  waited = false,
): OpenForkVerdict {
  let open = false;
  for (const fork of forks) {
    if (fork.recipient !== request.recipient) continue;
    open = true;
    if (origin !== null && sameKey(fork, request) && fork.asked.includes(origin)) return "not-mine";
  }
  return open && !waited ? "wait" : "open-own";
}

export function sameKey(fork: ForkKey, request: ForkKey): boolean {
  return fork.sender === request.sender && fork.method === request.method && fork.event === request.event;
}
