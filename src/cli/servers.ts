import type { Command } from "commander";
import type { ServerJson } from "../admin/servers.ts";
import { adminClient } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson, table } from "./output.ts";

/** `servers list|drain|resume`. */
export function registerServers(program: Command, io: Io): void {
  const servers = program
    .command("servers")
    .helpCommand(false)
    .description("servers and nodes, their health and traffic; take one out of rotation")
    .addHelpText("after", example("codomain servers list", "codomain servers drain east"));

  servers
    .command("list")
    .description("every server with its nodes, as the proxy asked sees them")
    .addHelpText("after", example("codomain servers list"))
    .action(async (_options: unknown, command: Command) => {
      const answer = await adminClient(command, io).get<{ servers: ServerJson[] }>("/api/v1/servers");
      if (isJson(command)) printJson(io, answer);
      else io.print(serverTable(answer.servers));
    });

  for (const [verb, description, done] of [
    ["drain", "send a server no new requests; dialogs go on", "is drained: it gets no new requests"],
    ["resume", "put a drained server back into rotation", "is in rotation"],
  ] as const) {
    servers
      .command(verb)
      .description(description)
      .argument("<server>", "its name in the configuration")
      .addHelpText("after", example(`codomain servers ${verb} east`))
      .action(async (name: string, _options: unknown, command: Command) => {
        const path = `/api/v1/servers/${encodeURIComponent(name)}/${verb}`;
        const server = await adminClient(command, io).post<ServerJson>(path);
        if (isJson(command)) printJson(io, server);
        else if (verb === "resume" && !server.up)
          io.print(`${name} is no longer drained, but none of its nodes answers.`);
        else io.print(`${name} ${done}.`);
      });
  }
}

function isJson(command: Command): boolean {
  return command.optsWithGlobals<{ json?: boolean }>().json === true;
}

/** One line a node; what is the server's stands on its first. */
function serverTable(servers: readonly ServerJson[]): string {
  const rows = servers.flatMap((server) =>
    server.nodes.map((node, i) => {
      const nodeState = node.up ? "up" : `down, ${node.consecutiveFailures} failures`;
      if (i > 0) return ["", "", node.uri, nodeState, "", "", "", ""];
      const { traffic, proves, proofRemoved } = server;
      const marks = [...proves, ...proofRemoved.map((mark) => `(not ${mark})`)];
      const state = server.drained ? "drained" : server.up ? "up" : "down";
      const failed = Object.entries(traffic.answers).reduce((sum, [code, n]) => (code === "2xx" ? sum : sum + n), 0);
      return [
        server.name,
        state,
        node.uri,
        nodeState,
        traffic.requests,
        traffic.answers["2xx"] ?? 0,
        failed,
        traffic.unanswered,
        marks.join(" ") || "-",
      ];
    }),
  );
  return table(["server", "state", "node", "node state", "asked", "2xx", "other", "unanswered", "proves"], rows);
}
