import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { sipp, startSipp } from "../support/sipp.ts";

/** SIPp on both sides of the proxy, a Kamailio that answers 404 beside it: forks happen, and then they do not. */
const PROXY = { host: "127.0.0.101", port: 5060 };
const CALLER = { host: "127.0.0.105", port: 5060 };
const SOUTH = { host: "127.0.0.103", port: 5060 };
const NORTH = { host: "127.0.0.104", port: 5060 };

let east: Kamailio;
let proxy: RunningProxy;

beforeAll(async () => {
  east = await startKamailio({ host: "127.0.0.102", proxy: `${PROXY.host}:5060`, users: ["alice", "anna"] });
  proxy = await startProxy({
    host: PROXY.host,
    // The two SIPp servers stand only while a scenario runs: their absence must not take them out of rotation.
    servers: { east: east.uri, south: `sip:${SOUTH.host}:5060`, north: `sip:${NORTH.host}:5060` },
    more: "health: { interval: 10m }",
  });
});

afterAll(async () => {
  await proxy?.stop();
  await east?.stop();
});

const users = (prefix: string, count: number): string[][] =>
  Array.from({ length: count }, (_, i) => [`${prefix}${i}`, "caller"]);

test("SUBSCRIBE and NOTIFY: thirty whole subscriptions to users on a Kamailio", async () => {
  const rows = [
    ["alice", "w1"],
    ["anna", "w2"],
    ["alice", "w3"],
  ];
  const north = startSipp({ scenario: "refuse-uas", local: NORTH, calls: 100, seconds: 30 });
  const south = startSipp({ scenario: "refuse-uas", local: SOUTH, calls: 100, seconds: 30 });
  const uac = await sipp({ scenario: "subscribe-uac", local: CALLER, remote: PROXY, calls: 30, rate: 30, rows });
  expect(uac.errors).toBe("");
  expect(uac).toMatchObject({ code: 0, succeeded: 30, failed: 0 });
  await Promise.all([north.stop(), south.stop()]);
  expect(await proxy.explain("SUBSCRIBE", "anna@example.com")).toMatchObject({ kind: "relay", server: "east" });
});

describe("users who live on a SIPp server", () => {
  test("MESSAGE: each user's first request forks, no second does", async () => {
    const rows = users("msg", 20);
    const north = startSipp({ scenario: "refuse-uas", local: NORTH, calls: 20, seconds: 30 });
    const south = startSipp({ scenario: "message-uas", local: SOUTH, calls: 60, seconds: 30 });
    const uac = await sipp({ scenario: "message-uac", local: CALLER, remote: PROXY, calls: 60, rate: 20, rows });
    expect(uac.errors).toBe("");
    expect(uac).toMatchObject({ code: 0, succeeded: 60, failed: 0 });
    expect(await south.result).toMatchObject({ code: 0, succeeded: 60 });
    expect(await north.result).toMatchObject({ code: 0, succeeded: 20 });
    const seen = await east.seenAll();
    expect(rows.map(([user]) => seen.get(`MESSAGE ${user}`))).toEqual(rows.map(() => 1));
  });

  test("INVITE, ACK and BYE: the call stands, and its requests go by the route set", async () => {
    const rows = users("call", 10);
    const north = startSipp({ scenario: "refuse-uas", local: NORTH, calls: 10, seconds: 30 });
    const south = startSipp({ scenario: "invite-uas", local: SOUTH, calls: 30, seconds: 30 });
    const uac = await sipp({ scenario: "invite-uac", local: CALLER, remote: PROXY, calls: 30, rate: 10, rows });
    expect(uac.errors).toBe("");
    expect(uac).toMatchObject({ code: 0, succeeded: 30, failed: 0 });
    expect(await south.result).toMatchObject({ code: 0, succeeded: 30 });
    expect(await north.result).toMatchObject({ code: 0, succeeded: 10 });
  });

  test("CANCEL while forking: it reaches every branch that rings, the caller gets one 487", async () => {
    const south = startSipp({ scenario: "cancel-uas", local: SOUTH, calls: 10, seconds: 30 });
    const north = startSipp({ scenario: "cancel-uas", local: NORTH, calls: 10, seconds: 30 });
    const uac = await sipp({
      scenario: "cancel-uac",
      local: CALLER,
      remote: PROXY,
      calls: 10,
      rate: 5,
      rows: users("ring", 10),
    });
    expect(uac.errors).toBe("");
    expect(uac).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
    for (const uas of [south, north]) expect(await uas.result).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
    expect((await proxy.explain("INVITE", "ring0@example.com")).kind).toBe("fork");
  });

  test("over TCP to the proxy, UDP behind it", async () => {
    const south = startSipp({ scenario: "message-uas", local: SOUTH, calls: 10, seconds: 30 });
    const uac = await sipp({
      scenario: "message-uac",
      local: { host: CALLER.host, port: 5070 },
      remote: PROXY,
      calls: 10,
      transport: "tcp",
      rows: users("msg", 10),
    });
    expect(uac.errors).toBe("");
    expect(uac).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
    expect(await south.result).toMatchObject({ code: 0, succeeded: 10 });
  });
});

test("when all is over nothing is left behind in the proxy", async () => {
  await eventually(
    "no live transactions",
    async () => (await proxy.metric("codomain_transactions_live")) === 0,
    45_000,
  );
});
