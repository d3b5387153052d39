import { bracketed, defaultPort, isLoopback, isWildcard, splitHostPort } from "../sip/transport/address.ts";
import type { NodeConfig } from "./config.ts";
import type { Draft } from "./draft.ts";
import { type Path, type PathFault, printPath, suggest } from "./faults.ts";
import { covers, fits } from "./pattern.ts";
import { canonicalAor } from "./scalars.ts";

type Report = (fault: PathFault) => void;

class Checks {
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  error(path: Path, message: string, fix: string, at: "key" | "value" = "value"): void {
    this.#report({ severity: "error", path, at, message, fix });
  }

  warn(path: Path, message: string, fix: string, at: "key" | "value" = "value"): void {
    this.#report({ severity: "warning", path, at, message, fix });
  }

  /** A name that must be one of those defined elsewhere. */
  known(path: Path, name: string, what: string, names: readonly string[]): void {
    if (!names.includes(name)) this.error(path, `There is no ${what} "${name}".`, suggest(name, names));
  }
}

/** Checks the parts of a draft against each other. */
export function checkDraft(draft: Draft, domains: readonly string[], report: Report): void {
  const checks = new Checks(report);
  checkDomains(draft, checks);
  checkListen(draft, checks);
  checkAdmin(draft, checks);
  checkServers(draft, domains, checks);
  checkTrees(draft, checks);
  checkModels(draft, domains, checks);
  checkTimes(draft, checks);
  const home = draft.sections.clients?.home;
  if (home !== undefined) checks.known(["clients", "home"], home, "server", draft.serverNames);
}

function checkDomains(draft: Draft, checks: Checks): void {
  if (draft.written.has("domain") && draft.written.has("domains")) {
    checks.error(["domain"], '"domain" and "domains" are both given.', 'Put all of them into "domains".', "key");
  } else if (!draft.written.has("domain") && !draft.written.has("domains")) {
    checks.warn([], "No domain is given: example.com is served.", 'Add "domain: …".');
  }
  const seen = new Set<string>();
  (draft.sections.domains ?? []).forEach((domain, i) => {
    if (seen.has(domain)) checks.error(["domains", i], `"${domain}" is given twice.`, "Keep one.");
    seen.add(domain);
  });
}

/** Who holds which port. A wildcard address holds it on every address of its family. */
interface Held {
  readonly host: string;
  readonly port: number;
  readonly stream: boolean;
  readonly path: Path;
}

function collide(a: Held, b: Held): boolean {
  if (a.port !== b.port || a.port === 0 || a.stream !== b.stream) return false;
  return (
    a.host === b.host ||
    a.host === "::" ||
    b.host === "::" ||
    ((isWildcard(a.host) || isWildcard(b.host)) && a.host.includes(":") === b.host.includes(":"))
  );
}

function checkListen(draft: Draft, checks: Checks): void {
  const held: Held[] = [];
  for (const { path, value } of draft.listen) {
    const mine: Held = { host: value.host, port: value.port, stream: value.transport !== "udp", path };
    const other = held.find((each) => collide(each, mine));
    if (other !== undefined) {
      checks.error(
        path,
        `Port ${mine.port} of ${mine.host} is taken by ${printPath(other.path)} already.`,
        "Give one of the two another port, or remove it.",
      );
    }
    held.push(mine);

    const secure = value.transport === "tls" || value.transport === "wss";
    for (const key of ["cert", "key"] as const) {
      if (secure && value[key] === undefined)
        checks.error([...path, key], `${value.transport} needs "${key}".`, `Add "${key}: FILE.pem".`);
    }
    for (const key of ["cert", "key", "ca", "verify"] as const) {
      if (!secure && value[key] !== undefined)
        checks.error(
          [...path, key],
          `"${key}" has no meaning for ${value.transport}.`,
          "Remove it, or listen on tls or wss.",
          "key",
        );
    }
    if (secure && value.verify === true && value.ca === undefined)
      checks.error(
        [...path, "verify"],
        'Peers cannot be verified without "ca".',
        'Add "ca: FILE.pem", or write verify: false.',
      );
    if (value.advertise !== undefined && splitHostPort(value.advertise) === undefined) {
      checks.error(
        [...path, "advertise"],
        `"${value.advertise}" is no host and port.`,
        'Write a name or an address, such as "sip.example.com" or "192.0.2.1:5060".',
      );
    }
    if (value.advertise === undefined && isWildcard(value.host)) {
      checks.error(
        path,
        `${value.host} is no address that peers can answer to.`,
        'Add "advertise: HOST", the name or address they reach this proxy by.',
      );
    }
  }
  const admin = draft.sections.admin;
  if (admin !== undefined) {
    const { host, port } = admin.url;
    const other = held.find((each) => collide(each, { host, port, stream: true, path: [] }));
    if (other !== undefined)
      checks.error(
        ["admin", "url"],
        `Port ${port} of ${host} is taken by ${printPath(other.path)} already.`,
        "Give the admin page another port.",
      );
  }
}

function checkAdmin(draft: Draft, checks: Checks): void {
  const admin = draft.sections.admin;
  if (admin !== undefined && !isLoopback(admin.url.host) && admin.token === undefined) {
    checks.error(
      ["admin", "token"],
      `Without a token the admin API must not be served on ${admin.url.host}.`,
      'Add "token: …", or use http://127.0.0.1:8060.',
    );
  }
}

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

