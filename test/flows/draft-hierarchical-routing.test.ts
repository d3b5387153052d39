import { afterEach, describe, expect, it } from "vitest";
import { Figure, servers } from "../support/figure.ts";

/** The draft, "Unioned", "Hierarchical Model", "Routing": its flows step by step, with the proxy between the servers. */

let figure: Figure;

afterEach(() => figure.world.stop());

const TREE = { model: "unioned", style: "hierarchical", tree: "t" } as const;

describe("two servers: Bob's PC on server 2, server 1 is the root", () => {
  const begin = async (): Promise<void> => {
    figure = await Figure.begin(
      { server1: { onward: "children", own: 1, asked: 1 }, server2: { onward: "up", own: 1, asked: 0 } },
      TREE,
      [{ name: "t", root: "server1", children: { server1: ["server2"] } }],
    );
  };

  it("the subscription goes up to server 1, which subscribes to server 2, composes, and tells server 2, which tells Bob", async () => {
    await begin();
    const bob = await figure.watch("bob", "127.0.0.50", "server2");
    const said = figure.said();
    expect(said.filter((line) => line.includes("SUBSCRIBE"))).toEqual([
      "server2 -> codomain: SUBSCRIBE for bob",
      "codomain -> server1: SUBSCRIBE for bob",
      "server1 -> codomain: SUBSCRIBE for bob",
      "codomain -> server2: SUBSCRIBE for bob",
    ]);
    expect(said.filter((line) => / active /.test(line))).toEqual([
      "server2 -> codomain: NOTIFY active server2",
      "codomain -> server1: NOTIFY active server2",
      "server1 -> codomain: NOTIFY active server1 server2",
      "codomain -> server2: NOTIFY active server1 server2",
    ]);
    expect(bob.saw).toEqual(["pending", "active open"]);
    expect(servers(bob.last!.body)).toBe("server1 server2");
  });

  it("a change at the child takes the same way, once", async () => {
    await begin();
    const bob = await figure.watch("bob", "127.0.0.50", "server2");
    figure.said();
    figure.world.servers["server1"]!.show("alice", "closed");
    await figure.world.simulation.advance(2_000);
    expect(figure.said()).toEqual([
      "server1 -> codomain: NOTIFY active server1 server2",
      "codomain -> server2: NOTIFY active server1 server2",
    ]);
    expect(bob.told.length).toBe(3);
  });

  it("from the root's own user it goes to the root's children only", async () => {
    await begin();
    const joe = await figure.watch("joe", "127.0.0.50", "server1");
    expect(figure.said().filter((line) => line.includes("SUBSCRIBE"))).toEqual([
      "server1 -> codomain: SUBSCRIBE for joe",
      "codomain -> server2: SUBSCRIBE for joe",
    ]);
    expect(servers(joe.last!.body)).toBe("server1 server2");
  });
});

describe("three levels: a root, two below it, and two below the one in the middle", () => {
  const begin = async (middle: "both" | "none"): Promise<void> => {
    const fans = middle === "both" ? 2 : 0;
    figure = await Figure.begin(
      {
        root: { onward: "children", own: 2, asked: 2 },
        middle: { onward: middle, own: middle === "both" ? 1 : 0, asked: fans },
        leaf: { onward: "up", own: 1, asked: 0 },
        low1: { onward: "up", own: 1, asked: 0 },
        low2: { onward: "none", own: 0, asked: 0 },
      },
      TREE,
      [{ name: "t", root: "root", children: { root: ["middle", "leaf"], middle: ["low1", "low2"] } }],
    );
  };
  const ALL = "leaf low1 low2 middle root";

  it.each(["both", "none"] as const)(
    "whoever watches from wherever sees the same (onward of the middle one: %s)",
    async (middle) => {
      await begin(middle);
      const ways = ["codomain", "root", "leaf", "low1", ...(middle === "both" ? ["middle"] : [])];
      const seen: string[] = [];
      for (const [i, at] of ways.entries()) {
        const watcher = await figure.watch(`watcher${i}`, `127.0.0.${50 + i}`, at);
        seen.push(`${at}: ${watcher.saw.at(-1)} ${servers(watcher.last?.body ?? "")}`);
      }
      expect(seen).toEqual(ways.map((at) => `${at}: active open ${ALL}`));
    },
  );

  it("a leaf's goes up, never to its siblings by itself; the middle one's fan-out is told from what goes up by credits", async () => {
    await begin("both");
    await figure.watch("bob", "127.0.0.50", "low1");
    const asked = figure.said().filter((line) => line.includes("SUBSCRIBE"));
    expect(asked.slice(0, 2)).toEqual(["low1 -> codomain: SUBSCRIBE for bob", "codomain -> root: SUBSCRIBE for bob"]);
    const middles = asked.filter((line) => line.startsWith("middle")).length;
    expect(middles).toBeGreaterThan(0);
    // What the middle one sends for what it was sent never gets to the root again.
    expect(asked.filter((line) => line === "codomain -> root: SUBSCRIBE for bob").length).toBe(1);
    // It sends one for each of its children, and the first of them is asked of all.
    const legs = asked.filter((line) => line === "codomain -> middle: SUBSCRIBE for bob").length;
    expect(asked.filter((line) => line === "codomain -> low1: SUBSCRIBE for bob").length).toBe(legs);
  });
});
