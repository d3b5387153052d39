import type { RedirectPlan } from "../../federation/plan.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { answer } from "../responses.ts";

/** The draft's redirect server: 302 with the user's address at his server, by subdomain where it has one. */
export function redirect(core: Core, exchange: Exchange, plan: RedirectPlan): void {
  const aor = plan.identity ?? exchange.aor;
  const user = aor.slice(0, aor.lastIndexOf("@"));
  const node = core.rotation.nodes(plan.server)[0] ?? core.rotation.server(plan.server)!.nodes[0]!;
  const port = node.port === undefined ? "" : `:${node.port}`;
  const transport = node.params.get("transport");
  const host =
    plan.subdomain ?? `${node.host.includes(":") && !node.host.startsWith("[") ? `[${node.host}]` : node.host}${port}`;
  const parameter = transport === undefined || plan.subdomain !== null ? "" : `;transport=${transport}`;
  answer(core, exchange, {
    status: 302,
    phrase: "Moved Temporarily",
    headers: [["Contact", `<${node.scheme}:${user}@${host}${parameter}>`]],
  });
}
