import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/defaults.ts";
import { diffConfig } from "../../src/config/diff.ts";
import { type Fault, printFault } from "../../src/config/faults.ts";
import { type LoadOptions, loadConfig } from "../../src/config/load.ts";
import { CERT, KEY, OTHER_KEY } from "./pem.ts";

const SERVERS = `servers:
  east: { uri: "sip:127.0.0.11:5060" }
  west: { uri: "sip:127.0.0.12:5060" }
  north: { uri: "sip:127.0.0.13:5060" }
`;

/** How the configuration names a variable of the environment. */
const variable = (name: string): string => `$${`{${name}}`}`;

function good(text: string, options: LoadOptions = {}): Config {
  const loaded = loadConfig(text, { env: {}, ...options });
  if (loaded.config === undefined) throw new Error(loaded.faults.map((each) => printFault(each, "test")).join("\n"));
  return loaded.config;
}

function faults(text: string, options: LoadOptions = {}): readonly Fault[] {
  const loaded = loadConfig(text, { env: {}, ...options });
  return loaded.config === undefined ? loaded.faults : loaded.warnings;
}

/** `line:column path` of every error. */
function errors(text: string, options: LoadOptions = {}): string[] {
  return faults(text, options)
    .filter((each) => each.severity === "error")
    .map((each) => `${each.line}:${each.column} ${each.path}`);
}

/** The one error there is. */
function only(text: string, options: LoadOptions = {}): Fault {
  const found = faults(text, options).filter((each) => each.severity === "error");
  expect(found.map((each) => `${each.path}: ${each.message}`)).toHaveLength(1);
  return found[0]!;
}

