import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import { renderExplanation } from "../../src/federation/explain.ts";
import type { Facts, Onward, Tree } from "../../src/federation/facts.ts";
import { facts, fromServer, server, settings } from "./make.ts";

const TREE: Tree = { name: "hq", root: "east", children: { east: ["west", "south"], west: ["north"] } };
const HQ: Facts["model"] = { model: "unioned", style: "hierarchical", tree: "hq" };
const PEER: Facts["model"] = { model: "unioned", style: "peer", servers: ["east", "west", "gone"] };
const UNIONS = { trees: [TREE], downListener: false, unreachable: "wait" as const };

function explain(change: Partial<Facts>, onward: Readonly<Record<string, Onward>> = {}) {
  const given = facts({
    method: "SUBSCRIBE",
    event: "presence",
    model: HQ,
    modelFrom: "models[0] *@example.com",
    servers: ["east", "west", "south", "north"].map((name) => server(name, { onward: onward[name] ?? "none" })),
    settings: settings({ unions: UNIONS }),
    ...change,
  });
  return renderExplanation(given, decide(given));
}

describe("explain, unioned", () => {
  it("says who is asked and why, and that this proxy is the virtual root", () => {
    const { text, json } = explain({ sender: { aor: "bob@example.com", trusted: false } });
    expect(text).toEqual([
      "SUBSCRIBE (presence) for alice@example.com from client",
      "sender: bob@example.com, not proved",
      "model: unioned, by models[0] *@example.com",
      "binding: none, epoch 3",
      "servers: east up, west up, south up, north up",
      "union: tree hq",
      "  the root does not go onward to its children by itself: this proxy is its virtual root",
      "  asked: east (root, above west, south, onward none, up): its own part; for those below it this proxy asks itself",
      "  asked: west (middle, above north, onward none, up): its own part; for those below it this proxy asks itself",
      "  asked: north (leaf, onward none, up): its own part",
      "  asked: south (leaf, onward none, up): its own part",
      "- from outside of the tree or a client: it is for the whole tree",
      "plan: compose east, west, north, south",
      "  one document of all of them; pending until each has confirmed or dropped out",
    ]);
    expect(json.union).toMatchObject({
      style: "hierarchical",
      tree: "hq",
      view: { from: null, direction: "up" },
      virtualRoot: true,
      unknown: [],
    });
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
  });

  it("says who goes onward by itself, whom that spares us, and by which credits", () => {
    const { text, json } = explain({}, { west: "children" });
    expect(text).toContain(
      "  asked: west (middle, above north, onward children, up): its own part and that of all below it, which it asks for by itself (told by credits): north",
    );
    expect(text).toContain("    1 credit for 32 s, for what it sends on or back");
    expect(text).toContain("  not asked: north (leaf, onward none, up): west goes onward to it by itself");
    expect(json.union?.servers.find((each) => each.name === "west")).toMatchObject({ asked: true, credits: 1 });
    const whole = explain({}, { east: "both", west: "both" });
    expect(whole.json.union?.virtualRoot).toBe(false);
    expect(whole.json.summary).toBe("compose east");
    const listener = explain({ settings: settings({ unions: { ...UNIONS, downListener: true } }) }, { west: "both" });
    expect(listener.text.join("\n")).toContain("(at a listener that is down): north");
    expect(listener.text.join("\n")).not.toContain("credit");
  });

  it("says both plans where a credit decides", () => {
    const { text, json } = explain({ origin: fromServer("west") }, { west: "both" });
    expect(text.slice(-6)).toEqual([
      "- a credit tells what it was sent, and sends on, from what its own users send up",
      "plan: credit of west decides",
      "where it has a credit, as what it was sent: compose north",
      "  - it goes down from a server of the tree: it is for the servers below it",
      "where it has none, as its own user's: compose east, west, south",
      "  - from a server of the tree, for its own user: it is for the whole tree",
    ]);
    expect(json.either).toMatchObject({ spent: { servers: ["north"] }, none: { servers: ["east", "west", "south"] } });
    expect(json.plan.kind).toBe("credit");
    expect(json.union?.servers.map((each) => each.why)).toEqual(Array(4).fill("a credit decides"));
    expect(explain({}).json.either).toBeNull();
  });

  it("says who asks itself, who is not below, and who is out", () => {
    const root = explain({ origin: fromServer("east") });
    expect(root.text).toContain(
      "  not asked: east (root, above west, south, onward none, up): it asks itself, and has its own part",
    );
    const down = { origin: fromServer("west"), direction: "down" } as const;
    const { text } = explain({ ...down, settings: settings({ unions: { ...UNIONS, downListener: true } }) });
    expect(text).toContain("  not asked: south (leaf, onward none, up): it is not below the server that asks");
    const peer = explain({ model: PEER, origin: fromServer("east") });
    expect(peer.text).toContain("union: peers");
    expect(peer.text).toContain("  not asked: east (peer, onward none, up): it asks itself, and has its own part");
    expect(peer.text).toContain("  out, because not configured: gone");
    expect(peer.text).toContain(
      "  a server that a live chain of this watcher has visited is left out; 482 where none is left",
    );
    expect(peer.json.union).toMatchObject({ tree: null, unknown: ["gone"], virtualRoot: false });
  });

  it("says who cannot be asked, and whether he is waited for", () => {
    const servers = [server("east"), server("west", { up: false }), server("south", { up: false, neverDenies: true })];
    expect(explain({ servers }).text).toContain("  west cannot be asked now: it waits for it");
    expect(explain({ servers }).text).toContain("  south cannot be asked now: it waits for it");
    const without = settings({ unions: { ...UNIONS, unreachable: "without" } });
    const { text } = explain({ servers, settings: without });
    expect(text).toContain("  west cannot be asked now: it waits for it");
    expect(text).toContain("  shown without south, which never denies");
  });

  it("of a MESSAGE: whose choice it is, and who is not asked", () => {
    const servers = [server("east"), server("west", { up: false })];
    const { text, json } = explain({ method: "MESSAGE", event: "", model: PEER, servers });
    expect(json.summary).toBe("spread to east");
    expect(text).toContain("  which of them, the user's setting says");
    expect(text).toContain("  cannot be asked now: west");
    expect(text).toContain("  not asked: west (peer, onward none, down): it cannot be asked now");
    const part = explain({ method: "MESSAGE", event: "", origin: fromServer("east") }, { east: "children" });
    expect(part.text).toContain("  to all of them: it is a server's part of the whole");
  });

  it("of what goes to one server: which one; of an unknown tree: that there is none", () => {
    const { json } = explain({ method: "OPTIONS", event: "" });
    expect(json.union?.servers.map(({ name, asked }) => [name, asked])).toEqual([
      ["east", true],
      ["west", false],
      ["north", false],
      ["south", false],
    ]);
    const gone = explain({ model: { model: "unioned", style: "hierarchical", tree: "gone" } });
    expect(gone.text).toContain("union: tree gone");
    expect(gone.text).toContain("  none of its servers is known");
    expect(gone.json.union?.servers).toEqual([]);
  });

  it("of what is refused, stored or answered here: why nobody is asked", () => {
    const why = (change: Partial<Facts>) => explain(change).json.union!.servers.map((each) => each.why);
    const down = ["east", "west"].map((name) => server(name, { up: false }));
    const message = { method: "MESSAGE", event: "", model: PEER };
    expect(why({ ...message, servers: down })).toEqual(["it cannot be asked now", "it cannot be asked now"]);
    const lookup = { ...facts().lookup, state: "no-binding", user: null, epoch: 1, stored: true } as const;
    expect(why({ ...message, lookup })).toEqual(Array(2).fill("the message waits behind others"));
    expect(why({ ...message, lookup: { state: "unavailable" } })).toEqual(Array(2).fill("the request is refused"));
    const only = { model: { model: "unioned", style: "peer", servers: ["east"] }, origin: fromServer("east") } as const;
    expect(why(only)).toEqual(["it asks itself"]);
    const claim = { method: "REGISTER", event: "", claim: "claim", origin: fromServer("west") } as const;
    expect(why({ ...claim, model: PEER })).toEqual(Array(2).fill("this proxy answers itself"));
    const winfo = { event: "presence.winfo", sender: { aor: "alice@example.com", trusted: true } };
    const told = { model: PEER, settings: settings({ unions: UNIONS, watcherinfo: true }) };
    expect(why({ ...winfo, ...told })).toEqual(Array(2).fill("this proxy answers itself"));
    expect(why({ method: "OPTIONS", event: "", model: PEER })[1]).toBe("it goes to one server only");
  });

  it("of another model: nothing of it", () => {
    expect(explain({ model: { model: "partitioned" } }).json.union).toBeNull();
  });
});
