import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { keepMessage, keepSubscriptions } from "./kept.ts";
import { ask, openDesk } from "./support.ts";

describe("servers", () => {
  it("a list tells nodes, health, marks and traffic", async () => {
    const desk = await openDesk();
    const { body } = await ask(desk, "GET", "/api/v1/servers");
    expect(body.servers.map((each: { name: string; up: boolean }) => [each.name, each.up])).toEqual([
      ["east", true],
      ["west", true],
      ["north", false],
    ]);
    expect(body.servers[0]).toMatchObject({
      traffic: { requests: 8, unanswered: 1, answers: { "2xx": 5, "4xx": 2 } },
      proves: ["MESSAGE", "SUBSCRIBE"],
    });
    expect(body.servers[1]).toMatchObject({ proofRemoved: ["INVITE"], traffic: { requests: 0 } });
    expect(body.servers[2].nodes).toEqual([{ uri: "sip:127.0.0.13:5060", up: false, consecutiveFailures: 3 }]);
  });

  it("drain and resume act once each and are recorded; repeating them is no change", async () => {
    const desk = await openDesk();
    for (const [verb, drained] of [
      ["drain", true],
      ["drain", true],
      ["resume", false],
      ["resume", false],
    ] as const) {
      const { status, body } = await ask(desk, "POST", `/api/v1/servers/east/${verb}`, undefined, {
        "x-actor": "anna",
      });
      expect([status, body.name, body.drained]).toEqual([200, "east", drained]);
    }
    const entries = await desk.directory.audit({ limit: 10 });
    expect(entries).toMatchObject([
      { action: "resume-server", actor: "local:anna", before: { server: "east", drained: true } },
      { action: "drain-server", actor: "local:anna", after: { server: "east", drained: true } },
    ]);
    expect(entries).toHaveLength(2);
  });

  it("an unknown one is 404 and the known ones are named", async () => {
    const desk = await openDesk();
    const { status, body } = await ask(desk, "POST", "/api/v1/servers/eest/drain");
    expect([status, body.error.message]).toEqual([404, 'There is no server "eest": east, west, north are known.']);
  });
});

describe("explain", () => {
  it("gives the plan for people and for programs, by GET and by POST alike", async () => {
    const desk = await openDesk();
    await desk.directory.learn("alice@example.com", "west", Date.now() + 60_000);
    const question = { method: "MESSAGE", aor: "sip:alice@EXAMPLE.com", from: "east", watcher: "bob@elsewhere.org" };
    const get = await ask(desk, "GET", `/api/v1/explain?${new URLSearchParams(question)}`);
    expect(get.status).toBe(200);
    expect(get.body.text[0]).toBe("MESSAGE for alice@example.com from server:east");
    expect(get.body.explanation).toMatchObject({ summary: "relay west", sender: { aor: "bob@elsewhere.org" } });
    expect((await ask(desk, "POST", "/api/v1/explain", question)).body).toEqual(get.body);
  });

  it("of an exclusive user tells what is kept of him now: held and extended, stored, being moved", async () => {
    const desk = await openDesk();
    for (const name of ["alice", "carol"])
      await ask(desk, "PUT", `/api/v1/users/${name}@example.com`, { model: "exclusive" });
    await keepSubscriptions(desk.directory);
    await keepMessage(desk.directory);
    const { id } = (await ask(desk, "POST", "/api/v1/moves", {})).body;
    const rows = [{ aor: "alice@example.com", server: "west" }];
    await ask(desk, "POST", `/api/v1/moves/${id}/users`, { first: 1, rows });
    await ask(desk, "POST", `/api/v1/moves/${id}/start`);
    const explain = async (name: string) =>
      (await ask(desk, "GET", `/api/v1/explain?method=SUBSCRIBE&aor=${name}@example.com`)).body;
    const alice = await explain("alice");
    expect(alice.present).toEqual({
      held: 1,
      extended: {},
      messages: 1,
      moves: [{ batch: id, from: null, to: "west", state: "waiting" }],
      complete: true,
    });
    expect(alice.text.slice(-3)).toEqual([
      "subscriptions to him now: 1 held",
      "stored for him now: 1 message",
      `batch ${id} moves him to west: waiting`,
    ]);
    expect((await explain("carol")).text.at(-1)).toBe("subscriptions to him now: 1 extended to east");
    expect((await explain("plain")).present).toBeNull();
  });

  it("of a unioned user tells who is asked and why, and what is live of him now", async () => {
    const desk = await openDesk();
    await ask(desk, "PUT", "/api/v1/users/ann@example.com", { model: "unioned", settings: { tree: "hq" } });
    const question = { method: "SUBSCRIBE", aor: "ann@example.com", event: "presence" };
    const { body } = await ask(desk, "POST", "/api/v1/explain", { ...question, watcher: "bob@example.com" });
    expect(body.explanation).toMatchObject({
      summary: "compose east, west",
      union: {
        tree: "hq",
        virtualRoot: true,
        servers: [
          { name: "east", asked: true },
          { name: "west", asked: true },
        ],
      },
    });
    expect(body.unioned).toEqual({ subscriptions: [], chains: [], complete: true });
    const down = await ask(desk, "POST", "/api/v1/explain", { ...question, from: "east", direction: "down" });
    expect(down.body.explanation).toMatchObject({ summary: "compose west", plan: { view: { from: "east" } } });
    const other = await ask(desk, "POST", "/api/v1/explain", { ...question, aor: "joe@example.com" });
    expect([other.body.unioned, other.body.explanation.union]).toEqual([null, null]);
  });

  it.each([
    [{ aor: "a@example.com" }, "method"],
    [{ method: "message", aor: "a@example.com" }, "method"],
    [{ method: "MESSAGE" }, "aor"],
    [{ method: "MESSAGE", aor: "a@elsewhere.org" }, "aor"],
    [{ method: "MESSAGE", aor: "a@example.com", from: "nowhere" }, "from"],
    [{ method: "MESSAGE", aor: "a@example.com", watcher: "nobody" }, "watcher"],
    [{ method: "SUBSCRIBE", aor: "a@example.com", event: "a b" }, "event"],
    [{ method: "MESSAGE", aor: "a@example.com", form: "east" }, "form"],
    [{ method: "MESSAGE", aor: "a@example.com", direction: "sideways" }, "direction"],
  ])("%j is refused and names the field", async (question, field) => {
    const desk = await openDesk();
    const { status, body } = await ask(desk, "POST", "/api/v1/explain", question);
    expect([status, body.error.field]).toEqual([400, field]);
  });
});