describe("a configuration", () => {
  it("needs nothing but servers", () => {
    const config = good(`domain: example.org\n${SERVERS}`, { hostName: "box" });
    expect(config.domains).toEqual(["example.org"]);
    expect(config.proxyName).toBe("box-5060");
    expect(config.listen.map((each) => [each.transport, each.host, each.port, each.unknown])).toEqual([
      ["udp", "127.0.0.1", 5060, "client"],
      ["tcp", "127.0.0.1", 5060, "client"],
      ["ws", "127.0.0.1", 5066, "client"],
    ]);
    expect(config.servers.map((each) => each.name)).toEqual(["east", "west", "north"]);
    expect(config.servers[0]).toMatchObject({
      onward: "none",
      claims: ["register"],
      proves: ["MESSAGE", "INVITE", "SUBSCRIBE"],
      reginfo: "contact",
      evict: "reginfo",
      preserves: [],
      policy: "own",
      offers: [],
      repoint: true,
    });
    expect(config.decisionMs).toBe(8000);
    expect(config.learnedMs).toBe(24 * 3600 * 1000);
    expect(config.absentMs).toBe(10_000);
    expect(config.clients).toEqual({ authenticate: "none", realm: "example.org", home: null });
    expect(config.database.kind).toBe("embedded");
  });

  it("sends captures nowhere, unless told where: then as agent 2001, without a key", () => {
    const text = `domain: a.com\n${SERVERS}`;
    expect(good(text).capture).toBeNull();
    expect(good(`${text}capture: { hep: "udp://[::1]:9060" }\n`).capture).toEqual({
      host: "::1",
      port: 9060,
      agent: 2001,
      key: null,
    });
    expect(good(`${text}capture: { hep: "udp://127.0.0.1:9060", agent: 7, key: k }\n`).capture).toEqual({
      host: "127.0.0.1",
      port: 9060,
      agent: 7,
      key: "k",
    });
  });

  it("is frozen to its depths", () => {
    const config = good(`domain: a.com\n${SERVERS}`);
    expect(() => {
      (config.servers[0]!.nodes[0] as { host: string }).host = "elsewhere";
    }).toThrow(TypeError);
    expect(() => {
      (config.domains as string[]).push("b.com");
    }).toThrow(TypeError);
  });

  it("takes every key of the published interface", () => {
    const config = good(
      `domains: [Example.com, b.com]
listen:
  - udp://127.0.0.1:5060
  - { url: "tls://127.0.0.1:5061", cert: cert.pem, key: key.pem, ca: ca.pem, verify: true }
  - { url: ws://127.0.0.1:5066, unknown: client }
  - { url: udp://127.0.0.1:5070, direction: down }
database: postgres://user@host/db
admin: { url: http://127.0.0.1:8060, token: abc }
servers:
  east: { uri: "sip:127.0.0.11:5060" }
  west: { nodes: ["sip:127.0.0.12:5060", "sip:127.0.0.12:5062"], balance: round-robin }
  north:
    uri: "sips:127.0.0.13:5061"
    identities: { joe@example.com: joe.smith }
    onward: none
    claims: [register]
    proves: [MESSAGE, INVITE, SUBSCRIBE]
    reginfo: contact
    evict: reginfo
    preserves: []
    policy: own
    repoint: yes
trees:
  hq: { root: east, children: { east: [west, north] } }
models:
  - { match: "alice@example.com", model: unioned, style: hierarchical, tree: hq }
  - { match: "*.lab@example.com", model: unioned, style: peer, servers: [east, west] }
  - { match: "*@example.com", model: exclusive, conflict: takeover }
clients: { authenticate: none, home: east }
messages: { absent: refuse, keep: 24h }
subscriptions: { hold: known, hold-events: [presence], unreachable: wait }
`,
      { readFile: (path) => (path.endsWith("key.pem") ? KEY : CERT) },
    );
    expect(config.domains).toEqual(["example.com", "b.com"]);
    expect(config.listen[1]?.tls).toEqual({ cert: CERT, key: KEY, ca: CERT, verify: true });
    expect(config.listen[3]?.direction).toBe("down");
    expect(config.admin).toEqual({ url: "http://127.0.0.1:8060", host: "127.0.0.1", port: 8060, token: "abc" });
    expect(config.servers[1]?.nodes.map((each) => each.port)).toEqual([5060, 5062]);
    expect(config.servers[2]?.nodes[0]).toMatchObject({ secure: true, host: "127.0.0.13", port: 5061 });
    expect(config.servers[2]?.identities).toEqual({ "joe@example.com": "joe.smith" });
    expect(config.trees).toEqual([{ name: "hq", root: "east", children: { east: ["west", "north"] } }]);
    expect(config.models.map((each) => each.model)).toEqual(["unioned", "unioned", "exclusive"]);
    expect(config.models[2]).toMatchObject({ conflict: "takeover", refuseWith: 403 });
    expect(config.messages).toEqual({
      absent: "refuse",
      keepMs: 86_400_000,
      rememberMs: 86_400_000,
      perRecipient: 1000,
      octetsPerRecipient: 8 << 20,
      perSender: 10_000,
      routing: "all",
      copies: true,
    });
  });

  it("bounds what is kept of subscriptions, and says at a reload that this waits for the next start", () => {
    const of = (more: string) =>
      good(`servers: { east: { uri: "sip:127.0.0.11:5060" } }\nsubscriptions: { ${more} }\n`);
    const few = of("per-watcher: 5, per-user: 6, per-origin: 7, most: 8, longest-expiry: 10m, shortest-expiry: 1m");
    expect(few.subscriptions).toMatchObject({ perWatcher: 5, perUser: 6, perOrigin: 7, most: 8 });
    expect(few.subscriptions).toMatchObject({ longestExpiryMs: 600_000, shortestExpiryMs: 60_000 });
    const changes = diffConfig(few, of("per-watcher: 9, per-user: 6, per-origin: 7, most: 8"));
    expect(changes.map(({ path, restart }) => [path, restart])).toEqual([
      ["subscriptions.longestExpiryMs", true],
      ["subscriptions.shortestExpiryMs", true],
      ["subscriptions.perWatcher", true],
    ]);
  });

  it("has an example that npm start uses", () => {
    const config = defaultConfig();
    expect(config.domains).toEqual(["example.com"]);
    expect(config.listen.map((each) => each.url)).toEqual([
      "udp://127.0.0.1:5060",
      "tcp://127.0.0.1:5060",
      "ws://127.0.0.1:5066",
    ]);
    expect(config.admin.url).toBe("http://127.0.0.1:8060");
    expect(config.database.kind).toBe("embedded");
    expect(config.servers.map((each) => each.nodes[0]?.uri)).toEqual([
      "sip:127.0.0.11:5060",
      "sip:127.0.0.12:5060",
      "sip:127.0.0.13:5060",
    ]);
  });

  it("is documented key by key in the example file, in which nothing is amiss", () => {
    const text = readFileSync(new URL("../../codomain.example.yaml", import.meta.url), "utf8");
    expect(faults(text).map(({ severity, path }) => [severity, path])).toEqual([]);
  });

  it("of the container image is valid", () => {
    const text = readFileSync(new URL("../../docker/codomain.yaml", import.meta.url), "utf8");
    expect(faults(text, { env: { POSTGRES_PASSWORD: "x", CODOMAIN_TOKEN: "y" } })).toEqual([]);
  });
});

