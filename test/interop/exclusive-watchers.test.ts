import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Capture, capture } from "../support/capture.ts";
import { eventually } from "../support/child.ts";
import { type ExclusiveDomain, exclusiveDomain } from "../support/exclusive-domain.ts";
import { sipp } from "../support/sipp.ts";

/** SIPp as watchers of users who are nowhere: those who refresh, forget, and fall silent. tshark reads along. */
const FIRST = 171;
const PROXY = { host: `127.0.0.${FIRST}`, port: 5060 };
const LOCAL = { host: `127.0.0.${FIRST + 4}`, port: 5060 };
const USERS = ["anna", "ben", "cleo"];

let domain: ExclusiveDomain;

beforeAll(async () => {
  // T1 a tenth of the usual: what is not answered is given up after 3.2 s.
  domain = await exclusiveDomain({ first: FIRST, more: ["timers: { t1: 50ms }", "decision-time: 2s"] });
  for (const user of USERS) await domain.proxy.run("users", "add", `${user}@example.com`);
});

afterAll(async () => {
  await domain?.stop();
});

const watchers = (scenario: string, calls: number) =>
  sipp({
    scenario,
    local: LOCAL,
    remote: PROXY,
    calls,
    rate: 10,
    rows: USERS.map((user, i) => [user, `w${i}`]),
    seconds: 40,
  });

const kept = async (): Promise<number> =>
  JSON.parse((await domain.proxy.run("subscriptions", "list", "--json")).stdout).subscriptions.length;

/** What tshark made of every message with the watchers, in order. */
async function decoded(wire: Capture): Promise<readonly string[][]> {
  return wire.rows(`sip && ip.addr == ${LOCAL.host}`, [
    "sip.Call-ID",
    "sip.CSeq.seq",
    "sip.CSeq.method",
    "sip.Method",
    "ip.src",
    "_ws.malformed",
  ]);
}

/** The CSeqs of the NOTIFYs of each dialog, as sent by the proxy. */
function notifies(rows: readonly string[][]): readonly (readonly number[])[] {
  const dialogs = new Map<string, number[]>();
  for (const [callId = "", cseq = "", , method, source] of rows) {
    if (method !== "NOTIFY" || source !== PROXY.host) continue;
    const known = dialogs.get(callId) ?? [];
    if (!known.includes(Number(cseq))) known.push(Number(cseq));
    dialogs.set(callId, known);
  }
  return [...dialogs.values()];
}

describe("watchers of users who are nowhere", () => {
  let wire: Capture;
  beforeAll(async () => {
    wire = await capture(`udp port 5060 and host ${LOCAL.host}`);
  });
  afterAll(async () => {
    await wire?.close();
  });

  test("who refresh: 200 and a NOTIFY each time, and terminated at the end", async () => {
    const run = await watchers("watcher-refresh", 30);
    expect(run.errors).toBe("");
    expect(run).toMatchObject({ code: 0, succeeded: 30, failed: 0 });
    expect(await kept()).toBe(0);
  });

  test("who answer 481: the subscription is over", async () => {
    const run = await watchers("watcher-481", 10);
    expect(run.errors).toBe("");
    expect(run).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
    expect(await kept()).toBe(0);
  });

  test("who fall silent: nothing is over, and what they missed comes later", async () => {
    const run = await watchers("watcher-silent", 10);
    expect(run.errors).toBe("");
    expect(run).toMatchObject({ code: 0, succeeded: 10, failed: 0 });
    await eventually("nothing to be kept", async () => (await kept()) === 0);
  });

  test("on the wire nothing is malformed, and the CSeqs of each dialog go up by one", async () => {
    const rows = await decoded(wire);
    expect(rows.filter((row) => row[5] !== undefined && row[5] !== "")).toEqual([]);
    const dialogs = notifies(rows);
    expect(dialogs).toHaveLength(50);
    for (const cseqs of dialogs) expect(cseqs).toEqual(cseqs.map((_, i) => (cseqs[0] ?? 0) + i));
    expect(dialogs.map((each) => each.length).sort((a, b) => b - a)[0]).toBe(4);
  });
});
