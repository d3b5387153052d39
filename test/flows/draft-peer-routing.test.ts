import { afterEach, describe, expect, it } from "vitest";
import { Figure, type FigureServer, servers } from "../support/figure.ts";

/** The draft, "Unioned", "Peer Model", "Routing": its figure step by step, with the proxy between the servers. */

let figure: Figure;

afterEach(() => figure.world.stop());

const PEER: FigureServer = { onward: "both", own: 1, asked: 1 };

async function begin(peers: Readonly<Record<string, FigureServer>>): Promise<void> {
  figure = await Figure.begin(peers, { model: "unioned", style: "peer", servers: Object.keys(peers) });
}

describe("Bob on server 1, Joe on server 2, both watch Alice, who is on both", () => {
  it("Bob's subscription goes to server 2, whose own comes back to what has seen it: 482, and it answers with its own data", async () => {
    await begin({ server1: PEER, server2: PEER });
    const bob = await figure.watch("bob", "127.0.0.50", "server1");
    const said = figure.said();
    expect(said.filter((line) => /SUBSCRIBE|482/.test(line))).toEqual([
      "server1 -> codomain: SUBSCRIBE for bob",
      "codomain -> server2: SUBSCRIBE for bob",
      "server2 -> codomain: SUBSCRIBE for bob",
      "codomain -> server2: 482 to SUBSCRIBE",
    ]);
    expect(said.filter((line) => / active /.test(line))).toEqual([
      "server2 -> codomain: NOTIFY active server2",
      "codomain -> server1: NOTIFY active server2",
    ]);
    expect(bob.saw).toEqual(["pending", "active open"]);
    expect(servers(bob.last!.body)).toBe("server1 server2");
  });

  it("Joe's goes the other way round, at the same time, and both see the same", async () => {
    await begin({ server1: PEER, server2: PEER });
    const bob = await figure.watch("bob", "127.0.0.50", "server1");
    figure.said();
    const joe = await figure.watch("joe", "127.0.0.51", "server2");
    expect(figure.said().filter((line) => /SUBSCRIBE|482/.test(line))).toEqual([
      "server2 -> codomain: SUBSCRIBE for joe",
      "codomain -> server1: SUBSCRIBE for joe",
      "server1 -> codomain: SUBSCRIBE for joe",
      "codomain -> server1: 482 to SUBSCRIBE",
    ]);
    expect([servers(bob.last!.body), servers(joe.last!.body)]).toEqual(["server1 server2", "server1 server2"]);
    figure.world.servers["server1"]!.show("alice", "closed");
    await figure.world.simulation.advance(2_000);
    for (const watcher of [bob, joe]) expect(watcher.last!.body).toContain("<basic>closed</basic>");
  });

  it("a 482 has a Warning (RFC 3261 20.43), and a refresh is never a loop", async () => {
    await begin({ server1: PEER, server2: PEER });
    const warnings: string[] = [];
    figure.world.proxies[0]!.telemetry.on("message", ({ raw }) => {
      if (raw.startsWith("SIP/2.0 482")) warnings.push(/^Warning:\s*(\d+)/im.exec(raw)?.[1] ?? "none");
    });
    const bob = await figure.watch("bob", "127.0.0.50", "server1");
    figure.said();
    // Back-end subscriptions are refreshed halfway, of 600 s.
    await figure.world.simulation.advance(400_000);
    const said = figure.said();
    expect(said.filter((line) => line.includes("SUBSCRIBE")).length).toBeGreaterThan(0);
    expect(said.filter((line) => line.includes("482"))).toEqual([]);
    expect(warnings).toEqual(["399"]);
    expect(bob.last?.state).toBe("active");
  });

  it("three peers: one subscription each, whoever sends it on", async () => {
    await begin({ server1: PEER, server2: PEER, server3: PEER });
    const bob = await figure.watch("bob", "127.0.0.50", "server1");
    const said = figure.said();
    expect(said.filter((line) => line.startsWith("codomain -> ") && line.includes(": SUBSCRIBE")).sort()).toEqual([
      "codomain -> server2: SUBSCRIBE for bob",
      "codomain -> server3: SUBSCRIBE for bob",
    ]);
    expect(said.filter((line) => line.includes("482")).sort()).toEqual([
      "codomain -> server2: 482 to SUBSCRIBE",
      "codomain -> server3: 482 to SUBSCRIBE",
    ]);
    expect(servers(bob.last!.body)).toBe("server1 server2 server3");
  });

  it("when Bob ends it, every dialog that it made ends", async () => {
    await begin({ server1: PEER, server2: PEER });
    const bob = await figure.watch("bob", "127.0.0.50", "server1");
    expect(figure.world.servers["server2"]!.live).toBe(1);
    await bob.refresh(0, { proxy: "127.0.0.11" });
    await figure.world.simulation.advance(40_000);
    expect(bob.last).toMatchObject({ state: "terminated", reason: "timeout" });
    expect(Object.values(figure.world.servers).map(({ live }) => live)).toEqual([0, 0]);
    for (const table of ["subscriptions", "visited"]) expect(figure.world.database.rows(table)).toEqual([]);
  });
});