describe("every fault is told at once, where it is and what to do", () => {
  it("in one text", () => {
    const text = `domian: example.com
listen:
  - udp://127.0.0.1:5060
  - udp://127.0.0.1:5060
  - { url: tls://127.0.0.1:5061, crt: x }
  - { url: udp://127.0.0.2, unknown: clients }
  - xyz://1.2.3.4
  - 5
admin: { url: "http://10.0.0.1:8060" }
decision-time: 8
limits: { connections: ${variable("N")}, transactions: -4 }
database: mysql://x
servers:
  east: { uri: "sip:127.0.0.11:5060", repoint: maybe, clams: [register] }
  west: { nodes: ["sip:127.0.0.12:5060", "sip:a b"], proves: [MESAGE] }
  north: { uri: "sip:joe@127.0.0.13" }
  south: {}
trees:
  hq: { root: eest }
models:
  - { match: "a@example.com", model: exclusiv }
  - { match: "*.lab@example.com", model: partitioned, conflict: refuse }
  - { match: "b@example.com" }
clients: { home: eats }
`;
    expect(errors(text, { env: { N: "12" } })).toEqual([
      "1:1 domian",
      "4:5 listen[1]",
      "5:5 listen[2].cert",
      "5:5 listen[2].key",
      "5:34 listen[2].crt",
      "6:38 listen[3].unknown",
      "7:5 listen[4]",
      "8:5 listen[5]",
      "9:1 admin.token",
      "10:16 decision-time",
      "11:44 limits.transactions",
      "12:11 database",
      "14:48 servers.east.repoint",
      "14:55 servers.east.clams",
      "15:42 servers.west.nodes[1]",
      "15:63 servers.west.proves[0]",
      "16:17 servers.north.uri",
      "17:3 servers.south",
      "19:15 trees.hq.root",
      "21:38 models[0].model",
      "22:55 models[1].conflict",
      "23:5 models[2].model",
      "24:18 clients.home",
    ]);
    for (const each of faults(text, { env: { N: "12" } })) {
      expect(each.message, each.path).toMatch(/[.]$/);
      expect(each.fix, each.path).toMatch(/[.?]$/);
    }
  });

  it.each([
    ["an unknown key", "domian: a.com\n", "domian", 'Did you mean "domain"?'],
    ["an unknown key of a section", "health: { intervall: 1s }\n", "health.intervall", 'Did you mean "interval"?'],
    ["a key of a section at the top", "hep: udp://127.0.0.1:9060\n", "hep", "Use one of: "],
    ["a duration without a unit", "learned: 24\n", "learned", 'Write a number and a unit: "500ms"'],
    ["a duration of another kind", "learned: a day\n", "learned", 'Write a number and a unit: "500ms"'],
    ["an empty value", "learned:\n", "learned", "Write one, or remove the key."],
    ["both domain and domains", "domains: [b.com]\n", "domain", 'Put all of them into "domains".'],
    ["a home that does not exist", "clients: { home: eats }\n", "clients.home", 'Did you mean "east"?'],
    [
      "an admin API off loopback without a token",
      'admin: { url: "http://0.0.0.0:80" }\n',
      "admin.token",
      'Add "token: …"',
    ],
    ["an admin page over https", 'admin: { url: "https://127.0.0.1" }\n', "admin.url", "reverse proxy"],
    ["an admin page on a SIP port", 'admin: { url: "http://127.0.0.1:5060" }\n', "admin.url", "another port"],
    ["a listener on a name", "listen: [udp://localhost:5060]\n", "listen[0]", 'Write "127.0.0.1"'],
    ["a port that is none", "listen: [udp://127.0.0.1:70000]\n", "listen[0]", "Write a port from 1 to 65535"],
    ["no listener", "listen: []\n", "listen", "or leave it out"],
    ["tcp and ws on one port", "listen: [tcp://127.0.0.1:5060, ws://127.0.0.1:5060]\n", "listen[1]", "another port"],
    ["a certificate for udp", "listen: [{ url: udp://127.0.0.1:5060, cert: a.pem }]\n", "listen[0].cert", "Remove it"],
    ["a collector on a name", 'capture: { hep: "udp://homer:9060" }\n', "capture.hep", "with an IP address and a port"],
    ["a collector without a port", 'capture: { hep: "udp://127.0.0.1" }\n', "capture.hep", "IP address and a port"],
    ["a collector over TCP", 'capture: { hep: "tcp://127.0.0.1:9060" }\n', "capture.hep", "udp://127.0.0.1:9060"],
    ["a capture to nowhere", "capture: { agent: 1 }\n", "capture.hep", "Where the collector listens"],
    ["a decision after the sender's own timer F", "decision-time: 40s\n", "decision-time", "Write less than 32s."],
    ["a T1 longer than T2", "timers: { t1: 5s }\n", "timers.t1", "make T1 shorter"],
    ["a database of another kind", "database: mysql://x\n", "database", '"embedded"'],
    ["a tree with an unknown server", "trees: { t: { root: weast } }\n", "trees.t.root", 'Did you mean "east"?'],
    [
      "a tree whose root has a parent",
      "trees: { t: { root: east, children: { west: [east], east: [west] } } }\n",
      "trees.t.children.west[0]",
      "another root",
    ],
    [
      "a server with two parents",
      "trees: { t: { root: east, children: { east: [west, north], west: [north] } } }\n",
      "trees.t.children.west[0]",
      "one parent",
    ],
    [
      "a part of a tree that the root does not reach",
      "trees: { t: { root: east, children: { west: [north] } } }\n",
      "trees.t.children.west",
      "below a server of the tree",
    ],
    [
      "a model for a domain not served",
      'models: [{ match: "*@b.com", model: partitioned }]\n',
      "models[0].match",
      "The domains are: a.com.",
    ],
    [
      "a hierarchical model without a tree",
      'models: [{ match: "*@a.com", model: unioned, style: hierarchical }]\n',
      "models[0].tree",
      'Add "tree: NAME"',
    ],
    [
      "a hierarchical model with servers",
      'trees: { t: { root: east } }\nmodels: [{ match: "*@a.com", model: unioned, style: hierarchical, tree: t, servers: [east, west] }]\n',
      "models[0].servers",
      "Remove this.",
    ],
    [
      "a peer model without servers",
      'models: [{ match: "*@a.com", model: unioned, style: peer }]\n',
      "models[0].servers",
      "[east, west]",
    ],
    [
      "a peer model with a server that does not exist",
      'models: [{ match: "*@a.com", model: unioned, style: peer, servers: [east, wst] }]\n',
      "models[0].servers[1]",
      'Did you mean "west"?',
    ],
    [
      "a refusal in a takeover",
      'models: [{ match: "*@a.com", model: exclusive, refuse-with: 302 }]\n',
      "models[0].refuse-with",
      "conflict: refuse",
    ],
    [
      "a pattern that is no address",
      'models: [{ match: "alice", model: partitioned }]\n',
      "models[0].match",
      "*@example.com",
    ],
  ])("%s", (_title, text, path, fix) => {
    const fault = only(`domain: a.com\n${text}${SERVERS}`.replace(/^domain: a\.com\n(domian)/, "$1"));
    expect(fault.path).toBe(path);
    expect(fault.fix).toContain(fix);
  });

  it.each([
    ["no servers", "", "servers", "uri"],
    ["an empty set of servers", "servers: {}\n", "servers", "uri"],
    ["a server without an address", "servers: { east: {} }\n", "servers.east", '"uri: sip:HOST:PORT"'],
    [
      "a server with uri and nodes",
      'servers: { east: { uri: "sip:h", nodes: ["sip:i"] } }\n',
      "servers.east.uri",
      '"nodes"',
    ],
    [
      "a URI of another scheme",
      'servers: { east: { uri: "http://h" } }\n',
      "servers.east.uri",
      '"sip:127.0.0.11:5060"',
    ],
    ["a URI with a user", 'servers: { east: { uri: "sip:joe@h" } }\n', "servers.east.uri", 'up to the "@"'],
    [
      "a URI with an address that is none",
      'servers: { east: { uri: "sip:1.2.3.400" } }\n',
      "servers.east.uri",
      '"sip:127.0.0.11:5060"',
    ],
    [
      "sips over udp",
      'servers: { east: { uri: "sips:h;transport=udp" } }\n',
      "servers.east.uri",
      "sip: in place of sips:",
    ],
    [
      "a transport that nothing here speaks",
      'servers: { east: { uri: "sips:127.0.0.9" } }\n',
      "servers.east.uri",
      '"- tls://127.0.0.1:5061"',
    ],
    [
      "an address of a family that nothing here speaks",
      'servers: { east: { uri: "sip:[::1]:5070" } }\n',
      "servers.east.uri",
      '"- udp://[::1]:5060"',
    ],
    [
      "a server behind WebSocket",
      'servers: { east: { uri: "sip:h;transport=ws" } }\n',
      "servers.east.uri",
      "udp, tcp or tls",
    ],
    ["an unknown parameter", 'servers: { east: { uri: "sip:h;lr" } }\n', "servers.east.uri", "Only transport="],
    [
      "two servers at one address",
      'servers: { east: { uri: "sip:127.0.0.9" }, west: { uri: "sip:127.0.0.9:5060;transport=tcp" } }\n',
      "servers.west.uri",
      "its own address",
    ],
    [
      "a server at the proxy's own address",
      'servers: { east: { uri: "sip:127.0.0.1:5060" } }\n',
      "servers.east.uri",
      "the server's own address",
    ],
    ["a name that is none", 'servers: { "ea st": { uri: "sip:h" } }\n', 'servers["ea st"]', "letters, digits"],
    [
      "an identity of a stranger",
      'servers: { east: { uri: "sip:h", identities: { "joe@b.com": x } } }\n',
      'servers.east.identities["joe@b.com"]',
      "a.com",
    ],
    [
      "one identity for two users",
      'servers: { east: { uri: "sip:h", identities: { "j@a.com": x, "k@a.com": x } } }\n',
      'servers.east.identities["k@a.com"]',
      "one name",
    ],
    [
      "a subdomain that is the domain",
      'servers: { east: { uri: "sip:h", subdomain: a.com } }\n',
      "servers.east.subdomain",
      "east.a.com",
    ],
  ])("%s", (_title, text, path, fix) => {
    const fault = only(`domain: a.com\n${text}`);
    expect(fault.path).toBe(path);
    expect(fault.fix).toContain(fix);
  });

  it("a key given twice", () => {
    const fault = only(`domain: a.com\n${SERVERS}domain: b.com\n`);
    expect([fault.line, fault.column]).toEqual([6, 1]);
  });

  it("a text that is no YAML, once and at its place", () => {
    const fault = only("servers: { east: { uri: x }\nlisten: 5\n");
    expect(fault.line).toBe(2);
    expect(fault.message).toContain("no valid YAML");
  });

  it("a text that is no set of keys", () => {
    expect(only("- a\n- b\n").fix).toContain("servers:");
  });

  it("aliases that multiply are refused in bounded time", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let i = 1; i < 12; i++)
      lines.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(", ")}]`,
      );
    expect(faults(lines.join("\n")).map((each) => each.message)).toContain("The configuration is too large.");
  });
});

describe("warnings keep nobody from starting", () => {
  it.each([
    ['[{ match: "*@a.com", model: partitioned }, { match: "joe@a.com", model: exclusive }]', "models[1].match"],
    ['[{ match: "*.lab@a.com", model: partitioned }, { match: "x*.lab@*", model: exclusive }]', undefined],
    ['[{ match: "*b*@a.com", model: partitioned }, { match: "a*bc@a.com", model: exclusive }]', "models[1].match"],
    ['[{ match: "ab*@a.com", model: partitioned }, { match: "a*b@a.com", model: exclusive }]', undefined],
  ])("a rule of %s that an earlier one covers", (models, path) => {
    const loaded = loadConfig(`domain: a.com\nmodels: ${models}\n${SERVERS}`, { env: {} });
    expect(loaded.config).toBeDefined();
    expect("warnings" in loaded ? loaded.warnings[0]?.path : "faulty").toBe(path);
  });

  it("a wildcard that peers are not told a name for", () => {
    const loaded = loadConfig(`domain: a.com\nlisten: [tcp://0.0.0.0:5060]\n${SERVERS}`, { env: {} });
    expect("warnings" in loaded ? loaded.warnings.map((each) => each.fix) : []).toEqual([
      expect.stringContaining('"advertise: HOST"'),
    ]);
  });

  it.each([
    ["udp://127.0.0.1:5060", ["listen[0]"], ['Add "tcp://127.0.0.1:5060".']],
    ["udp://127.0.0.1:5060, tcp://127.0.0.1:5061", ["listen[0]"], ['Add "tcp://127.0.0.1:5060".']],
    ["udp://127.0.0.1:5060, ws://127.0.0.1:5060", ["listen[0]"], ['Add "tcp://127.0.0.1:5060".']],
    ["tcp://127.0.0.1:5060, udp://127.0.0.2:5060", ["listen[1]"], ['Add "tcp://127.0.0.2:5060".']],
    ['"udp://[::1]:5060", tcp://127.0.0.1:5060', ["listen[0]"], ['Add "tcp://[::1]:5060".']],
    ["tcp://127.0.0.1:5060, udp://127.0.0.1:5060", [], []],
    ['udp://127.0.0.1:5060, { url: "tcp://0.0.0.0:5060", advertise: a.com }', [], []],
    [
      '{ url: "udp://0.0.0.0:5060", advertise: a.com }, tcp://127.0.0.1:5060',
      ["listen[0]"],
      ['Add "tcp://0.0.0.0:5060".'],
    ],
    // Any free port: no two get the same.
    ["udp://127.0.0.1:0", [], []],
  ])("RFC 3261 18.2.1: UDP without TCP on the same address and port: %s", (listen, paths, fixes) => {
    const loaded = loadConfig(`domain: a.com\nlisten: [${listen}]\n${SERVERS}`, { env: {} });
    const told = "warnings" in loaded ? loaded.warnings : undefined;
    expect([told?.map((each) => each.path), told?.map((each) => each.fix)]).toEqual([paths, fixes]);
  });

  it("RFC 3261 16.6: timer C of three minutes or less", () => {
    const loaded = loadConfig(`domain: a.com\ntimers: { c: 3m }\n${SERVERS}`, { env: {} });
    expect("warnings" in loaded ? loaded.warnings.map((each) => each.path) : []).toEqual(["timers.c"]);
  });
});

