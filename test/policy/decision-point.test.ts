import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import type { AuthzenOptions, PolicyOptions } from "../../src/policy/options.ts";
import type { Question } from "../../src/policy/policy.ts";
import { PolicyService } from "../../src/policy/service.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";
import { type Events, Telemetry } from "../../src/telemetry/events.ts";
import { AUTHZEN_DEFAULTS, DecisionPoint, json } from "../support/decision-point.ts";

const ALICE = "alice@example.com";
const URL = "http://10.0.0.9:80";

const options = (more: Partial<AuthzenOptions> = {}): PolicyOptions => ({
  domains: { "example.com": { way: "pdp", presence: "confirm", contact: "allow" } },
  point: { kind: "authzen", ...AUTHZEN_DEFAULTS, url: URL, ...more },
});

const question = (watcher: string, more: Partial<Question> = {}): Question => ({
  watcher,
  trusted: true,
  aor: ALICE,
  event: "presence",
  ...more,
});

async function house(more: Partial<AuthzenOptions> = {}) {
  const simulation = createSimulation({ seed: 1, faults: { delay: [10, 10] } });
  const [runtime, there] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.9"])];
  const directory = createMemoryDatabase(runtime).directory("east");
  await simulation.finish(directory.start());
  const telemetry = new Telemetry();
  const health: Events["decisionPoint"][] = [];
  telemetry.on("decisionPoint", (event) => health.push(event));
  const point = new DecisionPoint();
  there.web.set(80, point.answer);
  const policy = new PolicyService({ runtime, telemetry, directory }, options(more));
  const verdict = async (watcher: string, also: Partial<Question> = {}) => policy.watcher(question(watcher, also));
  const asked = (watcher: string, also: Partial<Question> = {}) => simulation.finish(verdict(watcher, also));
  const sent = (watcher: string, method: "MESSAGE" | "INVITE") =>
    simulation.finish(Promise.resolve(policy.sender(question(watcher, { event: "" }), method)));
  const stop = async () => {
    policy.stop();
    await simulation.finish(directory.stop());
    await simulation.idle();
    expect(simulation.leaks()).toEqual([]);
  };
  return { simulation, runtime, there, point, policy, health, verdict, asked, sent, stop };
}

describe("what is asked (AuthZEN, Access Evaluation)", () => {
  it("subject, action, resource and context; who has not proved who he is is anonymous", async () => {
    const { point, asked, sent, stop } = await house({ token: "secret" });
    await asked("bob@example.com", { sphere: "work" });
    await sent("tel:+12125551234", "INVITE");
    await asked("bob@example.com", { trusted: false });
    const requests = point.requests.filter(({ path }) => path === "/access/v1/evaluation");
    const entity = (type: string, id: string, domain: string) => ({ type, id, properties: { domain } });
    expect(requests.map(({ questions }) => questions[0])).toEqual([
      {
        subject: entity("user", "bob@example.com", "example.com"),
        action: { name: "subscribe", properties: { event: "presence" } },
        resource: entity("user", ALICE, "example.com"),
        context: { time: expect.stringMatching(/^2026-01-01T00:00:0/), sphere: "work" },
      },
      {
        subject: entity("user", "tel:+12125551234", "tel:+12125551234"),
        action: { name: "invite" },
        resource: entity("user", ALICE, "example.com"),
        context: { time: expect.any(String) },
      },
      expect.objectContaining({ subject: { type: "anonymous", id: "bob@example.com" } }),
    ]);
    expect(requests[0]!.headers).toMatchObject({
      authorization: "Bearer secret",
      "content-type": "application/json",
      "x-request-id": expect.stringMatching(/^\w{20}$/),
    });
    await stop();
  });

  it("questions of one moment go in one request, those of one key once; more wait for a connection", async () => {
    const { simulation, point, verdict, stop } = await house({ batch: 3, connections: 2 });
    await simulation.finish(Promise.all(Array.from({ length: 10 }, (_, n) => verdict(`w${n % 9}@example.com`))));
    expect(point.sizes).toEqual([3, 3, 3]);
    await stop();
  });

  it("a point that takes one question at a time is asked one by one from then on", async () => {
    const { simulation, point, verdict, stop } = await house();
    point.fault = (path) => (path === "/access/v1/evaluations" ? json(404, "no such thing") : undefined);
    const verdicts = await simulation.finish(Promise.all([verdict("a@x"), verdict("b@x")]));
    expect(verdicts.map((each) => each.handling)).toEqual(["allow", "allow"]);
    await simulation.finish(Promise.all([verdict("c@x"), verdict("d@x")]));
    expect(point.sizes).toEqual([2, 1, 1, 1, 1]);
    await stop();
  });

  it("where its endpoints are it says itself, on its own origin only", async () => {
    const { simulation, point, asked, verdict, stop } = await house({ url: `${URL}/tenant` });
    point.metadata = {
      policy_decision_point: `${URL}/tenant`,
      access_evaluation_endpoint: `${URL}/decide`,
      access_evaluations_endpoint: "http://10.0.0.66/steal",
    };
    await asked("a@x");
    expect(point.requests.map(({ path }) => path)).toEqual(["/.well-known/authzen-configuration/tenant", "/decide"]);
    const both = await simulation.finish(Promise.all([verdict("b@x"), verdict("c@x")]));
    expect(both.map((each) => each.known)).toEqual([true, true]);
    expect(point.sizes).toEqual([]);
    expect(point.requests.slice(2).map(({ path, questions }) => [path, questions.length])).toEqual([
      ["/decide", 1],
      ["/decide", 1],
    ]);
    await stop();
  });

  it("metadata of another point is not believed", async () => {
    const { point, asked, stop } = await house();
    point.metadata = { policy_decision_point: "http://other", access_evaluation_endpoint: `${URL}/decide` };
    await asked("a@x");
    expect(point.requests.map(({ path }) => path)).toEqual([
      "/.well-known/authzen-configuration",
      "/access/v1/evaluation",
    ]);
    await stop();
  });
});