function checkServers(draft: Draft, domains: readonly string[], checks: Checks): void {
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

function checkTrees(draft: Draft, checks: Checks): void {
  for (const { path, value } of draft.trees.values()) {
    checks.known([...path, "root"], value.root, "server", draft.serverNames);
    const parents = new Map<string, string>();
    for (const [parent, children] of Object.entries(value.children)) {
      checks.known([...path, "children", parent], parent, "server", draft.serverNames);
      children.forEach((child, i) => {
        const at = [...path, "children", parent, i];
        checks.known(at, child, "server", draft.serverNames);
        const other = parents.get(child);
        if (child === value.root)
          checks.error(
            at,
            `"${child}" is the root and below "${parent}": the tree has a cycle.`,
            "Remove it here, or name another root.",
          );
        else if (child === parent) checks.error(at, `"${child}" is its own child.`, "Remove it.");
        else if (other !== undefined)
          checks.error(
            at,
            `"${child}" is below "${other}" already.`,
            "A server has one parent in a tree: keep one of the two.",
          );
        else parents.set(child, parent);
      });
    }
    for (const parent of Object.keys(value.children)) {
      const seen = new Set<string>();
      let top: string | undefined = parent;
      while (top !== undefined && top !== value.root && !seen.has(top)) {
        seen.add(top);
        top = parents.get(top);
      }
      if (top === value.root) continue;
      const at = [...path, "children", parent];
      if (top === undefined)
        checks.error(
          at,
          `"${parent}" is not reached from the root "${value.root}".`,
          "Put it below a server of the tree.",
          "key",
        );
      else
        checks.error(
          at,
          `"${parent}" is on or below a cycle (${[...seen].join(" > ")}).`,
          "Take one of them out of its children.",
          "key",
        );
    }
  }
}

function checkModels(draft: Draft, domains: readonly string[], checks: Checks): void {
  draft.models.forEach(({ path, value }, i) => {
    const at = [...path, "match"];
    const host = value.match.slice(value.match.lastIndexOf("@") + 1);
    if (!domains.some((domain) => fits(host, domain))) {
      checks.error(
        at,
        `"${value.match}" matches nobody: no such domain is served here.`,
        `The domains are: ${domains.join(", ")}.`,
      );
    }
    const earlier = draft.models.slice(0, i).find((each) => covers(each.value.match, value.match));
    if (earlier !== undefined) {
      checks.warn(
        at,
        `This never matches: "${earlier.value.match}" of ${printPath(earlier.path)} takes all of it first.`,
        "Move it up, or remove it.",
      );
    }
    if (value.model === "exclusive" && value["refuse-with"] === 302 && value.conflict !== "refuse") {
      checks.error(
        [...path, "refuse-with"],
        "Nothing is refused where the conflict is a takeover.",
        'Write "conflict: refuse", or remove this.',
        "key",
      );
    }
    if (value.model !== "unioned") return;
    if (value.style === "hierarchical") {
      if (value.tree === undefined)
        checks.error(
          [...path, "tree"],
          "The hierarchical style needs a tree.",
          draft.treeNames.length > 0
            ? `Add "tree": ${draft.treeNames.join(", ")}.`
            : 'Add "tree: NAME", and the tree under "trees".',
        );
      else checks.known([...path, "tree"], value.tree, "tree", draft.treeNames);
      if (value.servers !== undefined)
        checks.error(
          [...path, "servers"],
          'The hierarchical style takes its servers from "tree".',
          "Remove this.",
          "key",
        );
    } else {
      if (value.servers === undefined)
        checks.error(
          [...path, "servers"],
          "The peer style needs its servers.",
          `Add "servers: [${draft.serverNames.slice(0, 2).join(", ")}]".`,
        );
      if (value.tree !== undefined)
        checks.error(
          [...path, "tree"],
          "The peer style has no tree.",
          'Remove this, or write "style: hierarchical".',
          "key",
        );
      value.servers?.forEach((name, n) => {
        checks.known([...path, "servers", n], name, "server", draft.serverNames);
        if (value.servers!.indexOf(name) < n)
          checks.error([...path, "servers", n], `"${name}" is given twice.`, "Keep one.");
      });
    }
  });
}

function checkTimes(draft: Draft, checks: Checks): void {
  const timers = draft.sections.timers;
  if (timers === undefined) return;
  if (timers.t1 > timers.t2)
    checks.error(
      ["timers", "t1"],
      "T1 is longer than T2.",
      "T2 is the longest interval between retransmissions: make T1 shorter.",
    );
  // RFC 3261 16.6 step 11: "MUST be larger than 3 minutes".
  if (timers.c <= 180_000)
    checks.warn(
      ["timers", "c"],
      "Timer C must be longer than three minutes (RFC 3261 16.6): long ringing is cut off.",
      "Write 181s or more.",
    );
  const decision = draft.sections["decision-time"];
  if (decision !== undefined && decision >= 64 * timers.t1) {
    checks.error(
      ["decision-time"],
      "The sender's own timer F (64 times T1) ends before the decision.",
      `Write less than ${(64 * timers.t1) / 1000}s.`,
    );
  }
}
