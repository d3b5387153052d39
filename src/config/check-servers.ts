import { bracketed, defaultPort, familyOf } from "../sip/transport/address.ts";
import type { Checks } from "./checks.ts";
import type { NodeConfig } from "./config.ts";
import type { Draft } from "./draft.ts";
import { type Path, printPath } from "./faults.ts";
import { canonicalAor } from "./scalars.ts";

/** `host:port` by which requests from or to a node are told. */
function addressOf(node: NodeConfig): string {
  const port =
    node.port ?? (node.secure || node.transport === "tls" ? defaultPort("tls") : defaultPort(node.transport ?? "udp"));
  return `${bracketed(node.host)}:${port}`;
}

export interface ServerShape {
  readonly uri?: NodeConfig | undefined;
  readonly nodes?: readonly NodeConfig[] | undefined;
}

/** All nodes of a server as written, each with the rest of its path. */
export function nodesOf(server: ServerShape): readonly { readonly node: NodeConfig; readonly below: Path }[] {
  if (server.uri !== undefined) return [{ node: server.uri, below: ["uri"] }];
  return (server.nodes ?? []).map((node, i) => ({ node, below: ["nodes", i] }));
}

/** Where servers are, and whose name is whose. */
export function checkServers(draft: Draft, domains: readonly string[], checks: Checks): void {
  if (draft.serverNames.length === 0) {
    checks.error(
      ["servers"],
      draft.written.has("servers") ? "There is no server." : '"servers" is missing.',
      'Add one, such as "servers: { east: { uri: "sip:127.0.0.11:5060" } }".',
      "key",
    );
  }
  const own = new Map<string, Path>(
    draft.listen
      .filter((each) => each.value.port !== 0)
      .map((each) => [`${bracketed(each.value.host)}:${each.value.port}`, each.path] as const),
  );
  const addresses = new Map<string, string>();
  const subdomains = new Map<string, string>();
  for (const [name, { path, value }] of draft.servers) {
    if (value.uri !== undefined && value.nodes !== undefined)
      checks.error([...path, "uri"], '"uri" and "nodes" are both given.', 'Put all of them into "nodes".', "key");
    if (value.uri === undefined && value.nodes === undefined)
      checks.error(
        path,
        `It is not said where "${name}" is.`,
        'Add "uri: sip:HOST:PORT", or "nodes" with several.',
        "key",
      );
    for (const { node, below } of nodesOf(value)) {
      const address = addressOf(node);
      const holder = addresses.get(address);
      if (holder !== undefined) {
        const whose = holder === name ? "another node of the same server" : `the server "${holder}"`;
        checks.error(
          [...path, ...below],
          `${address} is ${whose} already.`,
          "Give each its own address; requests are told apart by it.",
        );
      }
      addresses.set(address, name);
      checkReachable(name, [...path, ...below], node, draft, checks);
      const listen = own.get(address);
      if (listen !== undefined)
        checks.error(
          [...path, ...below],
          `${address} is this proxy itself (${printPath(listen)}).`,
          "Write the server's own address.",
        );
    }
    if (value.subdomain !== undefined) {
      const holder = subdomains.get(value.subdomain);
      if (holder !== undefined)
        checks.error(
          [...path, "subdomain"],
          `"${value.subdomain}" is the subdomain of "${holder}" already.`,
          "Give each server its own.",
        );
      if (domains.includes(value.subdomain))
        checks.error(
          [...path, "subdomain"],
          `"${value.subdomain}" is the domain itself.`,
          `Write a name below it, such as "${name}.${value.subdomain}".`,
        );
      subdomains.set(value.subdomain, name);
    }
    checkIdentities(path, value.identities, domains, checks);
  }
}

/** What a server speaks must be listened to here: its answers come to that address, and requests leave from it. */
function checkReachable(name: string, path: Path, node: NodeConfig, draft: Draft, checks: Checks): void {
  if (node.transport === "ws" || node.transport === "wss") {
    checks.error(path, "A server cannot be called over WebSocket (RFC 7118).", "Write transport=udp, tcp or tls.");
    return;
  }
  // A listener at fault may be the one that is missed.
  if (draft.listen.length === 0 || draft.listen.length < draft.listenWritten) return;
  const family = familyOf(node.host);
  // RFC 3263 4.1: without a transport, a sip URI means UDP, or TCP where that is all there is.
  const speaks = node.secure
    ? (["tls"] as const)
    : node.transport === null
      ? (["udp", "tcp"] as const)
      : [node.transport];
  const usable = draft.listen.some(
    ({ value }) =>
      speaks.some((each) => each === value.transport) &&
      (family === undefined || value.host === "::" || familyOf(value.host) === family),
  );
  if (usable) return;
  const transport = speaks[0];
  const what = family === 6 ? `${transport} over IPv6` : transport;
  const address = family === 6 ? "[::1]" : "127.0.0.1";
  const fix = `Add "- ${transport}://${address}:${defaultPort(transport)}" to "listen"${transport === "tls" ? ", with cert and key" : ""}.`;
  checks.error(path, `"${name}" speaks ${what}, and nothing here does.`, fix);
}

function checkIdentities(
  path: Path,
  identities: Readonly<Record<string, string>>,
  domains: readonly string[],
  checks: Checks,
): void {
  const taken = new Map<string, string>();
  for (const [user, identity] of Object.entries(identities)) {
    const at = [...path, "identities", user];
    const canonical = canonicalAor(user);
    if (canonical === undefined)
      checks.error(at, `"${user}" is no address of record.`, 'Write it as "joe@example.com", without "sip:".', "key");
    else if (!domains.includes(canonical.slice(canonical.lastIndexOf("@") + 1)))
      checks.error(at, `"${user}" is in no domain served here.`, `The domains are: ${domains.join(", ")}.`, "key");
    if (canonicalAor(identity.includes("@") ? identity : `${identity}@example.com`) === undefined)
      checks.error(
        at,
        `"${identity}" is no user name and no address.`,
        'Write "joe.smith" or "joe.smith@east.example.com".',
      );
    const other = taken.get(identity);
    if (other !== undefined)
      checks.error(at, `"${identity}" is "${other}" already.`, "Two users cannot have one name on one server.");
    taken.set(identity, user);
  }
}