describe("what is answered", () => {
  it.each([
    [{ decision: true }, "allow", ""],
    [{ decision: false }, "block", ""],
    [{ decision: true, context: { handling: "confirm" } }, "confirm", ""],
    [{ decision: true, context: { handling: "polite-block" } }, "polite-block", ""],
    [{ decision: true, context: { handling: "maybe" } }, "block", ""],
    [{ decision: false, context: { handling: "polite-block" } }, "polite-block", ""],
    [{ decision: false, context: { handling: "confirm" } }, "confirm", ""],
    [{ decision: false, context: { handling: "allow" } }, "polite-block", ""],
    [{ decision: true, context: { provide: "all" } }, "allow", ""],
    [{ decision: true, context: { provide: { services: "all", attributes: ["note"] } } }, "allow", "some"],
    [{ decision: true, context: { provide: "nothing I know" } }, "allow", "some"],
    [{ decision: false, context: { reason: "not a friend" } }, "block", ""],
  ])("%o is %s", async (answer, handling, key) => {
    const { point, asked, stop } = await house();
    point.decide = () => answer;
    const verdict = await asked("bob@example.com");
    expect([verdict.handling, verdict.known, verdict.transformKey === ""]).toEqual([handling, true, key === ""]);
    expect(verdict.transform === null).toBe(key === "");
    await stop();
  });

  it("what is provided is what RFC 5025 would", async () => {
    const { point, asked, policy, simulation, stop } = await house();
    point.decide = () => ({
      decision: true,
      context: {
        rule: "friends",
        provide: {
          services: [{ "service-uri-scheme": "sip" }, { class: "biz" }, { moon: "x" }, 7],
          persons: "all",
          devices: "some",
          attributes: ["mood", "moon"],
          "user-input": "bare",
          unknown: [{ ns: "urn:x", name: "foo" }, { name: "bar" }],
        },
      },
    });
    expect(await asked("bob@example.com")).toMatchObject({ rule: `pdp ${URL}: friends` });
    const { lines } = await simulation.finish(policy.explain(question("bob@example.com"), null));
    expect(lines[0]).toBe(`policy pdp: allow, by pdp ${URL}: friends`);
    expect(lines[1]).toMatch(/^remembered: \{"subject":\{"type":"user","id":"bob@example.com"/);
    expect(lines[2]).toContain(
      "shown: services of class biz, service-uri-scheme sip; all persons; no devices; mood; user-input bare; {urn:x}foo",
    );
    await stop();
  });

  it("it is asked again in another sphere where it says that it depends on that", async () => {
    const { point, asked, stop } = await house();
    point.decide = ({ context }) => ({ decision: context.sphere === "work", context: { depends: ["sphere"] } });
    expect(await asked("a@x")).toMatchObject({ handling: "block", bySphere: true });
    expect(await asked("a@x", { sphere: "work" })).toMatchObject({ handling: "allow", bySphere: true });
    await stop();
  });

  it("a MESSAGE or INVITE may come where the decision is true", async () => {
    const { point, sent, stop } = await house();
    point.decide = ({ action }) => ({ decision: action.name === "message" });
    expect(await sent("bob@example.com", "MESSAGE")).toMatchObject({ allowed: true, known: true });
    expect(await sent("bob@example.com", "INVITE")).toMatchObject({ allowed: false, known: true });
    await stop();
  });

  it("of a batch each gets its own", async () => {
    const { simulation, point, verdict, stop } = await house();
    point.decide = ({ subject }) =>
      subject.id === "c@x"
        ? { decision: false, context: { error: { status: 500, message: "broken" } } }
        : { decision: subject.id === "a@x" };
    const verdicts = await simulation.finish(Promise.all([verdict("a@x"), verdict("b@x"), verdict("c@x")]));
    expect(verdicts.map(({ handling, known }) => [handling, known])).toEqual([
      ["allow", true],
      ["block", true],
      ["block", false],
    ]);
    await stop();
  });
});

describe("what is remembered", () => {
  it("for the time to live, or as short as the point says; `until` says how long", async () => {
    const { simulation, runtime, point, asked, stop } = await house({ cacheMs: 60_000 });
    point.decide = ({ subject }) => ({ decision: true, ...(subject.id === "b@x" ? { context: { ttl: 5 } } : {}) });
    const first = await asked("a@x");
    expect(first.until).toBe(runtime.clock.wall() + 60_000);
    await asked("b@x");
    await simulation.advance(5000);
    expect([(await asked("a@x")).handling, (await asked("b@x")).handling]).toEqual(["allow", "allow"]);
    expect(point.sizes).toEqual([1, 1, 1]);
    await simulation.advance(60_000);
    await asked("a@x");
    expect(point.sizes).toEqual([1, 1, 1, 1]);
    await stop();
  });

  it("no more of them than configured", async () => {
    const { point, asked, stop } = await house({ entries: 2 });
    for (const who of ["a@x", "b@x", "c@x", "a@x"]) await asked(who);
    expect(point.asked).toHaveLength(4);
    await stop();
  });

  it("a change push drops what is known of a user, and what is under way is not kept", async () => {
    const { simulation, point, policy, asked, verdict, stop } = await house();
    await asked("a@x");
    await asked("a@x", { aor: "ann@example.com" });
    policy.changed(ALICE);
    point.decide = () => ({ decision: false });
    expect([(await asked("a@x")).handling, (await asked("a@x", { aor: "ann@example.com" })).handling]).toEqual([
      "block",
      "allow",
    ]);
    point.decide = () => ({ decision: true });
    const early = verdict("b@x");
    await simulation.advance(15);
    point.decide = () => ({ decision: false });
    policy.changed(null);
    expect((await simulation.finish(early)).handling).toBe("allow");
    expect((await asked("b@x")).handling).toBe("block");
    await stop();
  });

  it("0s: it is asked every time", async () => {
    const { point, asked, stop } = await house({ cacheMs: 0 });
    await asked("a@x");
    await asked("a@x");
    expect(point.asked).toHaveLength(2);
    await stop();
  });
});

describe("the point away", () => {
  it("nobody is let in, and it is told apart from a decision; within the time limit", async () => {
    const { simulation, runtime, there, asked, sent, stop } = await house({ timeoutMs: 500 });
    there.crash("power");
    const began = simulation.now;
    const verdict = await asked("a@x");
    expect(simulation.now - began).toBeLessThanOrEqual(500);
    expect(verdict).toMatchObject({ handling: "block", known: false, rule: `pdp ${URL}: no answer in time` });
    expect(verdict.until).toBe(runtime.clock.wall() + 5000);
    expect(await sent("a@x", "MESSAGE")).toMatchObject({ allowed: false, known: false });
    await stop();
  });

  it.each([
    ["allow", "allow", true],
    ["polite-block", "polite-block", false],
    ["confirm", "confirm", false],
  ] as const)("unavailable: %s", async (unavailable, handling, allowed) => {
    const { there, asked, sent, stop } = await house({ unavailable });
    there.web.clear();
    expect(await asked("a@x")).toMatchObject({ handling, known: true });
    expect(await sent("a@x", "MESSAGE")).toMatchObject({ allowed });
    await stop();
  });

  it.each([
    ["401", json(401, "who?")],
    ["500", json(500, "broken")],
    ["no JSON", { status: 200, headers: {}, body: Buffer.from("<html>") }],
    ["no decision", json(200, { decision: "yes" })],
    ["a list too short", json(200, { evaluations: [] })],
    ["an answer too long", { status: 200, headers: {}, body: Buffer.alloc(2_000_000, " ") }],
  ])("%s is no decision", async (_, answer) => {
    const { simulation, point, verdict, stop } = await house();
    point.fault = (path) => (path.includes("/access/") ? answer : undefined);
    for (const each of await simulation.finish(Promise.all([verdict("a@x"), verdict("b@x")]))) {
      expect(each).toMatchObject({ handling: "block", known: false });
    }
    expect((await simulation.finish(verdict("c@x"))).known).toBe(false);
    await stop();
  });

  it("after failures in a row nobody waits for it; one question tries it again; it is told when it goes and comes", async () => {
    const { simulation, there, point, health, asked, verdict, stop } = await house({ timeoutMs: 500 });
    await asked("x@x");
    there.web.clear();
    for (const who of ["a@x", "b@x", "c@x"]) await asked(who);
    expect(health).toEqual([{ url: URL, up: false, reason: expect.stringContaining("ECONNREFUSED") }]);
    const began = simulation.now;
    expect(await asked("d@x")).toMatchObject({ known: false });
    expect(simulation.now).toBe(began);
    there.web.set(80, point.answer);
    await simulation.advance(1000);
    const before = point.requests.length;
    const verdicts = await simulation.finish(Promise.all(["a@x", "b@x", "c@x"].map((who) => verdict(who))));
    expect(verdicts.every((each) => each.known)).toBe(true);
    expect(point.requests.length - before).toBe(1);
    expect(health.map(({ up }) => up)).toEqual([false, true]);
    await stop();
  });

  it("a connection that breaks as it is used is no failure yet: it is asked once more", async () => {
    const { simulation, there, point, health, verdict, stop } = await house();
    let broken = 0;
    there.web.set(80, (request) => {
      if (request.method === "GET" || broken++ > 0) return point.answer(request);
      // An answer that is too long for anybody ends the connection.
      return { status: 200, headers: {}, body: Buffer.alloc(2_000_000) };
    });
    const verdicts = await simulation.finish(Promise.all([verdict("a@x"), verdict("b@x")]));
    expect([verdicts.map(({ known }) => known), broken, health]).toEqual([[true, true], 2, []]);
    await stop();
  });

  it("still away it is tried less and less often", async () => {
    const { simulation, there, point, asked, stop } = await house();
    there.web.clear();
    let tries = 0;
    there.web.set(80, () => {
      tries++;
      return json(503, null);
    });
    for (let n = 0; n < 600; n++) {
      await asked(`w${n}@x`);
      await simulation.advance(100);
    }
    expect(tries).toBeLessThan(12);
    expect(point.requests).toEqual([]);
    await stop();
  });

  it("the last decision stands in for as long as configured", async () => {
    const { simulation, there, asked, stop } = await house({ cacheMs: 1000, staleMs: 60_000 });
    await asked("a@x");
    there.web.clear();
    await simulation.advance(30_000);
    expect(await asked("a@x")).toMatchObject({ handling: "allow", known: true });
    await simulation.advance(60_000);
    expect(await asked("a@x")).toMatchObject({ handling: "block", known: false });
    await stop();
  });

  it("questions that wait when it is stopped are answered: unknown", async () => {
    const { simulation, there, policy, verdict, stop } = await house();
    there.crash("power");
    const open = verdict("a@x");
    await simulation.advance(5);
    policy.configure({ domains: {}, point: null });
    expect(await simulation.finish(open)).toMatchObject({ known: false });
    await stop();
  });
});

describe("over a real network", () => {
  it("against an HTTP server on loopback, with connections that are used again", async () => {
    const point = new DecisionPoint();
    point.decide = ({ subject }) => ({ decision: subject.id !== "mallory@example.com" });
    const sockets = new Set<number>();
    const server = createServer((request, response) => {
      sockets.add(request.socket.remotePort ?? 0);
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const headers = request.headers as Record<string, string>;
        const answer = point.answer({ url: request.url ?? "/", headers, body: Buffer.concat(chunks) });
        response.writeHead(answer.status, { ...answer.headers }).end(answer.body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const runtime = createRealRuntime();
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const directory = {
      onChange: () => () => undefined,
      tellVerdicts: async () => undefined,
      documents: { get: async () => null },
    };
    const policy = new PolicyService(
      { runtime, telemetry: new Telemetry(), directory },
      options({ url, token: "t", timeoutMs: 30_000 }),
    );
    for (let round = 0; round < 3; round++) {
      const who = ["bob@example.com", "mallory@example.com", `w${round}@example.com`];
      const verdicts = await Promise.all(who.map((each) => policy.watcher(question(each))));
      expect(verdicts.map((each) => each.handling)).toEqual(["allow", "block", "allow"]);
    }
    expect(point.sizes).toEqual([3, 1, 1]);
    expect(sockets.size).toBe(1);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(await policy.watcher(question("new@example.com"))).toMatchObject({ handling: "block", known: false });
    policy.stop();
    expect(runtime.leaks()).toEqual([]);
  });
});
