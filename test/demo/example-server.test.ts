import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createExampleServer, type ExampleServer, type ExampleServerOptions } from "../../src/demo/example-server.ts";
import { createSimulation, type SimulatedRuntime, type Simulation } from "../../src/runtime/simulated.ts";

/** Two servers that take each other for the proxy: what one does as a client the other answers as a server. */
let simulation: Simulation;
let east: ExampleServer;
let west: ExampleServer;
let machines: SimulatedRuntime[];

const EAST = { host: "127.0.0.11", port: 5060 };
const WEST = { host: "127.0.0.12", port: 5060 };

async function servers(options: Partial<ExampleServerOptions> = {}): Promise<void> {
  const common = { domain: "example.com", onUnknown: "404", ...options } as const;
  east = createExampleServer(machines[0]!, { ...common, name: "east", listen: EAST, proxy: WEST, users: ["alice"] });
  west = createExampleServer(machines[1]!, { ...common, name: "west", listen: WEST, proxy: EAST, users: ["bob"] });
  await simulation.finish(Promise.all([east.start(), west.start()]));
}

beforeEach(() => {
  simulation = createSimulation({ seed: 1 });
  machines = [simulation.runtime([EAST.host]), simulation.runtime([WEST.host])];
});

afterEach(async () => {
  await simulation.finish(Promise.all([east.stop(), west.stop()]));
  await simulation.idle();
  expect(simulation.leaks()).toEqual([]);
});

const ask = async (server: ExampleServer, method: string, from: string, to: string, more = {}) =>
  (await simulation.finish(server.ask({ method, from, to: `${to}@example.com`, ...more })))?.status;

describe("users it holds", () => {
  test("MESSAGE is delivered to the inbox and answered 200", async () => {
    await servers();
    expect(await ask(west, "MESSAGE", "bob", "alice", { headers: [["Content-Type", "text/plain"]], body: "hi" })).toBe(
      200,
    );
    expect(east.inboxes.get("alice")).toMatchObject([{ from: "sip:bob@example.com", text: "hi" }]);
    expect(east.seen("MESSAGE", "alice")).toBe(1);
  });

  test("SUBSCRIBE is accepted, an active NOTIFY shows what was published, Expires 0 ends it", async () => {
    await servers();
    const watch = await simulation.finish(west.watch("bob", "alice@example.com"));
    await simulation.settle();
    await simulation.advance(100);
    expect(watch.answer?.status).toBe(200);
    expect(watch.notified.map((each) => each.state)).toEqual(["active;expires=600"]);
    expect(watch.notified[0]?.document).toContain("<basic>closed</basic>");
    const document = '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"/>';
    const headers = [
      ["Event", "presence"],
      ["Content-Type", "application/pidf+xml"],
    ];
    expect(await ask(west, "PUBLISH", "alice", "alice", { headers, body: document })).toBe(200);
    await simulation.advance(100);
    expect(watch.notified.at(-1)?.document).toBe(document);
    expect((await simulation.finish(watch.refresh(0)))?.status).toBe(200);
    await simulation.advance(100);
    expect(watch.ended).toBe(true);
    expect(watch.notified.at(-1)?.state).toBe("terminated;reason=timeout");
  });

  test("a PUBLISH with an entity tag it did not give is answered 412 (RFC 3903 6)", async () => {
    await servers();
    const headers = [
      ["Event", "presence"],
      ["SIP-If-Match", "nonesuch"],
    ];
    expect(await ask(west, "PUBLISH", "alice", "alice", { headers })).toBe(412);
  });

  test("a subscription nobody refreshes ends with a NOTIFY; one whose watcher is gone ends by itself", async () => {
    await servers();
    const watch = await simulation.finish(west.watch("bob", "alice@example.com"));
    await simulation.advance(601_000);
    expect(watch.ended).toBe(true);
    expect(east.live).toBe(0);
  });

  test("one who leaves: his watchers hear deactivated, the next request 404", async () => {
    await servers();
    const watch = await simulation.finish(west.watch("bob", "alice@example.com"));
    await simulation.advance(100);
    east.release("alice");
    await simulation.advance(100);
    expect(watch.notified.at(-1)?.state).toBe("terminated;reason=deactivated");
    expect(await ask(west, "MESSAGE", "bob", "alice")).toBe(404);
  });

  test("INVITE: the phone answers; without an ACK the 200 is repeated for 32 s and the call is gone (RFC 3261 13.3.1.4)", async () => {
    await servers();
    expect(await ask(west, "INVITE", "bob", "alice")).toBe(200);
    await simulation.advance(40_000);
    expect(east.live).toBe(0);
  });
});