describe("values from the environment", () => {
  it("stand anywhere in a value, also inside { … }, and become numbers where numbers are wanted", () => {
    const env = { TOKEN: "12345", HOST: "127.0.0.50", N: "77" };
    const text = `domain: a.com
admin: { url: http://127.0.0.1:8060, token: ${variable("TOKEN")} }
servers: { east: { uri: "sip:${variable("HOST")}:5060" } }
limits: { connections: ${variable("N")} }
`;
    const config = good(text, { env });
    expect(config.admin.token).toBe("12345");
    expect(config.servers[0]?.nodes[0]?.host).toBe("127.0.0.50");
    expect(config.limits.connections).toBe(77);
  });

  it("that are missing are one fault each, at their place", () => {
    const fault = only(`domain: a.com\nadmin: { token: ${variable("NOPE")} }\n${SERVERS}`);
    expect([fault.line, fault.column, fault.path]).toEqual([2, 17, "admin.token"]);
    expect(fault.message).toContain('"NOPE"');
  });

  it("are taken as text and never as YAML, nor looked at again", () => {
    const config = good(`domain: a.com\nadmin: { token: ${variable("T")} }\n${SERVERS}`, {
      env: { T: `a, url: ${variable("X")} }` },
    });
    expect(config.admin.token).toBe(`a, url: ${variable("X")} }`);
  });

  it("can be written literally with a doubled dollar", () => {
    expect(good(`domain: a.com\nadmin: { token: $${variable("T")} }\n${SERVERS}`).admin.token).toBe(variable("T"));
  });
});

