import type { Config } from "../config/config.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type RunningServer, type ServerParts, startServer } from "../server.ts";
import { createExampleServer, type ExampleServer } from "./example-server.ts";

/** Who lives where in the example domain that runs without a configuration. */
const USERS: Readonly<Record<string, readonly string[]>> = {
  east: ["joe", "bob"],
  west: ["alice", "zeke"],
  north: ["padma", "hannes"],
};

/** The proxy with the servers of its example domain, so that `npm start` has something to route between. */
export async function startExample(config: Config, parts: ServerParts): Promise<RunningServer> {
  const servers = await startExampleServers(config, parts.runtime);
  const stopServers = async (): Promise<void> => {
    for (const server of servers) await server.stop();
  };
  try {
    const running = await startServer(config, parts);
    return { ...running, stop: () => running.stop().then(stopServers) };
  } catch (error) {
    await stopServers();
    throw error;
  }
}

/** Those that cannot listen are left out. */
async function startExampleServers(config: Config, runtime: Runtime): Promise<readonly ExampleServer[]> {
  const proxy = config.listen.find((each) => each.transport === "udp");
  const started: ExampleServer[] = [];
  for (const { name, nodes } of config.servers) {
    const node = nodes[0]!;
    const server = createExampleServer(runtime, {
      name,
      listen: { host: node.host, port: node.port ?? 5060 },
      users: USERS[name] ?? [],
      domain: config.domains[0]!,
      onUnknown: "404",
      ...(proxy === undefined ? {} : { proxy: { host: proxy.host, port: proxy.port } }),
    });
    try {
      await server.start();
      started.push(server);
    } catch {
      // Another program has the address, or this system has no such loopback address: the server counts as down.
      await server.stop();
    }
  }
  return started;
}
