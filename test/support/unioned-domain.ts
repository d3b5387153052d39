import { createExampleServer, type ExampleServer } from "../../src/demo/example-server.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { type Kamailio, startKamailio } from "./kamailio.ts";
import { pidf, publishParts } from "./presence.ts";
import { type RunningProxy, startProxy } from "./proxy.ts";
import { ask, type WirePeer } from "./wire.ts";

export interface UnionedDomain {
  /** Real ones, which answer from their own tables (`onward: none`). */
  readonly west: Kamailio;
  readonly south: Kamailio;
  /** The demo's, which sends subscriptions on as the draft says (`onward: both`). */
  readonly demo: ExampleServer;
  readonly proxy: RunningProxy;
  stop(): Promise<void>;
}

export interface UnionedDomainOptions {
  /** Last number of the addresses 127.0.0.N: the proxy's; west, south and demo have the three behind it. */
  readonly first: number;
  readonly users: readonly string[];
  /** Lines of the proxy's configuration: `trees`, `models`. */
  readonly more: string;
  /** Back-end subscriptions that the demo's server makes for one of its own user's (`own`) or of the proxy's (`asked`). */
  readonly legs: (user: string, from: "own" | "asked") => number;
}

/** One domain whose users are on two Kamailio servers and one that follows the draft, all at once. */
export async function unionedDomain(options: UnionedDomainOptions): Promise<UnionedDomain> {
  const [host, west, south, demo] = [0, 1, 2, 3].map((i) => `127.0.0.${options.first + i}`) as [
    string,
    string,
    string,
    string,
  ];
  const { users } = options;
  const stops: Array<() => Promise<unknown>> = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const servers = await Promise.all(
      [west, south].map((each) => startKamailio({ host: each, proxy: `${host}:5060`, users })),
    );
    for (const server of servers) stops.push(() => server.stop());
    const runtime = createRealRuntime();
    const proxyAt = { host, port: 5060 };
    const server = createExampleServer(runtime, {
      name: "demo",
      listen: { host: demo, port: 5060 },
      users,
      domain: "example.com",
      proxy: proxyAt,
      onUnknown: "404",
      tuple: "t1",
      onward: { legs: options.legs, proxies: [proxyAt] },
    });
    await server.start();
    stops.push(() => server.stop());
    const proxy = await startProxy({
      host,
      servers: {
        west: `{ uri: "${servers[0]!.uri}", onward: none }`,
        south: `{ uri: "${servers[1]!.uri}", onward: none }`,
        demo: `{ uri: "${server.uri}", onward: both }`,
      },
      more: options.more,
    });
    stops.push(() => proxy.stop());
    return { west: servers[0]!, south: servers[1]!, demo: server, proxy, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a user's device on this server publishes: one tuple, called alike everywhere, whose note says where. */
export async function publishOn(
  peer: WirePeer,
  server: Kamailio,
  aor: string,
  note: string,
  basic: "open" | "closed" = "open",
): Promise<void> {
  const body = pidf(aor, basic).replace("</status>", `</status><note>${note}</note>`);
  const answer = await ask(peer, server, { ...publishParts(aor, basic), body });
  if (answer.status !== 200) throw new Error(`PUBLISH on ${note} was answered ${answer.status}`);
}
