import type { Gauges } from "./gauges.ts";
import type { LoopLag } from "./loop-lag.ts";

/** What is read when the page is asked for. */
export interface MetricsSources {
  /** Names that a `server` label may have; everything else is `other`. */
  servers(): readonly ServerState[];
  transactions(): {
    readonly server: number;
    readonly client: number;
    readonly completed: number;
    readonly completedBytes: number;
  };
  /** Users in the directory cache. */
  cached(): number;
  openForks(): number;
  /** Requests waiting on open forks. */
  waiting(): number;
  /** Subscriptions this proxy owns: held for users who are on no server, and extended to one; and composed of several. */
  subscriptions(): { readonly held: number; readonly live: number; readonly composed: number };
  /** Servers of composed subscriptions this proxy owns, by how they stand. */
  parts(): readonly { readonly server: string; readonly standing: string; readonly count: number }[];
  /** Messages stored in the whole domain, as this proxy was told last, and queues of them in its hands. */
  stored(): { readonly messages: number; readonly octets: number; readonly inFlight: number };
}

export interface ServerState {
  readonly name: string;
  readonly drained: boolean;
  readonly nodes: readonly { readonly uri: string; readonly up: boolean }[];
}

/** Puts what is now beside what has happened; the names are documented in docs/metrics.md. */
export function readState(gauges: Gauges, sources: MetricsSources, lag: LoopLag): void {
  gauges.many("node_up", "1 while the node is in rotation.", ["server", "node"], () =>
    sources
      .servers()
      .flatMap(({ name, nodes }) =>
        nodes.map((each) => ({ labels: { server: name, node: each.uri }, value: each.up ? 1 : 0 })),
      ),
  );
  gauges.many("server_drained", "1 while an admin keeps the server out of rotation.", ["server"], () =>
    sources.servers().map((each) => ({ labels: { server: each.name }, value: each.drained ? 1 : 0 })),
  );
  gauges.many("transactions", "Live transactions.", ["side"], () => {
    const { server, client } = sources.transactions();
    return [
      { labels: { side: "server" }, value: server },
      { labels: { side: "client" }, value: client },
    ];
  });
  gauges.one(
    "completed_transactions",
    "Completed transactions kept to answer retransmissions.",
    () => sources.transactions().completed,
  );
  gauges.one("completed_transactions_bytes", "Memory they take.", () => sources.transactions().completedBytes);
  gauges.one("cached_users", "Users whose place is kept in memory.", () => sources.cached());
  gauges.one("open_forks", "Forks in progress.", () => sources.openForks());
  gauges.many("subscriptions", "Subscriptions this proxy owns.", ["state"], () => {
    const { held, live, composed } = sources.subscriptions();
    return [
      { labels: { state: "held" }, value: held },
      { labels: { state: "live" }, value: live },
      { labels: { state: "composed" }, value: composed },
    ];
  });
  gauges.many("composed_parts", "Servers of composed subscriptions, by how they stand.", ["server", "standing"], () => {
    const known = new Set(sources.servers().map(({ name }) => name));
    return sources
      .parts()
      .filter(({ server }) => known.has(server))
      .map(({ server, standing, count }) => ({ labels: { server, standing }, value: count }));
  });
  gauges.one("stored_messages", "Messages stored in the whole domain.", () => sources.stored().messages);
  gauges.one("stored_messages_bytes", "Octets of them.", () => sources.stored().octets);
  gauges.one("message_queues_in_flight", "Queues this proxy is delivering.", () => sources.stored().inFlight);
  gauges.one("waiting_requests", "Requests waiting for the result of another's fork.", () => sources.waiting());
  gauges.one(
    "longest_pause_seconds",
    "Longest pause of this process since the page was last asked for.",
    () => lag.takeLongest() / 1000,
  );
  gauges.one(
    "longest_pause_ever_seconds",
    "Longest pause of this process since it started.",
    () => lag.longestEver / 1000,
  );
  gauges.one("resident_memory_bytes", "Resident memory of this process.", () => process.memoryUsage.rss());
}