describe("tls", () => {
  const listen = (more: string): string =>
    `domain: a.com\nlisten: [{ url: "tls://127.0.0.1:5061"${more} }, udp://127.0.0.1:5060]\n${SERVERS}`;
  const files: Record<string, string> = {
    "/etc/codomain/c.pem": CERT,
    "/etc/codomain/k.pem": KEY,
    "/etc/codomain/o.pem": OTHER_KEY,
  };
  const options: LoadOptions = {
    file: "/etc/codomain/codomain.yaml",
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw Object.assign(new Error("none"), { code: "ENOENT" });
      return text;
    },
  };

  it("reads files relative to the configuration", () => {
    expect(good(listen(", cert: c.pem, key: k.pem"), options).listen[0]?.tls).toEqual({
      cert: CERT,
      key: KEY,
      ca: null,
      verify: false,
    });
  });

  it("verifies peers by default where it is told by whom", () => {
    expect(good(listen(", cert: c.pem, key: k.pem, ca: c.pem"), options).listen[0]?.tls?.verify).toBe(true);
  });

  it.each([
    ["no certificate", ", key: k.pem", "listen[0].cert"],
    ["a file that is not there", ", cert: x.pem, key: k.pem", "listen[0].cert"],
    ["a key in place of the certificate", ", cert: k.pem, key: k.pem", "listen[0].cert"],
    ["a certificate in place of the key", ", cert: c.pem, key: c.pem", "listen[0].key"],
    ["a key of another certificate", ", cert: c.pem, key: o.pem", "listen[0].key"],
    ["verification by nobody", ", cert: c.pem, key: k.pem, verify: true", "listen[0].verify"],
  ])("refuses %s", (_title, more, path) => {
    expect(only(listen(more), options).path).toBe(path);
  });
});

describe("paths of data", () => {
  it("embedded:PATH is relative to the configuration, embedded is ./data", () => {
    const at = (database: string): unknown =>
      good(`domain: a.com\ndatabase: ${database}\n${SERVERS}`, { file: "/etc/codomain/c.yaml" }).database;
    expect(at("embedded:db")).toEqual({ kind: "embedded", path: "/etc/codomain/db" });
    expect(at("embedded:/var/db")).toEqual({ kind: "embedded", path: "/var/db" });
    expect(at("embedded")).toEqual({ kind: "embedded", path: `${process.cwd()}/data` });
  });

  it("a faulty database URL is not repeated: it may hold a password", () => {
    const fault = only(`domain: a.com\ndatabase: "postgres://joe:s3cret@[x/db"\n${SERVERS}`);
    expect(JSON.stringify(fault)).not.toContain("s3cret");
  });
});
