import { afterEach, describe, expect, it } from "vitest";
import type { Verdict } from "../../src/demo/presence-agent.ts";
import { Figure, type FigureServer, servers } from "../support/figure.ts";

/** The draft, "Policy and Identity", "Distributed Provisioning": privacy safety, with the proxy between the servers. */

let figure: Figure;

afterEach(() => figure.world.stop());

const PEER: FigureServer = { onward: "both", own: 1, asked: 1 };
const NAMES = ["server1", "server2", "server3"];

async function begin(): Promise<void> {
  const model = { model: "unioned", style: "peer", servers: NAMES } as const;
  figure = await Figure.begin({ server1: PEER, server2: PEER, server3: { onward: "none", own: 0, asked: 0 } }, model);
}

const denying =
  (watcher: string) =>
  (who: string): Verdict =>
    who.includes(watcher) ? "rejected" : "active";

/** Every document that went to him, or to a server for him, and came from more than one. */
const documentsFor = (said: readonly string[], name: string): string[] =>
  said.filter((line) => line.startsWith(`codomain -> ${name}: NOTIFY active`));

describe("a watcher who is denied at one server", () => {
  it.each(["codomain", "server1"])("at %s is denied as a whole, and never sees a byte", async (at) => {
    await begin();
    figure.world.servers["server3"]!.policy = (who) => denying("bob")(who);
    const bob = await figure.watch("bob", "127.0.0.50", at);
    expect(bob.saw.at(-1)).toBe("terminated rejected");
    expect(bob.told.map(({ body }) => body).join("")).toBe("");
    expect(documentsFor(figure.said(), at === "codomain" ? "bob" : at)).toEqual([]);
  });

  it("later, loses what he had at once, and every other leg ends", async () => {
    await begin();
    const bob = await figure.watch("bob", "127.0.0.50", "codomain");
    expect(servers(bob.last!.body)).toBe("server1 server2 server3");
    const { server3 } = figure.world.servers;
    server3!.policy = (who) => denying("bob")(who);
    server3!.reconsider();
    await figure.world.simulation.advance(2_000);
    expect(bob.saw.at(-1)).toBe("terminated rejected");
    await figure.world.simulation.advance(40_000);
    expect(Object.values(figure.world.servers).map(({ live }) => live)).toEqual([0, 0, 0]);
  });

  it("does not touch another who may", async () => {
    await begin();
    figure.world.servers["server3"]!.policy = (who) => denying("bob")(who);
    await figure.watch("bob", "127.0.0.50", "server1");
    const joe = await figure.watch("joe", "127.0.0.51", "server1");
    expect(servers(joe.last!.body)).toBe("server1 server2 server3");
  });

  it("nobody is shown anything before all have confirmed", async () => {
    await begin();
    figure.world.servers["server3"]!.policy = () => "pending";
    const bob = await figure.watch("bob", "127.0.0.50", "codomain");
    await figure.world.simulation.advance(60_000);
    expect([...new Set(bob.saw)]).toEqual(["pending"]);
    figure.world.servers["server3"]!.policy = () => "active";
    figure.world.servers["server3"]!.reconsider();
    await figure.world.simulation.advance(2_000);
    expect(servers(bob.last!.body)).toBe("server1 server2 server3");
  });
});
