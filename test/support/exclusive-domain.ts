import { type Kamailio, type KamailioOptions, startKamailio } from "./kamailio.ts";
import { type RunningProxy, startProxy } from "./proxy.ts";

export interface ExclusiveOptions {
  /** Last number of the addresses 127.0.0.N: the proxy's; east and west have the two behind it. */
  readonly first: number;
  /** Server settings of the proxy's configuration, beside their URIs. */
  readonly east?: string;
  readonly west?: string;
  /** How east tells the proxy of its users. */
  readonly eastModel?: KamailioOptions["model"];
  /** Users with an account on both servers, whether registered there or not. */
  readonly users?: readonly string[];
  /** Rules of the proxy's configuration before the one for everybody. */
  readonly models?: readonly string[];
  /** Further lines of the proxy's configuration. */
  readonly more?: readonly string[];
}

export interface ExclusiveDomain {
  readonly east: Kamailio;
  readonly west: Kamailio;
  readonly proxy: RunningProxy;
  stop(): Promise<void>;
}

/** One domain in the exclusive model on two Kamailio servers, configured as an administrator would. */
export async function exclusiveDomain(options: ExclusiveOptions): Promise<ExclusiveDomain> {
  const [host, eastHost, westHost] = [0, 1, 2].map((i) => `127.0.0.${options.first + i}`) as [string, string, string];
  const common = { proxy: `${host}:5060`, model: "exclusive" as const, users: options.users ?? [] };
  const models = [...(options.models ?? []), '{ match: "*@example.com", model: exclusive }'];
  const servers: Kamailio[] = [];
  const stopServers = () => Promise.all(servers.map((each) => each.stop()));
  try {
    servers.push(await startKamailio({ ...common, host: eastHost, model: options.eastModel ?? "exclusive" }));
    servers.push(await startKamailio({ ...common, host: westHost }));
    const [east, west] = servers as [Kamailio, Kamailio];
    const proxy = await startProxy({
      host,
      servers: {
        east: `{ uri: "${east.uri}", ${options.east ?? "evict: register"} }`,
        west: `{ uri: "${west.uri}", ${options.west ?? "evict: register"} }`,
      },
      more: [`models: [${models.join(", ")}]`, ...(options.more ?? [])].join("\n"),
    });
    return {
      east,
      west,
      proxy,
      stop: async () => {
        await proxy.stop();
        await stopServers();
      },
    };
  } catch (error) {
    await stopServers();
    throw error;
  }
}