describe("users it does not hold", () => {
  test("404", async () => {
    await servers();
    expect(await ask(west, "MESSAGE", "bob", "nobody")).toBe(404);
    expect(await ask(west, "SUBSCRIBE", "bob", "nobody", { headers: [["Event", "presence"]] })).toBe(404);
  });

  test("accept: 200, and an active NOTIFY for anyone", async () => {
    await servers({ onUnknown: "accept" });
    const watch = await simulation.finish(west.watch("bob", "nobody@example.com"));
    await simulation.advance(100);
    expect(watch.answer?.status).toBe(200);
    expect(watch.notified[0]?.state).toMatch(/^active/);
    expect(await ask(west, "MESSAGE", "bob", "nobody")).toBe(200);
  });

  test("proxy-back: two such servers send it round until Max-Forwards is spent: 483", async () => {
    await servers({ onUnknown: "proxy-back" });
    expect(await ask(west, "MESSAGE", "bob", "nobody")).toBe(483);
    expect(east.seen("MESSAGE", "nobody") + west.seen("MESSAGE", "nobody")).toBe(71);
  });

  test("proxy-back: it is on the path of the dialog", async () => {
    await servers({ onUnknown: "proxy-back" });
    // west asks east for bob, who lives on west: the request comes back, and the refresh goes the same way.
    const watch = await simulation.finish(west.watch("bob", "bob@example.com"));
    await simulation.advance(100);
    expect(watch.answer?.status).toBe(200);
    expect(watch.answer?.recordRoutes.map((route) => route.uri.raw)).toEqual(["sip:127.0.0.11:5060;lr"]);
    expect(watch.notified).toHaveLength(1);
    expect((await simulation.finish(watch.refresh(0)))?.status).toBe(200);
    await simulation.advance(100);
    expect(watch.ended).toBe(true);
  });

  test("b2bua-back: the same in a call of its own, NOTIFY and refresh bridged", async () => {
    await servers({ onUnknown: "b2bua-back" });
    const watch = await simulation.finish(west.watch("bob", "bob@example.com"));
    await simulation.advance(100);
    expect(watch.answer?.status).toBe(200);
    expect(watch.answer?.recordRoutes).toEqual([]);
    expect(watch.notified.map((each) => each.state)).toEqual(["active;expires=600"]);
    expect((await simulation.finish(watch.refresh(0)))?.status).toBe(200);
    await simulation.advance(100);
    expect(watch.ended).toBe(true);
    expect(await ask(west, "MESSAGE", "bob", "bob", { body: "to myself" })).toBe(200);
    expect(west.inboxes.get("bob")).toMatchObject([{ from: "sip:bob@example.com", text: "to myself" }]);
  });
});

test("a third-party REGISTER names the server itself as contact and keeps its Call-ID (RFC 3261 10.2)", async () => {
  await servers({ onUnknown: "accept" });
  const first = await simulation.finish(west.claim("bob", 600));
  const second = await simulation.finish(west.claim("bob", 0));
  expect(first?.contacts).toMatchObject([{ uri: { raw: "sip:127.0.0.12:5060" } }]);
  expect(second?.contacts).toEqual([]);
  expect(second?.callId).toBe(first?.callId);
  expect(second?.cseq.number).toBe((first?.cseq.number ?? 0) + 1);
});
