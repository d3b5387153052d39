import { describe, expect, it } from "vitest";
import type { Lookup } from "../../src/directory/directory.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { readPresenceRules } from "../../src/policy/pres-rules.ts";
import { type ProvisionedServer, Pusher } from "../../src/provisioning/pusher.ts";
import { EXPRESSIONS } from "../../src/provisioning/reduce.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";
import { type Events, Telemetry } from "../../src/telemetry/events.ts";
import { XcapServer } from "./xcap-server.ts";

const ALICE = "alice@example.com";

function rules(who: string, handling = "allow", shown = ""): string {
  return `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="r"><conditions><identity><one id="sip:${who}"/></identity></conditions><actions><sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">${handling}</sub-handling></actions>${shown}</rule></ruleset>`;
}

/** Whom and what the rules of a server name. */
function said(text: string | undefined): string {
  if (text === undefined) return "nothing";
  return readPresenceRules(text)
    .map(({ conditions, handling }) => {
      const names = conditions.flatMap((each) =>
        each.kind === "identity" ? each.any.map((test) => ("one" in test ? test.one : "many")) : [],
      );
      return `${handling} ${names}`;
    })
    .join("; ");
}

/** Two proxies on one database, and two servers that keep rules: `a` understands all, `b` not much. */
async function house(options: { proxies?: number } = {}) {
  const simulation = createSimulation({ seed: 7, faults: { delay: [5, 20] } });
  const telemetry = new Telemetry();
  const pushes: Events["push"][] = [];
  telemetry.on("push", (event) => pushes.push(event));
  const servers: ProvisionedServer[] = [];
  const keeps: Record<string, XcapServer> = {};
  const machines: Record<string, ReturnType<typeof simulation.runtime>> = {};
  for (const [name, host, expresses] of [
    ["a", "10.0.1.1", EXPRESSIONS],
    ["b", "10.0.1.2", ["identity"]],
  ] as const) {
    const keep = new XcapServer();
    const machine = simulation.runtime([host]);
    machine.web.set(8080, keep.answer);
    keeps[name] = keep;
    machines[name] = machine;
    servers.push({ name, url: `http://${host}:8080/root`, user: "portal", password: "secret", expresses });
  }
  const state = { servers: servers as readonly ProvisionedServer[], domains: ["example.com"], on: ["a", "b"] };
  const first = simulation.runtime(["10.0.0.1"]);
  const database = createMemoryDatabase(first, { latencyMs: [0.1, 3] });
  const pushers: Pusher[] = [];
  const directories: ReturnType<typeof database.directory>[] = [];
  for (let i = 0; i < (options.proxies ?? 1); i++) {
    const runtime = i === 0 ? first : simulation.runtime([`10.0.0.${i + 1}`]);
    const directory = database.directory(`proxy-${i}`);
    await simulation.finish(directory.start());
    directories.push(directory);
    pushers.push(
      new Pusher({
        runtime,
        telemetry,
        directory,
        servers: () => state.servers,
        domains: () => state.domains,
        ownDomains: () => ["example.com"],
        lookup: (aor) => directory.lookup(aor),
        serversOf: (_aor, known: Lookup) => [...state.on, ...(known.state === "bound" ? [known.binding.server] : [])],
        nameOn: (aor, server, record) => record?.identities[server] ?? aor,
      }),
    );
  }
  const directory = directories[0]!;
  const write = (text: string, aor = ALICE) =>
    simulation.finish(directory.documents.put(aor, "pres-rules", text, {}, "test"));
  const rows = () => simulation.finish(directory.pushes.list({ limit: 100 }));
  const settled = (ms = 10_000) => simulation.advance(ms);
  const stop = async () => {
    for (const each of pushers) await simulation.finish(each.stop());
    for (const each of directories) await simulation.finish(each.stop());
    await simulation.idle();
    expect(simulation.leaks()).toEqual([]);
  };
  return { simulation, telemetry, directory, pushers, pushes, keeps, machines, state, write, rows, settled, stop };
}

