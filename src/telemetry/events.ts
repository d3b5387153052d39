/** Everything that is worth counting or logging, as one typed map. Logger and metrics subscribe; nothing calls them. */
export interface Events {
  /** A request came to its end: one log line at info level. */
  request: {
    readonly method: string;
    readonly callId: string;
    readonly domain: string;
    readonly user: string;
    /** `server:east`, `client`, `peer:a.com`, `unknown`. */
    readonly origin: string;
    /** Plan kind, and where to: `relay east`, `fork east,west`, `reject`. */
    readonly plan: string;
    readonly status: number;
    /** Milliseconds from receipt to the final response. */
    readonly durationMs: number;
    readonly reasons: readonly string[];
  };
  /** Bytes that were no message, or a message that was refused before any plan. `status` 0: dropped silently. */
  malformed: { readonly transport: string; readonly source: string; readonly status: number; readonly reason: string };
  /** A response or ACK that matches nothing. */
  stray: { readonly kind: "response" | "ack" | "cancel"; readonly callId: string };
  /** A request or connection turned away for a limit. */
  limited: { readonly what: string; readonly source: string };
  connection: {
    readonly transport: string;
    readonly remote: string;
    readonly state: "opened" | "closed";
    readonly reason: string;
  };
  transportError: { readonly transport: string; readonly remote: string; readonly reason: string };
  /** A SIP message as it came in or went out, body and credentials included: for captures, never for logs. */
  message: {
    readonly direction: "in" | "out";
    readonly transport: string;
    readonly localHost: string;
    readonly localPort: number;
    readonly remoteHost: string;
    readonly remotePort: number;
    /** One character per octet. */
    readonly raw: string;
  };
  retransmission: { readonly side: "client" | "server"; readonly method: string };
  /** One answer of one branch of a fork or relay. `status` 0: timeout or transport error. */
  branch: { readonly method: string; readonly server: string; readonly status: number; readonly durationMs: number };
  /** A request for a user of several servers has ended. `servers`: in the order they were asked; `took`: those that answered 2xx. */
  spread: {
    readonly method: string;
    readonly callId: string;
    readonly aor: string;
    /** Which rule chose them: `all`, `roundrobin`, `Request-Disposition: no-fork; …` */
    readonly rule: string;
    readonly servers: readonly string[];
    readonly took: readonly string[];
  };
  /** What a user wrote was shown to another of his servers. `status` 0: nobody answered. */
  copied: { readonly aor: string; readonly server: string; readonly status: number };
  learned: { readonly aor: string; readonly server: string; readonly epoch: number };
  unlearned: { readonly aor: string; readonly server: string; readonly reason: string };
  /** Two servers proved to have the same user. */
  conflict: { readonly aor: string; readonly servers: readonly string[] };
  bound: {
    readonly aor: string;
    readonly server: string;
    readonly origin: string;
    readonly epoch: number;
    readonly changed: boolean;
  };
  refused: { readonly aor: string; readonly server: string; readonly holder: string | null; readonly reason: string };
  /** A server was told that it has lost a user, or could not be. */
  evicted: {
    readonly aor: string;
    /** The one that lost him. */
    readonly server: string;
    readonly by: "reginfo" | "register";
    /** `later`: it will be tried again. `needless`: he is back there, or it is not to be told any more. */
    readonly result: "done" | "later" | "failed" | "needless";
    readonly detail: string;
  };
  /** A node or server went in or out of rotation. */
  health: { readonly server: string; readonly node: string; readonly up: boolean; readonly reason: string };
  /** A server answered 2xx for a user that cannot exist: its mark is removed. */
  proofRemoved: { readonly server: string; readonly method: string };
  database: { readonly up: boolean; readonly reason: string };
  /** The policy decision point counts as away, or answers again. */
  decisionPoint: { readonly url: string; readonly up: boolean; readonly reason: string };
  /** A user's rules on their way to a server that keeps its own; `reductions`: what it cannot express. */
  push: {
    readonly aor: string;
    readonly server: string;
    readonly outcome: "pushed" | "removed" | "failed";
    readonly reductions: number;
    readonly error: string;
  };
  /** A loop or a hop limit: RFC 3261 16.3, RFC 5393. */
  loop: { readonly callId: string; readonly status: number; readonly reason: string };
  /** One user of a batch. `reason`: why he was refused; null: he was moved. */
  moveStep: {
    readonly batch: string;
    readonly aor: string;
    readonly from: string | null;
    readonly to: string;
    readonly reason: string | null;
  };
  /** A server was asked whether it has a user. `verdict`: `here`, `repaired`, `pinned`, `conflict`, … */
  reconciled: { readonly aor: string; readonly server: string; readonly verdict: string; readonly detail: string };
  /** This proxy took a batch of moves, brought it to its end, or left it to others. */
  moveBatch: {
    readonly batch: string;
    readonly state: "taken" | "done" | "left";
    readonly moved: number;
    readonly refused: number;
  };
  /** What became of a subscription of which this proxy is the notifier. */
  subscription: {
    readonly id: string;
    readonly aor: string;
    readonly watcher: string;
    readonly event: string;
    readonly epoch: number;
    /** `accepted`: held for the present or extended next; `held`: again, the user is on no server; `moved`: to another leg. */
    readonly change: "accepted" | "extended" | "moved" | "held" | "ended";
    /** The server it is extended to, or was; null: none. */
    readonly server: string | null;
    /** Why it has ended. */
    readonly reason?: string;
  };
  /** What a server that is asked for its part of a composed document has said. `tookMs`: since it was asked. */
  part: {
    readonly server: string;
    readonly aor: string;
    readonly said: PartSaid;
    readonly tookMs: number;
  };
  /** The lease of this process, under which its rows stand. */
  lease: {
    readonly owner: string;
    readonly state: "begun" | "lost" | "took-over";
    /** Subscriptions dropped or taken over. */
    readonly rows: number;
  };
  /** A MESSAGE was made durable and answered 202. `server`: where the user is bound; null: nowhere. */
  messageStored: {
    readonly id: string;
    readonly recipient: string;
    readonly sender: string;
    readonly server: string | null;
    readonly octets: number;
  };
  /** It was sent once more. `status` 0: nobody answered. */
  messageTried: {
    readonly id: string;
    readonly server: string;
    readonly status: number;
    readonly tries: number;
    readonly durationMs: number;
  };
  /** It waits no more. */
  messageEnded: {
    readonly id: string;
    readonly recipient: string;
    readonly sender: string;
    readonly state: "delivered" | "failed" | "expired";
    readonly detail: string;
    /** Since it was received, milliseconds. */
    readonly waitedMs: number;
  };
  configReloaded: { readonly changes: readonly string[] };
  warning: { readonly what: string; readonly detail: string };
}

/**
 * `confirmed`: a leg's first time; `pending`: not, or no more; `out`: the user is not there; `elsewhere`: 482, it is there by
 * another way; `away`: it could not be asked.
 */
export type PartSaid = "confirmed" | "pending" | "denied" | "out" | "elsewhere" | "away";

export type EventName = keyof Events;
export type Listener<N extends EventName> = (event: Events[N]) => void;

export class Telemetry {
  readonly #listeners = new Map<EventName, Array<(event: never) => void>>();

  on<N extends EventName>(name: N, listener: Listener<N>): () => void {
    const list = this.#listeners.get(name) ?? [];
    this.#listeners.set(name, [...list, listener]);
    return () => {
      const now = this.#listeners.get(name) ?? [];
      this.#listeners.set(
        name,
        now.filter((each) => each !== listener),
      );
    };
  }

  emit<N extends EventName>(name: N, event: Events[N]): void {
    const list = this.#listeners.get(name) as Array<Listener<N>> | undefined;
    if (list === undefined) return;
    for (let i = 0; i < list.length; i++) list[i]!(event);
  }

  /** False: nobody listens, so building the event is wasted work. */
  wants(name: EventName): boolean {
    return (this.#listeners.get(name)?.length ?? 0) > 0;
  }
}
