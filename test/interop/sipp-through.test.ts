import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { type SippRun, sipp, startSipp } from "../support/sipp.ts";
import { ask, wirePeer } from "../support/wire.ts";

/** SIPp as the caller, and as the phones of users on two Kamailio servers: forks happen, and then they do not. */
const PROXY = { host: "127.0.0.101", port: 5060 };
const CALLER = { host: "127.0.0.105", port: 5060 };
const EAST_PHONES = { host: "127.0.0.106", port: 5060 };
const WEST_PHONES = { host: "127.0.0.107", port: 5060 };

let east: Kamailio;
let west: Kamailio;
let proxy: RunningProxy;

beforeAll(async () => {
  const common = { proxy: `${PROXY.host}:5060` };
  [east, west] = await Promise.all([
    startKamailio({ ...common, host: "127.0.0.102", users: ["alice", "anna", ...names("ring")] }),
    startKamailio({ ...common, host: "127.0.0.103", users: [...names("msg"), ...names("call"), ...names("ring")] }),
  ]);
  proxy = await startProxy({ host: PROXY.host, servers: { east: east.uri, west: west.uri } });
  await register(west, WEST_PHONES, [...names("msg"), ...names("call"), ...names("ring")]);
  await register(east, EAST_PHONES, names("ring"));
});

afterAll(async () => {
  await proxy?.stop();
  await Promise.all([east, west].map((each) => each?.stop()));
});

function names(prefix: string): string[] {
  return Array.from({ length: 10 }, (_, i) => `${prefix}${i}`);
}

const rows = (prefix: string): string[][] => names(prefix).map((name) => [name, "caller"]);

async function register(
  server: Kamailio,
  phones: { host: string; port: number },
  users: readonly string[],
): Promise<void> {
  const peer = await wirePeer("127.0.0.108");
  for (const user of users) {
    const aor = `sip:${user}@example.com`;
    const headers = [`Contact: <sip:${user}@${phones.host}:${phones.port}>`, "Expires: 3600"];
    const answer = await ask(peer, server, { method: "REGISTER", uri: "sip:example.com", from: aor, to: aor, headers });
    expect(answer.status).toBe(200);
  }
  await peer.close();
}

function phones(scenario: string, local: { host: string; port: number }, calls: number): SippRun {
  return startSipp({ scenario, local, calls, seconds: 30 });
}

test("SUBSCRIBE and NOTIFY: thirty whole subscriptions, each ended along its route set", async () => {
  const watched = [
    ["alice", "w1"],
    ["anna", "w2"],
    ["alice", "w3"],
  ];
  const uac = await sipp({
    scenario: "subscribe-uac",
    local: CALLER,
    remote: PROXY,
    calls: 30,
    rate: 30,
    rows: watched,
  });
  expect(uac.errors).toBe("");
  expect(uac).toMatchObject({ code: 0, succeeded: 30, failed: 0 });
  await eventually("the lesson", async () => (await proxy.explain("SUBSCRIBE", "anna@example.com")).server === "east");
});

describe("phones of users on west", () => {
  test("MESSAGE: each user's first request forks, no second does", async () => {
    const answering = phones("message-uas", WEST_PHONES, 40);
    const uac = await sipp({
      scenario: "message-uac",
      local: CALLER,
      remote: PROXY,
      calls: 40,
      rate: 20,
      rows: rows("msg"),
    });
    expect(uac.errors).toBe("");
    expect(uac).toMatchObject({ code: 0, succeeded: 40, failed: 0 });
    expect(await answering.result).toMatchObject({ code: 0, succeeded: 40 });
    const seen = await east.seenAll();
    expect(names("msg").map((user) => seen.get(`MESSAGE ${user}`))).toEqual(names("msg").map(() => 1));
  });

  test("INVITE, ACK and BYE: the call stands, and its requests go by the route set", async () => {
    const answering = phones("invite-uas", WEST_PHONES, 30);
    const uac = await sipp({
      scenario: "invite-uac",
      local: CALLER,
      remote: PROXY,
      calls: 30,
      rate: 10,
      rows: rows("call"),
    });
    expect(uac.errors).toBe("");
    expect(uac).toMatchObject({ code: 0, succeeded: 30, failed: 0 });
    expect(await answering.result).toMatchObject({ code: 0, succeeded: 30 });
    const seen = await east.seenAll();
    expect(names("call").map((user) => seen.get(`INVITE ${user}`))).toEqual(names("call").map(() => 1));
  });

  test("over TCP to the proxy, UDP behind it", async () => {
    const answering = phones("message-uas", WEST_PHONES, 10);
    const local = { host: CALLER.host, port: 5070 };
    const uac = await sipp({
      scenario: "message-uac",
      local,
      remote: PROXY,
      calls: 10,
      transport: "tcp",
      rows: rows("msg"),
    });
    expect(uac.errors).toBe("");
    expect(uac).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
    expect(await answering.result).toMatchObject({ code: 0, succeeded: 10 });
  });
});

test("CANCEL while forking: phones on both servers ring, both stop, the caller gets one 487", async () => {
  const ringing = [phones("cancel-uas", EAST_PHONES, 10), phones("cancel-uas", WEST_PHONES, 10)];
  const uac = await sipp({
    scenario: "cancel-uac",
    local: CALLER,
    remote: PROXY,
    calls: 10,
    rate: 5,
    rows: rows("ring"),
  });
  expect(uac.errors).toBe("");
  expect(uac).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
  for (const each of ringing) expect(await each.result).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
  expect((await proxy.explain("INVITE", "ring0@example.com")).kind).toBe("fork");
});

test("when all is over nothing is left behind in the proxy", async () => {
  await eventually("no live transactions", async () => (await proxy.metric("codomain_transactions")) === 0, 45_000);
});
