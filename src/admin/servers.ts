import { z } from "zod";
import type { App, Desk } from "./app.ts";
import type { Count, ServerState } from "./ports.ts";
import { component, serverName } from "./schemas.ts";

const tags = ["servers"];
const params = z.object({ server: serverName });

const serverSchema = component(
  "Server",
  z.object({
    name: z.string(),
    up: z.boolean().describe("not drained, and at least one node answers"),
    drained: z.boolean().describe("kept out of rotation on this proxy, until resumed or restarted"),
    nodes: z.array(z.object({ uri: z.string(), up: z.boolean(), consecutiveFailures: z.int() })),
    proves: z.array(z.string()).describe("methods whose success shows that a user lives there, as checked"),
    proofRemoved: z.array(z.string()).describe("marks that failed their check"),
    traffic: z
      .object({
        requests: z.int().describe("asked of it since this proxy started"),
        unanswered: z.int().describe("timeouts and transport errors"),
        answers: z.record(z.string(), z.int()).describe("by class: 2xx, 4xx, …"),
      })
      .describe("of this proxy"),
  }),
);

export type ServerJson = z.output<typeof serverSchema>;

/** The servers of the domain, as this proxy sees them. */
export function serverRoutes(app: App, { options, names }: Desk): void {
  const { proxy, directory } = options;

  async function list(): Promise<z.input<typeof serverSchema>[]> {
    const counts = await options.counts("codomain_branches_total");
    return proxy.servers().map((server) => serverJson(server, counts));
  }

  app.get("/api/v1/servers", {
    schema: {
      tags,
      summary: "Servers and their nodes",
      response: { 200: z.object({ servers: z.array(serverSchema) }) },
    },
    handler: async () => ({ servers: await list() }),
  });

  for (const [verb, drained, summary] of [
    ["drain", true, "Send a server no new requests; dialogs go on"],
    ["resume", false, "Put a drained server back into rotation"],
  ] as const) {
    app.post(`/api/v1/servers/:server/${verb}`, {
      schema: { tags, summary, params, response: { 200: serverSchema } },
      handler: async (request) => {
        const server = names.server(request.params.server, "server", 404);
        const before = proxy.servers().find((each) => each.name === server)!.drained;
        if (before !== drained) {
          // Written first: what cannot be recorded is not done.
          await directory.recordAudit({
            actor: request.actor,
            action: `${verb}-server`,
            aor: null,
            before: { server, drained: before },
            after: { server, drained },
          });
          proxy.rotation.drain(server, drained);
        }
        return (await list()).find((each) => each.name === server)!;
      },
    });
  }
}

function serverJson(server: ServerState, counts: readonly Count[]): z.input<typeof serverSchema> {
  const answers: Record<string, number> = {};
  let requests = 0;
  let unanswered = 0;
  for (const { labels, value } of counts) {
    if (labels["server"] !== server.name) continue;
    requests += value;
    const status = String(labels["status"]);
    if (status === "none") unanswered += value;
    else answers[status] = (answers[status] ?? 0) + value;
  }
  const { name, up, drained, nodes, proves, proofRemoved } = server;
  return {
    name,
    up,
    drained,
    nodes: nodes.map((node) => ({ ...node })),
    proves: [...proves],
    proofRemoved: [...proofRemoved],
    traffic: { requests, unanswered, answers },
  };
}