describe("central provisioning", () => {
  it("a user's rules come to each of his servers, as it can keep them; what is lost is reported", async () => {
    const { pushers, keeps, write, rows, settled, stop, pushes } = await house();
    pushers[0]!.start();
    await write(rules("bob@example.com", "confirm"));
    await settled();
    expect(said(keeps["a"]!.documents.get("sip:alice@example.com"))).toBe("confirm bob@example.com");
    expect(said(keeps["b"]!.documents.get("sip:alice@example.com"))).toBe("block bob@example.com");
    expect((await rows()).map(({ server, state, reductions }) => [server, state, reductions])).toEqual([
      ["a", "pushed", []],
      ["b", "pushed", ["Rule r: the server knows no confirm: block in its place."]],
    ]);
    expect(pushes.map(({ server, outcome, reductions }) => `${server} ${outcome} ${reductions}`).sort()).toEqual([
      "a pushed 0",
      "b pushed 1",
    ]);
    await stop();
  });

  it("a change follows, a removal too, and a rule that was pushed is not pushed again", async () => {
    const { pushers, keeps, write, directory, simulation, rows, settled, stop } = await house();
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    await settled();
    await write(rules("eve@example.com"));
    await settled();
    expect(said(keeps["a"]!.documents.get("sip:alice@example.com"))).toBe("allow eve@example.com");
    const count = keeps["a"]!.requests.length;
    await settled(60_000);
    expect(keeps["a"]!.requests.length).toBe(count);
    await simulation.finish(directory.documents.remove(ALICE, "pres-rules", {}, "test"));
    await settled();
    expect([keeps["a"]!.documents.size, keeps["b"]!.documents.size]).toEqual([0, 0]);
    expect(await rows()).toEqual([]);
    await stop();
  });

  it("of two proxies one brings it, once", async () => {
    const { pushers, keeps, write, settled, stop } = await house({ proxies: 2 });
    for (const each of pushers) each.start();
    await write(rules("bob@example.com"));
    await settled();
    for (const name of ["a", "b"])
      expect(keeps[name]!.requests.filter((each) => each.startsWith("PUT /"))).toHaveLength(1);
    await stop();
  });

  it("while a server is away its rules wait, the others' do not; it gets the last when it is back", async () => {
    const { pushers, keeps, machines, write, rows, settled, stop } = await house();
    machines["b"]!.web.delete(8080);
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    await settled();
    await write(rules("eve@example.com"));
    await settled(20_000);
    expect((await rows()).map(({ server, state, error }) => [server, state, error !== null])).toEqual([
      ["a", "pushed", false],
      ["b", "failed", true],
    ]);
    machines["b"]!.web.set(8080, keeps["b"]!.answer);
    await settled(60_000);
    expect(keeps["b"]!.requests.filter((each) => each.startsWith("PUT /"))).toHaveLength(1);
    expect((await rows())[1]).toMatchObject({ state: "pushed", error: null });
    await stop();
  });

  it("what the server refuses is told in its words, and tried seldom", async () => {
    const { pushers, keeps, write, rows, settled, stop } = await house();
    const error = `<xcap-error xmlns="urn:ietf:params:xml:ns:xcap-error"><schema-validation-error phrase="no such thing"/></xcap-error>`;
    keeps["b"]!.refuse = {
      status: 409,
      headers: { "content-type": "application/xcap-error+xml" },
      body: Buffer.from(error),
    };
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    await settled(300_000);
    expect((await rows())[1]).toMatchObject({
      state: "failed",
      error: "b answers 409: schema-validation-error, no such thing",
      tries: 1,
    });
    keeps["b"]!.refuse = null;
    await write(rules("eve@example.com", "block"));
    await settled();
    expect((await rows())[1]).toMatchObject({ state: "pushed" });
    await stop();
  });

  it("a change while the old rules are on the way comes after them, from whichever proxy", async () => {
    const { pushers, keeps, write, settled, stop, directory } = await house({ proxies: 2 });
    for (const each of pushers) each.start();
    const order: string[] = [];
    keeps["a"]!.before = async () => {
      keeps["a"]!.before = null;
      await directory.documents.put(ALICE, "pres-rules", rules("late@example.com"), {}, "test");
      order.push("changed");
    };
    await write(rules("bob@example.com"));
    await settled(30_000);
    expect(order).toEqual(["changed"]);
    expect(said(keeps["a"]!.documents.get("sip:alice@example.com"))).toBe("allow late@example.com");
    await stop();
  });

  it("what changed while no proxy ran is found at start", async () => {
    const { pushers, keeps, write, settled, stop } = await house();
    await write(rules("bob@example.com"));
    for (let i = 0; i < 130; i++) await write(rules("bob@example.com"), `u${String(i).padStart(3, "0")}@example.com`);
    pushers[0]!.start();
    await settled(60_000);
    expect(keeps["a"]!.documents.size).toBe(131);
    expect(keeps["b"]!.documents.size).toBe(131);
    await stop();
  });

  it("a server he moves to gets his rules, and the one he left is kept up to date", async () => {
    const { pushers, keeps, state, write, directory, simulation, settled, stop } = await house();
    state.on = [];
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    const bind = (server: string) =>
      simulation.finish(directory.move({ aor: ALICE, to: server, actor: "test" }).then(() => undefined));
    await simulation.finish(
      directory.claim({
        aor: ALICE,
        server: "a",
        origin: "admin",
        expiresAt: null,
        conflict: "takeover",
        equalRank: true,
        actor: "test",
      }),
    );
    await settled();
    expect([keeps["a"]!.documents.size, keeps["b"]!.documents.size]).toEqual([1, 0]);
    await bind("b");
    await settled();
    expect([keeps["a"]!.documents.size, keeps["b"]!.documents.size]).toEqual([1, 1]);
    await write(rules("eve@example.com", "block"));
    await settled();
    expect(said(keeps["a"]!.documents.get("sip:alice@example.com"))).toBe("block eve@example.com");
    await stop();
  });

  it("users and watchers have the server's names; a name that changes is found by the next look at all", async () => {
    const { pushers, keeps, write, directory, simulation, settled, stop } = await house();
    const put = (aor: string, identities: Readonly<Record<string, string>>) =>
      simulation.finish(directory.putUser({ aor, model: null, settings: {}, identities }, "test"));
    await put(ALICE, { a: "alice.a@example.com" });
    await put("bob@example.com", { a: "bob.a@example.com" });
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    await settled();
    expect(said(keeps["a"]!.documents.get("sip:alice.a@example.com"))).toBe("allow bob.a@example.com");
    await put("bob@example.com", { a: "robert@example.com" });
    pushers[0]!.sweep();
    await settled();
    expect(said(keeps["a"]!.documents.get("sip:alice.a@example.com"))).toBe("allow robert@example.com");
    await stop();
  });

  it("a domain that is central no more: the rules are taken back; a server that is provisioned no more is let alone", async () => {
    const { pushers, keeps, state, telemetry, write, rows, settled, stop } = await house();
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    await settled();
    state.servers = state.servers.filter((each) => each.name === "a");
    telemetry.emit("configReloaded", { changes: [] });
    await settled();
    expect((await rows()).map((each) => each.server)).toEqual(["a"]);
    expect(keeps["b"]!.documents.size).toBe(1);
    state.domains = [];
    telemetry.emit("configReloaded", { changes: [] });
    await settled();
    expect(await rows()).toEqual([]);
    expect(keeps["a"]!.documents.size).toBe(0);
    await stop();
  });

  it("asks the database nothing all the time where nobody's rules are pushed, and begins when they are", async () => {
    const { pushers, keeps, state, telemetry, write, directory, settled, stop } = await house();
    const servers = state.servers;
    [state.servers, state.domains] = [[], []];
    let taken = 0;
    const { pushes } = directory;
    const take = pushes.take.bind(pushes);
    pushes.take = (...args) => {
      taken++;
      return take(...args);
    };
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    await settled(600_000);
    expect(taken).toBeLessThan(5);
    [state.servers, state.domains] = [servers, ["example.com"]];
    telemetry.emit("configReloaded", { changes: [] });
    await settled();
    expect(keeps["a"]!.documents.size).toBe(1);
    await stop();
  });

  it("a challenge is answered at once the next time, and anew where its nonce is worth nothing any more (RFC 7616 3.3)", async () => {
    const { pushers, keeps, state, write, settled, stop } = await house();
    state.on = ["a"];
    pushers[0]!.start();
    await write(rules("bob@example.com"));
    await settled();
    await write(rules("eve@example.com"));
    await settled();
    keeps["a"]!.forget();
    await write(rules("dan@example.com"));
    await settled();
    const path = "PUT /root/pres-rules/users/sip:alice@example.com/index";
    expect(keeps["a"]!.requests).toEqual(["PUT 401", path, path, "PUT 401", path]);
    await stop();
  });
});
