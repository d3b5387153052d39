import type { Facts, ModelFacts } from "./facts.ts";

/**
 * In-dialog requests follow the route set and never the directory (RFC 3261 12.2, 16.12), with one exception: the next
 * SUBSCRIBE of a proxied dialog whose user has moved is answered 481, so that the watcher's server subscribes anew
 * (models.md, "Proxy or back-to-back"). A user who is bound nowhere, or about whom nothing is known, has not moved.
 * @param server the server this dialog was set up with, as our Record-Route says.
 */
export function movedSince(server: string, lookup: Facts["lookup"], now: number): boolean {
  if (lookup.state !== "bound" || lookup.binding.server === server) return false;
  return lookup.binding.expiresAt === null || lookup.binding.expiresAt > now;
}

/**
 * A user who is on several servers now is watched through us: a proxied dialog from before, with one of them, is answered
 * the same way.
 */
export function joinedSince(model: ModelFacts, event: string): boolean {
  return model.model === "unioned" && event === "presence";
}