describe("reload", () => {
  it("tells what changed and records it", async () => {
    const desk = await openDesk({ reload: () => ["learned", "listen (needs a restart)"] });
    const { status, body } = await ask(desk, "POST", "/api/v1/reload");
    expect([status, body]).toEqual([200, { changes: ["learned", "listen (needs a restart)"] }]);
    expect(await desk.directory.audit({ limit: 1 })).toMatchObject([{ action: "reload", after: body }]);
  });

  it("a faulty file is 422 with every fault", async () => {
    const desk = await openDesk({
      reload: () => {
        throw new UsageError("c.yaml:1:1: one\nc.yaml:2:1: two");
      },
    });
    const { status, body } = await ask(desk, "POST", "/api/v1/reload");
    expect([status, body.error.code, body.error.message.split("\n").length]).toEqual([422, "faulty-configuration", 2]);
  });

  it("without a file there is nothing to reload: 404", async () => {
    expect((await ask(await openDesk(), "POST", "/api/v1/reload")).body.error.code).toBe("no-file");
  });
});

describe("status", () => {
  it("/healthz says that it is alive", async () => {
    expect((await ask(await openDesk(), "GET", "/healthz")).body).toEqual({ status: "ok", version: "0.0.0" });
  });

  it("/readyz is 503 while the database is away, nothing is listened on, or the proxy drains, and says which", async () => {
    const desk = await openDesk();
    const failing = async (from = desk): Promise<[number, string[]]> => {
      const { status, body } = await ask(from, "GET", "/readyz");
      const checks = Object.entries(body.checks as Record<string, { ok: boolean }>);
      expect(body.ready).toBe(status === 200);
      return [status, checks.filter(([, check]) => !check.ok).map(([name]) => name)];
    };
    expect(await failing()).toEqual([200, []]);
    desk.database.setAway(true);
    expect(await failing()).toEqual([503, ["database"]]);
    desk.database.setAway(false);
    expect(await failing()).toEqual([200, []]);
    desk.proxy.draining = true;
    expect(await failing()).toEqual([503, ["accepting"]]);
    expect(await failing(await openDesk({ listening: () => [] }))).toEqual([503, ["listeners"]]);
  });

  it("/metrics is Prometheus' text, as it is", async () => {
    const { body, headers } = await ask(await openDesk(), "GET", "/metrics");
    expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(body).toBe("# HELP codomain_x x\n# TYPE codomain_x counter\ncodomain_x 1\n");
  });

  it("/api/v1/status adds up what was done", async () => {
    const { body } = await ask(await openDesk(), "GET", "/api/v1/status");
    expect(body).toMatchObject({ proxy: "proxy-1", domains: ["example.com", "other.net"], waitingRequests: 2 });
    expect(body.counters.requests).toEqual({ relay: 7, fork: 1 });
  });
});
