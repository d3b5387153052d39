import type { Moment, Subscription } from "./subscription.ts";

/** What the gate asks of the service around it. */
export interface GateDesk {
  moment(): Moment;
  isOurs(subscription: Subscription): boolean;
  failed(what: string, error: Error): void;
  arm(subscription: Subscription): void;
  /** Whether legs are wanted may have changed. */
  rejudged(subscription: Subscription): void;
  /** `WatcherSide.show`. */
  show(subscription: Subscription): void;
  reject(subscription: Subscription): void;
  /** He is to subscribe anew. */
  deactivate(subscription: Subscription): void;
  /** The watcher is one of the user's own servers: it shows what it is shown with what it has itself. */
  isMember(subscription: Subscription): boolean;
  ofUser(aor: string): readonly Subscription[];
  /** For every subscription, some at a time. */
  each(run: (subscription: Subscription) => void): void;
}

/** Told where what a presentity may see of his watchers has changed (RFC 3857 4.7). */
export interface GateListener {
  /** Let in, taken over, or judged anew with another outcome. */
  judged(subscription: Subscription): void;
  watcherEnded(subscription: Subscription): void;
}
