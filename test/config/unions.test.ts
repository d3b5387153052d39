import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.ts";

const SERVER_NAMES = ["east", "west", "north", "south"];

/** Servers with these lines more each. */
function servers(more: Readonly<Record<string, string>> = {}): string {
  const lines = SERVER_NAMES.map((name, i) => `  ${name}: { uri: "sip:127.0.0.${11 + i}:5060"${more[name] ?? ""} }`);
  return `servers:\n${lines.join("\n")}\n`;
}

const LISTEN = "listen: [udp://127.0.0.1:5060, tcp://127.0.0.1:5060]\n";
const WITH_DOWN = `listen:
  - udp://127.0.0.1:5060
  - tcp://127.0.0.1:5060
  - { url: udp://127.0.0.1:5070, direction: down }
  - { url: tcp://127.0.0.1:5070, direction: down }
`;
const TREE = "trees: { hq: { root: east, children: { east: [west, north], west: [south] } } }\n";
const HIERARCHICAL = 'models: [{ match: "*@a.com", model: unioned, style: hierarchical, tree: hq }]\n';
const PEER = 'models: [{ match: "*@a.com", model: unioned, style: peer, servers: [east, west] }]\n';

function warnings(text: string): readonly string[] {
  const loaded = loadConfig(`domain: a.com\n${text}`, { env: {} });
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded));
  for (const { message, fix } of loaded.warnings) {
    expect(message).toMatch(/[.]$/);
    expect(fix).toMatch(/[.]$/);
  }
  return loaded.warnings.map((each) => each.path);
}

describe("the unioned models, checked", () => {
  it("a tree and a list with nothing to be said against", () => {
    expect(warnings(LISTEN + servers() + TREE + HIERARCHICAL)).toEqual([]);
    expect(warnings(LISTEN + servers() + PEER)).toEqual([]);
    expect(warnings(LISTEN + servers({ west: ", onward: both" }) + PEER)).toEqual([]);
    expect(warnings(LISTEN + servers({ east: ", onward: children" }) + TREE + HIERARCHICAL)).toEqual([]);
  });

  it("a list of one server", () => {
    expect(warnings(LISTEN + servers() + PEER.replace("east, west", "east"))).toEqual(["models[0].servers"]);
  });

  it("a tree of one server", () => {
    expect(warnings(`${LISTEN + servers()}trees: { hq: { root: east } }\n`)).toEqual(["trees.hq"]);
  });

  it("a redirect server, which can name one server only", () => {
    for (const models of [PEER, TREE + HIERARCHICAL]) {
      expect(warnings(`${LISTEN + servers() + models}routing: redirect\n`)).toEqual(["routing"]);
    }
    expect(warnings(`${LISTEN + servers() + TREE}routing: redirect\n`)).toEqual([]);
  });

  it("onward of a server that is in no tree and on no list", () => {
    for (const onward of ["up", "children", "both"]) {
      const given = servers({ south: `, onward: ${onward}` });
      expect(warnings(LISTEN + given + PEER)).toEqual(["servers.south.onward"]);
    }
  });

  it("onward to children of a server that has none", () => {
    expect(warnings(LISTEN + servers({ south: ", onward: both" }) + TREE)).toEqual(["servers.south.onward"]);
    expect(warnings(LISTEN + servers({ south: ", onward: up" }) + TREE)).toEqual([]);
  });

  it("a middle node that goes onward, and no listener that is `down`: credits are used", () => {
    for (const onward of ["children", "both"]) {
      const given = servers({ west: `, onward: ${onward}`, east: `, onward: ${onward}` });
      expect(warnings(LISTEN + given + TREE)).toEqual(["servers.west.onward"]);
      expect(warnings(WITH_DOWN + given + TREE)).toEqual([]);
    }
    expect(warnings(LISTEN + servers({ west: ", onward: up" }) + TREE)).toEqual([]);
  });

  it("a listener that is `down`, and no tree", () => {
    expect(warnings(WITH_DOWN + servers() + PEER)).toEqual(["listen[2].direction", "listen[3].direction"]);
  });

  it("a server whose dialogs cannot be moved, among those of unioned users", () => {
    expect(warnings(LISTEN + servers({ south: ", repoint: no" }) + TREE)).toEqual(["servers.south.repoint"]);
    expect(warnings(LISTEN + servers({ west: ", repoint: no" }) + PEER)).toEqual(["servers.west.repoint"]);
    expect(warnings(LISTEN + servers({ south: ", repoint: no" }) + PEER)).toEqual([]);
  });

  it("`unreachable: without`, and no server that never denies", () => {
    const without = "subscriptions: { unreachable: without }\n";
    expect(warnings(LISTEN + servers() + PEER + without)).toEqual(["subscriptions.unreachable"]);
    expect(warnings(LISTEN + servers({ south: ", policy: none" }) + PEER + without)).toEqual([]);
  });
});