describe("Bob's phone and his PC, both on server 1 (models.md, A second instance)", () => {
  const PHONE = "1".repeat(32);
  const PC = "2".repeat(32);

  it("is let in where server 1 leaves Session-ID alone (RFC 7989), and sees what the first sees", async () => {
    const preserving: FigureServer = { ...PEER, preserves: ["session-id"], rules: { passes: true } };
    await begin({ server1: preserving, server2: preserving });
    const phone = await figure.watch("bob", "127.0.0.50", "server1", PHONE);
    figure.said();
    const pc = await figure.watch("bob", "127.0.0.51", "server1", PC);
    expect(figure.said()).toContain("codomain -> server2: SUBSCRIBE for bob");
    expect([phone, pc].map(({ last }) => servers(last!.body))).toEqual(["server1 server2", "server1 server2"]);
  });

  it("without it no difference can be trusted at first: 482, and server 1 goes on with its own data", async () => {
    const rewriting: FigureServer = { ...PEER, rules: { passes: true } };
    await begin({ server1: rewriting, server2: rewriting });
    const phone = await figure.watch("bob", "127.0.0.50", "server1", PHONE);
    figure.said();
    const pc = await figure.watch("bob", "127.0.0.51", "server1", PC);
    expect(figure.said()).toEqual(["server1 -> codomain: SUBSCRIBE for bob", "codomain -> server1: 482 to SUBSCRIBE"]);
    expect([phone, pc].map(({ last }) => servers(last!.body))).toEqual(["server1 server2", "server1"]);
    // What server 1 sends for the phone has come, and nothing was sent to it that could come back.
    await figure.world.simulation.advance(5_000);
    const tablet = await figure.watch("bob", "127.0.0.52", "server1", "3".repeat(32));
    expect(servers(tablet.last!.body)).toBe("server1 server2");
    await pc.refresh(600, { proxy: "127.0.0.11" });
    await figure.world.simulation.advance(3_000);
    expect(servers(pc.last!.body)).toBe("server1");
    await figure.world.simulation.advance(3_000);
    await pc.refresh(600, { proxy: "127.0.0.11" });
    await figure.world.simulation.advance(3_000);
    expect(servers(pc.last!.body)).toBe("server1 server2");
  });

  it("a server that only claims to preserve it gets no loop past", async () => {
    const lying: FigureServer = { ...PEER, preserves: ["session-id"] };
    await begin({ server1: lying, server2: lying });
    const bob = await figure.watch("bob", "127.0.0.50", "server1", PHONE);
    const said = figure.said();
    expect(said.filter((line) => line === "codomain -> server2: 482 to SUBSCRIBE").length).toBe(1);
    expect(said.filter((line) => line.includes(": SUBSCRIBE")).length).toBe(3);
    expect(servers(bob.last!.body)).toBe("server1 server2");
  });
});

describe("server 1 has started again, and knows nothing of Bob's subscription (privacy safety)", () => {
  it("his next one is none of the old chain's: as long as server 2 has not let him in he sees nothing of server 1 either", async () => {
    await begin({ server1: PEER, server2: PEER });
    const { server1, server2 } = figure.world.servers;
    server2!.policy = () => "pending";
    await figure.watch("bob", "127.0.0.50", "server1");
    await figure.world.simulation.advance(3_000);
    server1!.forget();
    figure.said();
    const bob = await figure.watch("bob", "127.0.0.51", "server1");
    const said = figure.said();
    expect(said.filter((line) => line.includes("server1") && !line.includes("NOTIFY pending"))).toEqual([
      "server1 -> codomain: SUBSCRIBE for bob",
      "server1 -> codomain: 481 to NOTIFY",
    ]);
    expect([bob.last!.state, bob.last!.body]).toEqual(["pending", ""]);
    // Of the one that is forgotten nothing is left, here or at server 2.
    expect(figure.world.database.rows("subscriptions")).toHaveLength(1);
    expect(server2!.live).toBe(1);
    server2!.policy = () => "active";
    server2!.reconsider();
    await figure.world.simulation.advance(3_000);
    expect(servers(bob.last!.body)).toBe("server1 server2");
  });
});
